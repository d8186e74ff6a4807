package connectors

import (
	"context"
	"errors"
	"time"

	"smi/internal/social"
)

// MediaURLs is what a MediaSource can do besides for networks that fetch files by
// themselves.
type MediaURLs interface {
	// URL returns an address on the internet from which the file can be fetched for
	// so long, with GET, HEAD and ranges, a minute to a day. It is a secret: it goes
	// to the network and into no log. mime is that of the file.
	URL(ctx context.Context, hash, mime string, lasts time.Duration) (string, error)
}

// MediaURL returns an address for a file of a part. Its error is of kind
// Permission and names the setting, if the admin has not set up a public
// listener: the account waits until that is done.
func MediaURL(ctx context.Context, from MediaSource, m social.Media, lasts time.Duration) (string, error) {
	urls, ok := from.(MediaURLs)
	err := error(social.Errorf(social.CodeUnavailable, "public.url", "this network fetches files from smi by itself, which needs a public address: set public.listen and public.url, then see smi doctor"))
	if ok {
		var address string
		if address, err = urls.URL(ctx, m.Hash, m.MIME, lasts); err == nil {
			return address, nil
		}
	}
	if e, ok := errors.AsType[*social.Error](err); ok {
		kind := Permission
		if e.Code != social.CodeUnavailable {
			kind = Invalid
		}
		return "", &Error{Kind: kind, Op: "media url", Field: "media", Text: e.Text, Err: err}
	}
	return "", err
}

package bluesky

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// postRef names a post: repo is a DID or a handle.
type postRef struct{ repo, rkey string }

func (r postRef) uri() string { return "at://" + r.repo + "/" + collectionPost + "/" + r.rkey }

// parsePostRef reads what people paste as a post: at://did/app.bsky.feed.post/key
// or the address of its page, https://bsky.app/profile/name/post/key.
func parsePostRef(s string) (postRef, error) {
	s = strings.TrimSpace(s)
	bad := fmt.Errorf("%q is no post; paste its address, such as https://bsky.app/profile/name.bsky.social/post/3m5xk2jqv7s2a", s)
	if strings.HasPrefix(s, "at://") {
		u, err := syntax.ParseATURI(s)
		if err != nil || u.Collection() != collectionPost || u.RecordKey() == "" {
			return postRef{}, bad
		}
		return postRef{u.Authority().String(), u.RecordKey().String()}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return postRef{}, bad
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "profile" || parts[2] != "post" {
		return postRef{}, bad
	}
	repo, err := syntax.ParseAtIdentifier(parts[1])
	if err != nil {
		return postRef{}, bad
	}
	rkey, err := syntax.ParseRecordKey(parts[3])
	if err != nil {
		return postRef{}, bad
	}
	return postRef{repo.String(), rkey.String()}, nil
}

// webURL is the page of a post. It names the account by its DID: handles change
// and take their links with them.
func (p *Platform) webURL(uri string) string {
	r, err := parsePostRef(uri)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(p.cfg.WebURL, "/") + "/profile/" + r.repo + "/post/" + r.rkey
}

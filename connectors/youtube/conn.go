package youtube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/api/option"
	youtube "google.golang.org/api/youtube/v3"
	analytics "google.golang.org/api/youtubeanalytics/v2"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// conn is one account.
type conn struct {
	p       *Platform
	account social.Account
	creds   connectors.Credentials
}

// String keeps credentials out of what is printed.
func (c *conn) String() string { return "youtube account " + c.account.RemoteID }

// GoString keeps credentials out of what is printed.
func (c *conn) GoString() string { return c.String() }

// client calls the network for this account.
func (c *conn) client() (*api.Client, error) {
	return c.p.http.For(c.account.RemoteID, api.Bearer(c.creds))
}

// services makes the three services of Google's library. Each sends its requests
// through the bridge and never on its own.
func services(cfg *Config) (data, uploads *youtube.Service, reports *analytics.Service, err error) {
	through := option.WithHTTPClient(&http.Client{Transport: bridge{}})
	ctx := context.Background()
	if data, err = youtube.NewService(ctx, through); err != nil {
		return nil, nil, nil, err
	}
	if uploads, err = youtube.NewService(ctx, through); err != nil {
		return nil, nil, nil, err
	}
	if reports, err = analytics.NewService(ctx, through); err != nil {
		return nil, nil, nil, err
	}
	data.BasePath = strings.TrimSuffix(cfg.API, "/") + "/"
	uploads.BasePath = strings.TrimSuffix(cfg.Upload, "/") + "/"
	reports.BasePath = strings.TrimSuffix(cfg.Analytics, "/") + "/"
	return data, uploads, reports, nil
}

// exchange is one call of Google's library on its way through the bridge.
type exchange struct {
	http   *api.Client
	call   api.Call // what the library does not know: op, bucket, what the answer must have
	commit bool     // the one call that makes something public: needs a Shot
	fixed  []byte   // sent instead of the library's body
	dry    bool     // nothing is sent; sent is what would have been

	used   bool
	sent   []byte
	answer api.Answer
	err    error
}

type exchangeKey struct{}

// errDry ends a call that was only written down.
var errDry = errors.New("written down, not sent")

// run makes one call of the library. Its error is a *connectors.Error.
func (x *exchange) run(ctx context.Context, call func(context.Context) error) error {
	err := call(context.WithValue(ctx, exchangeKey{}, x))
	switch {
	case x.err != nil:
		return x.err
	case err == nil || x.dry && errors.Is(err, errDry), x.commit && x.answer.Status != 0: // the answer to a commit was judged already
		return nil
	case ctx.Err() != nil:
		return &connectors.Error{Kind: connectors.Transient, Op: x.call.Op, Text: "the call was given up", Err: ctx.Err()}
	}
	return &connectors.Error{
		Kind: connectors.Unknown, Op: x.call.Op, Status: x.answer.Status,
		Text: "YouTube answered in a way smi does not understand", Err: err,
	}
}

// bridge is the transport under Google's library: it hands each request to
// connectors/internal/api. A second request for one call is refused, so that
// nothing the library may do can send twice.
type bridge struct{}

// RoundTrip implements http.RoundTripper.
func (bridge) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, maxThumbnail+1<<20))
		r.Body.Close() //nolint:errcheck,gosec // it was read
		if err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
	}
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok || x.used {
		return nil, errors.New("a request that nobody asked for was not sent")
	}
	x.used = true
	if x.fixed != nil {
		body = x.fixed
	}
	x.sent = body
	if x.dry {
		return nil, errDry
	}
	k := x.call
	k.Method, k.URL, k.ContentType = r.Method, r.URL.String(), r.Header.Get("Content-Type")
	if len(body) > 0 {
		k.Body = body
	}
	if x.commit {
		x.answer, x.err = x.http.Commit(r.Context(), k)
	} else {
		x.answer, x.err = x.http.Do(r.Context(), k)
	}
	if x.err != nil {
		return nil, x.err
	}
	return &http.Response{
		Status: http.StatusText(x.answer.Status), StatusCode: x.answer.Status, Header: x.answer.Header, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(x.answer.Body)), Body: io.NopCloser(bytes.NewReader(x.answer.Body)),
	}, nil
}

// ask makes a call of the library that is no commit.
func (c *conn) ask(ctx context.Context, k api.Call, call func(context.Context) error) (api.Answer, error) {
	h, err := c.client()
	if err != nil {
		return api.Answer{}, err
	}
	x := &exchange{http: h, call: k}
	err = x.run(ctx, call)
	return x.answer, err
}

// channel is the account's channel as the network describes it now.
func (c *conn) channel(ctx context.Context, parts ...string) (*youtube.Channel, channelCounts, api.Answer, error) {
	var list *youtube.ChannelListResponse
	var counts channelList
	a, err := c.ask(ctx, api.Call{Op: "channels.list", Out: &counts}, func(ctx context.Context) (err error) {
		list, err = c.p.data.Channels.List(parts).Mine(true).Context(ctx).Do()
		return err
	})
	if err != nil {
		return nil, channelCounts{}, a, err
	}
	if len(list.Items) == 0 || len(counts.Items) == 0 {
		return nil, channelCounts{}, a, &connectors.Error{
			Kind: connectors.Permission, Op: "channels.list",
			Text: "this Google account has no YouTube channel; create one at youtube.com, or choose another account or brand when you connect",
		}
	}
	if list.Items[0].Id == "" {
		return nil, channelCounts{}, a, &connectors.Error{Kind: connectors.Unknown, Op: "channels.list", Text: "YouTube described a channel without its id"}
	}
	return list.Items[0], counts.Items[0].Statistics, a, nil
}

// Identity says whose channel it is.
func (c *conn) Identity(ctx context.Context) (social.Profile, error) {
	ch, _, _, err := c.channel(ctx, "snippet")
	if err != nil {
		return social.Profile{}, err
	}
	p := social.Profile{RemoteID: ch.Id, Handle: ch.Id, URL: c.p.cfg.WebURL + "/channel/" + ch.Id, DayZone: dayZone}
	if s := ch.Snippet; s != nil {
		p.Name = s.Title
		if s.CustomUrl != "" {
			p.Handle = s.CustomUrl
		}
		if s.Thumbnails != nil && s.Thumbnails.Default != nil {
			p.AvatarURL = s.Thumbnails.Default.Url
		}
	}
	return p, nil
}

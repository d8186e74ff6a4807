package bluesky

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

var (
	_ connectors.PostInsights    = (*conn)(nil)
	_ connectors.AccountInsights = (*conn)(nil)
)

// postBatch is how many posts getPosts takes (lexicon app.bsky.feed.getPosts,
// read 2026-08-20).
const postBatch = 25

// PostInsights reads the counters of posts. The network counts no views. A post
// that is missing from the answer is looked up on the account's own server
// before it is called gone: the AppView may only be behind.
func (c *conn) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	var out social.Reading
	r, err := c.remote(ctx)
	if err != nil {
		return out, err
	}
	for batch := range slices.Chunk(rs, postBatch) {
		q := url.Values{}
		for _, rec := range batch {
			q.Add("uris", rec.RemoteID)
		}
		var views postViews
		a, err := r.query(ctx, "app.bsky.feed.getPosts", q, &views)
		if err != nil {
			return out, err
		}
		at := c.p.env.Now()
		out.Raw = append(out.Raw, social.RawAnswer{Op: "getPosts", At: at, Body: a.Body})
		seen := map[string]bool{}
		for _, v := range views.Posts {
			if seen[v.URI] || !slices.Contains(q["uris"], v.URI) {
				continue
			}
			seen[v.URI] = true
			for _, n := range []struct {
				metric social.Metric
				name   string
				value  *int64
			}{
				{social.Likes, "likeCount", v.Likes},
				{social.Comments, "replyCount", v.Replies},
				{social.Shares, "repostCount", v.Reposts},
				{social.Quotes, "quoteCount", v.Quotes},
				{social.Saves, "bookmarkCount", v.Bookmarks},
			} {
				if n.value == nil {
					continue
				}
				out.Observations = append(out.Observations, social.Observation{
					Subject: social.OfPost, RemoteID: v.URI, Metric: n.metric, Value: *n.value,
					Window: social.Lifetime, At: at, Name: n.name, Raw: len(out.Raw) - 1,
				})
			}
		}
		for _, rec := range batch {
			if seen[rec.RemoteID] {
				continue
			}
			if _, err := r.record(ctx, rec.RemoteID); isGone(err) {
				out.Gone = append(out.Gone, rec.RemoteID)
			} else if err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// Validate asks for the list, which may be empty.
func (v postViews) Validate() error {
	if v.Posts == nil {
		return fmt.Errorf("posts is missing")
	}
	return nil
}

// AccountInsights reads the account's levels as they are now: the network keeps
// no history.
func (c *conn) AccountInsights(ctx context.Context, _, _ time.Time) (social.Reading, error) {
	var out social.Reading
	r, err := c.remote(ctx)
	if err != nil {
		return out, err
	}
	var v profileView
	a, err := r.query(ctx, "app.bsky.actor.getProfile", url.Values{"actor": {r.did}}, &v)
	if err != nil {
		return out, err
	}
	if v.DID != r.did {
		return out, &connectors.Error{Kind: connectors.Unknown, Op: "getProfile", Text: fmt.Sprintf("Bluesky answered with the profile of %q", v.DID)}
	}
	at := c.p.env.Now()
	out.Raw = []social.RawAnswer{{Op: "getProfile", At: at, Body: a.Body}}
	for _, n := range []struct {
		metric social.Metric
		name   string
		value  *int64
	}{
		{social.Followers, "followersCount", v.Followers},
		{social.Following, "followsCount", v.Follows},
		{social.Posts, "postsCount", v.Posts},
	} {
		if n.value != nil {
			out.Observations = append(out.Observations, social.Observation{
				Subject: social.OfAccount, RemoteID: r.did, Metric: n.metric, Value: *n.value, Window: social.Instant, At: at, Name: n.name,
			})
		}
	}
	return out, nil
}

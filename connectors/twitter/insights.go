package twitter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.PostInsights    = (*conn)(nil)
	_ connectors.AccountInsights = (*conn)(nil)
)

// postBatch is how many posts GET /2/tweets takes, privateFor how long after its
// publication the author may read what is not public of a post (docs.x.com,
// Metrics, read 2026-08-22).
const (
	postBatch  = 100
	privateFor = 30 * 24 * time.Hour
)

// PostInsights reads the counters of posts. What is not public is asked for
// while it may be read; X tells no reach.
func (c *conn) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	var out social.Reading
	var young, old []string
	for _, r := range rs {
		id, err := postID(r.RemoteID)
		if err != nil {
			return out, err
		}
		if !r.PublishedAt.IsZero() && c.p.env.Now().Sub(r.PublishedAt) > privateFor-time.Hour {
			old = append(old, id)
		} else {
			young = append(young, id)
		}
	}
	left, err := c.numbers(ctx, &out, young, true)
	if err != nil {
		return out, err
	}
	_, err = c.numbers(ctx, &out, append(old, left...), false)
	return out, err
}

// numbers reads the counters of posts into out. It returns those whose private
// counters were refused together with the rest.
func (c *conn) numbers(ctx context.Context, out *social.Reading, ids []string, private bool) ([]string, error) {
	var left, more []string
	if private {
		more = []string{"non_public_metrics", "organic_metrics"}
	}
	for batch := range slices.Chunk(ids, postBatch) {
		if err := c.p.mayRead(ctx, "getTweets"); err != nil {
			return nil, err
		}
		var got posts
		a, err := c.asking(ctx, api.Call{Op: "getTweets", URL: c.p.url("/2/tweets"), Bucket: "lookup", Out: &got}, url.Values{"ids": {strings.Join(batch, ",")}}, more, func() bool {
			missed := len(got.Data) > 0 && !got.Data[0].arrived()
			if missed {
				got = posts{}
			}
			return !missed
		})
		if err != nil {
			return nil, err
		}
		c.p.spent(ctx, int64(len(got.Data))*c.p.cfg.Prices.ReadPost+int64(len(got.Includes.Users))*c.p.cfg.Prices.ReadUser)
		at := c.p.env.Now()
		out.Raw = append(out.Raw, social.RawAnswer{Op: "getTweets", APIVersion: apiV2, At: at, Body: a.Body})
		seen := map[string]bool{}
		for _, p := range got.Data {
			if seen[p.ID] || !slices.Contains(batch, p.ID) {
				continue
			}
			seen[p.ID] = true
			for _, n := range countersOf(p) {
				if v, ok := number(n.value); ok && v >= 0 {
					out.Observations = append(out.Observations, social.Observation{
						Subject: social.OfPost, RemoteID: p.ID, Metric: n.metric, Value: v, Window: social.Lifetime, At: at, Name: n.name, Raw: len(out.Raw) - 1,
					})
				}
			}
		}
		for _, e := range got.Errors {
			switch id := e.id(); {
			case !slices.Contains(batch, id) || seen[id]:
			case e.slug() == codeNotFound:
				seen[id] = true
				out.Gone = append(out.Gone, id)
			case private:
				seen[id] = true
				left = append(left, id)
			}
		}
	}
	return left, nil
}

type counted struct {
	metric social.Metric
	name   string
	value  *json.Number
}

// countersOf are the counters of a post by X's own names. A repost has two
// names, and clicks on links stand in one or two places.
func countersOf(p post) []counted {
	var out []counted
	if m := p.Public; m != nil {
		shares := counted{social.Shares, "public_metrics.retweet_count", m.Retweets}
		if m.Retweets == nil {
			shares = counted{social.Shares, "public_metrics.repost_count", m.Reposts}
		}
		out = append(out,
			counted{social.Views, "public_metrics.impression_count", m.Impressions},
			counted{social.Likes, "public_metrics.like_count", m.Likes},
			counted{social.Comments, "public_metrics.reply_count", m.Replies},
			shares,
			counted{social.Quotes, "public_metrics.quote_count", m.Quotes},
			counted{social.Saves, "public_metrics.bookmark_count", m.Bookmarks},
		)
	}
	switch {
	case p.NonPublic != nil && p.NonPublic.LinkClicks != nil:
		out = append(out, counted{social.Clicks, "non_public_metrics.url_link_clicks", p.NonPublic.LinkClicks})
	case p.Organic != nil && p.Organic.LinkClicks != nil:
		out = append(out, counted{social.Clicks, "organic_metrics.url_link_clicks", p.Organic.LinkClicks})
	}
	return out
}

// AccountInsights reads the account's levels as they are now: X keeps no
// history.
func (c *conn) AccountInsights(ctx context.Context, _, _ time.Time) (social.Reading, error) {
	var out social.Reading
	if err := c.p.mayRead(ctx, "usersMe"); err != nil {
		return out, err
	}
	m, a, err := c.whoAmI(ctx)
	if err != nil {
		return out, err
	}
	if m.Data.ID != c.account.RemoteID {
		return out, &connectors.Error{Kind: connectors.Permanent, Op: "usersMe", Text: fmt.Sprintf("the sign-in belongs to %s (%s), not to %s", m.Data.Username, m.Data.ID, c.account.Handle)}
	}
	at := c.p.env.Now()
	out.Raw = []social.RawAnswer{{Op: "usersMe", APIVersion: apiV2, At: at, Body: a.Body}}
	n := m.Data.Metrics
	total := counted{social.Posts, "public_metrics.tweet_count", n.PostsOld}
	if n.PostsOld == nil {
		total = counted{social.Posts, "public_metrics.post_count", n.PostsNew}
	}
	for _, k := range []counted{
		{social.Followers, "public_metrics.followers_count", n.Followers},
		{social.Following, "public_metrics.following_count", n.Following},
		total,
	} {
		if v, ok := number(k.value); ok && v >= 0 {
			out.Observations = append(out.Observations, social.Observation{
				Subject: social.OfAccount, RemoteID: m.Data.ID, Metric: k.metric, Value: v, Window: social.Instant, At: at, Name: k.name,
			})
		}
	}
	return out, nil
}

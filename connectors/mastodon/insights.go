package mastodon

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.PostInsights    = (*conn)(nil)
	_ connectors.AccountInsights = (*conn)(nil)
)

// PostInsights reads the counters of posts as the home server knows them: it
// counts no views, and of boosts and favourites on other servers those it was
// told of. Servers that have a version of the API (4.3 and later) give many
// posts by one call. A post that is missing from such an answer is asked for by
// itself before it is called gone.
func (c *conn) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	var out social.Reading
	r, err := c.remote(ctx)
	if err != nil {
		return out, err
	}
	batch := 1
	if c.server.API > 0 {
		batch = c.p.cfg.StatusBatch
	}
	for part := range slices.Chunk(rs, batch) {
		seen := map[string]bool{}
		if batch > 1 {
			q := url.Values{}
			for _, rec := range part {
				q.Add("id[]", rec.RemoteID)
			}
			var list statuses
			a, err := r.get(ctx, "getStatuses", pathStatuses, q, &list)
			if err != nil {
				return out, err
			}
			raw := c.keep(&out, "getStatuses", a)
			for i := range list {
				if s := &list[i]; !seen[s.ID] && slices.Contains(q["id[]"], s.ID) {
					seen[s.ID] = true
					s.observe(&out, raw)
				}
			}
		}
		for _, rec := range part {
			if seen[rec.RemoteID] {
				continue
			}
			seen[rec.RemoteID] = true
			id, err := r.statusID(rec.RemoteID)
			if err != nil {
				return out, err
			}
			var s status
			a, err := r.get(ctx, "getStatus", pathStatuses+"/"+url.PathEscape(id), nil, &s)
			switch {
			case isGone(err):
				out.Gone = append(out.Gone, rec.RemoteID)
			case err != nil:
				return out, err
			default:
				s.observe(&out, c.keep(&out, "getStatus", a))
			}
		}
	}
	return out, nil
}

// keep adds an answer to a reading and returns its place.
func (c *conn) keep(out *social.Reading, op string, a api.Answer) int {
	out.Raw = append(out.Raw, social.RawAnswer{Op: op, At: c.p.env.Now(), Body: a.Body})
	return len(out.Raw) - 1
}

// number is a counter under the network's own name; nil was not said.
type number struct {
	metric social.Metric
	name   string
	value  *int64
}

// observe adds what a post's counters say.
func (s *status) observe(out *social.Reading, raw int) {
	for _, n := range []number{
		{social.Likes, "favourites_count", s.Favs},
		{social.Comments, "replies_count", s.Replies},
		{social.Shares, "reblogs_count", s.Reblogs},
		{social.Quotes, "quotes_count", s.Quotes},
	} {
		if n.value == nil || *n.value < 0 {
			continue
		}
		out.Observations = append(out.Observations, social.Observation{
			Subject: social.OfPost, RemoteID: s.ID, Metric: n.metric, Value: *n.value,
			Window: social.Lifetime, At: out.Raw[raw].At, Name: n.name, Raw: raw,
		})
	}
}

// AccountInsights reads the account's levels as they are now: the network keeps
// no history.
func (c *conn) AccountInsights(ctx context.Context, _, _ time.Time) (social.Reading, error) {
	var out social.Reading
	r, err := c.remote(ctx)
	if err != nil {
		return out, err
	}
	var me account
	a, err := r.get(ctx, "verify_credentials", pathMe, nil, &me)
	if err != nil {
		return out, err
	}
	if me.ID != r.id() {
		return out, &connectors.Error{Kind: connectors.Unknown, Op: "verify_credentials", Text: fmt.Sprintf("the server answered with the account %q", me.Acct)}
	}
	raw := c.keep(&out, "verify_credentials", a)
	for _, n := range []number{
		{social.Followers, "followers_count", me.Followers},
		{social.Following, "following_count", me.Following},
		{social.Posts, "statuses_count", me.Statuses},
	} {
		if n.value == nil || *n.value < 0 { // -1 stands for "hidden" on some servers
			continue
		}
		out.Observations = append(out.Observations, social.Observation{
			Subject: social.OfAccount, RemoteID: c.account.RemoteID, Metric: n.metric, Value: *n.value,
			Window: social.Instant, At: out.Raw[raw].At, Name: n.name, Raw: raw,
		})
	}
	return out, nil
}

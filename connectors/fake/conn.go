package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// conn is one account, seen by a client.
type conn struct {
	net   *Network
	acct  social.Account
	creds connectors.Credentials
}

var (
	_ connectors.Conn            = (*conn)(nil)
	_ connectors.Publisher       = (*conn)(nil)
	_ connectors.CommitDialer    = (*conn)(nil)
	_ connectors.Finder          = (*conn)(nil)
	_ connectors.Confirmer       = (*conn)(nil)
	_ connectors.Getter          = (*conn)(nil)
	_ connectors.Deleter         = (*conn)(nil)
	_ connectors.Lister          = (*conn)(nil)
	_ connectors.PostInsights    = (*conn)(nil)
	_ connectors.AccountInsights = (*conn)(nil)
)

// knobs returns those of the account; of none if it was never added. The lock
// is held.
func (c *conn) knobs() *knobs {
	if a := c.net.accounts[c.acct.RemoteID]; a != nil {
		return &a.knobs
	}
	return &knobs{}
}

// call makes one signed call that may be repeated: fn runs under the lock once
// the network has let it in. A token that the network itself found dead is
// renewed once; a scripted refusal comes back as it is.
func (c *conn) call(ctx context.Context, op Op, scope string, fn func(a *account, now time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return cut(op, false, err)
	}
	g, err := c.creds.Grant(ctx)
	if err != nil {
		return err
	}
	if err := c.net.begin(ctx, op, c.knobs); err != nil {
		return err
	}
	once := func() error {
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		now := c.net.settle()
		known, dead := c.net.signed(op, g.Access)
		if dead != nil {
			return dead
		}
		a, no := c.net.may(op, known, c.acct.RemoteID, scope)
		if no != nil {
			return no
		}
		return fn(a, now)
	}
	err = once()
	if e := connectors.AsError(err); e == nil || e.Code != "dead_token" {
		return err
	}
	if g, err = c.creds.Renew(ctx, g.Gen); err != nil {
		return err
	}
	return once()
}

// Identity implements connectors.Conn.
func (c *conn) Identity(ctx context.Context) (p social.Profile, err error) {
	err = c.call(ctx, OpIdentity, "read", func(a *account, _ time.Time) error {
		p = a.profile
		return nil
	})
	return p, err
}

// DialCommit implements connectors.CommitDialer. There is no connection; the
// call is there to be scripted.
func (c *conn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, cut(OpDial, false, err)
	}
	return nil, c.net.begin(ctx, OpDial, c.knobs)
}

// Find implements connectors.Finder.
func (c *conn) Find(ctx context.Context, j *connectors.Job) (out connectors.Finding, err error) {
	st, err := readState(j.State)
	if err != nil {
		return out, err
	}
	err = c.call(ctx, OpFind, "read", func(a *account, now time.Time) error {
		if st.Handle != "" {
			out = c.byHandle(st.Handle, now)
			return nil
		}
		since := j.ArmedAt.Add(-2 * time.Minute)
		for _, p := range c.listed(a, now) {
			if !p.At.Before(since) {
				out.Candidates = append(out.Candidates, c.candidate(&p, j.Part))
			}
		}
		out.Kind = connectors.FoundNothing
		if len(out.Candidates) > 0 {
			out.Kind = connectors.FoundCandidates
		}
		return nil
	})
	return out, err
}

// byHandle is the network's own word on a handle. The lock is held.
func (c *conn) byHandle(id string, now time.Time) connectors.Finding {
	h := c.net.handles[id]
	switch {
	case h == nil || h.account != c.acct.RemoteID:
		return connectors.Finding{Kind: connectors.FoundHandleDead}
	case h.post != "":
		if p := c.net.find(h.post); p != nil {
			return connectors.Finding{Kind: connectors.FoundPublished, Receipt: receipt(p, now)}
		}
		return connectors.Finding{Kind: connectors.FoundHandleDead}
	case h.dead || !now.Before(h.expires):
		return connectors.Finding{Kind: connectors.FoundHandleDead}
	}
	return connectors.Finding{Kind: connectors.FoundHandleGood}
}

// listed are the posts that a listing shows, oldest first. The lock is held.
func (c *conn) listed(a *account, now time.Time) []Post {
	var out []Post
	for _, p := range c.net.journal {
		if p.Account == c.acct.RemoteID && !p.Removed && !p.At.After(now) && now.Sub(p.At) >= a.stale {
			out = append(out, p)
		}
	}
	return out
}

func (c *conn) candidate(p *Post, wanted *social.Part) connectors.Candidate {
	text := social.NormalText(p.Text)
	out := connectors.Candidate{
		Receipt:     receipt(p, p.At),
		Fingerprint: connectors.FingerprintOf(c.acct, p.Parent, p.Text, p.Media),
		Excerpt:     excerpt(text),
		At:          p.At,
	}
	if wanted != nil {
		out.Similarity = social.Similarity(wanted.Text, p.Text)
		out.SameMedia = fmt.Sprint(social.Kinds(wanted.Media)) == fmt.Sprint(p.Media)
	}
	return out
}

func excerpt(s string) string {
	if r := []rune(s); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return s
}

// receipt is what the network says of a post at a time.
func receipt(p *Post, now time.Time) connectors.Receipt {
	return connectors.Receipt{
		RemoteID:    p.RemoteID,
		URL:         p.URL,
		PublishedAt: p.At,
		State:       mustJSON(map[string]string{"root": p.Root}),
		Pending:     p.At.After(now),
	}
}

// Confirm implements connectors.Confirmer.
func (c *conn) Confirm(ctx context.Context, r connectors.Receipt) (connectors.Receipt, error) {
	err := c.call(ctx, OpConfirm, "read", func(_ *account, now time.Time) error {
		p := c.net.find(r.RemoteID)
		if p == nil || p.Account != c.acct.RemoteID {
			return refused(OpConfirm, connectors.Invalid, http.StatusNotFound, "the post is not on the network any more")
		}
		r = receipt(p, now)
		return nil
	})
	return r, err
}

// Get implements connectors.Getter.
func (c *conn) Get(ctx context.Context, remoteID string) (out connectors.Candidate, err error) {
	err = c.call(ctx, OpGet, "read", func(_ *account, now time.Time) error {
		p := c.net.find(remoteID)
		if p == nil || p.Account != c.acct.RemoteID || p.At.After(now) {
			return refused(OpGet, connectors.Invalid, http.StatusNotFound, "the network has no such post")
		}
		out = c.candidate(p, nil)
		return nil
	})
	return out, err
}

// Delete implements connectors.Deleter.
func (c *conn) Delete(ctx context.Context, r connectors.Receipt) error {
	return c.call(ctx, OpDelete, "write", func(*account, time.Time) error {
		if p := c.net.find(r.RemoteID); p != nil && p.Account == c.acct.RemoteID {
			p.Removed = true
		}
		return nil
	})
}

// List implements connectors.Lister.
func (c *conn) List(ctx context.Context, since time.Time, cursor string) (out connectors.Page, err error) {
	err = c.call(ctx, OpList, "read", func(a *account, now time.Time) error {
		before := int(^uint(0) >> 1)
		if cursor != "" {
			n, err := strconv.Atoi(strings.TrimPrefix(cursor, "before-"))
			if err != nil {
				return refused(OpList, connectors.Invalid, http.StatusBadRequest, "the cursor is none of this network's")
			}
			before = n
		}
		all := c.listed(a, now)
		type row struct {
			ID   string    `json:"id"`
			Text string    `json:"text"`
			At   time.Time `json:"at"`
		}
		var rows []row
		last := 0
		for _, p := range slices.Backward(all) {
			if p.At.Before(since) || p.seq >= before && !a.loop {
				continue
			}
			if len(out.Posts) == c.net.o.PageSize {
				out.Next = "before-" + strconv.Itoa(last)
				break
			}
			last = p.seq
			out.Posts = append(out.Posts, connectors.RemotePost{Receipt: receipt(&p, now), Text: p.Text, Media: p.Media, Parent: p.Parent})
			rows = append(rows, row{p.RemoteID, p.Text, p.At})
		}
		out.Raw = []social.RawAnswer{{Op: "list", APIVersion: "1", At: now, Body: mustJSON(rows)}}
		if out.Next != "" && out.Next == cursor {
			return &connectors.Error{Kind: connectors.Transient, Op: "list", Text: "the network's listing leads back to the same page"}
		}
		return nil
	})
	if err != nil {
		return connectors.Page{}, err
	}
	return out, nil
}

// PostInsights implements connectors.PostInsights.
func (c *conn) PostInsights(ctx context.Context, rs []connectors.Receipt) (out social.Reading, err error) {
	for len(rs) > 0 {
		page := rs[:min(len(rs), c.net.o.PageSize)]
		rs = rs[len(page):]
		err := c.call(ctx, OpPostInsights, "insights", func(a *account, now time.Time) error {
			body := map[string]map[social.Metric]int64{}
			for _, r := range page {
				p := c.net.find(r.RemoteID)
				if p == nil || p.Account != c.acct.RemoteID {
					out.Gone = append(out.Gone, r.RemoteID)
					continue
				}
				body[r.RemoteID] = map[social.Metric]int64{}
				for _, m := range []social.Metric{social.Views, social.Likes, social.Comments, social.Shares} {
					if a.hidden[m] {
						continue
					}
					body[r.RemoteID][m] = p.counts[m]
					out.Observations = append(out.Observations, social.Observation{
						Subject: social.OfPost, RemoteID: r.RemoteID, Metric: m, Value: p.counts[m],
						Window: social.Lifetime, At: now, Name: "fake_" + string(m), Raw: len(out.Raw),
					})
				}
			}
			out.Raw = append(out.Raw, social.RawAnswer{Op: "post_insights", APIVersion: "1", At: now, Body: mustJSON(body)})
			return nil
		})
		if err != nil {
			return social.Reading{}, err
		}
	}
	return out, nil
}

// AccountInsights implements connectors.AccountInsights. This network only
// knows "now".
func (c *conn) AccountInsights(ctx context.Context, _, _ time.Time) (out social.Reading, err error) {
	err = c.call(ctx, OpAccountInsights, "insights", func(a *account, now time.Time) error {
		values := map[social.Metric]int64{social.Followers: a.counts[social.Followers]}
		for _, p := range c.net.journal {
			if p.Account == c.acct.RemoteID && !p.Removed && !p.At.After(now) {
				values[social.Posts]++
			}
		}
		for _, m := range []social.Metric{social.Followers, social.Posts} {
			if a.hidden[m] {
				delete(values, m)
				continue
			}
			out.Observations = append(out.Observations, social.Observation{
				Subject: social.OfAccount, RemoteID: c.acct.RemoteID, Metric: m, Value: values[m],
				Window: social.Instant, At: now, Name: "fake_" + string(m),
			})
		}
		out.Raw = []social.RawAnswer{{Op: "account_insights", APIVersion: "1", At: now, Body: mustJSON(values)}}
		return nil
	})
	return out, err
}

// state is what Prepare keeps.
type state struct {
	Uploads []string         `json:"uploads,omitempty"`
	ReadyAt time.Time        `json:"ready_at,omitzero"` // when the network has worked on the media
	Class   connectors.Class `json:"class,omitempty"`   // "" while not finished
	Handle  string           `json:"handle,omitempty"`
	Expires time.Time        `json:"expires,omitzero"`
	Body    json.RawMessage  `json:"body,omitempty"` // exactly what Commit sends
}

func readState(raw json.RawMessage) (st state, err error) {
	if len(raw) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		return st, &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "the kept state cannot be read", Err: err}
	}
	return st, nil
}

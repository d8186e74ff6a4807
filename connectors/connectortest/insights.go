package connectortest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

func (r *runner) insights(t *testing.T) {
	if r.verbs.List {
		r.listing(t)
	} else {
		r.na("insights/pages", "posts cannot be listed")
	}
	if r.verbs.PostInsights {
		r.postNumbers(t)
	} else {
		r.na("insights/posts", "this network gives no numbers of posts")
	}
	if r.verbs.AccountInsights {
		r.accountNumbers(t)
	} else {
		r.na("insights/account", "this network gives no numbers of the account")
	}
}

// seed lets the owner write n posts and returns their ids, oldest first.
func (c *check) seed(n int) []string {
	c.Helper()
	if c.h.Stage.Write == nil {
		c.Fatal("the harness has no Stage.Write")
	}
	var ids []string
	for i := range n {
		ids = append(ids, c.h.Stage.Write(fmt.Sprintf("post number %d", i+1)))
	}
	return ids
}

// walk follows a listing to its end.
func (c *check) walk() []connectors.RemotePost {
	c.Helper()
	var out []connectors.RemotePost
	cursor := ""
	for range 100 {
		p, err := c.client.List(c.Context(), time.Time{}, cursor)
		c.must("listing", err)
		c.raw(p.Raw)
		out = append(out, p.Posts...)
		if p.Next == "" {
			return out
		}
		cursor = p.Next
	}
	c.Fatal("the listing has no end")
	return nil
}

// raw checks that answers are kept with where they came from, and notes them
// for the search for secrets.
func (c *check) raw(answers []social.RawAnswer) {
	c.Helper()
	for _, a := range answers {
		c.note(string(a.Body))
		if a.Op == "" || a.At.IsZero() || len(a.Body) == 0 {
			c.Errorf("an answer is kept without its op, time or body: %q at %v", a.Op, a.At)
		}
	}
}

func (r *runner) listing(t *testing.T) {
	sizes := []int{0, 1}
	if p := r.probe.Stage.PageSize; p > 0 {
		sizes = append(sizes, p, p+1)
	}
	r.check(t, "insights/pages", "the sync sees every post once, at the edges of pages too", func(c *check) string {
		if c.h.Stage.PageSize == 0 {
			c.Fatal("the harness has no Stage.PageSize")
		}
		have := 0
		var ids []string
		for _, n := range sizes {
			ids = append(ids, c.seed(n-have)...)
			have = n
			got := c.walk()
			if len(got) != n {
				c.Fatalf("the listing of %d posts shows %d", n, len(got))
			}
			for i, p := range got { // the newest first
				if want := ids[n-1-i]; p.Receipt.RemoteID != want {
					c.Errorf("of %d posts, place %d is %s, want %s", n, i, p.Receipt.RemoteID, want)
				}
				if p.Text == "" || p.Receipt.PublishedAt.IsZero() {
					c.Errorf("a listed post lacks its text or time: %+v", p)
				}
			}
		}
		return ""
	})
	r.check(t, "insights/looping cursor", "a listing that leads back ends, it does not run all night", func(c *check) string {
		if c.h.Stage.Loop == nil {
			c.Fatal("the harness has no Stage.Loop")
		}
		c.seed(c.h.Stage.PageSize + 1)
		c.h.Stage.Loop()
		cursor := ""
		for range 20 {
			p, err := c.client.List(c.Context(), time.Time{}, cursor)
			if err != nil {
				c.want("listing in a circle", err, connectors.Transient, connectors.Unknown)
				return ""
			}
			if p.Next == "" {
				return ""
			}
			if p.Next == cursor {
				c.Fatal("List returned the cursor it was given; a caller would go on for ever")
			}
			cursor = p.Next
		}
		c.Error("the listing went on for 20 pages and there are two")
		return ""
	})
	r.check(t, "insights/since", "what is older than asked for is left out", func(c *check) string {
		c.seed(1)
		p, err := c.client.List(c.Context(), c.h.Env.Now().Add(time.Hour), "")
		c.must("listing", err)
		if len(p.Posts) != 0 {
			c.Errorf("%d posts are from the future", len(p.Posts))
		}
		return ""
	})
	r.check(t, "insights/noise in listings", "networks add fields without asking", func(c *check) string {
		if c.h.Stage.Noise == nil {
			c.Fatal("the harness has no Stage.Noise")
		}
		c.seed(1)
		c.h.Stage.Noise()
		if n := len(c.walk()); n != 1 {
			c.Errorf("%d posts are listed, want 1", n)
		}
		return ""
	})
}

// reading checks what every batch of numbers must be like.
func (c *check) reading(rd social.Reading, s social.Subject) map[string]map[social.Metric]int64 {
	c.Helper()
	c.raw(rd.Raw)
	out := map[string]map[social.Metric]int64{}
	type key struct {
		id  string
		m   social.Metric
		day time.Time
	}
	seen := map[key]bool{}
	for _, o := range rd.Observations {
		info, ok := social.MetricByName(o.Metric)
		switch {
		case !ok:
			c.Errorf("%q is not in the catalogue", o.Metric)
		case !slices.Contains(c.r.about.Metrics, o.Metric):
			c.Errorf("%s is reported and not in the description", o.Metric)
		case info.Level != s && info.Also != s:
			c.Errorf("%s is no number of a %s", o.Metric, s)
		}
		if o.Subject != s {
			c.Errorf("an observation is about a %q, want %s", o.Subject, s)
		}
		if o.Value < 0 || o.At.IsZero() || o.Name == "" || o.Raw < 0 || o.Raw >= len(rd.Raw) {
			c.Errorf("an observation lacks a sound value, time, name or answer: %+v of %d answers", o, len(rd.Raw))
		}
		if (o.Window == social.Day) == o.Day.IsZero() {
			c.Errorf("an observation of window %q has the day %v", o.Window, o.Day)
		}
		k := key{o.RemoteID, o.Metric, o.Day}
		if seen[k] {
			c.Errorf("%s of %s is reported twice", o.Metric, o.RemoteID)
		}
		seen[k] = true
		c.note(o.Name)
		if out[o.RemoteID] == nil {
			out[o.RemoteID] = map[social.Metric]int64{}
		}
		out[o.RemoteID][o.Metric] = o.Value
	}
	return out
}

func receipts(ids []string) []connectors.Receipt {
	var out []connectors.Receipt
	for _, id := range ids {
		out = append(out, connectors.Receipt{RemoteID: id})
	}
	return out
}

// numbers are the metrics of a subject that this network reports, the first
// being the one whose absence or value is looked at: one that is said of this
// subject before others.
func (r *runner) numbers(s social.Subject) []social.Metric {
	var out []social.Metric
	rank := func(m social.Metric) int {
		i, _ := social.MetricByName(m)
		switch {
		case m == social.Likes && s == social.OfPost, m == social.Followers:
			return 0
		case i.Level == s:
			return 1
		}
		return 2
	}
	for _, m := range r.about.Metrics {
		if i, ok := social.MetricByName(m); ok && (i.Level == s || i.Also == s) {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b social.Metric) int { return rank(a) - rank(b) })
	return out
}

func (r *runner) postNumbers(t *testing.T) {
	r.check(t, "insights/batches", "none, one, a page and one more are read, each post once", func(c *check) string {
		rd, err := c.client.PostInsights(c.Context(), nil)
		c.must("reading the numbers of no post", err)
		if len(rd.Observations) != 0 {
			c.Errorf("no post has %d numbers", len(rd.Observations))
		}
		ids := c.seed(max(c.h.Stage.PageSize, 1) + 1)
		for _, n := range []int{1, len(ids) - 1, len(ids)} {
			rd, err := c.client.PostInsights(c.Context(), receipts(ids[:n]))
			c.must(fmt.Sprintf("reading the numbers of %d posts", n), err)
			if got := c.reading(rd, social.OfPost); len(got) != n || len(rd.Gone) != 0 {
				c.Errorf("of %d posts %d have numbers and %d are gone", n, len(got), len(rd.Gone))
			}
		}
		return ""
	})
	r.check(t, "insights/value", "the number is the network's, not ours", func(c *check) string {
		if c.h.Stage.Count == nil {
			c.Fatal("the harness has no Stage.Count")
		}
		ids := c.seed(2)
		m := r.numbers(social.OfPost)[0]
		for _, v := range []int64{1234567, 1234568, 3} { // it may fall, too
			c.h.Stage.Count(ids[1], m, v)
			rd, err := c.client.PostInsights(c.Context(), receipts(ids))
			c.must("reading", err)
			got := c.reading(rd, social.OfPost)
			if got[ids[1]][m] != v || got[ids[0]][m] != 0 {
				c.Errorf("%s is %d and %d, the network says 0 and %d", m, got[ids[0]][m], got[ids[1]][m], v)
			}
		}
		return ""
	})
	r.check(t, "insights/deleted meanwhile", "a gone post is a fact, not a failure of the sync", func(c *check) string {
		if c.h.Stage.Remove == nil {
			c.Fatal("the harness has no Stage.Remove")
		}
		ids := c.seed(3)
		c.h.Stage.Remove(ids[1])
		rd, err := c.client.PostInsights(c.Context(), receipts(ids))
		c.must("reading", err)
		got := c.reading(rd, social.OfPost)
		if len(got) != 2 || got[ids[1]] != nil || !slices.Equal(rd.Gone, []string{ids[1]}) {
			c.Errorf("numbers of %d posts, gone are %v; want those of 2 and %s", len(got), rd.Gone, ids[1])
		}
		return ""
	})
	r.missing(t, "insights/missing metric", social.OfPost)
	r.check(t, "insights/noise in numbers", "networks add fields without asking", func(c *check) string {
		if c.h.Stage.Noise == nil {
			c.Fatal("the harness has no Stage.Noise")
		}
		ids := c.seed(1)
		c.h.Stage.Noise()
		rd, err := c.client.PostInsights(c.Context(), receipts(ids))
		c.must("reading", err)
		if got := c.reading(rd, social.OfPost); len(got) != 1 {
			c.Errorf("%d posts have numbers, want 1", len(got))
		}
		return ""
	})
}

// missing checks that what the network does not say has no number.
func (r *runner) missing(t *testing.T, name string, s social.Subject) {
	r.check(t, name, "absent is not zero: a made-up zero would be shown as a fall", func(c *check) string {
		if c.h.Stage.Hide == nil {
			c.Fatal("the harness has no Stage.Hide")
		}
		m := r.numbers(s)[0]
		ids := c.seed(1)
		read := func() map[string]map[social.Metric]int64 {
			if s == social.OfPost {
				rd, err := c.client.PostInsights(c.Context(), receipts(ids))
				c.must("reading", err)
				return c.reading(rd, s)
			}
			return c.accountReading()
		}
		before := read()
		c.h.Stage.Hide(m)
		after := read()
		for id, numbers := range before {
			if _, was := numbers[m]; !was {
				c.Errorf("%s of %s was missing before it was hidden", m, id)
			}
			if v, is := after[id][m]; is {
				c.Errorf("the network says nothing of %s, and the connector says %d", m, v)
			}
		}
		return ""
	})
}

func (c *check) accountReading() map[string]map[social.Metric]int64 {
	c.Helper()
	to := c.h.Env.Now().UTC().Truncate(24 * time.Hour)
	rd, err := c.client.AccountInsights(c.Context(), to.AddDate(0, 0, -6), to)
	c.must("reading the account", err)
	return c.reading(rd, social.OfAccount)
}

func (r *runner) accountNumbers(t *testing.T) {
	r.check(t, "insights/account", "the account's own numbers are the network's", func(c *check) string {
		if c.h.Stage.Count == nil {
			c.Fatal("the harness has no Stage.Count")
		}
		m := r.numbers(social.OfAccount)[0]
		c.h.Stage.Count("", m, 4321)
		got := c.accountReading()
		if len(got) != 1 || got[c.h.Account.RemoteID][m] != 4321 {
			c.Errorf("%s reads as %v, the network says 4321", m, got)
		}
		return ""
	})
	r.missing(t, "insights/missing account metric", social.OfAccount)
}

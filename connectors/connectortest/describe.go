package connectortest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/connectors"
	"smi/internal/social"
)

func (r *runner) describe(t *testing.T) {
	r.check(t, "describe/constant", "callers keep the description for ever", func(c *check) string {
		again, err := c.h.New(c.h.Env)
		c.must("making a second platform", err)
		if d := cmp.Diff(c.platform.Describe(), again.Describe()); d != "" {
			c.Errorf("two platforms of one network describe themselves differently:\n%s", d)
		}
		if d := cmp.Diff(r.about, c.client.Describe()); d != "" {
			c.Errorf("the description changes:\n%s", d)
		}
		return ""
	})
	r.check(t, "describe/no I/O", "the composer calls Describe, Dial and Check at every key", func(c *check) string {
		c.dialMode.Store(dialForbid)
		before := c.h.Truth.Calls()
		c.platform.Describe()
		client := c.open(c.creds)
		for _, text := range []string{"", "hello https://example.com/ @somebody #tag"} {
			p := part(text)
			client.Check([]social.Part{p})
			client.Fingerprint(&p, "")
		}
		client.Check(nil)
		if n := c.h.Truth.Calls() - before; n != 0 {
			c.Errorf("%d requests reached the network", n)
		}
		return ""
	})
	r.check(t, "describe/complete", "the scheduler builds its deadlines on these numbers", func(c *check) string {
		d := r.about
		for _, f := range []struct {
			ok   bool
			text string
		}{
			{d.Network != "" && d.Network == c.h.Account.Network, "Network is the name accounts are stored under"},
			{d.Title != "", "Title is what people read"},
			{d.Docs != "", "Docs names the network's page"},
			{!r.verbs.Publish || d.SendTime > 0 && d.SendTime <= time.Minute, "SendTime is over 0 and at most a minute"},
			{!r.verbs.Publish || d.CommitTime > 0 && d.CommitTime <= time.Hour, "CommitTime is over 0 and at most an hour"},
			{!r.verbs.Publish || d.FindSettles >= 5*time.Minute, "FindSettles is never under five minutes"},
			{!r.verbs.Publish || d.StageAhead > 0 && d.StageAhead <= 15*time.Minute, "StageAhead is over 0 and at most 15 minutes"},
			{d.MinGap >= 0 && d.MinGap < time.Hour, "MinGap is at least 0 and under an hour"},
			{!r.verbs.PostInsights || d.LookBack > 0, "LookBack is needed where there are numbers of posts"},
			{d.KeyWindow >= 0, "KeyWindow is at least 0"},
		} {
			if !f.ok {
				c.Errorf("not so: %s", f.text)
			}
		}
		for _, b := range d.Budgets {
			if b.Endpoint == "" || b.Window <= 0 || b.Limit <= 0 || b.Cost <= 0 || b.Cost > b.Limit {
				c.Errorf("the budget %+v cannot be kept", b)
			}
		}
		return ""
	})
	r.check(t, "describe/joining", "an account that nobody can connect is no account", func(c *check) string {
		_, oauth := c.platform.(connectors.OAuth)
		if !oauth && len(loginFields(c.platform)) == 0 {
			c.Error("the platform has no way to join: neither OAuth nor a FormLogin with fields")
		}
		for _, f := range loginFields(c.platform) {
			if f.Name == "" || f.Label == "" || f.Help == "" {
				c.Errorf("the login field %+v lacks a name, a label or help", f)
			}
		}
		return ""
	})
	r.check(t, "describe/metrics", "a number outside the catalogue would be dropped", func(c *check) string {
		seen := map[social.Metric]bool{}
		for _, m := range r.about.Metrics {
			if _, ok := social.MetricByName(m); !ok {
				c.Errorf("%q is not in the catalogue", m)
			}
			if seen[m] {
				c.Errorf("%q is listed twice", m)
			}
			seen[m] = true
		}
		if has := r.verbs.PostInsights || r.verbs.AccountInsights; has != (len(seen) > 0) {
			c.Errorf("%d metrics are listed, numbers can be read: %v", len(seen), has)
		}
		return ""
	})
	r.check(t, "describe/limits", "the composer and internal/media work from the limits alone", func(c *check) string {
		l := r.about.Limits
		switch l.Text.Unit {
		case connectors.Graphemes, connectors.Runes, connectors.UTF16, connectors.Bytes, connectors.Weighted:
		default:
			c.Errorf("text is counted in %q, which is no unit", l.Text.Unit)
		}
		for _, k := range mediaKinds {
			m := l.Of(k)
			switch m.Support {
			case connectors.No:
				continue
			case connectors.OK:
			case connectors.Lossy:
				if m.Note == "" {
					c.Errorf("%s is lossy and Note does not say what is lost", k)
				}
			default:
				c.Errorf("%q is no support level", m.Support)
			}
			if m.Max <= 0 || m.Bytes <= 0 || len(m.MIME) == 0 || m.Max > l.MediaTotal {
				c.Errorf("%s is supported without a sound Max, Bytes and MIME, or Max is over MediaTotal", k)
			}
		}
		for _, o := range l.Options {
			if o.Key == "" || o.Doc == "" {
				c.Errorf("the option %+v lacks a key or a doc", o)
			}
		}
		return ""
	})
}

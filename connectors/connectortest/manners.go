package connectortest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smi/connectors"
	"smi/internal/social"
)

func (r *runner) manners(t *testing.T) {
	r.check(t, "manners/secrets", "a token in a log line is a token on somebody's screen", func(c *check) string {
		if len(c.creds.known()) == 0 {
			c.Fatal("the harness's grant has no secret to look for")
		}
		c.everything(c.Context())
		c.kind(fmt.Errorf("shown: %w", func() error { _, err := c.client.Get(c.Context(), "no-such-post"); return err }()))
		if c.h.Stage.Revoke != nil {
			c.h.Stage.Revoke() // now every call fails, with the token in its hand
			c.everything(c.Context())
		}
		// check() looks through the log and all that was returned.
		return ""
	})
	r.check(t, "manners/credentials as printed", "a connection that is printed shows no token", func(c *check) string {
		conn, err := c.platform.Dial(c.h.Account, c.creds)
		c.must("opening the account", err)
		c.note(fmt.Sprintf("%v", conn), fmt.Sprintf("%+v", conn), fmt.Sprintf("%#v", conn))
		return ""
	})
	r.leftBehind(t)
	r.check(t, "manners/many at once", "one connection serves the publisher, the sync and the composer", func(c *check) string {
		j := c.job(c.body("at once"))
		if r.verbs.Publish {
			_, err := c.prepare(c.Context(), j)
			c.must("preparing", err)
		}
		ids := c.seedIf(3)
		var wg sync.WaitGroup
		errs := make(chan error, 16*4)
		for i := range 16 {
			wg.Go(func() {
				ctx := c.Context()
				_, err := c.client.Identity(ctx)
				errs <- err
				if r.verbs.List {
					_, err := c.client.List(ctx, time.Time{}, "")
					errs <- err
				}
				if r.verbs.PostInsights {
					_, err := c.client.PostInsights(ctx, receipts(ids))
					errs <- err
				}
				if r.verbs.Publish {
					own := *j
					p := *j.Part
					p.Text = fmt.Sprintf("at once %d", i)
					own.Part, own.State, own.Delivery = &p, nil, social.ID(9000+i)
					_, err := c.client.Prepare(ctx, &own)
					errs <- err
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			c.want("one of many calls at once", err, "")
		}
		if r.verbs.Publish {
			c.effects(len(ids), "16 preparations at once")
		}
		return ""
	})
	r.check(t, "manners/two networks", "an account of one platform knows nothing of another's", func(c *check) string {
		other := c.r.open(c.T)
		p, err := other.New(other.Env)
		c.must("making a second platform", err)
		cl, err := connectors.Open(p, other.Account, newVault(p, other.Grant))
		c.must("opening its account", err)
		_, err = cl.Identity(c.Context())
		c.must("asking who we are", err)
		_, err = c.client.Identity(c.Context())
		c.must("asking who we are on the first", err)
		return ""
	})
}

func (c *check) seedIf(n int) []string {
	if c.h.Stage.Write == nil {
		return nil
	}
	return c.seed(n)
}

// everything makes each call once and notes what comes out, success or not.
func (c *check) everything(ctx context.Context) {
	v := c.r.verbs
	p, err := c.client.Identity(ctx)
	c.kind(err)
	c.note(fmt.Sprintf("%+v", p))
	var got connectors.Receipt
	if v.Publish {
		j := c.job(c.body("everything"))
		_, err := c.prepare(ctx, j)
		c.kind(err)
		if err == nil {
			got, _, err = c.shoot(ctx, j)
			c.kind(err)
			c.note(fmt.Sprintf("%+v", got), string(got.State))
		}
		if v.Find && len(j.State) > 0 {
			f, err := c.client.Find(ctx, j)
			c.kind(err)
			c.note(fmt.Sprintf("%+v", f))
		}
	}
	if v.List {
		page, err := c.client.List(ctx, time.Time{}, "")
		c.kind(err)
		c.note(fmt.Sprintf("%+v", page.Posts), page.Next)
		for _, a := range page.Raw {
			c.note(a.Op, string(a.Body))
		}
	}
	if v.PostInsights && got.RemoteID != "" {
		rd, err := c.client.PostInsights(ctx, []connectors.Receipt{got})
		c.kind(err)
		c.noteReading(rd)
	}
	if v.AccountInsights {
		to := c.h.Env.Now().UTC().Truncate(24 * time.Hour)
		rd, err := c.client.AccountInsights(ctx, to, to)
		c.kind(err)
		c.noteReading(rd)
	}
	if v.Delete && got.RemoteID != "" {
		c.kind(c.client.Delete(ctx, got))
	}
}

func (c *check) noteReading(rd social.Reading) {
	c.note(fmt.Sprintf("%+v", rd.Observations))
	for _, a := range rd.Raw {
		c.note(a.Op, string(a.Body))
	}
}

// leftBehind compares the goroutines before a harness was opened with those
// after it was closed.
func (r *runner) leftBehind(t *testing.T) {
	const name = "manners/goroutines"
	if _, ok := r.skip(name); ok {
		return
	}
	t.Run("goroutines", func(t *testing.T) {
		defer func() {
			if t.Failed() {
				r.results["manners"].Failed++
			} else {
				r.results["manners"].Passed++
			}
		}()
		before := goleak.IgnoreCurrent()
		t.Run("work", func(t *testing.T) {
			c := newCheck(t, r, name)
			c.everything(c.Context())
		})
		goleak.VerifyNone(t, before)
	})
}

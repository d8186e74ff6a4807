//go:build real

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"log/slog"
	"net"
	"net/url"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/internal/realservers"
	"smi/internal/social"
)

// purse lends one grant and renews it.
type purse struct {
	p     connectors.Refresher
	grant connectors.Grant
}

func (p *purse) Grant(context.Context) (connectors.Grant, error) { return p.grant, nil }

func (p *purse) Renew(ctx context.Context, gen int64) (connectors.Grant, error) {
	if p.grant.Gen > gen {
		return p.grant, nil
	}
	g, err := p.p.Refresh(ctx, p.grant)
	if err == nil {
		g.Gen = p.grant.Gen + 1
		p.grant = g
	}
	return g, err
}

// noLimits remembers no limits.
type noLimits struct{}

func (noLimits) BlockedUntil(context.Context, string) (time.Time, error) { return time.Time{}, nil }
func (noLimits) Block(context.Context, string, time.Time) error          { return nil }

type oneFile []byte

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

func (f oneFile) Open(context.Context, string) (io.ReadSeekCloser, error) {
	return nopCloser{bytes.NewReader(f)}, nil
}

// TestRealConnector calls the Bluesky connector without the daemon around it, so
// that a difference between the real server and the simulated one shows as such.
func TestRealConnector(t *testing.T) {
	t.Parallel()
	n := realservers.Start(t, realservers.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	alice, bob := n.Account("alice"), n.Account("bob")

	settings := bluesky.NewConfig()
	settings.Service, settings.PLC, settings.VideoService = n.PDS, n.PLC, "none"
	for _, raw := range []string{n.PDS, n.PLC} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		settings.AllowHosts = append(settings.AllowHosts, u.Host)
	}
	platform, err := bluesky.New(*settings, connectors.Env{
		Dial: (&net.Dialer{}).DialContext, Now: time.Now, Limits: noLimits{},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), UserAgent: "smi-test",
	})
	if err != nil {
		t.Fatal(err)
	}

	for i, way := range []struct {
		name string
		join func(*testing.T) connectors.Grant
	}{
		{"OAuth", func(t *testing.T) connectors.Grant {
			const callback = "http://127.0.0.1:1/callback"
			req := connectors.AuthRequest{
				State: "state-state-state", RedirectURI: callback, Hint: alice.Handle,
				Verifier: social.NewSecret("verifier-verifier-verifier-verifier-verifier"),
			}
			authURL, err := platform.AuthURL(ctx, &req)
			if err != nil {
				t.Fatalf("announcing the login: %v", err)
			}
			back, err := realservers.Approve(ctx, authURL, alice.Handle, alice.Password)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(back)
			if err != nil {
				t.Fatal(err)
			}
			g, err := platform.Exchange(ctx, req, u.Query())
			if err != nil {
				t.Fatalf("exchanging the code: %v", err)
			}
			return g
		}},
		{"app password", func(t *testing.T) connectors.Grant {
			g, err := platform.Login(ctx, map[string]social.Secret{
				"identifier": social.NewSecret(alice.Handle), "app_password": social.NewSecret(alice.AppPassword),
			})
			if err != nil {
				t.Fatalf("logging in: %v", err)
			}
			return g
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			p := &purse{p: platform, grant: way.join(t)}
			p.grant.Gen = 1
			profiles, err := platform.Accounts(ctx, p.grant)
			if err != nil || len(profiles) != 1 || profiles[0].RemoteID != alice.DID {
				t.Fatalf("the grant opens %+v, %v", profiles, err)
			}
			account := social.Account{ID: 1, TokenGen: 1, Network: "bluesky", RemoteID: profiles[0].RemoteID, Handle: profiles[0].Handle, Host: profiles[0].Host}
			c, err := connectors.Open(platform, account, p)
			if err != nil {
				t.Fatal(err)
			}
			if me, err := c.Identity(ctx); err != nil || me.RemoteID != alice.DID || me.Handle != alice.Handle {
				t.Fatalf("asking who we are: %+v, %v", me, err)
			}

			text := "by " + way.name + ": @bob.test #smi https://example.org"
			file := picture(t, color.RGBA{0, 200, 0, 255}, 64, 48)
			part := &social.Part{Role: social.RoleBody, Text: text, Langs: []string{"en"}, Media: []social.Media{
				{Hash: "x", Kind: social.Image, MIME: "image/png", Bytes: int64(len(file)), Width: 64, Height: 48, Alt: "green"},
			}}
			now := time.Now()
			job := &connectors.Job{
				Delivery: 7, Part: part, Planned: now, Now: now, Attempt: 1, Fingerprint: c.Fingerprint(part, ""), Media: oneFile(file),
				Save: func(context.Context, json.RawMessage, time.Time) error { return nil },
			}
			prep, err := c.Prepare(ctx, job)
			if err != nil {
				t.Fatalf("preparing: %v", err)
			}
			job.State = prep.State
			if f, err := c.Find(ctx, job); err != nil || f.Kind == connectors.FoundPublished {
				t.Errorf("before the commit: found %+v, %v", f, err)
			}
			job.ArmedAt = time.Now()
			wire, err := c.DialCommit(ctx, job)
			if err != nil {
				t.Fatalf("dialling: %v", err)
			}
			shot := connectors.NewShot(social.ID(9+i), time.Now().Add(10*time.Second), wire, time.Now)
			r, err := c.Commit(ctx, job, shot)
			if err != nil {
				t.Fatalf("publishing: %v (%+v)", err, shot.Evidence())
			}
			posts, err := n.PostsWith(ctx, alice.DID, "by "+way.name)
			if err != nil || len(posts) != 1 || posts[0].URI != r.RemoteID || len(posts[0].Alts) != 1 || posts[0].Alts[0] != "green" {
				t.Fatalf("the server has %+v (%v), the receipt says %s", posts, err, r.RemoteID)
			}
			t.Logf("the record: %s", posts[0].Record)
			if f, err := c.Find(ctx, job); err != nil || f.Kind != connectors.FoundPublished || f.Receipt.RemoteID != r.RemoteID {
				t.Errorf("after the commit: found %+v, %v", f, err)
			}
			if page, err := c.List(ctx, now.Add(-time.Hour), ""); err != nil || len(page.Posts) == 0 || page.Posts[0].Receipt.RemoteID != r.RemoteID {
				t.Errorf("listing: %+v, %v", page, err)
			}
			if err := n.Like(ctx, bob, posts[0].Ref); err != nil {
				t.Fatal(err)
			}
			await(ctx, t, 20*time.Second, "one like to be read", func(ctx context.Context) error {
				reading, err := c.PostInsights(ctx, []connectors.Receipt{r})
				for _, o := range reading.Observations {
					if err == nil && o.Metric == social.Likes && o.Value == 1 {
						return nil
					}
				}
				return errors.Join(err, fmt.Errorf("read %+v", reading.Observations))
			})
			if reading, err := c.AccountInsights(ctx, now, now); err != nil || len(reading.Observations) == 0 {
				t.Errorf("reading the account: %+v, %v", reading, err)
			}

			old := p.grant
			if err := c.Renew(ctx); err != nil {
				t.Fatalf("renewing: %v", err)
			}
			// The server makes the same access token twice in one second; the refresh
			// token is always another.
			if p.grant.Refresh.Reveal() == old.Refresh.Reveal() {
				t.Error("renewing changed nothing")
			}
			if _, err := c.Identity(ctx); err != nil {
				t.Errorf("after renewing: %v", err)
			}
			if err := c.Delete(ctx, r); err != nil {
				t.Errorf("deleting: %v", err)
			}
			if left, err := n.PostsWith(ctx, alice.DID, "by "+way.name); err != nil || len(left) != 0 {
				t.Errorf("after deleting the server has %+v, %v", left, err)
			}
			if f, err := c.Find(ctx, job); err != nil || f.Kind != connectors.FoundHandleGood {
				t.Errorf("after deleting: found %+v, %v", f, err)
			}
		})
	}
}

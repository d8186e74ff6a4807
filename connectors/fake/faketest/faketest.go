// Package faketest stands the fake network before the conformance suite.
package faketest

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/fake"
	"smi/internal/social"
)

// Open returns a harness with a fresh fake network of these options, with one
// account. Options.Now is set by it.
func Open(t testing.TB, o fake.Options) *connectortest.Harness {
	t.Helper()
	env := connectortest.NewEnv(t)
	o.Now = env.Now
	net := fake.New(o)
	acct := net.AddAccount("ann", "")
	return &connectortest.Harness{
		Env:     env,
		New:     func(connectors.Env) (connectors.Platform, error) { return net, nil },
		Account: acct.Connected(1, 1),
		Grant:   acct.Grant(),
		Truth:   truth{net, acct},
		Stage: connectortest.Stage{
			Write:    func(text string) string { return acct.Write(text, "") },
			Remove:   func(id string) { acct.Remove(id) },
			Count:    acct.SetCount,
			Hide:     func(m social.Metric) { acct.Hide(m, true) },
			Loop:     func() { acct.Loop(true) },
			Noise:    func() {}, // nothing is parsed
			Revoke:   acct.RevokeAll,
			PageSize: net.PageSize(),
		},
		Login: connectortest.Login{
			Form: acct.Login(),
			Consent: func(_ context.Context, u string, withhold ...string) (connectortest.Callback, error) {
				return consent(net, u, withhold)
			},
			Redirect: "https://smi.example/callback/fake",
			Scope:    "insights",
		},
		Faults: &faults{net: net, acct: acct, now: env.Now, hit: make(chan struct{})},
		ResetHeader: func(at time.Time) map[string]string {
			return map[string]string{resetHeader: strconv.FormatInt(at.Unix(), 10)}
		},
	}
}

const resetHeader = "Fake-Reset"

func consent(net *fake.Network, authURL string, withhold []string) (connectortest.Callback, error) {
	back, err := net.Consent(authURL, "ann", withhold...)
	if err != nil {
		return connectortest.Callback{}, err
	}
	u, err := url.Parse(authURL)
	if err != nil {
		return connectortest.Callback{}, err
	}
	q := u.Query()
	return connectortest.Callback{
		Query:       back,
		State:       q.Get("state"),
		Challenge:   q.Get("code_challenge"),
		Method:      q.Get("code_challenge_method"),
		RedirectURI: q.Get("redirect_uri"),
	}, nil
}

type truth struct {
	net  *fake.Network
	acct *fake.Account
}

func (f truth) Posts() []connectortest.Post {
	var out []connectortest.Post
	for _, p := range f.acct.Posts() {
		out = append(out, connectortest.Post{RemoteID: p.RemoteID, Text: p.Text, Parent: p.Parent, Media: len(p.Media), Hash: p.RequestHash})
	}
	return out
}

func (f truth) Effects() int { return len(f.acct.Effects()) }

func (f truth) Calls() int { return f.acct.AllCalls() + f.net.AllCalls() }

// faults plays what goes wrong on a wire on a network that has none.
type faults struct {
	net  *fake.Network
	acct *fake.Account
	now  func() time.Time

	once sync.Once
	hit  chan struct{}
}

func (f *faults) Hit() <-chan struct{} { return f.hit }

func (f *faults) Set(op connectortest.Op, w connectortest.Fault) bool {
	at, do := fake.Op(op), f.fault(w)
	do.Met = func() { f.once.Do(func() { close(f.hit) }) }
	if (w.Do == connectortest.RefuseDial || w.Do == connectortest.BreakTLS) && op == connectortest.OpCommit {
		at = fake.OpDial
	}
	if op == connectortest.OpRefresh {
		f.net.Always(at, do)
	} else {
		f.acct.Always(at, do)
	}
	return true
}

func (f *faults) fault(w connectortest.Fault) fake.Fault {
	switch w.Do {
	case connectortest.Answer:
		switch {
		case w.Status < 300:
			return fake.Fault{Do: fake.Garbage}
		case w.Acted:
			return fake.Fault{Do: fake.FailAfterEffect, Status: w.Status}
		}
		return fake.Fault{Do: fake.Refuse, Status: w.Status, RetryAfter: f.retryAfter(w.Header)}
	case connectortest.CutJSON:
		return fake.Fault{Do: fake.Garbage}
	case connectortest.Cut:
		if w.Acted {
			return fake.Fault{Do: fake.CutAfterEffect}
		}
		return fake.Fault{Do: fake.CutBeforeEffect}
	case connectortest.SlowHeaders, connectortest.SlowBody:
		return fake.Fault{Do: fake.Hang}
	case connectortest.RefuseDial, connectortest.BreakTLS:
	}
	return fake.Fault{Do: fake.CutBeforeWrite}
}

func (f *faults) retryAfter(h map[string]string) time.Duration {
	if s, err := strconv.Atoi(h["Retry-After"]); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(h["Retry-After"]); err == nil {
		return at.Sub(f.now())
	}
	if s, err := strconv.ParseInt(h[resetHeader], 10, 64); err == nil {
		return time.Unix(s, 0).Sub(f.now())
	}
	return 0
}

package faketest

import (
	"context"
	"net/http"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/fake"
	"smi/internal/social"
)

// World returns a fake network for a simulation. o says what kind it is; its
// clock, its token's life and what goes wrong are the simulation's.
func World(o fake.Options, w connectortest.WorldOptions) *connectortest.World {
	o.Now, o.TokenLife = w.Now, w.TokenLife
	o.Play = func(account string, op fake.Op, nth int) fake.Fault {
		q := connectortest.Request{Op: ops[op], Account: account, Nth: nth}
		if q.Op == "" {
			q.Op = connectortest.OpOther
		}
		return mishap(w.Meet(q))
	}
	net := fake.New(o)
	return &connectortest.World{
		New: func(connectors.Env) (connectors.Platform, error) { return net, nil },
		AddAccount: func(n int) social.Account {
			return net.AddAccount([]string{"ann", "ben", "cem", "dea"}[n], "").Connected(0, 0)
		},
		Login: func(_ context.Context, remoteID string) (connectors.Grant, error) {
			return net.Account(remoteID).Grant(), nil
		},
		Effects: func() (out []connectortest.Effect) {
			for _, p := range net.Journal() {
				out = append(out, connectortest.Effect{
					Account: p.Account, RemoteID: p.RemoteID, Parent: p.Parent, Text: p.Text, Media: len(p.Media), At: p.At, Hash: p.RequestHash, Attempt: p.Attempt,
				})
			}
			return out
		},
		Expire: func(remoteID string) { net.Account(remoteID).Expire() },
		Revoke: func(remoteID string) { net.Account(remoteID).RevokeAll() },
		Stale:  func(remoteID string, d time.Duration) { net.Account(remoteID).Stale(d) },
		Reused: net.Reused,
	}
}

// ops are the requests of the suites by the fake's names.
var ops = map[fake.Op]connectortest.Op{
	fake.OpIdentity: connectortest.OpIdentity, fake.OpUpload: connectortest.OpPrepare, fake.OpCommit: connectortest.OpCommit,
	fake.OpFind: connectortest.OpFind, fake.OpGet: connectortest.OpGet, fake.OpDelete: connectortest.OpDelete, fake.OpList: connectortest.OpList,
	fake.OpRefresh: connectortest.OpRefresh, fake.OpDial: connectortest.OpDial,
}

// mishap is a misfortune of the wire on a network that has none.
func mishap(m connectortest.Mishap) fake.Fault {
	f := fake.Fault{Delay: m.Delay, Met: m.Acted}
	refuse := func(status int, after time.Duration) {
		f.Do, f.Status, f.RetryAfter = fake.Refuse, status, after
	}
	switch m.Name {
	case connectortest.Reset:
		f.Do = fake.CutBeforeEffect
	case connectortest.Lost:
		f.Do = fake.CutAfterEffect
	case connectortest.LateAnswer, connectortest.SlowAnswer, connectortest.EndlessHeader:
		f.Do = fake.Hang
	case connectortest.Parked:
		f.Do, f.After = fake.Park, connectortest.ParkedFor
	case connectortest.Silent:
		f.Do = fake.HangBefore
	case connectortest.Down:
		refuse(http.StatusServiceUnavailable, 0)
	case connectortest.Gateway:
		refuse(http.StatusBadGateway, 0)
	case connectortest.DownDone:
		f.Do = fake.FailAfterEffect
	case connectortest.GatewayDone:
		f.Do, f.Status = fake.FailAfterEffect, http.StatusGatewayTimeout
	case connectortest.RefusedDone:
		f.Do, f.Status = fake.FailAfterEffect, http.StatusBadRequest
	case connectortest.ConflictDone:
		f.Do, f.Status = fake.FailAfterEffect, http.StatusConflict
	case connectortest.LimitSeconds:
		refuse(http.StatusTooManyRequests, 30*time.Second)
	case connectortest.LimitDate:
		refuse(http.StatusTooManyRequests, 40*time.Second)
	case connectortest.LimitGarbage:
		refuse(http.StatusTooManyRequests, 0)
	case connectortest.LimitHuge:
		refuse(http.StatusTooManyRequests, connectortest.HugeWait)
	case connectortest.Truncated, connectortest.Garbled, connectortest.Page, connectortest.WrongTypes, connectortest.HugeAnswer:
		f.Do = fake.Garbage
	case connectortest.NoID:
		f.Do = fake.WithoutID
	case connectortest.RedirectSame, connectortest.RedirectPlain:
		refuse(http.StatusTemporaryRedirect, 0)
	case connectortest.RedirectOther:
		refuse(http.StatusPermanentRedirect, 0)
	case connectortest.Denied:
		refuse(http.StatusUnauthorized, 0)
	case connectortest.Fine, connectortest.Doubled:
	}
	return f
}

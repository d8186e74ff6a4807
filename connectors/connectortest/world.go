package connectortest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/internal/social"
)

// World is a simulated network as internal/simulate wants it: any number of
// accounts, each request told before it acts, and the truth in the end. A
// network joins that simulation with one function that makes a World and one
// line in connectors/connectortest/worlds.
//
// It belongs into a bubble of testing/synctest: it opens no socket and waits on
// timers only.
type World struct {
	// New makes the connector; Env.Dial leads to it. Dial and RootCAs are nil for a
	// network without connections.
	New     func(connectors.Env) (connectors.Platform, error)
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	RootCAs *x509.CertPool
	// Impostors have the certificates of servers in this one's place; nil for a
	// network without connections.
	Impostors map[Impostor]tls.Certificate
	// AddAccount puts an account on the network and returns what smi stores of it.
	AddAccount func(n int) social.Account
	// Login is the person who connects the account. It meets no mishap.
	Login func(ctx context.Context, remoteID string) (connectors.Grant, error)
	// Effects is everything that ever became public, in order.
	Effects func() []Effect
	// Expire ends the access tokens of an account, Revoke its whole login.
	Expire, Revoke func(remoteID string)
	// Stale makes listings show only what is older; nil where nothing is listed.
	Stale func(remoteID string, d time.Duration)
	// VideoOnly is a network that takes one part with one video, and no < and > in
	// its text: the simulation says nothing else to it.
	VideoOnly bool
	// TextOnly is a network that takes no media.
	TextOnly bool
	// Reused counts the times a refresh token was used twice, to the end of its
	// login.
	Reused func() int
}

// WorldOptions are how a simulation steers a World.
type WorldOptions struct {
	Now  func() time.Time
	Seed uint64
	// TokenLife is how long access tokens live.
	TokenLife time.Duration
	// Meet is asked what happens to a request, right when it has arrived. It is
	// not asked for requests of the person who logs in. It must not call the World.
	Meet func(Request) Mishap
}

// Effect is something that became public on a network.
type Effect struct {
	Account  string // remote id
	RemoteID string
	Parent   string // remote id of what it answers
	Text     string // as a reader sees it
	Media    int
	At       time.Time
	Hash     string    // of the request's body, where the simulator knows it
	Attempt  social.ID // of the Shot that made it, where the simulator knows it
}

// Request is a request that has arrived at a World.
type Request struct {
	Op      Op
	Account string // remote id, where the request says so
	Nth     int    // of this op and account, from 1
	Hash    string // SHA-256 (hex) of a commit's body, where there is one
}

// OpDial is the opening of a connection where a network has none; OpOther is
// every request that is none of the ops.
const (
	OpDial  Op = "dial"
	OpOther Op = "other"
)

// Mishap is what happens to a request. The zero Mishap is a request that is
// answered at once.
type Mishap struct {
	Name  Misfortune
	Delay time.Duration // before the network acts
	// Acted is called after the network has acted, or would have, and before it
	// answers. May be nil.
	Acted func()
}

// Misfortune names what goes wrong with one request. Where its comment does not
// say otherwise, the network has acted.
type Misfortune string

// The misfortunes.
const (
	Fine          Misfortune = ""
	Reset         Misfortune = "reset"          // read and dropped, nothing done
	Lost          Misfortune = "lost"           // done, and the answer lost
	LateAnswer    Misfortune = "late answer"    // done, and answered when nobody listens any more
	Parked        Misfortune = "parked"         // nothing at first; done 45 s later
	Silent        Misfortune = "silent"         // nothing done, no answer
	Down          Misfortune = "down"           // 503, nothing done
	Gateway       Misfortune = "gateway"        // a proxy's 502, nothing done
	DownDone      Misfortune = "down done"      // 500, and done
	GatewayDone   Misfortune = "gateway done"   // a proxy's 504, and done
	RefusedDone   Misfortune = "refused done"   // a 400 of a code that nobody knows, and done
	ConflictDone  Misfortune = "conflict done"  // 409, and done
	LimitSeconds  Misfortune = "limit seconds"  // 429, Retry-After: 30
	LimitDate     Misfortune = "limit date"     // 429, Retry-After as a date
	LimitGarbage  Misfortune = "limit garbage"  // 429, Retry-After: soon
	LimitHuge     Misfortune = "limit huge"     // 429, Retry-After: 1000000000
	Truncated     Misfortune = "truncated"      // a 200 that ends in its middle
	Garbled       Misfortune = "garbled"        // a 200 that is no JSON
	Page          Misfortune = "page"           // a 200 that is a proxy's page
	WrongTypes    Misfortune = "wrong types"    // a 200 whose fields have other types
	NoID          Misfortune = "no id"          // a 200 without an id
	SlowAnswer    Misfortune = "slow answer"    // a byte a second
	EndlessHeader Misfortune = "endless header" // a header without end
	HugeAnswer    Misfortune = "huge answer"    // a gigabyte
	Doubled       Misfortune = "doubled"        // two answers on one connection
	RedirectSame  Misfortune = "redirect same"  // 307 to itself, nothing done
	RedirectOther Misfortune = "redirect other" // 308 to another host, nothing done
	RedirectPlain Misfortune = "redirect plain" // 307 to http, nothing done
	Denied        Misfortune = "denied"         // 401 of nobody in particular, nothing done
)

// Misfortunes are all of them.
var Misfortunes = []Misfortune{
	Fine, Reset, Lost, LateAnswer, Parked, Silent, Down, Gateway, DownDone, GatewayDone, RefusedDone, ConflictDone, LimitSeconds, LimitDate,
	LimitGarbage, LimitHuge, Truncated, Garbled, Page, WrongTypes, NoID, SlowAnswer, EndlessHeader, HugeAnswer, Doubled, RedirectSame,
	RedirectOther, RedirectPlain, Denied,
}

// ParkedFor is how long a parked request takes to act, HugeWait what LimitHuge
// asks for.
const (
	ParkedFor = 45 * time.Second
	HugeWait  = 1_000_000_000 * time.Second
)

// PersonAgent is the User-Agent of the person who logs in.
const PersonAgent = "a person"

// PersonEnv is the Env of the platform with which a World's Login connects.
func PersonEnv(w *World, now func() time.Time) connectors.Env {
	return connectors.Env{Dial: w.Dial, RootCAs: w.RootCAs, Now: now, UserAgent: PersonAgent}
}

// ServeWorld serves the handler of a simulator made of simkit in memory, with
// TLS for host, until the test ends, and lets Meet decide about each request.
// which says what a request is, and of whom. It sets Dial, RootCAs and Impostors
// and returns the address.
func ServeWorld(t testing.TB, w *World, o WorldOptions, h http.Handler, kit *simkit.Kit, host string, which func(*http.Request) (Op, string)) string {
	t.Helper()
	srv := simkit.ServePipe(t, h, true, host)
	w.Dial, w.RootCAs = srv.Dial, srv.RootCAs
	var err error
	if w.Impostors, err = impostors(host, w.RootCAs); err != nil {
		t.Fatal(err)
	}
	var seen counter
	kit.Script.Add(simkit.Fault{Name: "met", Do: func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if o.Meet == nil || r.UserAgent() == PersonAgent {
			next.ServeHTTP(out, r)
			return
		}
		q := Request{}
		if q.Op, q.Account = which(r); q.Op == "" {
			q.Op = OpOther
		}
		if q.Op == OpCommit {
			q.Hash = simkit.BodyHash(r)
		}
		q.Nth = seen.next(q.Op, q.Account)
		out.Header().Set("Date", o.Now().UTC().Format(http.TimeFormat)) // the server's own would be the bubble's
		m := o.Meet(q)
		if m.Delay > 0 {
			<-time.After(m.Delay)
		}
		acted := next
		if m.Acted != nil {
			acted = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(out, r)
				m.Acted()
			})
			if nothing[m.Name] {
				m.Acted()
			}
		}
		play(m.Name, srv.URL, o.Now())(out, r, acted)
	}})
	return srv.URL
}

// nothing are the misfortunes of requests that do not act, or not now.
var nothing = map[Misfortune]bool{
	Reset: true, Parked: true, Silent: true, Down: true, Gateway: true, LimitSeconds: true, LimitDate: true, LimitGarbage: true, LimitHuge: true,
	RedirectSame: true, RedirectOther: true, RedirectPlain: true, Denied: true,
}

// Acts says whether the network acts, now or later, on a request that meets
// this.
func (m Misfortune) Acts() bool { return !nothing[m] || m == Parked }

// play is a misfortune on the wire.
func play(m Misfortune, url string, now time.Time) simkit.Action {
	retry := func(v string) simkit.Action {
		return simkit.Status(http.StatusTooManyRequests, map[string]string{"Retry-After": v}, `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}`)
	}
	ok := func(ctype, body string) simkit.Action {
		return simkit.ActThenStatus(http.StatusOK, map[string]string{"Content-Type": ctype}, body)
	}
	redirect := func(status int, to string) simkit.Action {
		return simkit.Status(status, map[string]string{"Location": to}, "")
	}
	switch m {
	case Reset:
		return simkit.CutBefore()
	case Lost:
		return simkit.CutAfter()
	case LateAnswer:
		return simkit.ActThenDelay(2 * time.Minute)
	case Parked:
		return simkit.Park(ParkedFor)
	case Silent:
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			simkit.Delay(endless)(w, r, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		}
	case Down:
		return simkit.Status(http.StatusServiceUnavailable, nil, `{"error":"NotEnoughResources","message":"busy"}`)
	case Gateway:
		return simkit.HTML(http.StatusBadGateway)
	case DownDone:
		return simkit.ActThenStatus(http.StatusInternalServerError, nil, `{"error":"InternalServerError","message":"Internal Server Error"}`)
	case GatewayDone:
		return simkit.ActThenHTML(http.StatusGatewayTimeout)
	case RefusedDone:
		return simkit.ActThenStatus(http.StatusBadRequest, nil, `{"error":"NobodyKnows","message":"it did not work"}`)
	case ConflictDone:
		return simkit.ActThenStatus(http.StatusConflict, nil, `{"error":"Conflict","message":"conflict"}`)
	case LimitSeconds:
		return retry("30")
	case LimitDate:
		return retry(now.Add(40 * time.Second).UTC().Format(http.TimeFormat))
	case LimitGarbage:
		return retry("soon")
	case LimitHuge:
		return retry(fmt.Sprint(int64(HugeWait / time.Second)))
	case Truncated:
		return simkit.Truncate(5)
	case Garbled:
		return simkit.Garbage()
	case Page:
		return simkit.ActThenHTML(http.StatusOK)
	case WrongTypes:
		return ok("application/json", `{"id":{},"uri":7,"cid":[],"accessJwt":1,"access_token":2}`)
	case NoID:
		return ok("application/json", `{}`)
	case SlowAnswer:
		return simkit.Slow(1, time.Second)
	case EndlessHeader:
		return simkit.EndlessHeaders()
	case HugeAnswer:
		return simkit.Huge(1 << 30)
	case Doubled:
		return simkit.Double()
	case RedirectSame:
		return redirect(http.StatusTemporaryRedirect, url)
	case RedirectOther:
		return redirect(http.StatusPermanentRedirect, "https://elsewhere.test/")
	case RedirectPlain:
		return redirect(http.StatusTemporaryRedirect, "http://sim.test/")
	case Denied:
		return simkit.Status(http.StatusUnauthorized, nil, "")
	case Fine:
	}
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }
}

// counter counts requests by op and account.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) next(op Op, account string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	key := string(op) + " " + account
	c.n[key]++
	return c.n[key]
}

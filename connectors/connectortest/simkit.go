package connectortest

import (
	"net/http"
	"sync"
	"time"

	"smi/connectors/internal/simkit"
)

// Route finds the requests of an op among those a simulator gets.
type Route struct {
	Method string // "" is any
	Path   string // exact, or a prefix with "*"
	Match  func(*http.Request) bool
}

// SimkitFaults puts faults on the script of a simulator made of simkit. Ops
// without a route are not applicable.
func SimkitFaults(s *simkit.Script, routes map[Op]Route) Faults {
	return &simkitFaults{script: s, routes: routes, hit: make(chan struct{})}
}

type simkitFaults struct {
	script *simkit.Script
	routes map[Op]Route

	once sync.Once
	hit  chan struct{}
}

func (f *simkitFaults) Hit() <-chan struct{} { return f.hit }

func (f *simkitFaults) Set(op Op, fault Fault) bool {
	route, ok := f.routes[op]
	do := simkitAction(fault)
	if !ok || do == nil {
		return false
	}
	note := func(*http.Request) { f.once.Do(func() { close(f.hit) }) }
	met := simkit.Then(note, do)
	if fault.Acted { // met means that it has acted, or the truth would be asked too early
		met = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			do(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				note(r)
			}))
		}
	}
	f.script.Add(simkit.Fault{Name: string(op), Method: route.Method, Path: route.Path, Match: route.Match, Do: met})
	return true
}

// endless is longer than any client of the suite waits. A simulator's handler
// ends when its client has gone.
const endless = time.Hour

func simkitAction(f Fault) simkit.Action {
	switch f.Do {
	case Answer:
		if f.Acted {
			return simkit.ActThenStatus(f.Status, f.Header, f.Body)
		}
		return simkit.Status(f.Status, f.Header, f.Body)
	case CutJSON:
		return simkit.Truncate(5)
	case Cut:
		if f.Acted {
			return simkit.CutAfter()
		}
		return simkit.CutBefore()
	case SlowHeaders:
		return simkit.ActThenDelay(endless)
	case SlowBody:
		return slowBody
	}
	return nil
}

// slowBody acts, sends the headers of an answer and never its body.
func slowBody(w http.ResponseWriter, r *http.Request, next http.Handler) {
	simkit.ActThenStatus(http.StatusOK, map[string]string{"Content-Type": "application/json", "Content-Length": "100"}, "")(flushed{w}, r, next)
	simkit.Delay(endless)(w, r, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// flushed sends what was written at once.
type flushed struct{ http.ResponseWriter }

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	http.NewResponseController(f.ResponseWriter).Flush() //nolint:errcheck // the client may have gone
	return n, err
}

package simkit

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Effect is something that became true at the simulated network.
type Effect struct {
	At       time.Time
	Op       string // the simulator's name of what was done: "createRecord"
	Account  string // remote id of the account it was done on
	RemoteID string // of what came to be
	Hash     string // SHA-256 (hex) of the request's body, see BodyHash
	Text     string // what a reader would see
}

// Journal is the list of effects, the truth that tests ask for. It only grows.
type Journal struct {
	mu      sync.Mutex
	now     func() time.Time
	effects []Effect
	waiting []chan struct{}
}

// Add notes an effect. A zero At becomes now.
func (j *Journal) Add(e Effect) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.At.IsZero() && j.now != nil {
		e.At = j.now()
	}
	j.effects = append(j.effects, e)
	for _, c := range j.waiting {
		close(c)
	}
	j.waiting = nil
}

// Effects returns the effects of an operation in order; "" means all.
func (j *Journal) Effects(op string) []Effect {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.filter(op)
}

func (j *Journal) filter(op string) []Effect {
	var out []Effect
	for _, e := range j.effects {
		if op == "" || e.Op == op {
			out = append(out, e)
		}
	}
	return out
}

// Count is the number of effects of an operation; "" means all.
func (j *Journal) Count(op string) int { return len(j.Effects(op)) }

// Reached returns a channel that is closed once there are n effects of op.
func (j *Journal) Reached(op string, n int) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		for {
			j.mu.Lock()
			if len(j.filter(op)) >= n {
				j.mu.Unlock()
				close(done)
				return
			}
			c := make(chan struct{})
			j.waiting = append(j.waiting, c)
			j.mu.Unlock()
			<-c
		}
	}()
	return done
}

// Request is a request that came, without its secrets.
type Request struct {
	At             time.Time
	Method, Path   string
	Query          url.Values // values of names that hold secrets are hashed
	Auth           string     // scheme and the first 8 hex digits of the token's SHA-256
	IdempotencyKey string
	Proto          string
	Bytes          int
	Hash           string // SHA-256 (hex) of the body
	Fault          string // name of the fault it met, if any
	Status         int    // of the answer; 0 if there was none yet
}

// RequestLog is what came, in order.
type RequestLog struct {
	mu   sync.Mutex
	list []Request
}

// All returns every request.
func (l *RequestLog) All() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Request(nil), l.list...)
}

// Count is how many requests had this method and path; "" means any.
func (l *RequestLog) Count(method, path string) int {
	n := 0
	for _, r := range l.All() {
		if (method == "" || r.Method == method) && (path == "" || r.Path == path) {
			n++
		}
	}
	return n
}

func (l *RequestLog) begin(r Request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r)
	return len(l.list) - 1
}

func (l *RequestLog) fault(n int, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list[n].Fault = name
}

func (l *RequestLog) end(n, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list[n].Status = status
}

// Fingerprint is a short name for a secret that does not give it away.
func Fingerprint(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:4])
}

func redactAuth(h http.Header) string {
	v := h.Get("Authorization")
	if v == "" {
		return ""
	}
	scheme, token, ok := strings.Cut(v, " ")
	if !ok {
		return Fingerprint(v)
	}
	return scheme + " " + Fingerprint(token)
}

func redactQuery(q url.Values) url.Values {
	for name, values := range q {
		n := strings.ToLower(name)
		if strings.Contains(n, "token") || strings.Contains(n, "secret") || strings.Contains(n, "password") || n == "code" {
			for i := range values {
				values[i] = Fingerprint(values[i])
			}
		}
	}
	return q
}

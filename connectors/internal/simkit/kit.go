package simkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Options make a Kit.
type Options struct {
	// Now is the simulator's time; nil means time.Now.
	Now func() time.Time
	// Seed of the random numbers. The same seed gives the same numbers.
	Seed uint64
	// MaxBody is how many bytes of a request are read; 0 means 128 MiB. A longer
	// one is answered with 413.
	MaxBody int64
}

// Kit is the common part of a simulator. It is safe for concurrent use.
type Kit struct {
	Script   *Script
	Journal  *Journal
	Requests *RequestLog
	Rand     *Rand

	now     func() time.Time
	maxBody int64
}

// New returns a kit with an empty script.
func New(o Options) *Kit {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 128 << 20
	}
	return &Kit{
		Script:   &Script{},
		Journal:  &Journal{now: o.Now},
		Requests: &RequestLog{},
		Rand:     &Rand{r: rand.New(rand.NewPCG(o.Seed, 0x5eed))}, //nolint:gosec // a simulator must be repeatable
		now:      o.Now,
		maxBody:  o.MaxBody,
	}
}

// Now is the simulator's time.
func (k *Kit) Now() time.Time { return k.now() }

// Handler returns next behind the request log and the script. Every request's
// body is read completely before next or a fault sees it, and its context does
// not end when the client goes away: a network that has read a request acts on
// it, whether or not somebody still listens.
func (k *Kit) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, k.maxBody+1))
		if err != nil {
			return // the client went away in the middle of its request
		}
		if int64(len(body)) > k.maxBody {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		client := r.Context()
		r = r.WithContext(context.WithValue(context.WithoutCancel(client), clientKey{}, client))
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		sum := sha256.Sum256(body)
		n := k.Requests.begin(Request{
			At: k.now(), Method: r.Method, Path: r.URL.Path, Query: redactQuery(r.URL.Query()),
			Auth: redactAuth(r.Header), IdempotencyKey: r.Header.Get("Idempotency-Key"),
			Bytes: len(body), Hash: hex.EncodeToString(sum[:]), Proto: r.Proto,
		})
		sw := &statusWriter{ResponseWriter: w}
		defer func() { k.Requests.end(n, sw.status) }()
		fault := k.Script.match(r)
		if fault == nil {
			next.ServeHTTP(sw, r)
			return
		}
		k.Requests.fault(n, fault.Name)
		fault.Do(sw, r, next)
	})
}

type clientKey struct{}

// gone is closed when the client of the request has gone away.
func gone(r *http.Request) <-chan struct{} {
	if c, ok := r.Context().Value(clientKey{}).(context.Context); ok {
		return c.Done()
	}
	return nil
}

// BodyHash returns the SHA-256 (hex) of the request's body, as Effect.Hash
// wants it, and leaves the body readable.
func BodyHash(r *http.Request) string {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Rand is a source of repeatable random numbers for many goroutines.
type Rand struct {
	mu sync.Mutex
	r  *rand.Rand
}

// IntN returns a number in [0, n).
func (r *Rand) IntN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.IntN(n)
}

// Float64 returns a number in [0, 1).
func (r *Rand) Float64() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Float64()
}

// Uint64 returns any 64-bit number.
func (r *Rand) Uint64() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Uint64()
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

package store_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

var benchNow = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// benchStore has n due deliveries over 100 accounts.
func benchStore(b *testing.B, n int) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), store.Options{Path: filepath.Join(b.TempDir(), "smi.db"), BallastBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() }) //nolint:errcheck // the benchmark is over
	d := storetest.Seed(b, s)
	ws := d.Workspace()
	d.Exec(`PRAGMA synchronous = OFF`)
	var accounts []social.Account
	for range 100 {
		accounts = append(accounts, d.Account(ws.ID))
	}
	for i := range n {
		d.Delivery(d.Post(ws.ID, benchNow.Add(-time.Duration(i)*time.Millisecond)), accounts[i%len(accounts)])
	}
	d.Exec(`PRAGMA synchronous = FULL`)
	return s
}

func benchClaim(b *testing.B, s *store.Store, n int, now time.Time) []scheduler.Work {
	b.Helper()
	works, err := s.Claim(b.Context(), scheduler.ClaimRequest{Node: "n1", Now: now, Lease: 15 * time.Second, Limit: n, PerAccount: n})
	if err != nil || len(works) != n {
		b.Fatalf("claimed %d of %d: %v", len(works), n, err)
	}
	return works
}

func BenchmarkClaim1000(b *testing.B) { benchmarkClaim(b, 1000, 1000) }

// BenchmarkClaim256of5000 is what the dispatcher does in a burst.
func BenchmarkClaim256of5000(b *testing.B) { benchmarkClaim(b, 5000, 256) }

func benchmarkClaim(b *testing.B, due, limit int) {
	s := benchStore(b, due)
	now := benchNow
	for b.Loop() {
		benchClaim(b, s, limit, now)
		now = now.Add(time.Minute) // the leases have ended
	}
}

// each runs fn on every work by 256 goroutines and reports the time of one.
func each(b *testing.B, works []scheduler.Work, fn func(*scheduler.Work) error) {
	b.Helper()
	next := make(chan *scheduler.Work, len(works))
	for i := range works {
		next <- &works[i]
	}
	close(next)
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for w := range next {
				if err := fn(w); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func benchReady(b *testing.B, s *store.Store) func(w *scheduler.Work) error {
	return func(w *scheduler.Work) error {
		w.Delivery.Ver++
		return s.Move(b.Context(), scheduler.Move{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Scheduled}, To: social.Ready, Now: benchNow, NextAt: benchNow,
			Checkpoint: &scheduler.Checkpoint{Class: connectors.Unkeyed, RequestHash: "h"},
		})
	}
}

func benchArm(b *testing.B, s *store.Store, d *storetest.Seeds) func(w *scheduler.Work) error {
	var mu sync.Mutex
	return func(w *scheduler.Work) error {
		mu.Lock()
		id := d.ID()
		mu.Unlock()
		a, err := s.Arm(b.Context(), scheduler.ArmRequest{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, Ver: w.Delivery.Ver, Attempt: id, N: 1, Node: "n1", Class: connectors.Unkeyed,
			Now: benchNow, SendBy: benchNow.Add(30 * time.Second), TakeoverAt: benchNow.Add(95 * time.Second), TokenGen: 1, RequestHash: "h", Fingerprint: w.Delivery.ID.String(),
			ContentHash: w.Delivery.ContentHash, Charges: []scheduler.Charge{{Key: "fake/" + w.Account.RemoteID + "/create", Window: time.Hour, Limit: 1000, Cost: 1}},
		})
		w.Attempts = append(w.Attempts, a)
		return err
	}
}

// BenchmarkArm arms 1,000 deliveries by 256 goroutines.
func BenchmarkArm(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := benchStore(b, 1000)
		works := benchClaim(b, s, 1000, benchNow)
		each(b, works, benchReady(b, s))
		b.StartTimer()
		each(b, works, benchArm(b, s, storetest.Seed(b, s)))
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/arm")
}

// BenchmarkRecord records 1,000 successes by 256 goroutines.
func BenchmarkRecord(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := benchStore(b, 1000)
		works := benchClaim(b, s, 1000, benchNow)
		each(b, works, benchReady(b, s))
		each(b, works, benchArm(b, s, storetest.Seed(b, s)))
		b.StartTimer()
		each(b, works, func(w *scheduler.Work) error {
			r := connectors.Receipt{RemoteID: "r-" + w.Delivery.ID.String(), URL: "https://example.org/", PublishedAt: benchNow}
			return s.Move(b.Context(), scheduler.Move{
				Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Published, Now: benchNow, Step: 1, Release: true, Body: &r,
				Attempt: &scheduler.AttemptChange{ID: w.Attempts[0].ID, State: scheduler.AttemptOK, Receipt: r, DecidedBy: "answer"},
			})
		})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "µs/record")
}

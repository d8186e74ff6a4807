package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/obs"
	"smi/internal/social"
)

// Probes cost a write now and then, and a store that stops taking writes is
// found out within pulseEvery all the same.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		var writes int
		var fails error
		probe := func() error {
			return p.feel(t.Context(), func(context.Context) error {
				writes++
				return fails
			})
		}
		for range 60 { // one a second
			if err := probe(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
		}
		if writes != 4 {
			t.Errorf("60 probes in a minute cost %d writes, want 4", writes)
		}
		fails = errors.New("no room")
		began := time.Now()
		for probe() == nil {
			<-time.After(time.Second)
		}
		if took := time.Since(began); took > pulseEvery {
			t.Errorf("a store without room was found out after %s, want %s at most", took, pulseEvery)
		}
		fails = nil
		if err := probe(); err != nil {
			t.Errorf("a store that works again is said not to: %v", err)
		}
	})
}

// A write that hangs keeps no probe longer than its own time, and is not joined
// by others.
func TestPulseOfAHangingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		var writes atomic.Int32
		hang := make(chan struct{})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			err := p.feel(ctx, func(context.Context) error {
				writes.Add(1)
				<-hang
				return nil
			})
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("a store that hangs is said to work: %v", err)
			}
		}
		if n := writes.Load(); n != 1 {
			t.Errorf("%d writes were begun while the first hung, want 1", n)
		}
		close(hang)
		synctest.Wait()
		if err := p.feel(t.Context(), func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// watcher is the watcher outside: it notes who asks for what.
type watcher struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]int
}

func newWatcher(t *testing.T) *watcher {
	w := &watcher{seen: map[string]int{}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen[r.Method+" "+r.URL.Path+" "+r.UserAgent()]++
	}))
	t.Cleanup(w.Close)
	return w
}

// heard returns how often each address was asked since it was called last.
func (w *watcher) heard() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	well, ill := w.seen["GET /well smi/test"], w.seen["GET /ill smi/test"]
	other := len(w.seen)
	for _, k := range []string{"GET /well smi/test", "GET /ill smi/test"} {
		if w.seen[k] > 0 {
			other--
		}
	}
	w.seen = map[string]int{}
	return fmt.Sprintf("%d well, %d ill, %d other", well, ill, other)
}

// The watcher outside hears of smi each minute while posts go out, and only
// then. A pause that a person made is no failure.
func TestDeadman(t *testing.T) {
	t.Parallel()
	w := newWatcher(t) // outside of the bubble: its goroutines wait for the wire
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		d := s.d
		d.version, d.redactor = "test", obs.NewRedactor()
		dir := t.TempDir()
		text := fmt.Sprintf("data_dir: %q\nkey_file: %q\nallow_private: [%q]\ndisk: {stop_publishing_below: 0}\ndeadman: {every: 1m, url_file: %q}\n",
			s.dir, filepath.Join(dir, "k"), strings.TrimPrefix(w.URL, "http://"), filepath.Join(dir, "well"))
		for _, name := range []string{"well", "ill"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(w.URL+"/"+name+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		load := func() (*config.Config, error) {
			return config.Parse("config.yaml", []byte(text), &connectors.Registry{})
		}
		cfg, err := load()
		if err != nil {
			t.Fatal(err)
		}
		d.cfg = config.NewHolder(cfg, load)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer func() {
			cancel()
			wg.Wait()
			s.stop()
		}()
		<-time.After(30 * time.Second) // so that no ping falls on the whole minutes of this test
		d.dispatching.Store(true)
		wg.Go(func() { d.deadman(ctx) })
		minutes := func(n int, want, when string) {
			t.Helper()
			<-time.After(time.Duration(n) * time.Minute)
			synctest.Wait()
			if got := w.heard(); got != want {
				t.Errorf("%s the watcher heard: %s; want %s", when, got, want)
			}
		}
		minutes(5, "6 well, 0 ill, 0 other", "in five minutes of work")

		if err := d.store.SetPaused(ctx, social.PauseScope{}, true, "cli:root"); err != nil {
			t.Fatal(err)
		}
		s.plan("paused", time.Minute)
		minutes(10, "10 well, 0 ill, 0 other", "while a person's pause holds a post back")
		if err := d.store.SetPaused(ctx, social.PauseScope{}, false, "cli:root"); err != nil {
			t.Fatal(err)
		}
		d.scheduler.Wake()
		minutes(1, "1 well, 0 ill, 0 other", "after it")
		s.wants("paused")

		// A post that is due and that nobody takes: publishing is stuck, whatever the
		// flag says.
		stuck := s.plan("stuck", time.Minute)
		s.halt()
		minutes(6, "6 well, 0 ill, 0 other", "until the post is overdue by five minutes")
		minutes(5, "0 well, 0 ill, 0 other", "while it is overdue")
		text = strings.Replace(text, "deadman: {", fmt.Sprintf("deadman: {fail_url_file: %q, ", filepath.Join(dir, "ill")), 1)
		if _, err := d.cfg.Reload(func(*config.Config) error { return nil }); err != nil {
			t.Fatal(err)
		}
		minutes(5, "0 well, 5 ill, 0 other", "while it is overdue and there is an address for that")
		s.seeds.Exec(`UPDATE delivery SET state = 'skipped', next_at = 0 WHERE id = $1`, int64(stuck))
		minutes(2, "2 well, 0 ill, 0 other", "when it is not wanted any more")

		d.dispatching.Store(false)
		minutes(2, "0 well, 2 ill, 0 other", "while nothing is dispatched")
		d.dispatching.Store(true)
		if err := d.store.SetQuarantine(ctx, true, "cli:root"); err != nil {
			t.Fatal(err)
		}
		minutes(2, "0 well, 2 ill, 0 other", "in quarantine")
		if err := d.store.SetQuarantine(ctx, false, "cli:root"); err != nil {
			t.Fatal(err)
		}
		minutes(2, "2 well, 0 ill, 0 other", "after it")
		s.set(2 * time.Hour)
		minutes(2, "0 well, 2 ill, 0 other", "while the clock is in doubt")
		s.set(0)
		minutes(2, "2 well, 0 ill, 0 other", "when it is right again")
		if err := d.store.Close(); err != nil {
			t.Fatal(err)
		}
		minutes(2, "0 well, 2 ill, 0 other", "when the database takes no writes")
	})
}

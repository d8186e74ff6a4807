package notify_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smi/internal/notify"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// channel is one that a test looks into.
type channel struct {
	mu   sync.Mutex
	got  []notify.Message
	at   []time.Time
	fail func() error // nil: takes everything
	hang bool
	sent func() // after a message was taken, before the sender knows
}

func (c *channel) Send(ctx context.Context, m notify.Message) error {
	c.mu.Lock()
	hang, fail, sent := c.hang, c.fail, c.sent
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if fail != nil {
		if err := fail(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.got, c.at = append(c.got, m), append(c.at, time.Now())
	c.mu.Unlock()
	if sent != nil {
		sent()
	}
	return nil
}

func (c *channel) messages() ([]notify.Message, []time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]notify.Message{}, c.got...), append([]time.Time{}, c.at...)
}

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "smi.db"), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func plan(channels map[string]notify.Channel) notify.Plan {
	all := []string{"mail", "webhook", "exec"}
	return notify.Plan{Channels: channels, Routes: map[string][]string{notify.Alarm: all, notify.Warning: all}}
}

// start runs a sender until the returned function is called or the test ends.
func start(t *testing.T, s *store.Store, node string, p notify.Plan) (*notify.Sender, func()) {
	t.Helper()
	sender := notify.New(notify.Config{Outbox: s, Node: node, Version: "test"}, p)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sender.Run(ctx)
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return sender, stop
}

func tell(t *testing.T, s *store.Store, severity, text string) {
	t.Helper()
	if err := s.Tell(t.Context(), 0, scheduler.Notice{Kind: "delivery_failed", Severity: severity, Text: text}); err != nil {
		t.Fatal(err)
	}
}

func records(t *testing.T, s *store.Store) []social.NoticeRecord {
	t.Helper()
	all, err := s.Notices(t.Context(), 0, 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An alarm is out within two minutes although the first channel hangs and the
// second refuses, and a second alarm does not wait for them again.
func TestAnAlarmGetsOutByTheChannelThatWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		mail, hook, prog := &channel{hang: true}, &channel{fail: func() error { return errors.New("refused") }}, &channel{}
		sender, _ := start(t, s, "a", plan(map[string]notify.Channel{"mail": mail, "webhook": hook, "exec": prog}))
		began := time.Now()
		tell(t, s, notify.Alarm, "first")
		pass(2 * time.Minute)
		got, at := prog.messages()
		if len(got) != 1 || got[0].Text != "first" || at[0].Sub(began) > 2*time.Minute {
			t.Fatalf("got %+v at %v, began %v", got, at, began)
		}
		r := records(t, s)
		if len(r) != 1 || r[0].Unsent || len(r[0].Sendings) != 3 || !strings.Contains(r[0].Sendings[1].Error, "no answer within") {
			t.Errorf("kept %+v", r)
		}
		down := 0
		for _, h := range sender.Health() {
			if h.State == notify.Down {
				down++
			}
		}
		if down != 2 {
			t.Errorf("channels are %+v", sender.Health())
		}
		began = time.Now()
		if err := s.Tell(t.Context(), 0, scheduler.Notice{Kind: "other", Severity: notify.Alarm, Text: "second"}); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		if got, at := prog.messages(); len(got) != 2 || at[1].Sub(began) > 2*time.Minute {
			t.Errorf("the second alarm: %d messages at %v, began %v", len(got), at, began)
		}
	})
}

// 500 failures of one cause are a handful of messages that name 20 each at most
// and count all.
func TestABurstIsOneMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		mail := &channel{}
		start(t, s, "a", plan(map[string]notify.Channel{"mail": mail}))
		for i := range 500 {
			tell(t, s, notify.Alarm, fmt.Sprintf("post %d failed", i))
			pass(20 * time.Millisecond)
		}
		pass(3 * time.Minute)
		got, _ := mail.messages()
		total := 0
		for _, m := range got {
			total += m.Count
			if len(m.Notices) > 20 || strings.Count(m.Text, "failed\n")+strings.Count(m.Text, "failed:") > 21 {
				t.Errorf("a message names %d", len(m.Notices))
			}
		}
		if total != 500 || len(got) > 3 {
			t.Errorf("%d messages for %d failures, want all 500 in 3 at most", len(got), total)
		}
		if last := got[len(got)-1]; !strings.Contains(last.Text, "more, which smi notices lists") {
			t.Errorf("the rest is not counted: %s", last.Text)
		}
	})
}

// What no channel takes is tried until one does, ever less often; meanwhile the
// backlog says so.
func TestNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		tries := 0
		hook := &channel{fail: func() error { tries++; return errors.New("down") }}
		start(t, s, "a", plan(map[string]notify.Channel{"webhook": hook}))
		tell(t, s, notify.Alarm, "the thing")
		pass(6 * time.Hour)
		synctest.Wait()
		if tries < 30 || tries > 60 {
			t.Errorf("%d tries in six hours", tries)
		}
		b, err := s.Backlog(t.Context())
		if err != nil || b.Alarms != 1 || time.Since(b.OldestAlarm) < 5*time.Hour {
			t.Errorf("backlog %+v, %v", b, err)
		}
		hook.mu.Lock()
		hook.fail = nil
		hook.mu.Unlock()
		pass(11 * time.Minute)
		if got, _ := hook.messages(); len(got) != 1 {
			t.Errorf("%d messages after it works again, want 1", len(got))
		}
		if r := records(t, s); r[0].Unsent {
			t.Errorf("kept %+v", r)
		}
	})
}

// Without channels everything is told in smi itself and nothing waits.
func TestNoChannels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		sender, _ := start(t, s, "a", notify.Plan{})
		tell(t, s, notify.Alarm, "x")
		pass(time.Minute)
		if r := records(t, s); len(r) != 1 || r[0].Unsent || len(r[0].Sendings) != 0 {
			t.Errorf("kept %+v", r)
		}
		// Channels that come later get what comes later.
		mail := &channel{}
		sender.Use(plan(map[string]notify.Channel{"mail": mail}))
		tell(t, s, notify.Warning, "y")
		tell(t, s, notify.Info, "z")
		pass(time.Minute)
		if got, _ := mail.messages(); len(got) != 1 || got[0].Text != "y" {
			t.Errorf("sent %+v", got)
		}
	})
}

// A node that dies between sending and noting it sends again: itself at its next
// start, another when the lease is over.
func TestSentTwiceNeverNot(t *testing.T) {
	t.Parallel()
	for _, next := range []string{"a", "b"} {
		t.Run(next, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := open(t)
				died := make(chan struct{})
				mail := &channel{sent: func() { close(died); <-t.Context().Done() }}
				notedNever := notify.New(notify.Config{Outbox: s, Node: "a"}, plan(map[string]notify.Channel{"mail": mail}))
				done := make(chan struct{})
				go func() { defer close(done); notedNever.Run(t.Context()) }()
				t.Cleanup(func() { <-done })
				tell(t, s, notify.Alarm, "x")
				<-died
				began := time.Now()
				again := &channel{}
				start(t, s, next, plan(map[string]notify.Channel{"mail": again}))
				pass(3 * time.Minute)
				got, at := again.messages()
				if len(got) != 1 {
					t.Fatalf("%d messages from node %s, want 1", len(got), next)
				}
				if next == "a" && at[0].Sub(began) > 5*time.Second {
					t.Errorf("its own claim kept it for %s", at[0].Sub(began))
				}
			})
		})
	}
}

// Many nodes share the work: nothing is sent by two.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		mail := &channel{}
		for _, node := range []string{"a", "b", "c"} {
			start(t, s, node, plan(map[string]notify.Channel{"mail": mail}))
		}
		for i := range 40 {
			if err := s.Tell(t.Context(), 0, scheduler.Notice{Kind: fmt.Sprintf("kind_%d", i), Severity: notify.Alarm, Text: "x"}); err != nil {
				t.Fatal(err)
			}
			pass(700 * time.Millisecond)
		}
		pass(2 * time.Minute)
		got, _ := mail.messages()
		seen := map[string]int{}
		for _, m := range got {
			seen[m.Kind]++
		}
		if len(got) != 40 || len(seen) != 40 {
			t.Errorf("%d messages of %d kinds, want 40 of 40", len(got), len(seen))
		}
	})
}

// An idle sender writes nothing and reads a few times a minute.
func TestIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		counted := &counting{Store: s}
		sender := notify.New(notify.Config{Outbox: counted, Node: "a"}, plan(map[string]notify.Channel{"mail": &channel{}}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		sender.Run(ctx)
		if counted.reads > 300 || counted.claims > 0 {
			t.Errorf("%d reads and %d claims in an idle hour", counted.reads, counted.claims)
		}
	})
}

type counting struct {
	*store.Store
	reads, claims int
}

func (c *counting) NextNotice(ctx context.Context) (time.Time, error) {
	c.reads++
	return c.Store.NextNotice(ctx)
}

func (c *counting) ClaimNotices(ctx context.Context, r notify.ClaimRequest) ([]notify.Group, error) {
	c.claims++
	return c.Store.ClaimNotices(ctx, r)
}

// pass lets time go by in the bubble.
func pass(d time.Duration) { <-time.After(d) }

// Package notify sends notices to people: by mail, by a webhook, by a program.
//
// Its rule is the opposite of that of publishing, and the two share no code: a
// notice is sent at least once, and sent again when nobody knows whether it
// arrived. A channel that does not work is passed over for the next one, and
// what no channel took is tried again for as long as it is kept. Every notice is
// in the outbox, where smi notices shows it, before it is sent anywhere.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"smi/internal/crash"
	"smi/internal/social"
)

const (
	// sendTime bounds one try on one channel, so that the next in the route has
	// its turn long before two minutes are over.
	sendTime = 20 * time.Second
	// leaseTime is how long a node may be at one group: a try on every channel.
	leaseTime = 2 * time.Minute
	// settle is how long a notice waits for others of its kind.
	settle = 2 * time.Second
	// alarmGap and otherGap are the least time between two messages about one
	// kind. What comes meanwhile is collected.
	alarmGap = time.Minute
	otherGap = 10 * time.Minute
	// atOnce is how many groups are sent at the same time.
	atOnce = 4
	// look is how often the outbox is read while it is empty: for the notices of
	// other nodes, which may be gone. One's own ring the bell.
	look = 15 * time.Second
	// waiting is how often it is read while something is unsent.
	waiting = time.Second
	// retryMost is the longest time between two rounds for what no channel takes.
	retryMost = 10 * time.Minute
)

// The severities, the highest first.
const (
	Alarm   = "alarm"
	Warning = "warning"
	Info    = "info"
)

// Severities are all of them, the highest first.
var Severities = []string{Alarm, Warning, Info}

// Group is notices of one kind that are sent as one message.
type Group struct {
	Claim     string // names the claim on them
	Workspace social.ID
	Kind      string
	Severity  string
	Tries     int // rounds in which no channel took them
	Notices   []social.NoticeRecord
}

// ClaimRequest asks for groups that are due.
type ClaimRequest struct {
	Node  string
	Now   time.Time
	Lease time.Duration
	// Settle is how old the oldest of a group is at least, and Gap how long after
	// the last message of its kind it is sent.
	Settle time.Duration
	Gap    func(severity string) time.Duration
	Limit  int // groups
}

// Try is one try to send a group on a channel. An empty Error means that it was
// taken.
type Try struct {
	Channel string
	Error   string
}

// Outcome is what became of a group.
type Outcome struct {
	Claim string
	Node  string
	Now   time.Time
	Tries []Try
	Done  bool      // a channel took it, or there is none for it
	Next  time.Time // when it is due again, if not Done
}

// Outbox keeps the notices. The store satisfies it.
type Outbox interface {
	// ClaimNotices gives the groups that are due to this node alone, for a time.
	ClaimNotices(ctx context.Context, r ClaimRequest) ([]Group, error)
	// EndNotices notes what became of a group. A claim that ended meanwhile
	// changes nothing.
	EndNotices(ctx context.Context, o Outcome) error
	// ReleaseNotices ends the claims that a node had when it died.
	ReleaseNotices(ctx context.Context, node string) error
	// NextNotice is when the next unsent notice is due: now or before for what can
	// be claimed as soon as it is settled, zero if there is none.
	NextNotice(ctx context.Context) (time.Time, error)
	// Told rings when this node stored a notice.
	Told() <-chan struct{}
}

// Channel is one way to people.
type Channel interface {
	// Send returns nil if the message was taken over by whoever brings it on.
	Send(ctx context.Context, m Message) error
}

// Plan is which channels there are and what goes where.
type Plan struct {
	Channels map[string]Channel
	// Routes are the channels of a severity in the order in which they are tried:
	// the first that takes the message is enough.
	Routes map[string][]string
}

// route is the channels of a severity that are there.
func (p *Plan) route(severity string) []string {
	var out []string
	for _, name := range p.Routes[severity] {
		if p.Channels[name] != nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Config is what a Sender needs.
type Config struct {
	Outbox  Outbox
	Node    string
	Version string
	Now     func() time.Time
	Log     *slog.Logger
	// Redact takes secrets out of what is written down about failures; may be nil.
	Redact func(string) string
}

// Health is how a channel is.
type Health struct {
	Channel string    `json:"channel"`
	State   string    `json:"state" enum:"unused,works,down" doc:"as of the last try since smi started"`
	Since   time.Time `json:"since,omitzero" doc:"of the state"`
	Error   string    `json:"error,omitempty" doc:"why it is down"`
	Sent    int64     `json:"sent" doc:"messages since smi started"`
	Failed  int64     `json:"failed" doc:"tries that failed since smi started"`

	fails int
	again time.Time // before this it comes last
}

// The states of a channel.
const (
	Unused = "unused"
	Works  = "works"
	Down   = "down"
)

// Sender sends what is in the outbox. Make it with New, run it with Run.
type Sender struct {
	c Config

	mu     sync.Mutex
	plan   Plan
	health map[string]*Health
}

// New returns a Sender.
func New(c Config, p Plan) *Sender {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Redact == nil {
		c.Redact = func(s string) string { return s }
	}
	s := &Sender{c: c}
	s.Use(p)
	return s
}

// Use puts other channels in force, for everything that is sent from now on.
func (s *Sender) Use(p Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.health = p, map[string]*Health{}
	for name := range p.Channels {
		s.health[name] = &Health{Channel: name, State: Unused}
	}
}

// Health returns how the channels are, by name.
func (s *Sender) Health() []Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Health{}
	for _, h := range s.health {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b Health) int { return slices.Index(order, a.Channel) - slices.Index(order, b.Channel) })
	return out
}

// order is that of the channels in lists.
var order = []string{"mail", "webhook", "exec"}

// Routes returns the channels of a severity that are there, in order.
func (s *Sender) Routes(severity string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.route(severity)
}

// Run sends until ctx ends. What is being sent then is given up: it is still in
// the outbox.
func (s *Sender) Run(ctx context.Context) {
	if err := s.c.Outbox.ReleaseNotices(ctx, s.c.Node); err != nil && ctx.Err() == nil {
		s.c.Log.Error("taking up notices of the last run", "err", err)
	}
	for ctx.Err() == nil {
		again, err := s.turn(ctx)
		if err != nil && ctx.Err() == nil {
			s.c.Log.Error("reading the notices that are to be sent", "err", err)
			again = look
		}
		if again == 0 {
			continue
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-s.c.Outbox.Told():
			// Let it settle; the next turn sees that it is unsent and stays awake.
		}
		t.Stop()
	}
}

// turn sends what is due and returns how long there is nothing to do, 0 if
// there may be more at once.
func (s *Sender) turn(ctx context.Context) (time.Duration, error) {
	next, err := s.c.Outbox.NextNotice(ctx)
	if err != nil {
		return 0, err
	}
	now := s.c.Now()
	if next.IsZero() {
		return look, nil
	}
	if wait := next.Sub(now); wait > 0 {
		return min(max(wait, waiting), look), nil
	}
	groups, err := s.c.Outbox.ClaimNotices(ctx, ClaimRequest{
		Node: s.c.Node, Now: now, Lease: leaseTime, Settle: settle, Gap: s.gap, Limit: atOnce,
	})
	if err != nil {
		return 0, err
	}
	if len(groups) == 0 {
		return waiting, nil
	}
	var wg sync.WaitGroup
	for _, g := range groups {
		wg.Go(func() { s.group(ctx, g) })
	}
	wg.Wait()
	return 0, nil
}

// gap is the least time between two messages of one kind. What goes nowhere
// waits for nothing.
func (s *Sender) gap(severity string) time.Duration {
	if severity == Alarm {
		return alarmGap
	}
	return otherGap
}

// group sends one group by the first channel that takes it.
func (s *Sender) group(ctx context.Context, g Group) {
	o := Outcome{Claim: g.Claim, Node: s.c.Node}
	m := NewMessage(g, s.c.Node, s.c.Version)
	channels := s.inOrder(g.Severity)
	o.Done = len(channels) == 0 // it is told in smi itself, and nowhere else
	for _, c := range channels {
		err := s.try(ctx, c, m)
		if ctx.Err() != nil && err != nil {
			return // nobody knows; the next start sends it again
		}
		t := Try{Channel: c.name}
		if err != nil {
			t.Error = s.words(err)
		}
		o.Tries = append(o.Tries, t)
		if err == nil {
			o.Done = true
			crash.Point("notice-sent")
			break
		}
		s.c.Log.Warn("a notice could not be sent", "channel", c.name, "kind", g.Kind, "count", len(g.Notices), "err", t.Error)
	}
	o.Now = s.c.Now()
	if !o.Done {
		o.Next = o.Now.Add(backoff(g.Tries))
		if g.Severity == Alarm {
			s.c.Log.Error("an alarm could not be sent by any channel; it is tried again", "kind", g.Kind, "count", len(g.Notices), "at", o.Next)
		}
	}
	if err := s.c.Outbox.EndNotices(context.WithoutCancel(ctx), o); err != nil {
		s.c.Log.Error("noting that notices were sent; they may be sent again", "err", err)
	}
}

// backoff is the time to the next round after n rounds that failed before.
func backoff(n int) time.Duration {
	if n > 7 {
		return retryMost
	}
	return min(5*time.Second<<n, retryMost)
}

type named struct {
	name string
	Channel
}

// inOrder returns the channels for a severity, those that are down last.
func (s *Sender) inOrder(severity string) []named {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	var up, down []named
	for _, name := range s.plan.route(severity) {
		n := named{name, s.plan.Channels[name]}
		if h := s.health[name]; h.State == Down && now.Before(h.again) {
			down = append(down, n)
		} else {
			up = append(up, n)
		}
	}
	return append(up, down...)
}

// Test sends a message by one channel, for a person who wants to see it arrive.
func (s *Sender) Test(ctx context.Context, channel string) error {
	s.mu.Lock()
	c := s.plan.Channels[channel]
	var known []string
	for name := range s.plan.Channels {
		known = append(known, name)
	}
	s.mu.Unlock()
	if c == nil {
		slices.Sort(known)
		if !slices.Contains(order, channel) {
			return social.Errorf(social.CodeInvalid, "channel", "there is no channel %q; there are mail, webhook and exec", channel)
		}
		return social.Errorf(social.CodeNotFound, "channel", "%s is not set up; add notify.%s to the configuration, then run smi config reload", channel, channel)
	}
	m := testMessage(s.c.Now(), s.c.Node, s.c.Version)
	if err := s.try(ctx, named{channel, c}, m); err != nil {
		return social.Errorf(social.CodeUnavailable, "channel", "the test could not be sent by %s: %s", channel, s.words(err))
	}
	return nil
}

// try sends a message by a channel and notes how the channel is.
func (s *Sender) try(ctx context.Context, c named, m Message) error {
	call, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	err := c.Send(call, m)
	if err != nil && call.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %s", sendTime)
	}
	if err != nil && ctx.Err() != nil {
		return err // it is not the channel's fault
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.health[c.name]
	if h == nil || s.plan.Channels[c.name] != c.Channel {
		return err // a reload took it away
	}
	now := s.c.Now()
	state := Works
	if err != nil {
		state = Down
	}
	if h.State != state {
		h.State, h.Since = state, now
		if state == Works && h.fails > 0 {
			s.c.Log.Info("a channel of notices works again", "channel", c.name)
		}
	}
	if err == nil {
		h.Error, h.fails, h.again = "", 0, time.Time{}
		h.Sent++
		return nil
	}
	h.Error = s.words(err)
	h.Failed++
	h.fails++
	h.again = now.Add(min(time.Minute<<min(h.fails-1, 6), retryMost))
	return err
}

// maxWords bounds what is kept of an error.
const maxWords = 300

// words makes one short line of an error, without secrets.
func (s *Sender) words(err error) string {
	text := s.c.Redact(oneLine(err.Error()))
	if r := []rune(text); len(r) > maxWords {
		text = string(r[:maxWords-1]) + "…"
	}
	return text
}

// errNotTaken is in the chain of errors of receivers that answered and refused.
var errNotTaken = errors.New("not taken")

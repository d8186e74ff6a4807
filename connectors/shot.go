package connectors

import (
	"context"
	"net"
	"sync"
	"time"

	"smi/internal/crash"
	"smi/internal/social"
)

// Reach says how far a request went. It is the evidence on which the outcome of
// an attempt is decided.
type Reach string

// The reaches, in order.
const (
	ReachNothing  Reach = "nothing"  // not one byte was written
	ReachWritten  Reach = "written"  // some bytes were written; no complete answer
	ReachAnswered Reach = "answered" // a complete answer was read
)

// Shot is the permission to make one commit: to write one request, once, before
// SendBy. The scheduler makes it after the attempt is durably written down and
// puts it into the context of Commit; the transport takes it. A commit without
// a shot, or a second one with the same shot, is refused before a byte is
// written.
type Shot struct {
	Attempt social.ID // the armed attempt
	SendBy  time.Time // no first byte after this

	mu        sync.Mutex
	conn      net.Conn
	now       func() time.Time
	taken     bool
	reach     Reach
	bytes     int64
	firstByte time.Time
}

// NewShot returns a shot over conn, a connection opened before arming (nil for
// networks without one). now must not stop while the machine sleeps.
func NewShot(attempt social.ID, sendBy time.Time, conn net.Conn, now func() time.Time) *Shot {
	return &Shot{Attempt: attempt, SendBy: sendBy, conn: conn, now: now, reach: ReachNothing}
}

// Take uses the shot up and returns its connection. It fails if the shot was
// taken before or is too late.
func (s *Shot) Take() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken {
		return nil, &Error{Kind: Unsupported, Op: "commit", Text: "a second commit was tried with the permission for one"}
	}
	s.taken = true
	if s.now().After(s.SendBy) {
		return nil, &Error{Kind: Transient, Op: "commit", Text: "the time to send had passed before a byte was written"}
	}
	return s.conn, nil
}

// BeforeByte is called by the transport right before it writes to the network.
// An error forbids the write; only the first byte can be too late.
func (s *Shot) BeforeByte() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reach != ReachNothing {
		return nil
	}
	now := s.now()
	if now.After(s.SendBy) {
		return &Error{Kind: Transient, Op: "commit", Text: "the time to send had passed before a byte was written"}
	}
	crash.Point("before-write")
	crash.Sent(int64(s.Attempt), s.conn)
	s.reach = ReachWritten
	s.firstByte = now
	return nil
}

// Wrote counts bytes handed to the operating system.
func (s *Shot) Wrote(n int) {
	s.mu.Lock()
	s.bytes += int64(n)
	s.mu.Unlock()
	crash.Point("after-write")
}

// Answered notes that a complete answer was read.
func (s *Shot) Answered() {
	s.mu.Lock()
	s.reach = ReachAnswered
	s.mu.Unlock()
}

// Evidence is what is known of the shot.
type Evidence struct {
	Taken     bool
	Reach     Reach
	Bytes     int64
	FirstByte time.Time // zero if none was written
}

// Evidence returns what is known so far.
func (s *Shot) Evidence() Evidence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Evidence{Taken: s.taken, Reach: s.reach, Bytes: s.bytes, FirstByte: s.firstByte}
}

// Discard closes the connection of a shot that will not be used.
func (s *Shot) Discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	if s.conn != nil {
		s.conn.Close() //nolint:errcheck // nothing was written; there is nothing to lose
	}
}

type shotKey struct{}

// WithShot returns a context that carries the shot to Commit.
func WithShot(ctx context.Context, s *Shot) context.Context {
	return context.WithValue(ctx, shotKey{}, s)
}

// ShotFrom returns the shot of the context, or an error of kind Unsupported: a
// commit outside the publish protocol is a bug, and nothing is sent.
func ShotFrom(ctx context.Context) (*Shot, error) {
	if s, ok := ctx.Value(shotKey{}).(*Shot); ok {
		return s, nil
	}
	return nil, &Error{Kind: Unsupported, Op: "commit", Text: "a commit was tried outside the publish protocol"}
}

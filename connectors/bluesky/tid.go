package bluesky

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// tidClock makes record keys of the form the network calls TID: microseconds
// and ten bits that tell apart clocks which stand beside each other
// (atproto.com specs/tid, read 2026-08-20). Each key is larger than the one
// before, whatever the time does.
type tidClock struct {
	mu   sync.Mutex
	last int64
	id   uint
}

// newTIDClock returns a clock with a random id, so that two nodes of one
// installation do not make the same key in the same microsecond.
func newTIDClock() *tidClock {
	var b [2]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
	return &tidClock{id: uint(binary.LittleEndian.Uint16(b[:]) & 0x3ff)}
}

func (c *tidClock) next(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, now.UnixMicro())
	return syntax.NewTID(c.last, c.id).String()
}

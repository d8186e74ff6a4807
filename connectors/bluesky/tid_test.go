package bluesky

import (
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

func TestTIDsGrowWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	c := newTIDClock()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	last := ""
	for i, at := range []time.Time{now, now, now.Add(time.Second), now, now.Add(-time.Hour), now.Add(time.Minute)} {
		tid := c.next(at)
		if _, err := syntax.ParseTID(tid); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		if tid <= last {
			t.Errorf("key %d: %s is not after %s", i, tid, last)
		}
		last = tid
	}
	if got := syntax.TID(last).Time(); !got.Equal(now.Add(time.Minute)) {
		t.Errorf("the last key says %s", got)
	}
}

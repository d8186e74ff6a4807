package jobs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRiverRepeatsItselfOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := quiet(slog.New(slog.NewTextHandler(&out, nil))).With("service", "elector")
		for i := range 25 { // every 5 s for two minutes
			log.Error("Error attempting to elect", "attempt", i)
			log.Info("chatter")
			if i == 3 {
				log.Warn("something else")
			}
			<-time.After(5 * time.Second)
		}
		if n := strings.Count(out.String(), "attempting to elect"); n != 3 {
			t.Errorf("the same error is there %d times in two minutes, want 3:\n%s", n, out.String())
		}
		if !strings.Contains(out.String(), "something else") || strings.Contains(out.String(), "chatter") {
			t.Errorf("the log is\n%s", out.String())
		}
	})
}

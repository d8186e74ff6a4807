//go:build e2e && cluster

package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestClusterBites breaks what keeps nodes apart, in builds that no one else
// sees, and wants the comparison to notice.
func TestClusterBites(t *testing.T) {
	t.Parallel()
	for i, m := range []struct {
		name  string
		files map[string][]string // as for broken
		nemesis
		want string // in a finding
	}{
		{
			name: "the one who takes over sends again without looking",
			files: map[string][]string{
				"scheduler/publish.go": {"now.Add(t.about.SendTime + t.about.CommitTime + 5*time.Second)", "now.Add(time.Second)"},
				"scheduler/look.go": {
					"To: social.Ambiguous, Tries: t.Delivery.Tries, NextAt: t.cfg.Now(),", "To: social.Waiting, Tries: t.Delivery.Tries, NextAt: t.cfg.Now(), Release: true,",
					"State: AttemptAmbiguous, Evidence: ev, DecidedBy: \"takeover\"", "State: AttemptAbsentByHandle, Evidence: ev, DecidedBy: \"takeover\"",
					"	if err == nil {\n		a.State, a.Evidence = AttemptAmbiguous, ev\n		t.look(ctx, openErr)\n	}\n", "	_, _ = err, openErr\n",
				},
			},
			nemesis: nemesis{
				before: func(c *cluster) {
					for _, n := range c.nodes[:2] {
						n.stop()
						n.start("after-answer:2")
					}
				},
				during: func(c *cluster, w window) {
					for _, n := range c.nodes[:2] {
						select { // the other nodes may have had all the accounts
						case <-n.life.gone:
						case <-time.After(time.Until(w.to.Add(3 * time.Second))):
						}
						c.kill(n)
					}
					wait(lease + 10*time.Second)
				},
			},
			want: "FALSE",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			todo := make(chan scenario, 1)
			todo <- scenario{number: 1, nemesis: m.nemesis, put: func(*network) {}}
			close(todo)
			r := playAll(t, 50+i, broken(t, m.files), rand.New(rand.NewPCG(1, 2)), todo)
			noticed := 0
			for _, f := range r.findings {
				if strings.HasPrefix(f, m.want) {
					noticed++
				}
			}
			if noticed == 0 {
				t.Errorf("nobody noticed: want findings of kind %s, got %q", m.want, r.findings)
				return
			}
			t.Logf("noticed %d times, such as: %s", noticed, r.findings[0])
		})
	}
}

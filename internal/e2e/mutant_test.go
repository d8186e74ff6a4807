//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"smi/internal/mutant"
)

// TestOracleBites breaks the protocol on purpose, in builds that no one else
// sees, and wants the stories to notice.
func TestOracleBites(t *testing.T) {
	t.Parallel()
	for _, m := range []struct {
		name  string
		file  string // from the module's root
		swaps []string
		story story
		want  string // in a finding
	}{
		{
			name: "sent without being armed first", file: "scheduler/publish.go",
			swaps: []string{
				"attempt, ok := t.arm()\n\tif !ok {\n\t\tcloseConn()\n\t\treturn false\n\t}\n", "attempt := Attempt{ID: t.cfg.IDs.New(t.cfg.Now()), ArmedAt: t.cfg.Now()}\n",
				"\tcrash.Point(\"after-answer\")\n", "\tcrash.Point(\"after-answer\")\n\tattempt, ok := t.arm()\n\tif !ok {\n\t\treturn false\n\t}\n",
				"shot := connectors.NewShot(attempt.ID, sendBy", "_ = closeConn\n\tshot := connectors.NewShot(attempt.ID, sendBy",
			},
			story: story{deaths: at("after-answer:5")}, want: "DUPLICATE",
		},
		{
			name: "tried again after an unclear answer", file: "scheduler/decide.go",
			swaps: []string{"s.Reach == connectors.ReachWritten {\n\t\treturn check", "s.Reach == connectors.ReachWritten {\n\t\treturn Verdict{Do: DoRetry, After: time.Second, Attempt: AttemptRejected}"},
			story: story{wire: (*network).cutAnswers, deaths: at("after-answer:4")}, want: "FALSE",
		},
		{
			name: "taken for unsent after a restart", file: "store/ledger.go",
			swaps: []string{"SET state = 'ambiguous', decided_by", "SET state = 'not_sent', decided_by", "SET state = 'ambiguous', reason", "SET state = 'waiting', reason"},
			story: story{deaths: at("after-answer:5", "before-record:3")}, want: "DUPLICATE",
		},
		{
			name: "taken for found where there is nothing", file: "connectors/bluesky/publish.go",
			swaps: []string{"return connectors.Finding{Kind: connectors.FoundHandleGood}, nil", `rec, err := c.p.receipt(ref{postRef{r.did, d.RKey}.uri(), "bafyreib2rxk3rybk3aobmv5cjuql3bm2twh4jo5uxgf5kpqcsgz7soitae"}, d.Reply, c.p.env.Now())
		return connectors.Finding{Kind: connectors.FoundPublished, Receipt: rec}, err`},
			story: story{wire: (*network).lostRequests, deaths: at("after-claim:3")}, want: "FALSE",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := m.story.play(t, broken(t, map[string][]string{m.file: m.swaps}))
			noticed := 0
			for _, f := range r.verdict.findings {
				if strings.HasPrefix(f, m.want) {
					noticed++
				}
			}
			if noticed == 0 {
				t.Errorf("nobody noticed: want findings of kind %s, got %q", m.want, r.verdict.findings)
				return
			}
			t.Logf("noticed %d times, such as: %s", noticed, r.verdict.findings[0])
		})
	}
}

// broken builds smi with changed files: see mutant.Overlay.
func broken(t *testing.T, files map[string][]string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "smi")
	if err := build(out, "-overlay", mutant.Overlay(t, filepath.Join("..", ".."), files)); err != nil {
		t.Fatal(err)
	}
	return out
}

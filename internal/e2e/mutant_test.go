//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
			r := m.story.play(t, mutant(t, m.file, m.swaps...))
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

// mutant builds smi with one file changed: each odd text is put in the place of
// the one before it, which must be there exactly once.
func mutant(t *testing.T, file string, swaps ...string) string {
	t.Helper()
	return mutantOf(t, map[string][]string{file: swaps})
}

// mutantOf is mutant for several files.
func mutantOf(t *testing.T, files map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for file, swaps := range files {
		src, err := filepath.Abs(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for i := 0; i < len(swaps); i += 2 {
			if n := strings.Count(text, swaps[i]); n != 1 {
				t.Fatalf("%s holds %q %d times, want once: the code has changed, and so must this test", file, swaps[i], n)
			}
			text = strings.Replace(text, swaps[i], swaps[i+1], 1)
		}
		changed := filepath.Join(dir, fmt.Sprintf("changed-%d.go", len(replace)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[src] = changed
	}
	j, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "smi")
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := build(out, "-overlay", overlay); err != nil {
		t.Fatal(err)
	}
	return out
}

//go:build prove

package simulate

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"smi/internal/mutant"
)

// TestMutants wants each of them to be caught within 500 seeds.
func TestMutants(t *testing.T) {
	caught := 0
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			bin := mutate(t, m.swaps)
			sum := workerOf(t, bin, job{Seeds: true, From: 1, To: 501, Bite: true})
			if len(sum.Failures) == 0 {
				t.Fatal("nobody noticed in 500 seeds")
			}
			f := sum.Failures[0]
			t.Logf("caught by seed %d: %s", f.Number, f.Findings[0])
			caught++
		})
	}
	t.Logf("prove: mutants caught=%d of=%d", caught, len(mutants))
}

// mutate builds this test with changed files.
func mutate(t *testing.T, swaps map[string][]string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "simulate.test")
	overlay := mutant.Overlay(t, filepath.Join("..", ".."), swaps)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return bin
}

package mutant_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"smi/internal/mutant"
)

// TestOverlay: a program built with the overlay is the changed one, and the file
// itself stays as it was.
func TestOverlay(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	source := "package main\n\nfunc main() { println(\"right\") }\n"
	for name, text := range map[string]string{"go.mod": "module m\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay := mutant.Overlay(t, root, map[string][]string{"main.go": {`"right"`, `"wrong"`}})
	cmd := exec.CommandContext(t.Context(), "go", "run", "-overlay", overlay, ".")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "wrong" {
		t.Errorf("it says %q (%v), want wrong", out, err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "main.go")); err != nil || string(b) != source {
		t.Errorf("the file was changed: %q, %v", b, err)
	}
}

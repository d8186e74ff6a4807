// Package mutant makes programs that are wrong on purpose, for the tests that
// want such a fault to be noticed. The module's own files stay as they are: the
// go command reads changed ones in their place.
package mutant

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Overlay writes the changed files and returns the file that go build and go test
// take with -overlay. swaps are texts by the path of a file below root: each even
// one must be there exactly once, and the one after it is put in its place.
func Overlay(t testing.TB, root string, swaps map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for file, pairs := range swaps {
		src, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for i := 0; i < len(pairs); i += 2 {
			if n := strings.Count(text, pairs[i]); n != 1 {
				t.Fatalf("%s holds %q %d times, want once: the code has changed, and so must this test", file, pairs[i], n)
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		replace[src] = filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(replace[src], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

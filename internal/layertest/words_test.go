package layertest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// badWords returns what no file of the project may hold: where a package
// registry is (the ordinary clients know), and paths of the machine it was
// written on. The words are put together here so that this file passes.
func badWords() []string {
	return []string{
		"registry." + "npmjs.org",
		"registry." + "yarnpkg.com",
		"proxy." + "golang.org",
		"sum." + "golang.org",
		"deb." + "debian.org",
		"/work/" + "shared",
		"/work/" + "main",
		"../" + "shared/",
	}
}

// skippedDirs are not part of the project's text.
var skippedDirs = []string{".git", ".cache", "node_modules", "bin", "dist", "data", "tmp"}

// checkText returns one sentence for each bad word of a file and, in a lock
// file of npm, for each recorded download address.
func checkText(name string, text []byte) []string {
	var bad []string
	for _, w := range badWords() {
		if i := bytes.Index(text, []byte(w)); i >= 0 {
			bad = append(bad, fmt.Sprintf("%s:%d names %s; nothing in the project may depend on it", name, line(text, i), w))
		}
	}
	if filepath.Base(name) == "package-lock.json" {
		if i := bytes.Index(text, []byte(`"resolved": "http`)); i >= 0 {
			bad = append(bad, fmt.Sprintf("%s:%d records a download address; write it with omit-lockfile-registry-resolved=true", name, line(text, i)))
		}
	}
	return bad
}

func line(text []byte, at int) int { return 1 + bytes.Count(text[:at], []byte("\n")) }

func TestWords(t *testing.T) {
	t.Parallel()
	dir := root(t)
	files := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != dir && slices.Contains(skippedDirs, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err != nil || !info.Mode().IsRegular() || info.Size() > 4<<20 {
			return nil //nolint:nilerr // gone since it was listed, or too big for text
		}
		text, err := os.ReadFile(p)
		if err != nil || bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
			return nil //nolint:nilerr // gone since it was listed, or not text
		}
		files++
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		for _, b := range checkText(filepath.ToSlash(rel), text) {
			t.Error(b)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the project's files: %v", err)
	}
	if files < 20 {
		t.Fatalf("read %d files; the test looks at nothing", files)
	}
}

// TestWordsCatches shows that the rules can fail.
func TestWordsCatches(t *testing.T) {
	t.Parallel()
	for _, w := range badWords() {
		got := checkText("docs/x.md", []byte("first line\nsee "+w+" for more\n"))
		if len(got) == 0 || !strings.HasPrefix(got[0], "docs/x.md:2 names") {
			t.Errorf("%q: got %q, want a sentence with its line", w, got)
		}
	}
	lock := []byte("{\n \"a\": {\n  \"resolved\": \"https://example.test/a.tgz\"\n }\n}\n")
	if got := checkText("x/package-lock.json", lock); len(got) != 1 || !strings.Contains(got[0], ":3 records") {
		t.Errorf("lock file with an address: got %q", got)
	}
	if got := checkText("x/other.json", lock); len(got) != 0 {
		t.Errorf("another JSON file: got %q, want nothing", got)
	}
	if got := checkText("README.md", []byte("make run\nmake test\n")); len(got) != 0 {
		t.Errorf("good text: got %q, want nothing", got)
	}
}

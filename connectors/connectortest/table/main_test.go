package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShow(t *testing.T) {
	t.Parallel()
	write := func(lines ...string) string {
		path := filepath.Join(t.TempDir(), "results")
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := []string{
		`{"network":"fake","suite":"wire","passed":3,"failed":0,"skipped":{"wire/get/cut":"no such route"}}`,
		`{"network":"fake","suite":"wire","passed":4,"failed":0}`,
		`{"network":"bluesky","suite":"limits","passed":9,"failed":0}`,
	}
	var out strings.Builder
	if err := show(write(good...), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[1], "bluesky") || !strings.HasPrefix(lines[2], "fake") || !strings.Contains(lines[2], "7 -1") {
		t.Errorf("two runs are not added up:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "wire/get/cut (no such route)") {
		t.Errorf("the skip is not shown:\n%s", out.String())
	}
	out.Reset()
	err := show(write(append(good, `{"network":"fake","suite":"joining","passed":1,"failed":2}`)...), &out)
	if err == nil || !strings.Contains(out.String(), "2 FAILED") {
		t.Errorf("a failure passes: %v\n%s", err, out.String())
	}
	if err := show(filepath.Join(t.TempDir(), "nothing"), &out); err == nil {
		t.Error("no results pass")
	}
	if err := show(write("not json"), &out); err == nil {
		t.Error("garbage passes")
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := show(empty, &out); err == nil {
		t.Error("an empty file passes")
	}
}

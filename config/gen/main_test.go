package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheMadeFilesAreUpToDate(t *testing.T) {
	t.Parallel()
	for path, want := range files() {
		got, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not what the settings say; run go run ./config/gen in the top folder", path)
		}
	}
}

package main

import (
	"os"
	"testing"
)

// The page in docs is what the connectors say today.
func TestPageIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := page()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the connectors say; run make generate", path)
	}
}

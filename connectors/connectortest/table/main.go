// Command table prints what the conformance suite found, network × suite, from
// the file that connectortest.Run appends to. It ends with 1 if a check failed
// or the file is empty.
//
//	SMI_CONFORMANCE_TABLE=/tmp/t go test -count=1 ./connectors/... ; go run ./connectors/connectortest/table /tmp/t
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// result is connectortest.Result as it stands in the file. The suite itself is
// for tests only and is not imported.
type result struct {
	Network string            `json:"network"`
	Suite   string            `json:"suite"`
	Passed  int               `json:"passed"`
	Failed  int               `json:"failed"`
	Skipped map[string]string `json:"skipped"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: table FILE")
		os.Exit(2)
	}
	if err := show(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func show(path string, w io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the results: %w", err)
	}
	defer f.Close()
	cells := map[string]map[string]result{}
	var suites []string // in the order they ran
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var r result
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return fmt.Errorf("reading the results: %w", err)
		}
		if !slices.Contains(suites, r.Suite) {
			suites = append(suites, r.Suite)
		}
		if cells[r.Network] == nil {
			cells[r.Network] = map[string]result{}
		}
		cells[r.Network][r.Suite] = add(cells[r.Network][r.Suite], r)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("reading the results: %w", err)
	}
	if len(cells) == 0 {
		return fmt.Errorf("%s holds no result", path)
	}
	return write(w, cells, suites)
}

// add joins two runs on one network (two kinds of sign-in).
func add(a, b result) result {
	b.Passed, b.Failed = a.Passed+b.Passed, a.Failed+b.Failed
	for name, why := range a.Skipped {
		if b.Skipped == nil {
			b.Skipped = map[string]string{}
		}
		b.Skipped[name] = why
	}
	return b
}

func write(w io.Writer, cells map[string]map[string]result, suites []string) error {
	var networks []string
	for n := range cells {
		networks = append(networks, n)
	}
	slices.Sort(networks)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "network\t%s\n", strings.Join(suites, "\t"))
	var failed int
	var skips []string
	for _, n := range networks {
		row := []string{n}
		for _, s := range suites {
			r := cells[n][s]
			cell := fmt.Sprint(r.Passed)
			if len(r.Skipped) > 0 {
				cell += fmt.Sprintf(" -%d", len(r.Skipped))
			}
			if r.Failed > 0 {
				cell += fmt.Sprintf(" %d FAILED", r.Failed)
			}
			failed += r.Failed
			row = append(row, cell)
			for name, why := range r.Skipped {
				skips = append(skips, fmt.Sprintf("skipped on %s: %s (%s)", n, name, why))
			}
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	slices.Sort(skips)
	for _, s := range skips {
		fmt.Fprintln(w, s)
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

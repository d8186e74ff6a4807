// Command testsummary reads the output of `go test -json` on its standard input
// and prints what a person wants of it: one line for each package, the whole
// output of each test that failed, the tests that were skipped with why, and one
// line with the counts. It fails if a test failed, if a package did not build,
// if nothing ran, or if a test was skipped that the list of allowed skips does
// not name.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "`file` with the tests that may be skipped: package, test and reason a line")
	verbose := flag.Bool("v", false, "print the output of tests that pass as well")
	flag.Parse()
	allowed, err := readAllowed(*skips)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsummary:", err)
		os.Exit(2)
	}
	s := newSummary(os.Stdout, allowed, *verbose)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsummary:", err)
		os.Exit(2)
	}
	if !s.finish() {
		os.Exit(1)
	}
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string
	Elapsed     float64 // seconds
	Output      string
	FailedBuild string
}

type testName struct{ pkg, test string }

func (n testName) String() string { return n.pkg + " " + n.test }

// summary counts what it reads. Subtests count as tests of their own.
type summary struct {
	out     io.Writer
	allowed map[string]string // "package test" → reason
	verbose bool

	output  map[testName][]string // what each unfinished test printed
	build   map[string][]string   // what the compiler said, by package
	passed  int
	failed  []testName
	skipped []skip
	broken  []string // packages that failed outside their tests
	perPkg  map[string]int
}

type skip struct {
	testName
	why string
}

func newSummary(out io.Writer, allowed map[string]string, verbose bool) *summary {
	return &summary{
		out: out, allowed: allowed, verbose: verbose,
		output: map[testName][]string{}, build: map[string][]string{}, perPkg: map[string]int{},
	}
}

// read takes events until r ends. A line that is no event, which `go test`
// prints when it fails before it runs anything, is passed on and counts as a
// broken package.
func (s *summary) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				s.printf("%s", line)
				s.broken = append(s.broken, strings.TrimSpace(string(line)))
			} else {
				s.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading test events: %w", err)
		}
	}
}

func (s *summary) take(e event) {
	n := testName{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.output[n] = append(s.output[n], e.Output)
		if s.verbose && e.Test != "" && !isFrame(e.Output) {
			s.printf("%s", e.Output)
		}
	case "build-output":
		s.build[e.ImportPath] = append(s.build[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.packageDone(e)
		} else {
			s.testDone(n, e.Action)
		}
		delete(s.output, n)
	}
}

// isFrame says whether a line only says that a test begins or pauses.
func isFrame(line string) bool {
	for _, p := range []string{"=== RUN", "=== PAUSE", "=== CONT", "=== NAME"} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

func (s *summary) testDone(n testName, action string) {
	s.perPkg[n.pkg]++
	switch action {
	case "pass":
		s.passed++
	case "fail":
		s.failed = append(s.failed, n)
		if !s.verbose {
			s.printf("%s", strings.Join(s.output[n], ""))
		}
	case "skip":
		s.skipped = append(s.skipped, skip{n, reason(s.output[n])})
	}
}

// reason is what the test said when it skipped.
func reason(lines []string) string {
	for _, l := range slices.Backward(lines) {
		l = strings.TrimSpace(l)
		if l == "" || isFrame(l) || strings.HasPrefix(l, "--- SKIP") {
			continue
		}
		return l
	}
	return "no reason given"
}

func (s *summary) packageDone(e event) {
	n := testName{e.Package, ""}
	switch e.Action {
	case "pass":
		s.printf("ok    %-44s %5d tests %7.1fs\n", e.Package, s.perPkg[e.Package], e.Elapsed)
	case "fail":
		failedHere := slices.ContainsFunc(s.failed, func(f testName) bool { return f.pkg == e.Package })
		if !failedHere {
			// Nothing of its own failed: it did not build, or it crashed, and the
			// tests that were running then have no end of their own.
			s.broken = append(s.broken, e.Package)
			s.printf("%s", strings.Join(s.build[e.FailedBuild], ""))
		}
		for open, lines := range s.output {
			if open.pkg == e.Package && open.test != "" {
				s.failed = append(s.failed, open)
				s.printf("%s", strings.Join(lines, ""))
			}
		}
		s.printf("%s", strings.Join(s.output[n], ""))
		s.printf("FAIL  %-44s %5d tests %7.1fs\n", e.Package, s.perPkg[e.Package], e.Elapsed)
	}
}

// finish prints the summary and says whether all is well.
func (s *summary) finish() bool {
	ok := true
	for _, f := range s.failed {
		s.printf("failed: %s\n", f)
	}
	for _, b := range s.broken {
		s.printf("broken: %s\n", b)
	}
	for _, k := range s.skipped {
		if why, listed := s.mayBeSkipped(k); listed {
			s.printf("skipped: %s: %s (allowed: %s)\n", k, k.why, why)
			continue
		}
		s.printf("skipped: %s: %s (NOT in the list of allowed skips)\n", k, k.why)
		ok = false
	}
	ran := s.passed + len(s.failed)
	if ran == 0 {
		s.printf("no test ran\n")
		ok = false
	}
	s.printf("%d passed, %d failed, %d skipped", s.passed, len(s.failed), len(s.skipped))
	if len(s.broken) > 0 {
		s.printf(", %d broken", len(s.broken))
	}
	s.printf("\n")
	return ok && len(s.failed) == 0 && len(s.broken) == 0
}

// mayBeSkipped looks for a test, or for what it says, in the list.
func (s *summary) mayBeSkipped(k skip) (why string, listed bool) {
	if why, listed = s.allowed[k.String()]; listed {
		return why, true
	}
	for said := range s.allowed {
		if want, any := strings.CutPrefix(said, anyTest); any && strings.Contains(k.why, want) {
			return "whoever says so", true
		}
	}
	return "", false
}

func (s *summary) printf(format string, args ...any) {
	fmt.Fprintf(s.out, format, args...)
}

// anyTest stands before a reason that every test may give.
const anyTest = "* * "

// readAllowed reads the list of allowed skips. Each line is "package test
// reason…", or "* * words" for every test that gives a reason with these words;
// empty lines and those that begin with # are left out.
func readAllowed(file string) (map[string]string, error) {
	allowed := map[string]string{}
	if file == "" {
		return allowed, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the list of allowed skips: %w", err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			return nil, fmt.Errorf("%s:%d: want package, test and the reason, got %q", file, i+1, line)
		}
		reason := strings.Join(f[2:], " ")
		if f[0] == "*" && f[1] == "*" {
			allowed[anyTest+reason] = reason
			continue
		}
		allowed[f[0]+" "+f[1]] = reason
	}
	return allowed, nil
}

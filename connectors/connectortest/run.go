package connectortest

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"

	"smi/connectors"
)

// Suites are the names of the suites in the order they run.
var Suites = []string{"describe", "limits", "joining", "publishing", "wire", "insights", "manners"}

// TableEnv names the environment variable with the path of a file to which Run
// appends its results, one JSON object of type Result a line.
const TableEnv = "SMI_CONFORMANCE_TABLE"

// Result is what became of one suite on one network.
type Result struct {
	Network       string            `json:"network"`
	Suite         string            `json:"suite"`
	Passed        int               `json:"passed"`
	Failed        int               `json:"failed"`
	NotApplicable map[string]string `json:"not_applicable,omitempty"` // check: reason
	Skipped       map[string]string `json:"skipped,omitempty"`        // check: reason
}

// runner runs the suites on one network.
type runner struct {
	open    func(testing.TB) *Harness
	about   connectors.Description
	verbs   connectors.Verbs
	probe   *Harness // opened once, to see what there is to check; not used for calls
	mu      sync.Mutex
	results map[string]*Result
}

// Run runs every suite on the connector that open opens.
func Run(t *testing.T, open func(testing.TB) *Harness) {
	probe := open(t)
	p, err := probe.New(probe.Env)
	if err != nil {
		t.Fatalf("making the platform: %v", err)
	}
	client, err := connectors.Open(p, probe.Account, newVault(p, probe.Grant))
	if err != nil {
		t.Fatalf("opening the account: %v", err)
	}
	if probe.Truth == nil {
		t.Fatal("the harness has no Truth; nothing could be proved")
	}
	r := &runner{open: open, about: client.Describe(), verbs: client.Verbs(), probe: probe, results: map[string]*Result{}}
	for _, s := range Suites {
		r.results[s] = &Result{Network: string(r.about.Network), Suite: s, NotApplicable: map[string]string{}, Skipped: map[string]string{}}
	}
	for _, s := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"describe", r.describe},
		{"limits", r.limits},
		{"joining", r.joining},
		{"publishing", r.publishing},
		{"wire", r.wire},
		{"insights", r.insights},
		{"manners", r.manners},
	} {
		t.Run(s.name, func(t *testing.T) {
			if why, ok := probe.Skip[s.name]; ok {
				r.results[s.name].Skipped[s.name] = why
				t.Skip(why)
			}
			s.run(t)
		})
	}
	r.report(t)
}

// report prints one line per network, fails for skips that name no check, and
// appends to the table.
func (r *runner) report(t *testing.T) {
	known := map[string]bool{}
	var words []string
	for _, s := range Suites {
		res := r.results[s]
		word := fmt.Sprintf("%s %d", s, res.Passed)
		if res.Failed > 0 {
			word += fmt.Sprintf(" (%d FAILED)", res.Failed)
		}
		if n := len(res.Skipped); n > 0 {
			word += fmt.Sprintf(" (%d skipped)", n)
		}
		if n := len(res.NotApplicable); n > 0 {
			word += fmt.Sprintf(" (%d not applicable)", n)
		}
		words = append(words, word)
		for name := range res.Skipped {
			known[name] = true
		}
	}
	t.Logf("conformance of %s: %s", r.about.Network, strings.Join(words, " · "))
	if !t.Failed() && !filtered() {
		for _, name := range sorted(r.probe.Skip) {
			if !known[name] {
				t.Errorf("Skip names %q, and there is no such check", name)
			}
			if r.probe.Skip[name] == "" {
				t.Errorf("Skip of %q has no reason", name)
			}
		}
	}
	path := os.Getenv(TableEnv)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("opening the table: %v", err)
	}
	defer f.Close()
	for _, s := range Suites {
		b, err := json.Marshal(r.results[s])
		if err != nil {
			t.Fatalf("writing the table: %v", err)
		}
		if _, err := f.Write(append(b, '\n')); err != nil {
			t.Fatalf("writing the table: %v", err)
		}
	}
}

// filtered says whether only some subtests run, so that a skip not met proves
// nothing.
func filtered() bool {
	for _, a := range os.Args {
		if strings.HasPrefix(a, "-test.run=") && strings.Contains(a, "/") || strings.HasPrefix(a, "-test.skip=") {
			return true
		}
	}
	return false
}

func sorted(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// skip returns why a check is left out, and notes it.
func (r *runner) skip(name string) (string, bool) {
	why, ok := r.probe.Skip[name]
	if ok {
		suite, _, _ := strings.Cut(name, "/")
		r.mu.Lock()
		r.results[suite].Skipped[name] = why
		r.mu.Unlock()
	}
	return why, ok
}

// na notes that a check says nothing about this network.
func (r *runner) na(name, why string) {
	suite, _, _ := strings.Cut(name, "/")
	r.mu.Lock()
	r.results[suite].NotApplicable[name] = why
	r.mu.Unlock()
}

// check runs one check on a fresh harness. name is "suite/check". fn returns ""
// or why the check says nothing about this network.
func (r *runner) check(t *testing.T, name, why string, fn func(*check) string) {
	suite, rest, _ := strings.Cut(name, "/")
	if _, ok := r.skip(name); ok {
		return
	}
	t.Run(rest, func(t *testing.T) {
		na := ""
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			switch {
			case t.Failed():
				r.results[suite].Failed++
			case na != "":
				r.results[suite].NotApplicable[name] = na
			default:
				r.results[suite].Passed++
			}
		}()
		t.Log(why)
		c := newCheck(t, r, name)
		na = fn(c)
		c.leaks()
	})
}

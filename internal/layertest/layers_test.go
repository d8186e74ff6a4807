// Package layertest holds the test that keeps the house in order: which
// package may import which, and what no file may hold. It has no code of its
// own beside the test.
package layertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Name       string
	Dir        string
	Imports    []string
}

// module is the path of this module; imports that begin with it are ours.
const module = "smi"

// anything lets a package import every other one of ours.
const anything = "..."

// layers says what each package of ours may import of ours, tests aside. A
// pattern is a path below the module; "*" stands for one name. The first line
// that fits a package decides. A package that fits none is refused, so that
// whoever adds one decides where it stands.
var layers = []struct {
	pkg string
	may []string
}{
	{"cmd/*", []string{anything}},

	// The language of the program: the standard library only.
	{"internal/social", nil},
	{"internal/obs", []string{"internal/social"}},
	{"internal/netguard", nil},
	{"internal/clock", nil},
	{"internal/instance", []string{"internal/social"}},
	{"internal/crash", nil},

	// Connectors: the contract, what they share, the list, the networks. No
	// network knows another, the store, the scheduler or the clock.
	{"connectors", []string{"internal/social"}},
	{"connectors/internal/*", []string{"connectors", "connectors/internal/*", "internal/netguard", "internal/obs", "internal/social"}},
	{"connectors/all/gen", []string{"connectors", "connectors/all", "internal/social"}},
	{"connectors/all", []string{"connectors", "connectors/*", "internal/social"}},
	{"connectors/connectortest", []string{"connectors", "connectors/internal/*", "internal/netguard", "internal/obs", "internal/social"}},
	{"connectors/connectortest/worlds", []string{"connectors", "connectors/*", "connectors/*/*test", "internal/social"}},
	{"connectors/*/*test", []string{"connectors", "connectors/*", "connectors/*/*sim", "internal/social"}}, // <name>test
	{"connectors/fake/*", []string{"connectors", "connectors/connectortest", "connectors/fake", "internal/social"}},
	{"connectors/*", []string{"connectors", "connectors/internal/*", "internal/netguard", "internal/obs", "internal/social"}},
	{"connectors/*/*", []string{"connectors", "connectors/internal/*", "internal/social"}}, // <name>sim

	{"internal/keyring", []string{"internal/social"}},
	{"internal/credentials", []string{"connectors", "internal/keyring", "internal/obs", "internal/social"}},
	{"internal/bucket", []string{"internal/social"}},
	{"internal/media", []string{"connectors", "internal/bucket", "internal/netguard", "internal/obs", "internal/social"}},
	{"internal/media/film", nil},
	{"internal/public", []string{"internal/social"}},
	{"internal/insights", []string{"connectors", "internal/social"}},
	{"internal/advice", []string{"internal/insights", "internal/social"}},
	{"internal/notify", []string{"internal/social"}},
	{"internal/monitor", []string{"internal/social"}},
	{"internal/jobs", []string{"internal/obs", "internal/social"}},
	{"internal/auth", []string{"internal/social"}},
	{"config", []string{"connectors", "internal/social"}},
	{"config/gen", []string{"config", "connectors", "connectors/all"}},

	{"scheduler", []string{"connectors", "internal/credentials", "internal/insights", "internal/obs", "internal/social"}},
	// The store satisfies what its callers declare: it knows their types, never
	// their work, and never a plain token (docs/decisions/0002-layers.md).
	{"store", []string{"connectors", "internal/credentials", "internal/insights", "internal/instance", "internal/jobs", "internal/media", "internal/notify", "internal/social", "scheduler"}},
	{"store/storetest", []string{"connectors", "internal/credentials", "internal/insights", "internal/instance", "internal/media", "internal/notify", "internal/social", "scheduler", "store"}},
	{"store/faultdisk", nil},

	{"internal/backup", []string{"internal/bucket", "internal/keyring", "internal/social", "store"}},

	{"internal/app", []string{
		"config", "connectors", "internal/advice", "internal/auth", "internal/credentials", "internal/insights",
		"internal/media", "internal/notify", "internal/obs", "internal/social", "scheduler",
	}},
	{"internal/httpapi", []string{"internal/app", "internal/auth", "internal/obs", "internal/social"}},
	{"web", nil},

	// What only tests and the build use.
	{"internal/layertest", nil},
	{"scheduler/model", []string{"connectors", "internal/social", "scheduler"}},
	{"internal/mutant", nil},
	{"internal/pgtest", nil},
	{"internal/realservers", []string{"internal/pgtest", "internal/realservers/*"}},
	{"internal/realservers/*", []string{"internal/realservers", "internal/realservers/*"}},
	{"internal/testsummary", nil},
	{"internal/prove", nil},
	{"internal/e2e", []string{anything}},
	{"internal/loadtest", []string{anything}},
	{"internal/simulate", []string{anything}},
}

// everywhere is what any package of ours may import but the language: the marks
// of crash points, which are nothing in an ordinary build.
var everywhere = []string{"internal/crash"}

// onlyForTests are the packages that no other code than tests may import.
var onlyForTests = []string{"connectors/connectortest", "connectors/connectortest/*", "connectors/*/*test", "connectors/fake", "connectors/fake/*", "internal/e2e", "internal/layertest", "internal/loadtest", "internal/media/film", "internal/mutant", "internal/pgtest", "internal/realservers", "internal/realservers/*", "internal/simulate", "store/faultdisk", "scheduler/model", "store/storetest"}

// badNames are package names that say nothing.
var badNames = []string{"util", "utils", "common", "types", "manager", "helper", "helpers", "misc", "shared"}

// checkLayers returns one sentence for each import and each name that breaks
// the rules, in the order of pkgs.
func checkLayers(pkgs []pkg) []string {
	var bad []string
	for _, p := range pkgs {
		if slices.Contains(badNames, p.Name) || slices.Contains(badNames, path.Base(p.ImportPath)) {
			bad = append(bad, fmt.Sprintf("package %s: the name says nothing; name it after what it holds", p.ImportPath))
		}
		from, ours := below(p.ImportPath)
		if !ours {
			continue
		}
		may, known := allowed(from)
		if !known {
			bad = append(bad, fmt.Sprintf("package %s has no place in the table of internal/layertest; say there what it may import", p.ImportPath))
			continue
		}
		for _, imp := range p.Imports {
			if why := refuse(from, may, imp); why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imp, why))
			}
		}
	}
	return bad
}

// refuse says why from may not import imp, or "".
func refuse(from string, may []string, imp string) string {
	to, ours := below(imp)
	switch {
	case !ours:
		return ""
	case fitsAny(onlyForTests, to) && !fitsAny(onlyForTests, from):
		return "it is for tests only"
	case slices.Contains(may, anything):
		return ""
	case strings.HasPrefix(from, "connectors/") && isNetwork(to) && from != "connectors/all" && from != "connectors/connectortest/worlds" && folder(from) != folder(to):
		return "a connector knows no other"
	case fitsAny(everywhere, to) && from != "internal/social":
		return ""
	case !fitsAny(may, to):
		return "imports point one way; see the table in internal/layertest"
	}
	return ""
}

// isNetwork says whether a path below the module is a network's folder.
func isNetwork(p string) bool {
	name, isConn := strings.CutPrefix(p, "connectors/")
	return isConn && name != "all" && name != "connectortest" && !strings.HasPrefix(name, "internal/")
}

// folder is the network's folder that a path below connectors is in.
func folder(p string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(p, "connectors/"), "/")
	return name
}

func allowed(p string) (may []string, known bool) {
	for _, l := range layers {
		if fits(l.pkg, p) {
			return l.may, true
		}
	}
	return nil, false
}

func below(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func fits(pattern, p string) bool {
	ok, err := path.Match(pattern, p)
	return err == nil && ok
}

func fitsAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pat string) bool { return fits(pat, p) })
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, tags := range []string{"", "real", "e2e", "faultinject"} {
		pkgs := list(t, tags)
		if len(pkgs) < 3 {
			t.Fatalf("go list -tags=%q found %d packages; the test looks at nothing", tags, len(pkgs))
		}
		for _, b := range checkLayers(pkgs) {
			t.Errorf("tags %q: %s", tags, b)
		}
	}
}

func list(t *testing.T, tags string) []pkg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-tags="+tags, "-json=ImportPath,Name,Dir,Imports", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatalf("reading the list of packages: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("this is not the module's root: %v", err)
	}
	return dir
}

// TestLayersCatches shows that the rules can fail: each case breaks one.
func TestLayersCatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, pkgName, from, imp string
		want                     string // part of the sentence; "" for a good one
	}{
		{"the language imports the contract", "social", "smi/internal/social", "smi/connectors", "one way"},
		{"the language imports a library of ours", "social", "smi/internal/social", "smi/internal/obs", "one way"},
		{"the standard library", "social", "smi/internal/social", "time", ""},
		{"a network imports another", "mastodon", "smi/connectors/mastodon", "smi/connectors/bluesky", "no other"},
		{"a network's simulator imports another network", "mastodonsim", "smi/connectors/mastodon/mastodonsim", "smi/connectors/bluesky", "no other"},
		{"what connectors share imports one of them", "api", "smi/connectors/internal/api", "smi/connectors/bluesky", "no other"},
		{"a network imports the store", "bluesky", "smi/connectors/bluesky", "smi/store", "one way"},
		{"a network imports the scheduler", "bluesky", "smi/connectors/bluesky", "smi/scheduler", "one way"},
		{"a network imports the contract", "bluesky", "smi/connectors/bluesky", "smi/connectors", ""},
		{"a network imports what networks share", "bluesky", "smi/connectors/bluesky", "smi/connectors/internal/api", ""},
		{"the list imports a network", "all", "smi/connectors/all", "smi/connectors/bluesky", ""},
		{"the scheduler imports the store", "scheduler", "smi/scheduler", "smi/store", "one way"},
		{"the scheduler imports a network", "scheduler", "smi/scheduler", "smi/connectors/bluesky", "one way"},
		{"the scheduler imports what networks share", "scheduler", "smi/scheduler", "smi/connectors/internal/api", "one way"},
		{"the store imports the use cases", "store", "smi/store", "smi/internal/app", "one way"},
		{"the store imports the keyring", "store", "smi/store", "smi/internal/keyring", "one way"},
		{"the store imports the ledger's types", "store", "smi/store", "smi/scheduler", ""},
		{"the API imports the store", "httpapi", "smi/internal/httpapi", "smi/store", "one way"},
		{"the use cases import the store", "app", "smi/internal/app", "smi/store", "one way"},
		{"the command imports the store", "main", "smi/cmd/smi", "smi/store", ""},
		{"the command imports a test suite", "main", "smi/cmd/smi", "smi/store/storetest", "tests only"},
		{"a package of no layer", "chat", "smi/internal/chat", "time", "no place"},
		{"a name that says nothing", "util", "smi/internal/social", "time", "says nothing"},
		{"a folder that says nothing", "text", "smi/internal/common", "time", "says nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(checkLayers([]pkg{{ImportPath: c.from, Name: c.pkgName, Imports: []string{c.imp}}}), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%s imports %s: got %q, want something with %q", c.from, c.imp, got, c.want)
			}
		})
	}
}

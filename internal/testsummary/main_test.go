package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	pass := `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}` + "\n" + `{"Action":"pass","Package":"p","Elapsed":0.2}` + "\n"
	for _, c := range []struct {
		name, in string
		allowed  map[string]string
		ok       bool
		want     []string
	}{
		{"all pass", pass, nil, true, []string{"ok    p ", "1 passed, 0 failed, 0 skipped"}},
		{"nothing ran", "", nil, false, []string{"no test ran"}},
		{
			"a failure shows its output", `{"Action":"output","Package":"p","Test":"TestB","Output":"b_test.go:1: got 2\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p","Elapsed":1}
`, nil, false,
			[]string{"b_test.go:1: got 2", "FAIL  p ", "failed: p TestB", "0 passed, 1 failed, 0 skipped"},
		},
		{
			"a package that does not build", `{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:3: undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
` + strings.ReplaceAll(pass, `"p"`, `"q"`), nil, false,
			[]string{"undefined: x", "broken: p", "1 passed, 0 failed, 0 skipped, 1 broken"},
		},
		{
			"a package that dies", `{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestC","Output":"panic: boom\n"}
{"Action":"fail","Package":"p","Elapsed":1}
`, nil, false,
			[]string{"panic: boom", "failed: p TestC"},
		},
		{"no event", "go: cannot find main module\n" + pass, nil, false, []string{"cannot find main module", "1 broken"}},
		{
			"a skip nobody allowed", pass + `{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:9: no compiler\n"}
{"Action":"output","Package":"p","Test":"TestD","Output":"--- SKIP: TestD (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestD"}
`, nil, false,
			[]string{"skipped: p TestD: d_test.go:9: no compiler (NOT in", "1 skipped"},
		},
		{
			"an allowed skip", pass + `{"Action":"skip","Package":"p","Test":"TestD"}` + "\n",
			map[string]string{"p TestD": "needs two machines"},
			true,
			[]string{"allowed: needs two machines", "1 passed, 0 failed, 1 skipped"},
		},
		{
			"a reason that every test may give", pass + `{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:9: no compiler: none found\n"}
{"Action":"skip","Package":"p","Test":"TestD"}
`,
			map[string]string{"* * no compiler": "no compiler"},
			true,
			[]string{"no compiler: none found (allowed", "1 skipped"},
		},
		{
			"another reason than that", pass + `{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:9: no time\n"}
{"Action":"skip","Package":"p","Test":"TestD"}
`,
			map[string]string{"* * no compiler": "no compiler"},
			false,
			[]string{"no time (NOT in"},
		},
		{"a package without tests", pass + `{"Action":"skip","Package":"q","Elapsed":0}` + "\n", nil, true, []string{"1 passed, 0 failed, 0 skipped"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			s := newSummary(&out, c.allowed, false)
			if err := s.read(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			if got := s.finish(); got != c.ok {
				t.Errorf("ok = %v, want %v", got, c.ok)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("output lacks %q:\n%s", w, out.String())
				}
			}
		})
	}
}

func TestReadAllowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "skips")
	if err := os.WriteFile(file, []byte("# a comment\n\nsmi/x TestA needs root rights\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readAllowed(file)
	if err != nil || got["smi/x TestA"] != "needs root rights" || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("smi/x TestA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readAllowed(file); err == nil || !strings.Contains(err.Error(), ":1: want package, test and the reason") {
		t.Errorf("a line without a reason: got %v", err)
	}
	if _, err := readAllowed(file + ".none"); err == nil {
		t.Error("a missing file: got no error")
	}
}

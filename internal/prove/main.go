// Command prove runs the parts of the proof that smi publishes nothing twice,
// loses nothing and says nothing false, one after the other, and adds up what
// they say. A part says it in lines of its output that begin with "prove:":
//
//	prove: kills runs=24 deliveries=288 kills=52 twice=0 lost=0 false=0
//
// It fails if a part fails, if one says nothing, or if one says anything else
// than zero for twice, lost and false. What each part printed is kept.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// part is one test run.
type part struct {
	name        string
	says        []string // the names of the prove lines that must be there
	long, short []string // what `go test` is given; none: not in this form
	env         []string // of the long one
	// cannot says why this machine cannot run it, "" if it can. The short form is
	// then left out; the long one fails.
	cannot func() string
}

// parts are all of the proof.
var parts = []part{
	{
		name: "model", says: []string{"model"},
		long:  []string{"./scheduler/model"},
		short: []string{"./scheduler/model"},
	},
	{
		name: "disk", says: []string{"disk"}, env: []string{"SMI_PROVE=long"},
		long:  []string{"-run", "OnTheLedger", "./store"},
		short: []string{"-run", "OnTheLedger", "./store"},
	},
	{
		name: "simulate", says: []string{"simulate"},
		long:  []string{"-run", "TestSeeds|TestCells", "./internal/simulate", "-seeds", "20000", "-every", "7", "-pg-every", "151"},
		short: []string{"-run", "TestSeeds$", "./internal/simulate", "-seeds", "1500", "-seed-from", "501"},
	},
	{
		name: "mutants", says: []string{"mutants"}, // in the long form only: each is a build of its own
		long: []string{"-tags", "prove", "-run", "TestMutants", "./internal/simulate"},
	},
	{
		name: "kills", says: []string{"kills", "wire", "stops"},
		long:  []string{"-tags", "e2e", "-parallel", "4", "./internal/e2e", "-rounds", "4"},
		short: []string{"-tags", "e2e", "-parallel", "4", "-run", "TestKilledAtEveryPoint|TestBytesFail|TestStopped", "./internal/e2e"},
	},
	{
		name: "cluster", says: []string{"cluster"}, cannot: func() string {
			if runtime.GOOS != "linux" || os.Geteuid() != 0 {
				return "it makes machines out of network namespaces, which needs Linux and root"
			}
			return ""
		},
		long:  []string{"-tags", "e2e,cluster", "-parallel", "16", "-run", "TestCluster$", "./internal/e2e", "-scenarios", "60", "-clusters", "8"},
		short: []string{"-tags", "e2e,cluster", "-parallel", "16", "-run", "TestCluster$", "./internal/e2e", "-scenarios", "6"},
	},
}

func main() {
	short := flag.Bool("short", false, "run the short form of each part")
	only := flag.String("only", "", "run these `parts` only, separated by commas")
	dir := flag.String("dir", filepath.Join(".cache", "prove"), "`folder` for what the parts print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := choose(*only)
	if err == nil {
		err = os.MkdirAll(*dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		os.Exit(2)
	}
	t := newTally()
	for _, p := range chosen {
		began := time.Now()
		args := p.long
		if *short {
			args = p.short
		}
		if args == nil {
			continue
		}
		if p.cannot != nil && *short {
			if why := p.cannot(); why != "" {
				fmt.Printf("%-10s           left out: %s\n", p.name, why)
				continue
			}
		}
		out, err := p.run(ctx, args, *short, filepath.Join(*dir, p.name+".log"))
		t.take(p, out, err)
		fmt.Printf("%-10s %6.0f s  %s\n", p.name, time.Since(began).Seconds(), verdict(err))
		if err != nil {
			os.Stdout.Write(tail(out)) //nolint:errcheck // for people
		}
		for _, l := range t.lines[p.name] {
			fmt.Println("    " + l.text)
		}
	}
	line, problems := t.finish()
	for _, p := range problems {
		fmt.Println("FAILED:", p)
	}
	if *only != "" {
		line += ", of " + *only + " only"
	}
	fmt.Println(line)
	if len(problems) > 0 {
		os.Exit(1) //nolint:gocritic // nothing is deferred that matters
	}
}

func verdict(err error) string {
	if err != nil {
		return "FAILED"
	}
	return "ok"
}

func choose(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var out []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			var names []string
			for _, p := range parts {
				names = append(names, p.name)
			}
			return nil, fmt.Errorf("there is no part %q; choose among %s", name, strings.Join(names, ", "))
		}
		out = append(out, parts[i])
	}
	return out, nil
}

// run runs the part and returns what it printed, which is in the file as well.
func (p part) run(ctx context.Context, args []string, short bool, file string) ([]byte, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-v", "-count=1", "-timeout", "45m"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if !short {
		cmd.Env = append(cmd.Env, p.env...)
	}
	cmd.Stdout = io.MultiWriter(&out, f)
	cmd.Stderr = cmd.Stdout
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the tests clean up
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%w; all it printed is in %s", err, file)
	}
	return out.Bytes(), f.Close()
}

// tail is the end of what a part printed, without the lines that only say that
// a test goes on.
func tail(out []byte) []byte {
	var keep []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- PASS") {
			keep = append(keep, line)
		}
	}
	return []byte(strings.Join(keep[max(0, len(keep)-60):], ""))
}

// line is a prove line.
type line struct {
	text   string // after "prove: "
	values map[string]string
}

var proveLine = regexp.MustCompile(`(?:^|\s)prove: ([a-z]+) (.*)$`)

// tally adds up.
type tally struct {
	parts    []part
	lines    map[string][]line // by part
	problems []string
}

func newTally() *tally { return &tally{lines: map[string][]line{}} }

// take reads what a part printed, and how it ended.
func (t *tally) take(p part, out []byte, err error) {
	t.parts = append(t.parts, p)
	if err != nil {
		t.problems = append(t.problems, fmt.Sprintf("%s: %v", p.name, err))
	}
	said := map[string]bool{}
	in := bufio.NewScanner(bytes.NewReader(out))
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		m := proveLine.FindStringSubmatch(in.Text())
		if m == nil {
			continue
		}
		said[m[1]] = true
		l := line{text: m[1] + " " + m[2], values: map[string]string{}}
		for field := range strings.FieldsSeq(m[2]) {
			if k, v, ok := strings.Cut(field, "="); ok {
				l.values[k] = v
			}
		}
		t.lines[p.name] = append(t.lines[p.name], l)
	}
	if err := in.Err(); err != nil {
		t.problems = append(t.problems, fmt.Sprintf("%s: reading what it printed: %v", p.name, err))
	}
	for _, name := range p.says {
		if !said[name] {
			t.problems = append(t.problems, fmt.Sprintf("%s: there is no line that begins with \"prove: %s\"", p.name, name))
		}
	}
}

// finish returns the line for people, and what is wrong.
func (t *tally) finish() (string, []string) {
	sum := map[string]int{}
	first, last := 0, -1
	for _, p := range t.parts {
		for _, l := range t.lines[p.name] {
			for _, key := range []string{"deliveries", "kills", "powercuts", "twice", "lost", "false"} {
				v, ok := l.values[key]
				if !ok {
					continue
				}
				n, err := strconv.Atoi(v)
				if err != nil {
					t.problems = append(t.problems, fmt.Sprintf("%s: %s=%s is no number", p.name, key, v))
				}
				sum[key] += n
				if n != 0 && slices.Contains([]string{"twice", "lost", "false"}, key) {
					t.problems = append(t.problems, fmt.Sprintf("%s: %s=%d in %q", p.name, key, n, l.text))
				}
			}
			if p.name == "simulate" {
				if a, b, err := seeds(l.values["seeds"]); err == nil && last < 0 {
					first, last = a, b
				} else if err == nil {
					first, last = min(first, a), max(last, b)
				}
			}
		}
	}
	text := fmt.Sprintf("%d simulated deliveries, %d kills, %d power cuts: %d published twice, %d lost, %d false statuses",
		sum["deliveries"], sum["kills"], sum["powercuts"], sum["twice"], sum["lost"], sum["false"])
	if last >= 0 {
		text += fmt.Sprintf(" (seeds %d–%d)", first, last)
	}
	return text, t.problems
}

// seeds reads "1-500".
func seeds(s string) (first, last int, err error) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, errors.New("no range")
	}
	first, err = strconv.Atoi(a)
	if err == nil {
		last, err = strconv.Atoi(b)
	}
	return first, last, err
}

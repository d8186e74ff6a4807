package simulate

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log" //nolint:depguard // net/http logs with it
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"smi/internal/pgtest"
)

var (
	asWorker = flag.Bool("as-worker", false, "for the tests' own use")
	theJob   = flag.String("job", "", "for the tests' own use")
)

// job is what a worker does.
type job struct {
	Seeds    bool // random stories; else the cells
	From, To uint64
	Step     uint64
	Hash     bool // say the hash of each story's log
	Bite     bool // stop at the first finding
	Postgres bool // with the ledger on a server
}

// failure is a story that must not be.
type failure struct {
	Name     string
	Number   uint64
	Findings []string
	Replay   string
	Log      string
}

// summary is what workers did.
type summary struct {
	Counts   counts
	Reached  map[string]int
	Hashes   map[uint64][]string
	Failures []failure
	More     int
	CPU      time.Duration
}

func (s *summary) reached() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.Reached)) {
		out = append(out, fmt.Sprintf("%s %d", k, s.Reached[k]))
	}
	return strings.Join(out, ", ")
}

func (s *summary) add(o summary) {
	s.Counts.add(o.Counts)
	s.More, s.CPU = s.More+o.More, s.CPU+o.CPU
	for k, n := range o.Reached {
		s.Reached[k] += n
	}
	for k, h := range o.Hashes {
		s.Hashes[k] = append(s.Hashes[k], h...)
	}
	s.Failures = append(s.Failures, o.Failures...)
}

func newSummary() summary {
	return summary{Reached: map[string]int{}, Hashes: map[uint64][]string{}}
}

// maxFailures is how many failing stories are printed in full.
const maxFailures = 3

// work is the body of a worker: it prints the number of each story before it
// begins, and the summary in the end.
func work(t *testing.T) {
	log.SetOutput(io.Discard) // net/http has a word on each odd answer
	var j job
	if err := json.Unmarshal([]byte(*theJob), &j); err != nil {
		t.Fatal(err)
	}
	s, sum := prepare(t), newSummary()
	if j.Postgres {
		s.pg = pgtest.Shared(t)
	}
	var list []story
	if !j.Seeds {
		list = cells()
	}
	for n := j.From; n < j.To; n += max(j.Step, 1) {
		fmt.Fprintf(os.Stdout, "begin %d\n", n)
		st := random
		if !j.Seeds {
			st = func(n uint64) story { return list[n] }
		}
		var r *run
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			database := s.database(t)
			cryptotest.SetGlobalRandom(t, n)
			synctest.Test(t, func(t *testing.T) { r = tell(t, s, st(n), database) })
		})
		lines, hash := r.history()
		sum.Counts.add(r.counts)
		for k, c := range r.reached {
			sum.Reached[k] += c
		}
		if j.Hash {
			sum.Hashes[n] = append(sum.Hashes[n], hash)
		}
		switch {
		case len(r.findings) == 0:
		case len(sum.Failures) >= maxFailures:
			sum.More++
		default:
			f := failure{Name: r.name, Number: n, Findings: r.findings, Replay: fmt.Sprintf("-seed %d -hash %s", n, hash), Log: strings.Join(lines, "\n")}
			if !j.Seeds {
				f.Replay += " -cell"
			}
			if j.Postgres {
				f.Replay += " -postgres"
			}
			sum.Failures = append(sum.Failures, f)
		}
		if j.Bite && len(sum.Failures) > 0 {
			break
		}
	}
	b, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(os.Stdout, "\nsummary %s\n", b)
}

// like is the environment of a process that tells stories: what goes on at one
// instant goes on in one order, and nothing but the seed decides.
func like(env []string) []string {
	return append(env, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,tlsmlkem=0", "GOGC=400")
}

// tellings is how often a story is told again for the same hash. Two of a hundred
// differ from one telling to the next.
const tellings = 25

// again tells one story in a process like the workers', and prints it. With the
// hash of a story that failed, it tells it until it is that very one: which of
// several ready cases a select takes is up to the runtime, and no seed reaches it.
func again(t *testing.T, want string) {
	t.Helper()
	for n := range tellings {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append(os.Args[1:], "-here", "-test.v")...)
		cmd.Env = like(os.Environ())
		out, err := cmd.CombinedOutput()
		if want != "" && !strings.Contains(string(out), "hash "+want) && n+1 < tellings {
			continue
		}
		t.Logf("told %d times\n%s", n+1, out)
		if err != nil {
			t.Error(err)
		}
		if want != "" && !strings.Contains(string(out), "hash "+want) {
			t.Errorf("told %d times, it never had the hash %s; was something changed since?", tellings, want)
		}
		return
	}
}

// replay tells one story in this process and prints it.
func replay(t *testing.T, n uint64, fromCells bool) {
	log.SetOutput(io.Discard)
	s := prepare(t)
	s.verbose = *nodes
	st := random
	if fromCells {
		st = func(n uint64) story { return cells()[n] }
	}
	if *postgres {
		s.pg = pgtest.Shared(t)
	}
	database := s.database(t)
	var r *run
	cryptotest.SetGlobalRandom(t, n)
	synctest.Test(t, func(t *testing.T) { r = tell(t, s, st(n), database) })
	lines, hash := r.history()
	t.Logf("%s, %d accounts, %d nodes, hash %s:\n%s", r.name, len(r.accts), r.nodes, hash, strings.Join(lines, "\n"))
	for _, f := range r.findings {
		t.Error(f)
	}
}

// together splits a job among worker processes and sums up what they did.
func together(t *testing.T, j job, procs int) summary {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	sum := newSummary()
	step := max(j.Step, 1)
	share := (j.To - j.From + uint64(procs) - 1) / uint64(procs)
	share = (share + step - 1) / step * step
	for at := j.From; at < j.To; at += share {
		part := j
		part.From, part.To = at, min(at+share, j.To)
		wg.Go(func() {
			s := worker(t, part)
			mu.Lock()
			defer mu.Unlock()
			sum.add(s)
		})
	}
	wg.Wait()
	slices.SortFunc(sum.Failures, func(a, b failure) int { return int(a.Number) - int(b.Number) })
	if n := len(sum.Failures); n > maxFailures {
		sum.More += n - maxFailures
		sum.Failures = sum.Failures[:maxFailures]
	}
	return sum
}

// stuck is how long a story may take; most take a tenth of a second.
const stuck = 5 * time.Minute

// worker runs a job in a process of its own.
func worker(t *testing.T, j job) summary {
	t.Helper()
	return workerOf(t, os.Args[0], j)
}

// workerOf is worker with another program than this one.
func workerOf(t *testing.T, program string, j job) summary {
	t.Helper()
	sum := newSummary()
	b, err := json.Marshal(j)
	if err != nil {
		t.Error(err)
		return sum
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-test.run", "^TestWorker$", "-test.timeout", "0", "-as-worker", "-job", string(b))
	cmd.Env = like(os.Environ())
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return sum
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return sum
	}
	last, done := "nothing", false
	watch := time.AfterFunc(stuck, cancel)
	in := bufio.NewReader(out)
	var rest []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		line = strings.TrimSpace(line)
		if n, ok := strings.CutPrefix(line, "begin "); ok {
			last = n
			watch.Reset(stuck)
		} else if s, ok := strings.CutPrefix(line, "summary "); ok {
			if err := json.Unmarshal([]byte(s), &sum); err != nil {
				t.Error(err)
			}
			done = true
		} else if len(rest) < 400 {
			rest = append(rest, line)
		}
	}
	watch.Stop()
	err = cmd.Wait()
	if !done || err != nil {
		t.Errorf("the worker ended in story %s (seeds: %v) with %v\n%s\n%s", last, j.Seeds, err, strings.Join(rest, "\n"), errs.String())
	}
	if p := cmd.ProcessState; p != nil {
		sum.CPU = p.UserTime() + p.SystemTime()
	}
	return sum
}

package simulate

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"smi/internal/pgtest"
)

var (
	count    = flag.Int("seeds", 500, "how many seeds to run")
	from     = flag.Uint64("seed-from", 1, "the first seed")
	one      = flag.Int64("seed", -1, "run this seed alone and print what happened; with -cell the cell of this number")
	cell     = flag.Bool("cell", false, "see -seed")
	every    = flag.Uint64("every", 11, "tell one of so many cells; 1 for all")
	hash     = flag.String("hash", "", "with -seed: tell it until its log has this hash, as a failure prints it")
	here     = flag.Bool("here", false, "for the tests' own use")
	postgres = flag.Bool("postgres", false, "see -seed: with the ledger on a PostgreSQL server")
	pgEvery  = flag.Uint64("pg-every", 331, "tell one of so many cells on PostgreSQL")
	nodes    = flag.Bool("log", false, "print the nodes' own log, with -seed")
	procs    = flag.Int("procs", runtime.NumCPU(), "processes that run seeds at a time")
)

// TestWorker runs stories for the tests below, in a process of its own, with one
// processor: what goes on at one instant then goes on in one order.
func TestWorker(t *testing.T) {
	if *asWorker { // the other tests start it
		work(t)
	}
}

// TestSeeds runs the stories of many seeds, or of one: -seed N.
func TestSeeds(t *testing.T) {
	switch {
	case *one >= 0 && *here:
		replay(t, uint64(*one), *cell)
		return
	case *one >= 0:
		again(t, *hash)
		return
	}
	n := *count
	if testing.Short() {
		n = min(n, 60)
	}
	sum := together(t, job{Seeds: true, From: *from, To: *from + uint64(n)}, *procs)
	report(t, sum, fmt.Sprintf("seeds=%d-%d", *from, *from+uint64(n)-1))
	if n >= 500 {
		wantReached(t, sum)
	}
}

// TestCells runs one thing that goes wrong, and one end of a life, on each
// network, in both orders.
func TestCells(t *testing.T) {
	if *one >= 0 {
		return // one seed was asked for
	}
	all := uint64(len(cells()))
	step := *every
	if testing.Short() {
		step = 157
	}
	sum := together(t, job{To: all, Step: step}, *procs)
	report(t, sum, fmt.Sprintf("cells=%d", sum.Counts.Seeds))
}

// TestCellsOnPostgres is TestCells with the ledger on a server: the same
// promises, on the database that several nodes share.
func TestCellsOnPostgres(t *testing.T) {
	if *one >= 0 {
		return // one seed was asked for
	}
	pgtest.Shared(t) // says what is missing, before the workers want it
	step := *pgEvery
	if testing.Short() {
		step *= 9
	}
	sum := together(t, job{To: uint64(len(cells())), Step: step, Postgres: true}, *procs)
	report(t, sum, fmt.Sprintf("cells-on-postgresql=%d", sum.Counts.Seeds))
}

// TestRepeats tells stories in two processes: the same seed is the same story, to
// the letter of the log. Which of several ready cases a select takes is up to the
// runtime, so a few may differ in a moment; where the seeds did not decide, most
// would.
func TestRepeats(t *testing.T) {
	if *one >= 0 {
		return // one seed was asked for
	}
	n := uint64(30)
	if testing.Short() {
		n = 10
	}
	sum := newSummary()
	for range 2 {
		sum.add(worker(t, job{Seeds: true, From: 1001, To: 1001 + n, Hash: true}))
	}
	var differ []uint64
	for seed, hashes := range sum.Hashes {
		if len(hashes) != 2 {
			t.Fatalf("seed %d was told %d times", seed, len(hashes))
		}
		if hashes[0] != hashes[1] {
			differ = append(differ, seed)
		}
	}
	t.Logf("prove: repeats seeds=%d differ=%d", n, len(differ))
	if len(sum.Hashes) != int(n) || len(differ) > int(n/10) {
		t.Errorf("of %d seeds, told twice each, %v came out otherwise the second time", len(sum.Hashes), differ)
	}
}

// report prints what was done, and fails for what was found.
func report(t *testing.T, s summary, what string) {
	t.Helper()
	c := s.Counts
	t.Logf("%d stories, %.0f ms of a processor each; reached: %s", c.Seeds, s.CPU.Seconds()*1000/float64(max(c.Seeds, 1)), s.reached())
	fmt.Fprintf(os.Stdout, "prove: simulate deliveries=%d kills=%d powercuts=%d twice=%d lost=%d false=%d %s\n", c.Deliveries, c.Kills, c.PowerCuts, c.Twice, c.Lost, c.False, what)
	for _, f := range s.Failures {
		t.Errorf("%s: %s\nreplay: go test ./internal/simulate -run TestSeeds -v %s\n%s", f.Name, strings.Join(f.Findings, "\n  "), f.Replay, f.Log)
	}
	if s.More > 0 {
		t.Errorf("and %d more", s.More)
	}
}

// wantReached fails for what a long run must have come to and has not.
func wantReached(t *testing.T, s summary) {
	t.Helper()
	must := []string{
		"adopted by handle", "adopted by listing", "a person was asked", "sent again because the handle said so", "not sent, and tried again", "taken over",
		"came to be held_late", "came to be blocked", "came to be skipped", "the answer to a refresh was lost", "refused, and waiting", "a limit was kept",
		"a power cut lost what nobody had been promised", "a person said: again", "a person said: drop", "cancelled in time",
		"cancelled too late", "an armed attempt was found at start", "a change came too late", "the database stood still", "the database's answer was lost",
		"a person connected an account anew", "ended published", "ended cancelled", "ended failed", "ended skipped",
	}
	if s.Counts.Seeds >= 5000 { // smi finds nearly everything by itself
		must = append(must, "a person said: there")
	}
	for _, p := range points {
		must = append(must, "crashed at "+string(p))
	}
	for _, m := range must {
		if s.Reached[m] == 0 {
			t.Errorf("nothing ever %s: the stories do not come there any more", m)
		}
	}
}

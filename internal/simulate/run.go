package simulate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors/connectortest"
	"smi/connectors/fake"
	"smi/internal/keyring"
	"smi/internal/pgtest"
	"smi/internal/social"
	"smi/store"
	"smi/store/storetest"
)

// setup is what all runs of a process share, because making it anew each time
// would take longer than a run.
type setup struct {
	empty []byte // a database without rows
	keys  *keyring.Keyring
	dir   string         // where runs have their data
	pg    *pgtest.Server // where the ledger is instead; nil: in SQLite

	verbose bool // print the nodes' own log
}

// database makes a database for one story; "" where the ledger is in SQLite.
func (s *setup) database(t testing.TB) string {
	if s.pg == nil {
		return ""
	}
	return s.pg.Filled(t, "simulate", func(url string) error {
		st, err := store.Open(t.Context(), store.Options{URL: url, Now: func() time.Time { return began }})
		if err != nil {
			return err
		}
		return st.Close()
	})
}

// prepare makes the setup. The data is kept in memory where that can be: what a
// disk would lose is up to faultdisk.
func prepare(t testing.TB) *setup {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "smi-simulate-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &setup{dir: dir}
	path := filepath.Join(dir, "empty", "smi.db")
	st, err := store.Open(t.Context(), store.Options{Path: path, Now: func() time.Time { return began }, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if s.empty, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if s.keys, err = keyring.Init(filepath.Join(dir, "keys", "key"), ""); err != nil {
		t.Fatal(err)
	}
	return s
}

// began is when every story begins.
var began = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// run is a story that is being told.
type run struct {
	story
	database string // address of the ledger; "": SQLite

	t     *testing.T
	setup *setup
	zero  time.Time // the bubble's time at the beginning
	log   *slog.Logger
	nets  []*connectortest.World
	files fake.Files
	m     *machine
	space social.ID
	quit  chan struct{} // the story is over
	wg    sync.WaitGroup

	mu       sync.Mutex
	events   []event
	findings []string
	reached  map[string]int
	met      []int // how often each set mishap happened
	passed   []int // how often each crash's point was passed
	done     []bool
	pausedAt map[social.ID]bool    // accounts that are paused; 0: all
	sends    map[string]int        // commit requests by the hash of their bytes
	renewing map[int]time.Duration // worlds by when a login was last being renewed there
	gaveUp   map[int]bool          // worlds whose logins may be dead: a refresh was lost or refused, or somebody revoked
	acks     acks
	wishes   []*wish
	accts    []social.Account
	counts   counts
	waits    time.Duration // until when a network asked smi to wait
}

// counts are the amounts of a run.
type counts struct {
	Seeds, Deliveries, Kills, PowerCuts, Twice, Lost, False, Other int
}

func (c *counts) add(o counts) {
	c.Seeds, c.Deliveries, c.Kills, c.PowerCuts = c.Seeds+o.Seeds, c.Deliveries+o.Deliveries, c.Kills+o.Kills, c.PowerCuts+o.PowerCuts
	c.Twice, c.Lost, c.False, c.Other = c.Twice+o.Twice, c.Lost+o.Lost, c.False+o.False, c.Other+o.Other
}

// event is one line of what happened.
type event struct {
	at   time.Duration
	key  string
	text string
}

// now is the time in the story, to whose nodes it is the only clock.
func (r *run) now() time.Time { return began.Add(time.Since(r.zero)) }

// age is the time since the beginning.
func (r *run) age() time.Duration { return time.Since(r.zero) }

// note writes a line into the log. key is of what it is about.
func (r *run) note(key, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event{r.age(), key, fmt.Sprintf(format, args...)})
}

// find notes something that must not be. Its first word is what kind it is.
func (r *run) find(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	r.findings = append(r.findings, text)
	r.events = append(r.events, event{r.age(), "!", text})
}

// sometimes notes that something was reached which must be reached now and then.
func (r *run) sometimes(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reached[what]++
}

// history is the log in the order of time, and of keys where that is the same.
func (r *run) history() (lines []string, hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.events, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.key, b.key)) })
	h := sha256.New()
	for _, e := range r.events {
		line := fmt.Sprintf("%-16s %-14s %s", e.at, e.key, e.text)
		fmt.Fprintln(h, line)
		lines = append(lines, line)
	}
	return lines, hex.EncodeToString(h.Sum(nil)[:8])
}

// tell runs a story from beginning to end, in the bubble it is called in, with the
// ledger in the PostgreSQL database at an address, or in SQLite where there is
// none. While the server works no time passes in the bubble: who waits for a
// socket is not asleep.
func tell(t *testing.T, s *setup, st story, database string) *run {
	r := &run{
		story: st, database: database, t: t, setup: s, zero: time.Now(), quit: make(chan struct{}), files: fake.Files{},
		reached: map[string]int{}, met: make([]int, len(st.mishaps)), passed: make([]int, len(st.crashes)), done: make([]bool, len(st.crashes)),
		pausedAt: map[social.ID]bool{}, sends: map[string]int{}, gaveUp: map[int]bool{}, renewing: map[int]time.Duration{},
		acks: newAcks(), log: slog.New(slog.DiscardHandler),
	}
	if s.verbose {
		r.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Duration("t", r.age())
			}
			return a
		}}))
	}
	for i, w := range st.worlds {
		r.nets = append(r.nets, w.Make(t, connectortest.WorldOptions{
			Now: r.now, Seed: uint64(st.dice), TokenLife: st.life, Meet: func(q connectortest.Request) connectortest.Mishap { return r.meet(i, q) },
		}))
	}
	r.m = newMachine(r)
	r.m.boot()
	r.populate()
	r.m.start()
	r.people()
	r.untilRest()
	close(r.quit)
	r.m.stop()
	r.wg.Wait()
	r.judge()
	r.m.close()
	r.counts.Seeds = 1
	return r
}

// populate connects the accounts and plans the posts that are there from the
// beginning.
func (r *run) populate() {
	ctx := context.Background()
	l := r.m.current()
	ws, err := l.store.EnsureWorkspace(ctx, "team", "UTC")
	r.must(err)
	r.space = ws.ID
	picture := r.files.Add(social.Image, "image/png", connectortest.MediaBytes(r.t, social.Image, "image/png", 3000))
	picture.Width, picture.Height, picture.Alt = 40, 30, "a picture"
	video := r.files.Add(social.Video, "video/mp4", connectortest.MediaBytes(r.t, social.Video, "video/mp4", 3000))
	video.Width, video.Height, video.Duration = 40, 30, time.Second
	for i, w := range r.accounts {
		a := r.nets[w].AddAccount(i)
		a.WorkspaceID = r.space
		a, err := l.store.ConnectAccount(ctx, a, 0, "person")
		r.must(err)
		g, err := r.nets[w].Login(ctx, a.RemoteID)
		r.must(err)
		r.must(l.nodes[0].creds.Connect(ctx, a.ID, g))
		_, err = l.store.MarkConnected(ctx, r.space, a.ID)
		r.must(err)
		r.accts = append(r.accts, a)
		if r.stale > 0 && r.nets[w].Stale != nil {
			r.nets[w].Stale(a.RemoteID, r.stale)
		}
	}
	for i := range r.posts {
		w := &wish{r: r, n: i, picture: picture, video: video, takes: map[int]int{}}
		r.wishes = append(r.wishes, w)
		if r.posts[i].created == 0 {
			w.plan(l)
		}
	}
}

// must ends the test if the story cannot even begin.
func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: the story cannot begin: %v", r.name, err)
	}
}

// untilRest waits until everything has come to an end, and a while longer in
// which nothing may happen any more.
func (r *run) untilRest() {
	const patience, quiet = 6 * time.Hour, 16 * time.Minute
	looks := 0
	for end := patience; ; {
		<-time.After(31*time.Second + 7*time.Microsecond)
		age := r.age()
		busy, next := r.busy()
		if looks++; looks%10 == 0 {
			r.checkUp()
		}
		if age > r.lastAct() && age > r.calm && !busy {
			break
		}
		if wait := next.Sub(r.now()); wait > patience/2 {
			end = max(end, age+wait+patience)
			<-time.After(wait - time.Minute)
		}
		r.mu.Lock()
		end = max(end, r.waits+patience)
		r.mu.Unlock()
		if age > end {
			break
		}
	}
	<-time.After(quiet)
}

// lastAct is when the last thing that was decided in advance has begun.
func (r *run) lastAct() (last time.Duration) {
	for _, p := range r.posts {
		last = max(last, p.planned, p.created)
	}
	for _, a := range r.acts {
		last = max(last, a.at, a.until)
	}
	for _, s := range r.stalls {
		last = max(last, s.to)
	}
	return last
}

// glance is what is looked at again and again while a story goes on.
type glance struct {
	open    int       // deliveries that are not at their end
	asking  int       // of those, the ones that wait for people
	offline int       // accounts that wait for a login
	next    time.Time // when smi looks at the first of them
}

const glanceSQL = `SELECT (SELECT count(*) FROM account WHERE status <> 'connected'), count(*), COUNT(CASE WHEN state IN ('needs_human','held_late','blocked') THEN 1 END), COALESCE(MIN(next_at), 0)
	FROM delivery WHERE state NOT IN ('published','failed','cancelled','skipped')`

func (l *life) glance() (g glance, ok bool) {
	var next int64
	err := l.look.QueryRowContext(context.Background()).Scan(&g.offline, &g.open, &g.asking, &next)
	g.next = time.UnixMilli(next)
	return g, err == nil // else its life has just ended
}

// busy says whether a delivery is not at its end, and when smi looks at the
// first of them.
func (r *run) busy() (bool, time.Time) {
	l := r.m.current()
	if l == nil {
		return true, time.Time{}
	}
	g, ok := l.glance()
	for _, w := range r.wishes {
		ok = ok && w.planned()
	}
	return !ok || g.open > 0, g.next
}

// checkUp asks the store for what must hold at any time, when smi had the time
// to see to it.
func (r *run) checkUp() {
	l := r.m.current()
	if l == nil || r.anyPaused() || r.stalledLately() {
		return
	}
	atWork := func(n *node) bool { return r.age()-n.since >= 6*time.Minute }
	if !slices.ContainsFunc(l.living(), atWork) {
		return // the database may be there, but nobody who could see to it
	}
	bad, err := l.store.Invariants(context.Background(), r.now())
	if err != nil {
		return // its life has just ended
	}
	for _, b := range bad {
		r.find("INVARIANT: %s", b)
	}
}

func (r *run) anyPaused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pausedAt) > 0
}

func (r *run) stalledLately() bool {
	for _, s := range r.stalls {
		if r.age() > s.from && r.age() < s.to+6*time.Minute {
			return true
		}
	}
	return false
}

// seeds puts queries to the store of the last life.
func (r *run) seeds() *storetest.Seeds { return storetest.Seed(r.t, r.m.last().store) }

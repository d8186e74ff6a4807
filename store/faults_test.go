package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/faultdisk"
	"smi/store/storetest"
)

// What follows works on the real tables with the real changes, on disks that
// fail. After each acknowledged change all rows are read; whatever happens to
// the disk then, the next life must find exactly these rows, or these and all
// of the one change of which nobody knows whether it was saved.

// began is when the lives below begin; each change takes a second.
var began = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// office is one life of a store whose disk may fail, and what a scheduler in it
// has in its hands.
type office struct {
	t    *testing.T
	disk *faultdisk.Disk
	dir  string
	s    *store.Store
	now  time.Time
	ws   social.ID
	acc  social.Account
	rand *rand.Rand
	made int

	scheduled, ready, armed, doubtful []scheduler.Work
	attempt                           map[social.ID]scheduler.Attempt
	gen, epoch                        int64 // of the account's login
	refreshing                        bool

	fails        int    // which call of the disk will fail
	acked, asked int    // changes that were acknowledged, and all
	rows         tables // after the last acknowledged change
	last         string // the change that failed
	lastErr      error
}

// tables is what each table holds, as text.
type tables map[string]string

// differ returns the names of the tables that are not the same.
func (a tables) differ(b tables) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if a[name] != b[name] {
			out = append(out, name)
		}
	}
	return out
}

// template is a database with a workspace, an account with its login and some
// posts, to be copied for each life.
func template(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := store.Open(t.Context(), store.Options{Path: path, BallastBytes: -1, Now: func() time.Time { return began }})
	if err != nil {
		t.Fatal(err)
	}
	d := storetest.Seed(t, s)
	a := d.Account(d.Workspace().ID)
	if err := s.SaveGrant(t.Context(), credentials.Save{Login: true, Now: began, Row: credentials.Row{
		Account: a.ID, Network: a.Network, Gen: 1, Sealed: []byte("sealed-1"), KeyID: "k", Expires: began.Add(time.Hour), State: credentials.Connected, NextAt: began,
	}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// enter begins a life on a copy of the template.
func enter(t *testing.T, template string, seed uint64, synchronous string) *office {
	t.Helper()
	b, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "smi.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, disk: faultdisk.New(t), dir: dir, now: began, rand: rand.New(rand.NewPCG(seed, 3)), attempt: map[social.ID]scheduler.Attempt{}, gen: 1}
	o.s, err = store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "smi.db"), BallastBytes: -1, VFS: o.disk.Name(), Synchronous: synchronous, Now: func() time.Time { return o.now }})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := o.s.AllAccounts(t.Context())
	if err != nil || len(accounts) != 1 {
		t.Fatalf("%d accounts, %v", len(accounts), err)
	}
	o.acc, o.ws = accounts[0], accounts[0].WorkspaceID
	return o
}

// readAll reads all rows of all tables.
func readAll(t *testing.T, s *store.Store) tables {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	names, err := texts(ctx, s.WriterDB(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`)
	if err != nil {
		t.Fatal(err)
	}
	out := tables{}
	for _, name := range names {
		rows, err := texts(ctx, s.WriterDB(), `SELECT * FROM `+name+` ORDER BY 1, 2`)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = strings.Join(rows, "\n")
	}
	return out
}

// texts returns each row of a query as text.
func texts(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	var out []string
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		fields := make([]string, len(values))
		for i, v := range values {
			fields[i] = fmt.Sprint(v)
		}
		out = append(out, strings.Join(fields, "|"))
	}
	return out, rows.Err()
}

// op is a change of the ledger. can says whether there is something to change;
// do makes the change, and returns what to remember once it is acknowledged.
type op struct {
	name string
	can  func(o *office) bool
	do   func(o *office, ctx context.Context) (func(), error)
}

func always(*office) bool { return true }

// take takes the first work of a list.
func takeFirst(list *[]scheduler.Work) scheduler.Work {
	w := (*list)[0]
	*list = (*list)[1:]
	return w
}

// ops are the changes, and script an order in which all of them can be made.
var ops = []op{
	{"plan", always, func(o *office, ctx context.Context) (func(), error) {
		o.made++
		p := social.PlannedPost{Post: social.Post{
			WorkspaceID: o.ws, State: social.PostApproved, Tags: []string{"t"}, Parts: []social.Part{{Role: social.RoleBody, Text: fmt.Sprintf("post %d", o.made)}},
			Planned: social.When{Local: o.now.Format("2006-01-02T15:04:05"), Zone: "UTC", UTC: o.now},
		}}
		p.Deliveries = []social.Delivery{{AccountID: o.acc.ID, Kind: social.KindPost, Parts: p.Post.Parts, PlannedAt: o.now, LatePolicy: social.LateAsk, State: social.Scheduled, NextAt: o.now}}
		_, _, err := o.s.CreatePost(ctx, p, "person:ada", social.Once{Key: fmt.Sprintf("key-%d", o.made), Actor: "person:ada", RequestHash: "h"})
		return func() {}, err
	}},
	{"claim", always, func(o *office, ctx context.Context) (func(), error) {
		works, err := o.s.Claim(ctx, scheduler.ClaimRequest{Node: "n1", Now: o.now, Lease: time.Hour, Limit: 100, PerAccount: 16})
		return func() { o.scheduled = append(o.scheduled, works...) }, err
	}},
	{"save", func(o *office) bool { return len(o.scheduled) > 0 }, func(o *office, ctx context.Context) (func(), error) {
		d := o.scheduled[0].Delivery
		return func() {}, o.s.Save(ctx, d.ID, d.Epoch, scheduler.Checkpoint{Step: d.Step, Class: connectors.Unkeyed, RequestHash: fmt.Sprintf("h-%d", o.asked)})
	}},
	{"ready", func(o *office) bool { return len(o.scheduled) > 0 }, func(o *office, ctx context.Context) (func(), error) {
		w := o.scheduled[0]
		return func() {
				takeFirst(&o.scheduled)
				w.Delivery.Ver++
				o.ready = append(o.ready, w)
			}, o.s.Move(ctx, scheduler.Move{
				Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Scheduled, social.Claimed}, To: social.Ready, Now: o.now, NextAt: o.now,
				Checkpoint: &scheduler.Checkpoint{Class: connectors.Unkeyed, RequestHash: "h"},
			})
	}},
	{"arm", func(o *office) bool { return len(o.ready) > 0 }, func(o *office, ctx context.Context) (func(), error) {
		w := o.ready[0]
		a, err := o.s.Arm(ctx, scheduler.ArmRequest{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, Ver: w.Delivery.Ver, Attempt: social.ID(1_000_000 + o.asked), N: 1, Node: "n1", Class: connectors.Unkeyed, Now: o.now,
			SendBy: o.now.Add(30 * time.Second), TakeoverAt: o.now.Add(95 * time.Second), TokenGen: o.gen, RequestHash: "h", Fingerprint: w.Delivery.ID.String(),
			ContentHash: w.Delivery.ContentHash, Charges: []scheduler.Charge{{Key: "posts", Window: time.Hour, Limit: 1_000_000, Cost: 1}},
		})
		return func() {
			takeFirst(&o.ready)
			o.armed, o.attempt[w.Delivery.ID] = append(o.armed, w), a
		}, err
	}},
	{"doubt", func(o *office) bool { return len(o.armed) > 0 }, func(o *office, ctx context.Context) (func(), error) {
		w := o.armed[0]
		return func() { o.doubtful = append(o.doubtful, takeFirst(&o.armed)) }, o.s.Move(ctx, scheduler.Move{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Ambiguous, Now: o.now, NextAt: o.now,
			Attempt: &scheduler.AttemptChange{ID: o.attempt[w.Delivery.ID].ID, State: scheduler.AttemptAmbiguous},
		})
	}},
	{"publish", func(o *office) bool { return len(o.armed) > 0 }, func(o *office, ctx context.Context) (func(), error) {
		w := o.armed[0]
		rec := connectors.Receipt{RemoteID: "r-" + w.Delivery.ID.String(), URL: "https://example.org/p", PublishedAt: o.now}
		return func() { takeFirst(&o.armed) }, o.s.Move(ctx, scheduler.Move{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Published, Now: o.now, Step: 1, Release: true, Body: &rec,
			Attempt: &scheduler.AttemptChange{ID: o.attempt[w.Delivery.ID].ID, State: scheduler.AttemptOK, Receipt: rec, DecidedBy: "answer"}, DropCheckpoint: true,
		})
	}},
	{"ask", func(o *office) bool { return len(o.doubtful) > 0 }, func(o *office, ctx context.Context) (func(), error) {
		w := o.doubtful[0]
		return func() { takeFirst(&o.doubtful) }, o.s.Move(ctx, scheduler.Move{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Ambiguous}, To: social.NeedsHuman, Now: o.now, Release: true,
			Attempt: &scheduler.AttemptChange{ID: o.attempt[w.Delivery.ID].ID, State: scheduler.AttemptAmbiguous, Polls: 6},
			Notice:  &scheduler.Notice{Kind: "delivery_needs_human", Severity: "alarm", Delivery: w.Delivery.ID, Text: "look"},
		})
	}},
	{"begin refresh", func(o *office) bool { return !o.refreshing }, func(o *office, ctx context.Context) (func(), error) {
		epoch, err := o.s.BeginRefresh(ctx, credentials.Begin{Account: o.acc.ID, Gen: o.gen, Epoch: o.epoch, Node: "n1", Now: o.now, LeaseUntil: o.now.Add(time.Minute)})
		return func() { o.refreshing, o.epoch = true, epoch }, err
	}},
	{"save grant", func(o *office) bool { return o.refreshing }, func(o *office, ctx context.Context) (func(), error) {
		return func() { o.gen++; o.refreshing = false }, o.s.SaveGrant(ctx, credentials.Save{Now: o.now, KeepPrevious: o.now.Add(time.Hour), Row: credentials.Row{
			Account: o.acc.ID, Network: o.acc.Network, Gen: o.gen + 1, Sealed: fmt.Appendf(nil, "sealed-%d", o.gen+1), KeyID: "k", Expires: o.now.Add(time.Hour), State: credentials.Connected, NextAt: o.now,
		}})
	}},
	{"end refresh", func(o *office) bool { return o.refreshing }, func(o *office, ctx context.Context) (func(), error) {
		return func() { o.refreshing = false }, o.s.EndRefresh(ctx, credentials.End{Account: o.acc.ID, Gen: o.gen, Epoch: o.epoch, To: credentials.Connected, Now: o.now, NextAt: o.now, Fails: 1, LastError: "e"})
	}},
	{"metrics", always, func(o *office, ctx context.Context) (func(), error) {
		return func() {}, o.s.SavePosts(ctx, scheduler.SyncRun{}, o.acc, connectors.Page{
			Raw:   []social.RawAnswer{{Op: "list", APIVersion: "v1", At: o.now, Body: fmt.Appendf(nil, `{"n":%d}`, o.asked)}},
			Posts: []connectors.RemotePost{{Receipt: connectors.Receipt{RemoteID: fmt.Sprintf("p-%d", o.asked), PublishedAt: o.now}, Text: strings.Repeat("t", 2000)}},
		})
	}},
	{"numbers", always, func(o *office, ctx context.Context) (func(), error) {
		_, err := o.s.SaveNumbers(ctx, scheduler.SyncRun{}, o.acc, social.Reading{Raw: []social.RawAnswer{{Op: "n", APIVersion: "v1", At: o.now, Body: []byte("{}")}}, Observations: []social.Observation{
			{Subject: social.OfAccount, RemoteID: o.acc.RemoteID, Metric: social.Followers, Value: int64(o.asked), Window: social.Instant, At: o.now, Name: "followers"},
		}})
		return func() {}, err
	}},
	{"tell", always, func(o *office, ctx context.Context) (func(), error) {
		return func() {}, o.s.Tell(ctx, o.ws, scheduler.Notice{Kind: "test", Severity: "info", Text: "n"})
	}},
	{"cancel", func(o *office) bool { return len(o.scheduled) > 1 }, func(o *office, ctx context.Context) (func(), error) {
		_, err := o.s.CancelDelivery(ctx, o.ws, o.scheduled[1].Delivery.ID, "person:ada")
		return func() { o.scheduled = slices.Delete(o.scheduled, 1, 2) }, err
	}},
	{"beat", always, func(o *office, ctx context.Context) (func(), error) { return func() {}, o.s.Beat(ctx) }},
	{"block", always, func(o *office, ctx context.Context) (func(), error) {
		return func() {}, o.s.Block(ctx, "bucket", o.now.Add(time.Hour))
	}},
}

var script = []string{
	"plan", "plan", "plan", "claim", "save", "cancel", "ready", "arm", "publish", "ready", "arm", "doubt", "ask", "begin refresh", "save grant",
	"begin refresh", "end refresh", "metrics", "numbers", "tell", "beat", "block",
}

func named(name string) op {
	return ops[slices.IndexFunc(ops, func(c op) bool { return c.name == name })]
}

// mostCalls is how often one change writes, at most: the rows are read only
// where the next one may fail.
const mostCalls = 150

// step makes one change. It says whether it was acknowledged.
func (o *office) step(change op) bool {
	o.t.Helper()
	if o.disk.Calls()+mostCalls >= o.fails {
		o.rows = readAll(o.t, o.s)
	}
	o.now = o.now.Add(time.Second)
	o.asked++
	remember, err := change.do(o, context.WithoutCancel(o.t.Context()))
	if err != nil {
		o.last, o.lastErr = change.name, err
		return false
	}
	remember()
	o.acked++
	return true
}

// any returns a change that can be made.
func (o *office) any() op {
	for {
		if c := ops[o.rand.IntN(len(ops))]; c.can(o) {
			return c
		}
	}
}

// touched are the tables that a change always writes to, and those that it may
// write to.
type touched struct{ always, may []string }

// changes says which tables each change touches, found out on a disk in order.
func changes(t *testing.T, template string) map[string]touched {
	t.Helper()
	o := enter(t, template, 1, "")
	defer o.s.Close()
	out := map[string]touched{}
	for range 400 {
		calls, c := o.disk.Calls(), o.any()
		if !o.step(c) {
			t.Fatalf("%s on a disk in order: %v", c.name, o.lastErr)
		}
		if n := o.disk.Calls() - calls; n > mostCalls {
			t.Fatalf("%s writes %d times, more than %d", c.name, n, mostCalls)
		}
		differ := o.rows.differ(readAll(t, o.s))
		was, known := out[c.name]
		if !known {
			was.always = differ
		}
		was.always = slices.DeleteFunc(was.always, func(name string) bool { return !slices.Contains(differ, name) })
		was.may = append(was.may, differ...)
		out[c.name] = was
	}
	for _, c := range ops {
		if len(out[c.name].always) == 0 && c.name != "claim" { // there may be nothing to claim
			t.Fatalf("%s was never made, or changes nothing: %v", c.name, out[c.name])
		}
	}
	return out
}

// whole says whether these tables can be all that a change has touched.
func (c touched) whole(differ []string) bool {
	for _, name := range c.always {
		if !slices.Contains(differ, name) {
			return false
		}
	}
	return !slices.ContainsFunc(differ, func(name string) bool { return !slices.Contains(c.may, name) })
}

// found is how a next life finds the database.
type found int

const (
	asAcknowledged found = iota
	withUnknown          // and the change of which nobody knew
	lost                 // something acknowledged is not there, or something is half there
)

// look opens what a life has left and compares. Anything but a loss is reported
// here.
func (o *office) look(touches map[string]touched) (found, string) {
	o.t.Helper()
	ctx := context.WithoutCancel(o.t.Context())
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(o.dir, "smi.db"), BallastBytes: -1, VFS: faultdisk.New(o.t).Name(), Now: func() time.Time { return o.now }})
	if err != nil {
		return lost, fmt.Sprintf("opening: %v", err)
	}
	defer s.Close()
	if said, err := s.Integrity(ctx); err != nil || said != "ok" {
		return lost, fmt.Sprintf("integrity: %s, %v", said, err)
	}
	result := asAcknowledged
	if differ := o.rows.differ(readAll(o.t, s)); len(differ) > 0 {
		if !errors.Is(o.lastErr, store.ErrCommitUnknown) || !touches[o.last].whole(differ) {
			return lost, fmt.Sprintf("after %d changes and %s (%v) these tables are different: %s", o.acked, o.last, o.lastErr, strings.Join(differ, ", "))
		}
		result = withUnknown
	}
	// What was armed may have been sent: it is not armed again, but looked up.
	if _, err := s.Recover(ctx, "n1", true, o.now); err != nil {
		return lost, fmt.Sprintf("recovering: %v", err)
	}
	if bad, err := s.Invariants(ctx, o.now); err != nil || len(bad) > 0 {
		return lost, fmt.Sprintf("invariants: %v, %v", bad, err)
	}
	open, err := texts(ctx, s.WriterDB(), `SELECT d.state, a.state FROM attempt a JOIN delivery d ON d.id = a.delivery_id WHERE a.state IN ('armed','ambiguous') AND d.state <> 'needs_human'`)
	if err != nil {
		return lost, err.Error()
	}
	for _, states := range open {
		if states != "ambiguous|ambiguous" {
			return lost, fmt.Sprintf("an attempt that may have been sent is %s", states)
		}
	}
	if err := s.Beat(ctx); err != nil {
		return lost, fmt.Sprintf("the next life cannot write: %v", err)
	}
	return result, ""
}

// Every single write, fsync and truncate fails, once or from then on, in every
// way: nothing that was acknowledged is lost, and nothing is there by half.
func TestFaultsOnTheLedger(t *testing.T) {
	t.Parallel()
	blank := template(t)
	touches := changes(t, blank)
	for i, fault := range []faultdisk.Fault{faultdisk.WriteError, faultdisk.SyncError, faultdisk.Full} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			stride := howMany(1, 3, 10)
			failed, unknown := map[string]int{}, 0
			for n := 1 + i%stride; ; n += stride {
				o := enter(t, blank, 1, "")
				o.fails = n
				o.disk.Fail(n, fault, n%2 == 0)
				for _, name := range script {
					if !o.step(named(name)) {
						failed[o.last]++
						break
					}
				}
				over := o.disk.Calls() < n
				if over {
					o.rows = readAll(t, o.s)
				}
				o.s.Close() //nolint:errcheck // may be broken
				how, what := o.look(touches)
				if how == lost {
					t.Errorf("fault %d: %s", n, what)
				}
				if how == withUnknown {
					unknown++
				}
				if over {
					break
				}
			}
			t.Logf("failed changes: %v; saved though nobody knew: %d", failed, unknown)
			if len(failed) < len(ops)/2 {
				t.Errorf("only these changes ever failed: %v", failed)
			}
		})
	}
}

// howMany is a number of runs: for the long proof, for every test, and for the
// race detector.
func howMany(long, usual, short int) int {
	switch {
	case testing.Short():
		return short
	case os.Getenv("SMI_PROVE") == "long":
		return long
	}
	return usual
}

// The power goes at a random moment in the life of a ledger, in the middle of a
// write, with what was not on the disk yet kept, torn or dropped. Nothing that
// was acknowledged is lost, unless SQLite does not wait for the disk, or the
// disk lies: both must be seen here, or this test would see nothing.
func TestPowerCutsOnTheLedger(t *testing.T) {
	t.Parallel()
	blank := template(t)
	touches := changes(t, blank)
	for _, c := range []struct {
		name, synchronous string
		lies              bool
		cuts              int
	}{
		{"as smi is", "", false, howMany(1000, 200, 30)},
		{"synchronous=NORMAL", "NORMAL", false, howMany(60, 30, 15)},
		{"the disk lies", "", true, howMany(60, 30, 15)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var cut faultdisk.Cut
			acked, lostIn, unknown := 0, 0, 0
			example := ""
			for seed := range uint64(c.cuts) {
				o := enter(t, blank, seed, c.synchronous)
				o.fails = 1 + o.rand.IntN(800)
				if c.lies {
					o.disk.Lie()
				}
				o.disk.Fail(o.fails, faultdisk.WriteError, true)
				for o.step(o.any()) {
				}
				one, err := o.disk.PowerCut(o.dir, o.rand)
				if err != nil {
					t.Fatal(err)
				}
				o.s.Close() //nolint:errcheck // there is no power
				cut.Kept, cut.Older, cut.Dropped = cut.Kept+one.Kept, cut.Older+one.Older, cut.Dropped+one.Dropped
				acked += o.acked
				switch how, what := o.look(touches); how {
				case lost:
					lostIn++
					example = fmt.Sprintf("seed %d: %s", seed, what)
				case withUnknown:
					unknown++
				case asAcknowledged:
				}
			}
			t.Logf("%d power cuts after %d acknowledged changes: acknowledged ones lost in %d; saved though nobody knew in %d; sectors kept %d, older %d, dropped %d; %s",
				c.cuts, acked, lostIn, unknown, cut.Kept, cut.Older, cut.Dropped, example)
			switch control := c.lies || c.synchronous != ""; {
			case !control && lostIn > 0:
				t.Logf("prove: disk powercuts=%d changes=%d lost=%d", c.cuts, acked, lostIn)
				t.Errorf("acknowledged changes were lost: %s", example)
			case control && lostIn == 0:
				t.Error("nothing was lost although the disk was not waited for: the power cuts have no teeth")
			case cut.Kept == 0 || cut.Dropped == 0:
				t.Errorf("sectors %+v: the power cuts have no teeth", cut)
			case !control:
				t.Logf("prove: disk powercuts=%d changes=%d lost=%d unknown=%d", c.cuts, acked, lostIn, unknown)
			}
		})
	}
}

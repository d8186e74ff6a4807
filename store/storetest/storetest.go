// Package storetest is the suite that every database of smi must pass. It uses
// nothing but the store's exported methods and plain SQL, so that one file like
// store/sqlite_test.go is all that a second database needs.
package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"smi/internal/social"
	"smi/store"
)

// Opener opens an empty store and sees to it that it is closed when the test
// ends. Each call gives another database.
type Opener func(t testing.TB) *store.Store

// topics are the parts of the suite, one file each.
var topics = []struct {
	name string
	test func(t *testing.T, open Opener)
}{
	{"ledger", ledger},
	{"change", change},
	{"limits", limits},
	{"spend", spend},
	{"notices", notices},
	{"sending", sending},
	{"grants", grants},
	{"media", media},
	{"metrics", metrics},
	{"away", away},
	{"zones", zones},
	{"quarantine", quarantine},
	{"accounts", accounts},
	{"posts", posts},
	{"stock", stock},
	{"doctor", doctor},
	{"marks", marks},
	{"logins", logins},
	{"told", told},
}

// Run runs the whole suite.
func Run(t *testing.T, open Opener) {
	for _, topic := range topics {
		t.Run(topic.name, func(t *testing.T) { topic.test(t, open) })
	}
}

// Seeds puts rows into a store by plain SQL, so that a test of one topic needs
// no method of another.
type Seeds struct {
	t   testing.TB
	s   *store.Store
	ids social.IDs
	n   int
}

// Seed returns seeds for a store. A failure ends the test.
func Seed(t testing.TB, s *store.Store) *Seeds { return &Seeds{t: t, s: s} }

// Exec runs a statement on the writing connection and returns the number of
// rows it changed.
func (d *Seeds) Exec(query string, args ...any) int64 {
	d.t.Helper()
	r, err := d.s.WriterDB().ExecContext(d.t.Context(), query, args...)
	if err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// Text returns the first column of the first row of a query as text, "" if
// there is no row or it is NULL.
func (d *Seeds) Text(query string, args ...any) string {
	d.t.Helper()
	rows, err := d.s.WriterDB().QueryContext(d.t.Context(), query, args...)
	if err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close() //nolint:errcheck // Err is looked at
	var out *string
	if rows.Next() {
		if err := rows.Scan(&out); err != nil {
			d.t.Fatalf("%s: %v", query, err)
		}
	}
	if err := rows.Err(); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	if out == nil {
		return ""
	}
	return *out
}

// ID returns a new id.
func (d *Seeds) ID() social.ID { return d.ids.New(time.Now()) }

// Workspace adds a workspace in UTC.
func (d *Seeds) Workspace() social.Workspace {
	d.t.Helper()
	d.n++
	w := social.Workspace{ID: d.ID(), Name: fmt.Sprintf("team %d", d.n), Zone: "UTC", CreatedAt: time.Now().UTC().Truncate(time.Millisecond)}
	d.Exec(`INSERT INTO workspace (id, name, zone, created_at) VALUES ($1, $2, $3, $4)`, int64(w.ID), w.Name, w.Zone, w.CreatedAt.UnixMilli())
	return w
}

// Account adds a connected account on the network "fake" whose stored grant is
// of generation 1.
func (d *Seeds) Account(workspace social.ID) social.Account {
	d.t.Helper()
	d.n++
	a := social.Account{
		ID: d.ID(), WorkspaceID: workspace, Network: "fake", RemoteID: fmt.Sprintf("acct-%d", d.n), Handle: fmt.Sprintf("team%d", d.n), DayZone: "UTC",
		Status: social.AccountConnected, TokenGen: 1, CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}
	d.Exec(`INSERT INTO account (id, workspace_id, network, remote_id, handle, day_zone, status, token_gen, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		int64(a.ID), int64(workspace), string(a.Network), a.RemoteID, a.Handle, a.DayZone, string(a.Status), a.TokenGen, a.CreatedAt.UnixMilli())
	return a
}

// Post adds an approved post. Without parts it has a body with a text of its
// own.
func (d *Seeds) Post(workspace social.ID, planned time.Time, parts ...social.Part) social.Post {
	d.t.Helper()
	d.n++
	if len(parts) == 0 {
		parts = []social.Part{{Role: social.RoleBody, Text: fmt.Sprintf("post %d", d.n)}}
	}
	planned = planned.UTC().Truncate(time.Millisecond)
	p := social.Post{
		ID: d.ID(), WorkspaceID: workspace, State: social.PostApproved, Rev: 1, Parts: parts, CreatedAt: planned, UpdatedAt: planned,
		Planned: social.When{Local: planned.Format("2006-01-02T15:04:05"), Zone: "UTC", UTC: planned},
	}
	d.Exec(`INSERT INTO post (id, workspace_id, state, rev, parts, planned_local, planned_zone, planned_utc, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8)`,
		int64(p.ID), int64(workspace), string(p.State), p.Rev, d.json(parts), p.Planned.Local, p.Planned.Zone, planned.UnixMilli())
	return p
}

// Delivery adds a scheduled, approved delivery of a post on an account, due at
// the post's planned time.
func (d *Seeds) Delivery(p social.Post, a social.Account) social.Delivery {
	d.t.Helper()
	v := social.Delivery{
		ID: d.ID(), WorkspaceID: p.WorkspaceID, PostID: p.ID, AccountID: a.ID, Kind: social.KindPost, Parts: p.Parts, ContentHash: social.ContentHash(p.Parts),
		PlannedAt: p.Planned.UTC, LatePolicy: social.LateAsk, State: social.Scheduled, NextAt: p.Planned.UTC, CreatedAt: p.CreatedAt, UpdatedAt: p.CreatedAt,
	}
	d.Exec(`INSERT INTO delivery (id, workspace_id, post_id, account_id, parts, content_hash, approved_hash, planned_utc, state, next_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $7, $9, $9)`,
		int64(v.ID), int64(v.WorkspaceID), int64(v.PostID), int64(v.AccountID), d.json(v.Parts), v.ContentHash, v.PlannedAt.UnixMilli(), string(v.State), v.CreatedAt.UnixMilli())
	return v
}

func (d *Seeds) json(v any) string {
	d.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

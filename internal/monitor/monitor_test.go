package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smi/internal/social"
)

// scrape returns the answer to a scrape, one line for each value.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("the scrape was answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// holds wants lines to be in a scrape.
func holds(t *testing.T, got string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+got, "\n"+l+"\n") {
			name, _, _ := strings.Cut(l, " ")
			near := ""
			for g := range strings.SplitSeq(got, "\n") {
				if strings.HasPrefix(g, name) {
					near = g
				}
			}
			t.Errorf("the scrape has no line %q, but %q", l, near)
		}
	}
}

func with(stock func(context.Context) (Stock, error)) *Metrics {
	return New(Config{
		Version: "1", Networks: []social.Network{"fake"}, Stock: stock, Facts: func() Facts { return Facts{DiskFree: 7} }, Now: func() time.Time { return time.Unix(1e9, 0) },
	})
}

// A database that hangs or is closed keeps no scrape longer than the time limit;
// the scrape holds what the process knows, and the error is counted.
func TestScrapeWithoutADatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hang := make(chan struct{})
		m := with(func(context.Context) (Stock, error) { // deaf to its context, as a disk is
			asked.Add(1)
			<-hang
			return Stock{}, nil
		})
		for n := 1; n <= 3; n++ {
			began := time.Now()
			got := scrape(t, m)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("scrape %d took %s, want 5 s at most", n, took)
			}
			holds(t, got, "smi_database_up 0", "smi_scrape_errors_total "+string(rune('0'+n)), "smi_disk_free_bytes 7", `smi_deliveries_total{network="fake",outcome="published"} 0`)
			if strings.Contains(got, "smi_deliveries_planned ") {
				t.Errorf("a scrape says what was not read:\n%s", got)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the database was asked %d times while it hung, want once", n)
		}
		close(hang)
		synctest.Wait()
		holds(t, scrape(t, m), "smi_database_up 1", "smi_scrape_errors_total 3", "smi_deliveries_planned 0")
	})
	m := with(func(context.Context) (Stock, error) { return Stock{}, errors.New("closed") })
	holds(t, scrape(t, m), "smi_database_up 0", "smi_scrape_errors_total 1")
}

// What is none has a line all the same, so that an alert on it can end.
func TestGauges(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	s := Stock{Backup: ago(time.Hour), Stock: social.Stock{
		Planned: 9, Paused: true, Gap: 4, Nodes: 2, Silent: 1, Bytes: 4096,
		Due:      []social.StockCount{{Network: "fake", Count: 3, Oldest: ago(time.Minute)}},
		Asking:   []social.StockCount{{Network: "fake", State: "blocked", Count: 2, Oldest: ago(time.Hour)}},
		Attempts: []social.StockCount{{Network: "other", State: "ambiguous", Count: 1, Oldest: ago(time.Second)}},
		Accounts: []social.StockCount{{Network: "fake", State: "connected", Count: 5}, {Network: "other", State: "needs_reconnect", Count: 1}},
		Logins: []social.LoginStock{
			{Network: "fake", State: "connected", Count: 4, Oldest: ago(time.Hour), AccessEnds: now.Add(time.Hour)},
			{Network: "fake", State: "refreshing", Count: 1, Oldest: ago(2 * time.Hour), AccessEnds: ago(time.Minute), LoginEnds: now.Add(24 * time.Hour)},
			{Network: "other", State: "needs_reconnect", Count: 1, Oldest: ago(time.Hour), AccessEnds: ago(time.Hour), LoginEnds: ago(time.Hour)},
		},
		Syncs:   []social.SyncStock{{Network: "fake", Accounts: 5, Failed: 1, Oldest: ago(30 * time.Hour), Newest: ago(time.Hour)}, {Network: "other", Accounts: 1, Oldest: ago(time.Hour)}},
		Limits:  []social.StockCount{{Network: "fake", Count: 2, Oldest: now.Add(time.Minute)}},
		Budgets: []social.BudgetStock{{Network: "fake", Endpoint: "create", Window: time.Hour, Used: 120}},
		Notices: []social.StockCount{{State: "alarm", Count: 3, Oldest: ago(time.Minute)}},
		Failing: []social.StockCount{{State: "alarm", Count: 1, Oldest: ago(time.Minute)}},
	}}
	m := New(Config{
		Version: "1.2", Stock: func(context.Context) (Stock, error) { return s, nil }, Now: func() time.Time { return now },
		Facts: func() Facts {
			return Facts{
				Dispatching: true, Busy: 6, Channels: map[string]bool{"mail": true, "exec": false}, DiskFree: 100, DiskNeeded: 50, SyncOn: true,
				Budgets: map[Budget]int{{"fake", "create", time.Hour}: 240, {"fake", "create", 24 * time.Hour}: 10},
			}
		},
	})
	got := scrape(t, m)
	holds(t, got, `smi_build_info{version="1.2"} 1`, "smi_dispatching 1", "smi_deliveries_held 6", "smi_clock_in_doubt 0",
		`smi_notice_channel_down{channel="mail"} 1`, `smi_notice_channel_down{channel="exec"} 0`, "smi_disk_free_bytes 100", "smi_disk_needed_bytes 50",
		"smi_sync_enabled 1", "smi_backup_scheduled 0", "smi_database_up 1", "smi_scrape_errors_total 0",
		"smi_deliveries_planned 9", `smi_deliveries_due{network="fake"} 3`, `smi_deliveries_due{network="other"} 0`,
		`smi_deliveries_due_age_seconds{network="fake"} 60`, `smi_deliveries_due_age_seconds{network="other"} 0`,
		`smi_deliveries_asking{network="fake",state="blocked"} 2`, `smi_deliveries_asking{network="fake",state="needs_human"} 0`,
		`smi_attempts_open{network="other",state="ambiguous"} 1`, `smi_attempts_open{network="other",state="armed"} 0`, `smi_attempts_open_age_seconds{network="other",state="ambiguous"} 1`,
		`smi_accounts{network="fake",status="connected"} 5`, `smi_accounts{network="other",status="connected"} 0`, `smi_accounts{network="other",status="needs_reconnect"} 1`,
		`smi_accounts_paused{network="fake"} 0`, `smi_logins{network="fake",state="refreshing"} 1`, `smi_login_age_seconds{network="fake"} 7200`,
		`smi_login_access_end_seconds{network="fake"} -60`, `smi_login_end_seconds{network="fake"} 86400`,
		`smi_sync_age_seconds{network="fake"} 108000`, `smi_sync_newest_age_seconds{network="fake"} 3600`, `smi_sync_failed{network="fake"} 1`, `smi_sync_age_seconds{network="other"} 3600`,
		`smi_limits_blocked{network="fake"} 2`, `smi_limits_blocked_seconds{network="fake"} 60`, `smi_limits_blocked_seconds{network="other"} 0`,
		`smi_budget_used_ratio{endpoint="create",network="fake",window="1h0m0s"} 0.5`, `smi_budget_used_ratio{endpoint="create",network="fake",window="24h0m0s"} 0`,
		`smi_notices_unsent{severity="alarm"} 3`, `smi_notices_unsent{severity="info"} 0`, `smi_notices_failing{severity="alarm"} 1`, `smi_notices_unsent_age_seconds{severity="alarm"} 60`,
		"smi_paused 1", "smi_quarantined 0", "smi_gap_deliveries 4", `smi_nodes{state="running"} 2`, `smi_nodes{state="silent"} 1`, "smi_database_bytes 4096", "smi_backup_age_seconds 3600")
	for _, not := range []string{`smi_login_end_seconds{network="other"}`, `smi_sync_newest_age_seconds{network="other"}`} {
		if strings.Contains(got, not) {
			t.Errorf("there is a line of %s, of which nothing is known", not)
		}
	}
}

// A delivery is counted when it comes to an outcome, an attempt when something
// new is known of it, and lateness once for the first part of what is there.
func TestCount(t *testing.T) {
	t.Parallel()
	m := with(func(context.Context) (Stock, error) { return Stock{}, nil })
	for _, c := range []Change{
		{State: social.Ready, From: social.Scheduled},
		{State: social.Ambiguous, From: social.Armed, Attempt: "ambiguous", Written: true, Late: time.Hour}, // not known to be there
		{State: social.Published, From: social.Ambiguous, Attempt: "adopted", First: true, Written: true, Late: 2 * time.Second},
		{State: social.Published, From: social.Published},                                        // a look at what is there
		{State: social.Scheduled, From: social.Armed, Attempt: "ok", First: true, Written: true}, // a thread goes on
		{State: social.Published, From: social.Armed, Attempt: "ok", Written: true, Late: time.Hour},
		{State: social.Waiting, From: social.Armed, Attempt: "not_sent"},
		{State: social.HeldLate, From: social.Scheduled},
	} {
		c.Network = "fake"
		m.Count(c)
	}
	m.Committed(20 * time.Millisecond)
	got := scrape(t, m)
	for outcome, n := range map[string]int{"published": 2, "held_late": 1, "failed": 0, "skipped": 0, "cancelled": 0, "needs_human": 0, "blocked": 0} {
		holds(t, got, fmt.Sprintf("smi_deliveries_total{network=\"fake\",outcome=%q} %d", outcome, n))
	}
	for outcome, n := range map[string]int{"ok": 2, "ambiguous": 1, "adopted": 1, "not_sent": 1, "rejected": 0, "absent_by_handle": 0} {
		holds(t, got, fmt.Sprintf("smi_attempts_total{network=\"fake\",outcome=%q} %d", outcome, n))
	}
	holds(t, got, `smi_publish_lateness_seconds_count{network="fake"} 2`, `smi_publish_lateness_seconds_sum{network="fake"} 2`,
		"smi_database_commit_seconds_count 1", `smi_database_commit_seconds_bucket{le="0.025"} 1`, `smi_database_commit_seconds_bucket{le="0.01"} 0`)
}

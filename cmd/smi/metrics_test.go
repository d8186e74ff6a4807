package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"smi/config"
	"smi/connectors"
	"smi/connectors/all"
	"smi/connectors/fake"
	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/keyring"
	"smi/internal/monitor"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// scraped are the values of a scrape by name with labels.
type scraped map[string]float64

var sampleLine = regexp.MustCompile(`(?m)^([a-z_]+(?:\{[^}]*\})?) (\S+)$`)

func parseScrape(t *testing.T, text string) scraped {
	t.Helper()
	out := scraped{}
	for _, m := range sampleLine.FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		out[m[1]] = v
	}
	return out
}

// names are the names of the metrics in a scrape.
func names(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) `).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// The counters are what the database says, whatever goes wrong on the network.
func TestCountersAgreeWithTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := func() time.Time { return time.Now().AddDate(26, 10, 0).UTC() } // bubbles begin in 2000
		metrics := monitor.New(monitor.Config{Now: now, Facts: func() monitor.Facts { return monitor.Facts{} }, Stock: func(context.Context) (monitor.Stock, error) { return monitor.Stock{}, nil }})
		db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "smi.db"), Now: now, BallastBytes: -1, Committed: metrics.Committed})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close() //nolint:errcheck // nothing is read after
		network := fake.New(fake.Options{Now: now})
		s := scheduler.New(scheduler.Config{ // its events are counted as those of a daemon
			Ledger: db, IDs: &social.IDs{}, Node: "node", Alone: true, Now: now, Media: fake.Files{},
			Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
				return connectors.Open(network, a, network.Account(a.RemoteID).Credentials())
			},
			Observe: func(e scheduler.Event) { metrics.Count(changeOf(e)) },
		})
		seeds := storetest.Seed(t, db)
		ws := seeds.Workspace()
		due := now().Add(5 * time.Second)
		for i, faults := range [][]fake.Fault{
			{},
			{{Do: fake.CutAfterEffect}},
			{{Do: fake.CutBeforeEffect}},
			{{Do: fake.Refuse, Kind: connectors.Invalid}},
			{{Do: fake.Refuse, Kind: connectors.RateLimited, RetryAfter: time.Minute}},
			{{Do: fake.Refuse, Kind: connectors.Permission}},
			{{}, {Do: fake.CutAfterEffect}, {}}, // of a thread
		} {
			a := seeds.Account(ws.ID)
			network.AddAccount(a.RemoteID, fmt.Sprint("owner ", i))
			network.Account(a.RemoteID).Script(fake.OpCommit, faults...)
			if i == 2 { // looked for many times, and asked about
				network.Account(a.RemoteID).SetClass(connectors.Unkeyed)
			}
			var parts []social.Part
			for p := range max(len(faults), 1) {
				role := social.RoleBody
				if p > 0 {
					role = social.RoleThread
				}
				parts = append(parts, social.Part{Role: role, Text: fmt.Sprintf("%d of %d", p, i)})
			}
			seeds.Delivery(seeds.Post(ws.ID, due, parts...), a)
		}
		seeds.Exec(`UPDATE delivery SET next_at = $1`, due.UnixMilli())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		<-time.After(2 * time.Hour)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w := httptest.NewRecorder()
		metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		got := parseScrape(t, w.Body.String())
		kinds := 0
		for query, metric := range map[string]string{
			`SELECT COUNT(*) FROM delivery WHERE state = $1`: "smi_deliveries_total",
			`SELECT COUNT(*) FROM attempt WHERE state = $1`:  "smi_attempts_total",
		} {
			outcomes := monitor.Attempts
			if metric == "smi_deliveries_total" {
				outcomes = nil
				for _, o := range monitor.Outcomes {
					outcomes = append(outcomes, string(o))
				}
			}
			for _, o := range outcomes {
				// An attempt that was ambiguous is something else by now.
				if o == "ambiguous" {
					continue
				}
				want := seeds.Text(query, o)
				if want != "0" {
					kinds++
				}
				if n := got[fmt.Sprintf("%s{network=%q,outcome=%q}", metric, "fake", o)]; fmt.Sprint(n) != want {
					t.Errorf("%s counts %v %s, the database has %s", metric, n, o, want)
				}
			}
		}
		if kinds < 5 {
			t.Errorf("only %d kinds of outcomes were come to; this proves little:\n%s", kinds, w.Body)
		}
		if n := got[`smi_attempts_total{network="fake",outcome="ambiguous"}`]; n != 3 {
			t.Errorf("three answers were cut, and %v attempts were counted as ambiguous", n)
		}
		if n, want := got[`smi_publish_lateness_seconds_count{network="fake"}`], seeds.Text(`SELECT COUNT(*) FROM attempt WHERE step = 0 AND state IN ('ok','adopted')`); fmt.Sprint(n) != want {
			t.Errorf("lateness was measured %v times, and %s first parts are there", n, want)
		}
		if n := got["smi_database_commit_seconds_count"]; n < 10 {
			t.Errorf("%v commits were timed", n)
		}
	})
}

// A daemon that has done everything once.
func TestMetricsOfADaemon(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "smi") //nolint:usetesting // short: the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a folder that stays does no harm
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	data, key := filepath.Join(dir, "data"), filepath.Join(dir, "key", "smi.keyset")
	if _, err := keyring.Init(key, data); err != nil {
		t.Fatal(err)
	}
	sim, err := startSimulator(ctx, "127.0.0.1:0", "alice.test", "bob.test")
	if err != nil {
		t.Fatal(err)
	}
	c := &cli{streams: streams{out: io.Discard, err: io.Discard}, registry: all.Registry()}
	text := fmt.Sprintf("data_dir: %q\nkey_file: %q\nmonitor: {listen: \"127.0.0.1:0\"}\nnotify: {exec: {command: [/bin/false]}}\n%s", data, key, sim.config())
	d, err := newDaemon(ctx, daemonOptions{
		Load: func() (*config.Config, error) {
			return config.Parse(filepath.Join(dir, "config.yaml"), []byte(text), c.registry)
		},
		Registry: c.registry, Version: "1.2.3", Log: &bytes.Buffer{},
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- sim.serve(running) }()
	go func() { ended <- d.run(running) }()
	api := httpapi.NewClient(d.cfg.Current().API.Socket, "")
	t.Cleanup(func() {
		api.Close()
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	x := &demo{c: c, sim: sim, api: api}
	for _, handle := range []string{"alice.test", "bob.test"} {
		if err := x.connect(ctx, handle); err != nil {
			t.Fatal(err)
		}
	}
	p, err := x.plan(ctx, app.PostInput{Accounts: []string{"alice.test", "bob.test"}, Plan: app.PlanInput{In: "1s"}, Parts: []app.PartInput{{Text: "counted"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.plan(ctx, app.PostInput{Accounts: []string{"alice.test"}, Plan: app.PlanInput{In: "24h"}, Parts: []app.PartInput{{Text: "waits"}}}); err != nil {
		t.Fatal(err)
	}
	if err := x.published(ctx, p); err != nil {
		t.Fatal(err)
	}
	runs, err := api.SyncNow(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var ids []social.ID
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	for done := 0; done < len(runs); {
		done = 0
		now, err := api.SyncStatus(ctx, ids...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range now {
			if r.State == string(scheduler.SyncDone) {
				done++
			}
		}
		if !wait(ctx, 20*time.Millisecond) {
			t.Fatal("the numbers were not read in time")
		}
	}
	if err := d.store.SetMeta(ctx, metaLastBackup, d.now().Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}

	ask := func(client *http.Client, url string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // it was read
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s was answered %s (%v): %s", url, resp.Status, err, body)
		}
		return string(body)
	}
	bySocket := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.cfg.Current().API.Socket)
	}}}
	byAddress := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	page := ask(bySocket, "http://smi/metrics")
	other := ask(byAddress, "http://"+d.watched.Addr().String()+"/metrics")
	if a, b := names(page), names(other); !slices.Equal(a, b) {
		t.Errorf("the socket has other metrics than the address:\n%v\n%v", a, b)
	}
	got := parseScrape(t, page)
	for line, want := range map[string]float64{
		`smi_build_info{version="1.2.3"}`:                             1,
		`smi_database_up`:                                             1,
		`smi_dispatching`:                                             1,
		`smi_deliveries_planned`:                                      1,
		`smi_deliveries_due{network="bluesky"}`:                       0,
		`smi_deliveries_total{network="bluesky",outcome="published"}`: 2,
		`smi_attempts_total{network="bluesky",outcome="ok"}`:          2,
		`smi_attempts_total{network="bluesky",outcome="ambiguous"}`:   0,
		`smi_publish_lateness_seconds_count{network="bluesky"}`:       2,
		`smi_accounts{network="bluesky",status="connected"}`:          2,
		`smi_logins{network="bluesky",state="connected"}`:             2,
		`smi_nodes{state="running"}`:                                  1,
	} {
		if v, ok := got[line]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", line, v, ok, want)
		}
	}
	if v, want := got[`smi_budget_used_ratio{endpoint="create",network="bluesky",window="1h0m0s"}`], 3.0/4000; v != want {
		t.Errorf("one post used %v of the hour's budget, want %v", v, want)
	}
	for _, near := range []string{`smi_login_access_end_seconds{network="bluesky"}`, `smi_login_end_seconds{network="bluesky"}`, `smi_disk_free_bytes`, `smi_database_bytes`, "smi_publish_lateness_seconds_sum{network=\"bluesky\"}"} {
		if got[near] <= 0 {
			t.Errorf("%s is %v, want more than 0", near, got[near])
		}
	}
	if v := got[`smi_sync_age_seconds{network="bluesky"}`]; v > 60 {
		t.Errorf("the numbers were read just now, and are said to be %v s old", v)
	}
	for _, secret := range []string{"alice", "bob", "did:plc", p.ID.String()} {
		if strings.Contains(page, secret) {
			t.Errorf("the metrics name %s", secret)
		}
	}
	documented(t, names(page))

	// The database goes away under the daemon.
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	got = parseScrape(t, ask(bySocket, "http://smi/metrics"))
	if got["smi_database_up"] != 0 || got["smi_scrape_errors_total"] != 1 || got[`smi_deliveries_total{network="bluesky",outcome="published"}`] != 2 {
		t.Errorf("without a database the scrape says %v", got)
	}
}

// documented wants docs/monitoring.md to describe each metric of smi that a
// daemon exports, and neither it nor the alert rules to name another.
func documented(t *testing.T, exported []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bsmi_[a-z_]+\b`)
	var described []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(smi_[a-z_]+)` \\| \\S.* \\| \\S.* \\|$").FindAllStringSubmatch(string(page), -1) {
		described = append(described, m[1])
	}
	for _, n := range exported {
		if strings.HasPrefix(n, "smi_") && !slices.Contains(described, n) {
			t.Errorf("docs/monitoring.md does not say what %s means", n)
		}
	}
	for _, n := range name.FindAllString(string(page), -1) {
		if !slices.Contains(exported, n) {
			t.Errorf("docs/monitoring.md names %s, which a daemon with data does not export", n)
		}
	}

	text, err := os.ReadFile("../../docs/monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	series := regexp.MustCompile(`_(bucket|sum|count)$`)
	rules := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules++
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("the rule %q is not whole", r.Alert)
			}
			if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				t.Errorf("%s: the parentheses of %s do not fit", r.Alert, r.Expr)
			}
			found := name.FindAllString(r.Expr, -1)
			if len(found) == 0 && r.Alert != "SmiGone" {
				t.Errorf("%s asks nothing of smi", r.Alert)
			}
			for _, n := range append(found, name.FindAllString(r.Annotations["summary"], -1)...) {
				if !slices.Contains(exported, n) && !slices.Contains(exported, series.ReplaceAllString(n, "")) {
					t.Errorf("%s names %s, which a daemon with data does not export", r.Alert, n)
				}
			}
		}
	}
	if rules < 10 {
		t.Errorf("there are %d rules", rules)
	}
}

// wait waits, and says whether the time passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smi/internal/social"
)

// gauges are the metrics that are read at a scrape, with their labels.
var gauges = map[string]*prometheus.Desc{}

func gauge(name, help string, labels ...string) string {
	gauges[name] = prometheus.NewDesc(name, help, labels, nil)
	return name
}

// What this process knows.
var (
	databaseUp  = gauge("smi_database_up", "1 if the database could be read for this scrape, else 0.")
	dispatching = gauge("smi_dispatching", "1 while this process publishes what is due, 0 while it starts or stops.")
	held        = gauge("smi_deliveries_held", "Deliveries that this node works on.")
	clockDoubt  = gauge("smi_clock_in_doubt", "1 while nothing is sent because the machine's clock is in doubt, else 0.")
	channelDown = gauge("smi_notice_channel_down", "1 if the last try to send notices by a channel failed, else 0.", "channel")
	diskFree    = gauge("smi_disk_free_bytes", "Free space beside the data.")
	diskNeeded  = gauge("smi_disk_needed_bytes", "With less free space than this nothing is sent.")
	syncOn      = gauge("smi_sync_enabled", "1 if the nightly reading is switched on, else 0.")
	backupOn    = gauge("smi_backup_scheduled", "1 if backups are made by schedule, else 0.")
)

// What the database holds.
var (
	planned      = gauge("smi_deliveries_planned", "Deliveries that are not sent yet, whenever they are due.")
	due          = gauge("smi_deliveries_due", "Deliveries whose time has come, that are not sent and that no person's pause holds back.", "network")
	dueAge       = gauge("smi_deliveries_due_age_seconds", "For how long the oldest of smi_deliveries_due has been due; 0 if there is none.", "network")
	asking       = gauge("smi_deliveries_asking", "Deliveries that wait for a person.", "network", "state")
	attemptsOpen = gauge("smi_attempts_open", "Attempts that are on the wire (armed) or of which nobody knows whether they took effect (ambiguous).", "network", "state")
	attemptAge   = gauge("smi_attempts_open_age_seconds", "Age of the oldest of smi_attempts_open; 0 if there is none.", "network", "state")
	accounts     = gauge("smi_accounts", "Accounts by status.", "network", "status")
	accountsHeld = gauge("smi_accounts_paused", "Accounts that are paused, by themselves or with their workspace.", "network")
	logins       = gauge("smi_logins", "Stored logins by state.", "network", "state")
	loginAge     = gauge("smi_login_age_seconds", "Age of the oldest login since it was got or renewed.", "network")
	accessEnd    = gauge("smi_login_access_end_seconds", "Until the first access token ends, which smi renews before; negative if it was not.", "network")
	loginEnd     = gauge("smi_login_end_seconds", "Until the first login ends for good, unless it is renewed before.", "network")
	syncAge      = gauge("smi_sync_age_seconds", "Since the last complete reading of the numbers of the account for which it is longest ago.", "network")
	syncNewest   = gauge("smi_sync_newest_age_seconds", "Since the last complete reading of any account.", "network")
	syncFailed   = gauge("smi_sync_failed", "Accounts whose last reading failed.", "network")
	limits       = gauge("smi_limits_blocked", "Kinds of calls that the network forbids for the time being.", "network")
	limitsEnd    = gauge("smi_limits_blocked_seconds", "Until the last of smi_limits_blocked is free again; 0 if there is none.", "network")
	budgetUsed   = gauge("smi_budget_used_ratio", "Share of a budget, head-room left out, that was used in the present window by the account or app that used most.", "network", "endpoint", "window")
	notices      = gauge("smi_notices_unsent", "Notices that no channel has taken yet.", "severity")
	noticesFail  = gauge("smi_notices_failing", "Of smi_notices_unsent, those that were tried.", "severity")
	noticesAge   = gauge("smi_notices_unsent_age_seconds", "Age of the oldest of smi_notices_unsent; 0 if there is none.", "severity")
	paused       = gauge("smi_paused", "1 while a person has paused everything, else 0.")
	quarantined  = gauge("smi_quarantined", "1 while nothing is sent because this may not be the live instance, else 0.")
	gap          = gauge("smi_gap_deliveries", "Deliveries that wait until it was looked up whether they are on the network already.")
	nodes        = gauge("smi_nodes", "Nodes that use the database: running, or silent for a minute without having left.", "state")
	databaseSize = gauge("smi_database_bytes", "Size of the database.")
	backupAge    = gauge("smi_backup_age_seconds", "Since the last backup by schedule; not there if there was none.")
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range gauges {
		ch <- d
	}
	m.failed.Describe(ch)
}

// Collect implements prometheus.Collector. What cannot be read is left out and
// counted: no scrape waits longer than the time limit.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	out := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(gauges[name], prometheus.GaugeValue, v, labels...)
	}
	f := m.cfg.Facts()
	out(dispatching, flag(f.Dispatching))
	out(held, float64(f.Busy))
	out(clockDoubt, flag(f.ClockDoubt))
	for name, down := range f.Channels {
		out(channelDown, flag(down), name)
	}
	if f.DiskFree >= 0 {
		out(diskFree, float64(f.DiskFree))
	}
	out(diskNeeded, float64(f.DiskNeeded))
	out(syncOn, flag(f.SyncOn))
	out(backupOn, flag(f.BackupOn))

	s, err := m.read()
	out(databaseUp, flag(err == nil))
	if err != nil {
		m.failed.Inc()
		m.cfg.Log.Warn("the database could not be read for monitoring", "err", err)
	} else {
		collect(out, s, f, m.cfg.Now())
	}
	m.failed.Collect(ch)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// key names a line of a table.
type key struct{ network, state string }

// collect writes what the database holds. Every network that has an account has
// a line in every table, so that nothing disappears when it becomes none.
func collect(out func(string, float64, ...string), s Stock, f Facts, now time.Time) {
	since := func(at time.Time) float64 {
		if at.IsZero() {
			return 0
		}
		return max(now.Sub(at).Seconds(), 0)
	}
	until := func(at time.Time) float64 { return at.Sub(now).Seconds() }
	by := func(all []social.StockCount) map[key]social.StockCount {
		m := map[key]social.StockCount{}
		for _, c := range all {
			m[key{string(c.Network), c.State}] = c
		}
		return m
	}
	networks := map[string]bool{}
	for _, all := range [][]social.StockCount{s.Accounts, s.Due, s.Asking, s.Attempts, s.Limits} {
		for _, c := range all {
			networks[string(c.Network)] = true
		}
	}
	table := func(all []social.StockCount, count, age string, toGo bool, states ...string) {
		m := by(all)
		for n := range networks {
			for _, st := range states {
				c := m[key{n, st}]
				labels := []string{n}
				if st != "" {
					labels = append(labels, st)
				}
				out(count, float64(c.Count), labels...)
				switch {
				case age == "":
				case toGo && c.Count > 0:
					out(age, max(until(c.Oldest), 0), labels...)
				default:
					out(age, since(c.Oldest), labels...)
				}
			}
		}
	}
	out(planned, float64(s.Planned))
	table(s.Due, due, dueAge, false, "")
	table(s.Asking, asking, "", false, string(social.NeedsHuman), string(social.HeldLate), string(social.Blocked))
	table(s.Attempts, attemptsOpen, attemptAge, false, "armed", "ambiguous")
	table(s.Accounts, accounts, "", false, string(social.AccountConnected), string(social.AccountNeedsReconnect), string(social.AccountDisabled))
	table(s.Held, accountsHeld, "", false, "")
	table(s.Limits, limits, limitsEnd, true, "")
	writeLogins(out, s.Logins, since, until)
	for _, y := range s.Syncs {
		n := string(y.Network)
		out(syncAge, since(y.Oldest), n)
		out(syncFailed, float64(y.Failed), n)
		if !y.Newest.IsZero() {
			out(syncNewest, since(y.Newest), n)
		}
	}
	used := map[Budget]int{}
	for _, b := range s.Budgets {
		used[Budget{b.Network, b.Endpoint, b.Window}] = b.Used
	}
	for b, most := range f.Budgets {
		if most > 0 {
			out(budgetUsed, float64(used[b])/float64(most), string(b.Network), b.Endpoint, b.Window.String())
		}
	}
	unsent, failing := by(s.Notices), by(s.Failing)
	for _, severity := range []string{"alarm", "warning", "info"} {
		k := key{"", severity}
		out(notices, float64(unsent[k].Count), severity)
		out(noticesFail, float64(failing[k].Count), severity)
		out(noticesAge, since(unsent[k].Oldest), severity)
	}
	out(paused, flag(s.Paused))
	out(quarantined, flag(s.Quarantined))
	out(gap, float64(s.Gap))
	out(nodes, float64(s.Nodes), "running")
	out(nodes, float64(s.Silent), "silent")
	out(databaseSize, float64(s.Bytes))
	if !s.Backup.IsZero() {
		out(backupAge, since(s.Backup))
	}
}

// writeLogins writes the lines of logins. Those of one network come in as many
// rows as they have states.
func writeLogins(out func(string, float64, ...string), all []social.LoginStock, since, until func(time.Time) float64) {
	of := map[social.Network]social.LoginStock{}
	first := func(a, b time.Time) time.Time {
		if a.IsZero() || !b.IsZero() && b.Before(a) {
			return b
		}
		return a
	}
	for _, l := range all {
		out(logins, float64(l.Count), string(l.Network), l.State)
		if l.State == "needs_reconnect" {
			continue // it has ended already
		}
		o := of[l.Network]
		of[l.Network] = social.LoginStock{Oldest: first(o.Oldest, l.Oldest), AccessEnds: first(o.AccessEnds, l.AccessEnds), LoginEnds: first(o.LoginEnds, l.LoginEnds)}
	}
	for n, l := range of {
		out(loginAge, since(l.Oldest), string(n))
		if !l.AccessEnds.IsZero() {
			out(accessEnd, until(l.AccessEnds), string(n))
		}
		if !l.LoginEnds.IsZero() {
			out(loginEnd, until(l.LoginEnds), string(n))
		}
	}
}

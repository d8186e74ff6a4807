//go:build e2e && cluster

package e2e

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// background is what the nodes did beside publishing.
type background struct {
	minutes float64
	logins  int // jobs that look after logins, one a minute
	plans   int // jobs that plan the nightly reading, one each two minutes
	syncs   int // accounts that were read
}

func (b *background) add(o background) {
	b.minutes, b.logins, b.plans, b.syncs = b.minutes+o.minutes, b.logins+o.logins, b.plans+o.plans, b.syncs+o.syncs
}

func (b background) String() string {
	return fmt.Sprintf("in %.1f minutes of all clusters logins were looked after %d times (once a minute), the night planned %d times (once in two), %d accounts read", b.minutes, b.logins, b.plans, b.syncs)
}

// background looks at the jobs. The leader among the nodes puts them in, once in
// a period, however often another becomes the leader. No account is read twice
// for the same night.
func (c *cluster) background(r *result) {
	c.t.Helper()
	var first, last time.Time
	at := map[string][]time.Time{}
	err := c.sql(`SELECT kind, scheduled_at FROM river_job WHERE kind IN ('refresh_logins','plan_night') ORDER BY scheduled_at`, nil, func(rows pgx.Rows) error {
		var kind string
		var when time.Time
		if err := rows.Scan(&kind, &when); err != nil {
			return err
		}
		if first.IsZero() {
			first = when
		}
		last = when
		at[kind] = append(at[kind], when)
		return nil
	})
	if err != nil {
		c.t.Fatalf("reading the jobs: %v", err)
	}
	r.jobs = background{minutes: last.Sub(first).Minutes(), logins: len(at["refresh_logins"]), plans: len(at["plan_night"])}
	for kind, period := range map[string]float64{"refresh_logins": 1, "plan_night": 2} {
		if most := int(r.jobs.minutes/period) + 2; len(at[kind]) > most { // it need not begin with a period
			r.findings = append(r.findings, fmt.Sprintf("JOBS: %s ran %d times in %.1f minutes, want %d at most: %v", kind, len(at[kind]), r.jobs.minutes, most, at[kind]))
		}
	}
	err = c.sql(`SELECT account_id, local_date, count(*), count(*) FILTER (WHERE state = 'done') FROM sync_run WHERE kind = 'nightly' GROUP BY account_id, local_date`, nil, func(rows pgx.Rows) error {
		var account int64
		var date, n, done int
		if err := rows.Scan(&account, &date, &n, &done); err != nil {
			return err
		}
		r.jobs.syncs += done
		if n != 1 {
			r.findings = append(r.findings, fmt.Sprintf("JOBS: account %d was read %d times for the night of %d", account, n, date))
		}
		return nil
	})
	if err != nil {
		c.t.Fatalf("reading the runs: %v", err)
	}
}

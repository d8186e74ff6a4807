package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// metaAlive is when this instance was last known to run, in milliseconds.
const metaAlive = "alive"

// mostNamed is how many posts a report of an absence names one by one.
const mostNamed = 20

// Beat notes that smi is running. It is called about once a minute.
func (s *Store) Beat(ctx context.Context) error {
	return s.SetMeta(ctx, metaAlive, strconv.FormatInt(millis(s.now()), 10))
}

// Away says how an absence is reported.
type Away struct {
	Least time.Duration // shorter ones are not reported
	// Grace and HoldUntil are the late rules in force: how late a post is
	// published unasked, and how late it is held for a person.
	Grace, HoldUntil time.Duration
	// Nights counts the nightly readings that were due between two times; nil:
	// there are none.
	Nights func(from, to time.Time) int
}

// ReportAway is called once at start, before anything is published. If smi was
// not running for at least a time, and posts were due meanwhile, it tells each
// workspace once which ones and what becomes of them, and returns how many. What
// became of each is told when it is decided.
func (s *Store) ReportAway(ctx context.Context, o Away) (int, error) {
	total := 0
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		total = 0
		now := s.now()
		var alive int64
		err := tx.QueryRowContext(ctx, `SELECT CAST(value AS BIGINT) FROM meta WHERE key = '`+metaAlive+`'`).Scan(&alive)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil && now.Sub(fromMillis(alive)) >= o.Least {
			if total, err = s.reportAway(ctx, tx, o, fromMillis(alive), now); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('`+metaAlive+`', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
			strconv.FormatInt(millis(now), 10))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reporting an absence: %w", err)
	}
	return total, nil
}

// missed is a delivery that was due while smi was away.
type missed struct {
	workspace social.ID
	planned   time.Time
	handle    string
	id        social.ID
	late      social.LatePolicy
	notAfter  int64
}

// fate is what the late rules make of a missed delivery.
func (m *missed) fate(o Away, now time.Time) social.DeliveryState {
	late := now.Sub(m.planned)
	switch {
	case m.notAfter > 0 && millis(now) > m.notAfter:
		return social.Skipped
	case late <= o.Grace || m.late == social.LatePublish:
		return social.Published
	case m.late == social.LateSkip || late > o.HoldUntil:
		return social.Skipped
	}
	return social.HeldLate
}

func scanMissed(row interface{ Scan(...any) error }) (missed, error) {
	var m missed
	var planned int64
	err := row.Scan((*int64)(&m.workspace), &planned, &m.handle, (*int64)(&m.id), &m.late, &m.notAfter)
	m.planned = fromMillis(planned)
	return m, err
}

func (s *Store) reportAway(ctx context.Context, tx *sql.Tx, o Away, since, now time.Time) (int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT d.workspace_id, d.planned_utc, a.handle, d.id, d.late_policy, d.not_after FROM delivery d JOIN account a ON a.id = d.account_id
		WHERE d.planned_utc > $1 AND d.planned_utc <= $2 AND d.step = 0 AND d.state IN `+sqlPublishing+` ORDER BY +d.workspace_id, d.planned_utc, d.id`, millis(since), millis(now))
	all, err := collect(rows, err, scanMissed)
	if err != nil {
		return 0, err
	}
	var quarantined bool
	if err := tx.QueryRowContext(ctx, `SELECT `+sqlQuarantined).Scan(&quarantined); err != nil {
		return 0, err
	}
	byWorkspace := map[social.ID][]missed{}
	for _, m := range all {
		byWorkspace[m.workspace] = append(byWorkspace[m.workspace], m)
	}
	for workspace, ms := range byWorkspace {
		var names []string
		for _, m := range ms[:min(len(ms), mostNamed)] {
			names = append(names, fmt.Sprintf("%s on %s (%s)", m.planned.Format("2006-01-02 15:04:05 UTC"), m.handle, m.id))
		}
		if more := len(ms) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		fates := map[social.DeliveryState]int{}
		for _, m := range ms {
			fates[m.fate(o, now)]++
		}
		then := fmt.Sprintf("%d are published late now, %d wait for you, %d are skipped.", fates[social.Published], fates[social.HeldLate], fates[social.Skipped])
		if quarantined {
			then = "smi is in quarantine: none of them is published before it was looked up on the network."
		}
		if o.Nights != nil {
			switch n := o.Nights(since, now); {
			case n == 1:
				then += " The nightly reading of numbers was missed and is made up for now."
			case n > 1:
				then += fmt.Sprintf(" %d nightly readings of numbers were missed; the last is made up for now.", n)
			}
		}
		text := fmt.Sprintf("smi was away from %s to %s, and %d posts were due meanwhile. %s %s.", clock(since), clock(now), len(ms), then, strings.Join(names, "; "))
		if err := s.tell(ctx, tx, workspace, &scheduler.Notice{Kind: "away", Severity: "warning", Text: text}, now); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/internal/social"
)

// Integrity returns what the database says of itself, "ok" if it is whole. It
// reads every page.
func (s *Store) Integrity(ctx context.Context) (string, error) {
	if s.pg != nil { // the server looks after its files; what can be asked is whether it keeps its word
		return "ok", s.checkServer(ctx)
	}
	var said string
	if err := s.read().QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said); err != nil {
		return "", fmt.Errorf("checking the database: %w", err)
	}
	return said, nil
}

// rule is what must hold at any time: a query that finds the delivery that breaks
// it. In the query {deliveries} is the table delivery as d and {attempts} the
// table attempt as a, or what is new in them. %s in the sentence is what it found.
type rule struct{ query, sentence string }

const sqlDone = `('ok','adopted')`

var rules = []rule{
	{ // what is published is there, once, and known by its id
		`SELECT d.id FROM {deliveries} WHERE d.state = 'published' AND NOT EXISTS
			(SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.step = 0 AND a.state IN ` + sqlDone + `)`,
		"delivery %s is published, but no attempt of it is known to have succeeded",
	},
	{
		`SELECT d.id FROM {deliveries} WHERE d.state = 'published' AND EXISTS
			(SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.step = 0 AND a.state IN ` + sqlDone + ` AND a.remote_id <> d.remote_id)`,
		"delivery %s names another remote post than the attempt that published it",
	},
	{
		`SELECT d.id FROM {deliveries} WHERE d.state IN ('failed','cancelled','skipped') AND EXISTS
			(SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.state IN ` + sqlDone + `)`,
		"delivery %s is said not to be there, but an attempt of it succeeded",
	},
	{
		`SELECT a.delivery_id FROM attempt a JOIN delivery d ON d.id = a.delivery_id
			WHERE a.state IN ('armed','ambiguous') AND d.state IN ('cancelled','skipped')`,
		"delivery %s is over, but an attempt of it is open",
	},
	{ // a part is tried again only after it is known that nothing is there
		`SELECT a.delivery_id FROM attempt a JOIN attempt b ON b.delivery_id = a.delivery_id AND b.step = a.step AND b.id <> a.id
			WHERE a.state IN ('armed','ambiguous') AND b.state IN ('armed','ambiguous')`,
		"delivery %s has two open attempts of one part",
	},
	{
		`SELECT a.delivery_id FROM {attempts} JOIN attempt b ON b.delivery_id = a.delivery_id AND b.step = a.step AND b.id <> a.id
			WHERE a.state IN ` + sqlDone + ` AND b.state IN ` + sqlDone,
		"delivery %s was published twice",
	},
	{
		`SELECT a.delivery_id FROM {attempts} JOIN attempt b ON b.delivery_id = a.delivery_id AND b.step = a.step AND b.n < a.n
			WHERE b.state IN ('armed','ambiguous','ok','adopted')`,
		"a part of delivery %s was tried again, although an earlier attempt is or may be on the network",
	},
	{
		`SELECT a.delivery_id FROM {attempts} WHERE a.state = 'absent_by_handle' AND a.class = 'unkeyed' OR a.state = 'absent_by_human' AND a.decided_by = ''`,
		"an attempt of delivery %s is said to have done nothing, but nobody could know",
	},
	{
		`SELECT a.delivery_id FROM {attempts} WHERE a.step > 0 AND NOT EXISTS
			(SELECT 1 FROM attempt b WHERE b.delivery_id = a.delivery_id AND b.step = a.step - 1 AND b.state IN ` + sqlDone + `)`,
		"a later part of delivery %s was sent before the part before it was published",
	},
	{ // whoever comes later has the higher epoch
		`SELECT a.delivery_id FROM {attempts} JOIN delivery d ON d.id = a.delivery_id WHERE a.epoch > d.epoch`,
		"the epoch of delivery %s fell: a node that lost it could still change it",
	},
	{
		`SELECT a.delivery_id FROM {attempts} JOIN attempt b ON b.delivery_id = a.delivery_id AND b.step = a.step AND b.n < a.n WHERE b.epoch > a.epoch`,
		"the attempts of delivery %s are not in the order of their epochs",
	},
	{ // nothing is forgotten, and nothing changes in silence
		`SELECT d.id FROM delivery d WHERE d.next_at = 0 AND d.state IN ` + sqlClaimable,
		"delivery %s waits without a time; restart smi, which gives it one",
	},
	{
		`SELECT d.id FROM delivery d WHERE d.state IN ('needs_human','held_late','blocked')` + sqlUntold,
		"delivery %s waits for a person, but nobody was told",
	},
	{
		`SELECT d.id FROM {deliveries} WHERE d.state IN ('failed','skipped')` + sqlUntold,
		"delivery %s is not published, but nobody was told",
	},
}

// sqlUntold says that there is no notice about a delivery d, where one would not
// have been deleted because of its age.
const sqlUntold = ` AND d.created_at >= COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE key = '` + metaPruned + `'), 0)
	AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.delivery_id = d.id)`

// owned is the rule that has to look through all attempts of an account, unless
// there is the index that makes it true.
var owned = rule{
	`SELECT a.delivery_id FROM {attempts} JOIN attempt b ON b.account_id = a.account_id AND b.remote_id = a.remote_id AND b.id <> a.id WHERE a.remote_id IS NOT NULL AND b.remote_id IS NOT NULL`,
	"delivery %s shares its remote post with another",
}

// guards are the indexes without which the database itself would allow what must
// never be.
var guards = []string{"attempt_adopt_once", "attempt_one_ok", "attempt_one_open"}

// Examined is how far back the invariants are checked where not everything is:
// deliveries that were planned for the last week, the newest attempts, and in any
// case all that is open.
const (
	examinedTime     = 7 * 24 * time.Hour
	examinedAttempts = 10_000
)

// lateWithoutWord is how long after its time a delivery may wait for itself.
const lateWithoutWord = 5 * time.Minute

// InvariantsOptions say how thoroughly the invariants are checked.
type InvariantsOptions struct {
	Now time.Time
	// Recent leaves out what rested long ago: the time that it takes does not grow
	// with the past.
	Recent bool
	// Stopped says that no smi runs, so that what is due is done by nobody.
	Stopped bool
}

// Invariants returns a sentence for each rule that the data breaks, none if all
// is well. It is what the property tests check, asked in production.
func (s *Store) Invariants(ctx context.Context, now time.Time) ([]string, error) {
	return s.CheckInvariants(ctx, InvariantsOptions{Now: now})
}

// CheckInvariants is Invariants with a choice.
func (s *Store) CheckInvariants(ctx context.Context, o InvariantsOptions) ([]string, error) {
	scope := strings.NewReplacer("{deliveries}", "delivery d", "{attempts}", "attempt a")
	if o.Recent {
		scope = strings.NewReplacer(
			"{deliveries}", fmt.Sprintf("(SELECT x.id, x.state, x.remote_id, x.created_at FROM workspace w JOIN delivery x ON x.workspace_id = w.id AND x.planned_utc BETWEEN %d AND %d) d",
				millis(o.Now.Add(-examinedTime)), millis(o.Now)),
			"{attempts}", fmt.Sprintf("(SELECT id, delivery_id, account_id, step, n, class, epoch, state, remote_id, decided_by FROM attempt ORDER BY id DESC LIMIT %d) a", examinedAttempts))
	}
	bad, err := s.missingGuards(ctx)
	if err != nil {
		return nil, err
	}
	asked := rules
	if !o.Recent || len(bad) == 0 {
		asked = append(slices.Clip(asked), owned)
	}
	if !o.Stopped {
		asked = append(slices.Clip(asked), stuck(o.Now)...)
	}
	for _, r := range asked {
		id, err := s.firstID(ctx, scope.Replace(r.query)+" LIMIT 1")
		if err != nil {
			return nil, err
		}
		if id != "" {
			bad = append(bad, fmt.Sprintf(r.sentence, id))
		}
	}
	armed, err := s.armedWhileStopped(ctx, o.Now)
	return append(bad, armed...), err
}

// missingGuards names the indexes that are gone.
func (s *Store) missingGuards(ctx context.Context) (bad []string, err error) {
	query := `SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'attempt'`
	if s.pg != nil {
		query = `SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'attempt'::regclass AND i.indisunique AND i.indisvalid`
	}
	rows, err := s.read().QueryContext(ctx, query)
	have, err := collect(rows, err, func(row interface{ Scan(...any) error }) (name string, err error) { return name, row.Scan(&name) })
	if err != nil {
		return nil, fmt.Errorf("checking the invariants: %w", err)
	}
	for _, g := range guards {
		if !slices.Contains(have, g) {
			bad = append(bad, fmt.Sprintf("the index %s is missing, without which the database may keep one post twice; stop smi and restore a backup", g))
		}
	}
	return bad, nil
}

// stuck are the rules about time, which hold while smi runs: what is due is
// looked at within minutes, unless it may not be: paused, in quarantine, or
// behind another node's lease.
func stuck(now time.Time) []rule {
	late := millis(now.Add(-lateWithoutWord))
	return []rule{
		{
			fmt.Sprintf(`SELECT d.id FROM delivery d JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id
				WHERE d.state IN `+sqlPublishing+` AND d.next_at > 0 AND d.next_at < %d AND d.planned_utc < %[1]d AND d.owner = ''
				AND NOT a.paused AND NOT w.paused AND NOT `+sqlStopped+` AND NOT `+sqlWithheld, late),
			"delivery %s is due since more than " + lateWithoutWord.String() + " and nobody works on it; see the log",
		},
		{
			fmt.Sprintf(`SELECT d.id FROM delivery d WHERE d.state IN ('armed','ambiguous') AND d.next_at > 0 AND d.next_at < %d AND (d.owner = '' OR d.lease_until < %[1]d)`, late),
			"nobody has looked for more than " + lateWithoutWord.String() + " what became of delivery %s; see the log",
		},
	}
}

// Orders that stop all arming, or some, are in the audit log. An attempt that was
// armed after the last of them, while it holds, should not be there. Nodes may be
// a little apart, so a few seconds are not looked at.
const stopSlack = 5 * time.Second

// armedWhileStopped finds attempts that were armed against an order.
func (s *Store) armedWhileStopped(ctx context.Context, now time.Time) (bad []string, err error) {
	orders := []struct{ holds, actions, whose, sentence string }{
		{`SELECT 0 AS id FROM meta WHERE key = '` + metaPaused + `' AND value = '1'`, `('pause')`, ``, "delivery %s was armed while everything was paused"},
		{`SELECT 0 AS id FROM quarantine WHERE open AND stops`, `('quarantine.begin','quarantine.widen')`, ``, "delivery %s was armed in quarantine"},
		{`SELECT id FROM workspace WHERE paused`, `('workspace.pause')`, ` AND d.workspace_id = $4`, "delivery %s was armed while its workspace was paused"},
		{`SELECT id FROM account WHERE paused`, `('account.pause')`, ` AND d.account_id = $4`, "delivery %s was armed while its account was paused"},
	}
	for _, o := range orders {
		rows, err := s.read().QueryContext(ctx, o.holds)
		of, err := collect(rows, err, func(row interface{ Scan(...any) error }) (id social.ID, err error) {
			return id, row.Scan((*int64)(&id))
		})
		if err != nil {
			return nil, fmt.Errorf("checking the invariants: %w", err)
		}
		for _, id := range of {
			var order, since int64
			query := `SELECT id, at FROM audit WHERE action IN ` + o.actions + ` AND subject = $1 AND workspace_id IN (SELECT workspace_id FROM account WHERE id = $2 UNION ALL SELECT $2) ORDER BY at DESC LIMIT 1`
			args := []any{id.String(), int64(id)}
			if o.whose == "" {
				query, args = `SELECT id, at FROM audit WHERE workspace_id = 0 AND action IN `+o.actions+` ORDER BY at DESC LIMIT 1`, nil
			}
			err := s.read().QueryRowContext(ctx, query, args...).Scan(&order, &since)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("checking the invariants: %w", err)
			}
			args = []any{order, since + stopSlack.Milliseconds(), millis(now)}
			if o.whose != "" {
				args = append(args, int64(id))
			}
			found, err := s.firstID(ctx, `SELECT d.id FROM (SELECT id, delivery_id, armed_at, node FROM attempt ORDER BY id DESC LIMIT `+strconv.Itoa(examinedAttempts)+`) a JOIN delivery d ON d.id = a.delivery_id
				WHERE a.id > $1 AND a.armed_at > $2 AND a.armed_at <= $3 AND a.node <> ''`+o.whose+` LIMIT 1`, args...)
			if err != nil {
				return nil, err
			}
			if found != "" {
				bad = append(bad, fmt.Sprintf(o.sentence, found))
			}
		}
	}
	return bad, nil
}

// firstID returns the first id that a query finds, "" if it finds none.
func (s *Store) firstID(ctx context.Context, query string, args ...any) (string, error) {
	rows, err := s.read().QueryContext(ctx, query, args...)
	ids, err := collect(rows, err, func(row interface{ Scan(...any) error }) (social.ID, error) {
		var id social.ID
		err := row.Scan((*int64)(&id))
		return id, err
	})
	if err != nil {
		return "", fmt.Errorf("checking the invariants: %w", err)
	}
	if len(ids) == 0 {
		return "", nil
	}
	return ids[0].String(), nil
}

// Overdue counts the deliveries that were due before a time and that nobody works
// on although somebody may.
func (s *Store) Overdue(ctx context.Context, before time.Time) (int, error) {
	var n int
	err := s.read().QueryRowContext(ctx, `SELECT COUNT(*) FROM delivery d JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id
		WHERE d.state IN `+sqlPublishing+` AND d.next_at > 0 AND d.next_at < $1 AND d.planned_utc < $1 AND d.owner = ''
		AND NOT a.paused AND NOT w.paused AND NOT `+sqlStopped, millis(before)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting what is overdue: %w", err)
	}
	return n, nil
}

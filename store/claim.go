package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// NextDue returns when the next delivery can be claimed: of those nobody holds
// the earliest time, of the others not before the lease ends.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var free, held, gap int64
	err := s.lookup(ctx, `SELECT
		COALESCE((SELECT d.next_at FROM delivery d JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id
			WHERE d.next_at > 0 AND d.owner = '' AND d.state IN `+sqlClaimable+`
				AND (d.state IN ('armed','ambiguous') OR NOT (a.paused OR w.paused OR `+sqlStopped+` OR `+sqlWithheld+`))
			ORDER BY d.next_at LIMIT 1), 0),
		COALESCE((SELECT min(CASE WHEN d.lease_until > d.next_at THEN d.lease_until ELSE d.next_at END)
			FROM delivery d WHERE d.owner <> '' AND +d.next_at > 0 AND d.state IN `+sqlClaimable+`), 0),
		`+nextGapSQL).Scan(&free, &held, &gap)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the due index: %w", err)
	}
	return fromMillis(sooner(sooner(free, held), gap)), nil
}

// claimSQL takes the rows in one statement, so that two nodes never take the
// same one. $1 node, $2 now, $3 lease end, $4 per account, $5 limit, $6 the
// latest planned time of what is not prepared (0: any); the %s are the
// states, the dialect's way to pass over locked rows, and the states once more: a
// row may have been cancelled since it was found. Without the "+ 0" SQLite groups
// along the index of accounts, over every delivery there ever was.
const claimSQL = `WITH held AS (
	SELECT account_id, sum(CASE WHEN owner = $1 THEN 1 ELSE 0 END) AS mine, sum(CASE WHEN owner = $1 THEN 0 ELSE 1 END) AS others
	FROM (SELECT account_id + 0 AS account_id, owner FROM delivery WHERE owner <> '' AND lease_until > $2) o GROUP BY account_id
), due AS (
	SELECT d.id, d.planned_utc, COALESCE(h.mine, 0) AS mine,
		row_number() OVER (PARTITION BY d.account_id ORDER BY d.planned_utc, d.id) AS place
	FROM delivery d JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id LEFT JOIN held h ON h.account_id = d.account_id
	WHERE d.next_at > 0 AND d.next_at <= $2 AND (d.owner = '' OR d.lease_until <= $2) AND COALESCE(h.others, 0) = 0
		AND d.state IN %s AND (CAST($6 AS BIGINT) = 0 OR d.planned_utc <= $6 OR d.state NOT IN ('scheduled','claimed'))
		AND (d.state IN ('armed','ambiguous') OR NOT (a.paused OR w.paused OR ` + sqlStopped + ` OR ` + sqlWithheld + `))
)
UPDATE delivery SET owner = $1, lease_until = $3, epoch = epoch + 1
WHERE id IN (SELECT id FROM delivery WHERE id IN (SELECT id FROM due WHERE place + mine <= $4 ORDER BY planned_utc, id LIMIT $5) %s)
	AND (owner = '' OR lease_until <= $2)
	AND next_at > 0 AND next_at <= $2 AND state IN %s
RETURNING ` + ledgerColumns

// Claim takes due deliveries for a node and loads all that is known of them.
func (s *Store) Claim(ctx context.Context, r scheduler.ClaimRequest) ([]scheduler.Work, error) {
	if r.Gap {
		works, err := s.claimGap(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("claiming: %w", err)
		}
		return works, nil
	}
	states := sqlClaimable
	if len(r.States) > 0 {
		var names []string
		for _, st := range r.States {
			if !slices.Contains(claimable, st) {
				return nil, fmt.Errorf("claiming: %q is not a state in which there is anything to do", st)
			}
			names = append(names, "'"+string(st)+"'")
		}
		states = "(" + strings.Join(names, ",") + ")"
	}
	query := fmt.Sprintf(claimSQL, states, s.dialect.SkipLocked, states)
	var out []scheduler.Work
	err := s.writeAt(ctx, sql.LevelReadCommitted, func(ctx context.Context, tx *sql.Tx) error {
		out = nil
		// An account belongs to one node at a time, so claims take turns; rows that
		// somebody changes at the moment are passed over.
		if err := s.takeTurns(ctx, tx, lockClaims); err != nil {
			return err
		}
		now, err := s.timeIn(ctx, tx, r.Now)
		if err != nil {
			return err
		}
		lease := millis(now.Add(r.Lease))
		rows, err := s.runRows(ctx, tx, query, r.Node, millis(now), lease, r.PerAccount, r.Limit, millis(r.PlannedBy))
		taken, err := collect(rows, err, scanDelivery)
		if err != nil {
			return fmt.Errorf("taking due deliveries: %w", err)
		}
		if len(taken) == 0 {
			return nil
		}
		sortByPlan(taken)
		out = make([]scheduler.Work, len(taken))
		for i, d := range taken {
			out[i].Delivery = d
		}
		return s.load(ctx, tx, out, r.Node, lease)
	})
	if err != nil {
		return nil, fmt.Errorf("claiming: %w", err)
	}
	return out, nil
}

// sortByPlan puts deliveries into the order in which they go out.
func sortByPlan(ds []social.Delivery) {
	slices.SortFunc(ds, func(a, b social.Delivery) int {
		return cmp.Or(a.PlannedAt.Compare(b.PlannedAt), cmp.Compare(a.ID, b.ID))
	})
}

var claimable = []social.DeliveryState{social.Scheduled, social.Claimed, social.Ready, social.Waiting, social.Armed, social.Ambiguous}

// load fills claimed work in, with a fixed number of queries. The rows are those
// of this node with this very end of the lease; a row of an earlier claim in the
// same millisecond may be among them and is passed over.
func (s *Store) load(ctx context.Context, tx *sql.Tx, works []scheduler.Work, node string, lease int64) error {
	at := make(map[social.ID]*scheduler.Work, len(works))
	for i := range works {
		at[works[i].Delivery.ID] = &works[i]
	}
	const these = ` d.owner = $1 AND d.owner <> '' AND d.lease_until = $2` // the second says that the index of claims has it all
	rows, err := s.runRows(ctx, tx, `SELECT `+accountColumns+` FROM account WHERE id IN (SELECT d.account_id FROM delivery d WHERE`+these+`)`, node, lease)
	accounts, err := collect(rows, err, scanAccountRow)
	if err != nil {
		return fmt.Errorf("reading accounts: %w", err)
	}
	byID := make(map[social.ID]social.Account, len(accounts))
	for _, a := range accounts {
		byID[a.ID] = a
	}
	for i := range works {
		works[i].Account = byID[works[i].Delivery.AccountID]
	}
	rows, err = s.runRows(ctx, tx, `SELECT c.delivery_id, c.step, c.state, c.class, c.req_hash, c.expires_at
		FROM delivery d JOIN checkpoint c ON c.delivery_id = d.id AND c.step = d.step WHERE`+these, node, lease)
	checkpoints, err := collect(rows, err, scanCheckpoint)
	if err != nil {
		return err
	}
	for _, c := range checkpoints {
		if w := at[c.delivery]; w != nil {
			w.Checkpoint = &c.c
		}
	}
	rows, err = s.runRows(ctx, tx, `SELECT `+attemptColumns+` FROM delivery d JOIN attempt a ON a.delivery_id = d.id AND a.step = d.step
		WHERE`+these+` ORDER BY a.delivery_id, a.n`, node, lease)
	attempts, err := collect(rows, err, scanAttempt)
	if err != nil {
		return err
	}
	for _, a := range attempts {
		if w := at[a.Delivery]; w != nil {
			w.Attempts = append(w.Attempts, a)
		}
	}
	rows, err = s.runRows(ctx, tx, `SELECT a.delivery_id, a.step, a.receipt FROM delivery d JOIN attempt a ON a.delivery_id = d.id AND a.step < d.step
		WHERE`+these+` AND d.step > 0 AND a.state IN ('ok','adopted')`, node, lease)
	receipts, err := collect(rows, err, scanReceipt)
	if err != nil {
		return err
	}
	for _, r := range receipts {
		if w := at[r.delivery]; w != nil {
			if w.Receipts == nil {
				w.Receipts = map[int]connectors.Receipt{}
			}
			w.Receipts[r.step] = r.receipt
		}
	}
	rows, err = s.runRows(ctx, tx, `SELECT d.id, 0, a.receipt FROM delivery d JOIN attempt a ON a.account_id = d.account_id AND a.remote_id = d.parent_ref
		WHERE`+these+` AND d.parent_ref <> ''`, node, lease)
	parents, err := collect(rows, err, scanReceipt)
	if err != nil {
		return err
	}
	for _, p := range parents {
		if w := at[p.delivery]; w != nil {
			w.ParentState = p.receipt.State
		}
	}
	return nil
}

// Renew lengthens the leases that a node holds. It never shortens one.
func (s *Store) Renew(ctx context.Context, node string, until time.Time) error {
	err := s.writeAt(ctx, sql.LevelReadCommitted, func(ctx context.Context, tx *sql.Tx) error {
		asked := s.now()
		now, err := s.timeIn(ctx, tx, asked)
		if err == nil {
			_, err = s.run(ctx, tx, `UPDATE delivery SET lease_until = $2 WHERE owner = $1 AND owner <> '' AND lease_until < $2`, node, millis(now.Add(until.Sub(asked))))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("renewing claims: %w", err)
	}
	return nil
}

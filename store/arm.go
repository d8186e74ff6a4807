package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// repeatWindow is how long the same text on the same account counts as said
// twice.
const repeatWindow = 24 * time.Hour

// gates is what Arm looks at, read in the transaction that arms.
type gates struct {
	workspace, account         social.ID
	state                      social.DeliveryState
	epoch, ver                 int64
	step                       int
	owner                      string
	cancel                     bool
	hash, approved             string
	notAfter                   int64
	post                       social.PostState
	status                     social.AccountStatus
	statusReason, handle       string
	tokenGen                   int64
	pausedAccount, pausedSpace bool
	pausedAll, quarantine      bool
	withheld                   bool // of a gap, and not looked up yet
	done, before               bool // this part is done; the part before it is done
}

const gatesSQL = `SELECT d.workspace_id, d.account_id, d.state, d.epoch, d.ver, d.step, d.owner, d.cancel_wanted, d.content_hash, d.approved_hash, d.not_after,
	p.state, a.status, a.status_reason, a.handle, a.token_gen, a.paused, w.paused,
	EXISTS (SELECT 1 FROM meta WHERE key = '` + metaPaused + `' AND value = '1'),
	` + sqlQuarantined + `, ` + sqlWithheld + `,
	EXISTS (SELECT 1 FROM attempt t WHERE t.delivery_id = d.id AND t.step = $2 AND t.state IN ('armed','ambiguous','ok','adopted')),
	EXISTS (SELECT 1 FROM attempt t WHERE t.delivery_id = d.id AND t.step = $2 - 1 AND t.state IN ('ok','adopted'))
	FROM delivery d JOIN post p ON p.id = d.post_id JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id
	WHERE d.id = $1`

// Arm writes an attempt down and thereby gives the right to send it, once. All
// gates are looked at in the one transaction; a Refusal undoes whatever it had
// written.
func (s *Store) Arm(ctx context.Context, r scheduler.ArmRequest) (scheduler.Attempt, error) {
	var out scheduler.Attempt
	err := s.writeAt(ctx, sql.LevelReadCommitted, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.lockArm(ctx, tx, r.Delivery); err != nil {
			return err
		}
		if err := s.inDoubt(r.Now); err != nil {
			return err
		}
		var g gates
		err := s.runRow(ctx, tx, gatesSQL, int64(r.Delivery), r.Step).Scan((*int64)(&g.workspace), (*int64)(&g.account), &g.state, &g.epoch, &g.ver,
			&g.step, &g.owner, &g.cancel, &g.hash, &g.approved, &g.notAfter, &g.post, &g.status, &g.statusReason, &g.handle, &g.tokenGen,
			&g.pausedAccount, &g.pausedSpace, &g.pausedAll, &g.quarantine, &g.withheld, &g.done, &g.before)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return refuse(scheduler.GateStale, "the delivery is not there any more")
		case err != nil:
			return fmt.Errorf("reading the gates: %w", err)
		}
		if refusal := g.check(r); refusal != nil {
			return refusal
		}
		for _, c := range r.Charges {
			if err := s.charge(ctx, tx, c, r.Now); err != nil {
				return err
			}
		}
		if err := s.pay(ctx, tx, r.Spend, r.Now); err != nil {
			return err
		}
		if !r.AllowRepeat && r.Fingerprint != "" {
			if err := s.repeats(ctx, tx, r, g.account); err != nil {
				return err
			}
		}
		if err := s.insertAttempt(ctx, tx, r, g.account); err != nil {
			return err
		}
		n, err := changed(s.run(ctx, tx, `UPDATE delivery SET state = 'armed', reason = '', next_at = $1, ver = ver + 1, updated_at = $2
			WHERE id = $3 AND state = 'ready' AND epoch = $4 AND ver = $5 AND NOT cancel_wanted`,
			millis(r.TakeoverAt), millis(r.Now), int64(r.Delivery), r.Epoch, r.Ver))
		if err != nil {
			return fmt.Errorf("arming: %w", err)
		}
		if n != 1 {
			return refuse(scheduler.GateStale, "it was changed by somebody else")
		}
		out = scheduler.Attempt{
			ID: r.Attempt, Delivery: r.Delivery, Account: g.account, Step: r.Step, N: r.N, Class: r.Class, Epoch: r.Epoch, Node: r.Node,
			ArmedAt: r.Now, SendBy: r.SendBy, TakeoverAt: r.TakeoverAt, TokenGen: r.TokenGen, RequestHash: r.RequestHash, Fingerprint: r.Fingerprint,
			State: scheduler.AttemptArmed,
		}
		return s.note(ctx, tx, auditEntry{
			Workspace: g.workspace, Actor: "scheduler:" + r.Node, Action: "delivery.arm", Subject: r.Delivery.String(),
			Detail: map[string]any{"attempt": r.Attempt, "step": r.Step, "n": r.N},
		})
	})
	if err != nil {
		return scheduler.Attempt{}, err
	}
	if s.pg != nil {
		s.pg.watched.noteArmed(out.ID)
	}
	return out, nil
}

func refuse(g scheduler.Gate, format string, args ...any) *scheduler.Refusal {
	return &scheduler.Refusal{Gate: g, Text: fmt.Sprintf(format, args...)}
}

// check looks at every gate that needs no further query. What a person did
// comes before what merely changed, so that the right reason is shown.
func (g *gates) check(r scheduler.ArmRequest) error {
	switch {
	case g.state == social.Cancelled || g.cancel:
		return refuse(scheduler.GateCancelled, "it was cancelled")
	case g.epoch != r.Epoch || g.ver != r.Ver || g.owner != r.Node || g.state != social.Ready || g.step != r.Step:
		return refuse(scheduler.GateStale, "it was changed by somebody else")
	case r.Step > 0 && !g.before:
		return refuse(scheduler.GateStale, "the part before it is not published")
	case g.done:
		return refuse(scheduler.GateOpen, "another attempt of this part is under way or has succeeded; look at the post on the network before anything else")
	case g.hash != r.ContentHash || g.approved == "" || g.approved != g.hash || g.post != social.PostApproved:
		return refuse(scheduler.GateContent, "what would be published is not what was approved; approve the post as it is now")
	case g.notAfter > 0 && millis(r.Now) > g.notAfter:
		return refuse(scheduler.GateExpired, "it was not published by %s, after which it was not wanted", fromMillis(g.notAfter).Format(time.RFC3339))
	case g.pausedAll:
		return refuse(scheduler.GatePaused, "all publishing is paused")
	case g.pausedSpace:
		return refuse(scheduler.GatePaused, "the workspace is paused")
	case g.pausedAccount:
		return refuse(scheduler.GatePaused, "the account %s is paused", g.handle)
	case g.quarantine:
		return refuse(scheduler.GateQuarantine, quarantineText)
	case g.withheld:
		return refuse(scheduler.GateQuarantine, withheldText)
	case g.status != social.AccountConnected:
		if g.statusReason != "" {
			return refuse(scheduler.GateAccount, "%s", g.statusReason)
		}
		return refuse(scheduler.GateAccount, "the account %s is not connected; connect it again", g.handle)
	case g.tokenGen != r.TokenGen:
		return refuse(scheduler.GateToken, "the account's token was renewed meanwhile")
	}
	return nil
}

// charge takes an attempt's cost from a budget, or refuses.
func (s *Store) charge(ctx context.Context, tx *sql.Tx, c scheduler.Charge, now time.Time) error {
	if c.Window <= 0 {
		return fmt.Errorf("charging %s: the window is %s", c.Key, c.Window)
	}
	start, end := c.Span(now)
	full := &scheduler.Refusal{
		Gate: scheduler.GateBudget, Until: end,
		Text: fmt.Sprintf("the budget of %d in %s for %s is used up until %s", c.Limit, c.Window, c.Key, end.Format(time.RFC3339)),
	}
	if c.Cost > c.Limit {
		return full
	}
	n, err := changed(s.run(ctx, tx, `INSERT INTO budget (key, window_start, used) VALUES ($1, $2, $3)
		ON CONFLICT (key, window_start) DO UPDATE SET used = budget.used + excluded.used WHERE budget.used + excluded.used <= $4`,
		c.Key, millis(start), c.Cost, c.Limit))
	if err != nil {
		return fmt.Errorf("charging %s: %w", c.Key, err)
	}
	if n == 0 {
		return full
	}
	// Windows that are over are of no use; the primary key makes this one look.
	if _, err := s.run(ctx, tx, `DELETE FROM budget WHERE key = $1 AND window_start < $2`, c.Key, millis(start)); err != nil {
		return fmt.Errorf("clearing old windows of %s: %w", c.Key, err)
	}
	return nil
}

// repeats refuses a text that another delivery of the account has said, or may
// have said, a short time ago.
func (s *Store) repeats(ctx context.Context, tx *sql.Tx, r scheduler.ArmRequest, account social.ID) error {
	var other social.ID
	var at int64
	var state scheduler.AttemptState
	err := s.runRow(ctx, tx, `SELECT delivery_id, armed_at, state FROM attempt
		WHERE account_id = $1 AND fp = $2 AND armed_at >= $3 AND delivery_id <> $4 AND state IN ('armed','ambiguous','ok','adopted')
		ORDER BY armed_at DESC LIMIT 1`,
		int64(account), r.Fingerprint, millis(r.Now.Add(-repeatWindow)), int64(r.Delivery)).Scan((*int64)(&other), &at, &state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("looking for the same text: %w", err)
	}
	was := "was published"
	if state == scheduler.AttemptArmed || state == scheduler.AttemptAmbiguous {
		was = "may have been published"
	}
	return refuse(scheduler.GateRepeat, "the same text %s on this account at %s (delivery %s); allow the repetition if it is meant, or drop it",
		was, fromMillis(at).Format(time.RFC3339), other)
}

// insertAttempt writes the attempt down. The unique indexes refuse a second one
// that is open, whatever the Go code above believed.
func (s *Store) insertAttempt(ctx context.Context, tx *sql.Tx, r scheduler.ArmRequest, account social.ID) error {
	n, err := changed(s.run(ctx, tx, `INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'armed') ON CONFLICT DO NOTHING`,
		int64(r.Attempt), int64(r.Delivery), int64(account), r.Step, r.N, string(r.Class), r.Epoch, r.Node, millis(r.Now), millis(r.SendBy), millis(r.TakeoverAt),
		r.TokenGen, r.RequestHash, r.Fingerprint))
	if err != nil {
		return fmt.Errorf("writing the attempt down: %w", err)
	}
	if n == 0 {
		return refuse(scheduler.GateOpen, "another attempt of this part is under way or has succeeded; look at the post on the network before anything else")
	}
	return nil
}

// changed returns how many rows a statement changed.
func changed(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Save keeps the state of a Prepare. It returns scheduler.ErrStale if the
// delivery is not being prepared under this epoch any more.
func (s *Store) Save(ctx context.Context, delivery social.ID, epoch int64, c scheduler.Checkpoint) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(s.run(ctx, tx, `UPDATE delivery SET updated_at = $1 WHERE id = $2 AND epoch = $3 AND step = $4 AND state IN `+sqlPublishing,
			millis(s.now()), int64(delivery), epoch, c.Step))
		if err != nil {
			return fmt.Errorf("saving the preparation: %w", err)
		}
		if n == 0 {
			return scheduler.ErrStale
		}
		return s.saveCheckpoint(ctx, tx, delivery, &c)
	})
}

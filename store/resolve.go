package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// ResolveDelivery carries out what a person says of a delivery in NeedsHuman:
//
//   - AnswerThere: the current part is what r says. It is adopted, and the next
//     part follows or the delivery is published. The caller has read r back from
//     the network. A post that belongs to another delivery is refused with
//     scheduler.ErrRemoteTaken.
//   - AnswerAgain: it is not there. It is prepared and sent again, whatever the
//     time; r is not used.
//   - AnswerDrop: nothing more is done. Without a published part it is Failed.
//     Its open attempt stays ambiguous, so that nothing can ever arm it again.
//
// The last two are refused with CodeConflict until the delivery's NextAt: before,
// what was sent may still appear.
func (s *Store) ResolveDelivery(ctx context.Context, workspace, id social.ID, answer social.Answer, r connectors.Receipt, actor string) error {
	return s.changeDelivery(ctx, workspace, id, "answering for", func(ctx context.Context, tx *sql.Tx, v *seen) error {
		if v.State != social.NeedsHuman {
			return social.Errorf(social.CodeConflict, "delivery", "it is not waiting for an answer: it is %s", v.State)
		}
		if answer == social.AnswerThere {
			return s.adopt(ctx, tx, v, r, actor)
		}
		if early := v.unripe(s.now()); early != nil {
			return early
		}
		switch answer {
		case social.AnswerAgain:
			return s.again(ctx, tx, v, actor)
		case social.AnswerDrop:
			return s.drop(ctx, tx, v, actor)
		}
		return social.Errorf(social.CodeInvalid, "answer", "%q is not an answer; say there, again or drop", answer)
	})
}

// adopt makes r the receipt of the current part.
func (s *Store) adopt(ctx context.Context, tx *sql.Tx, v *seen, r connectors.Receipt, actor string) error {
	if r.RemoteID == "" {
		return social.Errorf(social.CodeInvalid, "remote_id", "name the post that is there, by its address or its id")
	}
	now := s.now()
	if r.PublishedAt.IsZero() {
		r.PublishedAt = now
	}
	receipt, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the receipt: %w", err)
	}
	var taken int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM attempt WHERE account_id = $1 AND remote_id = $2`, int64(v.AccountID), r.RemoteID).Scan(&taken); err != nil {
		return fmt.Errorf("looking for the owner of %s: %w", r.RemoteID, err)
	}
	if taken > 0 {
		return &social.Error{
			Code: social.CodeConflict, Field: "remote_id", Err: scheduler.ErrRemoteTaken,
			Text: fmt.Sprintf("%s belongs to another post of smi already; look for the one that this was, or answer otherwise", r.RemoteID),
		}
	}
	was := v.openAttempt
	if was == 0 {
		was = v.early
	}
	if was != 0 {
		if _, err := tx.ExecContext(ctx, `UPDATE attempt SET state = 'adopted', early = FALSE, remote_id = $1, receipt = $2, decided_by = $3, decided_at = $4 WHERE id = $5`,
			r.RemoteID, string(receipt), actor, millis(now), int64(was)); err != nil {
			return fmt.Errorf("adopting: %w", err)
		}
	} else if err := s.standIn(ctx, tx, v, r.RemoteID, string(receipt), actor, now); err != nil {
		return err
	}
	state, next := social.Published, int64(0)
	if v.Step+1 < len(v.Parts) {
		state, next = social.Scheduled, millis(now)
	}
	if v.Step == 0 {
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET remote_id = $1, remote_url = $2, published_at = $3 WHERE id = $4`, r.RemoteID, r.URL, millis(r.PublishedAt), int64(v.ID)); err != nil {
			return fmt.Errorf("adopting: %w", err)
		}
	}
	return s.exec(ctx, tx, byPerson(v, actor, "delivery.resolve", map[string]any{"answer": social.AnswerThere, "step": v.Step, "remote_id": r.RemoteID}),
		`UPDATE delivery SET state = $1, reason = $2, step = step + 1, tries = 0, next_at = $3, `+takeAway+`, updated_at = $4 WHERE id = $5 AND state = 'needs_human'`,
		string(state), fmt.Sprintf("Found on the network by %s.", actor), next, millis(now), int64(v.ID))
}

// standIn writes an attempt for a part that was published, but not by an attempt
// of smi that is open: the one row that holds its receipt.
func (s *Store) standIn(ctx context.Context, tx *sql.Tx, v *seen, remoteID, receipt, actor string, now time.Time) error {
	n, err := changed(tx.ExecContext(ctx, `INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, remote_id, receipt, decided_by, decided_at)
		SELECT $1, $2, $3, $4, COALESCE(max(n), 0) + 1, 'unkeyed', $5, '', $6, $6, $6, 0, '', '', 'adopted', $7, $8, $9, $6 FROM attempt WHERE delivery_id = $2 AND step = $4
		ON CONFLICT DO NOTHING`,
		int64(s.ids.New(now)), int64(v.ID), int64(v.AccountID), v.Step, v.Epoch, millis(now), remoteID, receipt, actor))
	if err != nil {
		return fmt.Errorf("adopting: %w", err)
	}
	if n != 1 {
		return social.Errorf(social.CodeConflict, "delivery", "this part is known to be published already; look at it again")
	}
	return nil
}

// again sends the current part once more, by a person's decision.
func (s *Store) again(ctx context.Context, tx *sql.Tx, v *seen, actor string) error {
	now := millis(s.now())
	if _, err := tx.ExecContext(ctx, `UPDATE attempt SET state = 'absent_by_human', early = FALSE, decided_by = $1, decided_at = $2
		WHERE delivery_id = $3 AND step = $4 AND (state IN ('armed','ambiguous') OR early)`, actor, now, int64(v.ID), v.Step); err != nil {
		return fmt.Errorf("closing the attempt: %w", err)
	}
	// Without an attempt in doubt smi asked before sending, because the text is there
	// already: the person has seen that. The late rules would only ask once more.
	return s.exec(ctx, tx, byPerson(v, actor, "delivery.resolve", map[string]any{"answer": social.AnswerAgain, "step": v.Step}),
		`UPDATE delivery SET state = 'scheduled', reason = $1, late_policy = 'publish', allow_repeat = CASE WHEN $2 THEN TRUE ELSE allow_repeat END, cancel_wanted = FALSE,
			not_after = CASE WHEN not_after < $3 THEN 0 ELSE not_after END, tries = 0, next_at = $3, `+takeAway+`, updated_at = $3 WHERE id = $4 AND state = 'needs_human'`,
		fmt.Sprintf("Sent again by %s.", actor), v.openAttempt == 0 && v.early == 0, now, int64(v.ID))
}

// drop ends a delivery about which nobody knows more.
func (s *Store) drop(ctx context.Context, tx *sql.Tx, v *seen, actor string) error {
	now := s.now()
	if v.openAttempt != 0 {
		if _, err := tx.ExecContext(ctx, `UPDATE attempt SET state = 'ambiguous', decided_by = $1, decided_at = $2 WHERE id = $3`, actor, millis(now), int64(v.openAttempt)); err != nil {
			return fmt.Errorf("closing the attempt: %w", err)
		}
	}
	state, reason := social.Failed, fmt.Sprintf("Dropped by %s.", actor)
	if v.Step > 0 {
		state, reason = social.Published, fmt.Sprintf("%d of %d parts are published; the rest was dropped by %s.", v.Step, len(v.Parts), actor)
	} else if err := s.tell(ctx, tx, v.WorkspaceID, &scheduler.Notice{Kind: "delivery_failed", Severity: "info", Delivery: v.ID, Account: v.AccountID, Text: reason}, now); err != nil {
		return err
	}
	return s.exec(ctx, tx, byPerson(v, actor, "delivery.resolve", map[string]any{"answer": social.AnswerDrop, "step": v.Step}),
		`UPDATE delivery SET state = $1, reason = $2, next_at = 0, `+takeAway+`, updated_at = $3 WHERE id = $4 AND state = 'needs_human'`, string(state), reason, millis(now), int64(v.ID))
}

func partsJSON(parts []social.Part) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("writing the parts: %w", err)
	}
	return string(b), nil
}

package store

import (
	"context"
	"database/sql"
	"fmt"

	"smi/internal/social"
)

// SetPaused stops or resumes publishing of an account, a workspace or, with the
// zero scope, of everything. It counts from the next arming on: what is on the
// wire is finished. Pausing what is paused changes nothing.
func (s *Store) SetPaused(ctx context.Context, scope social.PauseScope, on bool, actor string) error {
	action := "pause"
	if !on {
		action = "resume"
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.stopArming(ctx, tx); err != nil {
			return err
		}
		switch {
		case scope.Account != 0:
			n, err := changed(tx.ExecContext(ctx, `UPDATE account SET paused = $1 WHERE workspace_id = $2 AND id = $3 AND status <> 'removed'`, on, int64(scope.Workspace), int64(scope.Account)))
			if err != nil {
				return err
			}
			if n == 0 {
				return social.Errorf(social.CodeNotFound, "account", "there is no account %s in this workspace", scope.Account)
			}
			return s.note(ctx, tx, auditEntry{Workspace: scope.Workspace, Actor: actor, Action: "account." + action, Subject: scope.Account.String()})
		case scope.Workspace != 0:
			n, err := changed(tx.ExecContext(ctx, `UPDATE workspace SET paused = $1 WHERE id = $2`, on, int64(scope.Workspace)))
			if err != nil {
				return err
			}
			if n == 0 {
				return social.Errorf(social.CodeNotFound, "workspace", "there is no workspace %s", scope.Workspace)
			}
			return s.note(ctx, tx, auditEntry{Workspace: scope.Workspace, Actor: actor, Action: "workspace." + action, Subject: scope.Workspace.String()})
		}
		if err := metaSet(ctx, tx, metaPaused, flag(on)); err != nil {
			return err
		}
		return s.note(ctx, tx, auditEntry{Actor: actor, Action: action})
	})
	if err != nil {
		return fmt.Errorf("setting the pause: %w", err)
	}
	return nil
}

// Paused says whether everything is paused.
func (s *Store) Paused(ctx context.Context) (bool, error) {
	v, err := metaGet(ctx, s.read(), metaPaused)
	return v == flag(true), err
}

// flag is how meta stores yes and no.
func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

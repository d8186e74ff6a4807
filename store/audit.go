package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"smi/internal/social"
)

// auditEntry is one line of the audit log: who did what to what. It is written
// in the transaction of the effect.
type auditEntry struct {
	Workspace social.ID
	Actor     string         // "cli:root", "scheduler:NODE", "person:NAME"
	Action    string         // "post.create"
	Subject   string         // id of what it was done to
	Detail    map[string]any // no secrets; may be nil
}

// note writes an audit row.
func (s *Store) note(ctx context.Context, tx *sql.Tx, e auditEntry) error {
	detail := []byte("{}")
	if len(e.Detail) > 0 {
		var err error
		if detail, err = json.Marshal(e.Detail); err != nil {
			return fmt.Errorf("writing the audit log: %w", err)
		}
	}
	now := s.now()
	if _, err := s.run(ctx, tx, `INSERT INTO audit (id, workspace_id, at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		int64(s.ids.New(now)), int64(e.Workspace), millis(now), e.Actor, e.Action, e.Subject, string(detail)); err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	return nil
}

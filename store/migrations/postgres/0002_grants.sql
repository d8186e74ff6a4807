-- +goose Up
-- The logins of accounts, sealed by internal/keyring. Who changes a row must
-- name its generation; who ends a refresh, its epoch too.

CREATE TABLE grant_row (
  account_id          BIGINT PRIMARY KEY REFERENCES account(id),
  gen                 BIGINT  NOT NULL,             -- counts the grants of the account; equals account.token_gen
  sealed              BYTEA,                         -- NULL once it was destroyed
  key_id              TEXT    NOT NULL DEFAULT '',  -- of the key it was sealed with
  issued_at           BIGINT  NOT NULL,
  expires_at          BIGINT  NOT NULL DEFAULT 0,   -- of the access token
  refresh_expires_at  BIGINT  NOT NULL DEFAULT 0,
  rotates             BOOLEAN NOT NULL DEFAULT FALSE,
  scopes              TEXT    NOT NULL DEFAULT '[]', -- JSON
  prev_gen            BIGINT  NOT NULL DEFAULT 0,
  prev_sealed         BYTEA,                         -- the former generation, for a day
  prev_key_id         TEXT    NOT NULL DEFAULT '',
  prev_until          BIGINT  NOT NULL DEFAULT 0,
  state               TEXT    NOT NULL CHECK (state IN ('connected','refreshing','refresh_unknown','needs_reconnect','removed')),
  refresh_owner       TEXT    NOT NULL DEFAULT '',
  refresh_epoch       BIGINT  NOT NULL DEFAULT 0,
  refresh_lease_until BIGINT  NOT NULL DEFAULT 0,
  refresh_started_at  BIGINT  NOT NULL DEFAULT 0,
  unknown_since       BIGINT  NOT NULL DEFAULT 0,   -- when the refresh began whose answer was lost
  refused_at          BIGINT  NOT NULL DEFAULT 0,   -- when the network first refused to refresh
  next_at             BIGINT  NOT NULL DEFAULT 0,
  fail_count          BIGINT NOT NULL DEFAULT 0,
  last_error          TEXT    NOT NULL DEFAULT '',
  told                TEXT    NOT NULL DEFAULT '',  -- kind of the last notice about this generation
  updated_at          BIGINT  NOT NULL,
  CHECK (sealed IS NOT NULL OR state = 'removed'),
  CHECK (state <> 'removed' OR (sealed IS NULL AND prev_sealed IS NULL))
);
CREATE INDEX grant_due ON grant_row(next_at) WHERE next_at > 0;
CREATE INDEX grant_former ON grant_row(prev_until) WHERE prev_until > 0;

-- +goose Down
-- Migrations only go forward.
SELECT 1;

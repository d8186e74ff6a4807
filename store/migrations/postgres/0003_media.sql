-- +goose Up
-- Files by their content. The bytes are in the media directory.
CREATE TABLE media (
  hash        TEXT   PRIMARY KEY,      -- SHA-256 of the stored bytes
  kind        TEXT   NOT NULL,
  mime        TEXT   NOT NULL,
  bytes       BIGINT NOT NULL,
  width       BIGINT NOT NULL DEFAULT 0,
  height      BIGINT NOT NULL DEFAULT 0,
  duration_ms BIGINT NOT NULL DEFAULT 0,
  created_at  BIGINT NOT NULL
);

-- Whose a file is. Two workspaces may have the same one.
CREATE TABLE media_owner (
  workspace_id BIGINT NOT NULL,
  hash         TEXT   NOT NULL REFERENCES media(hash),
  name         TEXT   NOT NULL DEFAULT '',
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, hash)
);
CREATE INDEX media_owner_by_time ON media_owner(workspace_id, created_at);

-- Copies that were made to follow a network's rule.
CREATE TABLE media_derived (
  derived_from TEXT   NOT NULL REFERENCES media(hash),
  rule         TEXT   NOT NULL,
  hash         TEXT   NOT NULL REFERENCES media(hash),
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (derived_from, rule)
);
CREATE INDEX media_derived_by_hash ON media_derived(hash);

-- +goose Down
-- Migrations only go forward.
SELECT 1;

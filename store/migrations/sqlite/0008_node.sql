-- +goose Up
-- The processes that use this database, one row each, while they run.
CREATE TABLE node (
  name     TEXT   PRIMARY KEY,
  run      TEXT   NOT NULL,            -- of this life of the process
  version  TEXT   NOT NULL,
  since    BIGINT NOT NULL,
  seen_at  BIGINT NOT NULL
);

-- +goose Down
-- Migrations only go forward.
SELECT 1;

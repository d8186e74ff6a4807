-- +goose Up
-- Who is sending a notice, and when it is due again.
ALTER TABLE outbox ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;       -- rounds in which no channel took it
ALTER TABLE outbox ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;       -- 0: at once
ALTER TABLE outbox ADD COLUMN owner TEXT NOT NULL DEFAULT '';         -- "NODE/claim" while it is being sent
ALTER TABLE outbox ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
CREATE INDEX outbox_owned ON outbox(owner) WHERE owner <> '';

-- What became of a notice on a channel.
CREATE TABLE notice_send (
  notice_id BIGINT  NOT NULL,
  channel   TEXT    NOT NULL,
  tries     INTEGER NOT NULL,
  tried_at  BIGINT  NOT NULL,
  sent_at   BIGINT  NOT NULL DEFAULT 0,
  error     TEXT    NOT NULL DEFAULT '',
  node      TEXT    NOT NULL,
  PRIMARY KEY (notice_id, channel)
);
CREATE INDEX notice_send_by_time ON notice_send(sent_at) WHERE sent_at > 0;

-- Before there were channels everything was told in smi itself.
UPDATE outbox SET sent_at = created_at WHERE sent_at = 0;

-- +goose Down
-- Migrations only go forward.
SELECT 1;

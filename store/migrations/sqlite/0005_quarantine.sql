-- +goose Up
-- Why this instance may not be the live one, since when, and how it ended.
CREATE TABLE quarantine (
  id         BIGINT  PRIMARY KEY,
  kind       TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  phase      TEXT    NOT NULL CHECK (phase IN ('quarantined','adopting','ended')),
  open       BOOLEAN NOT NULL,                -- phase is not ended
  short      BOOLEAN NOT NULL,                -- only its gap is held back
  stops      BOOLEAN NOT NULL,                -- nothing at all is armed
  gap_from   BIGINT  NOT NULL,
  gap_to     BIGINT  NOT NULL DEFAULT 0,      -- 0: until it is adopted
  begun_at   BIGINT  NOT NULL,
  begun_by   TEXT    NOT NULL,
  adopted_at BIGINT  NOT NULL DEFAULT 0,
  adopted_by TEXT    NOT NULL DEFAULT '',
  ended_at   BIGINT  NOT NULL DEFAULT 0,
  CHECK (open = (phase <> 'ended'))
);
CREATE UNIQUE INDEX quarantine_one_open ON quarantine(open) WHERE open;

-- The deliveries of a gap. None of them is armed before it is decided.
CREATE TABLE gap_delivery (
  delivery_id   BIGINT  NOT NULL REFERENCES delivery(id),
  quarantine_id BIGINT  NOT NULL REFERENCES quarantine(id),
  planned_utc   BIGINT  NOT NULL,             -- as it was when the gap was closed
  next_at       BIGINT  NOT NULL,             -- of the next look; 0: none before it is adopted
  tries         INTEGER NOT NULL DEFAULT 0,   -- looks that failed
  seen_at       BIGINT  NOT NULL DEFAULT 0,   -- of the last look in this phase that was answered
  outcome       TEXT    NOT NULL DEFAULT '',  -- '' until it is decided
  decided_at    BIGINT  NOT NULL DEFAULT 0,
  PRIMARY KEY (delivery_id, quarantine_id)
) WITHOUT ROWID;
CREATE INDEX gap_delivery_open ON gap_delivery(next_at) WHERE decided_at = 0;
CREATE INDEX gap_delivery_of ON gap_delivery(quarantine_id);

-- What was a flag becomes a record.
INSERT INTO quarantine (id, kind, reason, phase, open, short, stops, gap_from, begun_at, begun_by)
SELECT 1, 'by_hand', 'It was in quarantine before smi kept a record of why.', 'quarantined', TRUE, FALSE, TRUE,
  COALESCE((SELECT CAST(value AS BIGINT) - 3600000 FROM meta WHERE key = 'alive'), 0),
  COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'alive'), 0), 'smi'
FROM meta WHERE key = 'quarantine' AND value = '1';
DELETE FROM meta WHERE key = 'quarantine';

-- +goose Down
-- Migrations only go forward.
SELECT 1;

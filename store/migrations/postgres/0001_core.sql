-- +goose Up
-- Times are UTC milliseconds; 0 means none. Ids are made by smi (63 bits).

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE workspace (
  id         BIGINT PRIMARY KEY,
  name       TEXT    NOT NULL,
  zone       TEXT    NOT NULL,
  paused     BOOLEAN NOT NULL DEFAULT FALSE,
  created_at BIGINT  NOT NULL
);

CREATE TABLE account (
  id            BIGINT PRIMARY KEY,
  workspace_id  BIGINT  NOT NULL REFERENCES workspace(id),
  network       TEXT    NOT NULL,
  app           TEXT    NOT NULL DEFAULT '',
  remote_id     TEXT    NOT NULL,
  handle        TEXT    NOT NULL,
  name          TEXT    NOT NULL DEFAULT '',
  url           TEXT    NOT NULL DEFAULT '',
  avatar_url    TEXT    NOT NULL DEFAULT '',
  host          TEXT    NOT NULL DEFAULT '',
  day_zone      TEXT    NOT NULL DEFAULT 'UTC',
  status        TEXT    NOT NULL CHECK (status IN ('connected','needs_reconnect','disabled','removed')),
  status_reason TEXT    NOT NULL DEFAULT '',
  paused        BOOLEAN NOT NULL DEFAULT FALSE,
  token_gen     BIGINT  NOT NULL DEFAULT 0,
  created_at    BIGINT  NOT NULL
);
CREATE UNIQUE INDEX account_once ON account(workspace_id, network, remote_id) WHERE status <> 'removed';

CREATE TABLE post (
  id            BIGINT PRIMARY KEY,
  workspace_id  BIGINT  NOT NULL REFERENCES workspace(id),
  state         TEXT    NOT NULL CHECK (state IN ('draft','in_review','changes_requested','approved')),
  rev           BIGINT NOT NULL,
  parts         TEXT    NOT NULL,          -- JSON
  planned_local TEXT    NOT NULL,
  planned_zone  TEXT    NOT NULL,
  planned_utc   BIGINT  NOT NULL,
  tzdata        TEXT    NOT NULL DEFAULT '',
  created_at    BIGINT  NOT NULL,
  updated_at    BIGINT  NOT NULL
);
CREATE INDEX post_by_time ON post(workspace_id, planned_utc);

CREATE TABLE tag (
  id           BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  name         TEXT   NOT NULL,
  UNIQUE (workspace_id, name)
);
CREATE TABLE post_tag (
  post_id BIGINT NOT NULL REFERENCES post(id),
  tag_id  BIGINT NOT NULL REFERENCES tag(id),
  PRIMARY KEY (post_id, tag_id)
);

CREATE TABLE delivery (
  id            BIGINT PRIMARY KEY,
  workspace_id  BIGINT  NOT NULL,
  post_id       BIGINT  NOT NULL REFERENCES post(id),
  account_id    BIGINT  NOT NULL REFERENCES account(id),
  occurrence    BIGINT NOT NULL DEFAULT 0,
  kind          TEXT    NOT NULL DEFAULT 'post' CHECK (kind IN ('post','reply','message')),
  parent_ref    TEXT    NOT NULL DEFAULT '',
  parts         TEXT    NOT NULL,          -- JSON
  content_hash  TEXT    NOT NULL,
  approved_hash TEXT    NOT NULL DEFAULT '', -- what was approved; arming needs it equal to content_hash
  planned_utc   BIGINT  NOT NULL,
  not_after     BIGINT  NOT NULL DEFAULT 0,
  late_policy   TEXT    NOT NULL DEFAULT 'ask' CHECK (late_policy IN ('ask','publish','skip')),
  allow_repeat  BOOLEAN NOT NULL DEFAULT FALSE,
  state         TEXT    NOT NULL CHECK (state IN ('scheduled','claimed','ready','armed','ambiguous','waiting',
                  'needs_human','held_late','blocked','published','failed','cancelled','skipped')),
  reason        TEXT    NOT NULL DEFAULT '',
  step          BIGINT NOT NULL DEFAULT 0,
  tries         BIGINT NOT NULL DEFAULT 0,
  next_at       BIGINT  NOT NULL DEFAULT 0,
  epoch         BIGINT  NOT NULL DEFAULT 0,
  owner         TEXT    NOT NULL DEFAULT '',
  lease_until   BIGINT  NOT NULL DEFAULT 0,
  ver           BIGINT  NOT NULL DEFAULT 0,
  cancel_wanted BOOLEAN NOT NULL DEFAULT FALSE,
  remote_id     TEXT    NOT NULL DEFAULT '',
  remote_url    TEXT    NOT NULL DEFAULT '',
  published_at  BIGINT  NOT NULL DEFAULT 0,
  created_at    BIGINT  NOT NULL,
  updated_at    BIGINT  NOT NULL,
  UNIQUE (post_id, account_id, occurrence),
  CHECK (state <> 'published' OR remote_id <> '')
);
CREATE INDEX delivery_due ON delivery(next_at) WHERE next_at > 0;
CREATE INDEX delivery_owned ON delivery(owner, account_id) WHERE owner <> '';
CREATE INDEX delivery_by_account ON delivery(account_id, planned_utc);
CREATE INDEX delivery_by_time ON delivery(workspace_id, planned_utc);
CREATE INDEX delivery_by_remote ON delivery(account_id, remote_id) WHERE remote_id <> '';

CREATE TABLE attempt (
  id           BIGINT PRIMARY KEY,
  delivery_id  BIGINT  NOT NULL REFERENCES delivery(id),
  account_id   BIGINT  NOT NULL,
  step         BIGINT NOT NULL,
  n            BIGINT NOT NULL,
  class        TEXT    NOT NULL CHECK (class IN ('keyed','unkeyed')),
  epoch        BIGINT  NOT NULL,
  node         TEXT    NOT NULL,
  armed_at     BIGINT  NOT NULL,
  send_by      BIGINT  NOT NULL,
  takeover_at  BIGINT  NOT NULL,
  token_gen    BIGINT  NOT NULL,
  req_hash     TEXT    NOT NULL,
  fp           TEXT    NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('armed','ok','rejected','not_sent','ambiguous','adopted',
                 'absent_by_handle','absent_by_human')),
  evidence     TEXT    NOT NULL DEFAULT '{}', -- JSON
  remote_id    TEXT,
  receipt      TEXT    NOT NULL DEFAULT '{}', -- JSON
  polls        BIGINT NOT NULL DEFAULT 0,
  decided_by   TEXT    NOT NULL DEFAULT '',
  decided_at   BIGINT  NOT NULL DEFAULT 0,
  UNIQUE (delivery_id, step, n)
);
CREATE UNIQUE INDEX attempt_one_open ON attempt(delivery_id, step) WHERE state IN ('armed','ambiguous');
CREATE UNIQUE INDEX attempt_one_ok ON attempt(delivery_id, step) WHERE state IN ('ok','adopted');
CREATE UNIQUE INDEX attempt_adopt_once ON attempt(account_id, remote_id) WHERE remote_id IS NOT NULL;
CREATE INDEX attempt_by_fp ON attempt(account_id, fp, armed_at);

CREATE TABLE checkpoint (
  delivery_id BIGINT  NOT NULL REFERENCES delivery(id),
  step        BIGINT NOT NULL,
  state       TEXT    NOT NULL,            -- JSON of the connector's own
  class       TEXT    NOT NULL DEFAULT '',
  req_hash    TEXT    NOT NULL DEFAULT '',
  expires_at  BIGINT  NOT NULL DEFAULT 0,
  PRIMARY KEY (delivery_id, step)
);

CREATE TABLE budget (
  key          TEXT    NOT NULL,
  window_start BIGINT  NOT NULL,
  used         BIGINT NOT NULL,
  PRIMARY KEY (key, window_start)
);

CREATE TABLE limit_block (
  bucket TEXT   PRIMARY KEY,
  until  BIGINT NOT NULL
);

CREATE TABLE outbox (
  id           BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL DEFAULT 0,
  kind         TEXT   NOT NULL,
  severity     TEXT   NOT NULL,
  delivery_id  BIGINT NOT NULL DEFAULT 0,
  account_id   BIGINT NOT NULL DEFAULT 0,
  text         TEXT   NOT NULL,
  created_at   BIGINT NOT NULL,
  sent_at      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX outbox_unsent ON outbox(id) WHERE sent_at = 0;

CREATE TABLE audit (
  id           BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL DEFAULT 0,
  at           BIGINT NOT NULL,
  actor        TEXT   NOT NULL,            -- "cli:root", "scheduler:NODE"
  action       TEXT   NOT NULL,            -- "post.create", "delivery.cancel" …
  subject      TEXT   NOT NULL DEFAULT '', -- id of what it was done to
  detail       TEXT   NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_by_time ON audit(workspace_id, at);

CREATE TABLE idempotency (
  key          TEXT   NOT NULL,
  actor        TEXT   NOT NULL,
  request_hash TEXT   NOT NULL,
  response     TEXT   NOT NULL,            -- JSON: status and body
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (actor, key)
);

-- +goose Down
-- Migrations only go forward.
SELECT 1;

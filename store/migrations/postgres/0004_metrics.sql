-- +goose Up
-- Numbers are what the network said: running totals as they were read. NULL
-- means that it said nothing, which is not zero. A day is a number of days
-- since 1970-01-01 in the account's own day zone.

-- Everything that is on an account's page, made by smi or not.
CREATE TABLE remote_post (
  id           BIGINT PRIMARY KEY,
  account_id   BIGINT NOT NULL REFERENCES account(id),
  remote_id    TEXT   NOT NULL,
  delivery_id  BIGINT NOT NULL DEFAULT 0,   -- 0: not made by smi
  step         BIGINT NOT NULL DEFAULT 0,  -- which part of the delivery
  parent_ref   TEXT   NOT NULL DEFAULT '',
  url          TEXT   NOT NULL DEFAULT '',
  excerpt      TEXT   NOT NULL DEFAULT '',
  kind         TEXT   NOT NULL DEFAULT 'text', -- text, image, gif, video, document, mixed
  receipt      TEXT   NOT NULL DEFAULT '{}',   -- JSON, what reading its numbers needs
  published_at BIGINT NOT NULL,
  first_seen   BIGINT NOT NULL,
  gone_at      BIGINT NOT NULL DEFAULT 0,
  UNIQUE (account_id, remote_id)
);
CREATE INDEX remote_post_recent ON remote_post(account_id, published_at);
CREATE INDEX remote_post_by_delivery ON remote_post(delivery_id) WHERE delivery_id <> 0;

-- What the network answered, compressed, with which of its names became which
-- of our metrics.
CREATE TABLE raw_answer (
  id          BIGINT PRIMARY KEY,
  account_id  BIGINT NOT NULL,
  run_id      BIGINT NOT NULL DEFAULT 0,
  op          TEXT   NOT NULL,
  api_version TEXT   NOT NULL DEFAULT '',
  at          BIGINT NOT NULL,
  names       TEXT   NOT NULL DEFAULT '{}', -- JSON: metric -> {"name":…,"window":…}
  body        BYTEA   NOT NULL               -- gzip
);
CREATE INDEX raw_answer_by_time ON raw_answer(account_id, at);

CREATE TABLE post_day (
  account_id   BIGINT  NOT NULL,
  day          BIGINT NOT NULL,
  post_id      BIGINT  NOT NULL,   -- remote_post.id
  amount       BOOLEAN NOT NULL,   -- FALSE: running total as read that day; TRUE: the amount of that day
  views BIGINT, reach BIGINT, participants BIGINT, likes BIGINT, comments BIGINT, shares BIGINT,
  quotes BIGINT, saves BIGINT, clicks BIGINT, watch_ms BIGINT,
  extra        TEXT    NOT NULL DEFAULT '',  -- JSON of metrics without a column
  raw_id       BIGINT  NOT NULL DEFAULT 0,   -- the answer that the row was last set from
  fetched_at   BIGINT  NOT NULL,
  PRIMARY KEY (account_id, day, post_id, amount)
);

CREATE TABLE account_day (
  account_id   BIGINT  NOT NULL,
  day          BIGINT NOT NULL,
  source       TEXT    NOT NULL CHECK (source IN ('network','posts')), -- said by the network, or rolled up from the posts' totals
  followers BIGINT, following BIGINT, posts BIGINT,
  views BIGINT, reach BIGINT, participants BIGINT, likes BIGINT, comments BIGINT, shares BIGINT,
  quotes BIGINT, saves BIGINT, clicks BIGINT, watch_ms BIGINT,
  extra        TEXT    NOT NULL DEFAULT '',
  raw_id       BIGINT  NOT NULL DEFAULT 0,
  fetched_at   BIGINT  NOT NULL,
  PRIMARY KEY (account_id, day, source)
);

CREATE TABLE sync_run (
  id          BIGINT PRIMARY KEY,
  account_id  BIGINT  NOT NULL REFERENCES account(id),
  local_date  BIGINT NOT NULL,             -- the night it is for, in the workspace's zone
  kind        TEXT    NOT NULL CHECK (kind IN ('nightly','manual')),
  state       TEXT    NOT NULL CHECK (state IN ('queued','running','partial','done','failed')),
  step        TEXT    NOT NULL DEFAULT '',  -- where it goes on: account, list, posts
  cursor      TEXT    NOT NULL DEFAULT '',
  tries       BIGINT NOT NULL DEFAULT 0,
  values_set  BIGINT NOT NULL DEFAULT 0,
  reason      TEXT    NOT NULL DEFAULT '',  -- for a person: why partial or failed
  resume_at   BIGINT  NOT NULL DEFAULT 0,
  created_at  BIGINT  NOT NULL,
  started_at  BIGINT  NOT NULL DEFAULT 0,
  finished_at BIGINT  NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX sync_run_once ON sync_run(account_id, local_date) WHERE kind = 'nightly';
CREATE INDEX sync_run_recent ON sync_run(account_id, created_at);

-- +goose Down
SELECT 1;

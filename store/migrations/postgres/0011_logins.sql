-- +goose Up
-- The end of a login that people were told of, and how near it was then. A new
-- login begins without a row.
CREATE TABLE login_end (
  account_id BIGINT  PRIMARY KEY REFERENCES account(id),
  ends_at    BIGINT  NOT NULL,
  days       INTEGER NOT NULL,           -- the last of 30, 14, 7, 3 and 1 that was told; 0: the end; 99: none yet
  posts      BOOLEAN NOT NULL,           -- it was told that posts are planned for later
  told_at    BIGINT  NOT NULL
);

-- When a login was tried last because posts are planned.
CREATE TABLE login_probe (
  account_id BIGINT  PRIMARY KEY REFERENCES account(id),
  asked_at   BIGINT  NOT NULL,
  told       BOOLEAN NOT NULL DEFAULT FALSE, -- people know that it does not work
  said       TEXT    NOT NULL DEFAULT ''     -- what was wrong; '' if nothing was
);

-- Whether people were told of a delivery, and who waits for a person.
CREATE INDEX outbox_of_delivery ON outbox(delivery_id) WHERE delivery_id <> 0;
CREATE INDEX delivery_asking ON delivery(planned_utc) WHERE state IN ('needs_human','held_late','blocked');

-- +goose Down
-- Migrations only go forward.
SELECT 1;

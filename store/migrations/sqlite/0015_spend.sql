-- +goose Up
-- What was spent at networks that are paid per use, in a calendar month (UTC).
CREATE TABLE spend (
  purse  TEXT    NOT NULL, -- connectors.Purse.Name
  month  BIGINT  NOT NULL, -- its first instant
  spent  BIGINT  NOT NULL, -- millionths of a US dollar
  PRIMARY KEY (purse, month)
);

-- +goose Down
-- Migrations only go forward.
SELECT 1;

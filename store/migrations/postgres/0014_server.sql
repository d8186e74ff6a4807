-- +goose Up
-- What an account's home server says of itself and takes, for networks of many
-- servers: JSON of the connector's own, '' where there is nothing to say.
ALTER TABLE account ADD COLUMN server TEXT NOT NULL DEFAULT '';

-- +goose Down
-- Migrations only go forward.
SELECT 1;

-- +goose Up
-- A handle that says "not done" while the request may still be on its way is
-- asked again before anything is decided on its word.
ALTER TABLE attempt ADD COLUMN early BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE attempt SET early = TRUE WHERE state = 'absent_by_handle' AND decided_at < send_by + 900000
  AND delivery_id IN (SELECT id FROM delivery WHERE state NOT IN ('published','failed','cancelled','skipped'));

-- +goose Down
-- Migrations only go forward.
SELECT 1;

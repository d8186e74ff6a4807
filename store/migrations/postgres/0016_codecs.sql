-- +goose Up
-- How picture and sound of a video are encoded; '' where it is not known, as of
-- all videos that came before.
ALTER TABLE media ADD COLUMN codec TEXT NOT NULL DEFAULT '';
ALTER TABLE media ADD COLUMN sound TEXT NOT NULL DEFAULT '';

-- +goose Down
-- Migrations only go forward.
SELECT 1;

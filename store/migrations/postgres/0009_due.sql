-- +goose Up
-- What a start and the due query look at must not grow with the past.
CREATE INDEX delivery_armed ON delivery(state) WHERE state = 'armed';
CREATE INDEX delivery_timeless ON delivery(next_at) WHERE next_at = 0 AND state IN ('scheduled','claimed','ready','waiting','armed','ambiguous');
CREATE INDEX delivery_waiting ON delivery(planned_utc) WHERE state IN ('scheduled','claimed','ready','waiting');

-- +goose Down
-- Migrations only go forward.
SELECT 1;

package store

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// What is asked at each start and each time something is due must not grow with
// the past: SQLite is to find it by an index, never by reading all deliveries or
// attempts.
func TestPlansDoNotGrowWithThePast(t *testing.T) {
	t.Parallel()
	s := open(t)
	whole := regexp.MustCompile(`^SCAN (d|delivery|a|t|attempt|r|sync_run|outbox|gap_delivery)( |$)`)
	for what, query := range map[string]string{
		"claim": given(fmt.Sprintf(claimSQL, sqlClaimable, "", sqlClaimable)),
		"what is held or free next": `SELECT min(CASE WHEN d.lease_until > d.next_at THEN d.lease_until ELSE d.next_at END)
			FROM delivery d WHERE d.owner <> '' AND +d.next_at > 0 AND d.state IN ` + sqlClaimable,
		"armed at start":         `SELECT id FROM delivery WHERE state = 'armed' AND (owner <> '' OR state = 'armed')`,
		"without a time":         `SELECT id FROM delivery WHERE next_at = 0 AND state IN ` + sqlClaimable,
		"claims of the last run": `SELECT id FROM delivery WHERE owner <> '' AND (owner <> '' OR state = 'armed')`,
		"missed while away": `SELECT d.id FROM delivery d WHERE d.planned_utc > 1 AND d.planned_utc <= 2 AND d.step = 0 AND d.state IN ` + sqlPublishing +
			` ORDER BY +d.workspace_id, d.planned_utc, d.id`,
		"planned in a zone": given(toComeSQL),
		"stock planned":     stockPlannedSQL,
		"stock due":         given(stockDueSQL),
		"stock asking":      stockAskingSQL,
		"stock attempts":    stockAttemptsSQL,
		"stock syncs":       stockSyncsSQL,
		"stock notices":     stockNoticesSQL,
		"stock failing":     stockFailingSQL,
		"stock flags":       given(stockFlagsSQL) + "0",
	} {
		for _, step := range plan(t, s, query) {
			if whole.MatchString(step) && !strings.Contains(step, "USING") {
				t.Errorf("%s reads everything: %s", what, step)
			}
			// An index over all deliveries is as long as they are.
			if strings.HasPrefix(step, "SCAN") && regexp.MustCompile(`USING (COVERING )?INDEX (delivery_by_\w+|sqlite_autoindex_(delivery|attempt|gap_delivery)_\d+|attempt_by_fp|sync_run_recent|gap_delivery_of|outbox_of_delivery)`).MatchString(step) {
				t.Errorf("%s goes through a whole index: %s", what, step)
			}
		}
	}
	// The rule bites: without its index this reads everything.
	if steps := plan(t, s, `SELECT id FROM delivery WHERE reason = 'x'`); len(steps) != 1 || !whole.MatchString(steps[0]) {
		t.Errorf("a query without an index is not told: %q", steps)
	}
}

// given puts numbers into the places of arguments.
func given(query string) string { return regexp.MustCompile(`\$(\d)`).ReplaceAllString(query, "$1") }

func plan(t *testing.T, s *Store, query string) []string {
	t.Helper()
	rows, err := s.read().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query)
	steps, err := collect(rows, err, func(row interface{ Scan(...any) error }) (string, error) {
		var id, parent, unused int
		var detail string
		err := row.Scan(&id, &parent, &unused, &detail)
		return detail, err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return steps
}

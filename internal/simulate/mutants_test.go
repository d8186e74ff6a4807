package simulate

import (
	"path/filepath"
	"testing"

	"smi/internal/mutant"
)

// mutants are programs that are wrong on purpose: swaps of text by file. Each
// even text must be there exactly once and is replaced by the one after it.
var mutants = []struct {
	name  string
	swaps map[string][]string
}{
	{"no intent: it is sent before it is written down", map[string][]string{"scheduler/publish.go": {
		"attempt, ok := t.arm()\n\tif !ok {\n\t\tcloseConn()\n\t\treturn false\n\t}\n", "attempt := Attempt{ID: t.cfg.IDs.New(t.cfg.Now()), ArmedAt: t.cfg.Now()}\n",
		"\tcrash.Point(\"after-answer\")\n", "\tcrash.Point(\"after-answer\")\n\tattempt, ok := t.arm()\n\tif !ok {\n\t\treturn false\n\t}\n",
		"shot := connectors.NewShot(attempt.ID, sendBy", "_ = closeConn\n\tshot := connectors.NewShot(attempt.ID, sendBy",
	}}},
	{"it is sent again by itself after an unclear answer", map[string][]string{"scheduler/decide.go": {
		"s.Reach == connectors.ReachWritten {\n\t\treturn check", "s.Reach == connectors.ReachWritten {\n\t\treturn Verdict{Do: DoRetry, After: time.Second, Attempt: AttemptRejected}",
	}}},
	{"who takes over sends again", map[string][]string{"store/ledger.go": {
		"SET state = 'ambiguous', decided_by", "SET state = 'not_sent', decided_by", "SET state = 'ambiguous', reason", "SET state = 'waiting', reason",
	}}},
	{"cancelling is possible while it is being sent", map[string][]string{"store/change.go": {
		"\tcase social.Armed, social.Ambiguous:\n\t\treturn social.Errorf(", "\tcase social.Armed, social.Ambiguous:\n\t\tif v.State == social.Armed {\n\t\t\treturn nil\n\t\t}\n\t\treturn social.Errorf(",
	}}},
	{"no fencing: an old epoch counts", map[string][]string{"store/move.go": {
		"case epoch != m.Epoch || !slices", "case !slices",
		"WHERE id = $11 AND epoch = $12 AND state", "WHERE id = $11 AND $12 >= 0 AND state",
	}}},
	{"a renewed login is used before it is stored", map[string][]string{"internal/credentials/keep.go": {
		"done, err := s.trySave(ctx, u)\n\tcrash", "go func() { <-time.After(time.Second); s.trySave(context.WithoutCancel(ctx), u) }()\n\tdone, err := true, error(nil)\n\tcrash",
	}}},
	{"a commit does not wait for the disk (synchronous=NORMAL)", map[string][]string{"store/db.go": {`synchronous = "FULL"`, `synchronous = "NORMAL"`}}},
	{"people are asked and answer before a post can have appeared", map[string][]string{
		"scheduler/decide.go": {"exhausted := s.Polls+1 >= Looks && s.Settled", "exhausted := true"},
		"store/change.go":     {"|| !v.NextAt.After(now) {", "|| v.NextAt.After(now) || true {"},
	}},
	{"arming does not look at the pause", map[string][]string{"store/arm.go": {
		"case g.pausedAll:", "case g.pausedAll && g.done:", "case g.pausedAccount:", "case g.pausedAccount && g.done:",
	}}},
	{"an edit keeps what was prepared of the old text", map[string][]string{"store/change.go": {
		"\t\tif _, err := tx.ExecContext(ctx, `DELETE FROM checkpoint WHERE delivery_id = $1`, int64(id)); err != nil {\n\t\t\treturn fmt.Errorf(\"dropping the preparation: %w\", err)\n\t\t}\n\t\tstate, next, err := s.replanned(ctx, tx, v, e.PlannedAt, e.NextAt)",
		"\t\tstate, next, err := s.replanned(ctx, tx, v, e.PlannedAt, e.NextAt)",
	}}},
}

// TestMutantsFit tells at once of a change by which one of them could not be made
// any more. They are built by the long proof only.
func TestMutantsFit(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		mutant.Overlay(t, filepath.Join("..", ".."), m.swaps)
	}
}

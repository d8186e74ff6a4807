package app_test

import (
	"context"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"smi/internal/app"
	"smi/internal/social"
)

// tally is a store that says how limits stand.
type tally struct {
	uses  []social.BudgetUse
	waits []social.LimitWait
}

func (y tally) LimitsNow(context.Context) ([]social.BudgetUse, []social.LimitWait, error) {
	return y.uses, y.waits, nil
}

// Of other workspaces' accounts nothing is shown, and what all accounts of an
// app share is.
func TestLimitsNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.join("ann")
	began := w.now.Truncate(time.Hour)
	use := func(who, endpoint string, used int) social.BudgetUse {
		return social.BudgetUse{BudgetStock: social.BudgetStock{Network: "fake", Endpoint: endpoint, Window: time.Hour, Used: used}, Who: who, Start: began}
	}
	until := w.now.Add(time.Minute)
	w.app.Limits = tally{
		uses: []social.BudgetUse{use(ann.RemoteID, "create", 7), use("app:", "create", 9), use("stranger", "create", 3), use(ann.RemoteID, "nothing known", 1)},
		waits: []social.LimitWait{
			{Bucket: "fake/account/" + ann.RemoteID + "/create", Until: until.Add(time.Hour)},
			{Bucket: "fake/account/" + ann.RemoteID, Until: until},
			{Bucket: "fake/app/read", Until: until.Add(time.Minute)},
			{Bucket: "fake/account/stranger", Until: until},
			{Bucket: "fake/account/" + ann.RemoteID + "x", Until: until},
		},
	}
	got, err := w.app.LimitsNow(t.Context(), w.owner)
	check(t, err)
	budget := func(account string, used int) app.BudgetState {
		return app.BudgetState{Network: "fake", Account: account, Endpoint: "create", Window: 3600, Used: used, Usable: 240, Limit: 300, Ends: began.Add(time.Hour)}
	}
	want := app.LimitsNow{
		Budgets: []app.BudgetState{budget("fake/ann", 7), budget("", 9)},
		Waits: []app.WaitState{
			{Network: "fake", Account: "fake/ann", Until: until},
			{Network: "fake", Endpoint: "read", Until: until.Add(time.Minute)},
			{Network: "fake", Account: "fake/ann", Endpoint: "create", Until: until.Add(time.Hour)},
		},
	}
	if d := diff.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := w.app.LimitsNow(t.Context(), app.Actor{}); social.CodeOf(err) != social.CodeForbidden {
		t.Errorf("for nobody: %v", err)
	}
}

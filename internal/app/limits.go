package app

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// Limits is what the app needs of the store about networks' limits.
type Limits interface {
	LimitsNow(context.Context) ([]social.BudgetUse, []social.LimitWait, error)
}

// BudgetState is how much of a network's limit is used, as smi counts it.
type BudgetState struct {
	Network  social.Network `json:"network"`
	Account  string         `json:"account,omitempty" doc:"network/handle; absent where all accounts of an app share it"`
	Endpoint string         `json:"endpoint" doc:"what is counted: create, read …"`
	Window   int64          `json:"window_s" doc:"seconds"`
	Used     int            `json:"used"`
	Usable   int            `json:"usable" doc:"what smi allows itself: a fifth of the limit is kept free"`
	Limit    int            `json:"limit" doc:"the network's own"`
	Ends     time.Time      `json:"ends_at" doc:"when the count begins anew"`
}

// WaitState is a wait that a network asked for: until then smi does not call it.
type WaitState struct {
	Network  social.Network `json:"network"`
	Account  string         `json:"account,omitempty" doc:"network/handle; absent where all accounts of an app wait"`
	Endpoint string         `json:"endpoint,omitempty" doc:"what waits; absent: everything"`
	Until    time.Time      `json:"until"`
}

// LimitsNow is how the networks' limits stand.
type LimitsNow struct {
	Budgets []BudgetState `json:"budgets"`
	Waits   []WaitState   `json:"waits"`
}

// LimitsNow says how the networks' limits stand for the accounts of the
// workspace, and for the apps they share with others.
func (a *App) LimitsNow(ctx context.Context, actor Actor) (LimitsNow, error) {
	out := LimitsNow{Budgets: []BudgetState{}, Waits: []WaitState{}}
	if err := a.may(actor, Read); err != nil {
		return out, err
	}
	accounts, err := a.Accounts.Accounts(ctx, actor.Workspace, false)
	if err != nil {
		return out, err
	}
	uses, waits, err := a.Limits.LimitsNow(ctx)
	if err != nil {
		return out, err
	}
	for _, u := range uses {
		b, known := a.budget(u)
		name, shared := whose(accounts, u.Network, u.Who), strings.HasPrefix(u.Who, "app:")
		if !known || name == "" && !shared {
			continue
		}
		out.Budgets = append(out.Budgets, BudgetState{
			Network: u.Network, Account: name, Endpoint: u.Endpoint, Window: int64(u.Window.Seconds()),
			Used: u.Used, Usable: scheduler.Usable(b), Limit: b.Limit, Ends: u.Start.Add(u.Window),
		})
	}
	for _, w := range waits {
		if s, ok := waitOf(accounts, w); ok {
			out.Waits = append(out.Waits, s)
		}
	}
	slices.SortStableFunc(out.Waits, func(x, y WaitState) int { return cmp.Or(cmp.Compare(x.Network, y.Network), x.Until.Compare(y.Until)) })
	return out, nil
}

// budget is the description of a budget that something was taken from.
func (a *App) budget(u social.BudgetUse) (connectors.Budget, bool) {
	for _, p := range a.Networks.All() {
		about := p.Describe()
		if about.Network != u.Network {
			continue
		}
		for _, b := range about.Budgets {
			if b.Endpoint == u.Endpoint && b.Window == u.Window {
				return b, true
			}
		}
	}
	return connectors.Budget{}, false
}

// whose is the name of the account with this remote id, "" if it is not among
// them.
func whose(accounts []social.Account, n social.Network, remote string) string {
	for _, acc := range accounts {
		if acc.Network == n && acc.RemoteID == remote {
			return AccountName(acc)
		}
	}
	return ""
}

// waitOf says what a bucket is. A remote id may hold slashes, so the accounts
// are tried.
func waitOf(accounts []social.Account, w social.LimitWait) (WaitState, bool) {
	network, rest, _ := strings.Cut(w.Bucket, "/")
	s := WaitState{Network: social.Network(network), Until: w.Until}
	if endpoint, ok := under(rest, "app"); ok {
		s.Endpoint = endpoint
		return s, true
	}
	for _, acc := range accounts {
		if endpoint, ok := under(rest, "account/"+acc.RemoteID); ok && acc.Network == s.Network {
			s.Account, s.Endpoint = AccountName(acc), endpoint
			return s, true
		}
	}
	return s, false
}

// under returns what follows prefix and a slash in name.
func under(name, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

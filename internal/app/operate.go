package app

import (
	"context"
	"io"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// MediaFile is a file on its way in.
type MediaFile struct {
	Name string // as its owner calls it; for people only
	Body io.Reader
}

// ImportMedia stores a file. The same bytes twice are one file.
func (a *App) ImportMedia(ctx context.Context, actor Actor, in MediaFile) (social.Media, error) {
	if err := a.may(actor, Write); err != nil {
		return social.Media{}, err
	}
	if len(in.Name) > 255 {
		in.Name = in.Name[:255]
	}
	return a.Media.Import(ctx, actor.Workspace, in)
}

// TranscodeMedia makes another video of a stored one: one that the network of an
// account takes, or, without an account, one that nearly every network takes.
// hash may be its first characters, twelve or more.
func (a *App) TranscodeMedia(ctx context.Context, actor Actor, hash, account string) (social.Media, error) {
	if err := a.may(actor, Write); err != nil {
		return social.Media{}, err
	}
	m, err := a.storedFile(ctx, actor, strings.ToLower(hash))
	if err != nil {
		return social.Media{}, err
	}
	if account == "" {
		return a.Media.Transcode(ctx, actor.Workspace, m, nil)
	}
	acc, err := a.FindAccount(ctx, actor, "account", account)
	if err != nil {
		return social.Media{}, err
	}
	client, err := a.Clients(ctx, acc)
	if err != nil {
		return social.Media{}, err
	}
	limits := client.Describe().Limits
	return a.Media.Transcode(ctx, actor.Workspace, m, &limits)
}

// storedFile finds a file by its hash or the beginning of it.
func (a *App) storedFile(ctx context.Context, actor Actor, hash string) (social.Media, error) {
	if len(hash) < 12 || len(hash) >= 64 {
		return a.Media.Get(ctx, actor.Workspace, hash)
	}
	all, err := a.Media.List(ctx, actor.Workspace, 500)
	if err != nil {
		return social.Media{}, err
	}
	var found []social.Media
	for _, m := range all {
		if strings.HasPrefix(m.Hash, hash) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return social.Media{}, social.Errorf(social.CodeNotFound, "hash", "there is no file %s…; see smi media list", hash)
	case 1:
		return found[0], nil
	}
	return social.Media{}, social.Errorf(social.CodeInvalid, "hash", "several files begin with %s; give more of the hash", hash)
}

// ListMedia returns stored files, the latest first.
func (a *App) ListMedia(ctx context.Context, actor Actor, limit int) ([]social.Media, error) {
	if err := a.may(actor, Read); err != nil {
		return nil, err
	}
	if limit <= 0 || limit > 500 {
		limit = 100
	}
	out, err := a.Media.List(ctx, actor.Workspace, limit)
	if out == nil {
		out = []social.Media{}
	}
	return out, err
}

// ListNotices returns what people were told, the latest first.
func (a *App) ListNotices(ctx context.Context, actor Actor, after string, limit int) ([]social.NoticeRecord, error) {
	if err := a.may(actor, Read); err != nil {
		return nil, err
	}
	var id social.ID
	if after != "" {
		var err error
		if id, err = social.ParseID(after); err != nil {
			return nil, social.Errorf(social.CodeInvalid, "after", "%s", err.Error())
		}
	}
	out, err := a.Posts.Notices(ctx, actor.Workspace, id, limit)
	if out == nil {
		out = []social.NoticeRecord{}
	}
	return out, err
}

// SyncNow starts reading the numbers of one account, or of all.
func (a *App) SyncNow(ctx context.Context, actor Actor, account string) ([]SyncRun, error) {
	if err := a.may(actor, Operate); err != nil {
		return nil, err
	}
	var id social.ID
	if account != "" {
		acc, err := a.FindAccount(ctx, actor, "account", account)
		if err != nil {
			return nil, err
		}
		id = acc.ID
	}
	if a.Syncs == nil {
		return nil, social.Errorf(social.CodeUnsupported, "", "this smi reads no numbers yet")
	}
	return a.named(ctx, actor)(a.Syncs.Now(ctx, actor.Workspace, id))
}

// SyncStatus returns the latest reading of each account, or those with these
// ids.
func (a *App) SyncStatus(ctx context.Context, actor Actor, ids ...social.ID) ([]SyncRun, error) {
	if err := a.may(actor, Read); err != nil {
		return nil, err
	}
	if a.Syncs == nil {
		return []SyncRun{}, nil
	}
	if len(ids) > 0 {
		return a.named(ctx, actor)(a.Syncs.ByID(ctx, actor.Workspace, ids))
	}
	return a.named(ctx, actor)(a.Syncs.Runs(ctx, actor.Workspace))
}

// named fills in how people call the accounts.
func (a *App) named(ctx context.Context, actor Actor) func([]SyncRun, error) ([]SyncRun, error) {
	return func(runs []SyncRun, err error) ([]SyncRun, error) {
		if err != nil {
			return nil, err
		}
		all, err := a.Accounts.Accounts(ctx, actor.Workspace, true)
		if err != nil {
			return nil, err
		}
		out := []SyncRun{}
		for _, r := range runs {
			for _, acc := range all {
				if acc.ID == r.Account {
					r.Name = AccountName(acc)
				}
			}
			out = append(out, r)
		}
		return out, nil
	}
}

// Capability is what smi can do on a network.
type Capability struct {
	Network social.Network    `json:"network"`
	Title   string            `json:"title"`
	Join    []string          `json:"join" doc:"ways to connect an account: oauth, form"`
	Ways    []string          `json:"ways" doc:"the same ways as people call them"`
	Verbs   connectors.Verbs  `json:"verbs"`
	Limits  connectors.Limits `json:"limits"`
	Metrics []social.Metric   `json:"metrics"`
	// Missing is what is not available, with the reason.
	Missing []connectors.Missing `json:"missing,omitempty" doc:"what people look for and an app cannot do there, with the reason"`
}

// Capabilities lists the networks, what smi can do on each, and their limits.
func (a *App) Capabilities(_ context.Context, actor Actor) ([]Capability, error) {
	if err := a.may(actor, Read); err != nil {
		return nil, err
	}
	out := []Capability{}
	for _, p := range a.Networks.All() {
		about := p.Describe()
		c := Capability{Network: about.Network, Title: about.Title, Limits: about.Limits, Metrics: about.Metrics, Missing: about.Missing, Join: []string{}, Ways: []string{}}
		join := connectors.JoinOf(p)
		if join.OAuth != nil {
			c.Join, c.Ways = append(c.Join, "oauth"), append(c.Ways, "browser (OAuth)")
		}
		if join.Form != nil {
			c.Join = append(c.Join, "form")
			for _, f := range join.Form.LoginFields() {
				if f.Secret {
					c.Ways = append(c.Ways, strings.ToLower(f.Label))
				}
			}
		}
		if client, err := connectors.Open(p, social.Account{Network: about.Network}, noCredentials{}); err == nil {
			c.Verbs = client.Verbs()
		}
		out = append(out, c)
	}
	return out, nil
}

// Check is one question of doctor.
type Check struct {
	Name string
	Run  func(context.Context) CheckResult
	// Full is Run for a person who has time; nil if there is no difference.
	Full func(context.Context) CheckResult
}

// Verdict is the end of a check.
type Verdict string

// The verdicts.
const (
	Fine    Verdict = "ok"
	Warning Verdict = "warning"
	Broken  Verdict = "broken"
)

// CheckResult is the answer to one question of doctor.
type CheckResult struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict" enum:"ok,warning,broken"`
	Text    string  `json:"text" doc:"what was found, and the cure"`
}

// Report is the answer of doctor.
type Report struct {
	OK     bool          `json:"ok" doc:"nothing is broken"`
	At     time.Time     `json:"at"`
	Checks []CheckResult `json:"checks"`
}

// Doctor runs all checks. With full they take the time that they take.
func (a *App) Doctor(ctx context.Context, actor Actor, full bool) (Report, error) {
	if err := a.may(actor, Read); err != nil {
		return Report{}, err
	}
	return Examine(ctx, a.Checks, full, a.Now()), nil
}

// Examine runs checks.
func Examine(ctx context.Context, checks []Check, full bool, now time.Time) Report {
	out := Report{OK: true, At: now.UTC(), Checks: []CheckResult{}}
	for _, c := range checks {
		run := c.Run
		if full && c.Full != nil {
			run = c.Full
		}
		r := run(ctx)
		r.Name = c.Name
		if r.Verdict == Broken {
			out.OK = false
		}
		out.Checks = append(out.Checks, r)
	}
	return out
}

// Status is the daemon at a glance.
type Status struct {
	Version    string                       `json:"version"`
	Node       string                       `json:"node"`
	Started    time.Time                    `json:"started_at"`
	Nodes      []social.Node                `json:"nodes,omitempty" doc:"the processes that use this database"`
	Workspace  social.Workspace             `json:"workspace"`
	Paused     bool                         `json:"paused" doc:"everything, by smi pause --all"`
	Quarantine *social.Quarantine           `json:"quarantine,omitempty" doc:"why nothing is sent, or only part of it, until it was looked up"`
	Clock      string                       `json:"clock,omitempty" doc:"what is wrong with the clock, and the cure"`
	Deliveries map[social.DeliveryState]int `json:"deliveries" doc:"how many are in each state"`
	NextDue    time.Time                    `json:"next_due,omitzero" doc:"planned time of the next post"`
	Notices    *TellingState                `json:"notices,omitempty" doc:"how people are told"`
	Spend      []Spending                   `json:"spend,omitempty" doc:"what was spent this month at networks that are paid per use"`
}

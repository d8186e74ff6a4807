package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// Changes is what the app needs of the store to change deliveries. All are
// compare-and-set: they answer CodeConflict where somebody or something was
// first, and then nothing was changed.
type Changes interface {
	Attempts(ctx context.Context, workspace, delivery social.ID) ([]scheduler.Attempt, error)
	CancelDelivery(ctx context.Context, workspace, id social.ID, actor string) (social.DeliveryState, error)
	RescheduleDelivery(ctx context.Context, workspace, id social.ID, ver int64, planned, next time.Time, actor string) error
	PublishLate(ctx context.Context, workspace, id social.ID, publish bool, actor string) error
	ResolveDelivery(ctx context.Context, workspace, id social.ID, answer social.Answer, r connectors.Receipt, actor string) error
	SetPaused(ctx context.Context, scope social.PauseScope, on bool, actor string) error
	Paused(ctx context.Context) (bool, error)
	Quarantine(ctx context.Context) (social.Quarantine, error)
	Nodes(ctx context.Context) ([]social.Node, error)
	Adopt(ctx context.Context, actor string) (social.Quarantine, error)
	CountDeliveries(ctx context.Context, workspace social.ID) (map[social.DeliveryState]int, time.Time, error)
}

// CancelResult says what a cancel stopped.
type CancelResult struct {
	Post      Post     `json:"post"`
	Cancelled int      `json:"cancelled" doc:"deliveries that will certainly not be published"`
	Before    int      `json:"before,omitempty" doc:"how many of these were cancelled before"`
	TooLate   int      `json:"too_late" doc:"deliveries that were being sent already"`
	Notes     []string `json:"notes"`
}

// CancelPost stops what has not been sent: the whole post, or its delivery on
// one account. It is an error only if nothing at all could be stopped; to cancel
// what is cancelled is none.
func (a *App) CancelPost(ctx context.Context, actor Actor, id, account string) (CancelResult, error) {
	if err := a.may(actor, Write); err != nil {
		return CancelResult{}, err
	}
	p, ds, err := a.meant(ctx, actor, id, account)
	if err != nil {
		return CancelResult{}, err
	}
	out := CancelResult{Notes: []string{}}
	var late error
	for _, d := range ds {
		if d.State.Final() && d.State != social.Cancelled && len(ds) > 1 {
			continue // of a whole post, what is over stays as it is
		}
		state, err := a.Changes.CancelDelivery(ctx, actor.Workspace, d.ID, actor.String())
		switch {
		case social.CodeOf(err) == social.CodeConflict:
			late = err
			out.TooLate++
			out.Notes = append(out.Notes, sentence(err))
		case err != nil:
			return out, err
		default:
			out.Cancelled++
			if d.State == social.Cancelled {
				out.Before++
			}
			if state == social.Published {
				out.Notes = append(out.Notes, "the parts that are published already stay; the rest was stopped")
			}
		}
	}
	switch {
	case out.Cancelled == 0 && late != nil:
		return out, late
	case out.Cancelled == 0:
		return out, social.Errorf(social.CodeConflict, "id", "there is nothing to cancel: this post is %s", statusOf(p))
	}
	a.Wake()
	out.Post, err = a.GetPost(ctx, actor, p.Post.ID.String())
	return out, err
}

// Decision is what a person says of a delivery that does not go on by itself.
type Decision struct {
	Account string     `json:"account,omitempty" doc:"which delivery, where the post has several that wait"`
	Answer  string     `json:"answer,omitempty" enum:"found,resend,drop,publish,skip,plan" doc:"outcome unknown: found (with ref), resend or drop; held because it is late: publish or skip; failed or skipped: plan (with plan, else now). May be left out for failed and skipped ones only: they are published now"`
	Ref     string     `json:"ref,omitempty" doc:"for found: the post's address or id on the network"`
	Force   bool       `json:"force,omitempty" doc:"for found: take it although its text differs"`
	Plan    *PlanInput `json:"plan,omitempty" doc:"for plan: when"`
}

// Decide carries out a person's decision about one delivery.
func (a *App) Decide(ctx context.Context, actor Actor, id string, in Decision) (Post, error) {
	if err := a.may(actor, Write); err != nil {
		return Post{}, err
	}
	p, ds, err := a.meant(ctx, actor, id, in.Account)
	if err != nil {
		return Post{}, err
	}
	fit := slices.DeleteFunc(slices.Clone(ds), func(d social.Delivery) bool { return !decidable(d, in.Answer) })
	switch {
	case len(fit) > 1:
		return Post{}, social.Errorf(social.CodeInvalid, "account", "%d deliveries of this post wait for a decision; name the account of one", len(fit))
	case len(fit) == 0:
		var states []string
		for _, d := range ds {
			states = append(states, string(d.State))
		}
		return Post{}, social.Errorf(social.CodeConflict, "id", "there is nothing to decide: it is %s, and %q does not apply", list(states, "empty"), cmp.Or(in.Answer, "publish now"))
	}
	d := fit[0]
	if err := a.decide(ctx, actor, p, d, in); err != nil {
		return Post{}, err
	}
	a.Wake()
	return a.GetPost(ctx, actor, p.Post.ID.String())
}

// decidable says whether an answer can be given for a delivery.
func decidable(d social.Delivery, answer string) bool {
	switch d.State {
	case social.NeedsHuman:
		return answer == "" || answer == "found" || answer == "resend" || answer == "drop"
	case social.HeldLate:
		return answer == "" || answer == "publish" || answer == "skip" || answer == "plan"
	case social.Failed, social.Skipped:
		return answer == "" || answer == "plan"
	case social.Scheduled, social.Claimed, social.Ready, social.Waiting, social.Blocked:
		return answer == "plan"
	case social.Armed, social.Ambiguous, social.Published, social.Cancelled:
	}
	return false
}

func (a *App) decide(ctx context.Context, actor Actor, p social.PlannedPost, d social.Delivery, in Decision) error {
	switch d.State {
	case social.NeedsHuman:
		switch in.Answer {
		case "found":
			r, err := a.readBack(ctx, actor, d, in)
			if err != nil {
				return err
			}
			return a.Changes.ResolveDelivery(ctx, actor.Workspace, d.ID, social.AnswerThere, r, actor.String())
		case "resend":
			return a.Changes.ResolveDelivery(ctx, actor.Workspace, d.ID, social.AnswerAgain, connectors.Receipt{}, actor.String())
		case "drop":
			return a.Changes.ResolveDelivery(ctx, actor.Workspace, d.ID, social.AnswerDrop, connectors.Receipt{}, actor.String())
		}
		return social.Errorf(social.CodeInvalid, "answer", "smi does not know whether it is on the network; look there, then answer found (with its address), resend or drop")
	case social.HeldLate:
		if in.Answer == "" {
			return social.Errorf(social.CodeInvalid, "answer", "it is held because its time has passed, and nothing is done without your word; answer publish (now), skip, or plan (another time)")
		}
		if in.Answer != "plan" {
			return a.Changes.PublishLate(ctx, actor.Workspace, d.ID, in.Answer != "skip", actor.String())
		}
	}
	return a.reschedule(ctx, actor, p, d, in.Plan)
}

// readBack reads the post that a person says is theirs from the network.
func (a *App) readBack(ctx context.Context, actor Actor, d social.Delivery, in Decision) (connectors.Receipt, error) {
	if in.Ref == "" {
		return connectors.Receipt{}, social.Errorf(social.CodeInvalid, "ref", "name the post that is there, by its address or its id")
	}
	acc, err := a.Accounts.Account(ctx, actor.Workspace, d.AccountID)
	if err != nil {
		return connectors.Receipt{}, err
	}
	client, err := a.Clients(ctx, acc)
	if err != nil {
		return connectors.Receipt{}, remote("ref", err)
	}
	c, err := client.Get(ctx, in.Ref)
	if err != nil {
		return connectors.Receipt{}, remote("ref", err)
	}
	if d.Step < len(d.Parts) && !in.Force {
		part := &d.Parts[d.Step]
		if c.Fingerprint != "" && d.Step == 0 && c.Fingerprint != client.Fingerprint(part, d.ParentRef) {
			return c.Receipt, social.Errorf(social.CodeInvalid, "ref", "the post there says %q, which is not the planned text; look again, or use force if it is this one all the same", c.Excerpt)
		}
	}
	return c.Receipt, nil
}

func (a *App) reschedule(ctx context.Context, actor Actor, p social.PlannedPost, d social.Delivery, plan *PlanInput) error {
	ws, err := a.workspace(ctx, actor)
	if err != nil {
		return err
	}
	if plan == nil {
		plan = &PlanInput{Now: true}
	}
	when, err := planned(*plan, cmp.Or(p.Post.Planned.Zone, ws.Zone), a.Now())
	if err != nil {
		return err
	}
	acc, err := a.Accounts.Account(ctx, actor.Workspace, d.AccountID)
	if err != nil {
		return err
	}
	client, err := a.checker(acc)
	if err != nil {
		return err
	}
	return a.Changes.RescheduleDelivery(ctx, actor.Workspace, d.ID, d.Ver, when.UTC, a.firstLook(client, when.UTC), actor.String())
}

// EditInput changes a post that has not been sent. What is left out stays.
type EditInput struct {
	Rev         int         `json:"rev" doc:"of the post that you saw; another one now is a conflict"`
	Parts       []PartInput `json:"parts,omitempty"`
	Overrides   []Override  `json:"overrides,omitempty" doc:"only with parts: edited parts replace all former differences"`
	Plan        *PlanInput  `json:"plan,omitempty"`
	Tags        *[]string   `json:"tags,omitempty"`
	AllowRepeat bool        `json:"allow_repeat,omitempty"`
}

// EditPost changes text, media, tags or time of everything in a post that has
// not been sent. It fails as a whole if something of it is being sent.
func (a *App) EditPost(ctx context.Context, actor Actor, id string, in EditInput) (Created, error) {
	if err := a.may(actor, Write); err != nil {
		return Created{}, err
	}
	p, _, err := a.find(ctx, actor, id)
	if err != nil {
		return Created{}, err
	}
	if in.Rev != p.Post.Rev {
		return Created{}, social.Errorf(social.CodeConflict, "rev", "this post was changed meanwhile (it is at revision %d); look at it again", p.Post.Rev)
	}
	if len(in.Overrides) > 0 && len(in.Parts) == 0 {
		return Created{}, social.Errorf(social.CodeInvalid, "overrides", "give the parts as well: what differs is said against them")
	}
	open := slices.DeleteFunc(latest(p.Deliveries), func(d social.Delivery) bool { return d.State.Final() })
	if len(open) == 0 {
		return Created{}, social.Errorf(social.CodeConflict, "id", "this post is %s; there is nothing left to change", statusOf(p))
	}
	full := PostInput{
		Overrides: in.Overrides, Tags: p.Post.Tags, AllowRepeat: in.AllowRepeat, Parts: in.Parts,
		Plan: PlanInput{At: p.Post.Planned.UTC.Format(time.RFC3339Nano), Zone: p.Post.Planned.Zone},
	}
	if in.Tags != nil {
		full.Tags = *in.Tags
	}
	for _, d := range open {
		full.Accounts = append(full.Accounts, d.AccountID.String())
		full.AllowRepeat = full.AllowRepeat || d.AllowRepeat
	}
	if in.Plan != nil {
		full.Plan = *in.Plan
		full.Plan.Zone = cmp.Or(in.Plan.Zone, p.Post.Planned.Zone)
	}
	if len(in.Parts) == 0 {
		full.Parts = inputOf(p.Post.Parts)
		for _, d := range open {
			if !sameWords(d.Parts, p.Post.Parts) {
				full.Overrides = append(full.Overrides, Override{Account: d.AccountID.String(), Parts: inputOf(d.Parts)})
			}
		}
	}
	d, err := a.compose(ctx, actor, full, composing{now: a.Now(), edit: p.Post.ID})
	if err != nil {
		return Created{}, err
	}
	d.plan.Post.ID, d.plan.Post.Rev = p.Post.ID, p.Post.Rev
	for i := range d.plan.Deliveries {
		del := &d.plan.Deliveries[i]
		for _, old := range open {
			if old.AccountID == del.AccountID {
				del.ID, del.Ver, del.NotAfter, del.LatePolicy = old.ID, old.Ver, old.NotAfter, old.LatePolicy
			}
		}
	}
	stored, err := a.Posts.EditPost(ctx, d.plan, actor.String())
	if err != nil {
		return Created{}, err
	}
	a.Wake()
	post, err := a.showPost(ctx, actor, stored, nil)
	return Created{Post: post, Notes: d.notes, Findings: d.findings}, err
}

// inputOf is what an author would write to get these parts.
func inputOf(parts []social.Part) []PartInput {
	out := make([]PartInput, 0, len(parts))
	ref := func(m social.Media) MediaRef { return MediaRef{Hash: m.Hash, Alt: m.Alt} }
	for _, p := range parts {
		in := PartInput{Role: p.Role, Text: p.Text, Langs: p.Langs, Options: p.Options}
		for _, m := range p.Media {
			in.Media = append(in.Media, ref(m))
		}
		if p.Link != nil {
			in.Link = &LinkInput{URL: p.Link.URL, Title: p.Link.Title, Description: p.Link.Description}
			if p.Link.Thumb != nil {
				t := ref(*p.Link.Thumb)
				in.Link.Thumb = &t
			}
		}
		out = append(out, in)
	}
	return out
}

// PauseInput says what to pause or resume: exactly one field, or none for the
// workspace.
type PauseInput struct {
	Account string `json:"account,omitempty" doc:"this account only"`
	All     bool   `json:"all,omitempty" doc:"every workspace"`
}

// PauseResult says what is paused now.
type PauseResult struct {
	Scope  string `json:"scope" doc:"all, workspace or the account's name"`
	Paused bool   `json:"paused"`
	Text   string `json:"text"`
}

// SetPaused stops publishing, or lets it go on. It counts from the next post on:
// what is on the wire is finished.
func (a *App) SetPaused(ctx context.Context, actor Actor, in PauseInput, on bool) (PauseResult, error) {
	if err := a.may(actor, Operate); err != nil {
		return PauseResult{}, err
	}
	if in.Account != "" && in.All {
		return PauseResult{}, social.Errorf(social.CodeInvalid, "all", "name an account or all, not both")
	}
	out := PauseResult{Scope: "workspace", Paused: on}
	scope := social.PauseScope{Workspace: actor.Workspace}
	switch {
	case in.All:
		out.Scope, scope = "all", social.PauseScope{}
	case in.Account != "":
		acc, err := a.FindAccount(ctx, actor, "account", in.Account)
		if err != nil {
			return out, err
		}
		out.Scope, scope.Account = AccountName(acc), acc.ID
	}
	if err := a.Changes.SetPaused(ctx, scope, on, actor.String()); err != nil {
		return out, err
	}
	what := map[string]string{"all": "everything", "workspace": "this workspace"}[out.Scope]
	out.Text = fmt.Sprintf("%s is paused: nothing more of it is sent until smi resume", cmp.Or(what, out.Scope))
	if !on {
		out.Text = fmt.Sprintf("%s goes on; posts whose time passed meanwhile follow the rule for late posts", cmp.Or(what, out.Scope))
		a.Wake()
	}
	return out, nil
}

// Status returns the daemon at a glance.
func (a *App) Status(ctx context.Context, actor Actor) (Status, error) {
	if err := a.may(actor, Read); err != nil {
		return Status{}, err
	}
	ws, err := a.workspace(ctx, actor)
	if err != nil {
		return Status{}, err
	}
	out := Status{Version: a.Version, Node: a.Node, Started: a.Started, Workspace: ws}
	if out.Paused, err = a.Changes.Paused(ctx); err != nil {
		return out, err
	}
	q, err := a.Changes.Quarantine(ctx)
	if err != nil {
		return out, err
	}
	if q.Open() {
		out.Quarantine = &q
	}
	if out.Nodes, err = a.Changes.Nodes(ctx); err != nil {
		return out, err
	}
	if a.Telling != nil {
		t, err := a.Telling.State(ctx)
		if err != nil {
			return out, err
		}
		out.Notices = &t
	}
	if a.Clock != nil {
		out.Clock = a.Clock.State().Text
	}
	if out.Spend, err = a.spending(ctx); err != nil {
		return out, err
	}
	out.Deliveries, out.NextDue, err = a.Changes.CountDeliveries(ctx, actor.Workspace)
	return out, err
}

package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"smi/connectors"
	"smi/internal/social"
)

// MediaRef is a stored file as it is used in a post.
type MediaRef struct {
	Hash string `json:"hash" doc:"of a file that was imported before"`
	Alt  string `json:"alt,omitempty" doc:"what it shows, for people who cannot see it"`
}

// LinkInput is a link card.
type LinkInput struct {
	URL         string    `json:"url"`
	Title       string    `json:"title,omitempty"`
	Description string    `json:"description,omitempty"`
	Thumb       *MediaRef `json:"thumb,omitempty"`
}

// PartInput is one part of a post as its author writes it.
type PartInput struct {
	Role    social.PartRole   `json:"role,omitempty" enum:"body,thread,comment" doc:"the first part is the body; others are thread items unless they say comment"`
	Text    string            `json:"text,omitempty"`
	Langs   []string          `json:"langs,omitempty" doc:"languages of the text (BCP 47)"`
	Link    *LinkInput        `json:"link,omitempty"`
	Media   []MediaRef        `json:"media,omitempty"`
	Options map[string]string `json:"options,omitempty" doc:"the network's own options; see capabilities. A name such as mastodon.visibility is for that network alone"`
}

// PlanInput says when. Exactly one of At, In and Now is given.
type PlanInput struct {
	At   string `json:"at,omitempty" doc:"wall-clock time (2026-11-24T09:00) in zone, or with an offset (2026-11-24T09:00:00+01:00)"`
	Zone string `json:"zone,omitempty" doc:"IANA time zone; the workspace's if empty"`
	In   string `json:"in,omitempty" doc:"from now on, such as 10m or 2h30m"`
	Now  bool   `json:"now,omitempty" doc:"as soon as possible"`
}

// Override is what differs on one account.
type Override struct {
	Account string      `json:"account" doc:"one of the post's accounts"`
	Text    *string     `json:"text,omitempty" doc:"instead of the body's text"`
	Media   *[]MediaRef `json:"media,omitempty" doc:"instead of the body's media; empty for none"`
	Parts   []PartInput `json:"parts,omitempty" doc:"instead of all parts"`
}

// PostInput is a post to be planned.
type PostInput struct {
	Accounts    []string          `json:"accounts" doc:"ids, handles or network/handle"`
	Parts       []PartInput       `json:"parts"`
	Overrides   []Override        `json:"overrides,omitempty"`
	Plan        PlanInput         `json:"plan"`
	Tags        []string          `json:"tags,omitempty"`
	LatePolicy  social.LatePolicy `json:"late_policy,omitempty" enum:"ask,publish,skip" doc:"what to do when more than the grace time late; ask if empty"`
	NotAfter    string            `json:"not_after,omitempty" doc:"never publish after this time (with offset, or in the plan's zone)"`
	AllowRepeat bool              `json:"allow_repeat,omitempty" doc:"the same text may appear twice on an account within 24 hours"`
	CheckOnly   bool              `json:"check_only,omitempty" doc:"say what is wrong and plan nothing"`
}

// Finding is something to say about a post before it is planned.
type Finding struct {
	Account string `json:"account,omitempty"`
	social.Problem
}

// RefusedError is a post that cannot be planned as it is: every reason, not
// the first one only.
type RefusedError struct {
	Findings []Finding
	Missing  bool // nothing is wrong but that accounts it names do not exist
}

// Code is CodeInvalid, or CodeNotFound if all that is wrong is a missing account.
func (e *RefusedError) Code() social.Code {
	if e.Missing {
		return social.CodeNotFound
	}
	return social.CodeInvalid
}

func (e *RefusedError) Error() string {
	var lines []string
	for _, f := range e.Findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// String is a finding in one line.
func (f Finding) String() string {
	s := f.Text
	if f.Field != "" {
		s = f.Field + ": " + s
	}
	if f.Account != "" {
		s = f.Account + ": " + s
	}
	return s
}

// As makes a *social.Error of it, for callers that look for the code.
func (e *RefusedError) As(target any) bool {
	t, ok := target.(**social.Error)
	if !ok || len(e.Findings) == 0 {
		return false
	}
	*t = &social.Error{Code: e.Code(), Field: e.Findings[0].Field, Text: e.Findings[0].Text}
	return true
}

// maxAccounts and maxParts bound what one request can make.
const (
	maxAccounts = 200
	maxParts    = 100
	maxTags     = 50
)

// Created is a planned post and what its author should know.
type Created struct {
	Post     Post      `json:"post"`
	Notes    []string  `json:"notes" doc:"what had to be decided: a clock change, a repeated request"`
	Findings []Finding `json:"findings" doc:"what will be changed on the way, and advice"`
	Replayed bool      `json:"replayed,omitempty" doc:"this is the answer to an earlier request with the same key"`
}

// CreatePost plans a post. key is the caller's idempotency key, "" for none.
func (a *App) CreatePost(ctx context.Context, actor Actor, in PostInput, key string) (Created, error) {
	if err := a.may(actor, Write); err != nil {
		return Created{}, err
	}
	once, err := onceOf(actor, key, in)
	if err != nil {
		return Created{}, err
	}
	// The key comes first: a repetition must get its answer although its time has
	// passed meanwhile or its text is there already (its own).
	if once.Key != "" && !in.CheckOnly {
		old, found, err := a.Posts.Recall(ctx, actor.Workspace, once)
		if err != nil {
			return Created{}, err
		}
		if found {
			return a.replayed(ctx, actor, old)
		}
	}
	d, err := a.compose(ctx, actor, in, composing{now: a.Now()})
	if err != nil {
		return Created{}, err
	}
	if in.Plan.Now {
		note, err := a.pauseNote(ctx, actor)
		if err != nil {
			return Created{}, err
		}
		d.notes = append(d.notes, note...)
	}
	if in.CheckOnly {
		d.plan.Post.Planned.UTC = d.when.UTC
		post, err := a.showPost(ctx, actor, d.plan, nil)
		return Created{Post: post, Notes: d.notes, Findings: d.findings}, err
	}
	stored, replayed, err := a.Posts.CreatePost(ctx, d.plan, actor.String(), once)
	if err != nil {
		return Created{}, err
	}
	if replayed {
		return a.replayed(ctx, actor, stored)
	}
	a.Wake()
	post, err := a.showPost(ctx, actor, stored, nil)
	return Created{Post: post, Notes: d.notes, Findings: d.findings}, err
}

// pauseNote is what the author of a post for now should know while publishing
// is paused.
func (a *App) pauseNote(ctx context.Context, actor Actor) ([]string, error) {
	ws, err := a.workspace(ctx, actor)
	if err != nil {
		return nil, err
	}
	all, err := a.Changes.Paused(ctx)
	if err != nil {
		return nil, err
	}
	if q, err := a.Changes.Quarantine(ctx); err != nil || q.Open() && q.Stops {
		return []string{"smi is in quarantine; it goes out after smi adopt"}, err
	}
	switch {
	case all:
		return []string{"publishing is paused; it goes out after smi resume --all"}, nil
	case ws.Paused:
		return []string{"publishing is paused; it goes out after smi resume"}, nil
	}
	return nil, nil
}

func (a *App) replayed(ctx context.Context, actor Actor, p social.PlannedPost) (Created, error) {
	post, err := a.showPost(ctx, actor, p, nil)
	return Created{Post: post, Notes: []string{"this request was made before with the same key; nothing was planned twice"}, Findings: []Finding{}, Replayed: true}, err
}

func onceOf(actor Actor, key string, in any) (social.Once, error) {
	if key == "" {
		return social.Once{}, nil
	}
	if len(key) > 200 {
		return social.Once{}, social.Errorf(social.CodeInvalid, "Idempotency-Key", "the key has %d bytes; use 200 at most", len(key))
	}
	b, err := json.Marshal(in)
	if err != nil {
		return social.Once{}, fmt.Errorf("hashing the request: %w", err)
	}
	sum := sha256.Sum256(b)
	return social.Once{Key: key, Actor: actor.Workspace.String() + "/" + actor.String(), RequestHash: hex.EncodeToString(sum[:])}, nil
}

// draft is a composed post before it is stored.
type draft struct {
	plan     social.PlannedPost
	when     social.When
	notes    []string
	findings []Finding
}

// composing says what is being composed.
type composing struct {
	now  time.Time
	edit social.ID // the post that is being changed; its own deliveries are no repetition
}

// compose validates a post to the last field and builds what will be stored.
// It changes nothing. What is wrong comes back all at once.
func (a *App) compose(ctx context.Context, actor Actor, in PostInput, c composing) (*draft, error) {
	ws, err := a.workspace(ctx, actor)
	if err != nil {
		return nil, err
	}
	d := &draft{notes: []string{}, findings: []Finding{}}
	refuse := func(account, field, format string, args ...any) {
		d.findings = append(d.findings, Finding{Account: account, Problem: social.Problem{Field: field, Severity: social.Refused, Text: fmt.Sprintf(format, args...)}})
	}
	keep := func(account string, err error) error { // of the author, else an error
		if e := asSocial(err); e != nil && e.Code != social.CodeInternal {
			d.findings = append(d.findings, Finding{Account: account, Problem: social.Problem{Field: e.Field, Severity: social.Refused, Text: e.Text}})
			return nil
		}
		return err
	}

	d.when, err = planned(in.Plan, ws.Zone, c.now)
	if err := keep("", err); err != nil {
		return nil, err
	}
	if d.when.Note != "" {
		d.notes = append(d.notes, d.when.Note)
	}
	var notAfter time.Time
	if in.NotAfter != "" && !d.when.UTC.IsZero() {
		w, err := social.Plan(in.NotAfter, d.when.Zone)
		switch {
		case err != nil:
			refuse("", "not_after", "%s", sentence(err))
		case !w.UTC.After(d.when.UTC):
			refuse("", "not_after", "%s is not after the planned time; choose a later one or leave it out", in.NotAfter)
		default:
			notAfter = w.UTC
		}
	}
	switch in.LatePolicy {
	case "", social.LateAsk, social.LatePublish, social.LateSkip:
	default:
		refuse("", "late_policy", "%q is not known; use ask, publish or skip", in.LatePolicy)
	}
	if len(in.Tags) > maxTags {
		refuse("", "tags", "there are %d tags; %d is the most", len(in.Tags), maxTags)
	}
	if len(in.Parts) > maxParts {
		return nil, social.Errorf(social.CodeInvalid, "parts", "there are %d parts; %d is the most", len(in.Parts), maxParts)
	}

	accounts, err := a.accountsOf(ctx, actor, in, refuse)
	if err != nil {
		return nil, err
	}
	parts, err := a.parts(ctx, actor, "parts", in.Parts)
	if err := keep("", err); err != nil {
		return nil, err
	}
	overrides := map[social.ID]Override{}
	for i, o := range in.Overrides {
		field := fmt.Sprintf("overrides[%d]", i)
		acc, err := pickAccount(accounts, field+".account", o.Account)
		if err != nil {
			refuse("", field+".account", "%q is not one of the accounts of this post", o.Account)
			continue
		}
		if _, twice := overrides[acc.ID]; twice {
			refuse("", field+".account", "%s is named in two overrides; put them together", AccountName(acc))
		}
		overrides[acc.ID] = o
	}

	state := social.PostApproved
	d.plan.Post = social.Post{WorkspaceID: actor.Workspace, State: state, Parts: parts, Planned: d.when, Tags: in.Tags}
	for _, acc := range accounts {
		if len(parts) == 0 && len(overrides[acc.ID].Parts) == 0 {
			continue // said already
		}
		own, err := a.partsFor(ctx, actor, acc, parts, overrides)
		if err := keep(AccountName(acc), err); err != nil {
			return nil, err
		}
		own = a.forNetwork(acc.Network, own, len(overrides[acc.ID].Parts) > 0)
		del, err := a.delivery(ctx, actor, in, c, d, acc, own)
		if err != nil {
			return nil, err
		}
		del.NotAfter = notAfter
		d.plan.Deliveries = append(d.plan.Deliveries, del)
	}
	if slices.ContainsFunc(d.findings, func(f Finding) bool { return f.Severity == social.Refused }) {
		refused := slices.DeleteFunc(d.findings, func(f Finding) bool { return f.Severity != social.Refused })
		missing := !slices.ContainsFunc(refused, func(f Finding) bool { return !strings.HasPrefix(f.Text, noAccount) })
		return nil, &RefusedError{Findings: refused, Missing: missing}
	}
	return d, nil
}

// asSocial returns the first social.Error in err's chain, nil if there is none.
func asSocial(err error) *social.Error {
	e, _ := errors.AsType[*social.Error](err)
	return e
}

// pastAllowed is how far in the past a planned time may be: whoever typed it
// meant now.
const pastAllowed = time.Minute

// planned turns what the author said into an instant.
func planned(p PlanInput, zone string, now time.Time) (social.When, error) {
	given := 0
	for _, b := range []bool{p.At != "", p.In != "", p.Now} {
		if b {
			given++
		}
	}
	if given != 1 {
		return social.When{}, social.Errorf(social.CodeInvalid, "plan", "say when: exactly one of at, in and now")
	}
	zone = cmp.Or(p.Zone, zone)
	loc, err := social.LoadZone(zone)
	if err != nil {
		e := asSocial(err)
		return social.When{}, social.Errorf(e.Code, "plan.zone", "%s", e.Text)
	}
	instant := func(at time.Time) social.When {
		at = at.Truncate(time.Millisecond)
		return social.When{Local: at.In(loc).Format("2006-01-02T15:04:05"), Zone: zone, UTC: at.UTC()}
	}
	switch {
	case p.Now:
		return instant(now), nil
	case p.In != "":
		d, err := time.ParseDuration(p.In)
		if err != nil || d < 0 {
			return social.When{}, social.Errorf(social.CodeInvalid, "plan.in", "%q is not a length of time; write it as 10m, 2h30m or 45s", p.In)
		}
		return instant(now.Add(d)), nil
	}
	w, err := social.Plan(p.At, zone)
	if err != nil {
		return social.When{}, social.Errorf(social.CodeInvalid, "plan.at", "%s", asSocial(err).Text)
	}
	if late := now.Sub(w.UTC); late > pastAllowed {
		return social.When{}, social.Errorf(social.CodeInvalid, "plan.at", "%s in %s is %s in the past; choose a later time, or publish now", p.At, zone, roughly(late))
	}
	if w.UTC.After(now.AddDate(10, 0, 0)) {
		return social.When{}, social.Errorf(social.CodeInvalid, "plan.at", "%s is more than ten years ahead; check the year", p.At)
	}
	return w, nil
}

// roughly writes a length of time as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// accountsOf finds the accounts of a post. What is wrong is refused; only a
// failure of the store is an error.
func (a *App) accountsOf(ctx context.Context, actor Actor, in PostInput, refuse func(account, field, format string, args ...any)) ([]social.Account, error) {
	all, err := a.Accounts.Accounts(ctx, actor.Workspace, false)
	if err != nil {
		return nil, err
	}
	if len(in.Accounts) == 0 {
		_, err := pickAccount(all, "accounts", "")
		refuse("", "accounts", "%s", sentence(err))
	}
	if len(in.Accounts) > maxAccounts {
		return nil, social.Errorf(social.CodeInvalid, "accounts", "there are %d accounts; %d is the most for one post", len(in.Accounts), maxAccounts)
	}
	var out []social.Account
	for i, name := range in.Accounts {
		field := fmt.Sprintf("accounts[%d]", i)
		acc, err := pickAccount(all, field, name)
		switch {
		case err != nil:
			refuse("", field, "%s", sentence(err))
		case slices.ContainsFunc(out, func(b social.Account) bool { return b.ID == acc.ID }):
			refuse("", field, "%s is named twice; name each account once", AccountName(acc))
		case acc.Status != social.AccountConnected:
			refuse("", field, "%s cannot publish: %s; connect it again with smi accounts reconnect %s", AccountName(acc), cmp.Or(acc.StatusReason, string(acc.Status)), AccountName(acc))
		default:
			out = append(out, acc)
		}
	}
	return out, nil
}

// parts builds parts from what the author wrote. Media must be stored already.
func (a *App) parts(ctx context.Context, actor Actor, field string, in []PartInput) ([]social.Part, error) {
	if len(in) == 0 {
		return nil, social.Errorf(social.CodeInvalid, field, "a post needs a text or a picture")
	}
	out := make([]social.Part, 0, len(in))
	for i, p := range in {
		at := fmt.Sprintf("%s[%d]", field, i)
		part := social.Part{Role: p.Role, Text: norm.NFC.String(p.Text), Langs: p.Langs, Options: p.Options}
		if part.Role == "" {
			part.Role = social.RoleThread
			if i == 0 {
				part.Role = social.RoleBody
			}
		}
		if p.Link != nil {
			part.Link = &social.LinkCard{URL: p.Link.URL, Title: p.Link.Title, Description: p.Link.Description}
			if p.Link.Thumb != nil {
				m, err := a.media(ctx, actor, at+".link.thumb", *p.Link.Thumb)
				if err != nil {
					return nil, err
				}
				part.Link.Thumb = &m
			}
		}
		for j, ref := range p.Media {
			m, err := a.media(ctx, actor, fmt.Sprintf("%s.media[%d]", at, j), ref)
			if err != nil {
				return nil, err
			}
			part.Media = append(part.Media, m)
		}
		if strings.TrimSpace(part.Text) == "" && len(part.Media) == 0 && part.Link == nil {
			return nil, social.Errorf(social.CodeInvalid, at+".text", "this part says nothing; write a text or add a picture")
		}
		out = append(out, part)
	}
	return out, nil
}

func (a *App) media(ctx context.Context, actor Actor, field string, ref MediaRef) (social.Media, error) {
	m, err := a.Media.Get(ctx, actor.Workspace, strings.ToLower(ref.Hash))
	if err != nil {
		if e := asSocial(err); e != nil && e.Code == social.CodeNotFound {
			return m, social.Errorf(social.CodeInvalid, field, "%s", e.Text)
		}
		return m, err
	}
	m.Alt = norm.NFC.String(ref.Alt)
	return m, nil
}

// partsFor returns the parts as they are said on one account.
func (a *App) partsFor(ctx context.Context, actor Actor, acc social.Account, common []social.Part, overrides map[social.ID]Override) ([]social.Part, error) {
	o, ok := overrides[acc.ID]
	if !ok {
		return slices.Clone(common), nil
	}
	if len(o.Parts) > 0 {
		if o.Text != nil || o.Media != nil {
			return nil, social.Errorf(social.CodeInvalid, "overrides", "give either parts or text and media")
		}
		return a.parts(ctx, actor, "overrides.parts", o.Parts)
	}
	own := slices.Clone(common)
	if len(own) == 0 {
		return nil, nil
	}
	body := own[0]
	if o.Text != nil {
		body.Text = norm.NFC.String(*o.Text)
	}
	if o.Media != nil {
		body.Media = nil
		for j, ref := range *o.Media {
			m, err := a.media(ctx, actor, fmt.Sprintf("overrides.media[%d]", j), ref)
			if err != nil {
				return nil, err
			}
			body.Media = append(body.Media, m)
		}
	}
	own[0] = body
	return own, nil
}

// forNetwork keeps of parts that were written for all accounts what concerns
// this network: options that are another's, and languages where none are kept
// with a post, are left out. own says that the parts were written for this
// account alone; then nothing is left out in silence but others' options.
func (a *App) forNetwork(n social.Network, parts []social.Part, own bool) []social.Part {
	langs, networks := own, []social.Network{}
	for _, p := range a.Networks.All() {
		about := p.Describe()
		networks = append(networks, about.Network)
		langs = langs || about.Network == n && about.Limits.Langs > 0
	}
	out := slices.Clone(parts)
	for i := range out {
		if !langs {
			out[i].Langs = nil
		}
		var options map[string]string
		for k, v := range out[i].Options {
			whose, name, named := strings.Cut(k, ".")
			switch {
			case named && social.Network(whose) == n:
				k = name
			case named && slices.Contains(networks, social.Network(whose)):
				continue
			}
			if options == nil {
				options = map[string]string{}
			}
			options[k] = v
		}
		out[i].Options = options
	}
	return out
}

// delivery builds the delivery of one account: fits the media, asks the
// connector what is wrong, and looks for the same text nearby.
func (a *App) delivery(ctx context.Context, actor Actor, in PostInput, c composing, d *draft, acc social.Account, parts []social.Part) (social.Delivery, error) {
	client, err := a.checker(acc)
	if err != nil {
		return social.Delivery{}, err
	}
	name := AccountName(acc)
	problems := client.Check(parts)
	// Only what passed is converted: fitting is costly, and a fifth picture
	// would be refused anyhow. What cannot be fitted is said by Check as well, but
	// not what would cure it here.
	if len(social.Refusals(problems)) > 0 {
		// A file that is only too large for the network may be made smaller.
		fitted, err := a.fit(ctx, actor, client, parts)
		switch e := asSocial(err); {
		case err == nil:
			parts = fitted
			problems = client.Check(parts)
		case e != nil && e.Code == social.CodeInvalid:
			problems = append(problems, social.Problem{Field: e.Field, Text: e.Text, Severity: social.Refused})
		}
	} else if parts, err = a.fit(ctx, actor, client, parts); err != nil {
		if e := asSocial(err); e == nil || e.Code == social.CodeInternal {
			return social.Delivery{}, err
		}
		e := asSocial(err)
		problems = append(problems, social.Problem{Field: e.Field, Text: e.Text, Severity: social.Refused})
	}
	missing, err := a.optionFiles(ctx, actor, client.Describe().Limits.Options, parts)
	if err != nil {
		return social.Delivery{}, err
	}
	for _, p := range missing {
		if !slices.ContainsFunc(problems, func(said social.Problem) bool { return said.Field == p.Field && said.Severity == social.Refused }) {
			problems = append(problems, p)
		}
	}
	for _, p := range problems {
		d.findings = append(d.findings, Finding{Account: name, Problem: p})
	}
	if err := a.price(ctx, d, client, parts); err != nil {
		return social.Delivery{}, err
	}
	if len(parts) > 0 && !d.when.UTC.IsZero() {
		if err := a.repeats(ctx, actor, in, c, d, client, parts); err != nil {
			return social.Delivery{}, err
		}
	}
	return social.Delivery{
		WorkspaceID: actor.Workspace, AccountID: acc.ID, Kind: social.KindPost, Parts: parts, PlannedAt: d.when.UTC,
		LatePolicy: cmp.Or(in.LatePolicy, a.LatePolicy()), AllowRepeat: in.AllowRepeat, State: social.Scheduled,
		NextAt: a.firstLook(client, d.when.UTC),
	}, nil
}

// optionFiles says what is wrong with the stored files that options name: one
// that is not there, or another workspace's, would be left out when it is too
// late.
func (a *App) optionFiles(ctx context.Context, actor Actor, docs []connectors.OptionDoc, parts []social.Part) ([]social.Problem, error) {
	var out []social.Problem
	for i, p := range parts {
		for _, doc := range docs {
			hash, field := p.Options[doc.Key], fmt.Sprintf("parts[%d].options.%s", i, doc.Key)
			if doc.File.Support == connectors.No || hash == "" {
				continue
			}
			m, err := a.media(ctx, actor, field, MediaRef{Hash: hash})
			if e := asSocial(err); e != nil && e.Code == social.CodeInvalid {
				out = append(out, social.Problem{Field: field, Text: e.Text, Severity: social.Refused})
				continue
			}
			if err != nil {
				return nil, err
			}
			if !slices.Contains(doc.File.MIME, m.MIME) {
				out = append(out, social.Problem{Field: field, Severity: social.Refused, Text: fmt.Sprintf("the file is %s; this takes %s", m.MIME, strings.Join(doc.File.MIME, ", "))})
			}
			if m.Bytes > doc.File.Bytes {
				out = append(out, social.Problem{
					Field: field, Severity: social.Refused, Limit: doc.File.Bytes, Value: m.Bytes,
					Text: fmt.Sprintf("the file has %d bytes; this takes %d", m.Bytes, doc.File.Bytes),
				})
			}
		}
	}
	return out, nil
}

// fit makes the media of all parts follow the network's rules.
func (a *App) fit(ctx context.Context, actor Actor, client *connectors.Client, parts []social.Part) ([]social.Part, error) {
	limits := client.Describe().Limits
	out := slices.Clone(parts)
	for i := range out {
		out[i].Media = slices.Clone(out[i].Media)
		for j, m := range out[i].Media {
			f, err := a.Media.Fit(ctx, actor.Workspace, m, limits)
			if err != nil {
				if e := asSocial(err); e != nil && e.Code != social.CodeInternal {
					return parts, social.Errorf(e.Code, fmt.Sprintf("parts[%d].media[%d]", i, j), "%s", e.Text)
				}
				return parts, err
			}
			f.Alt, f.Name = m.Alt, m.Name
			out[i].Media[j] = f
		}
		if l := out[i].Link; l != nil && l.Thumb != nil {
			card := *l
			thumb, err := a.Media.Fit(ctx, actor.Workspace, *l.Thumb, limits)
			if err != nil {
				return parts, err
			}
			card.Thumb = &thumb
			out[i].Link = &card
		}
	}
	return out, nil
}

// repeatWindow is how near the same text counts as a repetition.
const repeatWindow = 24 * time.Hour

// repeats refuses the same body on the same account within a day, unless the
// author said that it is meant.
func (a *App) repeats(ctx context.Context, actor Actor, in PostInput, c composing, d *draft, client *connectors.Client, parts []social.Part) error {
	if in.AllowRepeat {
		return nil
	}
	acc := client.Account()
	near, err := a.Posts.NearDeliveries(ctx, actor.Workspace, acc.ID, d.when.UTC.Add(-repeatWindow), d.when.UTC.Add(repeatWindow))
	if err != nil {
		return err
	}
	own := client.Fingerprint(&parts[0], "")
	for _, other := range near {
		if other.PostID == c.edit && c.edit != 0 || len(other.Parts) == 0 || client.Fingerprint(&other.Parts[0], other.ParentRef) != own {
			continue
		}
		d.findings = append(d.findings, Finding{Account: AccountName(acc), Problem: social.Problem{
			Field: "allow_repeat", Severity: social.Refused,
			Text: fmt.Sprintf("the same text is planned or published there at %s (post %s); change it, or allow the repetition", showTime(other.PlannedAt, d.when.Zone), other.PostID),
		}})
		return nil
	}
	return nil
}

// showTime writes an instant for a person in a zone.
func showTime(at time.Time, zone string) string {
	loc, err := social.LoadZone(zone)
	if err != nil {
		loc = time.UTC
	}
	return at.In(loc).Format("2006-01-02 15:04:05 MST")
}

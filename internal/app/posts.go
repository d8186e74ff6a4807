package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// Post is a post as it is shown.
type Post struct {
	ID         social.ID     `json:"id"`
	Status     string        `json:"status" doc:"draft, in_review, changes_requested, scheduled, waiting, publishing, attention, published, partly_published, failed, cancelled or skipped"`
	Rev        int           `json:"rev"`
	Planned    social.When   `json:"planned"`
	Parts      []social.Part `json:"parts"`
	Tags       []string      `json:"tags"`
	Deliveries []Delivery    `json:"deliveries"`
	CreatedAt  time.Time     `json:"created_at,omitzero"`
	UpdatedAt  time.Time     `json:"updated_at,omitzero"`
}

// Delivery is one post on one account as it is shown.
type Delivery struct {
	ID          social.ID            `json:"id,omitempty"`
	Account     social.ID            `json:"account"`
	AccountName string               `json:"account_name"`
	Occurrence  int                  `json:"occurrence"`
	State       social.DeliveryState `json:"state"`
	Reason      string               `json:"reason,omitempty" doc:"why it is in this state, and what to do"`
	PlannedAt   time.Time            `json:"planned_at"`
	NotAfter    time.Time            `json:"not_after,omitzero"`
	LatePolicy  social.LatePolicy    `json:"late_policy"`
	NextAt      time.Time            `json:"next_at,omitzero" doc:"when smi looks at it next"`
	RemoteID    string               `json:"remote_id,omitempty"`
	URL         string               `json:"url,omitempty"`
	PublishedAt time.Time            `json:"published_at,omitzero"`
	LateMS      *int64               `json:"late_ms,omitempty" doc:"first byte sent to the network minus the planned time, in milliseconds"`
	CancelLate  bool                 `json:"cancel_came_too_late,omitempty"`
	PartsDone   int                  `json:"parts_done"`
	PartsTotal  int                  `json:"parts_total"`
	Own         []social.Part        `json:"parts,omitempty" doc:"what is said on this account, where it differs from the post"`
	Attempts    []Attempt            `json:"attempts,omitempty" doc:"with the post alone, not in lists"`
	Numbers     []PartNumbers        `json:"numbers,omitempty" doc:"the latest numbers of its parts; with the post alone, not in lists"`
}

// Attempt is one try to publish a part, with what is known of it.
type Attempt struct {
	Part      int                    `json:"part" doc:"from 0"`
	N         int                    `json:"n"`
	State     scheduler.AttemptState `json:"state"`
	ArmedAt   time.Time              `json:"armed_at"`
	Node      string                 `json:"node"`
	Evidence  scheduler.Evidence     `json:"evidence"`
	RemoteID  string                 `json:"remote_id,omitempty"`
	URL       string                 `json:"url,omitempty"`
	DecidedBy string                 `json:"decided_by,omitempty"`
	DecidedAt time.Time              `json:"decided_at,omitzero"`
}

// statusOf derives the word a post is shown with. What needs a person comes
// first, then what is moving, then what waits, then how it ended.
func statusOf(p social.PlannedPost) string {
	if p.Post.State != social.PostApproved {
		return string(p.Post.State)
	}
	n := map[string]int{}
	for _, d := range latest(p.Deliveries) {
		switch d.State {
		case social.NeedsHuman, social.HeldLate, social.Blocked:
			n["attention"]++
		case social.Claimed, social.Ready, social.Armed, social.Ambiguous:
			n["publishing"]++
		case social.Waiting:
			n["waiting"]++
		case social.Scheduled:
			n["scheduled"]++
		case social.Published, social.Failed, social.Cancelled, social.Skipped:
			n[string(d.State)]++
		}
	}
	for _, s := range []string{"attention", "publishing", "waiting", "scheduled"} {
		if n[s] > 0 {
			return s
		}
	}
	switch {
	case n["published"] > 0 && len(n) > 1:
		return "partly_published"
	case n["failed"] > 0:
		return "failed"
	case n["published"] > 0:
		return "published"
	case n["skipped"] > 0:
		return "skipped"
	case n["cancelled"] > 0:
		return "cancelled"
	}
	return string(social.PostDraft)
}

// latest leaves out deliveries that were planned again.
func latest(ds []social.Delivery) []social.Delivery {
	last := map[social.ID]int{}
	for _, d := range ds {
		last[d.AccountID] = max(last[d.AccountID], d.Occurrence)
	}
	return slices.DeleteFunc(slices.Clone(ds), func(d social.Delivery) bool { return d.Occurrence < last[d.AccountID] })
}

// showPost builds the view of a post. attempts may be nil.
func (a *App) showPost(ctx context.Context, actor Actor, p social.PlannedPost, attempts map[social.ID][]scheduler.Attempt) (Post, error) {
	out, err := a.showPosts(ctx, actor, []social.PlannedPost{p})
	if err != nil {
		return Post{}, err
	}
	post := out[0]
	for i := range post.Deliveries {
		d := &post.Deliveries[i]
		for _, at := range attempts[d.ID] {
			d.Attempts = append(d.Attempts, Attempt{
				Part: at.Step, N: at.N, State: at.State, ArmedAt: at.ArmedAt, Node: at.Node, Evidence: at.Evidence,
				RemoteID: at.Receipt.RemoteID, URL: at.Receipt.URL, DecidedBy: at.DecidedBy, DecidedAt: at.DecidedAt,
			})
			if at.Step == 0 && (at.State == scheduler.AttemptOK || at.State == scheduler.AttemptAdopted) && !at.Evidence.FirstByte.IsZero() {
				late := at.Evidence.FirstByte.Sub(d.PlannedAt).Milliseconds()
				d.LateMS = &late
			}
		}
	}
	return post, nil
}

func (a *App) showPosts(ctx context.Context, actor Actor, ps []social.PlannedPost) ([]Post, error) {
	accounts, err := a.Accounts.Accounts(ctx, actor.Workspace, true)
	if err != nil {
		return nil, err
	}
	names := map[social.ID]string{}
	for _, acc := range accounts {
		names[acc.ID] = AccountName(acc)
	}
	out := make([]Post, 0, len(ps))
	for _, p := range ps {
		v := Post{
			ID: p.Post.ID, Status: statusOf(p), Rev: p.Post.Rev, Planned: p.Post.Planned, Parts: p.Post.Parts, Tags: p.Post.Tags,
			CreatedAt: p.Post.CreatedAt, UpdatedAt: p.Post.UpdatedAt, Deliveries: []Delivery{},
		}
		if v.Tags == nil {
			v.Tags = []string{}
		}
		for _, d := range p.Deliveries {
			w := Delivery{
				ID: d.ID, Account: d.AccountID, AccountName: names[d.AccountID], Occurrence: d.Occurrence, State: d.State, Reason: d.Reason,
				PlannedAt: d.PlannedAt, NotAfter: d.NotAfter, LatePolicy: d.LatePolicy, NextAt: d.NextAt, RemoteID: d.RemoteID, URL: d.RemoteURL,
				PublishedAt: d.PublishedAt, CancelLate: d.Cancel, PartsDone: d.Step, PartsTotal: len(d.Parts),
			}
			if d.State == social.Published {
				w.PartsDone = w.PartsTotal
			}
			if !sameWords(d.Parts, p.Post.Parts) {
				w.Own = d.Parts
			}
			v.Deliveries = append(v.Deliveries, w)
		}
		out = append(out, v)
	}
	return out, nil
}

// sameWords says whether parts say the same, although media may have been made
// to fit.
func sameWords(x, y []social.Part) bool {
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i].Text != y[i].Text || x[i].Role != y[i].Role || len(x[i].Media) != len(y[i].Media) {
			return false
		}
		for j := range x[i].Media {
			if x[i].Media[j].Name != y[i].Media[j].Name {
				return false
			}
		}
	}
	return true
}

// PostQuery asks for a page of posts.
type PostQuery struct {
	Account   string
	States    []social.DeliveryState // or attention and publishing, which stand for several
	Tag       string
	From, To  time.Time
	Ascending bool
	After     string
	Limit     int
}

// PostList is a page of posts.
type PostList struct {
	Posts []Post `json:"posts"`
	Next  string `json:"next,omitempty" doc:"give it as after to get the next page"`
}

// ListPosts returns posts by planned time.
func (a *App) ListPosts(ctx context.Context, actor Actor, q PostQuery) (PostList, error) {
	if err := a.may(actor, Read); err != nil {
		return PostList{}, err
	}
	var err error
	f := social.PostFilter{Tag: q.Tag, From: q.From, To: q.To, Ascending: q.Ascending, After: q.After, Limit: q.Limit}
	if f.States, err = statesOf(q.States); err != nil {
		return PostList{}, err
	}
	if q.Account != "" {
		acc, err := a.FindAccount(ctx, actor, "account", q.Account)
		if err != nil {
			return PostList{}, err
		}
		f.Account = acc.ID
	}
	page, err := a.Posts.Posts(ctx, actor.Workspace, f)
	if err != nil {
		return PostList{}, err
	}
	posts, err := a.showPosts(ctx, actor, page.Posts)
	return PostList{Posts: posts, Next: page.Next}, err
}

// The words of statusOf that stand for several states. A list can be asked for
// them as for a state.
var stateGroups = map[social.DeliveryState][]social.DeliveryState{
	"attention":  {social.NeedsHuman, social.HeldLate, social.Blocked},
	"publishing": {social.Claimed, social.Ready, social.Armed, social.Ambiguous},
}

// statesOf puts the states of a group in its place.
func statesOf(asked []social.DeliveryState) ([]social.DeliveryState, error) {
	var out []social.DeliveryState
	for _, s := range asked {
		switch {
		case stateGroups[s] != nil:
			out = append(out, stateGroups[s]...)
		case slices.Contains(social.DeliveryStates, s):
			out = append(out, s)
		default:
			return nil, social.Errorf(social.CodeInvalid, "state", "%q is no state; the states are %s", s, stateNames())
		}
	}
	return out, nil
}

func stateNames() string {
	out := []string{"attention (needs_human, held_late, blocked)", "publishing (claimed, ready, armed, ambiguous)"}
	for _, s := range social.DeliveryStates {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

// find returns the post that an id names: its own or that of one of its
// deliveries, which is then returned too.
func (a *App) find(ctx context.Context, actor Actor, id string) (social.PlannedPost, social.ID, error) {
	n, err := social.ParseID(strings.TrimSpace(id))
	if err != nil {
		return social.PlannedPost{}, 0, social.Errorf(social.CodeNotFound, "id", "there is no such post: %s; smi post list shows the ids", err.Error())
	}
	p, err := a.Posts.Post(ctx, actor.Workspace, n)
	if social.CodeOf(err) == social.CodeNotFound {
		p, err = a.Posts.PostOfDelivery(ctx, actor.Workspace, n)
		return p, n, err
	}
	return p, 0, err
}

// GetPost returns a post with all its attempts. id is the post's or one of its
// deliveries'.
func (a *App) GetPost(ctx context.Context, actor Actor, id string) (Post, error) {
	if err := a.may(actor, Read); err != nil {
		return Post{}, err
	}
	p, _, err := a.find(ctx, actor, id)
	if err != nil {
		return Post{}, err
	}
	attempts := map[social.ID][]scheduler.Attempt{}
	for _, d := range p.Deliveries {
		if attempts[d.ID], err = a.Changes.Attempts(ctx, actor.Workspace, d.ID); err != nil {
			return Post{}, err
		}
	}
	post, err := a.showPost(ctx, actor, p, attempts)
	if err != nil || a.Figures == nil {
		return post, err
	}
	numbers, err := a.Figures.OfPost(ctx, actor.Workspace, p.Post.ID)
	for _, n := range numbers {
		for i := range post.Deliveries {
			if post.Deliveries[i].ID == n.Delivery {
				post.Deliveries[i].Numbers = append(post.Deliveries[i].Numbers, n)
			}
		}
	}
	return post, err
}

// meant returns a post and those of its deliveries that a person means: the one
// named by its own id, the one on an account, or all.
func (a *App) meant(ctx context.Context, actor Actor, id, account string) (social.PlannedPost, []social.Delivery, error) {
	p, own, err := a.find(ctx, actor, id)
	if err != nil {
		return p, nil, err
	}
	if own != 0 {
		return p, slices.DeleteFunc(slices.Clone(p.Deliveries), func(d social.Delivery) bool { return d.ID != own }), nil
	}
	ds := latest(p.Deliveries)
	if account == "" {
		return p, ds, nil
	}
	acc, err := a.FindAccount(ctx, actor, "account", account)
	if err != nil {
		return p, nil, err
	}
	ds = slices.DeleteFunc(ds, func(d social.Delivery) bool { return d.AccountID != acc.ID })
	if len(ds) == 0 {
		return p, nil, social.Errorf(social.CodeNotFound, "account", "this post is not for %s", AccountName(acc))
	}
	return p, ds, nil
}

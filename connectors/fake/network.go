package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"sync"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Options say what kind of network it is. The zero value of everything but Now
// is usable.
type Options struct {
	Network social.Network   // "fake"
	Title   string           // "Fake"
	Now     func() time.Time // the only clock; needed
	Class   connectors.Class // of commits: Unkeyed (the default) or Keyed; accounts may differ
	// Describe may change the description, limits included, before it is used.
	Describe func(*connectors.Description)

	TokenLife   time.Duration // how long an access token lives; 0: for ever
	Rotates     bool          // a refresh kills the old refresh token
	StrictReuse bool          // using a dead refresh token kills the whole grant
	NoForm      bool          // LoginFields is empty: joining by browser only

	HandleLife  time.Duration // how long a prepared handle can be committed; 0: 24 h
	ProcessTime time.Duration // how long the network works on media after the upload
	ConfirmTime time.Duration // how long a commit stays pending; 0: visible at once
	PageSize    int           // of listings and batches of numbers; 0: 10
	Mangle      bool          // the network changes text in storing it as some do: entities, spaces
	NoRepeats   bool          // the same text within 24 h is refused with a 403
	// Play chooses what happens to the nth call of an operation that has no
	// script, from 1; account is "" where the operation belongs to none. May be nil.
	// It must not call the network.
	Play func(account string, op Op, nth int) Fault
}

// Network is the server. All methods are safe for concurrent use.
type Network struct {
	o     Options
	about connectors.Description

	mu       sync.Mutex
	seq      int
	accounts map[string]*account
	grants   map[string]*grant // by access and by refresh token
	codes    map[string]*code
	handles  map[string]*handle
	journal  []Post
	parked   []parkedPost
	reused   int   // dead refresh tokens that were used
	shared   knobs // of calls that have no account: login, exchange, refresh, accounts, revoke
}

var (
	_ connectors.Platform      = (*Network)(nil)
	_ connectors.OAuth         = (*Network)(nil)
	_ connectors.FormLogin     = (*Network)(nil)
	_ connectors.AccountLister = (*Network)(nil)
	_ connectors.Revoker       = (*Network)(nil)
)

// Post is the truth about one effect on the network: something that became
// visible. Removing it does not take it out of the journal.
type Post struct {
	RemoteID    string
	URL         string
	Account     string // remote id
	Text        string // as the network shows it
	Parent      string // remote id it answers, or ""
	Root        string // remote id of the body it belongs to, or ""
	Media       []social.MediaKind
	At          time.Time // when it became, or will become, visible
	Delivery    social.ID // zero for posts nobody delivered
	Step        int
	Attempt     social.ID // of the Shot that made it
	RequestHash string    // of the bytes that made it
	Removed     bool

	counts map[social.Metric]int64
	seq    int
}

// handle is a prepared post that has an id of its own before it is public.
type handle struct {
	account string
	draft   draft
	expires time.Time
	dead    bool
	post    string // remote id once published
}

type parkedPost struct {
	at   time.Time
	make func(at time.Time)
}

type account struct {
	profile  social.Profile
	owner    string
	password string
	scopes   map[string]bool // withheld
	disabled bool
	class    connectors.Class
	stale    time.Duration
	loop     bool
	hidden   map[social.Metric]bool
	counts   map[social.Metric]int64
	knobs
}

// knobs are what tests turn: scripts, latency, counters of calls.
type knobs struct {
	script  map[Op][]Fault
	always  map[Op]Fault
	latency map[Op]time.Duration
	calls   map[Op]int
	fired   int
	play    func(op Op, nth int) Fault
}

// played are knobs whose faults Options.Play chooses, if there is one.
func (n *Network) played(account string) (k knobs) {
	if play := n.o.Play; play != nil {
		k.play = func(op Op, nth int) Fault { return play(account, op, nth) }
	}
	return k
}

// New returns an empty network. It panics without Options.Now: a forgotten
// clock would make tests depend on the wall.
func New(o Options) *Network {
	if o.Now == nil {
		panic("fake.New: Options.Now is needed")
	}
	if o.Network == "" {
		o.Network = "fake"
	}
	if o.Title == "" {
		o.Title = "Fake"
	}
	if o.Class == "" {
		o.Class = connectors.Unkeyed
	}
	if o.HandleLife == 0 {
		o.HandleLife = 24 * time.Hour
	}
	if o.PageSize == 0 {
		o.PageSize = 10
	}
	n := &Network{
		o:        o,
		accounts: map[string]*account{},
		grants:   map[string]*grant{},
		codes:    map[string]*code{},
		handles:  map[string]*handle{},
	}
	n.about = describe(o)
	if o.Describe != nil {
		o.Describe(&n.about)
	}
	n.shared = n.played("")
	return n
}

// Maker returns a maker whose platform is this network, for code that starts
// from a registry. The Env is not used: the network has its own clock.
func (n *Network) Maker() connectors.Maker {
	return connectors.Maker{
		Network:   n.o.Network,
		Title:     n.o.Title,
		NewConfig: func() any { return new(struct{}) },
		New:       func(any, connectors.Env) (connectors.Platform, error) { return n, nil },
	}
}

func describe(o Options) connectors.Description {
	return connectors.Description{
		Network: o.Network,
		Title:   o.Title,
		Limits: connectors.Limits{
			Text:       connectors.TextLimit{Unit: connectors.Graphemes, Max: 300, Bytes: 3000},
			Image:      connectors.MediaLimit{Support: connectors.OK, Max: 4, Bytes: 1 << 20, MIME: []string{"image/jpeg", "image/png"}, MaxSide: 2000, AltMax: 1000},
			GIF:        connectors.MediaLimit{Support: connectors.Lossy, Max: 1, Bytes: 1 << 20, MIME: []string{"image/gif"}, AltMax: 1000, Note: "only the first picture is shown"},
			Video:      connectors.MediaLimit{Support: connectors.OK, Max: 1, Bytes: 2 << 20, MIME: []string{"video/mp4"}, MaxDuration: time.Minute, AltMax: 1000},
			MediaTotal: 4,
			Link:       connectors.OK,
			Thread:     24,
			Comment:    5,
			Langs:      3,
			Options: []connectors.OptionDoc{
				{Key: "reply_control", Values: []string{"everyone", "nobody"}, Doc: "who may answer"},
				{Key: "cover", Doc: "picture in front: the hash of a stored file", File: connectors.MediaLimit{Support: connectors.OK, Max: 1, Bytes: 10, MIME: []string{"image/png"}}},
			},
		},
		Metrics:     []social.Metric{social.Views, social.Likes, social.Comments, social.Shares, social.Followers, social.Posts},
		Budgets:     []connectors.Budget{{Endpoint: "create", Window: time.Hour, Limit: 300, Cost: 1}},
		SendTime:    10 * time.Second,
		CommitTime:  30 * time.Second,
		FindSettles: 15 * time.Minute,
		StageAhead:  15 * time.Minute,
		LookBack:    30 * 24 * time.Hour,
		Docs:        "docs/networks/fake.md",
	}
}

// Describe implements connectors.Platform.
func (n *Network) Describe() connectors.Description { return n.about }

// Dial implements connectors.Platform.
func (n *Network) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	if c == nil {
		return nil, &connectors.Error{Kind: connectors.Unsupported, Op: "dial", Text: "an account cannot be opened without credentials"}
	}
	return &conn{net: n, acct: a, creds: c}, nil
}

// next takes the next fault of a call from the script.
func (k *knobs) next(op Op) (Fault, time.Duration) {
	if k.calls == nil {
		k.calls = map[Op]int{}
	}
	k.calls[op]++
	f, ok := k.always[op]
	if q := k.script[op]; len(q) > 0 {
		f, ok = q[0], true
		k.script[op] = q[1:]
	}
	if !ok && k.play != nil {
		f = k.play(op, k.calls[op])
		ok = true
	}
	if ok && !f.none() {
		k.fired++
	}
	return f, k.latency[op]
}

// settle makes the parked posts whose time has come visible. The lock is held.
func (n *Network) settle() time.Time {
	now := n.o.Now()
	sort.SliceStable(n.parked, func(i, j int) bool { return n.parked[i].at.Before(n.parked[j].at) })
	for len(n.parked) > 0 && !n.parked[0].at.After(now) {
		p := n.parked[0]
		n.parked = n.parked[1:]
		p.make(p.at)
	}
	return now
}

// draft is a post as it is sent.
type draft struct {
	Account string             `json:"account"`
	Text    string             `json:"text"`
	Langs   []string           `json:"langs,omitempty"`
	Link    string             `json:"link,omitempty"`
	Parent  string             `json:"parent,omitempty"`
	Root    string             `json:"root,omitempty"`
	Media   []social.MediaKind `json:"media,omitempty"`
	Uploads []string           `json:"uploads,omitempty"`
	Options map[string]string  `json:"options,omitempty"`
}

// publish puts a draft on the network. The lock is held.
func (n *Network) publish(d draft, at time.Time, j origin) *Post {
	n.seq++
	id := fmt.Sprintf("post-%d", n.seq)
	text := d.Text
	if n.o.Mangle {
		text = mangle(text)
	}
	n.journal = append(n.journal, Post{
		RemoteID:    id,
		URL:         n.postURL(id),
		Account:     d.Account,
		Text:        text,
		Parent:      d.Parent,
		Root:        d.Root,
		Media:       d.Media,
		At:          at.Add(n.o.ConfirmTime),
		Delivery:    j.delivery,
		Step:        j.step,
		Attempt:     j.attempt,
		RequestHash: j.hash,
		counts:      map[social.Metric]int64{},
		seq:         n.seq,
	})
	return &n.journal[len(n.journal)-1]
}

// origin is what a post's journal entry says of who made it.
type origin struct {
	delivery social.ID
	step     int
	attempt  social.ID
	hash     string
}

func (n *Network) postURL(id string) string {
	return "https://" + string(n.o.Network) + ".example/" + id
}

// find returns a post that is there, whether or not it is visible yet. The lock
// is held.
func (n *Network) find(id string) *Post {
	for i := range n.journal {
		p := &n.journal[i]
		if !p.Removed && (p.RemoteID == id || p.URL == id) {
			return p
		}
	}
	return nil
}

// wait waits for d, or until the context ends.
func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// begin is how every call but a commit starts: it takes the scripted fault and
// plays it. nil means that the network now answers in earnest.
func (n *Network) begin(ctx context.Context, op Op, k func() *knobs) error {
	if err := ctx.Err(); err != nil {
		return cut(op, false, err)
	}
	n.mu.Lock()
	f, latency := k().next(op)
	n.mu.Unlock()
	if err := wait(ctx, f.Before); err != nil {
		return cut(op, false, err)
	}
	f.met()
	switch f.Do {
	case Hang, HangBefore:
		<-ctx.Done()
		return cut(op, true, ctx.Err())
	case CutBeforeWrite:
		return cut(op, false, errReset)
	case CutBeforeEffect, CutAfterEffect, Park:
		return cut(op, true, errReset)
	}
	if err := wait(ctx, latency+f.Delay); err != nil {
		return cut(op, true, err)
	}
	switch f.Do {
	case Refuse, FailAfterEffect:
		e := f.refusal(op)
		if f.Do == FailAfterEffect {
			e.Kind = kindOf(e.Status, false)
		}
		return e
	case Garbage, WithoutID:
		return garbled(op)
	}
	return nil
}

var errReset = fmt.Errorf("connection reset by peer")

func refused(op Op, kind connectors.Kind, status int, text string) *connectors.Error {
	return &connectors.Error{Kind: kind, Op: string(op), Status: status, Text: text}
}

// mangle changes a text as networks do in storing it: entities and spaces.
func mangle(s string) string {
	var out []rune
	for _, r := range s {
		switch r {
		case '&':
			out = append(out, []rune("&amp;")...)
		case '<':
			out = append(out, []rune("&lt;")...)
		case '\n':
			out = append(out, '\r', '\n')
		default:
			out = append(out, r)
		}
	}
	return string(out) + " "
}

// refuseRepeat says whether the same text of the account is already there. The
// lock is held.
func (n *Network) refuseRepeat(d draft, now time.Time) *connectors.Error {
	if !n.o.NoRepeats {
		return nil
	}
	i := slices.IndexFunc(n.journal, func(p Post) bool {
		return !p.Removed && p.Account == d.Account && p.Parent == d.Parent && now.Sub(p.At) < 24*time.Hour &&
			social.NormalText(p.Text) == social.NormalText(d.Text)
	})
	if i < 0 {
		return nil
	}
	e := refused(OpCommit, connectors.Ambiguous, http.StatusForbidden, "the network says that this text is already there")
	e.Code = "duplicate"
	return e
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // nothing here holds what JSON cannot say
		panic(err)
	}
	return b
}

package simulate

import (
	"context"
	"fmt"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/internal/social"
	"smi/scheduler"
)

// wish is a post as a person wants it, with what smi promised about it.
type wish struct {
	r       *run
	n       int
	picture social.Media
	video   social.Media
	post    social.ID
	ids     map[int]social.ID // of the deliveries, by account
	takes   map[int]int       // how often the text was changed, by account
}

// parts are what is to be said on an account.
func (w *wish) parts(account int) []social.Part {
	if w.r.nets[w.r.accounts[account]].VideoOnly {
		text := fmt.Sprintf("P%d.0.%d of a story & nothing more\nin two lines", w.n, w.takes[account])
		return []social.Part{{Role: social.RoleBody, Text: text, Media: []social.Media{w.video}}}
	}
	var out []social.Part
	for i, role := range w.r.posts[w.n].roles {
		p := social.Part{Role: role, Text: fmt.Sprintf("P%d.%d.%d of a story & nothing <more>\nin two lines", w.n, i, w.takes[account])}
		if i == 0 && w.r.posts[w.n].picture && !w.r.nets[w.r.accounts[account]].TextOnly {
			p.Media = []social.Media{w.picture}
		}
		out = append(out, p)
	}
	return out
}

// plan plans the post. It is done when the database says so.
func (w *wish) plan(l *life) bool {
	p := w.r.posts[w.n]
	at := w.r.at(p.planned)
	in := social.PlannedPost{Post: social.Post{
		WorkspaceID: w.r.space, State: social.PostApproved, Parts: w.parts(p.accounts[0]),
		Planned: social.When{Local: at.Format("2006-01-02T15:04:05"), Zone: "UTC", UTC: at},
	}}
	for _, a := range p.accounts {
		d := social.Delivery{
			WorkspaceID: w.r.space, AccountID: w.r.accts[a].ID, Parts: w.parts(a), PlannedAt: at, LatePolicy: p.late,
			NextAt: scheduler.FirstLook(at, 15*time.Minute),
		}
		if p.notAfter > 0 {
			d.NotAfter = w.r.at(p.notAfter)
		}
		in.Deliveries = append(in.Deliveries, d)
	}
	stored, _, err := l.store.CreatePost(context.Background(), in, "person", social.Once{Key: fmt.Sprint("wish ", w.n), Actor: "person", RequestHash: "the same"})
	if err != nil {
		return false
	}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if l.over {
		return false // it may be there; the key will tell
	}
	w.post, w.ids = stored.Post.ID, map[int]social.ID{}
	for i, d := range stored.Deliveries {
		for _, a := range p.accounts {
			if w.r.accts[a].ID == d.AccountID {
				w.ids[a] = stored.Deliveries[i].ID
			}
		}
	}
	return true
}

func (w *wish) planned() bool {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.ids != nil
}

// at is a time of the story on the clock of its nodes.
func (r *run) at(d time.Duration) time.Time { return began.Add(d).Truncate(time.Millisecond) }

// nameOf is how the log calls a delivery: its post and its account.
func (r *run) nameOf(id social.ID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nameLocked(id)
}

func (r *run) nameLocked(id social.ID) string {
	for _, w := range r.wishes {
		for a, d := range w.ids {
			if d == id {
				return fmt.Sprintf("P%d@%d", w.n, a)
			}
		}
	}
	return "P?"
}

func (r *run) accountName(id social.ID) string {
	for i, a := range r.accts {
		if a.ID == id {
			return fmt.Sprintf("account %d (%s)", i, r.worlds[r.accounts[i]].Name)
		}
	}
	return "an account"
}

// people begins everything that people do.
func (r *run) people() {
	for i, w := range r.wishes {
		if created := r.posts[i].created; created > 0 {
			r.wg.Go(func() {
				<-time.After(created - r.age())
				for {
					if l := r.m.current(); l != nil && w.plan(l) {
						l.wake()
						r.note(fmt.Sprintf("P%d", w.n), "planned")
						return
					}
					<-time.After(9 * time.Second)
				}
			})
		}
	}
	for i, a := range r.acts {
		r.wg.Go(func() {
			<-time.After(a.at - r.age())
			r.act(i, a)
		})
	}
	for i, c := range r.crashes {
		if c.at == idle {
			r.wg.Go(func() {
				<-time.After(c.time - r.age())
				r.pass(idle, nil)
				_ = i
			})
		}
	}
	r.wg.Go(func() {
		for {
			select {
			case <-r.quit:
				return
			case <-time.After(17*time.Second + 13*time.Microsecond):
				r.answer()
			}
		}
	})
}

func (l *life) wake() {
	for _, n := range l.living() {
		n.sched.Wake()
	}
}

// act is one thing that a person does, when smi runs again if it does not. What
// smi does not answer because it dies is not promised.
func (r *run) act(i int, a act) {
	ctx := context.Background()
	key := fmt.Sprintf("person %d", i)
	acct := r.accts[a.account]
	net := r.nets[r.accounts[a.account]]
	switch a.do {
	case "expire":
		net.Expire(acct.RemoteID)
		r.note(key, "the tokens of account %d end", a.account)
		return
	case "revoke":
		r.mayBeDead(acct.ID)
		net.Revoke(acct.RemoteID)
		r.note(key, "the owner of account %d takes the access away", a.account)
		return
	}
	l := r.m.current()
	for l == nil || !r.wishes[a.post].planned() {
		if r.age() > r.calm {
			return
		}
		<-time.After(11 * time.Second)
		l = r.m.current()
	}
	w := r.wishes[a.post]
	id := w.ids[a.account]
	before := r.seen(l, id)
	var err error
	switch a.do {
	case "cancel":
		var state social.DeliveryState
		state, err = l.store.CancelDelivery(ctx, r.space, id, "person")
		if err == nil {
			r.acked(nil, func() {
				if !l.over {
					r.acks.cancelled[id] = before.Step
					r.reached["cancelled in time"]++
				}
			})
		} else {
			r.sometimes("cancelled too late")
		}
		r.note(key, "cancels %s: %s, %s", r.nameOf(id), state, social.CodeOf(err))
	case "edit":
		w.takes[a.account]++
		err = l.store.EditDelivery(ctx, r.space, id, social.DeliveryEdit{
			Ver: before.Ver, Parts: append(before.Parts[:before.Step:before.Step], w.parts(a.account)[before.Step:]...), Approved: true, PlannedAt: before.PlannedAt,
			NotAfter: before.NotAfter, LatePolicy: before.LatePolicy, NextAt: r.now(),
		}, "person")
		r.note(key, "edits %s: %s", r.nameOf(id), social.CodeOf(err))
	case "move":
		err = l.store.RescheduleDelivery(ctx, r.space, id, before.Ver, r.now().Add(90*time.Second), time.Time{}, "person")
		r.note(key, "moves %s: %s", r.nameOf(id), social.CodeOf(err))
	case "pause", "pause all":
		scope, who := social.PauseScope{Workspace: r.space, Account: acct.ID}, acct.ID
		if a.do == "pause all" {
			scope, who = social.PauseScope{}, 0
		}
		r.pause(key, l, scope, who, a)
	}
	l.wake()
}

// pause stops an account, or all, and lets it go on later.
func (r *run) pause(key string, l *life, scope social.PauseScope, who social.ID, a act) {
	ctx := context.Background()
	if err := l.store.SetPaused(ctx, scope, true, "person"); err != nil {
		return
	}
	r.acked(nil, func() {
		if !l.over {
			r.pausedAt[who] = true
		}
	})
	r.note(key, "%s", a.do)
	<-time.After(a.until - r.age())
	r.mu.Lock()
	delete(r.pausedAt, who)
	r.mu.Unlock()
	for {
		if l := r.m.current(); l != nil {
			if err := l.store.SetPaused(ctx, scope, false, "person"); err == nil && r.m.current() == l {
				l.wake()
				r.note(key, "ends the pause")
				return
			}
		}
		<-time.After(10 * time.Second)
	}
}

// pausedNow says whether somebody was promised that a delivery does not go out
// now.
func (r *run) pausedNow(id social.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pausedAt[0] {
		return true
	}
	for _, w := range r.wishes {
		for a, d := range w.ids {
			if d == id && r.pausedAt[r.accts[a].ID] {
				return true
			}
		}
	}
	return false
}

// seen is a delivery as a person sees it.
func (r *run) seen(l *life, id social.ID) social.Delivery {
	p, err := l.store.PostOfDelivery(context.Background(), r.space, id)
	if err == nil {
		for _, d := range p.Deliveries {
			if d.ID == id {
				return d
			}
		}
	}
	return social.Delivery{}
}

// answer is the person who looks after what waits for people. They look at the
// network and say what is true.
func (r *run) answer() {
	ctx := context.Background()
	l := r.m.current()
	if l == nil {
		return
	}
	g, ok := l.glance()
	if !ok || g.asking+g.offline == 0 {
		return
	}
	for i, a := range r.accts {
		now, err := l.store.Account(ctx, r.space, a.ID)
		if err == nil && now.Status != social.AccountConnected {
			r.connect(l, i)
		}
	}
	for _, w := range r.wishes {
		if !w.planned() {
			continue
		}
		for _, a := range r.posts[w.n].accounts {
			d := r.seen(l, w.ids[a])
			asked := r.now().Sub(d.UpdatedAt)
			after := r.dice.between(time.Minute, 6*time.Minute, "answers", w.n, a, d.Ver)
			if r.dice.chance(0.5, "answers at once", w.n, a, d.Ver) {
				after = 0 // what is asked too early is then answered wrongly
			}
			if d.ID == 0 || asked < after {
				continue
			}
			key := fmt.Sprintf("P%d@%d", w.n, a)
			var err error
			switch d.State {
			case social.NeedsHuman:
				err = r.resolve(l, w, a, d)
			case social.HeldLate:
				publish := r.dice.chance(0.7, "late", w.n, a)
				err = l.store.PublishLate(ctx, r.space, d.ID, publish, "person")
				r.note(key, "a person decides: publish late %v: %s", publish, social.CodeOf(err))
			case social.Blocked:
				r.connect(l, a)
			default:
				continue
			}
			if err == nil {
				l.wake()
			}
		}
	}
}

// connect is a person who logs in anew.
func (r *run) connect(l *life, i int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	living := l.living()
	if len(living) == 0 {
		return
	}
	g, err := r.nets[r.accounts[i]].Login(ctx, r.accts[i].RemoteID)
	if err != nil {
		r.note("person", "cannot log in to account %d", i)
		return
	}
	if err := living[0].creds.Connect(ctx, r.accts[i].ID, g); err != nil {
		return
	}
	l.store.MarkConnected(ctx, r.space, r.accts[i].ID) //nolint:errcheck // they will try again
	r.sometimes("a person connected an account anew")
	r.note("person", "connects account %d anew", i)
	l.wake()
}

// resolve says what is true of the part that smi asks about.
func (r *run) resolve(l *life, w *wish, a int, d social.Delivery) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	key := fmt.Sprintf("P%d@%d", w.n, a)
	r.sometimes("a person was asked")
	there := r.effects(w.n, a)[d.Step]
	if len(there) == 0 {
		answer := social.AnswerAgain
		if r.dice.chance(0.25, "drop", w.n, a, d.Ver) || r.age() > 3*time.Hour {
			answer = social.AnswerDrop
		}
		err := l.store.ResolveDelivery(ctx, r.space, d.ID, answer, connectors.Receipt{}, "person")
		r.note(key, "a person says: %s: %s", answer, social.CodeOf(err))
		r.sometimes("a person said: " + string(answer))
		return err
	}
	living := l.living()
	if len(living) == 0 {
		return errGone
	}
	client, err := living[0].client(ctx, r.accts[a])
	if err != nil {
		return err
	}
	got, err := client.Get(ctx, there[0].RemoteID)
	if err != nil {
		r.note(key, "a person cannot show where it is: %s", connectors.KindOf(err))
		return err
	}
	err = l.store.ResolveDelivery(ctx, r.space, d.ID, social.AnswerThere, got.Receipt, "person")
	r.note(key, "a person says: it is there: %s", social.CodeOf(err))
	r.sometimes("a person said: there")
	return err
}

// mayBeDead notes that the login of an account's network may be over for a
// reason that smi cannot help.
func (r *run) mayBeDead(account social.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, a := range r.accts {
		if a.ID == account {
			r.gaveUp[r.accounts[i]] = true
		}
	}
}

// meet decides what happens to a request that has arrived at a network.
func (r *run) meet(w int, q connectortest.Request) connectortest.Mishap {
	key := fmt.Sprintf("%s/%s/%s", r.worlds[w].Name, q.Op, r.whose(q.Account))
	m := connectortest.Mishap{Delay: r.dice.between(20*time.Millisecond, 400*time.Millisecond, "latency", key, q.Nth)}
	m.Name = r.mishapOf(w, key, q)
	if q.Op == connectortest.OpCommit {
		r.mu.Lock()
		if q.Hash != "" {
			r.sends[q.Hash]++
		}
		sent := r.sends[q.Hash]
		r.mu.Unlock()
		r.unarmed(q.Hash, sent)
		r.pass(arrived, nil)
		m.Acted = func() { r.pass(acted, nil) }
	}
	if q.Op == connectortest.OpRefresh {
		r.mu.Lock()
		r.renewing[w] = r.age()
		if m.Name != connectortest.Fine {
			r.gaveUp[w] = true
		}
		r.mu.Unlock()
	}
	text := fmt.Sprintf("request %d", q.Nth)
	if m.Name != connectortest.Fine {
		text += ": " + string(m.Name)
		r.sometimes("request: " + string(m.Name))
	}
	r.note(key, "%s", text)
	return m
}

// whose names an account in the log.
func (r *run) whose(remoteID string) string {
	for i, a := range r.accts {
		if a.RemoteID == remoteID {
			return fmt.Sprint(i)
		}
	}
	return ""
}

func (r *run) mishapOf(w int, key string, q connectortest.Request) connectortest.Misfortune {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.age() > r.calm {
		return connectortest.Fine
	}
	n := 1
	if l := r.m.last(); l != nil {
		n = l.n
	}
	for i, m := range r.mishaps {
		if m.dial == "" && m.op == q.Op && n >= m.lives && r.met[i] < m.times {
			r.met[i]++
			r.asked(m.name)
			return m.name
		}
	}
	rate := r.rate
	if q.Op == connectortest.OpRefresh {
		rate /= 3
	}
	if !r.dice.chance(rate, "mishap", key, q.Nth) {
		return connectortest.Fine
	}
	m := pick(r.dice, connectortest.Misfortunes, "misfortune", key, q.Nth)
	if m == connectortest.LimitHuge && !r.dice.chance(0.1, "huge", key, q.Nth) {
		m = connectortest.LimitSeconds // a day takes long, in the bubble too
	}
	r.asked(m)
	return m
}

// asked notes that a network asked for the longest wait that smi grants, a day.
// run.mu is held.
func (r *run) asked(m connectortest.Misfortune) {
	if m == connectortest.LimitHuge {
		r.waits = r.age() + 24*time.Hour
	}
}

// unarmed wants that a commit is written down, with the hash of its bytes, before
// it arrives.
func (r *run) unarmed(hash string, sent int) {
	l := r.m.current()
	if hash == "" || l == nil {
		return
	}
	var armed int
	err := l.store.WriterDB().QueryRowContext(context.Background(), `SELECT count(*) FROM attempt WHERE req_hash = $1`, hash).Scan(&armed)
	if err == nil && armed < sent {
		r.find("UNARMED: a request was sent %d times and is written down %d times", sent, armed)
	}
}

// observe is told of each change that a node made.
func (n *node) observe(e scheduler.Event) {
	if n.isDead() {
		return
	}
	n.l.m.r.note(n.l.m.r.nameOf(e.Delivery), "%s: step %d %s", n.name, e.Step, e.State)
}

package simulate

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/internal/credentials"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/faultdisk"
)

// machine is where the database is. It has one life after the other.
type machine struct {
	r    *run
	dir  string
	left map[string][]byte // what the last life left on the disk

	mu    sync.Mutex
	lives []*life
	up    *life // nil while nothing runs
}

// life is the time between two starts of the machine: an open database and the
// nodes that use it.
type life struct {
	m     *machine
	n     int             // from 1
	disk  *faultdisk.Disk // nil where a server keeps the ledger
	store *store.Store
	look  *sql.Stmt // see glance
	nodes []*node
	over  bool // guarded by run.mu
}

// node is one process, from its start to its end.
type node struct {
	l     *life
	i     int
	name  string
	nets  map[social.Network]connectors.Platform
	creds *credentials.Service
	sched *scheduler.Scheduler
	since time.Duration // when it was started

	cancel context.CancelFunc
	done   chan struct{} // its scheduler has ended
	dead   chan struct{} // closed when it is killed; by run.mu
	gone   bool          // the same, guarded by run.mu

	mu    sync.Mutex
	conns []net.Conn // open ones, in the order in which they were opened
}

func newMachine(r *run) *machine {
	dir, err := os.MkdirTemp(r.setup.dir, "run-")
	r.must(err)
	return &machine{r: r, dir: dir, left: map[string][]byte{"smi.db": r.setup.empty}}
}

// boot opens the database.
func (m *machine) boot() {
	l := &life{m: m, n: len(m.lives) + 1}
	o := store.Options{Now: m.r.now, Log: m.r.log, URL: m.r.database, Connections: 6}
	if m.r.database == "" {
		l.disk = faultdisk.InMemory(m.r.t, m.left)
		o.Path, o.BallastBytes, o.VFS = filepath.Join(m.dir, fmt.Sprint("life-", l.n), "smi.db"), -1, l.disk.Name()
	}
	var err error
	l.store, err = store.Open(context.Background(), o)
	if err != nil {
		m.r.find("LOST: the database does not open any more: %v", err)
		m.r.t.Fatalf("%s: %v", m.r.name, err)
	}
	l.look, err = l.store.WriterDB().PrepareContext(context.Background(), glanceSQL)
	m.r.must(err)
	m.mu.Lock()
	m.lives, m.up = append(m.lives, l), l
	m.mu.Unlock()
	for i := range m.r.nodes {
		l.nodes = append(l.nodes, l.newNode(i))
	}
}

// start starts the nodes of the life that is up.
func (m *machine) start() {
	for _, n := range m.current().nodes {
		n.start()
	}
}

// current is the life that is up, nil if none is.
func (m *machine) current() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

// last is the last life, whether or not it is up.
func (m *machine) last() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lives[len(m.lives)-1]
}

// stop ends the nodes that live by the book, once something does.
func (m *machine) stop() {
	for m.current() == nil {
		<-time.After(time.Second)
	}
	for _, n := range m.current().living() {
		n.end()
	}
}

// close closes the database of the last life.
func (m *machine) close() {
	m.last().look.Close()
	if err := m.last().store.Close(); err != nil {
		m.r.t.Errorf("%s: closing the database: %v", m.r.name, err)
	}
	os.RemoveAll(m.dir)
}

// alone says that no other process can use the ledger: nobody can say that of a
// server.
func (r *run) alone() bool { return r.nodes == 1 && r.database == "" }

// living are the nodes that were not killed.
func (l *life) living() (out []*node) {
	l.m.r.mu.Lock()
	defer l.m.r.mu.Unlock()
	for _, n := range l.nodes {
		if !n.gone {
			out = append(out, n)
		}
	}
	return out
}

func (l *life) newNode(i int) *node {
	r := l.m.r
	n := &node{
		l: l, i: i, since: r.age(), name: fmt.Sprintf("node-%d", i+1), nets: map[social.Network]connectors.Platform{}, done: make(chan struct{}), dead: make(chan struct{}),
	}
	for w, maker := range r.worlds {
		env := connectors.Env{
			Dial: n.dialer(w), RootCAs: r.nets[w].RootCAs, Now: r.now, Log: r.log, Limits: limits{n}, UserAgent: "smi",
		}
		p, err := r.nets[w].New(env)
		r.must(err)
		n.nets[maker.Network] = p
	}
	instance, err := l.store.InstanceID(context.Background())
	r.must(err)
	n.creds, err = credentials.New(credentials.Config{Store: &grants{l.store, n}, Keyring: r.setup.keys, Instance: instance, Node: n.name, Now: r.now, Log: r.log})
	r.must(err)
	n.sched = scheduler.New(scheduler.Config{
		Ledger: &ledger{l.store, n}, Clients: n.client, Media: r.files, IDs: &social.IDs{}, Node: n.name, Alone: r.alone(), Now: r.now, Boot: n.clock,
		Log: r.log, Observe: n.observe,
	})
	return n
}

// start runs the node as the daemon would: interrupted refreshes first, then the
// scheduler, and each minute the logins that want attention.
func (n *node) start() {
	r := n.l.m.r
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	if _, err := n.creds.Recover(ctx, r.alone()); err != nil && !n.isDead() {
		r.find("LOST: %s cannot start: %v", n.name, err)
	}
	r.wg.Go(func() {
		defer close(n.done)
		if err := n.sched.Run(ctx); err != nil && !n.isDead() {
			r.find("LOST: the scheduler of %s ended: %v", n.name, err)
		}
	})
	r.wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(2*time.Minute + time.Duration(n.i)*17*time.Second):
			}
			ids, err := n.creds.Due(ctx)
			if err != nil {
				continue
			}
			for _, id := range ids {
				a, err := n.l.store.Account(ctx, r.space, id)
				if err == nil && !n.isDead() {
					n.creds.Refresh(ctx, id, n.refresher(a)) //nolint:errcheck // it tells by itself
				}
			}
		}
	})
}

// end stops the node by the book.
func (n *node) end() {
	n.cancel()
	<-n.done
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.creds.Close(ctx); err != nil && !n.isDead() {
		n.l.m.r.find("LOST: %s does not stop: %v", n.name, err)
	}
	n.hangUp()
}

func (n *node) isDead() bool {
	select {
	case <-n.dead:
		return true
	default:
		return false
	}
}

// clock is the node's boot clock. A process that is dead has no more time: a
// first byte that it still wants to write comes too late.
func (n *node) clock() time.Time {
	if n.isDead() {
		return n.l.m.r.now().Add(1000 * time.Hour)
	}
	return n.l.m.r.now()
}

func (n *node) client(_ context.Context, a social.Account) (*connectors.Client, error) {
	p := n.nets[a.Network]
	return connectors.Open(p, a, lent{n.creds.For(a.ID, n.refresher(a)), n, a.ID})
}

// die kills the node: nothing it does from now on reaches the database or a
// network. What is on the wire stays there. run.mu is held.
func (n *node) die() {
	// Who dies while a login is being renewed never hears the answer.
	r := n.l.m.r
	for w, at := range r.renewing {
		if r.age()-at < 2*time.Second {
			r.gaveUp[w] = true
		}
	}
	if n.gone {
		return
	}
	n.gone = true
	close(n.dead)
	n.hangUp()
}

// bury waits for what is left of a killed node.
func (n *node) bury() {
	n.cancel()
	<-n.done
	n.creds.Close(context.Background()) //nolint:errcheck // it is dead
}

// end ends the life of the whole machine, in the way of the crash, and lets the
// next one begin after a while. run.mu is held.
func (l *life) end(c crash) {
	r := l.m.r
	if l.over {
		return
	}
	l.over = true
	l.m.mu.Lock()
	l.m.up = nil
	l.m.mu.Unlock()
	for _, n := range l.nodes {
		n.die()
	}
	var err error
	switch {
	case l.disk == nil: // the server lives on
		c.kind = killed
		r.counts.Kills++
	case c.kind == killed:
		err = l.disk.Kill(l.m.dir)
		r.counts.Kills++
	default:
		var cut faultdisk.Cut
		cut, err = l.disk.PowerCut(l.m.dir, r.dice.source("cut", l.n))
		r.counts.PowerCuts++
		if cut.Dropped+cut.Older > 0 {
			r.reached["a power cut lost what nobody had been promised"]++
		}
	}
	if err != nil {
		r.t.Errorf("%s: %v", r.name, err)
	}
	if l.disk != nil {
		l.m.left = l.disk.Left()
	}
	r.events = append(r.events, event{r.age(), "machine", fmt.Sprintf("%s at %s, for %s", c.kind, c.at, c.down)})
	r.wg.Go(func() {
		for _, n := range l.nodes {
			n.bury()
		}
		l.look.Close()
		l.store.Close() //nolint:errcheck // it is dead
	})
	r.wg.Go(func() {
		<-time.After(c.down)
		l.m.boot()
		r.checkAcks()
		l.m.start()
		r.note("machine", "runs again")
	})
}

// crash ends one node, and starts it again after a while. run.mu is held.
func (n *node) crash(c crash) {
	r := n.l.m.r
	if n.gone || n.l.over {
		return
	}
	n.die()
	r.counts.Kills++
	r.events = append(r.events, event{r.age(), n.name, fmt.Sprintf("kill -9 at %s, for %s", c.at, c.down)})
	r.wg.Go(func() {
		n.bury()
		select {
		case <-time.After(c.down):
		case <-r.quit: // the other one has done it all
			return
		}
		r.mu.Lock()
		over := n.l.over
		next := (*node)(nil)
		r.mu.Unlock()
		if over {
			return // the machine has died meanwhile; it starts both
		}
		next = n.l.newNode(n.i)
		r.mu.Lock()
		n.l.nodes[n.i] = next
		r.mu.Unlock()
		next.start()
		r.note(n.name, "runs again")
	})
}

// pass is called at each point; it crashes who is to crash there. n is nil where
// it is not known whose passing it is. Before a write the crash may come in its
// middle: the disk then takes some of its bytes, and the power fails when the
// function is called that pass returns.
func (r *run) pass(at point, n *node) (cut func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.crashes {
		if r.done[i] || c.at != at || r.age() < c.time || r.age() > r.calm || c.after && !r.wasMet() {
			continue
		}
		if n != nil && (n.gone || c.node >= 0 && c.node != n.i) {
			continue
		}
		r.passed[i]++
		if r.passed[i] < c.nth {
			continue
		}
		r.done[i] = true
		r.reached["crashed at "+string(at)]++
		l := r.m.current()
		switch {
		case l == nil:
		case c.node >= 0:
			l.nodes[c.node].crash(c)
		case c.kind == torn && writes[at] && l.disk != nil:
			l.disk.Fail(1+r.dice.n(6, "torn", i), faultdisk.WriteError, true)
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				l.end(c)
			}
		default:
			l.end(c)
		}
		break
	}
	return func() {}
}

// writes are the points right before something is written to the disk.
var writes = map[point]bool{beforeSave: true, beforeArm: true, beforeRecord: true, beforeAdopt: true, refreshAnswered: true}

// wasMet says whether all the set mishaps have happened. run.mu is held.
func (r *run) wasMet() bool {
	return !slices.Contains(r.met, 0)
}

// dialer reaches a network, through what goes wrong with connections.
func (n *node) dialer(w int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	r := n.l.m.r
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if n.isDead() {
			return nil, syscall.ENETDOWN
		}
		what := r.dialMishap(w, n)
		switch what {
		case dialName:
			return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
		case dialRefused:
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		case dialHangs:
			select {
			case <-ctx.Done():
			case <-n.dead:
			case <-time.After(75 * time.Second): // net/http goes on dialling when nobody waits any more
			}
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		case dialCut, dialPlain:
			here, there := net.Pipe()
			r.wg.Go(func() {
				defer there.Close()
				there.SetDeadline(time.Now().Add(20 * time.Second))
				there.Read(make([]byte, 100)) //nolint:errcheck // whatever it says
				if what == dialPlain {
					io.WriteString(there, "HTTP/1.1 400 Bad Request\r\n\r\n") //nolint:errcheck // it may have gone
				}
			})
			return n.keep(here), nil
		}
		if cert, ok := r.nets[w].Impostors[connectortest.Impostor(what)]; ok {
			here, there := net.Pipe()
			r.wg.Go(func() { r.impostor(what, there, cert) })
			return n.keep(here), nil
		}
		c, err := r.nets[w].Dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c = n.keep(c)
		if what == dialGone {
			r.wg.Go(func() {
				<-time.After(700 * time.Millisecond)
				c.Close()
			})
		}
		return c, nil
	}
}

// impostor answers in a network's place. Nobody may send it anything.
func (r *run) impostor(what string, c net.Conn, cert tls.Certificate) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if n, _ := s.Read(make([]byte, 100)); n > 0 { //nolint:errcheck // the client hangs up
		r.find("FALSE: %d bytes were sent to a server with the %s", n, what)
	}
}

// dialMishap is what happens to the next connection to a network.
func (r *run) dialMishap(w int, n *node) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	// By the time and not by a number: who is first of two at one instant is up to
	// goroutines.
	key, at := fmt.Sprintf("%d %s", w, n.name), int64(r.age())
	if r.age() > r.calm {
		return ""
	}
	for i, m := range r.mishaps {
		if m.dial != "" && n.l.n >= m.lives && r.met[i] < m.times && r.age() > r.posts[0].planned-3*time.Second {
			r.met[i]++
			r.events = append(r.events, event{r.age(), n.name, "connection: " + m.dial})
			return m.dial
		}
	}
	if !r.dice.chance(r.dialRate, "dial", key, at) {
		return ""
	}
	what := pick(r.dice, dialMishaps, "dial mishap", key, at)
	r.events = append(r.events, event{r.age(), n.name, "connection: " + what})
	return what
}

// keep remembers a connection, to cut it when the node dies.
func (n *node) keep(c net.Conn) net.Conn {
	k := &kept{c, n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, c)
	if n.isDead() {
		c.Close()
	}
	return k
}

func (n *node) hangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range slices.Clone(n.conns) {
		c.Close()
	}
}

type kept struct {
	net.Conn
	n *node
}

func (k *kept) Write(b []byte) (int, error) {
	if k.n.isDead() {
		return 0, errors.New("the process is dead")
	}
	return k.Conn.Write(b)
}

func (k *kept) Close() error {
	k.n.mu.Lock()
	k.n.conns = slices.DeleteFunc(k.n.conns, func(c net.Conn) bool { return c == k.Conn })
	k.n.mu.Unlock()
	return k.Conn.Close()
}

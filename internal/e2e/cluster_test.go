//go:build e2e && cluster

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"smi/internal/pgtest"
	"smi/internal/social"
)

// The machines of a cluster. The last joins and leaves.
var machines = []string{"n1", "n2", "n3", "n4"}

const (
	databaseHost = "10.91.1.2"
	networkHost  = "10.91.2.2"
	lease        = 15 * time.Second // of scheduler.Config
)

// cluster is three daemons on machines of their own, the PostgreSQL they share
// and the network they publish to.
type cluster struct {
	t        testing.TB
	rng      *rand.Rand
	lan      *lan
	net      *network
	pg       *pgtest.Server
	standby  *pgtest.Server // where there is one
	database string
	dir      string // of what the nodes share: keys, media, the database's address
	nodes    []*node
	pictures []string

	wishes   []*planned
	takeover []takeover
	kills    int
	findings []string
}

// node is a daemon on a machine of its own.
type node struct {
	*installation
	name, address string
	frozen        bool
}

func (n *node) runs() bool { return n.life != nil && !n.life.isGone() }

// takeover is ready work of a node that was killed.
type takeover struct {
	node string
	at   time.Time
	post *planned
}

// newCluster starts a cluster with this many accounts. It ends with the test.
func newCluster(t testing.TB, number int, smi string, rng *rand.Rand, accounts int) *cluster {
	t.Helper()
	c := &cluster{t: t, rng: rng, lan: newLAN(t, number, machines...)}
	c.pg = pgtest.StartWith(t, pgtest.Options{Namespace: c.lan.name + "database", Host: databaseHost, Port: 5432})
	c.net = serveNetwork(t, accounts, func(srv *httptest.Server) {
		srv.Listener.Close()
		srv.Listener = c.lan.listen("network", networkHost+":443")
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, networkHost)}}
	})
	u, err := url.Parse(c.pg.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	c.database = strings.TrimPrefix(u.Path, "/")
	dir, err := os.MkdirTemp("", "smi-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	// Two addresses, of which one is written to: whichever server that is.
	address := fmt.Sprintf("postgres://smi@%[1]s:5432,%[1]s:5433/%[2]s?sslmode=disable&target_session_attrs=read-write", databaseHost, c.database)
	if err := os.WriteFile(filepath.Join(dir, "database"), []byte(address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "media"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range machines {
		c.nodes = append(c.nodes, c.installNode(name, fmt.Sprintf("%s%d", subnets[toNetwork], 11+i), smi))
	}
	c.nodes[0].smi("keys", "init")
	for _, n := range c.nodes[:3] {
		n.start("")
	}
	if err := c.sql(register, nil, nil); err != nil {
		t.Fatalf("making the register: %v", err)
	}
	c.nodes[0].connect()
	c.pictures = c.nodes[1].pictures()
	return c
}

func (c *cluster) installNode(name, address, smi string) *node {
	dir := filepath.Join(c.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	in := &installation{t: c.t, binary: smi, dir: dir, config: filepath.Join(dir, "config.yaml"), net: c.net, via: c.lan.inside(name)}
	in.configure(filepath.Join(c.dir, "smi.keyset"), fmt.Sprintf(`node: %s
database: {url_file: %q}
media: {dir: %q}
sync: {cron: "*/2 * * * *", jitter: 0s}
`, name, filepath.Join(c.dir, "database"), filepath.Join(c.dir, "media")))
	c.t.Cleanup(func() {
		in.kill()
		if c.t.Failed() {
			in.showLogs()
		}
	})
	return &node{installation: in, name: name, address: address}
}

// alive are the nodes that can answer.
func (c *cluster) alive() []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return !n.runs() || n.frozen })
}

// some returns n of the three nodes that are always there.
func (c *cluster) some(n int) []*node {
	var out []*node
	for _, i := range c.rng.Perm(3)[:n] {
		out = append(out, c.nodes[i])
	}
	return out
}

// ask asks the nodes in turn until one answers.
func (c *cluster) ask(limit time.Duration, what string, ask func(context.Context, *node) error) {
	c.t.Helper()
	turn := c.rng.IntN(len(c.nodes))
	until(c.t, limit, what, func() (bool, string) {
		nodes := c.alive()
		if len(nodes) == 0 {
			return false, "no node is up"
		}
		turn++
		n := nodes[turn%len(nodes)]
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		defer cancel()
		err := ask(ctx, n)
		return err == nil, fmt.Sprintf("%s says: %v", n.name, err)
	})
}

// plan asks for each wish until a node has answered that it is planned. Whoever
// is asked again is asked with the same key.
func (c *cluster) plan(wishes []*planned) {
	c.t.Helper()
	for _, p := range wishes {
		if p.id != 0 {
			continue
		}
		c.ask(2*time.Minute, "a post to be planned", func(ctx context.Context, n *node) error {
			made, err := n.api.CreatePost(ctx, p.input, p.key)
			if err == nil {
				p.id, p.at = made.Post.ID, made.Post.Planned.UTC
			}
			return err
		})
	}
	c.wishes = append(c.wishes, wishes...)
}

// sql asks the database by its socket, which no cut cable reaches. Without scan
// nothing is read.
func (c *cluster) sql(query string, args []any, scan func(pgx.Rows) error) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.pg.Local(c.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if scan == nil {
		_, err := conn.Exec(ctx, query)
		return err
	}
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// killed notes that a node is dead, and what ready work it held.
func (c *cluster) killed(n *node) {
	c.t.Helper()
	c.kills++
	at := time.Now()
	byID := map[social.ID]*planned{}
	for _, p := range c.wishes {
		byID[p.id] = p
	}
	err := c.sql(`SELECT post_id FROM delivery WHERE owner = $1 AND state IN ('scheduled','claimed','ready')`, []any{n.name}, func(rows pgx.Rows) error {
		var id int64
		err := rows.Scan(&id)
		if p := byID[social.ID(id)]; p != nil {
			c.takeover = append(c.takeover, takeover{n.name, at, p})
		}
		return err
	})
	if err != nil {
		c.t.Fatalf("asking what %s held: %v", n.name, err)
	}
}

// kill kills a node with SIGKILL.
func (c *cluster) kill(n *node) {
	c.t.Helper()
	n.kill()
	if !n.life.diedBySIGKILL() {
		c.found("EXIT: %s ended by itself: %v", n.name, n.life.err)
	}
	c.killed(n)
}

func (c *cluster) freeze(n *node) {
	c.t.Helper()
	if err := n.life.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatalf("stopping %s: %v", n.name, err)
	}
	n.frozen = true
}

func (c *cluster) thaw(n *node) {
	c.t.Helper()
	if err := n.life.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatalf("waking %s: %v", n.name, err)
	}
	n.frozen = false
}

// heal brings up whatever of the three nodes is down. A node that went away by
// itself is a finding.
func (c *cluster) heal() {
	c.t.Helper()
	for _, n := range c.nodes[:3] {
		if n.runs() {
			continue
		}
		if !n.life.diedBySIGKILL() && n.life.err != nil {
			c.found("EXIT: %s ended by itself: %v\n%s", n.name, n.life.err, lastLines(n.life.log(c.t), 5))
		}
		n.start("")
	}
	if n := c.nodes[3]; n.runs() {
		n.stop()
	}
	c.net.faulty(nil)
}

func (c *cluster) found(format string, args ...any) {
	c.findings = append(c.findings, fmt.Sprintf(format, args...))
}

// unrested counts the posts that are neither at rest nor, if inDoubt is true,
// armed or in doubt.
func (c *cluster) unrested(wishes []*planned, inDoubt bool) (int, error) {
	ids := make([]int64, len(wishes))
	for i, p := range wishes {
		ids[i] = int64(p.id)
	}
	var states []string
	for _, s := range resting {
		states = append(states, string(s))
	}
	if inDoubt {
		states = append(states, string(social.Armed), string(social.Ambiguous))
	}
	n := 0
	err := c.sql(`SELECT count(*) FROM delivery WHERE post_id = ANY($1) AND NOT state = ANY($2)`, []any{ids, states}, func(rows pgx.Rows) error { return rows.Scan(&n) })
	return n, err
}

// settle waits until posts rest, or are in doubt if that may be. What does not
// rest is left to the oracle.
func (c *cluster) settle(wishes []*planned, inDoubt bool, limit time.Duration) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		if n, err := c.unrested(wishes, inDoubt); err == nil && n == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		}
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

package realservers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"smi/internal/pgtest"
)

// Options say what network to start. The zero value is good for most tests.
type Options struct {
	// Accounts are the handles to make, without ".test". Default: alice, bob.
	Accounts []string
	// TokenLife is how long an OAuth access token lives; 0 is the PDS's own
	// hour. A refresh can be seen within a test if it is short.
	TokenLife time.Duration
	// RateLimits turns the PDS's own limits on.
	RateLimits bool
}

// Account is an account on the PDS.
type Account struct {
	Handle      string
	DID         string
	Password    string // for signing in with a browser
	AppPassword string // for a program
}

// Network is the running server software. Its methods act as people and other
// programs do: they go to the servers directly, not over the wire.
type Network struct {
	PDS      string // URL of the PDS as everybody knows it; leads over Wire
	Direct   string // URL of the same PDS behind the wire
	PLC      string // URL of the directory of identities
	AppView  string // URL of the AppView, which counts likes and reposts
	Accounts []Account
	Wire     *Wire // between the world and the PDS

	sessions sessions
}

// config is what network.cjs reads from REAL_CONFIG.
type config struct {
	PLCPort      int              `json:"plcPort"`
	PDSPort      int              `json:"pdsPort"`
	PDSInnerPort int              `json:"pdsInnerPort"`
	AppViewPort  int              `json:"appViewPort"`
	Schema       string           `json:"schema"`
	Accounts     []accountRequest `json:"accounts"`
	TokenSeconds int              `json:"tokenSeconds"`
	RateLimits   bool             `json:"rateLimits"`
}

type accountRequest struct {
	Handle   string `json:"handle"`
	Email    string `json:"email"`
	Password string `json:"password"`
}

// Start installs what is missing, starts the network and returns when it
// answers: in about half a minute, or in five when everything must be fetched
// first. It fails the test if it cannot. Everything ends with the test.
func Start(t testing.TB, o Options) *Network {
	t.Helper()
	n, err := launch(t, o)
	if err != nil {
		t.Fatalf("starting the real servers: %v", err)
	}
	return n
}

func launch(t testing.TB, o Options) (*Network, error) {
	t.Helper()
	began := time.Now()
	ctx := t.Context()
	install, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := pgtest.Install(install, t.Logf, pgtest.PostgreSQL, redis); err != nil {
		return nil, err
	}
	node, err := installNode(install, t.Logf)
	if err != nil {
		return nil, err
	}
	installed := time.Now()

	dir, err := os.MkdirTemp("", "smi-real-") //nolint:usetesting // PostgreSQL's user must be able to enter it
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL's user must pass through
		return nil, fmt.Errorf("opening the folder to PostgreSQL: %w", err)
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	// Processes live until their clean-up, which comes after t.Context has ended.
	live := context.WithoutCancel(ctx)
	boot, cancel := context.WithTimeout(live, 3*time.Minute)
	t.Cleanup(cancel)
	postgres := pgtest.Start(t)
	redis, err := startRedis(boot, t, dir, ports[0])
	if err != nil {
		return nil, err
	}
	inner := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1]))
	wire, err := NewWire(inner)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { wire.Close() })
	_, wirePort, err := net.SplitHostPort(wire.Addr())
	if err != nil {
		return nil, fmt.Errorf("reading the wire's address: %w", err)
	}
	publicPort, err := strconv.Atoi(wirePort)
	if err != nil {
		return nil, fmt.Errorf("reading the wire's port: %w", err)
	}

	n := &Network{
		PDS:     "http://localhost:" + wirePort,
		Direct:  "http://" + inner,
		PLC:     fmt.Sprintf("http://localhost:%d", ports[2]),
		AppView: fmt.Sprintf("http://localhost:%d", ports[3]),
		Wire:    wire,
	}
	c := config{
		PLCPort: ports[2], PDSPort: publicPort, PDSInnerPort: ports[1], AppViewPort: ports[3],
		Schema: "smi", TokenSeconds: int(o.TokenLife / time.Second), RateLimits: o.RateLimits,
	}
	if len(o.Accounts) == 0 {
		o.Accounts = []string{"alice", "bob"}
	}
	for _, name := range o.Accounts {
		c.Accounts = append(c.Accounts, accountRequest{name + ".test", name + "@smi.test", name + "-password"})
	}
	if err := n.startNode(boot, t, dir, node, c, postgres.URL("postgres"), redis); err != nil {
		return nil, err
	}
	for i := range n.Accounts {
		if err := n.addAppPassword(boot, &n.Accounts[i]); err != nil {
			return nil, err
		}
	}
	t.Logf("real servers: PDS %s, AppView %s; installed in %s, started in %s",
		n.PDS, n.AppView, installed.Sub(began).Round(time.Second), time.Since(installed).Round(time.Second))
	return n, nil
}

// startNode starts the Node process and reads its ready line.
func (n *Network) startNode(ctx context.Context, t testing.TB, dir, node string, c config, postgres, redis string) error {
	t.Helper()
	settings, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing the network's settings: %w", err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "node", "-r", "./loopback.cjs", "network.cjs")
	cmd.Dir = node
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp,
		"REAL_CONFIG=" + string(settings),
		"REAL_PUBLIC_PORT=" + strconv.Itoa(c.PDSPort), "REAL_INNER_PORT=" + strconv.Itoa(c.PDSInnerPort),
		"DB_POSTGRES_URL=" + postgres, "REDIS_HOST=" + redis,
		"LOG_ENABLED=true", "LOG_LEVEL=warn",
	}
	// Closed when this process ends, however it ends; then the servers end too.
	if _, err := cmd.StdinPipe(); err != nil {
		return fmt.Errorf("making the servers' standard input: %w", err)
	}
	p, err := start(t, dir, "bluesky", cmd, syscall.SIGTERM)
	if err != nil {
		return err
	}
	return p.until(ctx, func(context.Context) (bool, error) {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return false, fmt.Errorf("reading what the servers print: %w", err)
		}
		return n.readReady(text, c.Accounts), nil
	})
}

// readReady looks for the ready line among what the servers printed.
func (n *Network) readReady(text []byte, requests []accountRequest) bool {
	for line := range bytes.Lines(text) {
		var ready struct {
			Ready    bool `json:"ready"`
			Accounts []struct{ Handle, DID string }
		}
		if json.Unmarshal(line, &ready) != nil || !ready.Ready {
			continue
		}
		for i, a := range ready.Accounts {
			n.Accounts = append(n.Accounts, Account{Handle: a.Handle, DID: a.DID, Password: requests[i].Password})
		}
		return true
	}
	return false
}

// Account returns the account with this handle, with or without ".test". It
// panics if there is none: that is a mistake in the test.
func (n *Network) Account(handle string) Account {
	for _, a := range n.Accounts {
		if a.Handle == handle || a.Handle == handle+".test" {
			return a
		}
	}
	panic("no account " + handle + " was asked for in Options")
}

func xrpc(base, method string, query url.Values) string {
	u := base + "/xrpc/" + method
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u
}

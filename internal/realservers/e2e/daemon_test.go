//go:build real

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"smi/internal/realservers"
)

var built struct {
	once sync.Once
	path string
	err  error
}

// command builds the smi command, once, as a user gets it.
func command(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "smi-e2e-") //nolint:usetesting // for all tests; TestMain removes it
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "smi")
		cmd := exec.Command("go", "build", "-o", built.path, "smi/cmd/smi")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("building smi: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.path != "" {
		os.RemoveAll(filepath.Dir(built.path))
	}
	os.Exit(code)
}

// daemon is an installation of smi: a folder, and perhaps a running process.
type daemon struct {
	t      *testing.T
	smi    string
	dir    string
	config string
	log    string
	http   *http.Client

	cmd  *exec.Cmd
	gone chan struct{}
}

// install makes the configuration and the keys of a daemon that knows the
// network.
func install(t *testing.T, n *realservers.Network) *daemon {
	t.Helper()
	// The socket's path must be short, which t.TempDir is not.
	dir, err := os.MkdirTemp("", "smi-d-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, smi: command(t), dir: dir, config: filepath.Join(dir, "config.yaml"), log: filepath.Join(dir, "smi.log")}
	host := func(u string) string { return strings.TrimPrefix(u, "http://") }
	addr := func(u string) string { return strings.Replace(host(u), "localhost", "127.0.0.1", 1) }
	text := fmt.Sprintf(`data_dir: %[1]s/data
key_file: %[1]s/keys
log: {level: debug}
sync: {jitter: 0s}
allow_private: ["%[6]s", "%[7]s"]
networks:
  bluesky:
    service: %[4]s
    plc_url: %[5]s
    video_service: none
    allow_hosts: ["%[2]s", "%[3]s"]
`, dir, host(n.PDS), host(n.PLC), n.PDS, n.PLC, addr(n.PDS), addr(n.PLC))
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "data", "smi.sock")
	d.http = &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	d.run("keys", "init")
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			if text, err := os.ReadFile(d.log); err == nil {
				lines := strings.Split(string(text), "\n")
				t.Logf("the end of what the daemon printed:\n%s", strings.Join(lines[max(0, len(lines)-80):], "\n"))
			}
		}
	})
	return d
}

// run runs a command of smi to its end and returns what it prints.
func (d *daemon) run(args ...string) []byte {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.smi, append([]string{"--config", d.config}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		d.t.Fatalf("smi %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.Bytes()
}

// json runs a command with --json and reads what it prints.
func (d *daemon) json(out any, args ...string) {
	d.t.Helper()
	text := d.run(append(args, "--json")...)
	if err := json.Unmarshal(text, out); err != nil {
		d.t.Fatalf("reading what smi %s printed: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// start starts the daemon and waits until it answers.
func (d *daemon) start() {
	d.t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	d.cmd = exec.Command(d.smi, "--config", d.config, "serve")
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("starting the daemon: %v", err)
	}
	gone, cmd := make(chan struct{}), d.cmd
	d.gone = gone
	go func() {
		cmd.Wait()
		close(gone)
	}()
	began := time.Now()
	ctx, cancel := context.WithTimeout(d.t.Context(), 30*time.Second)
	defer cancel()
	err = realservers.Until(ctx, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		select {
		case <-gone:
			cancel()
			return false, errors.New("the daemon ended")
		default:
		}
		err := d.get(ctx, "/status", &struct{}{})
		return err == nil, err
	})
	if err != nil {
		d.t.Fatalf("waiting for the daemon: %v", err)
	}
	d.t.Logf("the daemon answers %d ms after its start", time.Since(began).Milliseconds())
}

// kill ends the daemon as a power cut does.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Fatalf("killing the daemon: %v", err)
	}
	<-d.gone
	d.cmd = nil
}

// stop ends the daemon as an admin does.
func (d *daemon) stop() {
	if d.cmd == nil {
		return
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.gone:
	case <-time.After(20 * time.Second):
		d.t.Errorf("the daemon did not end within 20 s of SIGTERM")
		d.cmd.Process.Kill()
		<-d.gone
	}
	d.cmd = nil
}

// get reads from the daemon's API on its socket.
func (d *daemon) get(ctx context.Context, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://smi/api/v1"+path, http.NoBody)
	if err != nil {
		return err
	}
	res, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("GET %s: status %d: %s", path, res.StatusCode, text)
	}
	return json.Unmarshal(text, out)
}

// connection is a login under way.
type connection struct {
	ID      string
	State   string
	AuthURL string `json:"auth_url"`
	Text    string
	Freed   int
	Account *account
}

type account struct {
	ID     string
	Name   string
	Status string
	Reason string `json:"status_reason"`
}

// connectOAuth connects an account, or connects it again, with the robot in the
// place of the person at the browser.
func (d *daemon) connectOAuth(ctx context.Context, as realservers.Account, reconnect string) connection {
	d.t.Helper()
	args := []string{"accounts", "add", "bluesky", "--handle", as.Handle}
	if reconnect != "" {
		args = []string{"accounts", "reconnect", reconnect}
	}
	var c connection
	d.json(&c, append(args, "--oauth", "--no-wait")...)
	back, err := realservers.Approve(ctx, c.AuthURL, as.Handle, as.Password)
	if err != nil {
		d.t.Fatalf("approving the connection of %s: %v", as.Handle, err)
	}
	u, err := url.Parse(back)
	if err != nil || u.Hostname() != "127.0.0.1" {
		d.t.Fatalf("the browser was sent to %s (%v), want this machine", back, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, back, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		d.t.Fatalf("returning to smi: %v", err)
	}
	page, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK {
		d.t.Fatalf("returning to smi: status %d, %v: %s", res.StatusCode, err, page)
	}
	return d.connected(ctx, c.ID, as)
}

// connectForm connects an account by its app password.
func (d *daemon) connectForm(as realservers.Account) {
	d.t.Helper()
	file := filepath.Join(d.dir, "app-password")
	if err := os.WriteFile(file, []byte(as.AppPassword+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	var c connection
	d.json(&c, "accounts", "add", "bluesky", "--handle", as.Handle, "--app-password-file", file)
	d.isConnected(c, as)
}

func (d *daemon) connected(ctx context.Context, id string, as realservers.Account) connection {
	d.t.Helper()
	var c connection
	if err := d.get(ctx, "/connections/"+id+"?wait=30", &c); err != nil {
		d.t.Fatal(err)
	}
	d.isConnected(c, as)
	return c
}

func (d *daemon) isConnected(c connection, as realservers.Account) {
	d.t.Helper()
	if c.State != "done" || c.Account == nil || c.Account.Status != "connected" || c.Account.Name != "bluesky/"+as.Handle {
		d.t.Fatalf("connecting %s: %+v, account %+v", as.Handle, c, c.Account)
	}
}

// post is a post as smi shows it.
type post struct {
	ID         string
	Status     string
	Deliveries []struct {
		State    string
		Reason   string
		RemoteID string `json:"remote_id"`
		URL      string
		LateMS   *int64    `json:"late_ms"`
		NextAt   time.Time `json:"next_at"`
		Attempts []attempt
	}
}

type attempt struct {
	Part  int
	N     int
	State string
}

// plan plans a post with the flags of `smi post create` and returns its id.
func (d *daemon) plan(as realservers.Account, at time.Time, flags ...string) string {
	d.t.Helper()
	var out struct{ Post post }
	args := []string{"post", "create", "--account", "bluesky/" + as.Handle, "--at", at.UTC().Format(time.RFC3339)}
	d.json(&out, append(args, flags...)...)
	return out.Post.ID
}

func (d *daemon) post(ctx context.Context, id string) (post, error) {
	var p post
	err := d.get(ctx, "/posts/"+id, &p)
	if err == nil && len(p.Deliveries) != 1 {
		err = fmt.Errorf("post %s has %d deliveries, want 1", id, len(p.Deliveries))
	}
	return p, err
}

// until waits until the post's delivery is in one of the states.
func (d *daemon) until(ctx context.Context, id string, limit time.Duration, states ...string) post {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var p post
	err := realservers.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		now, err := d.post(ctx, id)
		if err != nil {
			return false, err
		}
		p = now
		if slices.Contains(states, p.Deliveries[0].State) {
			return true, nil
		}
		return false, fmt.Errorf("it is %s: %s", p.Deliveries[0].State, p.Deliveries[0].Reason)
	})
	if err != nil {
		d.t.Fatalf("waiting for post %s to be %s: %v", id, strings.Join(states, " or "), err)
	}
	return p
}

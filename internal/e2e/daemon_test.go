//go:build e2e

// Package e2e kills the built smi command, as a power cut does, at each place
// where that could do harm, starts it again, and asks the simulated network
// what became true. Nothing here reaches into the program: it is driven by its
// command line and its API.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

// binary is the smi command with its crash points.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "smi-e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	binary = filepath.Join(dir, "smi")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the command with its crash points.
func build(path string, flags ...string) error {
	args := append([]string{"build", "-tags", "faultinject", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "smi/cmd/smi")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building smi: %w\n%s", err, out)
	}
	return nil
}

// poll is how often something is asked that cannot be waited for.
const poll = 50 * time.Millisecond

// until asks ok again and again until it says true. It fails the test with what
// ok said last when the time is over.
func until(t testing.TB, limit time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		done, said := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waiting %s for %s: %s", limit, what, said)
		}
	}
}

// installation is a data directory with its configuration, and perhaps a daemon
// that runs on it.
type installation struct {
	t      testing.TB
	binary string
	dir    string
	config string
	net    *network
	api    *httpapi.Client
	life   *life
	lives  int
	via    []string // what the command line of each process begins with
}

// life is one process of the daemon, from its start to its end.
type life struct {
	cmd    *exec.Cmd
	began  time.Time
	stderr string // file
	gone   chan struct{}
	err    error // how it ended, once gone is closed
}

// install makes the configuration and the keys of a daemon that knows the
// network, and no other.
func install(t testing.TB, n *network) *installation {
	t.Helper()
	// The path of a Unix socket must be short, which that of t.TempDir is not.
	dir, err := os.MkdirTemp("", "smi-e2e-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := &installation{t: t, binary: binary, dir: dir, config: filepath.Join(dir, "config.yaml"), net: n}
	in.configure(filepath.Join(dir, "smi.keyset"), "sync: {enabled: false}\n")
	in.smi("keys", "init")
	t.Cleanup(func() {
		in.kill()
		if t.Failed() {
			in.showLogs()
		}
	})
	return in
}

// configure writes the configuration of a daemon that knows the network and no
// other, and what it needs beside it. more is added in the end.
func (in *installation) configure(keys, more string) {
	in.t.Helper()
	in.write("config.yaml", fmt.Sprintf(`data_dir: %[1]q
key_file: %[2]q
log: {level: debug}
allow_private: [%[3]q]
networks:
  bluesky:
    service: %[4]q
    plc_url: %[4]q
    web_url: %[4]q
    video_service: none
    allow_hosts: [%[3]q]
    min_gap: 0s
`, filepath.Join(in.dir, "data"), keys, in.net.host, in.net.url)+more)
	in.write("ca.pem", in.net.ca)
	in.write("app-password", appPassword+"\n")
	in.connectAPI()
}

// sentFile is where a daemon notes what it sends, and by which right.
const sentFile = "sent"

func (in *installation) connectAPI() {
	in.api = httpapi.NewClient(filepath.Join(in.dir, "data", "smi.sock"), "")
	in.t.Cleanup(in.api.Close)
}

func (in *installation) write(name, text string) {
	in.t.Helper()
	if err := os.WriteFile(filepath.Join(in.dir, name), []byte(text), 0o600); err != nil {
		in.t.Fatal(err)
	}
}

// command is a command line of smi. The network's certificate is trusted as an
// admin would make the machine trust it.
func (in *installation) command(args ...string) *exec.Cmd {
	line := slices.Concat(in.via, []string{in.binary, "--config", in.config}, args)
	cmd := exec.CommandContext(in.t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(in.dir, "ca.pem"), "SSL_CERT_DIR="+in.dir)
	return cmd
}

// smi runs a command to its end and returns what it prints.
func (in *installation) smi(args ...string) string {
	in.t.Helper()
	cmd := in.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		in.t.Fatalf("smi %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// start starts the daemon and returns when it answers, or is gone already. at
// is where it kills itself: "after-arm:3", or "" for nowhere.
func (in *installation) start(at string) *life {
	in.t.Helper()
	in.lives++
	l := &life{stderr: filepath.Join(in.dir, fmt.Sprintf("life-%d.log", in.lives)), gone: make(chan struct{})}
	f, err := os.OpenFile(l.stderr, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		in.t.Fatal(err)
	}
	defer f.Close()
	// The daemon outlives no test run for long, however that ends.
	like := in.command("serve", "--for", "20m")
	l.cmd = exec.Command(like.Args[0], like.Args[1:]...)
	l.cmd.Env = append(like.Env, "SMI_CRASH_AT="+at, "SMI_SENT="+filepath.Join(in.dir, sentFile))
	l.cmd.Stdout, l.cmd.Stderr = f, f
	l.began = time.Now()
	if err := l.cmd.Start(); err != nil {
		in.t.Fatalf("starting the daemon: %v", err)
	}
	go func() {
		l.err = l.cmd.Wait()
		close(l.gone)
	}()
	in.life = l
	until(in.t, 30*time.Second, "the daemon to answer", func() (bool, string) {
		if l.isGone() {
			return true, ""
		}
		ctx, cancel := context.WithTimeout(in.t.Context(), 5*time.Second)
		defer cancel()
		_, err := in.api.Status(ctx)
		return err == nil, fmt.Sprint(err)
	})
	if at == "" && l.isGone() {
		in.t.Fatalf("the daemon ended by itself: %v\n%s", l.err, l.log(in.t))
	}
	return l
}

func (l *life) isGone() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

func (l *life) log(t testing.TB) string {
	b, err := os.ReadFile(l.stderr)
	if err != nil {
		t.Errorf("reading what the daemon printed: %v", err)
	}
	return string(b)
}

// diedBy says whether the process was ended by SIGKILL.
func (l *life) diedBySIGKILL() bool {
	exit := new(exec.ExitError)
	if !errors.As(l.err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// diesAt waits for the daemon to kill itself at a point.
func (in *installation) diesAt(at string, limit time.Duration) {
	in.t.Helper()
	l := in.life
	end := time.NewTimer(limit)
	defer end.Stop()
	select {
	case <-l.gone:
	case <-end.C:
		in.t.Fatalf("the daemon did not die at %s within %s: the point was not reached (so often)\n%s", at, limit, in.states())
	}
	name, _, _ := strings.Cut(at, ":")
	if !l.diedBySIGKILL() || !strings.Contains(l.log(in.t), "crash: killed at "+name+"\n") {
		in.t.Fatalf("the daemon ended with %v, want SIGKILL at %s\n%s", l.err, at, l.log(in.t))
	}
}

// kill ends the daemon as a power cut does, if it runs.
func (in *installation) kill() {
	if in.life == nil {
		return
	}
	in.life.cmd.Process.Kill() //nolint:errcheck // it may be gone already
	<-in.life.gone
}

// stop ends the daemon as an admin does, and returns how long that took.
func (in *installation) stop() time.Duration {
	in.t.Helper()
	l := in.life
	began := time.Now()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		in.t.Fatalf("telling the daemon to stop: %v", err)
	}
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	select {
	case <-l.gone:
	case <-end.C:
		in.t.Fatalf("the daemon did not end within a minute of SIGTERM\n%s", l.log(in.t))
	}
	if l.err != nil {
		in.t.Fatalf("the daemon that was told to stop ended with %v\n%s", l.err, l.log(in.t))
	}
	return time.Since(began)
}

// showLogs prints the end of what each life printed.
func (in *installation) showLogs() {
	for n := range in.lives {
		b, err := os.ReadFile(filepath.Join(in.dir, fmt.Sprintf("life-%d.log", n+1)))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		in.t.Logf("the end of life %d:\n%s", n+1, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}

// connect connects the accounts of the network: the first by the command line,
// the others by the API.
func (in *installation) connect() {
	in.t.Helper()
	ctx := in.t.Context()
	for i, handle := range in.net.handles {
		if i == 0 {
			in.smi("accounts", "add", "bluesky", "--handle", handle, "--app-password-file", filepath.Join(in.dir, "app-password"))
			continue
		}
		conn, err := in.api.StartConnect(ctx, app.ConnectRequest{Network: "bluesky", Method: "form", Handle: handle})
		if err != nil {
			in.t.Fatalf("connecting %s: %v", handle, err)
		}
		conn, err = in.api.FinishForm(ctx, conn.ID, map[string]social.Secret{"identifier": social.NewSecret(handle), "app_password": social.NewSecret(appPassword)})
		if err != nil || conn.State != "done" {
			in.t.Fatalf("connecting %s: %s %s, %v", handle, conn.State, conn.Text, err)
		}
	}
}

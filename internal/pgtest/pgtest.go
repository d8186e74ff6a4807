// Package pgtest starts PostgreSQL servers for tests: real ones, each with a
// folder and a port of its own, which write as durably as in production
// (fsync and synchronous_commit are on) and which a test may stop, kill, start
// again, copy to a standby and promote. They are gone when the test ends, and
// also when it is killed.
//
// Where PostgreSQL is missing, root on Debian gets it installed; anybody else's
// test is skipped and says what to install. Under CI=true it fails instead.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Options say where a server runs. The zero value is right for most tests.
type Options struct {
	Namespace string // network namespace, by the name that ip netns gave it
	Host      string // address to listen on; 127.0.0.1 when empty
	Port      int    // a free one when 0
	Settings  []string

	inMemory bool // the folder is in memory where there is such a place
}

// Server is a running PostgreSQL, or one that a test has stopped.
type Server struct {
	Host string
	Port int

	dir      string // parent of all that is its own
	data     string
	run      runner
	settings []string
	guard    io.Closer // open as long as the test lives
	gone     chan struct{}
	pid      int

	names     *atomic.Int64 // of databases
	templates *templates
}

// templates are the databases that were filled once, to be copied.
type templates struct {
	mu   sync.Mutex
	made map[string]error
}

// Start starts a server on loopback that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith starts a server that ends with the test.
func StartWith(t testing.TB, o Options) *Server {
	t.Helper()
	need(t)
	s, err := launch(t.Context(), o)
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what PostgreSQL printed:\n%s", s.log(40))
		}
		s.end()
	})
	return s
}

var shared struct {
	once sync.Once
	s    *Server
	err  error
}

// Shared is one server for all tests of a test binary, which ends with it.
// Tests take databases of it; they do not stop it.
func Shared(t testing.TB) *Server {
	t.Helper()
	need(t)
	shared.once.Do(func() { shared.s, shared.err = launch(context.WithoutCancel(t.Context()), Options{inMemory: true}) })
	if shared.err != nil {
		t.Fatalf("starting PostgreSQL: %v", shared.err)
	}
	return shared.s
}

// installed makes sure of PostgreSQL once for all tests of a test binary.
var installed = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := Install(ctx, func(string, ...any) {}, PostgreSQL); err != nil {
		return err
	}
	_, err := newRunner("")
	return err
})

func need(t testing.TB) {
	t.Helper()
	err := installed()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("PostgreSQL cannot be had: %v", err)
	default:
		t.Skipf("PostgreSQL cannot be had: %v", err)
	}
}

// launch makes a cluster and starts a server on it.
func launch(ctx context.Context, o Options) (*Server, error) {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	run, err := newRunner(o.Namespace)
	if err != nil {
		return nil, err
	}
	s := &Server{Host: o.Host, Port: o.Port, run: run, settings: o.Settings, names: new(atomic.Int64), templates: &templates{made: map[string]error{}}}
	if err := s.folder(o.inMemory); err != nil {
		return nil, err
	}
	initdb, err := run.command(ctx, s.dir, "initdb", "--pgdata", s.data, "--username", "smi", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	if err != nil {
		return nil, errors.Join(err, s.guard.Close())
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("making a PostgreSQL cluster: %w\n%s", err, tail(string(out), 20)), s.guard.Close())
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.guard.Close())
	}
	if err := s.startAnywhere(ctx); err != nil {
		return nil, errors.Join(err, s.guard.Close())
	}
	return s, nil
}

// folder makes the folder of a server, and starts who watches over it. Tests
// that make hundreds of databases want it in memory: it writes the same, faster.
func (s *Server) folder(inMemory bool) error {
	const memory = "/dev/shm"
	base := ""
	if st, err := os.Stat(memory); inMemory && err == nil && st.IsDir() {
		base = memory
	}
	dir, err := os.MkdirTemp(base, "smi-pg-") // PostgreSQL's user must be able to enter it
	if err != nil {
		return fmt.Errorf("making a folder for PostgreSQL: %w", err)
	}
	s.dir, s.data = dir, filepath.Join(dir, "data")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(s.data, 0o700), s.run.own(s.data), os.Mkdir(s.socket(), 0o755), s.run.own(s.socket())); err != nil {
		return fmt.Errorf("giving the folder to PostgreSQL: %w", err)
	}
	s.guard, err = watch(s.dir, s.data)
	return err
}

// open lets everybody in who can reach the server.
func (s *Server) open() error {
	hba := "local all all trust\nlocal replication all trust\nhost all all all trust\nhost replication all all trust\n"
	if err := os.WriteFile(filepath.Join(s.data, "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		return fmt.Errorf("opening PostgreSQL to the test: %w", err)
	}
	return nil
}

// watch starts a process that outlives the test and, once that has ended,
// however it did, ends the server and removes its folder. Of the processes it
// ends only those that work in that folder.
func watch(dir, data string) (io.Closer, error) {
	const script = `trap '' INT HUP TERM
cat >/dev/null
for sig in QUIT KILL; do
  for try in 1 2 3 4 5 6 7 8 9 10; do
    left=
    for p in /proc/[0-9]*; do
      if [ "$p/cwd" -ef "$1" ]; then left="$left ${p#/proc/}"; fi
    done
    [ -z "$left" ] && break 2
    [ "$try" = 1 ] && kill -"$sig" $left 2>/dev/null
    sleep 0.2
  done
done
rm -rf -- "$0"`
	cmd := exec.Command("sh", "-c", script, dir, data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watching over PostgreSQL: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watching over PostgreSQL: %w", err)
	}
	return closeAndWait{in, cmd}, nil
}

type closeAndWait struct {
	io.Closer
	cmd *exec.Cmd
}

func (c closeAndWait) Close() error { return errors.Join(c.Closer.Close(), c.cmd.Wait()) }

// startAnywhere starts the server on its port, or on a free one if it has none.
func (s *Server) startAnywhere(ctx context.Context) error {
	if s.Port != 0 {
		return s.start(ctx)
	}
	var err error
	for range 5 { // somebody may take the port in between
		if s.Port, err = freePort(s.Host); err != nil {
			return err
		}
		if err = s.start(ctx); err == nil || !strings.Contains(s.log(20), "Address already in use") {
			return err
		}
	}
	return err
}

// start starts the server on its cluster and returns when it answers.
func (s *Server) start(ctx context.Context) error {
	args := []string{
		"-D", s.data, "-p", strconv.Itoa(s.Port), "-c", "listen_addresses=" + s.Host, "-c", "unix_socket_directories=" + s.socket(),
		"-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "shared_buffers=32MB", "-c", "max_connections=200", "-c", "max_wal_size=256MB",
	}
	for _, c := range s.settings {
		args = append(args, "-c", c)
	}
	cmd, err := s.run.command(context.WithoutCancel(ctx), s.dir, "postgres", args...)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(s.dir, "postgres.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of PostgreSQL: %w", err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	gone := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // its log says more
		close(gone)
	}()
	s.gone, s.pid = gone, cmd.Process.Pid
	return s.ready(ctx)
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.gone:
			return fmt.Errorf("PostgreSQL ended by itself\n%s", s.log(20))
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, s.log(20))
		case <-tick.C:
		}
	}
}

func (s *Server) socket() string { return filepath.Join(s.dir, "run") }

func (s *Server) log(n int) string {
	text, err := os.ReadFile(filepath.Join(s.dir, "postgres.log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(text), n)
}

// exec runs statements of an administrator, by the socket: whatever stands
// between the test and the server's address does not stand there.
func (s *Server) exec(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, s.Local("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, q := range statements {
		if _, err := conn.Exec(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

// URL is where a database of the server is found.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://smi@%s/%s?sslmode=disable", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), database)
}

// Local is where a database is found on the server's Unix socket, which is
// reached from every network namespace.
func (s *Server) Local(database string) string {
	return fmt.Sprintf("postgres://smi@/%s?host=%s&port=%d&sslmode=disable", database, s.socket(), s.Port)
}

// Database makes an empty database and returns its URL. It is dropped when the
// test ends.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.copy(t, "template1")
}

// Filled makes a database like the one that fill was given under this name the
// first time, and returns its URL. It is dropped when the test ends.
func (s *Server) Filled(t testing.TB, name string, fill func(url string) error) string {
	t.Helper()
	template := "template_" + name
	s.templates.mu.Lock()
	err, made := s.templates.made[name]
	if !made {
		if err = s.exec(t.Context(), "CREATE DATABASE "+pgx.Identifier{template}.Sanitize()); err == nil {
			err = fill(s.URL(template))
		}
		s.templates.made[name] = err
	}
	s.templates.mu.Unlock()
	if err != nil {
		t.Fatalf("filling the template %s: %v", name, err)
	}
	return s.copy(t, template)
}

func (s *Server) copy(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.names.Add(1))
	if err := s.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+pgx.Identifier{template}.Sanitize()); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)") //nolint:errcheck // it goes with the server, and that may be stopped
	})
	return s.URL(name)
}

// StopImmediate stops the server at once, without writing out what is only in
// its log, as pg_ctl stop -m immediate does.
func (s *Server) StopImmediate(t testing.TB) {
	t.Helper()
	s.stop(t, syscall.SIGQUIT)
}

// KillPostmaster kills the server's first process, and waits until its children
// have noticed: a server that is started before would refuse.
func (s *Server) KillPostmaster(t testing.TB) {
	t.Helper()
	s.stop(t, syscall.SIGKILL)
}

func (s *Server) stop(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.halt(sig); err != nil {
		t.Fatalf("stopping PostgreSQL: %v", err)
	}
}

// halt ends the server and waits for each of its processes.
func (s *Server) halt(sig syscall.Signal) error {
	if err := syscall.Kill(s.pid, sig); err != nil {
		return fmt.Errorf("it is not there: %w", err)
	}
	end := time.NewTimer(30 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	select {
	case <-s.gone:
	case <-end.C:
		return fmt.Errorf("process %d does not end\n%s", s.pid, s.log(20))
	}
	for {
		left := s.processes()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-end.C:
			return fmt.Errorf("processes %v do not end\n%s", left, s.log(20))
		}
	}
}

// processes are all that work in the server's folder: PostgreSQL goes there.
func (s *Server) processes() []int {
	var pids []int
	dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		if at, err := os.Readlink(d); err == nil && at == s.data {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(d))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Restart starts a server that was stopped or killed, on its port and with its
// data. One that runs is stopped first, in good order.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	select {
	case <-s.gone:
	default:
		s.stop(t, syscall.SIGINT)
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatalf("starting PostgreSQL again: %v", err)
	}
}

// end stops the server for good and removes it.
func (s *Server) end() {
	select {
	case <-s.gone:
	default:
		s.halt(syscall.SIGQUIT) //nolint:errcheck // who watches over it does the rest
	}
	s.guard.Close()
}

// freePort is a port of the host that nobody listens on now.
func freePort(host string) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

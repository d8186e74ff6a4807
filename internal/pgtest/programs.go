package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Program finds a program of PostgreSQL: where Debian keeps the newest
// version's, or on the path.
func Program(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err == nil && len(found) > 0 {
		return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
	}
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return "", fmt.Errorf("%s of PostgreSQL is not installed", name)
}

// version is the major version in a path of Debian's.
func version(program string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(program))))
	if err != nil {
		return 0
	}
	return n
}

// Package is a package of Debian's that a test needs, and how to see that it is
// there.
type Package struct {
	Name      string
	Installed func() bool
}

// PostgreSQL is the package with the server.
var PostgreSQL = Package{"postgresql", func() bool {
	for _, name := range []string{"initdb", "postgres", "pg_ctl", "pg_basebackup"} {
		if _, err := Program(name); err != nil {
			return false
		}
	}
	return true
}}

// Install makes sure that packages are there. As root on Debian it installs what
// is missing; otherwise it says what to install. Only one test at a time
// installs.
func Install(ctx context.Context, logf func(string, ...any), want ...Package) error {
	if missing(want) == nil {
		return nil
	}
	what := strings.Join(missing(want), " ")
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("missing: %s; install them (Debian: apt-get install %s) or run as root", what, what)
	}
	unlock, err := LockFile(filepath.Join(os.TempDir(), "smi-test-install.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	names := missing(want) // another test may have done it
	if names == nil {
		return nil
	}
	what = strings.Join(names, " ")
	logf("installing %s", what)
	for _, args := range [][]string{
		{"update"},
		append([]string{"install", "-y", "--no-install-recommends"}, names...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s: apt-get %s: %w\n%s", what, args[0], err, tail(string(out), 30))
		}
	}
	return nil
}

func missing(want []Package) []string {
	var names []string
	for _, p := range want {
		if !p.Installed() {
			names = append(names, p.Name)
		}
	}
	return names
}

// LockFile waits for the only lock on a file.
func LockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// tail returns the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// runner is as whom and where PostgreSQL's programs run.
type runner struct {
	root      bool
	uid, gid  int
	namespace string
}

// newRunner runs programs as the user of the test, or as postgres where that is
// root, for whom PostgreSQL does not run.
func newRunner(namespace string) (runner, error) {
	r := runner{root: os.Geteuid() == 0, namespace: namespace}
	if !r.root {
		return r, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return r, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres: %w", err)
	}
	if r.uid, err = strconv.Atoi(u.Uid); err != nil {
		return r, fmt.Errorf("reading the user id of postgres: %w", err)
	}
	if r.gid, err = strconv.Atoi(u.Gid); err != nil {
		return r, fmt.Errorf("reading the group id of postgres: %w", err)
	}
	return r, nil
}

// own gives a file to the one as whom programs run.
func (r runner) own(path string) error {
	if !r.root {
		return nil
	}
	return os.Chown(path, r.uid, r.gid)
}

// command is a command line of a program of PostgreSQL. In a namespace nsenter
// puts itself into it and becomes the program: one process, with one id.
func (r runner) command(ctx context.Context, dir, name string, args ...string) (*exec.Cmd, error) {
	bin, err := Program(name)
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{}
	switch {
	case r.namespace != "":
		args = slices.Concat([]string{"--net=/run/netns/" + r.namespace, "--setuid=" + strconv.Itoa(r.uid), "--setgid=" + strconv.Itoa(r.gid), bin}, args)
		bin = "nsenter"
	case r.root:
		attr.Credential = &syscall.Credential{Uid: uint32(r.uid), Gid: uint32(r.gid)}
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = attr
	return cmd, nil
}

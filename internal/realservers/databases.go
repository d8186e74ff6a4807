package realservers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// startPostgres makes a cluster of its own in dir and starts it. PostgreSQL does
// not run as root: then it runs as the user postgres, which must be able to pass
// through dir.
func startPostgres(ctx context.Context, t testing.TB, dir string, port int) (url string, err error) {
	t.Helper()
	as, own, err := postgresUser()
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return "", fmt.Errorf("making the folder of PostgreSQL: %w", err)
	}
	if err := own(data); err != nil {
		return "", fmt.Errorf("giving the folder to PostgreSQL: %w", err)
	}
	program := func(name string, args ...string) (*exec.Cmd, error) {
		bin, err := postgresBin(name)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Dir = data
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		return cmd, nil
	}
	cluster := filepath.Join(data, "cluster")
	initdb, err := program("initdb", "--pgdata", cluster, "--username", "smi", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	if err != nil {
		return "", err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("making a PostgreSQL cluster: %w\n%s", err, tail(out, 20))
	}
	server, err := program(
		"postgres", "-D", cluster, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=200",
	)
	if err != nil {
		return "", err
	}
	p, err := start(t, dir, "postgresql", server, syscall.SIGINT) // SIGINT: end now, cleanly
	if err != nil {
		return "", err
	}
	err = p.until(ctx, func(ctx context.Context) (bool, error) {
		ready, err := program("pg_isready", "-h", "127.0.0.1", "-p", strconv.Itoa(port))
		if err != nil {
			return false, err
		}
		return ready.Run() == nil, nil
	})
	return fmt.Sprintf("postgres://smi@127.0.0.1:%d/postgres", port), err
}

// postgresUser says as whom PostgreSQL runs and how a folder is given to them;
// nil for the user of the test.
func postgresUser() (*syscall.Credential, func(string) error, error) {
	if os.Geteuid() != 0 {
		return nil, func(string) error { return nil }, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the user id of postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the group id of postgres: %w", err)
	}
	own := func(dir string) error { return os.Chown(dir, int(uid), int(gid)) }
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, own, nil
}

// startRedis starts a Redis that keeps nothing on disk, and returns host:port.
func startRedis(ctx context.Context, t testing.TB, dir string, port int) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(
		ctx, "redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", dir,
	)
	p, err := start(t, dir, "redis", cmd, syscall.SIGTERM)
	if err != nil {
		return "", err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return addr, p.until(ctx, func(ctx context.Context) (bool, error) { return redisAnswers(ctx, addr) })
}

func redisAnswers(ctx context.Context, addr string) (bool, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.HasPrefix(line, "+PONG"), err
}

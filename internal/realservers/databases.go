package realservers

import (
	"bufio"
	"context"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"smi/internal/pgtest"
)

// redis is the package with its server.
var redis = pgtest.Package{Name: "redis-server", Installed: func() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}}

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

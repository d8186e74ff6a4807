//go:build e2e && cluster

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smi/internal/pgtest"
)

// A lan is a room of machines: network namespaces, each with one cable to the
// database and one to the social network, which end in two switches. All of it
// lies in namespaces of its own; the machine that runs the test sees nothing.
type lan struct {
	t    testing.TB
	name string // what the name of each namespace begins with
}

// The cables of a machine, and the networks they lead to.
const (
	toDatabase = "db"
	toNetwork  = "net"
)

var subnets = map[string]string{toDatabase: "10.91.1.", toNetwork: "10.91.2."}

var iproute = pgtest.Package{Name: "iproute2", Installed: func() bool {
	_, err := exec.LookPath("ip")
	return err == nil
}}

// canHaveLAN says once why there can be no namespaces, or nothing.
var canHaveLAN = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := pgtest.Install(ctx, func(string, ...any) {}, iproute); err != nil {
		return err
	}
	name := fmt.Sprintf("smi-%d-try", os.Getpid())
	err := errors.Join(ip("netns", "add", name), ip("-n", name, "link", "add", "br0", "type", "bridge"))
	return errors.Join(err, ip("netns", "del", name))
})

// newLAN makes the room. The machines have the numbers of their place in the
// list, from 11 on; the database is number 2 and so is the social network.
func newLAN(t testing.TB, number int, machines ...string) *lan {
	t.Helper()
	if err := canHaveLAN(); err != nil {
		t.Skipf("network namespaces cannot be made: %v", err)
	}
	l := &lan{t: t, name: fmt.Sprintf("smi-%d-%d-", os.Getpid(), number)}
	guard, err := watchLAN(l.name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guard.Close() })
	l.must("netns", "add", l.name+"switch")
	for side := range subnets {
		l.must("-n", l.name+"switch", "link", "add", side, "type", "bridge")
		l.must("-n", l.name+"switch", "link", "set", side, "up")
	}
	l.plug("database", toDatabase, 2)
	l.plug("network", toNetwork, 2)
	for i, m := range machines {
		l.plug(m, toDatabase, 11+i)
		l.plug(m, toNetwork, 11+i)
	}
	return l
}

// plug gives a machine a cable, and makes the machine with its first.
func (l *lan) plug(machine, side string, number int) {
	l.t.Helper()
	ns := l.name + machine
	if _, err := os.Stat("/run/netns/" + ns); err != nil {
		l.must("netns", "add", ns)
		l.must("-n", ns, "link", "set", "lo", "up")
	}
	l.must("-n", l.name+"switch", "link", "add", machine+"-"+side, "type", "veth", "peer", "name", side, "netns", ns)
	l.must("-n", l.name+"switch", "link", "set", machine+"-"+side, "master", side, "up")
	l.must("-n", ns, "addr", "add", fmt.Sprintf("%s%d/24", subnets[side], number), "dev", side)
	l.must("-n", ns, "link", "set", side, "up")
}

// cut takes a machine's cable out: at the machine, which then knows it, or at
// the switch, where it does not know why nobody answers.
func (l *lan) cut(machine, side string, atSwitch bool) { l.set(machine, side, atSwitch, "down") }

// mend puts it in again.
func (l *lan) mend(machine, side string, atSwitch bool) { l.set(machine, side, atSwitch, "up") }

func (l *lan) set(machine, side string, atSwitch bool, to string) {
	l.t.Helper()
	if atSwitch {
		l.must("-n", l.name+"switch", "link", "set", machine+"-"+side, to)
		return
	}
	l.must("-n", l.name+machine, "link", "set", side, to)
}

// inside is what a command line begins with to run on a machine. The process
// becomes the command: a signal to its id reaches it.
func (l *lan) inside(machine string) []string {
	return []string{"nsenter", "--net=/run/netns/" + l.name + machine}
}

// The process's first thread stays with the goroutine that begins: a goroutine
// that enters a machine on it (see listen) would take the whole process there,
// as the kernel counts, and it would be killed when the machine is taken away.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // later it might be another thread

// listen opens a port of a machine in this process.
func (l *lan) listen(machine, address string) net.Listener {
	l.t.Helper()
	type made struct {
		l   net.Listener
		err error
	}
	ch := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		f, err := os.Open("/run/netns/" + l.name + machine)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			ch <- made{err: err}
			return
		}
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		ch <- made{ln, err}
	}()
	m := <-ch
	if m.err != nil {
		l.t.Fatalf("listening on %s of %s: %v", address, machine, m.err)
	}
	return m.l
}

func (l *lan) must(args ...string) {
	l.t.Helper()
	if err := ip(args...); err != nil {
		l.t.Fatal(err)
	}
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// watchLAN starts a process that takes the namespaces away when the test has
// ended, however it did, with whatever still runs in them.
func watchLAN(name string) (io.Closer, error) {
	const script = `trap '' INT HUP TERM
cat >/dev/null
for ns in /run/netns/"$0"*; do
  [ -e "$ns" ] || continue
  ns=${ns#/run/netns/}
  left=$(ip netns pids "$ns")
  [ -n "$left" ] && kill -KILL $left 2>/dev/null
  ip netns del "$ns"
done`
	cmd := exec.Command("sh", "-c", script, name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watching over the namespaces: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watching over the namespaces: %w", err)
	}
	return watcher{in, cmd}, nil
}

type watcher struct {
	io.Closer
	cmd *exec.Cmd
}

func (w watcher) Close() error { return errors.Join(w.Closer.Close(), w.cmd.Wait()) }

// certificate makes one for a server at an address.
func certificate(t testing.TB, address string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	like := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "smi test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IPAddresses: []net.IP{net.ParseIP(address)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, like, like, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestLAN shows that a cable that was taken out is out, on either end, and that
// machines reach a server of this process.
func TestLAN(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 0, "n1", "n2")
	ln := l.listen("network", "10.91.2.2:8080")
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, conn.RemoteAddr())
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close() })
	ask := func(machine string) string {
		line := append(l.inside(machine), "bash", "-c", "exec 3<>/dev/tcp/10.91.2.2/8080 && cat <&3")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, line[0], line[1:]...).Output()
		if err != nil {
			return "nothing"
		}
		from, _, _ := strings.Cut(string(out), ":")
		return from
	}
	want := func(machine, answer string) { // a cable that is put in takes a moment
		t.Helper()
		until(t, 20*time.Second, machine+" to be answered "+answer, func() (bool, string) {
			got := ask(machine)
			return got == answer, "it was answered " + got
		})
	}
	for _, atSwitch := range []bool{false, true} {
		want("n1", "10.91.2.11")
		l.cut("n1", toNetwork, atSwitch)
		want("n1", "nothing")
		want("n2", "10.91.2.12")
		l.mend("n1", toNetwork, atSwitch)
	}
	want("n1", "10.91.2.11")
}

// TestDatabaseOnAMachine shows that a server in a namespace can fail over there.
func TestDatabaseOnAMachine(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 99, "n1")
	pg := pgtest.StartWith(t, pgtest.Options{Namespace: l.name + "database", Host: databaseHost, Port: 5432})
	answers := func(port, want string) {
		t.Helper()
		line := append(l.inside("n1"), "bash", "-c", "exec 3<>/dev/tcp/"+databaseHost+"/"+port+" && echo yes")
		out, _ := exec.CommandContext(t.Context(), line[0], line[1:]...).Output()
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("port %s answers %q, want %q", port, got, want)
		}
	}
	answers("5432", "yes")
	standby := pg.StandbyOn(t, pgtest.Synchronous, 5433)
	pg.KillPostmaster(t)
	standby.Promote(t)
	answers("5432", "")
	answers("5433", "yes")
}

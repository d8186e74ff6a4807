// Command loadtest measures the real smi binary against the simulated Bluesky
// network on loopback: how late posts go out when many are due in the same
// second, how many a minute it sustains, how fast posts can be planned, how much
// memory it takes, and how much a large upload adds. It prints a table; it asserts nothing about times.
//
//	go run ./internal/loadtest            # the whole table, some four minutes
//	go run ./internal/loadtest -quick     # smaller numbers, under a minute
//	go run ./internal/loadtest -uploads   # the large upload alone
//
// The network's latency is the delay of the answer to a commit. Lateness is the
// first byte of the commit minus the planned time. The simulator runs in this
// process, on the same processors as the daemon.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"smi/connectors/bluesky/blueskysim"
	"smi/internal/httpapi"
)

// appPassword is that of every simulated account.
const appPassword = "load-load-load-load"

// bench is a daemon and its network.
type bench struct {
	dir      string
	sim      *blueskysim.Sim
	url      string
	latency  atomic.Int64 // of commits, in nanoseconds
	commits  atomic.Int64
	api      *httpapi.Client
	daemon   *exec.Cmd
	accounts int
	serial   int
}

func main() {
	quick := flag.Bool("quick", false, "smaller numbers")
	binary := flag.String("smi", "", "the smi binary; built if empty")
	only := flag.Bool("uploads", false, "measure large uploads and nothing else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *quick, *only, *binary); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, quick, only bool, binary string) error {
	dir, err := os.MkdirTemp("", "smi-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder that stays does no harm
	b := &bench{dir: dir, accounts: 1000}
	if quick {
		b.accounts = 200
	}
	if binary == "" {
		binary = filepath.Join(dir, "smi")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/smi")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building smi: %w", err)
		}
	}
	fmt.Printf("smi load harness: %s/%s, %d processors, %s; simulator on the same machine, plain HTTP on loopback\n\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	length := int64(2 << 30)
	if quick {
		length = 256 << 20
	}
	if only {
		return uploads(ctx, dir, binary, length)
	}
	if err := b.serveNetwork(ctx); err != nil {
		return err
	}
	if err := b.startDaemon(ctx, binary); err != nil {
		return err
	}
	defer b.stopDaemon()
	idle := b.memory("VmRSS")
	if err := b.connect(ctx); err != nil {
		return err
	}
	fmt.Printf("%-64s %10s %10s %10s %10s\n", "lateness: first byte of the commit minus the planned time", "p50", "p99", "max", "all sent in")
	for _, n := range counts(quick) {
		for _, latency := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond} {
			if err := b.burst(ctx, fmt.Sprintf("%d due in one second, each on its own account, %v", n, latency), n, n, latency); err != nil {
				return err
			}
		}
	}
	one := 200
	if quick {
		one = 40
	}
	if err := b.burst(ctx, fmt.Sprintf("%d due in one second, on one account in order, 50ms", one), one, 1, 50*time.Millisecond); err != nil {
		return err
	}
	peak := b.memory("VmHWM")
	if err := b.sustained(ctx, 4*b.accounts); err != nil {
		return err
	}
	fmt.Printf("%-64s %9.0f MiB (target < 60)\n", "memory of the daemon, idle after its start", idle)
	fmt.Printf("%-64s %9.0f MiB\n", fmt.Sprintf("memory, peak so far (bursts of %d, %d accounts)", b.accounts, b.accounts), peak)
	fmt.Printf("%-64s %9.0f MiB\n", fmt.Sprintf("memory, peak at the end (%d due at once)", 4*b.accounts), b.memory("VmHWM"))
	return uploads(ctx, dir, binary, length)
}

func counts(quick bool) []int {
	if quick {
		return []int{50, 200}
	}
	return []int{200, 1000}
}

// serveNetwork starts the simulator; commits are answered after the latency.
func (b *bench) serveNetwork(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.url = "http://" + l.Addr().String()
	b.sim = blueskysim.New(blueskysim.Options{BaseURL: b.url})
	for i := range b.accounts {
		b.sim.AddAccount(blueskysim.Account{Handle: handle(i), AppPassword: appPassword})
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "com.atproto.repo.putRecord") {
			t := time.NewTimer(time.Duration(b.latency.Load()))
			<-t.C
			b.commits.Add(1)
		}
		b.sim.ServeHTTP(w, r)
	})}
	go srv.Serve(l) //nolint:errcheck // it ends with the process
	return nil
}

func handle(i int) string { return fmt.Sprintf("account-%04d.test", i) }

// startDaemon makes a key, a configuration and a data directory, and starts smi.
func (b *bench) startDaemon(ctx context.Context, binary string) error {
	addr := strings.TrimPrefix(b.url, "http://")
	conf := filepath.Join(b.dir, "config.yaml")
	text := fmt.Sprintf(`data_dir: %q
key_file: %q
log: {level: warn}
allow_private: [%q]
networks:
  bluesky:
    service: %[4]q
    plc_url: %[4]q
    web_url: %[4]q
    allow_hosts: [%[3]q]
    min_gap: 0s
`, filepath.Join(b.dir, "data"), filepath.Join(b.dir, "key", "smi.keyset"), addr, b.url)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, binary, "--config", conf, "keys", "init").CombinedOutput(); err != nil {
		return fmt.Errorf("smi keys init: %w\n%s", err, out)
	}
	b.daemon = exec.CommandContext(ctx, binary, "--config", conf, "serve")
	b.daemon.Stderr, b.daemon.Stdout = os.Stderr, os.Stderr
	begin := time.Now()
	if err := b.daemon.Start(); err != nil {
		return fmt.Errorf("starting smi: %w", err)
	}
	b.api = httpapi.NewClient(filepath.Join(b.dir, "data", "smi.sock"), "")
	if err := b.until(ctx, 30*time.Second, func() bool { _, err := b.api.Status(ctx); return err == nil }); err != nil {
		return fmt.Errorf("waiting for the daemon: %w", err)
	}
	fmt.Printf("%-64s %10v\n", "start of the daemon on an empty directory, until it answers", time.Since(begin).Round(time.Millisecond))
	// Memory settles once the runtime has given back what the start needed.
	settle := time.NewTimer(5 * time.Second)
	<-settle.C
	return nil
}

func (b *bench) stopDaemon() {
	b.api.Close()
	b.daemon.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	b.daemon.Wait()                          //nolint:errcheck // the figures are printed
}

// until polls a condition.
func (b *bench) until(ctx context.Context, most time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %v", most)
		}
	}
	return nil
}

// memory reads a figure of the daemon in MiB: VmRSS now, VmHWM the peak.
func (b *bench) memory(name string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.daemon.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if n, err := fmt.Sscanf(line, name+": %f kB", &kb); n == 1 && err == nil {
			return kb / 1024
		}
	}
	return 0
}

package realservers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is a server that a test started. It leads a process group of its own,
// so that what it starts ends with it.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string // file with what it printed
	gone chan struct{}
	err  error // set before gone is closed
}

// start starts cmd with its output in a file of dir. The process is stopped when
// the test ends, and the end of its output printed if the test failed.
func start(t testing.TB, dir, name string, cmd *exec.Cmd, stop syscall.Signal) (*process, error) {
	t.Helper()
	p := &process{name: name, cmd: cmd, log: filepath.Join(dir, name+".log"), gone: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", name, err), out.Close())
	}
	go func() {
		p.err = cmd.Wait()
		out.Close()
		close(p.gone)
	}()
	t.Cleanup(func() {
		p.stop(stop)
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", name, p.tail(40))
		}
	})
	return p, nil
}

// stop asks with sig, and kills the group of what is still there after 10 s.
func (p *process) stop(sig syscall.Signal) {
	p.cmd.Process.Signal(sig)
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.gone
}

func (p *process) tail(n int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return tail(text, n)
}

// until waits until ok says true, and gives up when the process ends or ctx does.
func (p *process) until(ctx context.Context, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.gone:
			cancel(fmt.Errorf("%s ended: %w", p.name, p.err))
		case <-ctx.Done():
		}
	}()
	if err := Until(ctx, 100*time.Millisecond, ok); err != nil {
		return fmt.Errorf("waiting for %s: %w (%w)\n%s", p.name, err, context.Cause(ctx), p.tail(60))
	}
	return nil
}

// freePorts returns n ports of 127.0.0.1 that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	var open []io.Closer
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		open = append(open, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

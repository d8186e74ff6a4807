package simkit

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// linkRoom is what one direction of a link holds that nobody has read yet, as
// the buffers of sockets do.
const linkRoom = 256 << 10

// link returns the two ends of a connection in memory. Unlike those of net.Pipe
// they have room for what was written and not read yet: TLS says goodbye while
// it holds a lock, and a bubble's time stands still for who waits for that.
func link() (here, there net.Conn) {
	a, b := &half{wake: make(chan struct{})}, &half{wake: make(chan struct{})}
	return &linkEnd{in: a, out: b}, &linkEnd{in: b, out: a}
}

// half is one direction.
type half struct {
	mu     sync.Mutex
	buf    []byte
	ended  bool // nothing more is written
	broken bool // nobody reads any more
	wake   chan struct{}
}

// change does something with the half and wakes who waits for it.
func (h *half) change(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn()
	close(h.wake)
	h.wake = make(chan struct{})
}

// wait does try until it says that it is done, the deadline passes, or the end
// is closed.
func (h *half) wait(d *deadline, try func() (n int, done bool, err error)) (int, error) {
	for {
		if d.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		h.mu.Lock()
		n, done, err := try()
		if n > 0 {
			close(h.wake)
			h.wake = make(chan struct{})
		}
		wake := h.wake
		h.mu.Unlock()
		if done || err != nil {
			return n, err
		}
		select {
		case <-wake:
		case <-d.channel():
		}
	}
}

type linkEnd struct {
	in, out     *half
	read, write deadline
}

func (e *linkEnd) Read(b []byte) (int, error) {
	return e.in.wait(&e.read, func() (int, bool, error) {
		switch {
		case e.in.broken:
			return 0, false, io.ErrClosedPipe
		case len(e.in.buf) > 0 || len(b) == 0:
			n := copy(b, e.in.buf)
			e.in.buf = e.in.buf[n:]
			return n, true, nil
		case e.in.ended:
			return 0, false, io.EOF
		}
		return 0, false, nil
	})
}

func (e *linkEnd) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		var n int
		n, err = e.out.wait(&e.write, func() (int, bool, error) {
			if e.out.ended || e.out.broken {
				return 0, false, io.ErrClosedPipe
			}
			n := min(len(b), linkRoom-len(e.out.buf))
			e.out.buf = append(e.out.buf, b[:n]...)
			return n, n > 0, nil
		})
		written, b = written+n, b[n:]
	}
	return written, err
}

// Close lets the other end read what was written, and then the end.
func (e *linkEnd) Close() error {
	e.out.change(func() { e.out.ended = true })
	e.in.change(func() { e.in.broken, e.in.buf = true, nil })
	return nil
}

func (e *linkEnd) LocalAddr() net.Addr  { return pipeAddr{} }
func (e *linkEnd) RemoteAddr() net.Addr { return pipeAddr{} }

func (e *linkEnd) SetDeadline(t time.Time) error {
	e.read.set(t)
	e.write.set(t)
	return nil
}

func (e *linkEnd) SetReadDeadline(t time.Time) error {
	e.read.set(t)
	return nil
}

func (e *linkEnd) SetWriteDeadline(t time.Time) error {
	e.write.set(t)
	return nil
}

// deadline is a time that may be moved while somebody waits for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when it has passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	over := d.over
	if over == nil || closed(over) {
		over = make(chan struct{})
		d.over = over
	}
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { d.end(over) })
	} else {
		close(over)
	}
}

func (d *deadline) end(over chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == over && !closed(over) && d.timer != nil {
		close(over)
	}
}

func (d *deadline) channel() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

func (d *deadline) passed() bool { return closed(d.channel()) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

package api

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loseAfter lets a connection fail when what was sent on it is not acknowledged
// for a time.
func loseAfter(conn net.Conn, d time.Duration) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // then the system decides
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) //nolint:gosec,errcheck // a descriptor fits; else the system decides
	})
}

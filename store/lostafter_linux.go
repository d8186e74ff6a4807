package store

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lostAfter makes a connection fail when what was sent is not acknowledged for a
// time: else a pulled cable would be noticed after a quarter of an hour.
func lostAfter(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) //nolint:gosec // a descriptor fits
		}); cerr != nil {
			return cerr
		}
		return err
	}
}

package httpapi

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel which user is at the other end of a Unix socket.
func peerOf(c net.Conn) peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}
	}
	var p peer
	if err := raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil { //nolint:gosec // a file descriptor fits
			p = peer{uid: cred.Uid, ok: true}
		}
	}); err != nil {
		return peer{}
	}
	return p
}

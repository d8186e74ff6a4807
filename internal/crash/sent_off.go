//go:build !faultinject

package crash

import "net"

// Sent says that the first byte of an attempt is about to be written.
func Sent(attempt int64, conn net.Conn) {}

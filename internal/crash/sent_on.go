//go:build faultinject

package crash

import (
	"fmt"
	"net"
	"os"
	"time"
)

var sent = os.Getenv("SMI_SENT")

// Sent says that the first byte of an attempt is about to be written: it notes
// attempt, address and time in the file that the environment variable SMI_SENT
// names. With it a test knows under which right each request was made that came
// to the network.
func Sent(attempt int64, conn net.Conn) {
	if sent == "" || conn == nil {
		return
	}
	f, err := os.OpenFile(sent, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // named by a test
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%d %s %d\n", attempt, conn.LocalAddr(), time.Now().UnixMicro()); err != nil { //nolint:forbidigo // compared with the clock of the machine
		panic(err)
	}
}

//go:build faultinject

// Package crash marks the points at which a test kills the process. In an
// ordinary build a point is nothing at all; only binaries built with the tag
// faultinject can crash on purpose.
package crash

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var (
	name, nth, freeze = parse(os.Getenv("SMI_CRASH_AT"))
	passed            atomic.Int64
)

// parse reads "after-arm:3": the third time at that point. With "stop:" before
// it the process is only stopped there.
func parse(s string) (_ string, _ int64, freeze bool) {
	s, freeze = strings.CutPrefix(s, "stop:")
	name, n, _ := strings.Cut(s, ":")
	nth, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		nth = 1
	}
	return name, nth, freeze
}

// Point kills the process with SIGKILL, as a power cut would, if the
// environment variable SMI_CRASH_AT names this point and it is passed for the
// wanted time. Or it stops it with SIGSTOP, until somebody sends SIGCONT.
func Point(at string) {
	if at != name || passed.Add(1) != nth {
		return
	}
	if freeze {
		fmt.Fprintf(os.Stderr, "crash: stopped at %s\n", at)
		// The stop reaches this thread a moment later; nothing may go on until then.
		goOn := make(chan os.Signal, 1)
		signal.Notify(goOn, syscall.SIGCONT)
		syscall.Kill(os.Getpid(), syscall.SIGSTOP) //nolint:errcheck // it never fails for oneself
		<-goOn
		signal.Stop(goOn)
		return
	}
	fmt.Fprintf(os.Stderr, "crash: killed at %s\n", at)
	syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // there is nobody left to tell
	select {}
}

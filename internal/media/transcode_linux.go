package media

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// confine bounds the memory of a program, has it ended first where memory is
// short, and leaves no picture of its memory on the disk. A program whose system
// does not allow that runs without.
func confine(pid int) {
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0)            //nolint:errcheck // see above
	unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)                               //nolint:errcheck // see above
	unix.Prlimit(pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: mostMemory, Max: mostMemory}, nil) //nolint:errcheck // see above
}

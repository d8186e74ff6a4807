//go:build unix

package media

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// apart makes the program the head of a group that is ended as a whole.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

// giveWay gives a program the lowest priority: publishing comes first.
func giveWay(pid int) {
	syscall.Setpriority(syscall.PRIO_PGRP, pid, 19) //nolint:errcheck // it is only slower for others
}

//go:build !unix

package media

import "os/exec"

func apart(*exec.Cmd) {}

func giveWay(int) {}

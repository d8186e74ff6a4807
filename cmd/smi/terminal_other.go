//go:build !linux

package main

import (
	"bufio"
	"errors"
	"os"
)

// isTerminal says whether somebody can be asked at f.
func isTerminal(*os.File) bool { return false }

// readSecret cannot hide what is typed here.
func readSecret(*os.File, *bufio.Reader) (string, error) {
	return "", errors.New("a password cannot be typed here without showing it; use --app-password-file")
}

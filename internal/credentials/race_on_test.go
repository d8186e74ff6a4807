//go:build race

package credentials_test

// raceEnabled: the race detector makes everything many times slower, so exact
// counts run without it.
const raceEnabled = true

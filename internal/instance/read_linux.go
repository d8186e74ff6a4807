package instance

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Read reads the facts of this machine, and the id of its boot. dir is the data
// folder; id, that of the database, keeps the machine's id from being stored as
// it is.
func Read(name, dir, id string) (Facts, string) {
	f := Facts{Name: name, Path: resolved(dir)}
	boot := line("/proc/sys/kernel/random/boot_id")
	if inContainer() {
		return f, boot
	}
	if m := line("/etc/machine-id"); len(m) == 32 {
		sum := sha256.Sum256([]byte(id + " " + m))
		f.Machine = hex.EncodeToString(sum[:8])
	}
	f.Cards = cards("/sys/class/net")
	return f, boot
}

// line reads a file of one line, "" if it cannot be read.
func line(name string) string {
	b, err := os.ReadFile(name) //nolint:gosec // names of the system's own
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// inContainer says whether the machine's id and cards are those of a container,
// which are new with each of its updates, or of its image.
func inContainer() bool {
	for _, name := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != "" || os.Getenv("container") != ""
}

// cards are the addresses of the network cards that the hardware came with: not
// virtual ones, not wireless ones (which change theirs at will), and none that
// was given another address.
func cards(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		if !exists(filepath.Join(at, "device")) || exists(filepath.Join(at, "phy80211")) || line(filepath.Join(at, "addr_assign_type")) != "0" {
			continue
		}
		if a := line(filepath.Join(at, "address")); a != "" && a != "00:00:00:00:00:00" {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

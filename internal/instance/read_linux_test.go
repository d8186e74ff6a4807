package instance

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestCards: only what the hardware came with counts.
func TestCards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, files := range map[string]map[string]string{
		"eth0":    {"device/vendor": "", "addr_assign_type": "0\n", "address": "02:00:00:00:00:02\n"},
		"eth1":    {"device/vendor": "", "addr_assign_type": "0\n", "address": "02:00:00:00:00:01\n"},
		"lo":      {"addr_assign_type": "0\n", "address": "00:00:00:00:00:00\n"},
		"docker0": {"addr_assign_type": "3\n", "address": "02:00:00:00:00:03\n"},
		"wlan0":   {"device/vendor": "", "phy80211/name": "", "addr_assign_type": "0\n", "address": "02:00:00:00:00:04\n"},
		"eth2":    {"device/vendor": "", "addr_assign_type": "3\n", "address": "02:00:00:00:00:05\n"},
	} {
		for file, text := range files {
			path := filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := cards(dir), []string{"02:00:00:00:00:01", "02:00:00:00:00:02"}; !slices.Equal(got, want) {
		t.Errorf("cards = %v, want %v", got, want)
	}
}

// TestRead: the same folder is one place by whatever way it is named, and the
// machine's id is not stored as it is.
func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	a, boot := Read("n", dir, "db1")
	b, again := Read("n", link, "db1")
	if a.Path == "" || a.Path != b.Path || a.Machine != b.Machine || boot != again || a.Name != "n" {
		t.Errorf("one place has two descriptions: %+v and %+v", a, b)
	}
	if raw := line("/etc/machine-id"); raw != "" && a.Machine == raw {
		t.Error("the machine's id is stored as it is")
	}
}

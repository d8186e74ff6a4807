package instance

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/internal/social"
)

// TestJudge: what says that a database is a copy or old, and what does not.
func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	alive := now.Add(-3 * time.Hour)
	home := Facts{Machine: "m1", Cards: []string{"02:00:00:00:00:01", "02:00:00:00:00:02"}, Path: "/var/lib/smi"}
	kept := Mark{Instance: "db1", Run: "r1", Beat: 100, Attempt: 50, At: alive, Boot: "b1", Clean: true, Facts: home}
	// A situation begins as an ordinary start and is changed.
	type situation struct {
		kept  Mark
		wrote time.Time
		files []Found
		facts Facts
		boot  string
	}
	beside := func(s *situation) *Found { return &s.files[0] }
	for _, c := range []struct {
		name   string
		change func(*situation)
		want   social.QuarantineKind
		says   string // in the reason
		from   time.Time
		to     time.Time
	}{
		{"an ordinary start", func(*situation) {}, "", "", time.Time{}, time.Time{}},
		{"a new database", func(s *situation) {
			s.kept = Mark{Instance: "db1"}
			s.files = []Found{{Path: "f", Beside: true, Missing: true}}
		}, "", "", time.Time{}, time.Time{}},
		{"a new database beside an old mark", func(s *situation) { s.kept = Mark{Instance: "db2"} }, "", "", time.Time{}, time.Time{}},
		{"killed, and started again", func(s *situation) { s.kept.Clean = false }, "", "", time.Time{}, time.Time{}},
		{"stopped, and the machine started anew", func(s *situation) { s.boot = "b2" }, "", "", time.Time{}, time.Time{}},
		{"the file is behind", func(s *situation) { beside(s).Mark.Beat, beside(s).Mark.Attempt = 90, 40 }, "", "", time.Time{}, time.Time{}},

		{"older than the file by marks", func(s *situation) { beside(s).Mark.Beat = 101 }, social.OldDatabase, "older than what smi did", alive.Add(-time.Hour), time.Time{}},
		{"older than the file by an attempt", func(s *situation) { beside(s).Mark.Attempt = 51 }, social.OldDatabase, "older than what smi did", alive.Add(-time.Hour), time.Time{}},
		{"older than the second file", func(s *situation) {
			s.files = append(s.files, Found{Path: "second", Mark: kept})
			s.files[1].Mark.Beat = 140
		}, social.OldDatabase, "the mark in second", alive.Add(-time.Hour), time.Time{}},
		{"from before there were marks", func(s *situation) { s.kept = Mark{Instance: "db1", Attempt: 10}; s.wrote = alive }, social.OldDatabase, "older than", alive.Add(-time.Hour), time.Time{}},
		{"rows after the last mark", func(s *situation) { beside(s).Mark.Beat = 101; s.wrote = alive.Add(30 * time.Second) }, social.OldDatabase, "", alive.Add(30*time.Second - time.Hour), time.Time{}},
		{"another database", func(s *situation) { beside(s).Mark.Instance = "db2" }, social.OldDatabase, "of another database", alive.Add(-time.Hour), time.Time{}},
		{"the mark is missing", func(s *situation) { s.files[0] = Found{Path: "f", Beside: true, Missing: true} }, social.OldDatabase, "is missing", alive.Add(-time.Hour), time.Time{}},
		{"the mark cannot be read", func(s *situation) { s.files[0] = Found{Path: "f", Beside: true, Err: errors.New("no")} }, social.OldDatabase, "is missing or cannot be read", alive.Add(-time.Hour), time.Time{}},
		{"the mark is missing, the second vouches", func(s *situation) {
			s.files = []Found{{Path: "f", Beside: true, Missing: true}, {Path: "second", Mark: kept}}
		}, "", "", time.Time{}, time.Time{}},
		{"the mark is missing, the second is long behind", func(s *situation) {
			s.files = []Found{{Path: "f", Beside: true, Missing: true}, {Path: "second", Mark: kept}}
			s.files[1].Mark.Beat = 50
		}, social.OldDatabase, "is missing", alive.Add(-time.Hour), time.Time{}},
		{"the second is not there", func(s *situation) { s.files = append(s.files, Found{Path: "second", Missing: true}) }, "", "", time.Time{}, time.Time{}},

		{"another machine", func(s *situation) { s.facts.Machine = "m2" }, social.Copied, "another machine id", alive.Add(-time.Hour), time.Time{}},
		{"another folder", func(s *situation) { s.facts.Path = "/srv/smi" }, social.Copied, "the data folder was /var/lib/smi and is /srv/smi", alive.Add(-time.Hour), time.Time{}},
		{"a cloned virtual machine", func(s *situation) { s.facts.Cards = []string{"02:00:00:00:00:99"} }, social.Copied, "network cards are others", alive.Add(-time.Hour), time.Time{}},
		{"one card was added and one taken out", func(s *situation) { s.facts.Cards = []string{"02:00:00:00:00:02", "02:00:00:00:00:77"} }, "", "", time.Time{}, time.Time{}},
		{"no card is known", func(s *situation) { s.facts.Cards = nil }, "", "", time.Time{}, time.Time{}},
		{"a new container of the same volume", func(s *situation) { s.kept.Facts = Facts{Path: "/data"}; s.facts = Facts{Path: "/data"} }, "", "", time.Time{}, time.Time{}},
		{"into a container with the same folder", func(s *situation) { s.facts = Facts{Path: home.Path} }, "", "", time.Time{}, time.Time{}},
		{"nothing is known", func(s *situation) { s.facts = Facts{} }, "", "", time.Time{}, time.Time{}},

		{"moved under one name", func(s *situation) {
			s.kept.Name = "prod"
			s.facts = Facts{Name: "prod", Machine: "m2", Path: "/srv/smi", Cards: []string{"02:00:00:00:00:99"}}
		}, "", "", time.Time{}, time.Time{}},
		{"copied for staging", func(s *situation) { s.kept.Name = "prod"; s.facts.Name = "staging" }, social.Copied, `instance "prod", and this one is named "staging"`, alive.Add(-time.Hour), time.Time{}},
		{"copied and named for the first time", func(s *situation) { s.facts.Name, s.facts.Machine = "staging", "m2" }, social.Copied, "another machine", alive.Add(-time.Hour), time.Time{}},
		{"named in its place", func(s *situation) { s.facts.Name = "prod" }, "", "", time.Time{}, time.Time{}},
		{"moved, and the name was taken away", func(s *situation) { s.kept.Name = "prod"; s.facts.Machine = "m2" }, social.Copied, "another machine", alive.Add(-time.Hour), time.Time{}},

		{"the machine went down", func(s *situation) { s.kept.Clean = false; s.boot = "b2" }, social.UncleanStop, "went down", alive.Add(-10 * time.Minute), alive.Add(5 * time.Minute)},
		{"the machine went down just now", func(s *situation) {
			s.kept.Clean = false
			s.boot = "b2"
			s.kept.At = now.Add(-time.Minute)
		}, social.UncleanStop, "", now.Add(-11 * time.Minute), now},
		{"down, and the boot is not known", func(s *situation) { s.kept.Clean = false; s.boot = "" }, "", "", time.Time{}, time.Time{}},
		{"down, and older than the file", func(s *situation) { s.kept.Clean = false; s.boot = "b2"; beside(s).Mark.Attempt = 51 }, social.OldDatabase, "", alive.Add(-time.Hour), time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := situation{kept: kept, facts: home, boot: "b1", files: []Found{{Path: "f", Beside: true, Mark: kept}}}
			s.kept.Cards, s.facts.Cards = slices.Clone(home.Cards), slices.Clone(home.Cards)
			c.change(&s)
			got := Judge(s.kept, s.wrote, s.files, s.facts, s.boot, now)
			switch {
			case got == nil && c.want == "":
			case got == nil || got.Kind != c.want || !strings.Contains(got.Reason, c.says) || !got.From.Equal(c.from) || !got.To.Equal(c.to) || got.Short != (c.want == social.UncleanStop):
				t.Errorf("Judge = %+v, want %q with %q, from %s to %s", got, c.want, c.says, c.from, c.to)
			}
		})
	}
}

// TestFile: a mark comes back as it was written, and a half one is an error.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	if f := ReadFile(path); !f.Missing || f.Err != nil {
		t.Errorf("no file reads as %+v", f)
	}
	for beat := range int64(2) {
		m := Mark{Instance: "db1", Run: "r", Beat: beat, Attempt: 7, At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Facts: Facts{Path: "/d"}}
		if err := WriteFile(path, m); err != nil {
			t.Fatal(err)
		}
		if f := ReadFile(path); f.Err != nil || f.Mark.Beat != beat || f.Mark.Attempt != 7 || !f.Mark.At.Equal(m.At) || f.Mark.Path != "/d" {
			t.Errorf("the mark reads as %+v", f)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v (%v)", st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte(`{"instance":"d`), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := ReadFile(path); f.Err == nil {
		t.Errorf("half a mark reads as %+v", f)
	}
	if err := WriteFile(filepath.Join(path, "under", "a", "file"), Mark{}); err == nil {
		t.Error("a mark was written where no folder is")
	}
}

// Package instance tells whether a database is still where it was and as new as
// it was: marks kept in it and beside it are compared with each other and with
// the machine. It decides nothing about posts; who asks puts the instance into
// quarantine.
package instance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
)

// Facts are what tells one installation from a copy of it. A fact that is not
// known is empty, and tells nothing.
type Facts struct {
	Name    string   `json:"name,omitempty"`    // given by the admin, who vouches that there is one such instance
	Machine string   `json:"machine,omitempty"` // names the operating system's installation; none in a container
	Cards   []string `json:"cards,omitempty"`   // addresses of the built-in network cards; none in a container
	Path    string   `json:"path,omitempty"`    // of the data folder
}

// Mark is what is kept of an instance, in the database and in files. The file is
// written after the database, so it is never ahead of its own database.
type Mark struct {
	Instance string    `json:"instance"` // id of the database
	Run      string    `json:"run"`      // of the process that wrote it
	Beat     int64     `json:"beat"`     // grows by one with each mark
	Attempt  social.ID `json:"attempt"`  // the newest that was armed
	At       time.Time `json:"at"`       // when smi was last known to run
	Boot     string    `json:"boot,omitempty"`
	Clean    bool      `json:"clean"` // smi was stopped in order
	Facts
}

// Finding is a reason not to publish before the networks were looked at.
type Finding struct {
	Kind   social.QuarantineKind
	Reason string
	// What was planned between From and To may have been published without the
	// database knowing it. A zero To means until somebody adopts the instance.
	From, To time.Time
	// Short: the instance is the live one, and only the gap has to be looked at.
	Short bool
}

// A machine that went down in the middle may have lost the last attempts, if its
// disk promised more than it held.
const (
	// lookBack is how far before the last known write the gap begins.
	lookBack = time.Hour
	// uncleanBefore and uncleanAfter are the short gap around the last known
	// moment: a disk holds back writes for some seconds, and a mark comes once a
	// minute.
	uncleanBefore = 10 * time.Minute
	uncleanAfter  = 5 * time.Minute
)

// Found is a file with a mark as it was found at start. Missing means that there
// was none, Err that it could not be read.
type Found struct {
	Path    string
	Beside  bool // beside the database; else it is the second place
	Missing bool
	Mark    Mark
	Err     error
}

// Judge compares what the database keeps with the files and the machine, at
// start. wrote is the time of the newest row. It returns nil if nothing speaks
// against publishing.
func Judge(kept Mark, wrote time.Time, files []Found, facts Facts, boot string, now time.Time) *Finding {
	if wrote.Before(kept.At) {
		wrote = kept.At
	}
	gap := func(kind social.QuarantineKind, reason string) *Finding {
		return &Finding{Kind: kind, Reason: reason, From: wrote.Add(-lookBack)}
	}
	if reason := older(kept, files); reason != "" {
		return gap(social.OldDatabase, reason)
	}
	if kept.Beat == 0 {
		return nil // a new database, or one that never had a mark
	}
	if reason := kept.Facts.moved(facts); reason != "" {
		return gap(social.Copied, reason)
	}
	if !kept.Clean && kept.Boot != "" && boot != "" && kept.Boot != boot {
		to := wrote.Add(uncleanAfter)
		if to.After(now) {
			to = now
		}
		return &Finding{
			Kind: social.UncleanStop, Short: true, From: kept.At.Add(-uncleanBefore), To: to,
			Reason: "The machine went down while smi was running, and its disk may have lost the last seconds.",
		}
	}
	return nil
}

// older says why the database is not the newest of its line, "" if nothing says
// so.
func older(kept Mark, files []Found) string {
	confirmed, missing := false, false
	for _, f := range files {
		m := f.Mark
		switch {
		case f.Missing || f.Err != nil:
			missing = missing || f.Beside
		case m.Instance != kept.Instance:
			if kept.Beat > 0 {
				return fmt.Sprintf("The mark in %s is of another database: this one was put in its place.", f.Path)
			}
		case m.Beat > kept.Beat || m.Attempt > kept.Attempt:
			return fmt.Sprintf("The database is older than what smi did with it: it ends at %s, and the mark in %s is of %s. It was restored from a copy, or a copy of it ran meanwhile.",
				stamp(kept.At), f.Path, stamp(m.At))
		default:
			// The mark of this very database, not ahead of it. One that is far behind
			// could not be written, and vouches for nothing.
			confirmed = confirmed || m.Beat+confirms >= kept.Beat
		}
	}
	if missing && !confirmed && kept.Beat > 0 {
		return "The mark beside the database (" + FileName + ") is missing or cannot be read: the database may be a copy that was put here without it."
	}
	return ""
}

// confirms is by how many marks a file may be behind and still say that the
// database is its own.
const confirms = 5

func stamp(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// moved says what is different about the place, "" if it may be the same.
func (f Facts) moved(now Facts) string {
	if f.Name != "" && now.Name != "" {
		if f.Name == now.Name {
			return "" // the admin vouches for it
		}
		return fmt.Sprintf("The database is that of the instance %q, and this one is named %q (instance.name).", f.Name, now.Name)
	}
	var differs []string
	if f.Machine != "" && now.Machine != "" && f.Machine != now.Machine {
		differs = append(differs, "this is another machine (another machine id)")
	}
	if len(f.Cards) > 0 && len(now.Cards) > 0 && !slices.ContainsFunc(now.Cards, func(c string) bool { return slices.Contains(f.Cards, c) }) {
		differs = append(differs, fmt.Sprintf("its network cards are others (%s, now %s)", strings.Join(f.Cards, ", "), strings.Join(now.Cards, ", ")))
	}
	if f.Path != "" && now.Path != "" && f.Path != now.Path {
		differs = append(differs, fmt.Sprintf("the data folder was %s and is %s", f.Path, now.Path))
	}
	if len(differs) == 0 {
		return ""
	}
	return "The data was copied or moved: " + strings.Join(differs, "; ") + "."
}

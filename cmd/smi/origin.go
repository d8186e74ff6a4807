package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"smi/internal/app"
	"smi/internal/instance"
	"smi/internal/social"
	"smi/store"
)

const (
	// sharedMark begins the names of the marks that nodes keep in the folder they
	// share, one file each: a database on a server does not live where its nodes
	// do, but that folder knows what was sent by it.
	sharedMark = ".smi-mark-"
	// standbyEvery is how often smi looks whether commits wait for a standby.
	standbyEvery = 10 * time.Second
	// failoverBefore is how far before the last known write the gap of a fail-over
	// begins: what was due then may still have been on its way.
	failoverBefore = time.Hour
	// moments is what a fail-over loses at most: a database that lacks more was set
	// back, on whatever timeline.
	moments = 2 * time.Minute
)

// judgeServer tells whether the database on the server has all that was sent by
// it, puts all nodes into quarantine if something speaks against it, and keeps
// where it is. It is asked at start, and whenever a connection leads elsewhere.
func (m *marks) judgeServer(ctx context.Context) error {
	for {
		// The files come first: the other nodes go on writing, the database before the
		// file, so what is read of it later is never behind them.
		found, err := m.sharedMarks()
		if err != nil {
			return err
		}
		at, err := m.d.store.Whereabouts(ctx)
		if err != nil {
			return err
		}
		kept, wrote, err := m.d.store.Mark(ctx)
		if err != nil {
			return err
		}
		if at.Wrote.After(wrote) {
			wrote = at.Wrote
		}
		beat, newest := kept.Beat, wrote
		for _, r := range found {
			if r.Mark.Instance == kept.Instance {
				beat = max(beat, r.Mark.Beat)
				if r.Mark.At.After(newest) {
					newest = r.Mark.At
				}
			}
		}
		f := instance.Judge(kept, wrote, found, instance.Facts{}, "", m.d.now())
		if f == nil || (failedOver(at) && newest.Sub(wrote) < moments) {
			f = judgeOrigin(at, wrote, m.d.now(), f != nil)
		}
		if f != nil {
			if err := m.d.quarantine(ctx, f); err != nil {
				return err
			}
			// What they know is in the quarantine; they would begin it anew.
			for _, r := range found {
				if err := os.Remove(r.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("removing a mark that was judged: %w", err)
				}
			}
		}
		if err := m.keep(ctx, func(k *instance.Mark) { k.Beat, k.Clean = max(k.Beat, beat+1), false }); err != nil {
			return err
		}
		if ok, err := m.d.store.Trust(ctx, at); err != nil || ok {
			return err
		}
	}
}

// failedOver says whether the same database goes on on a newer timeline.
func failedOver(at store.Whereabouts) bool {
	was, is := at.Kept, at.Found
	return was.System == is.System && was.Database == is.Database && was.Timeline != 0 && is.Timeline > was.Timeline
}

// judgeOrigin compares where the database is with where it was. lacks says that
// something is known to be missing.
func judgeOrigin(at store.Whereabouts, wrote, now time.Time, lacks bool) *instance.Finding {
	was, is := at.Kept, at.Found
	full := func(kind social.QuarantineKind, format string, args ...any) *instance.Finding {
		return &instance.Finding{Kind: kind, Reason: fmt.Sprintf(format, args...), From: wrote.Add(-failoverBefore)}
	}
	const stamp = "2006-01-02 15:04:05 UTC"
	switch {
	case at.Lost && is.Timeline == was.Timeline:
		return full(social.OldDatabase, "The database lacks what was sent by it: it was set back to an earlier state, which ends at %s.", wrote.UTC().Format(stamp))
	case was == (store.Origin{}):
		return nil
	case was.System != "" && is.System != "" && was.System != is.System:
		return full(social.Timeline, "The database is on another PostgreSQL than before: it was restored from a dump, or it is a copy.")
	case was.Database != is.Database:
		return full(social.Timeline, "The database was dropped and made anew, such as by restoring a dump; it ends at %s.", wrote.UTC().Format(stamp))
	case is.Timeline != 0 && is.Timeline < was.Timeline:
		return full(social.OldDatabase, "This PostgreSQL is on timeline %d and was on %d: it is the former primary, or a copy from before the fail-over.", is.Timeline, was.Timeline)
	case failedOver(at) && (lacks || at.Lost || !was.Synchronous):
		why := "no commit had waited for a standby, so the last attempts may be missing"
		if lacks || at.Lost {
			why = "the last attempts are missing"
		}
		return &instance.Finding{
			Kind: social.Timeline, Short: true, From: wrote.Add(-failoverBefore), To: now,
			Reason: fmt.Sprintf("PostgreSQL failed over to a standby, or was recovered (timeline %d, now %d), and %s.", was.Timeline, is.Timeline, why),
		}
	}
	return nil
}

// sharedMarks are the marks of all nodes.
func (m *marks) sharedMarks() ([]instance.Found, error) {
	dir := filepath.Dir(m.files[0].path)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, social.Errorf(social.CodeInvalid, "media.dir", "the folder that the nodes share cannot be read: %v", err)
	}
	var out []instance.Found
	for _, e := range names {
		if !strings.HasPrefix(e.Name(), sharedMark) || strings.HasSuffix(e.Name(), ".new") {
			continue
		}
		r := instance.ReadFile(filepath.Join(dir, e.Name()))
		if r.Err != nil {
			m.d.log.Warn("the mark of a node cannot be read", "file", r.Path, "err", r.Err)
		}
		out = append(out, r)
	}
	return out, nil
}

// settleDoubt judges until it could be done; nothing is armed before.
func (m *marks) settleDoubt(ctx context.Context) {
	m.d.log.Warn("the connections to the database lead elsewhere; nothing is sent until smi has looked what it lacks")
	for {
		err := m.judgeServer(ctx)
		if err == nil {
			return
		}
		m.d.log.Error("smi could not look what the database lacks; trying again", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// lookForStandby notes whether commits wait for a standby, for the day on which
// it is promoted.
func (m *marks) lookForStandby(ctx context.Context) error {
	if !m.d.store.Shared() {
		return nil
	}
	at, err := m.d.store.Whereabouts(ctx)
	if err != nil || at.Found == at.Kept || at.Doubt != 0 || !at.Found.Same(at.Kept) {
		return err // another place is a matter for judgeServer
	}
	_, err = m.d.store.Trust(ctx, at)
	return err
}

// checkServer is doctor's question whether a fail-over would lose anything.
func (m *marks) checkServer(ctx context.Context) app.CheckResult {
	at, err := m.d.store.Whereabouts(ctx)
	switch {
	case err != nil:
		return broken("the server cannot be asked: %v", err)
	case !at.Found.Synchronous:
		return fine("not in quarantine; no commit waits for a standby (synchronous_standby_names), so after a fail-over what was due shortly before is looked up on the networks first")
	}
	return fine("not in quarantine; commits wait for a standby, so a fail-over loses nothing")
}

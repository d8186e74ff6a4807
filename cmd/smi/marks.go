package main

import (
	"context"
	"crypto/rand"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"smi/internal/app"
	"smi/internal/instance"
	"smi/internal/social"
	"smi/scheduler"
)

const (
	// markEvery is how often a mark is kept at least.
	markEvery = time.Minute
	// markPause is the least time between two writings of the files after
	// something was armed.
	markPause = 5 * time.Second
)

// marks keeps the marks by which a copy of the database, and one that was set
// back, are told from the live one.
type marks struct {
	d     *daemon
	run   string
	boot  string
	facts instance.Facts
	files []markFile
	armed chan struct{} // something was armed since the files were written

	mu      sync.Mutex
	last    instance.Mark
	trouble string // why a file could not be written, "" if all could
}

// markFile is a file with the mark.
type markFile struct {
	path   string
	beside bool
	shared bool // whether another machine may write it
}

// openMarks tells whether this is the instance that it was, before anything is
// published.
func (d *daemon) openMarks(ctx context.Context) error {
	id, err := d.store.InstanceID(ctx)
	if err != nil {
		return err
	}
	d.marks = newMarks(d, id)
	return d.marks.judge(ctx)
}

// newMarks reads the machine's facts. Nothing is written.
func newMarks(d *daemon, id string) *marks {
	cfg := d.cfg.Current()
	m := &marks{d: d, run: rand.Text(), armed: make(chan struct{}, 1)}
	if d.store.Shared() {
		m.files = []markFile{{path: filepath.Join(mediaDir(cfg), sharedMark+url.PathEscape(d.node))}}
		return m
	}
	m.facts, m.boot = instance.Read(cfg.Instance.Name, cfg.DataDir, id)
	m.files = append(m.files, markFile{path: filepath.Join(cfg.DataDir, instance.FileName), beside: true})
	if cfg.Instance.Mark != "" {
		m.files = append(m.files, markFile{path: cfg.Instance.Mark, shared: true})
	}
	return m
}

// judge compares everything at start, puts the instance into quarantine if
// something speaks against publishing, and then keeps the marks of this start.
func (m *marks) judge(ctx context.Context) error {
	if m.d.store.Shared() {
		return m.judgeServer(ctx)
	}
	kept, wrote, err := m.d.store.Mark(ctx)
	if err != nil {
		return err
	}
	newest := kept.At
	if wrote.After(newest) {
		newest = wrote
	}
	if err := m.d.openClock(ctx, m.boot, newest); err != nil {
		return err
	}
	var found []instance.Found
	beat := kept.Beat
	for _, f := range m.files {
		r := instance.ReadFile(f.path)
		r.Beside = f.beside
		if r.Err != nil {
			m.d.log.Warn("the mark of the instance cannot be read", "file", f.path, "err", r.Err)
		}
		if r.Mark.Instance == kept.Instance {
			beat = max(beat, r.Mark.Beat)
		}
		found = append(found, r)
	}
	if f := instance.Judge(kept, wrote, found, m.facts, m.boot, m.d.now()); f != nil {
		if err := m.d.quarantine(ctx, f); err != nil {
			return err
		}
	}
	// From here on this is where the instance lives: the quarantine stays until
	// somebody ends it, whatever the marks say.
	return m.keep(ctx, func(k *instance.Mark) { k.Beat, k.Clean = max(k.Beat, beat+1), false })
}

// keep stores a mark and then writes the files.
func (m *marks) keep(ctx context.Context, change func(*instance.Mark)) error {
	kept, err := m.d.store.KeepMark(ctx, func(k *instance.Mark) {
		k.Run, k.Boot, k.Facts = m.run, m.boot, m.facts
		change(k)
	})
	if err != nil {
		return err
	}
	return m.write(ctx, kept)
}

// write writes the files. One that cannot be written is no reason to stop: it is
// behind then, which is never wrong.
func (m *marks) write(ctx context.Context, k instance.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	trouble := ""
	for _, f := range m.files {
		if f.shared && m.last.Run != "" {
			if err := m.lookForAnother(ctx, f); err != nil {
				return err
			}
		}
		if err := instance.WriteFile(f.path, k); err != nil {
			trouble = err.Error()
		}
	}
	if trouble != "" && m.trouble == "" {
		m.d.log.Warn("the mark of the instance cannot be written", "err", trouble)
	}
	m.last, m.trouble = k, trouble
	return nil
}

// lookForAnother sees whether another process wrote into a file since this one
// did: then the database was copied, and both are running.
func (m *marks) lookForAnother(ctx context.Context, f markFile) error {
	r := instance.ReadFile(f.path)
	if r.Missing || r.Err != nil || r.Mark.Instance != m.last.Instance || r.Mark.Run == m.run {
		return nil
	}
	if on, err := m.d.store.Quarantined(ctx); err != nil || on {
		return err
	}
	return m.d.quarantine(ctx, &instance.Finding{
		Kind: social.Copied, From: m.last.At.Add(-time.Hour),
		Reason: "Another smi with a copy of this database is running: it wrote the mark in " + f.path + " at " + r.Mark.At.UTC().Format("2006-01-02 15:04:05 UTC") + ".",
	})
}

// noteArmed says that something was armed. It never blocks.
func (m *marks) noteArmed() {
	select {
	case m.armed <- struct{}{}:
	default:
	}
}

// keepUp keeps the marks until ctx ends: once a minute in the database and the
// files, and in the files shortly after something was armed.
func (m *marks) keepUp(ctx context.Context) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	look := time.NewTicker(standbyEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := m.keep(ctx, func(*instance.Mark) {}); err != nil && ctx.Err() == nil {
				m.d.log.Error("keeping the mark of the instance failed; trying again", "err", err)
			}
		case <-m.d.store.Doubts():
			m.settleDoubt(ctx)
		case <-look.C:
			if err := m.lookForStandby(ctx); err != nil && ctx.Err() == nil {
				m.d.log.Warn("smi could not ask the database for its standby", "err", err)
			}
		case <-m.armed:
			if err := m.afterArming(ctx); err != nil && ctx.Err() == nil {
				m.d.log.Error("keeping the mark of the instance failed; trying again", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-m.d.store.Doubts():
				m.settleDoubt(ctx)
			case <-time.After(markPause):
			}
		}
	}
}

// afterArming writes the newest attempt into the files; the database has it.
func (m *marks) afterArming(ctx context.Context) error {
	id, err := m.d.store.NewestAttempt(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	k := m.last
	m.mu.Unlock()
	k.Attempt, k.At = id, m.d.now().UTC().Truncate(time.Millisecond)
	return m.write(ctx, k)
}

// stopped keeps the last mark: smi was stopped in order.
func (m *marks) stopped(ctx context.Context) {
	if m.d.store.Shared() && m.last.Run == "" {
		return // nothing was judged
	}
	if err := m.keep(ctx, func(k *instance.Mark) { k.Clean = true }); err != nil {
		m.d.log.Warn("smi could not note that it was stopped in order", "err", err)
	}
}

// markedLedger notes what is armed.
type markedLedger struct {
	scheduler.Ledger
	m *marks
}

// Arm implements scheduler.Ledger.
func (l markedLedger) Arm(ctx context.Context, r scheduler.ArmRequest) (scheduler.Attempt, error) {
	a, err := l.Ledger.Arm(ctx, r)
	if err == nil {
		l.m.noteArmed()
	}
	return a, err
}

// quarantine holds back what the networks may have already, until they were
// looked at.
func (d *daemon) quarantine(ctx context.Context, f *instance.Finding) error {
	d.log.Error("publishing waits until the networks were looked at", "kind", f.Kind, "reason", f.Reason, "from", f.From, "to", f.To)
	_, err := d.store.BeginQuarantine(ctx, social.QuarantineOrder{Kind: f.Kind, Reason: f.Reason, From: f.From, To: f.To, Short: f.Short, By: "smi"})
	return err
}

// checkInstance is doctor's question whether this is the live instance.
func (d *daemon) checkInstance(ctx context.Context) app.CheckResult {
	q, err := d.store.Quarantine(ctx)
	switch {
	case err != nil:
		return broken("the quarantine cannot be read: %v", err)
	case q.Open() && q.Phase == social.Quarantined:
		return broken("%s Nothing is published; run smi adopt here if this is the one to publish", q.Reason)
	case q.Open():
		return warn("%s %d posts wait until they were looked up on the networks", q.Reason, q.Gap.Pending)
	}
	if d.store.Shared() {
		return d.marks.checkServer(ctx)
	}
	m := d.marks
	if m == nil { // no daemon runs
		return fine("not in quarantine; whether this is a copy is seen at the next start")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trouble != "" {
		return warn("a copy of the data might not be noticed: %s", m.trouble)
	}
	where := "beside the database"
	if len(m.files) > 1 {
		where += " and in " + m.files[1].path
	}
	return fine("where it was, and as new as it was; marked %s at %s", where, m.last.At.Format(time.RFC3339))
}

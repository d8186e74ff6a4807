package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smi/config"
	"smi/internal/app"
	"smi/internal/backup"
	"smi/internal/httpapi"
	"smi/internal/jobs"
	"smi/internal/keyring"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// maker makes backups of a data folder.
type maker struct {
	source  backup.Source
	cfg     func() *config.Config
	now     func() time.Time
	version string
}

// Make implements app.Backups.
func (m *maker) Make(ctx context.Context, in app.BackupInput) (app.Backup, error) {
	cfg := m.cfg()
	dir, name, err := where(cfg, in.To)
	if err != nil {
		return app.Backup{}, err
	}
	p, err := backup.OpenPlace(ctx, dir, accessOf(cfg))
	if err != nil {
		return app.Backup{}, err
	}
	defer p.Close() //nolint:errcheck // nothing is lost
	r, err := backup.Make(ctx, backup.Options{
		Source: m.source, DataDir: cfg.DataDir, Media: cfg.Media.Dir, To: p, Name: name, NoMedia: in.WithoutMedia || cfg.Media.Bucket != "", Program: m.version, Now: m.now,
		Free: freeSpace, Reserve: int64(cfg.Disk.RefuseMedia),
	})
	if err != nil {
		return app.Backup{}, err
	}
	t := r.Manifest.Tables
	return app.Backup{
		Name: r.Name, Place: r.Place, MadeAt: r.MadeAt, Bytes: r.Bytes, Verified: r.Verified, Schema: r.Manifest.Facts.Schema, Posts: t["post"].Rows,
		Deliveries: t["delivery"].Rows, Accounts: t["account"].Rows, MediaFiles: r.Manifest.Media.Files, MissingMedia: r.Manifest.Media.Missing, KeyID: r.Manifest.Facts.KeyID,
	}, nil
}

// where is the place and, if a file was named, the name of a backup.
func where(cfg *config.Config, to string) (place, name string, err error) {
	if to == "" {
		to = cfg.Backup.To
	}
	switch {
	case to == "":
		return "", "", social.Errorf(social.CodeInvalid, "to", "say where the backup goes: smi backup --to FOLDER, or set backup.to in the configuration")
	case !backup.IsBucket(to) && strings.HasSuffix(to, ".tar.gz"):
		return filepath.Dir(to), filepath.Base(to), nil
	}
	return to, "", nil
}

func accessOf(cfg *config.Config) backup.Access {
	return backup.Access{Key: cfg.Backup.AccessKey, Secret: cfg.Backup.SecretKey}
}

// List implements app.Backups.
func (m *maker) List(ctx context.Context, to string) (app.BackupList, error) {
	cfg := m.cfg()
	dir, _, err := where(cfg, to)
	if err != nil {
		return app.BackupList{}, err
	}
	if !backup.IsBucket(dir) && !exists(dir) {
		return app.BackupList{}, social.Errorf(social.CodeNotFound, "to", "there is no folder %s", dir)
	}
	p, err := backup.OpenPlace(ctx, dir, accessOf(cfg))
	if err != nil {
		return app.BackupList{}, err
	}
	defer p.Close() //nolint:errcheck // nothing is lost
	all, err := p.List(ctx)
	if err != nil {
		return app.BackupList{}, err
	}
	out := app.BackupList{Place: p.String(), Backups: []app.ListedBackup{}}
	own := ""
	if s, ok := m.source.(*store.Store); ok {
		if own, err = s.InstanceID(ctx); err != nil {
			return out, err
		}
	}
	for _, e := range all {
		out.Backups = append(out.Backups, app.ListedBackup{Name: e.Name, MadeAt: e.MadeAt, Bytes: e.Bytes, Own: own != "" && strings.HasPrefix(own, e.Instance)})
	}
	return out, nil
}

func (c *cli) backupCommand() *cobra.Command {
	var in app.BackupInput
	cmd := &cobra.Command{
		Use: "backup", Short: "Back up the database and the media, and prove the backup",
		Long: "Makes one file of the database and the media, while the daemon runs or while it does not, and proves it by\n" +
			"putting it back into a scratch folder. The key (key_file) is never in it: keep a copy of it elsewhere.\n" +
			"smi restore puts a backup back.",
		Args: noWords("name the folder with --to"),
		RunE: runs(func(cmd *cobra.Command, _ []string) error {
			if err := absolute(&in.To); err != nil {
				return err
			}
			b, err := c.makeBackup(cmd.Context(), in)
			if err != nil {
				return err
			}
			return c.show(b, func() {
				c.say("%s in %s: %s, %d posts, %d accounts, %d media files; put back into a scratch folder and found whole", b.Name, b.Place, megabytes(b.Bytes), b.Posts, b.Accounts, b.MediaFiles)
				if n := len(b.MissingMedia); n > 0 {
					c.say("%d files are missing from the media folder and from the backup; upload them again", n)
				}
				if b.KeyID != "" {
					c.say("the key %s is not in it; without it the accounts have to be connected again", b.KeyID)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&in.To, "to", "", "folder, new file that ends in .tar.gz, or s3://BUCKET/PREFIX (default: backup.to of the configuration)")
	cmd.Flags().BoolVar(&in.WithoutMedia, "without-media", false, "leave pictures and videos out")
	cmd.AddCommand(c.backupList())
	return cmd
}

// absolute makes a path absolute: the daemon stands in another folder.
func absolute(to *string) error {
	if *to == "" || backup.IsBucket(*to) {
		return nil
	}
	abs, err := filepath.Abs(*to)
	if err != nil {
		return fmt.Errorf("finding %s: %w", *to, err)
	}
	*to = abs
	return nil
}

// makeBackup lets the daemon make the backup, or makes it where none runs.
func (c *cli) makeBackup(ctx context.Context, in app.BackupInput) (app.Backup, error) {
	api, err := c.client()
	if err != nil {
		return app.Backup{}, err
	}
	defer api.Close()
	c.progress("making and proving the backup; this takes a while with much media")
	b, err := api.Backup(ctx, in)
	if _, none := errors.AsType[*httpapi.UnreachableError](err); !none {
		return b, err
	}
	cfg, err := c.load()
	if err != nil {
		return app.Backup{}, err
	}
	if !cfg.Database.URL.Empty() {
		return app.Backup{}, store.ErrServerBackup
	}
	if !exists(filepath.Join(cfg.DataDir, store.DatabaseName)) {
		return app.Backup{}, social.Errorf(social.CodeNotFound, "data_dir", "no daemon runs, and there is no database in %s; check data_dir in the configuration", cfg.DataDir)
	}
	dir, err := store.ClaimDir(cfg.DataDir, time.Now())
	if err != nil {
		return app.Backup{}, err
	}
	defer dir.Release() //nolint:errcheck // the process ends soon
	c.progress("no daemon runs; the data folder is backed up as it is")
	m := &maker{source: dir, cfg: func() *config.Config { return cfg }, now: time.Now, version: version}
	return m.Make(ctx, in)
}

func (c *cli) backupList() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "list", Short: "List the backups in a folder or bucket, the newest first", Args: noWords("name the folder with --to"),
		RunE: runs(func(cmd *cobra.Command, _ []string) error {
			if err := absolute(&to); err != nil {
				return err
			}
			cfg, err := c.load()
			if err != nil {
				return err
			}
			m := &maker{cfg: func() *config.Config { return cfg }, now: time.Now, version: version}
			l, err := m.List(cmd.Context(), to)
			if err != nil {
				return err
			}
			return c.show(l, func() {
				if len(l.Backups) == 0 {
					c.progress("there is no backup in %s", l.Place)
					return
				}
				rows := [][]string{{"BACKUP", "MADE AT", "SIZE"}}
				for _, b := range l.Backups {
					rows = append(rows, []string{b.Name, at(b.MadeAt, "UTC"), megabytes(b.Bytes)})
				}
				c.table(rows)
			})
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "folder or s3://BUCKET/PREFIX (default: backup.to of the configuration)")
	return cmd
}

func (c *cli) restoreCommand() *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup back, in quarantine",
		Long: "Puts a backup into the data folder: a file, the newest one of a folder, or one of s3://BUCKET/PREFIX. No daemon\n" +
			"may use the folder. A database that is there is kept under another name. The daemon then starts in\n" +
			"quarantine: it sends nothing, looks on the networks what became of the posts that the backup does not\n" +
			"know about, and waits for smi adopt.",
		Args: cobra.ExactArgs(1),
		RunE: runs(func(cmd *cobra.Command, args []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			if !cfg.Database.URL.Empty() {
				return social.Errorf(social.CodeUnsupported, "database.url", "this smi keeps its data on a PostgreSQL server, and smi restore does not write to that; stop all nodes and use pg_restore --no-owner --exit-on-error -d DATABASE_URL smi.dump into an empty database (docs/postgresql.md); smi then starts in quarantine by itself")
			}
			if dataDir != "" {
				if cfg.DataDir, err = filepath.Abs(dataDir); err != nil {
					return fmt.Errorf("finding %s: %w", dataDir, err)
				}
			}
			r, err := backup.Restore(cmd.Context(), backup.RestoreOptions{
				From: args[0], Access: accessOf(cfg), DataDir: cfg.DataDir, Media: mediaOf(cfg, dataDir), Keys: func() (*keyring.Keyring, error) { return loadKey(cfg) },
				Program: version, Now: time.Now, Free: freeSpace, By: "cli:" + userHere(),
			})
			if err != nil {
				return err
			}
			return c.show(r, func() { c.sayRestored(r) })
		}),
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "folder to restore into (default: data_dir of the configuration)")
	return cmd
}

// mediaOf is the folder that media are put back into.
func mediaOf(cfg *config.Config, dataDir string) string {
	if dataDir != "" { // a drill touches nothing elsewhere
		return ""
	}
	return cfg.Media.Dir
}

// userHere names who runs the command, for the audit log.
func userHere() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return fmt.Sprintf("uid%d", os.Getuid())
}

func (c *cli) sayRestored(r backup.Restored) {
	c.say("%s of %s is in %s", filepath.Base(r.From), at(r.MadeAt, "UTC"), r.DataDir)
	if r.Aside != "" {
		c.say("the database that was there is kept as %s", r.Aside)
	}
	switch {
	case !r.MediaThere:
		c.say("the backup was made without media; what is in the media folder is used")
	default:
		c.say("%d media files were put back", r.Media)
	}
	c.say("It is in quarantine: nothing is sent. What happens next:")
	c.say("  1. smi serve looks up on the networks what was due since %s (%d posts)", at(r.Quarantine.From, "UTC"), r.Quarantine.Gap.Pending)
	c.say("  2. smi status shows what it found; logins that ended meanwhile: smi accounts list, smi accounts reconnect")
	c.say("  3. when no other smi publishes to these accounts: smi adopt")
	c.say("  4. about posts that were not found you are asked: smi notices")
}

// The background job that makes backups.
type backupArgs struct{}

// Kind names the job.
func (backupArgs) Kind() string { return "backup" }

const (
	metaLastBackup = "last_backup" // when the last one by schedule was made and proved
	backupTime     = 6 * time.Hour
)

// scheduledBackups is when backups are made, on the wall clock of a zone.
type scheduledBackups struct {
	cfg  *config.Holder
	zone *time.Location
}

// Next implements jobs.Schedule. Where none comes, it looks again tomorrow: the
// configuration may have changed.
func (n scheduledBackups) Next(after time.Time) time.Time {
	at := scheduler.NextRun(n.cfg.Current().Backup.Cron.Schedule, n.zone, after)
	if tomorrow := after.Add(24 * time.Hour); at.IsZero() || at.After(tomorrow) {
		return tomorrow
	}
	return at
}

// startBackups registers the job.
func (d *daemon) startBackups(zone *time.Location, version string) {
	d.backups = &maker{source: d.store, cfg: d.cfg.Current, now: d.now, version: version}
	jobs.Handle(d.jobs, jobs.Options{Timeout: backupTime, MaxAttempts: 1}, func(ctx context.Context, _ backupArgs) error {
		cfg := d.cfg.Current().Backup
		if cfg.To == "" {
			return nil
		}
		// A copy would delete the old backups of the live instance.
		if on, err := d.store.Quarantined(ctx); err != nil || on {
			return err
		}
		last, err := d.lastBackup(ctx)
		if err != nil {
			return err
		}
		due := scheduler.NextRun(cfg.Cron.Schedule, zone, last)
		if !last.IsZero() && due.After(d.now()) {
			return nil
		}
		return d.backUp(ctx)
	})
	d.jobs.Every("backup", scheduledBackups{d.cfg, zone}, backupArgs{})
}

// lastBackup is when the last scheduled backup was made, zero for never.
func (d *daemon) lastBackup(ctx context.Context) (time.Time, error) {
	v, err := d.store.Meta(ctx, metaLastBackup)
	if err != nil || v == "" {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // as if there were none
	}
	return at, nil
}

// backUp makes a scheduled backup and deletes those that need not be kept. A
// failure is told to people.
func (d *daemon) backUp(ctx context.Context) error {
	cfg := d.cfg.Current().Backup
	b, err := d.backups.Make(ctx, app.BackupInput{WithoutMedia: !cfg.Media})
	if err == nil {
		d.log.Info("a backup was made and proved", "name", b.Name, "place", b.Place, "bytes", b.Bytes)
		err = d.store.SetMeta(ctx, metaLastBackup, b.MadeAt.Format(time.RFC3339))
	}
	if err == nil {
		var gone []string
		gone, err = d.pruneBackups(ctx)
		if len(gone) > 0 {
			d.log.Info("old backups were deleted", "names", gone)
		}
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	d.log.Error("the backup failed", "err", err)
	said := err.Error()
	if e, ok := errors.AsType[*social.Error](err); ok {
		said = e.Text
	}
	return d.store.Tell(ctx, 0, scheduler.Notice{Kind: "backup_failed", Severity: "alarm", Text: fmt.Sprintf("The backup to %s failed: %s. Try it by hand with smi backup.", placeName(cfg.To), strings.TrimSuffix(said, "."))})
}

// placeName is a place without the settings of its address.
func placeName(to string) string {
	if backup.IsBucket(to) {
		to, _, _ = strings.Cut(to, "?")
	}
	return to
}

func (d *daemon) pruneBackups(ctx context.Context) ([]string, error) {
	cfg := d.cfg.Current()
	id, err := d.store.InstanceID(ctx)
	if err != nil {
		return nil, err
	}
	p, err := backup.OpenPlace(ctx, cfg.Backup.To, accessOf(cfg))
	if err != nil {
		return nil, err
	}
	defer p.Close() //nolint:errcheck // nothing is lost
	return backup.Prune(ctx, p, id, backup.Keep{Last: cfg.Backup.Keep, Weekly: cfg.Backup.KeepWeekly, For: cfg.Backup.KeepFor}, d.now())
}

// checkBackup is doctor's question whether there is a backup that is new enough.
func (d *daemon) checkBackup(ctx context.Context) app.CheckResult {
	cfg := d.cfg.Current().Backup
	if !d.cfg.Current().Database.URL.Empty() {
		return warn("the database is on a PostgreSQL server: see that it is backed up there, and the media beside it (docs/backup.md)")
	}
	if cfg.To == "" {
		return warn("no backups are made by schedule; set backup.to in the configuration")
	}
	last, err := d.lastBackup(ctx)
	if err != nil {
		return broken("when the last backup was made cannot be read: %v", err)
	}
	if last.IsZero() {
		if d.app != nil && d.now().Sub(d.app.Started) < 24*time.Hour {
			return fine("the first backup to %s is made by schedule (%s); make one now with: smi backup", placeName(cfg.To), cfg.Cron.Text)
		}
		return warn("no backup to %s was ever made; see smi notices, and try: smi backup", placeName(cfg.To))
	}
	next := cfg.Cron.Schedule.Next(last)
	if period := cfg.Cron.Schedule.Next(next).Sub(next); d.now().Sub(last) > 2*period {
		return warn("the last backup is of %s, although one is due each %s; see smi notices, and try: smi backup", at(last, "UTC"), period)
	}
	return fine("the last backup is of %s, in %s", at(last, "UTC"), placeName(cfg.To))
}

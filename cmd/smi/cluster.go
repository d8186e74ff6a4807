package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"smi/config"
	"smi/internal/app"
	"smi/internal/social"
	"smi/store"
)

// openStore opens the database: the file in the data folder, or the one on the
// server, whose clock then is the clock of all nodes.
func (d *daemon) openStore(ctx context.Context, cfg *config.Config, version string) error {
	o := store.Options{Path: filepath.Join(cfg.DataDir, "smi.db"), Now: d.now, Log: d.log, Version: version, Committed: d.metrics.Committed, BallastBytes: ballast(cfg.Disk.Ballast)}
	if url := cfg.Database.URL.Reveal(); url != "" {
		d.redactor.Add(url)
		o = store.Options{URL: url, Node: d.node, Connections: cfg.Database.Connections, Boot: d.boot.Now, Log: d.log, Version: version, Committed: d.metrics.Committed}
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			return fmt.Errorf("making the data directory: %w", err)
		}
	}
	var err error
	if d.store, err = store.Open(ctx, o); err != nil {
		return err
	}
	if d.store.Shared() {
		d.now = d.store.Now
	}
	d.member, err = d.store.Join(ctx, d.node, rand.Text())
	return err
}

// leave gives the place among the nodes back. A database that does not answer
// notices by itself.
func (d *daemon) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.member.Leave(ctx); err != nil && d.store.Healthy() == nil {
		d.log.Warn("this node could not say goodbye", "err", err)
	}
	return nil
}

const (
	// metaMedia is the mark of the folder that the nodes share.
	metaMedia = "media_folder"
	// mediaMark is the file in it that holds the same.
	mediaMark = ".smi-media"
)

// shareMedia makes sure that all nodes of a database have the same folder of
// files: one that another node does not see would be missing when it publishes.
func (d *daemon) shareMedia(ctx context.Context, cfg *config.Config) error {
	if !d.store.Shared() {
		return nil
	}
	dir := mediaDir(cfg)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return social.Errorf(social.CodeInvalid, "media.dir", "the folder %s cannot be made: %v", dir, err)
	}
	want, err := d.store.Meta(ctx, metaMedia)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, mediaMark)
	there, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return social.Errorf(social.CodeInvalid, "media.dir", "the mark of the shared folder cannot be read: %v", err)
	}
	have := strings.TrimSpace(string(there))
	switch {
	case have == want && want != "":
		return nil
	case want != "":
		return social.Errorf(social.CodeInvalid, "media.dir", "%s is not the folder that the other nodes of this database use (its file %s is missing or another's); set media.dir of every node to one folder that they all share", dir, mediaMark)
	case have == "":
		have = rand.Text()
		if err := os.WriteFile(file, []byte(have+"\n"), 0o600); err != nil {
			return social.Errorf(social.CodeInvalid, "media.dir", "the folder %s cannot be written: %v", dir, err)
		}
	}
	return d.store.SetMeta(ctx, metaMedia, have)
}

// checkNodes is doctor's question whether all nodes are there.
func (d *daemon) checkNodes(ctx context.Context) app.CheckResult {
	if !d.store.Shared() {
		return fine("one, on a database of its own")
	}
	nodes, err := d.store.Nodes(ctx)
	if err != nil {
		return broken("the nodes cannot be listed: %v", err)
	}
	var silent, names []string
	versions := map[string]bool{}
	for _, n := range nodes {
		names = append(names, n.Name)
		versions[n.Version] = true
		if n.Silent {
			silent = append(silent, n.Name)
		}
	}
	switch {
	case len(silent) > 0:
		return warn("not heard of for a minute: %s; start them again, or forget them: they are taken off this list after a day", strings.Join(silent, ", "))
	case len(versions) > 1:
		return warn("%s run different versions; update all of them", strings.Join(names, ", "))
	}
	return fine("%d: %s", len(nodes), strings.Join(names, ", "))
}

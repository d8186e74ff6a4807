package main

import (
	"cmp"
	"context"
	"path/filepath"

	"smi/config"
	"smi/connectors"
	"smi/internal/app"
	"smi/internal/media"
	"smi/internal/social"
)

// mediaStore is internal/media as the app and the scheduler need it. The methods
// it does not name here are those of the store.
type mediaStore struct {
	*media.Store
	room func() error // says why nothing is taken in
}

var (
	_ app.Media              = (*mediaStore)(nil)
	_ connectors.MediaSource = (*mediaStore)(nil)
)

// openMedia opens the folder of files.
func openMedia(d *daemon, cfg *config.Config) (*mediaStore, error) {
	s, err := media.Open(media.Options{
		Dir: mediaDir(cfg), Index: d.store, Now: d.now,
		Limits: media.Limits{ImageBytes: int64(cfg.Media.MaxImageSize), VideoBytes: int64(cfg.Media.MaxVideoSize), Pixels: cfg.Media.MaxImagePixels},
	})
	if err != nil {
		return nil, err
	}
	return &mediaStore{Store: s, room: d.room}, nil
}

// mediaDir is the folder of files.
func mediaDir(cfg *config.Config) string {
	return cmp.Or(cfg.Media.Dir, filepath.Join(cfg.DataDir, "media"))
}

// room refuses files while the disk is nearly full: what is left is for the
// outcomes of what is being sent.
func (d *daemon) room() error {
	cfg := d.cfg.Current()
	free, err := freeSpace(cfg.DataDir)
	if err != nil || free >= int64(cfg.Disk.RefuseMedia) {
		return nil //nolint:nilerr // where space is not known, writing will tell
	}
	return social.Errorf(social.CodeExhausted, "media", "only %s are free in %s; free space there, then add the file again", megabytes(free), cfg.DataDir)
}

// Import implements app.Media.
func (m *mediaStore) Import(ctx context.Context, workspace social.ID, in app.MediaFile) (social.Media, error) {
	if err := m.room(); err != nil {
		return social.Media{}, err
	}
	return m.Store.Import(ctx, workspace, in.Name, in.Body)
}

// Fit implements app.Media.
func (m *mediaStore) Fit(ctx context.Context, _ social.ID, file social.Media, l connectors.Limits) (social.Media, error) {
	return m.Store.Fit(ctx, file, ruleFor(file.Kind, l))
}

// ruleFor is what a network takes of one kind of media. What it does not take
// at all is left as it is: its connector says so.
func ruleFor(k social.MediaKind, l connectors.Limits) media.FitRule {
	limit := map[social.MediaKind]connectors.MediaLimit{social.Image: l.Image, social.GIF: l.GIF, social.Video: l.Video, social.Document: l.Document}[k]
	if limit.Support == connectors.No {
		return media.FitRule{}
	}
	return media.FitRule{MaxBytes: limit.Bytes, MaxSide: limit.MaxSide, MIME: limit.MIME}
}

package main

import (
	"cmp"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/app"
	"smi/internal/bucket"
	"smi/internal/media"
	"smi/internal/public"
	"smi/internal/social"
)

// mediaStore is internal/media as the app and the scheduler need it. The methods
// it does not name here are those of the store.
type mediaStore struct {
	*media.Store
	room   func() error   // says why nothing is taken in
	refit  func() bool    // whether pictures are made to fit
	signer *public.Signer // nil: no public listener
}

var (
	_ app.Media              = (*mediaStore)(nil)
	_ connectors.MediaSource = (*mediaStore)(nil)
	_ connectors.MediaURLs   = (*mediaStore)(nil)
)

// openMedia opens the folder or the bucket of files.
func openMedia(ctx context.Context, d *daemon, cfg *config.Config) (*mediaStore, error) {
	b, err := mediaBucket(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s, err := media.Open(media.Options{
		Dir: mediaDir(cfg), Index: d.store, Now: d.now, Bucket: b, Transcoder: transcoderOf(cfg), AsIs: !cfg.Media.RemoveMetadata,
		Limits: media.Limits{ImageBytes: int64(cfg.Media.MaxImageSize), VideoBytes: int64(cfg.Media.MaxVideoSize), Pixels: cfg.Media.MaxImagePixels},
	})
	if err != nil {
		return nil, err
	}
	return &mediaStore{Store: s, room: d.room, refit: func() bool { return d.cfg.Current().Media.Refit }, signer: d.signerOf(cfg)}, nil
}

// mediaBucket opens the bucket of files; nil if they lie in the folder.
func mediaBucket(ctx context.Context, cfg *config.Config) (*bucket.Bucket, error) {
	if cfg.Media.Bucket == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	return bucket.Open(ctx, bucket.Options{
		To: cfg.Media.Bucket, Access: bucket.Access{Key: cfg.Media.AccessKey, Secret: cfg.Media.SecretKey}, Field: "media.bucket", Key: "media.access_key_file",
	})
}

// transcoderOf finds ffmpeg; nil if there is none.
func transcoderOf(cfg *config.Config) *media.Transcoder {
	program := cfg.Media.FFmpeg
	if program == "" {
		var err error
		if program, err = exec.LookPath("ffmpeg"); err != nil {
			return nil
		}
	}
	return &media.Transcoder{Program: program, Time: cfg.Media.TranscodeTime, Threads: cfg.Media.TranscodeThreads}
}

// URL implements connectors.MediaURLs.
func (m *mediaStore) URL(_ context.Context, hash, mime string, lasts time.Duration) (string, error) {
	if m.signer == nil {
		return "", social.Errorf(social.CodeUnavailable, "public.url", "this network fetches files from smi by itself, which needs a public address: set public.listen and public.url, restart smi, then see smi doctor")
	}
	return m.signer.URL(hash, mime, lasts)
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
	return m.Store.Import(ctx, workspace, in.Name, &roomy{Reader: in.Body, room: m.room, n: lookEvery})
}

// roomy reads while there is room. One file can be larger than what is free.
type roomy struct {
	io.Reader
	room func() error
	n    int64 // bytes until it is looked again
}

// lookEvery is how many bytes are taken in between two looks at the disk.
const lookEvery = 16 << 20

// Read implements io.Reader.
func (r *roomy) Read(p []byte) (int, error) {
	if r.n <= 0 {
		if err := r.room(); err != nil {
			return 0, err
		}
		r.n = lookEvery
	}
	n, err := r.Reader.Read(p)
	r.n -= int64(n)
	return n, err
}

// Fit implements app.Media.
func (m *mediaStore) Fit(ctx context.Context, _ social.ID, file social.Media, l connectors.Limits) (social.Media, error) {
	rule := ruleFor(file.Kind, l)
	if !m.refit() {
		rule.AsIs = true
	}
	return m.Store.Fit(ctx, file, rule)
}

// Transcode implements app.Media.
func (m *mediaStore) Transcode(ctx context.Context, _ social.ID, file social.Media, l *connectors.Limits) (social.Media, error) {
	if err := m.room(); err != nil {
		return social.Media{}, err
	}
	rule := media.FitRule{MIME: []string{"video/mp4"}, Codecs: []string{"h264"}}
	if l != nil {
		rule = ruleFor(file.Kind, *l)
	}
	return m.Store.Transcode(ctx, file, rule)
}

// ruleFor is what a network takes of one kind of media. What it does not take
// at all is left as it is: its connector says so.
func ruleFor(k social.MediaKind, l connectors.Limits) media.FitRule {
	limit := l.Of(k)
	if limit.Support == connectors.No {
		return media.FitRule{}
	}
	return media.FitRule{MaxBytes: limit.Bytes, MaxSide: limit.MaxSide, MIME: limit.MIME, Codecs: limit.Codecs}
}

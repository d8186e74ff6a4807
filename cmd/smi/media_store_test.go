package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"smi/internal/app"
	"smi/internal/media"
	"smi/internal/media/film"
	"smi/internal/social"
)

// knownFiles is an index of nothing.
type knownFiles struct{ media.Index }

func (knownFiles) SaveMedia(context.Context, social.ID, social.Media) error { return nil }

// TestRoomRunsOut: a file that is larger than what is free does not take the room
// that outcomes need.
func TestRoomRunsOut(t *testing.T) {
	t.Parallel()
	s, err := media.Open(media.Options{Dir: t.TempDir(), Index: knownFiles{}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	looks := 0
	full := social.Errorf(social.CodeExhausted, "media", "only little is free")
	m := &mediaStore{Store: s, room: func() error {
		if looks++; looks > 2 {
			return full
		}
		return nil
	}}
	taken := int64(0)
	body := io.TeeReader(film.Read(200<<20), writerFunc(func(p []byte) (int, error) { taken += int64(len(p)); return len(p), nil }))
	if _, err := m.Import(t.Context(), 1, app.MediaFile{Name: "film.mp4", Body: body}); !errors.Is(err, full) || social.CodeOf(err) != social.CodeExhausted || !strings.Contains(err.Error(), "only little is free") {
		t.Errorf("%v", err)
	}
	if taken > 3*lookEvery {
		t.Errorf("%d MiB were taken after the room was gone", taken>>20)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/internal/social"
)

// media proves that files belong to workspaces and copies to their originals.
func media(t *testing.T, open Opener) {
	s := open(t)
	ctx := t.Context()
	const ours, theirs = social.ID(1), social.ID(2)
	photo := social.Media{Hash: "aa", Kind: social.Image, MIME: "image/jpeg", Bytes: 5_000_000_000, Width: 4000, Height: 3000, Name: "photo.jpg"}
	film := social.Media{Hash: "bb", Kind: social.Video, MIME: "video/mp4", Bytes: 7, Width: 16, Height: 9, Duration: 1234 * time.Millisecond, Codec: "h264", Sound: "aac", Name: "film.mp4"}
	small := social.Media{Hash: "cc", Kind: social.Image, MIME: "image/jpeg", Bytes: 9, Width: 40, Height: 30}
	for range 2 { // the same file twice is one
		for _, m := range []social.Media{photo, film} {
			if err := s.SaveMedia(ctx, ours, m); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SaveDerived(ctx, photo.Hash, "rule", small); err != nil {
			t.Fatal(err)
		}
	}
	renamed := film
	renamed.Name = "their film.mp4"
	if err := s.SaveMedia(ctx, theirs, renamed); err != nil {
		t.Fatal(err)
	}
	smallOfPhoto := small
	smallOfPhoto.Name = photo.Name
	for _, tt := range []struct {
		workspace social.ID
		hash      string
		want      *social.Media
	}{
		{ours, "aa", &photo},
		{ours, "bb", &film},
		{ours, "cc", &smallOfPhoto},
		{theirs, "aa", nil},
		{theirs, "bb", &renamed},
		{theirs, "cc", nil},
		{ours, "dd", nil},
	} {
		got, found, err := s.MediaOf(ctx, tt.workspace, tt.hash)
		switch {
		case err != nil:
			t.Errorf("MediaOf(%s, %s): %v", tt.workspace, tt.hash, err)
		case found != (tt.want != nil):
			t.Errorf("MediaOf(%d, %s): found=%v", tt.workspace, tt.hash, found)
		case found && !cmp.Equal(got, *tt.want):
			t.Errorf("MediaOf(%d, %s): %s", tt.workspace, tt.hash, cmp.Diff(*tt.want, got))
		}
	}
	for rule, want := range map[string]bool{"rule": true, "another": false} {
		got, found, err := s.Derived(ctx, photo.Hash, rule)
		if err != nil || found != want || found && !cmp.Equal(got, small) {
			t.Errorf("Derived(%s) = %+v, %v, %v", rule, got, found, err)
		}
	}
	list, err := s.MediaList(ctx, ours, 10)
	if err != nil || len(list) != 2 {
		t.Errorf("MediaList = %d files, %v; want the two originals", len(list), err)
	}
	if list, err = s.MediaList(ctx, ours, 1); err != nil || len(list) != 1 {
		t.Errorf("MediaList of 1 = %d files, %v", len(list), err)
	}
	// A failed save leaves nothing behind.
	if err := s.SaveDerived(ctx, "no such original", "rule", social.Media{Hash: "ee", Kind: social.Image, MIME: "image/png"}); err == nil {
		t.Error("a copy of nothing was saved")
	}
	d := Seed(t, s)
	if n := d.Text(`SELECT count(*) FROM media WHERE hash = 'ee'`); n != "0" {
		t.Errorf("%s rows are left of a save that failed", n)
	}

	// The files of a planned post are those that its options name, too.
	cover := social.Media{Hash: strings.Repeat("0f", 32), Kind: social.Image, MIME: "image/png", Bytes: 11}
	if err := s.SaveMedia(ctx, ours, cover); err != nil {
		t.Fatal(err)
	}
	ws := d.Workspace()
	post := d.Post(ws.ID, noon, social.Part{
		Role: social.RoleBody, Media: []social.Media{film},
		Options: map[string]string{"thumbnail": cover.Hash, "title": "A title", "odd": strings.Repeat("0e", 32)},
	})
	d.Delivery(post, d.Account(ws.ID))
	planned, err := s.PlannedFiles(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, f := range planned {
		hashes = append(hashes, f.Media.Hash)
		if f.Media.Hash == cover.Hash && (f.Media.Bytes != cover.Bytes || f.Post != post.ID || !f.Planned.Equal(noon)) {
			t.Errorf("the file of an option is %+v", f)
		}
	}
	if want := []string{film.Hash, cover.Hash}; !cmp.Equal(hashes, want) {
		t.Errorf("the files of planned posts are %v, want %v", hashes, want)
	}
}

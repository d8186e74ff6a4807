package app_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"smi/internal/app"
)

// What is said for all accounts may name options of one network; another's are
// no mistake here, and one that nobody knows is.
func TestOptionsOfNetworks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("ann")
	plan := func(options map[string]string) (app.Created, error) {
		return w.app.CreatePost(t.Context(), w.owner, app.PostInput{
			Accounts: []string{"ann"}, Plan: app.PlanInput{In: "1h"}, Parts: []app.PartInput{{Text: "hello", Langs: []string{"en"}, Options: options}},
		}, "")
	}
	made, err := plan(map[string]string{"fake.reply_control": "nobody"})
	check(t, err)
	stored, err := w.store.Post(t.Context(), w.owner.Workspace, made.Post.ID)
	check(t, err)
	got := stored.Deliveries[0].Parts
	if want := map[string]string{"reply_control": "nobody"}; len(got) != 1 || !maps.Equal(got[0].Options, want) || !slices.Equal(got[0].Langs, []string{"en"}) {
		t.Errorf("on the account: %+v; want the options %v and the language", got, want)
	}
	if _, err := plan(map[string]string{"nowhere.reply_control": "nobody"}); err == nil {
		t.Error("an option of a network that there is not was taken")
	}
}

// A file that an option names must be there when the post is planned: later it
// could only be left out.
func TestFilesOfOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("ann")
	add := func(body string) string {
		m, err := w.app.ImportMedia(t.Context(), w.owner, app.MediaFile{Name: "cover.png", Body: strings.NewReader(body)})
		check(t, err)
		return m.Hash
	}
	for name, c := range map[string]struct{ hash, word string }{
		"a file":       {add("small"), ""},
		"none":         {strings.Repeat("0f", 32), "there is no file"},
		"a larger one": {add("much too large"), "14 bytes"},
	} {
		_, err := w.app.CreatePost(t.Context(), w.owner, app.PostInput{
			Accounts: []string{"ann"}, Plan: app.PlanInput{In: "1h"}, Parts: []app.PartInput{{Text: name, Options: map[string]string{"cover": c.hash}}},
		}, "")
		if c.word == "" {
			check(t, err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "parts[0].options.cover: ") || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

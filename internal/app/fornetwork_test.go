package app_test

import (
	"maps"
	"slices"
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

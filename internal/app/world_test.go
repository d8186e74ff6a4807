package app_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/app"
	"smi/internal/credentials"
	"smi/internal/keyring"
	"smi/internal/social"
	"smi/store"
)

// world is the use cases over a real store and a network in memory, with a
// clock that is told the time.
type world struct {
	t     *testing.T
	app   *app.App
	store *store.Store
	net   *fake.Network
	creds *credentials.Service
	owner app.Actor
	wakes int

	mu  sync.Mutex
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// newWorld starts on Monday 2026-11-23 at 09:00 in Berlin.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	w.net = fake.New(fake.Options{Now: w.clock})
	dir := t.TempDir()
	var err error
	w.store, err = store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "data", "smi.db"), Now: w.clock})
	check(t, err)
	t.Cleanup(func() { check(t, w.store.Close()) })
	ws, err := w.store.EnsureWorkspace(t.Context(), "Main", "Europe/Berlin")
	check(t, err)
	ring, err := keyring.Init(filepath.Join(dir, "key", "smi.keyset"), filepath.Join(dir, "data"))
	check(t, err)
	instance, err := w.store.InstanceID(t.Context())
	check(t, err)
	creds, err := credentials.New(credentials.Config{Store: w.store, Keyring: ring, Instance: instance, Node: "test", Now: w.clock})
	check(t, err)
	t.Cleanup(func() { check(t, creds.Close(context.Background())) })
	w.creds = creds
	w.app = app.New(app.Config{
		Accounts: w.store, Posts: w.store, Changes: w.store, Limits: w.store, Networks: networks{w.net}, Logins: app.StoredLogins{Service: creds, Rows: w.store},
		Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
			return connectors.Open(w.net, a, creds.For(a.ID, w.net))
		},
		Media: &files{}, Wake: func() { w.wakes++ }, Now: w.clock, Callback: func() string { return "http://127.0.0.1:9/oauth/callback" },
	})
	w.owner = app.Actor{Name: "tester", Kind: "cli", Workspace: ws.ID, Roles: []app.Role{app.Owner}}
	return w
}

// join adds an account to the network and connects it.
func (w *world) join(handle string) app.Account {
	w.t.Helper()
	acc := w.net.AddAccount(handle, "")
	acc.Rename(handle)
	c, err := w.app.StartConnect(w.t.Context(), w.owner, app.ConnectRequest{Network: "fake", Method: "form", Handle: handle})
	check(w.t, err)
	c, err = w.app.FinishForm(w.t.Context(), w.owner, c.ID, acc.Login())
	check(w.t, err)
	return *c.Account
}

// text plans a text on accounts.
func (w *world) text(at, text string, accounts ...string) (app.Created, error) {
	return w.app.CreatePost(w.t.Context(), w.owner, app.PostInput{Accounts: accounts, Parts: []app.PartInput{{Text: text}}, Plan: app.PlanInput{At: at}}, "")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type networks struct{ p connectors.Platform }

func (n networks) Platform(name social.Network, _ string) (connectors.Platform, error) {
	if name != n.p.Describe().Network {
		return nil, social.Errorf(social.CodeNotFound, "network", "this smi knows no network %q", name)
	}
	return n.p, nil
}

func (n networks) All() []connectors.Platform { return []connectors.Platform{n.p} }

// files is a media store in memory.
type files struct {
	mu  sync.Mutex
	all []social.Media
}

func (f *files) Import(_ context.Context, _ social.ID, in app.MediaFile) (social.Media, error) {
	b, err := io.ReadAll(in.Body)
	if err != nil {
		return social.Media{}, err
	}
	sum := sha256.Sum256(b)
	m := social.Media{Hash: hex.EncodeToString(sum[:]), Kind: social.Image, MIME: "image/png", Bytes: int64(len(b)), Width: 10, Height: 10, Name: in.Name}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, m)
	return m, nil
}

func (f *files) Get(_ context.Context, _ social.ID, hash string) (social.Media, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.all {
		if m.Hash == hash {
			return m, nil
		}
	}
	return social.Media{}, social.Errorf(social.CodeNotFound, "media", "there is no file %s; import it first", hash)
}

func (f *files) List(context.Context, social.ID, int) ([]social.Media, error) { return f.all, nil }

func (f *files) Transcode(_ context.Context, _ social.ID, m social.Media, _ *connectors.Limits) (social.Media, error) {
	return m, nil
}

func (f *files) Fit(_ context.Context, _ social.ID, m social.Media, _ connectors.Limits) (social.Media, error) {
	return m, nil
}

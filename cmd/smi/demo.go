package main

import (
	"bytes"
	"context"
	_ "embed" // the film
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"smi/config"
	"smi/connectors/youtube"
	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/keyring"
	"smi/internal/social"
)

// demoOptions are the flags of a demo.
type demoOptions struct {
	dir            string
	exitAfterFirst bool
}

// demo is a daemon beside simulated networks, and somebody who shows it.
type demo struct {
	c   *cli
	o   demoOptions
	dir string
	sim *simulator
	// others are the networks that are joined with a browser.
	others []*simNet
	api    *httpapi.Client
}

// runDemo shows the main job to a stranger: connect, publish at the planned
// second, read the numbers. Nothing of it touches real data or networks.
func (c *cli) runDemo(ctx context.Context, o demoOptions) error {
	begin := time.Now()
	dir, remove, err := demoDir(o.dir)
	if err != nil {
		return err
	}
	if remove {
		defer os.RemoveAll(dir) //nolint:errcheck // a folder that stays does no harm
	}
	x := &demo{c: c, o: o, dir: dir}
	if x.sim, err = startSimulator(ctx, "127.0.0.1:0", "alice.test", "bob.test"); err != nil {
		return err
	}
	all, err := otherNetworks(nil)
	if err != nil {
		return err
	}
	if x.others, err = startSimNets(ctx, all, 0); err != nil {
		return err
	}
	if err := os.Setenv(simSecretEnv, simSecret); err != nil {
		return err
	}
	d, err := newDaemon(ctx, daemonOptions{Load: x.load, Registry: c.registry, Version: version, Log: c.err})
	if err != nil {
		return err
	}
	socket := d.cfg.Current().API.Socket
	x.api = httpapi.NewClient(socket, c.workspace)
	defer x.api.Close()
	c.say("smi demo: a daemon beside simulated networks. Nothing here is public.")
	c.say("  data    %s%s", dir, map[bool]string{true: " (removed in the end)"}[remove])
	c.say("  network %s (Bluesky)", x.sim.url())
	for _, o := range x.others {
		c.say("  network %s (%s)", o.url(), o.title)
	}
	c.say("  try in another terminal: smi --socket %s post list", socket)
	c.say("")

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	running := 3 + len(x.others)
	ended := make(chan error, running)
	go func() { ended <- x.sim.serve(ctx) }()
	for _, o := range x.others {
		go func() { ended <- o.serve(ctx) }()
	}
	go func() { x.sim.live(ctx); ended <- nil }()
	go func() { ended <- d.run(ctx) }()
	err = x.show(ctx, begin)
	if err == nil && !o.exitAfterFirst {
		c.say("The daemon goes on; the later post waits. Stop it with Ctrl-C.")
		<-ctx.Done()
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		err = nil // it was told to stop
	}
	stop()
	for range running {
		if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	if err == nil {
		c.say("stopped; nothing was lost")
	}
	return err
}

// demoDir returns a folder for a demo, and whether it goes away with it.
func demoDir(named string) (dir string, remove bool, err error) {
	if named != "" {
		dir, err = filepath.Abs(named)
		return dir, false, err
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", false, fmt.Errorf("finding your home folder: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	base = filepath.Join(base, "smi-demo")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", false, fmt.Errorf("making the demo's folder: %w", err)
	}
	dir, err = os.MkdirTemp(base, "run-")
	return dir, true, err
}

// load makes the configuration and the key of the demo.
func (x *demo) load() (*config.Config, error) {
	data, key := filepath.Join(x.dir, "data"), filepath.Join(x.dir, "key", "smi.keyset")
	if !exists(key) {
		if _, err := keyring.Init(key, data); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf("data_dir: %q\nkey_file: %q\nlog: {level: warn}\nworkspace: {name: Demo}\n%s", data, key, x.sim.config(x.others...))
	return config.Parse(filepath.Join(x.dir, "config.yaml"), []byte(text), x.c.registry)
}

// show is what the stranger sees.
func (x *demo) show(ctx context.Context, begin time.Time) error {
	for _, handle := range []string{"alice.test", "bob.test"} {
		if err := x.connect(ctx, handle); err != nil {
			return err
		}
	}
	accounts := []string{"alice.test", "bob.test"}
	var films []string // accounts that take nothing without a film
	for _, o := range x.others {
		acc, err := x.browse(ctx, o)
		if err != nil {
			return err
		}
		if acc.Network == youtube.Network {
			films = append(films, acc.ID.String())
		} else {
			accounts = append(accounts, acc.ID.String())
		}
	}
	first, err := x.plan(ctx, app.PostInput{
		Accounts: accounts, Tags: []string{"demo"}, Plan: app.PlanInput{In: "10s"},
		Parts:     []app.PartInput{{Text: "Hello from smi! Planned ten seconds ago, published at the second. #smi", Langs: []string{"en"}}},
		Overrides: []app.Override{{Account: "bob.test", Text: new("The same post, in Bob's own words. #smi")}},
	})
	if err != nil {
		return err
	}
	thread, err := x.thread(ctx)
	if err != nil {
		return err
	}
	film, err := x.film(ctx, films)
	if err != nil {
		return err
	}
	if _, err := x.plan(ctx, app.PostInput{
		Accounts: []string{"alice.test"}, Plan: app.PlanInput{In: "24h"}, Tags: []string{"demo"},
		Parts: []app.PartInput{{Text: "This one is for tomorrow; it waits in the database, not in a process."}},
	}); err != nil {
		return err
	}
	x.c.say("")
	if err := x.published(ctx, first); err != nil {
		return err
	}
	x.c.say("first post published %.1f s after the start of the daemon", time.Since(begin).Seconds())
	if x.o.exitAfterFirst {
		return nil
	}
	for _, p := range []app.Post{thread, film} {
		if err := x.published(ctx, p); err != nil {
			return err
		}
	}
	return x.read(ctx, first, thread, film)
}

// count writes a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// connect waits until the daemon answers and logs in.
func (x *demo) connect(ctx context.Context, handle string) error {
	conn, err := x.api.StartConnect(ctx, app.ConnectRequest{Network: "bluesky", Method: "form", Handle: handle})
	if err != nil {
		return err
	}
	values := map[string]social.Secret{}
	for _, f := range conn.Fields {
		switch {
		case f.Secret:
			values[f.Name] = social.NewSecret(simPassword)
		case f.Name == "handle" || f.Name == "identifier":
			values[f.Name] = social.NewSecret(handle)
		}
	}
	if conn, err = x.api.FinishForm(ctx, conn.ID, values); err != nil {
		return err
	}
	x.c.say("connected %s", conn.Account.Name)
	return nil
}

// browse connects an account as somebody with a browser does, who agrees to
// everything.
func (x *demo) browse(ctx context.Context, o *simNet) (app.Account, error) {
	conn, err := x.api.StartConnect(ctx, app.ConnectRequest{Network: o.network, Method: "oauth", Handle: o.hint})
	if err != nil {
		return app.Account{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, conn.AuthURL, http.NoBody)
	if err != nil {
		return app.Account{}, err
	}
	browser := http.Client{Timeout: 30 * time.Second}
	resp, err := browser.Do(req)
	if err != nil {
		return app.Account{}, fmt.Errorf("logging in to the simulated %s: %w", o.title, err)
	}
	resp.Body.Close() //nolint:errcheck // what the page says, the connection says too
	if conn, err = x.api.Connection(ctx, conn.ID, 10*time.Second); err != nil {
		return app.Account{}, err
	}
	if conn.Account == nil {
		return app.Account{}, &attentionError{fmt.Sprintf("connecting %s: %s %s", o.title, conn.State, conn.Text)}
	}
	x.c.say("connected %s", conn.Account.Name)
	return *conn.Account, nil
}

//go:embed demo.mp4
var demoFilm []byte

// film plans a film, which goes up before its minute and is private until then.
func (x *demo) film(ctx context.Context, accounts []string) (app.Post, error) {
	m, err := x.api.AddMedia(ctx, bytes.NewReader(demoFilm), "colours.mp4", nil)
	if err != nil {
		return app.Post{}, err
	}
	return x.plan(ctx, app.PostInput{
		Accounts: accounts, Plan: app.PlanInput{In: "15s"}, Tags: []string{"demo"},
		Parts: []app.PartInput{{
			Text: "Three seconds of colours. The film went up before its time and became public at the second.", Media: []app.MediaRef{{Hash: m.Hash}},
			Options: map[string]string{"title": "Colours"},
		}},
	})
}

// plan plans a post and says so.
func (x *demo) plan(ctx context.Context, in app.PostInput) (app.Post, error) {
	in.AllowRepeat = true // a demo that is started again on the same data says the same
	created, err := x.api.CreatePost(ctx, in, "")
	if err != nil {
		return app.Post{}, err
	}
	p := created.Post
	extra := ""
	if n := len(in.Parts); n > 1 {
		extra = fmt.Sprintf(", a thread of %d", n)
	}
	x.c.say("planned   %s for %s on %s%s: %s", p.ID, at(p.Planned.UTC, "UTC"), count(len(p.Deliveries), "account"), extra, clip(in.Parts[0].Text, 50))
	return p, nil
}

// thread plans a thread whose first part has two pictures.
func (x *demo) thread(ctx context.Context) (app.Post, error) {
	body := app.PartInput{Text: "A thread of three parts; the first has two pictures with alt texts."}
	for i, alt := range []string{"A red and blue gradient", "A green and gold gradient"} {
		m, err := x.api.AddMedia(ctx, bytes.NewReader(gradient(i)), fmt.Sprintf("picture-%d.png", i+1), nil)
		if err != nil {
			return app.Post{}, err
		}
		body.Media = append(body.Media, app.MediaRef{Hash: m.Hash, Alt: alt})
	}
	return x.plan(ctx, app.PostInput{
		Accounts: []string{"alice.test"}, Plan: app.PlanInput{In: "14s"}, Tags: []string{"demo"},
		Parts: []app.PartInput{body, {Text: "The second part answers the first."}, {Text: "The third ends it. Each part is written down before it is sent, and sent once."}},
	})
}

// gradient draws a picture.
func gradient(kind int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 640, 400))
	for y := range 400 {
		for x := range 640 {
			u, v := uint8(x*255/639), uint8(y*255/399) //nolint:gosec // 0 to 255
			img.SetRGBA(x, y, []color.RGBA{{u, 40, v, 255}, {u / 2, 200 - v/2, 30, 255}}[kind%2])
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil { // into memory
		panic(err)
	}
	return b.Bytes()
}

// published waits for a post and says how each delivery ended.
func (x *demo) published(ctx context.Context, p app.Post) error {
	p, err := x.c.await(ctx, x.api, p.ID.String(), 5*time.Minute)
	if err != nil {
		return err
	}
	x.c.deliveries(p)
	return notWell(p)
}

// read lets people react for some seconds and reads the numbers.
func (x *demo) read(ctx context.Context, posts ...app.Post) error {
	x.c.say("")
	x.c.say("people read and like the posts for five seconds …")
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	runs, err := x.api.SyncNow(ctx, "")
	if err == nil {
		runs, err = x.c.awaitRuns(ctx, x.api, runs)
	}
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.State != "done" {
			return &attentionError{fmt.Sprintf("reading the numbers of %s: %s %s", r.Name, r.State, r.Reason)}
		}
	}
	for _, p := range posts {
		if p, err = x.api.Post(ctx, p.ID.String(), 0); err != nil {
			return err
		}
		for _, d := range p.Deliveries {
			for _, n := range d.Numbers {
				x.c.say("numbers   %s part %d: %s", d.AccountName, n.Part+1, numbers(n))
			}
		}
	}
	x.c.say("")
	return nil
}

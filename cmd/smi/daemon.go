package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/app"
	"smi/internal/clock"
	"smi/internal/credentials"
	"smi/internal/httpapi"
	"smi/internal/jobs"
	"smi/internal/keyring"
	"smi/internal/monitor"
	"smi/internal/netguard"
	"smi/internal/notify"
	"smi/internal/obs"
	"smi/internal/public"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// A stopping daemon is gone after stopTime, of which drainTime is for what is on
// the wire. Where nothing can be recorded any more there is nothing to wait for.
const (
	stopTime   = 90 * time.Second
	drainTime  = 75 * time.Second
	brokenTime = 2 * time.Second
)

// daemonOptions are what a daemon is started with besides its configuration.
type daemonOptions struct {
	Load     func() (*config.Config, error)
	Registry *connectors.Registry
	Version  string
	Log      io.Writer
	Observe  func(scheduler.Event) // of every change of a delivery; may be nil
}

// daemon is the whole program in one process. It knows every package and does
// nothing but connect them.
type daemon struct {
	cfg      *config.Holder
	log      *slog.Logger
	level    *slog.LevelVar
	redactor *obs.Redactor
	now      func() time.Time // by which everything is done; see clock.Watch
	wall     func() time.Time // what the machine's clock says
	watch    *clock.Watch
	boot     clock.Boot

	store     *store.Store
	keys      *keyring.Keyring
	creds     *credentials.Service
	platforms *platforms
	media     *mediaStore
	scheduler *scheduler.Scheduler
	jobs      *jobs.Runner
	marks     *marks
	backups   *maker
	notices   *notify.Sender
	version   string
	load      func() (*config.Config, error)
	clock     *clockGate
	watched   net.Listener // nil: nothing is served to monitoring programs
	open      net.Listener // nil: nothing is served to strangers
	public    *public.Server
	pulse     pulse
	metrics   *monitor.Metrics
	// dispatching is set while the dispatcher runs.
	dispatching atomic.Bool
	app         *app.App
	api         *httpapi.API

	socket   net.Listener
	callback net.Listener
	clients  *clients
	node     string
	member   *store.Membership
}

// newDaemon opens everything in the order in which one thing needs the other.
// Nothing is published before run. What it opened it closes again if it fails.
func newDaemon(ctx context.Context, o daemonOptions) (_ *daemon, err error) {
	cfg, err := o.Load()
	if err != nil {
		return nil, err
	}
	watch := clock.NewWatch(time.Now, nil)
	d := &daemon{now: watch.Now, wall: time.Now, watch: watch, boot: clock.NewBoot(), level: &slog.LevelVar{}, redactor: obs.NewRedactor(), node: cmp.Or(cfg.Node, nodeName()), version: o.Version, load: o.Load}
	defer func() {
		if err != nil {
			d.close() //nolint:errcheck // the first error is told
		}
	}()
	d.cfg = config.NewHolder(cfg, o.Load)
	d.logTo(o.Log, cfg)

	d.metrics = d.newMetrics(o.Registry)

	// The key comes first: without it nothing is made in the data folder.
	if d.keys, err = loadKey(cfg); err != nil {
		return nil, err
	}
	if err := d.openStore(ctx, cfg, o.Version); err != nil {
		return nil, err
	}
	// What is made once must not be made twice by nodes that start together.
	var workspace social.Workspace
	if err := d.store.Alone(ctx, "first start", func(ctx context.Context) error {
		if workspace, err = d.firstWorkspace(ctx, cfg); err != nil {
			return err
		}
		if err := d.shareMedia(ctx, cfg); err != nil {
			return err
		}
		return d.openSecrets(ctx)
	}); err != nil {
		return nil, err
	}
	if err := d.openMarks(ctx); err != nil {
		return nil, err
	}
	d.platforms = &platforms{registry: o.Registry, env: d.env(o.Version)}
	if err := d.platforms.use(cfg); err != nil {
		return nil, err
	}
	if err := d.openTelling(cfg, o.Version); err != nil {
		return nil, err
	}
	d.clients = &clients{platforms: d.platforms, creds: d.creds}
	if d.media, err = openMedia(ctx, d, cfg); err != nil {
		return nil, err
	}
	observe := func(e scheduler.Event) {
		d.app.Observed()
		d.metrics.Count(changeOf(e))
		if o.Observe != nil {
			o.Observe(e)
		}
	}
	d.clock = &clockGate{Ledger: markedLedger{&diskGate{Ledger: d.store, d: d}, d.marks}, d: d, watch: d.watch, boot: d.marks.boot}
	d.scheduler = scheduler.New(scheduler.Config{
		Ledger: d.clock, Clients: d.clients.open, Media: d.media, IDs: &social.IDs{}, Node: d.node, Alone: !d.store.Shared(),
		Now: d.now, Boot: d.boot.Now, Log: d.log, Observe: observe,
		Workers: cfg.Publish.Workers, Rules: rulesOf(cfg),
	})
	if err := d.listen(ctx, cfg); err != nil {
		return nil, err
	}
	syncs, err := d.startable(ctx, cfg, workspace)
	if err != nil {
		return nil, err
	}
	d.app = app.New(app.Config{
		Accounts: d.store, Posts: d.store, Changes: d.store, Networks: d.platforms, Clients: d.clients.open,
		Logins: app.StoredLogins{Service: d.creds, Rows: d.store}, Media: d.media, Syncs: syncs, Limits: d.store, Figures: figures{d}, Backups: d.backups, Telling: telling{d}, Wake: d.scheduler.Wake,
		Now: d.now, Log: d.log, Callback: d.callbackURL,
		LoginTime:  func() time.Duration { return d.cfg.Current().OAuth.LoginTimeout },
		StageAhead: func() time.Duration { return d.cfg.Current().Publish.StageAhead },
		LatePolicy: func() social.LatePolicy { return social.LatePolicy(d.cfg.Current().Publish.Late) }, Clock: d.clock, Checks: d.checks(), Spend: d.store, Purses: d.platforms.purses, Version: o.Version, Started: d.now(), Node: d.node,
	})
	d.api = httpapi.New(httpapi.Config{App: d.app, Version: o.Version, Log: d.log, Reload: d.reload, Metrics: d.metrics, Upload: int64(cfg.Media.MaxVideoSize)})
	return d, nil
}

// rulesOf are the settings of publishing that a reload changes.
func rulesOf(cfg *config.Config) scheduler.Rules {
	p := cfg.Publish
	return scheduler.Rules{DialAhead: p.DialAhead, Grace: p.Grace, HoldUntil: p.HoldUntil, MinGap: p.MinGap}
}

func ballast(s config.Size) int64 {
	if s == 0 {
		return -1 // none; 0 would be the store's default
	}
	return int64(s)
}

// nodeName names this process among those that share a database.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return host
}

// logTo makes the log: one line per event, without a secret that was ever told
// to the redactor.
func (d *daemon) logTo(w io.Writer, cfg *config.Config) {
	d.setLevel(cfg)
	opts := &slog.HandlerOptions{Level: d.level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if cfg.Log.Format == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	d.log = slog.New(obs.Handler(h, d.redactor))
}

func (d *daemon) setLevel(cfg *config.Config) {
	var l slog.Level
	if l.UnmarshalText([]byte(strings.ToUpper(cfg.Log.Level))) == nil {
		d.level.Set(l)
	}
}

// firstWorkspace makes the workspace of the configuration in a new database.
func (d *daemon) firstWorkspace(ctx context.Context, cfg *config.Config) (social.Workspace, error) {
	all, err := d.store.Workspaces(ctx)
	if err != nil {
		return social.Workspace{}, err
	}
	if len(all) > 0 {
		return all[0], nil
	}
	return d.store.EnsureWorkspace(ctx, cfg.Workspace.Name, cfg.Workspace.Zone.Name)
}

// loadKey reads the key from its file, or from the environment where there is
// no file.
func loadKey(cfg *config.Config) (*keyring.Keyring, error) {
	file := cfg.KeyFile
	if os.Getenv(keyring.EnvName) != "" && !exists(file) {
		file = ""
	}
	return keyring.Load(keyring.Options{File: file, DataDir: cfg.DataDir})
}

// openSecrets makes sure that the key is the one of this data, and takes up
// refreshes that were interrupted.
func (d *daemon) openSecrets(ctx context.Context) error {
	if w := d.keys.Warning(); w != "" {
		d.log.Warn("the key could be kept better", "warning", w)
	}
	instance, err := d.store.InstanceID(ctx)
	if err != nil {
		return err
	}
	if err := d.keys.Check(ctx, d.store, instance); err != nil {
		return err
	}
	if d.creds, err = credentials.New(credentials.Config{
		Store: d.store, Keyring: d.keys, Instance: instance, Node: d.node, Now: d.now, Log: d.log, Secrets: d.redactor.Add,
		Frozen: d.store.Quarantined,
	}); err != nil {
		return err
	}
	n, err := d.creds.Recover(ctx, !d.store.Shared())
	if n > 0 {
		d.log.Warn("renewals of logins were interrupted when smi stopped; they will be looked after", "count", n)
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// env is what connectors live in.
func (d *daemon) env(version string) func(*config.Config) (connectors.Env, error) {
	return func(cfg *config.Config) (connectors.Env, error) {
		guard, err := netguard.New(netguard.Options{AllowPrivate: cfg.AllowPrivate})
		if err != nil {
			return connectors.Env{}, err
		}
		return connectors.Env{Dial: guard.DialContext, Now: d.now, Log: d.log, Limits: d.store, Spend: d.store, Secrets: d.redactor.Add, Redact: d.redactor.Text, Date: d.sawDate, UserAgent: "smi/" + version}, nil
	}
}

// sawDate takes up what a network said the time is.
func (d *daemon) sawDate(network social.Network, at time.Time) { d.watch.Saw(string(network), at) }

// listen opens the socket and the loopback listener for OAuth logins.
func (d *daemon) listen(ctx context.Context, cfg *config.Config) error {
	var err error
	if d.socket, err = httpapi.Listen(ctx, cfg.API.Socket); err != nil {
		return err
	}
	var lc net.ListenConfig
	if d.callback, err = lc.Listen(ctx, "tcp", cfg.OAuth.CallbackListen); err != nil {
		return social.Errorf(social.CodeUnavailable, "oauth.callback_listen", "%s cannot be listened on (%v); set oauth.callback_listen to a free port of this machine", cfg.OAuth.CallbackListen, errors.Unwrap(err))
	}
	if m := cfg.Monitor; m.Listen != "" {
		if d.watched, err = lc.Listen(ctx, "tcp", m.Listen); err != nil {
			return social.Errorf(social.CodeUnavailable, "monitor.listen", "%s cannot be listened on (%v); set monitor.listen to a free port of this machine", m.Listen, errors.Unwrap(err))
		}
	}
	return d.listenPublic(ctx, cfg)
}

// monitor answers monitoring programs.
func (d *daemon) monitor() httpapi.Monitor {
	return httpapi.Monitor{Health: d.health, Metrics: d.metrics, Token: d.cfg.Current().Monitor.Token}
}

// callbackURL is where browsers come back to.
func (d *daemon) callbackURL() string {
	if base := d.cfg.Current().OAuth.RedirectBase; base != "" {
		return strings.TrimSuffix(base, "/") + httpapi.CallbackPath
	}
	return "http://" + d.callback.Addr().String() + httpapi.CallbackPath
}

// reload puts a new configuration in force. An error leaves the old one.
func (d *daemon) reload(ctx context.Context) (httpapi.ReloadResult, error) {
	var plan notify.Plan
	change, err := d.cfg.Reload(func(cfg *config.Config) error {
		var err error
		if plan, err = d.planOf(cfg, d.version); err != nil {
			return err
		}
		return d.platforms.use(cfg)
	})
	if err != nil {
		d.log.Error("the configuration was not reloaded", "err", err)
		return httpapi.ReloadResult{}, &social.Error{Code: social.CodeInvalid, Field: "config", Text: err.Error()}
	}
	d.setLevel(d.cfg.Current())
	d.scheduler.SetRules(rulesOf(d.cfg.Current()))
	d.notices.Use(plan)
	// A post that was blocked by the old configuration (its network was switched
	// off) is not blocked for ever.
	if n, err := d.store.FreeBlocked(ctx, 0); err != nil {
		d.log.Error("trying blocked posts again", "err", err)
	} else if n > 0 {
		d.scheduler.Wake()
	}
	out := httpapi.ReloadResult{Changed: append([]string{}, change.Live...), Restart: append([]string{}, change.Restart...)}
	d.log.Info("the configuration was reloaded", "changed", out.Changed, "need_restart", out.Restart)
	return out, nil
}

// awayTime is how long smi must not have run for its absence to be reported. It
// beats once a minute.
const awayTime = 3 * time.Minute

// run works until ctx ends, then stops in order: nothing new is claimed, what
// is on the wire is finished, jobs end, the doors close, the database closes.
func (d *daemon) run(ctx context.Context) error {
	// The doors and the background work outlive the dispatcher: an outcome that
	// comes in the last second must still be seen and stored.
	late, stopLate := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLate()
	var wg sync.WaitGroup
	errs := make(chan error, 5)
	start := func(what string, fn func() error) {
		wg.Go(func() {
			if err := fn(); err != nil {
				errs <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}
	missed, err := d.store.ReportAway(ctx, d.away(ctx))
	if err != nil {
		return errors.Join(err, d.close())
	}
	if missed > 0 {
		d.log.Warn("posts were due while smi was away; see smi notices", "count", missed)
	}
	if err := d.jobs.Start(ctx); err != nil { // before the doors open: what comes in may queue a job
		return errors.Join(err, d.close())
	}
	wg.Go(func() { d.marks.keepUp(late) })
	wg.Go(func() { d.notices.Run(late) })
	wg.Go(func() { d.clock.keepUp(late) })
	start("the API", func() error { return d.api.Serve(late, d.socket) })
	start("the OAuth callback", func() error { return httpapi.Callback(late, d.callback, d.app, d.log) })
	dispatching, stopDispatch := context.WithCancel(ctx)
	defer stopDispatch()
	publishing := make(chan error, 1)
	d.dispatching.Store(true)
	go func() {
		defer d.dispatching.Store(false)
		publishing <- d.scheduler.Run(dispatching)
	}()
	wg.Go(func() { d.deadman(dispatching) })
	if d.open != nil {
		start("the public listener", func() error { return d.public.Serve(late, d.open) })
	}
	if d.watched != nil {
		start("monitoring", func() error { return d.monitor().Serve(late, d.watched, d.log) })
	}
	d.log.Info("smi is running", "socket", d.socket.Addr().String(), "data_dir", d.cfg.Current().DataDir, "networks", d.platforms.registry.Names())

	var first error
	select {
	case <-ctx.Done():
	case first = <-errs:
	case <-d.store.Broken():
		first = d.store.Healthy()
	case err := <-publishing:
		first = err
		publishing <- nil // drained already
	}
	stopDispatch()
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime-10*time.Second) // the doors have the rest
	defer cancel()
	d.log.Info("smi is stopping; what is being sent is finished first", "at_most", drainTime)
	first = errors.Join(first, d.drain(publishing))
	first = errors.Join(first, d.jobs.Stop(down), d.creds.Close(down))
	stopLate()
	wg.Wait()
	if d.store.Healthy() == nil {
		d.marks.stopped(down)
	}
	return errors.Join(first, d.close())
}

// drain waits for the dispatcher.
func (d *daemon) drain(publishing <-chan error) error {
	t := time.NewTimer(drainTime)
	defer t.Stop()
	over := make(chan struct{})
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		defer close(over)
		select {
		case <-stopped:
		case <-t.C:
		case <-d.store.Broken():
			<-time.After(brokenTime)
		}
	}()
	select {
	case err := <-publishing:
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	case <-over:
		d.log.Warn("something is still on the wire; the next start looks on the network for what became of it")
		return nil
	}
}

// close gives everything back that newDaemon took.
func (d *daemon) close() error {
	var errs []error
	for _, l := range []net.Listener{d.socket, d.callback, d.watched, d.open} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if d.media != nil {
		errs = append(errs, d.media.Close())
	}
	if d.member != nil {
		errs = append(errs, d.leave())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	return errors.Join(errs...)
}

// clients opens clients of accounts.
type clients struct {
	platforms *platforms
	creds     *credentials.Service
}

// open returns the client of an account, with credentials that renew
// themselves. No I/O.
func (c *clients) open(_ context.Context, a social.Account) (*connectors.Client, error) {
	p, err := c.platforms.Platform(a.Network, a.App)
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: "open", Text: err.Error(), Err: err}
	}
	return connectors.Open(p, a, c.creds.For(a.ID, connectors.JoinOf(p).Renew))
}

package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
)

// Config is everything an admin can set. It is made by Load or Parse, complete
// with defaults, and never changed afterwards.
type Config struct {
	DataDir      string    `yaml:"data_dir" kind:"path" reload:"restart" shows:"$XDG_STATE_HOME/smi or ~/.local/state/smi; /var/lib/smi for root" doc:"Folder of the database, the media and the socket. Made if it is missing, readable for its owner only. Empty: the default place."`
	KeyFile      string    `yaml:"key_file" kind:"path" reload:"restart" shows:"$XDG_CONFIG_HOME/smi/smi.keyset or ~/.config/smi/smi.keyset; /etc/smi/smi.keyset for root" doc:"File of the keys that seal the networks' tokens (smi keys init makes it). It must lie outside data_dir, so that no copy of the data holds the keys. Empty: the default place."`
	Database     Database  `yaml:"database" doc:"Where smi keeps its data. Nothing set: one SQLite file in data_dir, for one smi."`
	Node         string    `yaml:"node" reload:"restart" shows:"the host name" doc:"Name of this smi among those that use one PostgreSQL database. No two may have the same at a time; one that is started again keeps its name. Empty: the host name."`
	Log          Log       `yaml:"log" doc:"What smi writes to standard error."`
	Instance     Instance  `yaml:"instance" doc:"How this installation is told from a copy of it."`
	Workspace    Workspace `yaml:"workspace" doc:"The first workspace. Used once, when the database is new; later it is changed in smi itself."`
	Publish      Publish   `yaml:"publish" doc:"How planned posts go out."`
	Sync         Sync      `yaml:"sync" doc:"The nightly reading of figures from the networks."`
	Media        Media     `yaml:"media" doc:"Largest pictures and videos that are taken in. What a network refuses is checked besides."`
	Backup       Backup    `yaml:"backup" doc:"Backups by schedule. By hand they work without: smi backup."`
	Retention    Retention `yaml:"retention" doc:"How long things are kept that are not needed to show a post and its figures. 0s keeps them for ever."`
	Disk         Disk      `yaml:"disk" doc:"What happens when the disk of data_dir fills up."`
	API          API       `yaml:"api" doc:"The door through which the command line talks to the daemon."`
	OAuth        OAuth     `yaml:"oauth" doc:"Signing in to networks with a browser."`
	Public       Public    `yaml:"public" doc:"The door for networks that fetch the files of posts by themselves. Nothing else of smi can be reached by it. Not open by default."`
	Notify       Notify    `yaml:"notify" doc:"How people are told when they are not looking. In smi itself everything is told always: smi notices."`
	Deadman      Deadman   `yaml:"deadman" doc:"A sign of life to a watcher elsewhere, for what smi cannot tell because it is gone."`
	Monitor      Monitor   `yaml:"monitor" doc:"Health of smi itself for monitoring programs."`
	AllowPrivate []string  `yaml:"allow_private" kind:"hostport" doc:"Servers, as address:port or localhost:port, that smi may call although their address is private or on this machine, and without TLS. For a Mastodon or Bluesky server of your own, and for simulators."`
	Networks     Networks  `yaml:"networks" doc:"A section for each social network. A network that is not named here has its defaults."`

	sources map[string]string
}

// Database is a database on a server.
type Database struct {
	URL         Secret `yaml:"url" secret:"true" reload:"restart" doc:"Address of a PostgreSQL database, 14 or newer: postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full. Any number of smi may use it, all with this configuration, the same key file and the same media.dir. Empty: SQLite in data_dir."`
	Connections int    `yaml:"connections" default:"16" min:"6" max:"1000" reload:"restart" doc:"How many connections to the server this smi opens at most."`
}

// Log is the log.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug,info,warn,error" doc:"The least important lines that are written."`
	Format string `yaml:"format" default:"text" enum:"text,json" reload:"restart" doc:"text for people, json for programs that collect logs."`
}

// Instance tells the installation from its copies.
type Instance struct {
	Name string `yaml:"name" reload:"restart" doc:"A name that you vouch to use for one running smi only. With it the data may move to another machine or folder without a question; a database that has another name is taken for a copy, and nothing is published until smi adopt. Empty: machine and folder are compared."`
	Mark string `yaml:"mark" kind:"path" reload:"restart" doc:"A second file, on another disk than data_dir, that says how new the database is. It shows that data_dir was set back as a whole (a snapshot of the disk), and, on storage that two machines share, that a copy is running. Empty: none."`
}

// Workspace is the first workspace.
type Workspace struct {
	Name string `yaml:"name" default:"Main" min:"1" reload:"restart" doc:"Name of the workspace."`
	Zone Zone   `yaml:"zone" default:"UTC" reload:"restart" doc:"Time zone in which the team plans and in which the night of the sync is."`
}

// Late says what to do with a post whose minute has passed.
type Late string

// What to do with a post that is late by more than the grace.
const (
	LateAsk     Late = "ask"     // hold it and ask a person
	LatePublish Late = "publish" // publish it all the same
	LateSkip    Late = "skip"    // skip it and say so
)

// Publish is how planned posts go out.
type Publish struct {
	Workers    int           `yaml:"workers" default:"512" min:"1" max:"10000" reload:"restart" doc:"How many accounts are published to at the same time."`
	StageAhead time.Duration `yaml:"stage_ahead" default:"15m" max:"15m" doc:"How long before the planned minute media is uploaded and checked; counts for posts that are planned from then on. A network may ask for less."`
	DialAhead  time.Duration `yaml:"dial_ahead" default:"2s" max:"30s" doc:"How long before the planned second the connection is opened."`
	Grace      time.Duration `yaml:"grace" default:"15m" max:"30d" doc:"A post that is late by no more than this is published with a note."`
	Late       Late          `yaml:"late" default:"ask" enum:"ask,publish,skip" doc:"What happens to a post that is later than grace: ask holds it until a person decides, publish sends it, skip leaves it out and says so. A post can say otherwise."`
	HoldUntil  time.Duration `yaml:"hold_until" default:"24h" max:"365d" doc:"A post that is later than this is skipped, with a notice. It must not be less than grace."`
	MinGap     time.Duration `yaml:"min_gap" default:"0s" max:"1h" doc:"Least time between two posts on one account, whatever the plan says. The settings of a network may ask for more."`
}

// Check refuses times that contradict each other.
func (p *Publish) Check() error {
	if p.HoldUntil < p.Grace {
		return social.Errorf(social.CodeInvalid, "hold_until", "%s is less than grace, %s; make it longer or grace shorter", formatDuration(p.HoldUntil), formatDuration(p.Grace))
	}
	return nil
}

// Sync is the nightly reading of figures.
type Sync struct {
	Enabled  bool          `yaml:"enabled" default:"true" doc:"Whether figures are read by schedule. By hand it works either way: smi sync."`
	Cron     Cron          `yaml:"cron" default:"30 2 * * *" doc:"When figures are read, on the wall clock of each workspace: minute, hour, day, month, weekday. A run that was missed while smi was down is caught up."`
	Jitter   time.Duration `yaml:"jitter" default:"10m" max:"6h" doc:"The accounts begin spread over this time, so that networks are not asked for everything at once."`
	LookBack time.Duration `yaml:"look_back" default:"30d" min:"1d" max:"730d" doc:"How old a post may be to have its figures read each night."`
	Workers  int           `yaml:"workers" default:"8" min:"1" max:"256" reload:"restart" doc:"How many accounts are read at the same time."`
	Timeout  time.Duration `yaml:"timeout" default:"30m" min:"10s" max:"12h" reload:"restart" doc:"Longest time for one account; what is missing then is read the next time."`
}

// Media is what is taken in.
type Media struct {
	Dir            string `yaml:"dir" kind:"path" reload:"restart" shows:"media in data_dir" doc:"Folder of the pictures and videos. Where several smi use one database, a folder that all of them share. Empty: media in data_dir."`
	Bucket         string `yaml:"bucket" reload:"restart" doc:"Bucket that keeps them instead, such as s3://BUCKET/PREFIX?region=REGION (for a store other than Amazon's also &endpoint=https://HOST&use_path_style=true). Then dir only holds what is being taken in, and files from before. Backups hold no files of a bucket. Empty: dir."`
	AccessKey      Secret `yaml:"access_key" secret:"true" reload:"restart" doc:"Access key of the bucket. Without it the usual places are looked at: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, the machine's role."`
	SecretKey      Secret `yaml:"secret_key" secret:"true" reload:"restart" doc:"Secret key of the bucket."`
	MaxImageSize   Size   `yaml:"max_image_size" default:"32MiB" min:"1KiB" max:"1GiB" reload:"restart" doc:"Largest picture file."`
	MaxImagePixels int64  `yaml:"max_image_pixels" default:"100000000" min:"1" max:"1000000000" reload:"restart" doc:"Largest picture in pixels, width times height: a small file can be a huge picture."`
	MaxVideoSize   Size   `yaml:"max_video_size" default:"4GiB" min:"1KiB" max:"256GiB" reload:"restart" doc:"Largest video file."`
	Refit          bool   `yaml:"refit" default:"true" doc:"Whether a picture that breaks a network's rules is made smaller or encoded anew for it. Otherwise it is refused with the rule."`
	RemoveMetadata bool   `yaml:"remove_metadata" default:"true" reload:"restart" doc:"Whether place, camera and whatever else cameras and programs write beside the picture are taken out of what comes in. Otherwise JPEG, PNG, GIF and videos are kept and published as they come, with the place where they were taken. Copies that smi makes hold none of it either way."`
	FFmpeg         string `yaml:"ffmpeg" kind:"path" reload:"restart" shows:"ffmpeg of the PATH, if there is one" doc:"Program that makes other videos of videos when it is asked to: smi media transcode. Empty: ffmpeg of the PATH, if there is one."`

	TranscodeTime    time.Duration `yaml:"transcode_time" default:"1h" min:"1m" max:"24h" reload:"restart" doc:"The most that may take for one video."`
	TranscodeThreads int           `yaml:"transcode_threads" default:"1" min:"1" max:"64" reload:"restart" doc:"How many processors it uses, at the lowest priority."`
}

// Check refuses a bucket that cannot be opened.
func (m *Media) Check() error {
	switch {
	case m.Bucket != "" && !strings.HasPrefix(m.Bucket, "s3://"):
		return social.Errorf(social.CodeInvalid, "bucket", "%s is no bucket; write s3://BUCKET/PREFIX?region=REGION", quoted(m.Bucket))
	case hasKey(m.Bucket):
		return social.Errorf(social.CodeInvalid, "bucket", "holds a key, which would be shown; put it into access_key_file and secret_key_file")
	case m.AccessKey.Empty() != m.SecretKey.Empty():
		return social.Errorf(social.CodeInvalid, "secret_key", "access_key and secret_key belong together; give both or none")
	}
	return nil
}

// hasKey says whether the address of a bucket names who asks, as other programs
// take it.
func hasKey(to string) bool {
	rest, ok := strings.CutPrefix(to, "s3://")
	authority, _, _ := strings.Cut(rest, "/")
	authority, _, _ = strings.Cut(authority, "?")
	return ok && strings.Contains(authority, "@")
}

// Backup is backups by schedule.
type Backup struct {
	To         string        `yaml:"to" doc:"Where backups go: a folder, or s3://BUCKET/PREFIX?region=REGION (for a store other than Amazon's also &endpoint=https://HOST&use_path_style=true). Better not a folder on the disk of data_dir. Empty: no backups by schedule."`
	Cron       Cron          `yaml:"cron" default:"15 3 * * *" doc:"When a backup is made, on the wall clock of the workspace. One that was missed while smi was down is made up for."`
	Media      bool          `yaml:"media" default:"true" doc:"Whether pictures and videos are in it. Without them, posts that wait for their time may miss them after a restore."`
	Keep       int           `yaml:"keep" default:"7" max:"10000" doc:"How many of the newest backups of this instance are kept. 0: all, for ever."`
	KeepWeekly int           `yaml:"keep_weekly" default:"4" max:"1000" doc:"Besides, the newest backup of each of so many weeks is kept."`
	KeepFor    time.Duration `yaml:"keep_for" doc:"Besides, everything younger than this is kept."`
	AccessKey  Secret        `yaml:"access_key" secret:"true" doc:"Access key of the bucket. Without it the usual places are looked at: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, the machine's role."`
	SecretKey  Secret        `yaml:"secret_key" secret:"true" doc:"Secret key of the bucket."`
}

// Check refuses what cannot be written to.
func (b *Backup) Check() error {
	switch {
	case b.To != "" && !filepath.IsAbs(b.To) && !strings.HasPrefix(b.To, "s3://"):
		return social.Errorf(social.CodeInvalid, "to", "%s is neither a folder from / on nor s3://BUCKET/PREFIX", quoted(b.To))
	case hasKey(b.To):
		return social.Errorf(social.CodeInvalid, "to", "holds a key, which would be shown; put it into access_key_file and secret_key_file")
	case b.AccessKey.Empty() != b.SecretKey.Empty():
		return social.Errorf(social.CodeInvalid, "secret_key", "access_key and secret_key belong together; give both or none")
	}
	return nil
}

// Retention is how long things are kept; zero is for ever. Attempts are not
// among them: they are the proof of what was sent.
type Retention struct {
	RawAnswers time.Duration `yaml:"raw_answers" default:"400d" doc:"The networks' own answers from which figures were taken. The figures stay."`
	Notices    time.Duration `yaml:"notices" default:"180d" doc:"Notices, and what they were about. Posts and the proof of what was sent are kept."`
}

// Disk is what happens when the disk fills up.
type Disk struct {
	Ballast     Size `yaml:"ballast" default:"1MiB" max:"1GiB" reload:"restart" doc:"A file of this size is kept only to be deleted when the disk is full, so that what networks answered can still be written down. 0: none."`
	RefuseMedia Size `yaml:"refuse_media_below" default:"200MiB" max:"1TiB" doc:"With less free space than this no media is taken in."`
	StopPublish Size `yaml:"stop_publishing_below" default:"50MiB" max:"1TiB" doc:"With less free space than this nothing new is published; it waits, and a notice says so. It must not be more than refuse_media_below."`
}

// Check keeps the order: media is refused first.
func (d *Disk) Check() error {
	if d.StopPublish > d.RefuseMedia {
		return social.Errorf(social.CodeInvalid, "stop_publishing_below", "%s is more than refuse_media_below, %s; make it less", d.StopPublish, d.RefuseMedia)
	}
	return nil
}

// API is the door of the command line.
type API struct {
	Socket string `yaml:"socket" kind:"path" reload:"restart" shows:"smi.sock in data_dir" doc:"Unix socket that the daemon listens on, for its own user only. Empty: smi.sock in data_dir."`
}

// OAuth is signing in with a browser.
type OAuth struct {
	CallbackListen string        `yaml:"callback_listen" kind:"listen" default:"127.0.0.1:0" min:"1" reload:"restart" doc:"Address on this machine that the browser comes back to after the network's consent page. Port 0: any free one."`
	RedirectBase   string        `yaml:"redirect_base" kind:"url" reload:"restart" doc:"Address under which browsers reach callback_listen, if something stands in front of it, such as https://smi.example.org. Empty: callback_listen itself."`
	LoginTimeout   time.Duration `yaml:"login_timeout" default:"10m" min:"1m" max:"1h" doc:"How long a person may take on the network's consent page."`
}

// Check keeps the callback on this machine: it is served without TLS.
func (o *OAuth) Check() error {
	if host := hostOf(o.CallbackListen); !loopback(host) {
		return social.Errorf(social.CodeInvalid, "callback_listen", "%s is not an address of this machine alone; use 127.0.0.1 or [::1], and put a proxy with TLS in front if browsers come from elsewhere", host)
	}
	return nil
}

// Networks are the networks of the registry, each as the admin configured it.
type Networks map[social.Network]Network

// Network is what the admin configured for one social network.
type Network struct {
	// Enabled is false when the admin switched the network off, and when it
	// needs settings that were not given.
	Enabled bool
	// Settings is what the connector's NewConfig returned, filled; nil if a
	// setting is missing that it needs.
	Settings any
	// Apps are further sets of app credentials by name, each complete. Which one
	// an account uses is in social.Account.App.
	Apps map[string]any
}

// names are the networks that smi knows.
func (c *Config) names() []string {
	var out []string
	for n := range c.Networks {
		out = append(out, string(n))
	}
	slices.Sort(out)
	return out
}

// For returns the settings with which an account of a network is used: those
// of the app it was connected with, "" being the network's own.
func (c *Config) For(network social.Network, app string) (any, error) {
	n, ok := c.Networks[network]
	switch {
	case !ok:
		return nil, social.Errorf(social.CodeNotFound, "network", "this smi knows no network %q; choose among %s", network, strings.Join(c.names(), ", "))
	case app != "" && n.Apps[app] == nil:
		return nil, social.Errorf(social.CodeUnavailable, "app", "there is no app %q of %s in the configuration; add networks.%s.apps.%s", app, network, network, app)
	case !n.Enabled && n.Settings == nil:
		return nil, social.Errorf(social.CodeUnavailable, "network", "%s is not configured; add networks.%s", network, network)
	case !n.Enabled:
		return nil, social.Errorf(social.CodeUnavailable, "network", "%s is switched off; remove networks.%s.enabled: false", network, network)
	case app != "":
		return n.Apps[app], nil
	case n.Settings == nil:
		return nil, social.Errorf(social.CodeUnavailable, "app", "%s has settings for its apps only; connect with one of them", network)
	}
	return n.Settings, nil
}

// String keeps a whole configuration out of logs.
func (c *Config) String() string {
	return fmt.Sprintf("configuration of %s with %d networks", c.DataDir, len(c.Networks))
}

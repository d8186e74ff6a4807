package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/connectors"
	"smi/internal/social"
)

var update = flag.Bool("update", false, "write the .want files anew")

// canary is the secret that must be seen nowhere.
const canary = "hunter2-canary-7c1f"

// mini is a connector's section with everything but secrets.
type mini struct {
	Server  string            `yaml:"server" kind:"url" default:"https://mini.example" doc:"The server."`
	Retries uint8             `yaml:"retries" default:"3" doc:"How often."`
	Ratio   float64           `yaml:"ratio" default:"0.5" doc:"How much."`
	Mirrors []string          `yaml:"mirrors" kind:"url" doc:"More servers."`
	Words   []string          `yaml:"words" default:"[one, two]" doc:"Some words."`
	Labels  map[string]string `yaml:"labels" doc:"Some names."`
	Night   string            `yaml:"night" kind:"cron" default:"@daily" doc:"When."`
	Most    int64             `yaml:"most" kind:"size" default:"1MiB" doc:"How large."`
	Deep    deep              `yaml:"deep" doc:"Something inside."`
	shared  `yaml:",inline"`
	Hidden  string `yaml:"-"`
}

type deep struct {
	Name string        `yaml:"name" doc:"A name."`
	Wait time.Duration `yaml:"wait" doc:"A time."`
}

type shared struct {
	Version string `yaml:"version" default:"v1" doc:"Version of the network's API."`
}

func (d *deep) Check() error {
	if d.Name == "bad" {
		return social.Errorf(social.CodeInvalid, "name", "is bad; write something good")
	}
	return nil
}

func (m *mini) Check() error {
	var errs []error
	if m.Retries == 13 {
		errs = append(errs, social.Errorf(social.CodeInvalid, "retries", "brings bad luck; write 12"))
		errs = append(errs, errors.New("the section is unlucky; change it"))
	}
	return errors.Join(errs...)
}

// keyed is a section that needs something.
type keyed struct {
	ClientID     string        `yaml:"client_id" required:"true" doc:"Id of the app."`
	ClientSecret social.Secret `yaml:"client_secret" secret:"true" required:"true" doc:"Secret of the app."`
	Extra        social.Secret `yaml:"extra" secret:"true" doc:"Another secret."`
}

func testRegistry() *connectors.Registry {
	return connectors.NewRegistry(
		connectors.Maker{Network: "bare", Title: "Bare", NewConfig: func() any { return new(struct{}) }},
		connectors.Maker{Network: "mini", Title: "Mini", NewConfig: func() any { return &mini{Deep: deep{Wait: time.Second}} }},
		connectors.Maker{Network: "keyed", Title: "Keyed", NewConfig: func() any { return &keyed{} }},
	)
}

func testMachine() machine {
	env := map[string]string{"HOME": "/home/smi", "SMI_TEST_SECRET": canary, "SMI_TEST_EMPTY": " "}
	return machine{getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}
}

// secretsDir is a folder with good and bad secret files.
func secretsDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range map[string]struct {
		data string
		mode os.FileMode
	}{
		"good":   {canary + "\n", 0o600},
		"group":  {canary, 0o640},
		"world":  {canary, 0o604},
		"empty":  {"\n", 0o600},
		"large":  {strings.Repeat("x", maxSecret+1), 0o600},
		"binary": {"a\xff\x00", 0o600},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(f.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// parse reads text as a file in a folder of secrets.
func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	return testMachine().parse(filepath.Join(secretsDir(t), "config.yaml"), []byte(text), testRegistry())
}

func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func errorsOf(t testing.TB, err error) Errors {
	t.Helper()
	var es Errors
	if !errors.As(err, &es) {
		t.Fatalf("the error is a %T, not Errors: %v", err, err)
	}
	return es
}

// TestMessages compares what is said of each bad file with its .want.
func TestMessages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d bad files found: %v", len(files), err)
	}
	dir := secretsDir(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = testMachine().parse(filepath.Join(dir, "config.yaml"), data, testRegistry())
			if err == nil {
				t.Fatal("the file was accepted")
			}
			for _, e := range errorsOf(t, err) {
				if lines := strings.Count(string(data), "\n") + 1; e.Line < 1 || e.Line > lines || e.Col < 1 {
					t.Errorf("no such place in a file of %d lines: %v", lines, e)
				}
			}
			got := strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
			want := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(w), got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is in the message")
			}
		})
	}
}

func TestAnEmptyFileMeansTheDefaults(t *testing.T) {
	t.Parallel()
	want := mustParse(t, "")
	for _, text := range []string{"\n", "# nothing\n", "---\n", "{}", "log:\nsync:\nnetworks:\nallow_private:\n", "\ufeff# with a mark\r\n"} {
		got := mustParse(t, text)
		if live, restart := Diff(want, got); len(live)+len(restart) > 0 {
			t.Errorf("%q: differs in %v %v", text, live, restart)
		}
	}
	if want.DataDir != "/home/smi/.local/state/smi" || want.KeyFile != "/home/smi/.config/smi/smi.keyset" || want.API.Socket != want.DataDir+"/smi.sock" {
		t.Errorf("data_dir %s, key_file %s, socket %s", want.DataDir, want.KeyFile, want.API.Socket)
	}
	if p := want.Publish; p.Workers != 512 || p.StageAhead != 15*time.Minute || p.Grace != 15*time.Minute || p.HoldUntil != 24*time.Hour || p.Late != LateAsk || p.DialAhead != 2*time.Second {
		t.Errorf("publish is %+v", p)
	}
	if s := want.Sync; !s.Enabled || s.Cron.Text != "30 2 * * *" || s.Cron.Schedule == nil || s.LookBack != 30*24*time.Hour {
		t.Errorf("sync is %+v", s)
	}
	if want.Workspace.Zone.Location != time.UTC || want.Media.MaxVideoSize != 4<<30 {
		t.Errorf("workspace %+v, media %+v", want.Workspace, want.Media)
	}
}

func TestDefaultPlaces(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env       map[string]string
		root      bool
		data, key string
	}{
		"root":    {map[string]string{"HOME": "/root"}, true, "/var/lib/smi", "/etc/smi/smi.keyset"},
		"xdg":     {map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}, false, "/s/smi", "/c/smi/smi.keyset"},
		"not abs": {map[string]string{"HOME": "/h", "XDG_STATE_HOME": "s", "XDG_CONFIG_HOME": "c"}, false, "/h/.local/state/smi", "/h/.config/smi/smi.keyset"},
	} {
		m := machine{getenv: func(k string) (string, bool) { v, ok := tt.env[k]; return v, ok }, root: tt.root}
		c, err := m.parse("", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.DataDir != tt.data || c.KeyFile != tt.key {
			t.Errorf("%s: %s %s", name, c.DataDir, c.KeyFile)
		}
	}
	none := machine{getenv: func(string) (string, bool) { return "", false }}
	_, err := none.parse("c.yaml", nil, nil)
	if err == nil || len(errorsOf(t, err)) != 2 || !strings.Contains(err.Error(), "c.yaml:1:1: data_dir: missing") {
		t.Errorf("without a home: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
x-times: &long {timeout: 1h30m, jitter: 1.5h}
data_dir: data
key_file: ~/keys/smi
workspace: {name: 2026, zone: Asia/Ho_Chi_Minh}
sync: {<<: *long, jitter: 0, look_back: 5w, cron: "@weekly"}
media: {max_image_size: 1.5 MB, max_video_size: 5000}
allow_private: [LOCALHOST:3000, "[::1]:80"]
networks:
  mini: &mini
    server: http://localhost:3000/
    mirrors: ["https://a.example/base/"]
    labels: {a: x}
    deep: {wait: 2s}
    version: v2
    apps:
      brand: {server: "https://brand.example", deep: {name: b}}
  keyed:
    client_id: id
    client_secret_file: good
    apps:
      one: {client_secret_env: SMI_TEST_SECRET}
      two: {client_id: id2}
`)
	if !filepath.IsAbs(c.DataDir) || filepath.Base(c.DataDir) != "data" || c.KeyFile != "/home/smi/keys/smi" || c.Workspace.Name != "2026" {
		t.Errorf("data_dir %q, key_file %q, name %q", c.DataDir, c.KeyFile, c.Workspace.Name)
	}
	if c.Sync.Timeout != 90*time.Minute || c.Sync.Jitter != 0 || c.Sync.LookBack != 35*24*time.Hour || c.Sync.Cron.Text != "@weekly" {
		t.Errorf("sync %+v", c.Sync)
	}
	if c.Media.MaxImageSize != 1_500_000 || c.Media.MaxVideoSize != 5000 {
		t.Errorf("media %+v", c.Media)
	}
	if diff := cmp.Diff([]string{"localhost:3000", "[::1]:80"}, c.AllowPrivate); diff != "" {
		t.Error(diff)
	}
	want := mini{
		Server: "http://localhost:3000", Retries: 3, Ratio: 0.5, Mirrors: []string{"https://a.example/base"}, Words: []string{"one", "two"},
		Labels: map[string]string{"a": "x"}, Night: "@daily", Most: 1 << 20, Deep: deep{Wait: 2 * time.Second}, shared: shared{"v2"},
	}
	settings := func(network social.Network, app string) any {
		s, err := c.For(network, app)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := settings("mini", ""); !reflect.DeepEqual(got, &want) {
		t.Errorf("mini is %+v", got)
	}
	want.Server, want.Deep.Name = "https://brand.example", "b"
	if got := settings("mini", "brand"); !reflect.DeepEqual(got, &want) {
		t.Errorf("mini's brand is %+v", got)
	}
	for app, id := range map[string]string{"": "id", "one": "id", "two": "id2"} {
		k, ok := settings("keyed", app).(*keyed)
		if !ok || k.ClientID != id || k.ClientSecret.Reveal() != canary || !k.Extra.Empty() {
			t.Errorf("keyed's %q is %+v", app, k)
		}
	}
	if got := settings("bare", ""); got == nil {
		t.Error("bare has no settings")
	}
}

func TestWhichSettings(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "networks: {bare: {enabled: false}, keyed: {client_secret_file: group, apps: {a: {client_id: x}}}}")
	for _, tt := range []struct{ network, app, want string }{
		{"mini", "", ""},
		{"keyed", "a", ""},
		{"keyed", "", "network: keyed has settings for its apps only"},
		{"keyed", "b", `add networks.keyed.apps.b`},
		{"bare", "", "switched off"},
		{"nope", "", `no network "nope"`},
	} {
		_, err := c.For(social.Network(tt.network), tt.app)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(tt.want, "network: "))) {
			t.Errorf("%s %s: %v", tt.network, tt.app, err)
		}
	}
	c = mustParse(t, "")
	if _, err := c.For("keyed", ""); err == nil || !strings.Contains(err.Error(), "not configured") {
		t.Errorf("a network that needs settings and has none: %v", err)
	}
	if mustParse(t, "networks: {keyed: {enabled: false}}").Networks["keyed"].Enabled {
		t.Error("it is on")
	}
}

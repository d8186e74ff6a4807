package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestTheExampleIsTheDefaults(t *testing.T) {
	t.Parallel()
	example := string(Example(testRegistry()))
	want, got := mustParse(t, ""), mustParse(t, example)
	if live, restart := Diff(want, got); len(live)+len(restart) > 0 {
		t.Errorf("the example differs in %v %v", live, restart)
	}
	for i, line := range strings.Split(example, "\n") {
		if len([]rune(line)) > 100 || strings.HasSuffix(line, " ") {
			t.Errorf("line %d is long or ends in a space: %q", i+1, line)
		}
	}
	// With the lines of a network that needs something switched on, the keys are
	// all right and only the values are missing.
	on := strings.NewReplacer(
		"#   keyed:", "  keyed:", "#     enabled", "    enabled", "#     client_id: \"\" # needed", "    client_id: abc",
		"#     # client_secret_file: /etc/smi/keyed_client_secret", "    client_secret_file: good", "#     apps:", "    apps:",
	).Replace(example)
	c := mustParse(t, on)
	if k, ok := c.Networks["keyed"].Settings.(*keyed); !ok || k.ClientID != "abc" {
		t.Errorf("the switched-on network is %+v", c.Networks["keyed"])
	}
}

func TestRedactedCanBeLoadedAgain(t *testing.T) {
	t.Parallel()
	dir := secretsDir(t)
	read := func(text string) *Config {
		c, err := testMachine().parse(filepath.Join(dir, "config.yaml"), []byte(text), testRegistry())
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return c
	}
	c := read(everything)
	text := string(c.Redacted())
	if live, restart := Diff(c, read(text)); len(live)+len(restart) > 0 {
		t.Errorf("differs in %v %v:\n%s", live, restart, text)
	}
	if !strings.Contains(text, "client_secret_file: good # [redacted]") {
		t.Errorf("it is not said where the secret is:\n%s", text)
	}
}

// everything gives each kind of value, secrets included.
const everything = `
data_dir: /srv/smi
log: {level: debug, format: json}
workspace: {name: "No: 7 #1", zone: America/New_York}
sync: {cron: "@weekly", look_back: 36h}
allow_private: [10.0.0.7:3000]
networks:
  mini:
    ratio: 1e-3
    words: ["true", "a, b", "", "- x", "2", "it's \"so\""]
    labels: {no: "yes", "a b": "#"}
    apps: {brand: {retries: 1}}
  keyed:
    client_id: "0123"
    client_secret_file: good
    extra_env: SMI_TEST_SECRET
    apps:
      one: {client_secret_env: SMI_TEST_SECRET}
`

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	c := mustParse(t, everything)
	k, ok := c.Networks["keyed"].Settings.(*keyed)
	if !ok || k.ClientSecret.Reveal() != canary {
		t.Fatal("the secret was not read")
	}
	text := func(data []byte, err error) string { return string(data) + fmt.Sprint(err) }
	wrong := strings.Join([]string{"%d", "%t", "%08.3f"}, " ") // verbs that are not for this happen
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("loaded", "config", c, "value", *c, "settings", k, "secret", k.ClientSecret)
	}
	for name, printed := range map[string]string{
		"%v":       fmt.Sprintf("%v %v %v", c, *c, k),
		"%+v":      fmt.Sprintf("%+v %+v %+v", c, *c, *k),
		"%#v":      fmt.Sprintf("%#v %#v %#v", c, *c, *k),
		"%s":       fmt.Sprintf("%s %s %s", c, *k, k.ClientSecret),
		"%d":       fmt.Sprintf(wrong, k.ClientSecret, k.ClientSecret, *k),
		"%q":       fmt.Sprintf("%q", k.ClientSecret),
		"%x":       fmt.Sprintf("%x %X", k.ClientSecret, *k),
		"json":     text(json.Marshal(c)) + text(json.Marshal(k)),
		"yaml":     text(yaml.Marshal(c)) + text(yaml.Marshal(k)),
		"slog":     log.String(),
		"redacted": string(c.Redacted()),
	} {
		hex := fmt.Sprintf("%x", canary)
		if strings.Contains(printed, canary) || strings.Contains(strings.ToLower(printed), hex) {
			t.Errorf("%s shows the secret: %s", name, printed)
		}
		if len(printed) < 8 {
			t.Errorf("%s shows nothing: %q", name, printed)
		}
	}
}

// documented walks all settings and reports what a person would miss.
func documented(t *testing.T, typ reflect.Type, path string) (n int) {
	t.Helper()
	for _, f := range fieldsOf(typ) {
		full := join(path, f.key)
		n++
		if len(f.doc) < 6 || !strings.HasSuffix(f.doc, ".") {
			t.Errorf("%s: the doc tag must be a sentence, not %q", full, f.doc)
		}
		f.bounds() // panics for wrong bounds
		if f.kind == kindSection {
			n += documented(t, f.typ, full)
		}
	}
	return n
}

func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	if n := documented(t, reflect.TypeFor[Config](), ""); n < 40 {
		t.Errorf("only %d settings found", n)
	}
	docs, example := string(Docs(testRegistry())), string(Example(testRegistry()))
	all := map[string]leaf{}
	leaves(all, reflect.ValueOf(mustParse(t, everything)).Elem(), "")
	for path := range all {
		if strings.Contains(path, ".enabled") || strings.Contains(path, ".apps.") {
			continue
		}
		key := path[strings.LastIndexByte(path, '.')+1:]
		if !strings.Contains(docs, "`"+path) {
			t.Errorf("%s is not in the reference", path)
		}
		if !strings.Contains(example, key+":") && !strings.Contains(example, key+"_file:") {
			t.Errorf("%s is not in the example", path)
		}
	}
}

// TestSchemaKnowsTheSameKeys compares the schema with what is accepted.
func TestSchemaKnowsTheSameKeys(t *testing.T) {
	t.Parallel()
	type node struct {
		Properties map[string]*node `json:"properties"`
		More       any              `json:"additionalProperties"`
		Default    any              `json:"default"`
		Required   []string         `json:"required"`
	}
	var root node
	if err := json.Unmarshal(Schema(testRegistry()), &root); err != nil {
		t.Fatal(err)
	}
	var check func(typ reflect.Type, n *node, path string)
	check = func(typ reflect.Type, n *node, path string) {
		if n == nil || n.More != false {
			t.Errorf("%s: the schema has no closed section", path)
			return
		}
		var want, got []string
		for _, f := range fieldsOf(typ) {
			want = append(want, f.keys()...)
			if f.kind == kindSection {
				check(f.typ, n.Properties[f.key], join(path, f.key))
			}
		}
		for k := range n.Properties {
			if path == "" || !strings.HasPrefix(path, "networks.") || k != "enabled" && k != "apps" {
				got = append(got, k)
			}
		}
		if diff := cmp.Diff(toSet(want), toSet(got)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	check(reflect.TypeFor[Config](), &root, "")
	networks := root.Properties["networks"]
	for _, m := range testRegistry().Makers() {
		check(newSettings(m).Elem().Type(), networks.Properties[string(m.Network)], "networks."+string(m.Network))
	}
	if root.Properties["publish"].Properties["stage_ahead"].Default != "15m" {
		t.Error("a default is not in the schema")
	}
}

func toSet(keys []string) map[string]bool {
	out := map[string]bool{}
	for _, k := range keys {
		out[k] = true
	}
	return out
}

func TestDiff(t *testing.T) {
	t.Parallel()
	before := mustParse(t, everything)
	after := mustParse(t, strings.NewReplacer(
		"level: debug", "level: warn", "/srv/smi", "/srv/smi2", "@weekly", "@monthly",
		"extra_env: SMI_TEST_SECRET", "extra_file: group", "retries: 1", "retries: 2", "America/New_York", "UTC",
		`client_id: "0123"`, "client_id: other",
	).Replace(everything))
	live, restart := Diff(before, after)
	if diff := cmp.Diff([]string{"log.level", "networks.keyed.apps.one.client_id", "networks.keyed.client_id", "networks.mini.apps.brand.retries", "sync.cron"}, live); diff != "" {
		t.Error(diff) // the secret came from elsewhere and is the same
	}
	if diff := cmp.Diff([]string{"api.socket", "data_dir", "workspace.zone"}, restart); diff != "" {
		t.Error(diff)
	}
	if live, restart := Diff(before, before); len(live)+len(restart) > 0 {
		t.Errorf("differs from itself in %v %v", live, restart)
	}
	live, _ = Diff(mustParse(t, ""), mustParse(t, "networks: {bare: {enabled: false}, keyed: {client_id: a, client_secret_file: good}}"))
	if diff := cmp.Diff([]string{"networks.bare.enabled", "networks.keyed.client_id", "networks.keyed.client_secret", "networks.keyed.enabled", "networks.keyed.extra"}, live); diff != "" {
		t.Error(diff)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	text := "log: {level: info}\ndata_dir: /srv/smi\n"
	first := mustParse(t, text)
	h := NewHolder(first, func() (*Config, error) { return parse(t, text) })
	change, err := h.Reload(nil)
	if err != nil || len(change.Live)+len(change.Restart) > 0 {
		t.Fatalf("nothing changed, and yet %+v, %v", change, err)
	}
	running := h.Current()

	text = "log: {level: info}\nlgo: {}\n"
	if _, err := h.Reload(nil); err == nil || h.Current() != running {
		t.Fatalf("a bad file was put in force: %v", err)
	}

	text = "log: {level: debug}\ndata_dir: /srv/other\npublish: {workers: 4, grace: 1m}\n"
	if _, err := h.Reload(func(*Config) error { return io.ErrUnexpectedEOF }); err == nil || h.Current() != running {
		t.Fatalf("what could not be prepared was put in force: %v", err)
	}

	want := Change{Live: []string{"log.level", "publish.grace"}, Restart: []string{"api.socket", "data_dir", "publish.workers"}}
	prepared := (*Config)(nil)
	change, err = h.Reload(func(next *Config) error { prepared = next; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, change); diff != "" {
		t.Error(diff)
	}
	c := h.Current()
	if c != prepared || c.Log.Level != "debug" || c.Publish.Grace != time.Minute {
		t.Errorf("not in force: %+v", *c)
	}
	if c.DataDir != "/srv/smi" || c.Publish.Workers != 512 || c.API.Socket != "/srv/smi/smi.sock" {
		t.Errorf("what needs a restart is in force without one: %s, %d, %s", c.DataDir, c.Publish.Workers, c.API.Socket)
	}
	if running.Log.Level != "info" {
		t.Error("a configuration in use was changed")
	}
	// As long as there was no restart it is told at every reload.
	want.Live = nil
	if change, err = h.Reload(nil); err != nil || !reflect.DeepEqual(change, want) {
		t.Errorf("%+v, %v", change, err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	home, etc := t.TempDir(), t.TempDir()
	env := map[string]string{"XDG_CONFIG_HOME": home}
	m := machine{getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}
	system, own := filepath.Join(etc, "config.yaml"), filepath.Join(home, "smi", "config.yaml")
	expect := func(flag, want string) {
		t.Helper()
		if got := findOn(flag, m, system); got != want {
			t.Errorf("found %q, not %q", got, want)
		}
	}
	touch := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("", "")
	touch(system)
	expect("", system)
	touch(own)
	expect("", own)
	env["SMI_CONFIG"] = "/from/env.yaml"
	expect("", "/from/env.yaml")
	expect("flag.yaml", "flag.yaml")
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "smi config example") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load(dir, nil); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	write := func(data string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("data_dir: data\nkey_file: keys\n", 0o644)
	if c, err := Load(path, nil); err != nil || c.DataDir != filepath.Join(dir, "data") {
		t.Errorf("%v, %v", c, err)
	}
	write("", 0o666)
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a file that everybody can change: %v", err)
	}
	write(strings.Repeat("#", maxFile+1), 0o600)
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "1MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

func TestDurationsAndSizesAreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "24h": 24 * time.Hour,
		"36h": 36 * time.Hour, "30d": 720 * time.Hour, "2w": 336 * time.Hour, "1.5h": 90 * time.Minute, "1d12h": 36 * time.Hour, "1h0m1s": time.Hour + time.Second,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
		if again, err := ParseDuration(formatDuration(got)); err != nil || again != got {
			t.Errorf("%s is written %s, which is %s, %v", text, formatDuration(got), again, err)
		}
	}
	for _, text := range []string{"", "m", "1", "1x", "-1s", "1s ", "1 s", "1e3s", ".5s", "١s"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %s", text, d)
		}
	}
	for text, want := range map[string]Size{"0": 0, "512": 512, "1k": 1000, "1KiB": 1024, "200 MiB": 200 << 20, "1.5GB": 1_500_000_000, "4gib": 4 << 30, "1TiB": 1 << 40} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%s is written %s, which is %d, %v", text, got, again, err)
		}
	}
}

// FuzzParse asserts that no input panics, that every mistake has a place in the
// file, and that what is accepted can be printed and read again.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(Example(testRegistry()))
	f.Add([]byte(everything))
	dir := secretsDir(f)
	name := filepath.Join(dir, "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := testMachine().parse(name, data, testRegistry())
		if err == nil {
			again, err := testMachine().parse(name, c.Redacted(), testRegistry())
			if err != nil {
				t.Fatalf("what was printed cannot be read: %v\n%s", err, c.Redacted())
			}
			if live, restart := Diff(c, again); len(live)+len(restart) > 0 {
				t.Fatalf("differs in %v %v:\n%s", live, restart, c.Redacted())
			}
			return
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, e := range errorsOf(t, err) {
			if e.Line < 1 || e.Line > lines || e.Col < 1 || e.Text == "" || strings.Contains(e.Text, canary) || strings.ContainsAny(e.Error(), "\n\r") {
				t.Errorf("a mistake without a place or with too much: %q", e.Error())
			}
		}
	})
}

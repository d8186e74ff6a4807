package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"

	"go.yaml.in/yaml/v3"

	"smi/connectors"
	"smi/internal/social"
)

// machine is what a configuration takes from where smi runs.
type machine struct {
	getenv func(string) (string, bool)
	root   bool
}

func here() machine { return machine{getenv: os.LookupEnv, root: os.Geteuid() == 0} }

// Find returns the file to load: the one of the --config flag if it is not
// empty, else the one of $SMI_CONFIG, else the first that is there of
//
//	$XDG_CONFIG_HOME/smi/config.yaml (~/.config/smi/config.yaml)
//	/etc/smi/config.yaml
//
// and "" if there is none: then the defaults are used. The current folder is
// not looked at: a command must not talk to another daemon, or use other
// credentials, because of where it was started.
func Find(flag string) string { return findOn(flag, here(), "/etc/smi/config.yaml") }

func findOn(flag string, m machine, system string) string {
	if flag != "" {
		return flag
	}
	if env, _ := m.getenv("SMI_CONFIG"); env != "" {
		return env
	}
	for _, path := range []string{m.configHome("config.yaml"), system} {
		if _, err := os.Stat(path); path != "" && !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// configHome is a file in the user's folder for configurations, "" if there is
// no such folder.
func (m machine) configHome(name string) string {
	if dir, _ := m.getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "smi", name)
	}
	if home, _ := m.getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "smi", name)
	}
	return ""
}

// Load reads a file. The path "" gives the defaults. The error is of type
// Errors if the file can be read at all.
func Load(path string, r *connectors.Registry) (*Config, error) {
	if path == "" {
		return Parse("", nil, r)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no configuration file %s; make it with: smi config example > %s", path, path)
	case err != nil:
		return nil, fmt.Errorf("reading the configuration: %w", err)
	case info.Size() > maxFile:
		return nil, Errors{{File: path, Line: 1, Col: 1, Text: "the file is larger than 1MiB; that is no configuration file"}}
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name the configuration file in it", path)
	case info.Mode().Perm()&0o002 != 0 && info.Mode().IsRegular() && runtime.GOOS != "windows":
		return nil, Errors{{File: path, Line: 1, Col: 1, Text: "every user of this machine can change this file; run chmod o-w on it"}}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data, r)
}

// Parse reads a configuration. name is that of the file, for messages and for
// relative paths, which start in its folder. The error is of type Errors and
// has every mistake in it.
func Parse(name string, data []byte, r *connectors.Registry) (*Config, error) {
	return here().parse(name, data, r)
}

func (m machine) parse(name string, data []byte, r *connectors.Registry) (*Config, error) {
	if r == nil {
		r = connectors.NewRegistry()
	}
	doc, bad := document(name, data)
	if bad != nil {
		return nil, Errors{*bad}
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("finding the folder of the configuration: %w", err)
	}
	d := &decoder{
		file: name, dir: dir, getenv: m.getenv, registry: r,
		places: map[string]place{}, sources: map[string]string{}, plain: map[string]string{}, failed: map[string]bool{},
	}
	root := &yaml.Node{}
	if doc != nil && len(doc.Content) > 0 {
		root = doc.Content[0]
	}
	c := &Config{sources: d.sources}
	setDefaults(reflect.ValueOf(c).Elem())
	d.section(root, reflect.ValueOf(c).Elem(), "")
	d.networks(c)
	m.complete(d, c)
	d.checkPlain(c.AllowPrivate)
	if len(d.errs) > 0 {
		return nil, d.errs.sorted()
	}
	return c, nil
}

// setDefaults gives every field of a struct that is zero its default.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		if f.kind == kindSection {
			setDefaults(fv)
			continue
		}
		if !f.hasDef || f.def == "" || !fv.IsZero() {
			continue
		}
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: f.def, Tag: "!!str", Line: 1, Column: 1}
		switch f.kind {
		case kindBool:
			n.Tag = "!!bool"
		case kindInt:
			n.Tag = "!!int"
		case kindFloat:
			n.Tag = "!!float"
		case kindList, kindMap:
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(f.def), &doc); err != nil || len(doc.Content) == 0 {
				panic(fmt.Sprintf("the default %q of %s is not YAML", f.def, f.key))
			}
			n = doc.Content[0]
		}
		d := &decoder{getenv: os.LookupEnv, dir: "/", places: map[string]place{}, plain: map[string]string{}, failed: map[string]bool{}}
		d.value(n, f, fv, f.key)
		if len(d.errs) > 0 {
			panic(fmt.Sprintf("the default %q of %s is wrong: %v", f.def, f.key, d.errs))
		}
	}
}

// complete works out what depends on the machine and checks what depends on
// several settings.
func (m machine) complete(d *decoder, c *Config) {
	top := func(path string) place {
		if p, ok := d.places[path]; ok {
			return p
		}
		return place{1, 1}
	}
	if c.DataDir == "" && !d.failed["data_dir"] {
		home, _ := m.getenv("HOME")
		state, _ := m.getenv("XDG_STATE_HOME")
		switch {
		case m.root:
			c.DataDir = "/var/lib/smi"
		case filepath.IsAbs(state):
			c.DataDir = filepath.Join(state, "smi")
		case home != "":
			c.DataDir = filepath.Join(home, ".local", "state", "smi")
		default:
			d.fail(top("data_dir"), "data_dir", "missing, and $HOME is not set to find the default place; add data_dir: the folder of the data")
		}
	}
	if c.KeyFile == "" && !d.failed["key_file"] {
		c.KeyFile = "/etc/smi/smi.keyset"
		if !m.root {
			c.KeyFile = m.configHome("smi.keyset")
		}
		if c.KeyFile == "" {
			d.fail(top("key_file"), "key_file", "missing, and $HOME is not set to find the default place; add key_file: the file of the keys")
		}
	}
	if c.DataDir == "" || c.KeyFile == "" || d.failed["data_dir"] || d.failed["key_file"] {
		return
	}
	if rel, err := filepath.Rel(c.DataDir, c.KeyFile); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		p := top("key_file")
		if p == (place{1, 1}) {
			p = top("data_dir")
		}
		d.fail(p, "key_file", "%s lies in data_dir; put it elsewhere, so that no copy of the data holds the keys", quotedPath(c.KeyFile))
	}
	if d.failed["api"] {
		return
	}
	where := "api.socket"
	if c.API.Socket == "" {
		c.API.Socket, where = filepath.Join(c.DataDir, "smi.sock"), "data_dir"
	}
	// 104 is the least room for a path in sockaddr_un (macOS); Linux has 108.
	if len(c.API.Socket) > 103 {
		d.fail(top(where), "api.socket", "the path has %d bytes and a socket's cannot have more than 103; give a shorter one", len(c.API.Socket))
	}
}

// checkPlain refuses addresses without TLS, except on this machine and where
// the admin says that the server is his own.
func (d *decoder) checkPlain(allowed []string) {
	for path, address := range d.plain {
		server := hostPortOf(address)
		ok := loopback(hostOf(server))
		for _, a := range allowed {
			ok = ok || strings.EqualFold(a, server)
		}
		_, err := netip.ParseAddr(hostOf(server))
		switch {
		case ok:
		case err != nil: // allow_private takes no names
			d.fail(d.places[path], path, "without TLS tokens could be read on the way; write https://, or, if the server is your own, its address such as http://10.0.0.7:3000 and add that to allow_private")
		default:
			d.fail(d.places[path], path, "without TLS tokens could be read on the way; write https://, or add %s to allow_private if the server is your own", server)
		}
	}
}

var appName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// networks reads the section of every network of the registry.
func (d *decoder) networks(c *Config) {
	c.Networks = Networks{}
	given := map[string]entry{}
	n := d.networkNode
	if n != nil {
		n = resolve(n)
		if !isNull(n) && n.Kind != yaml.MappingNode {
			d.fail(at(n), "networks", "expected a section of networks, got %s", describe(n))
			return
		}
		for _, e := range d.entries(n, "networks", 0) {
			if _, ok := d.registry.Maker(social.Network(e.name)); !ok {
				known := d.registry.Names()
				hint := meant(e.name, known, " (did you mean %q?)")
				if hint == "" && len(known) > 0 {
					hint = "; known are " + strings.Join(known, ", ")
				}
				d.fail(at(e.key), join("networks", e.name), "unknown network%s", hint)
				continue
			}
			given[e.name] = e
		}
	}
	for _, m := range d.registry.Makers() {
		if e, ok := given[string(m.Network)]; ok {
			c.Networks[m.Network] = d.network(m, e)
			continue
		}
		settings := newSettings(m)
		if len(missing(settings.Elem(), "")) > 0 {
			c.Networks[m.Network] = Network{}
			continue
		}
		path := "networks." + string(m.Network)
		d.finishSection(place{1, 1}, settings.Elem(), path)
		c.Networks[m.Network] = Network{Enabled: true, Settings: settings.Interface()}
	}
}

// newSettings is a connector's empty section with its defaults, as a pointer.
func newSettings(m connectors.Maker) reflect.Value {
	var v reflect.Value
	if m.NewConfig != nil {
		v = reflect.ValueOf(m.NewConfig())
	} else {
		v = reflect.ValueOf(new(struct{}))
	}
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("NewConfig of %s must return a pointer to a struct", m.Network))
	}
	for _, f := range fieldsOf(v.Elem().Type()) {
		if f.key == "enabled" || f.key == "apps" {
			panic(fmt.Sprintf("the settings of %s must not have a key %q of their own", m.Network, f.key))
		}
	}
	setDefaults(v.Elem())
	return v
}

// ownKeys are the keys of a network's section that are not its connector's.
var ownKeys = []string{"enabled", "apps"}

func (d *decoder) network(m connectors.Maker, e entry) Network {
	path := join("networks", string(m.Network))
	out := Network{Enabled: true}
	base := newSettings(m)
	d.places[path] = at(e.value)
	d.fill(e.value, base.Elem(), path, ownKeys...)
	if n := resolve(e.value); n.Kind == yaml.MappingNode {
		for _, own := range d.entries(n, path, 0) {
			full := join(path, own.name)
			switch own.name {
			case "enabled":
				d.places[full] = at(own.value)
				d.value(own.value, field{key: "enabled", kind: kindBool, def: "true", hasDef: true, typ: reflect.TypeFor[bool]()}, reflect.ValueOf(&out.Enabled).Elem(), full)
			case "apps":
				out.Apps = d.apps(m, e.value, own.value, full)
			}
		}
	}
	lacks := missing(base.Elem(), path)
	if len(lacks) == 0 {
		out.Settings = base.Interface()
	}
	switch {
	case !out.Enabled:
	case len(lacks) == 0:
		d.finishSection(at(e.value), base.Elem(), path)
	case len(out.Apps) == 0:
		d.missing(lacks, at(e.key))
	}
	return out
}

// apps reads the named sets of a network. Each begins with what the network's
// own section says.
func (d *decoder) apps(m connectors.Maker, base, n *yaml.Node, path string) map[string]any {
	n = resolve(n)
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.fail(at(n), path, "expected names with a section of settings each, got %s", describe(n))
		return nil
	}
	out := map[string]any{}
	for _, e := range d.entries(n, path, 0) {
		full := join(path, e.name)
		if !appName.MatchString(e.name) {
			d.fail(at(e.key), full, "the name of an app may have small letters, digits, - and _ only")
			continue
		}
		settings := newSettings(m)
		quiet := &decoder{
			file: d.file, dir: d.dir, getenv: d.getenv, registry: d.registry, nodes: d.nodes, sources: d.sources,
			places: map[string]place{}, plain: map[string]string{}, failed: map[string]bool{},
		}
		quiet.fill(base, settings.Elem(), full, ownKeys...)
		d.nodes = quiet.nodes
		d.fill(e.value, settings.Elem(), full)
		if lacks := missing(settings.Elem(), full); len(lacks) > 0 {
			d.missing(lacks, at(e.key))
		} else {
			d.finishSection(at(e.value), settings.Elem(), full)
		}
		out[e.name] = settings.Interface()
	}
	return out
}

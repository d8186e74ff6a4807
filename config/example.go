package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"smi/connectors"
)

const exampleHead = `# Configuration of smi. Made from the program: smi config example.
#
# Every setting is here with its default, so every line may be removed. Unknown
# keys, wrong values and missing files are errors, all told at once with their
# line: smi config check. Durations are written as 90s, 15m, 1h30m, 30d or 2w,
# sizes as 200MiB or 4GB. Relative paths start in the folder of this file.
# Secrets never stand in this file: KEY_file names a file that only smi can
# read, KEY_env an environment variable.
#
# smi config reload (or SIGHUP) takes up changes while smi runs. Where it says
# [restart], smi says so and keeps the old value until it is started again.
# Keys that begin with x- are left alone; they can hold anchors to repeat.
`

// Example is the configuration file with every setting, its default and what it
// does. It can be loaded as it is and means the same as an empty one.
func Example(r *connectors.Registry) []byte {
	c := defaults()
	w := &writer{comments: true}
	w.WriteString(exampleHead)
	w.section(reflect.ValueOf(c).Elem(), "", 0, r, c)
	return w.Bytes()
}

// Redacted is the configuration in force, as a YAML file that could be loaded.
// Secrets are shown as where they come from.
func (c *Config) Redacted() []byte {
	w := &writer{sources: c.sources}
	w.section(reflect.ValueOf(c).Elem(), "", 0, nil, c)
	return w.Bytes()
}

// defaults is a configuration before anything of the machine is worked out.
func defaults() *Config {
	c := &Config{}
	setDefaults(reflect.ValueOf(c).Elem())
	return c
}

// writer writes settings as YAML.
type writer struct {
	bytes.Buffer
	comments bool
	sources  map[string]string
	off      bool // the lines are examples only: behind a #
}

func (w *writer) line(depth int, format string, args ...any) {
	s := strings.Repeat("  ", depth) + fmt.Sprintf(format, args...)
	if w.off {
		s = strings.TrimRight("# "+s, " ")
	}
	w.WriteString(s + "\n")
}

// comment writes a text as comment lines of at most 92 characters.
func (w *writer) comment(depth int, text string) {
	if !w.comments {
		return
	}
	row := "#"
	for word := range strings.FieldsSeq(text) {
		if len(row)+1+len(word) > 92-2*depth && row != "#" {
			w.line(depth, "%s", row)
			row = "#"
		}
		row += " " + word
	}
	w.line(depth, "%s", row)
}

func (w *writer) section(v reflect.Value, path string, depth int, r *connectors.Registry, c *Config) {
	for i, f := range fieldsOf(v.Type()) {
		full := join(path, f.key)
		fv := v.FieldByIndex(f.index)
		if w.comments && (depth == 0 || i > 0) {
			w.line(0, "")
		}
		if w.comments {
			w.comment(depth, f.about())
		}
		switch f.kind {
		case kindSecret:
			w.secret(f, full, depth)
		case kindNetworks:
			if w.comments {
				w.exampleNetworks(r, depth)
			} else {
				w.networks(c, depth)
			}
		case kindSection:
			if len(fieldsOf(fv.Type())) == 0 {
				w.line(depth, "%s: {}", f.key)
				continue
			}
			w.line(depth, "%s:", f.key)
			w.section(fv, full, depth+1, r, c)
		default:
			w.field(f, fv, depth)
		}
	}
}

func (w *writer) field(f field, v reflect.Value, depth int) {
	if f.kind == kindMap && v.Len() > 0 {
		w.line(depth, "%s:", f.key)
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			w.line(depth+1, "%s: %s", yamlText(k.String()), flow(f.elem(), v.MapIndex(k)))
		}
		return
	}
	s := flow(f, v)
	if w.comments && f.required && v.IsZero() {
		s += " # needed"
	}
	w.line(depth, "%s: %s", f.key, s)
}

// secret shows where a secret comes from, or how it would be given.
func (w *writer) secret(f field, path string, depth int) {
	if source, ok := w.sources[path]; ok {
		w.line(depth, "%s # [redacted]", source)
		return
	}
	if !w.comments {
		return
	}
	w.line(depth, "# %s_file: /etc/smi/%s", f.key, strings.ReplaceAll(strings.TrimPrefix(path, "networks."), ".", "_"))
}

func (w *writer) networks(c *Config, depth int) {
	if len(c.Networks) == 0 {
		w.line(depth, "networks: {}")
		return
	}
	w.line(depth, "networks:")
	for _, name := range sortedKeys(c.Networks) {
		n := c.Networks[name]
		path := join("networks", string(name))
		w.line(depth+1, "%s:", name)
		w.line(depth+2, "enabled: %t", n.Enabled)
		if n.Settings != nil {
			w.section(reflect.ValueOf(n.Settings).Elem(), path, depth+2, nil, c)
		}
		if len(n.Apps) == 0 {
			continue
		}
		w.line(depth+2, "apps:")
		for _, app := range sortedKeys(n.Apps) {
			w.line(depth+3, "%s:", app)
			w.section(reflect.ValueOf(n.Apps[app]).Elem(), join(path, "apps."+app), depth+4, nil, c)
		}
	}
}

func (w *writer) exampleNetworks(r *connectors.Registry, depth int) {
	if r == nil || len(r.Makers()) == 0 {
		w.line(depth, "networks: {}")
		return
	}
	w.line(depth, "networks:")
	for _, m := range r.Makers() {
		settings := newSettings(m).Elem()
		w.line(0, "")
		w.comment(depth+1, title(m)+".")
		if w.off = len(missing(settings, "")) > 0; w.off {
			w.comment(depth+1, "Needs settings of its own: remove the # before the lines to use it.")
		}
		w.line(depth+1, "%s:", m.Network)
		w.comment(depth+2, enabledDoc)
		w.line(depth+2, "enabled: true")
		if len(fieldsOf(settings.Type())) > 0 {
			w.line(0, "")
			w.section(settings, join("networks", string(m.Network)), depth+2, r, nil)
			w.line(0, "")
			w.comment(depth+2, appsDoc)
			w.line(depth+2, "apps: {}")
		}
		w.off = false
	}
}

const (
	enabledDoc = "Whether the network can be used."
	appsDoc    = "Further sets of settings by name, such as the app credentials of another brand. An account keeps the one it was connected with. What a set does not say is as above."
)

func title(m connectors.Maker) string {
	if m.Title != "" {
		return m.Title
	}
	return string(m.Network)
}

// about is what the tags say of a field, in one paragraph.
func (f field) about() string {
	s := f.doc
	if rule := f.rule(); rule != "" {
		s += " " + rule
	}
	if f.restart {
		s += " [restart]"
	}
	return s
}

// rule says which values are allowed, where that is not plain.
func (f field) rule() string {
	if len(f.enum) > 0 {
		return "One of: " + strings.Join(f.enum, ", ") + "."
	}
	switch f.kind {
	case kindInt, kindDuration, kindSize:
	default:
		return ""
	}
	switch {
	case f.min != "" && f.max != "":
		return fmt.Sprintf("From %s to %s.", f.min, f.max)
	case f.min != "":
		return fmt.Sprintf("At least %s.", f.min)
	case f.max != "":
		return fmt.Sprintf("At most %s.", f.max)
	}
	return ""
}

// flow writes a value on one line.
func flow(f field, v reflect.Value) string {
	switch f.kind {
	case kindBool:
		return fmt.Sprint(v.Bool())
	case kindInt, kindFloat:
		return fmt.Sprint(v.Interface())
	case kindDuration:
		return formatDuration(time.Duration(v.Int()))
	case kindSize:
		return Size(v.Int()).String()
	case kindSecret:
		return Secret{}.String()
	case kindList:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = flow(f.elem(), v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case kindMap:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		parts := make([]string, len(keys))
		for i, k := range keys {
			parts[i] = yamlText(k.String()) + ": " + flow(f.elem(), v.MapIndex(k))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case kindSection:
		fields := fieldsOf(v.Type())
		parts := make([]string, len(fields))
		for i, g := range fields {
			parts[i] = g.key + ": " + flow(g, v.FieldByIndex(g.index))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return yamlText(fmt.Sprint(v.Interface()))
}

package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"smi/connectors"
	"smi/internal/social"
)

// maxNodes is how many values of a file are read at most, those behind aliases
// counted each time they are used.
const maxNodes = 50_000

// place is a position in the file.
type place struct{ line, col int }

func at(n *yaml.Node) place { return place{max(n.Line, 1), max(n.Column, 1)} }

// decoder fills settings from YAML nodes and collects what is wrong.
type decoder struct {
	file     string
	dir      string // relative paths start here
	getenv   func(string) (string, bool)
	registry *connectors.Registry

	errs    Errors
	places  map[string]place  // of every path the file has a value for
	sources map[string]string // of every secret: where it came from, as a line of YAML
	plain   map[string]string // path → an address without TLS, to be held against allow_private
	failed  map[string]bool   // the paths with a mistake at or below them

	networkNode *yaml.Node
	nodes       int
	gaveUp      bool
}

func (d *decoder) fail(p place, path, format string, args ...any) {
	d.errs = append(d.errs, Error{File: d.file, Line: p.line, Col: p.col, Path: path, Text: fmt.Sprintf(format, args...)})
	for s := path; ; {
		d.failed[s] = true
		i := strings.LastIndexAny(s, ".[")
		if i < 0 {
			d.failed[""] = true
			return
		}
		s = s[:i]
	}
}

// spend counts a value that is read. It returns false when there were too many.
func (d *decoder) spend(n *yaml.Node) bool {
	if d.nodes++; d.nodes <= maxNodes {
		return true
	}
	if !d.gaveUp {
		d.gaveUp = true
		d.fail(at(n), "", "the file has too many values, or its aliases (*name) repeat too much; make it smaller")
	}
	return false
}

// entry is a key with its value in a mapping.
type entry struct {
	name  string
	key   *yaml.Node
	value *yaml.Node
}

// entries lists a mapping with what it takes in by "<<". It reports keys that
// are no text and keys that come twice.
func (d *decoder) entries(n *yaml.Node, path string, depth int) []entry {
	var own, merged []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !d.spend(key) {
			return nil
		}
		switch {
		case key.Tag == "!!merge":
			merged = append(merged, d.merged(value, path, depth)...)
			continue
		case key.Kind != yaml.ScalarNode:
			d.fail(at(key), path, "expected a key such as \"every:\", got %s", describe(key))
			continue
		}
		if j := slices.IndexFunc(own, func(e entry) bool { return e.name == key.Value }); j >= 0 {
			d.fail(at(key), join(path, key.Value), "given twice; the first is in line %d", own[j].key.Line)
			continue
		}
		own = append(own, entry{key.Value, key, value})
	}
	for _, e := range merged {
		if !slices.ContainsFunc(own, func(o entry) bool { return o.name == e.name }) {
			own = append(own, e)
		}
	}
	return own
}

func (d *decoder) merged(n *yaml.Node, path string, depth int) []entry {
	n = resolve(n)
	if depth > 32 {
		d.fail(at(n), path, "\"<<\" takes in too many levels, or itself")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.entries(n, path, depth+1)
	case yaml.SequenceNode:
		var out []entry
		for _, c := range n.Content {
			if !d.spend(c) {
				return nil
			}
			out = append(out, d.merged(c, path, depth+1)...)
		}
		return out
	}
	d.fail(at(n), path, "\"<<\" takes in a section, got %s", describe(n))
	return nil
}

// section fills a struct from a mapping and lets it check itself.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	d.fill(n, v, path)
	d.finishSection(at(resolve(n)), v, path)
}

// fill fills a struct from a mapping. Without an entry a field keeps what it
// has. extra names further keys that the caller reads itself.
func (d *decoder) fill(n *yaml.Node, v reflect.Value, path string, extra ...string) {
	n = resolve(n)
	if !d.spend(n) || !d.tagged(n, path) || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		if path == "" {
			d.fail(at(n), path, "expected settings such as \"data_dir: /var/lib/smi\", got %s", describe(n))
		} else {
			d.fail(at(n), path, "expected a section of settings, got %s", describe(n))
		}
		return
	}
	fields := fieldsOf(v.Type())
	secrets := map[string]entry{} // by the field's key: the one of its two keys that came first
	for _, e := range d.entries(n, path, 0) {
		full := join(path, e.name)
		if slices.Contains(extra, e.name) || (path == "" && strings.HasPrefix(e.name, "x-")) {
			continue
		}
		f, ok := find(fields, e.name)
		if !ok {
			d.unknown(e, fields, extra, path)
			continue
		}
		d.places[full] = at(e.value)
		if f.kind != kindSecret {
			d.value(e.value, f, v.FieldByIndex(f.index), full)
			continue
		}
		if first, twice := secrets[f.key]; twice {
			d.fail(at(e.key), full, "the secret is given twice, as %s in line %d and as %s; keep one", first.name, first.key.Line, e.name)
			continue
		}
		secrets[f.key] = e
		d.places[join(path, f.key)] = at(e.value)
		d.secret(e, v.FieldByIndex(f.index), path, f)
	}
}

// finishSection calls the settings' own Check, unless there is a mistake in
// them already.
func (d *decoder) finishSection(p place, v reflect.Value, path string) {
	if d.failed[path] || !v.CanAddr() {
		return
	}
	c, ok := reflect.TypeAssert[interface{ Check() error }](v.Addr())
	if !ok {
		return
	}
	d.checked(c.Check(), p, path)
}

func (d *decoder) checked(err error, p place, path string) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the join itself is meant
		for _, e := range many.Unwrap() {
			d.checked(e, p, path)
		}
		return
	}
	text, full := err.Error(), path
	if e, ok := errors.AsType[*social.Error](err); ok {
		text, full = e.Text, join(path, e.Field)
	}
	for _, k := range []string{full, full + "_file", full + "_env"} {
		if q, ok := d.places[k]; ok {
			p = q
			break
		}
	}
	d.fail(p, full, "%s", text)
}

// lack is a setting that must be given and is not.
type lack struct {
	path string
	f    field
}

// missing lists the fields that have no value and must have one.
func missing(v reflect.Value, path string) []lack {
	var out []lack
	for _, f := range fieldsOf(v.Type()) {
		fv, full := v.FieldByIndex(f.index), join(path, f.key)
		switch {
		case f.kind == kindSection:
			out = append(out, missing(fv, full)...)
		case f.required && fv.IsZero():
			out = append(out, lack{full, f})
		}
	}
	return out
}

// missing reports them, except those that are there and wrong.
func (d *decoder) missing(lacks []lack, p place) {
	for _, l := range lacks {
		what := l.path
		if l.f.kind == kindSecret {
			what = l.path + "_file or " + l.path + "_env"
		}
		if d.failed[l.path] || d.failed[l.path+"_file"] || d.failed[l.path+"_env"] {
			continue
		}
		d.fail(p, l.path, "missing; add %s: %s", what, lowerFirst(l.f.doc))
	}
}

// value fills one field.
func (d *decoder) value(n *yaml.Node, f field, v reflect.Value, path string) {
	if !d.spend(n) {
		return
	}
	n = resolve(n)
	if !d.tagged(n, path) {
		return
	}
	switch f.kind {
	case kindSection:
		d.section(n, v, path)
	case kindNetworks:
		d.networkNode = n // read when the rest is known
	case kindList:
		d.list(n, f, v, path)
	case kindMap:
		d.mapping(n, f, v, path)
	default:
		if isNull(n) {
			d.fail(at(n), path, "has no value; expected %s, or remove the line to get %s", f.expects(), f.otherwise())
			return
		}
		if n.Kind != yaml.ScalarNode {
			d.fail(at(n), path, "expected %s, got %s", f.expects(), describe(n))
			return
		}
		d.scalar(n, f, v, path)
	}
}

func (d *decoder) list(n *yaml.Node, f field, v reflect.Value, path string) {
	if isNull(n) || (n.Kind == yaml.SequenceNode && len(n.Content) == 0) {
		v.SetZero()
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(at(n), path, "expected a list with one \"- \" before each entry, got %s", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	e := f.elem()
	for i, c := range n.Content {
		item := reflect.New(e.typ).Elem()
		full := fmt.Sprintf("%s[%d]", path, i)
		d.places[full] = at(c)
		d.value(c, e, item, full)
		if item.Comparable() && slices.ContainsFunc(values(out), func(o reflect.Value) bool { return o.Equal(item) }) && !d.failed[full] {
			d.fail(at(c), full, "is in the list twice; remove one")
		}
		out = reflect.Append(out, item)
	}
	v.Set(out)
}

func values(list reflect.Value) []reflect.Value {
	out := make([]reflect.Value, list.Len())
	for i := range out {
		out[i] = list.Index(i)
	}
	return out
}

func (d *decoder) mapping(n *yaml.Node, f field, v reflect.Value, path string) {
	if isNull(n) || (n.Kind == yaml.MappingNode && len(n.Content) == 0) {
		v.SetZero()
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(at(n), path, "expected names with a value each, got %s", describe(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	e := f.elem()
	for _, en := range d.entries(n, path, 0) {
		item := reflect.New(e.typ).Elem()
		full := join(path, en.name)
		d.places[full] = at(en.value)
		d.value(en.value, e, item, full)
		out.SetMapIndex(reflect.ValueOf(en.name).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

// tagged refuses the tags of YAML, with which a value could say that it is
// something else than it looks.
func (d *decoder) tagged(n *yaml.Node, path string) bool {
	if n.Style&yaml.TaggedStyle == 0 {
		return true
	}
	d.fail(at(n), path, "remove the tag %s; the type is known", quoted(n.Tag))
	return false
}

// unknown reports a key that no field has, with the key that was perhaps meant.
func (d *decoder) unknown(e entry, fields []field, extra []string, path string) {
	full := join(path, e.name)
	known := slices.Clone(extra)
	for _, f := range fields {
		if f.kind == kindSecret && e.name == f.key {
			d.fail(at(e.key), full, "a secret must not stand in this file; put it into a file of its own and name that as %s_file, or into the environment and name the variable as %s_env", f.key, f.key)
			return
		}
		known = append(known, f.keys()...)
	}
	if hint := meant(e.name, known, " (did you mean %q?)"); hint != "" {
		d.fail(at(e.key), full, "unknown key%s", hint)
		return
	}
	for _, f := range fields {
		if f.kind == kindSection {
			if _, ok := find(fieldsOf(f.typ), e.name); ok {
				d.fail(at(e.key), full, "unknown key here (it belongs into the section %q)", join(path, f.key))
				return
			}
		}
	}
	if len(known) == 0 {
		d.fail(at(e.key), full, "unknown key; this section has no settings")
		return
	}
	slices.Sort(known)
	d.fail(at(e.key), full, "unknown key; known here: %s", strings.Join(known, ", "))
}

// find returns the field that a key belongs to.
func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if slices.Contains(f.keys(), key) {
			return f, true
		}
	}
	return field{}, false
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == 0 || (n.Kind == yaml.ScalarNode && n.Tag == "!!null")
}

func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}

// describe says in words what stands at a node.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a section"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return n.Value
	case "!!int", "!!float":
		return "the number " + strings.Trim(quoted(n.Value), `"`)
	}
	return "the text " + quoted(n.Value)
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return string(s[0]-'A'+'a') + s[1:]
	}
	return s
}

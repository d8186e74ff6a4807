package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"smi/internal/social"
)

// kind says how a value is written in the file and read from it.
type kind string

const (
	kindBool     kind = "bool"
	kindText     kind = "text"
	kindInt      kind = "int"
	kindFloat    kind = "float"
	kindDuration kind = "duration"
	kindSize     kind = "size"
	kindCron     kind = "cron"
	kindZone     kind = "zone"
	kindURL      kind = "url"
	kindHostPort kind = "hostport" // a server by its address: no name but localhost, and its port is not 0
	kindListen   kind = "listen"   // an address to listen on: port 0 means any free one
	kindPath     kind = "path"
	kindSecret   kind = "secret"
	kindList     kind = "list"
	kindMap      kind = "map"
	kindSection  kind = "section"
	kindNetworks kind = "networks"
)

// field is one setting as its tags declare it.
type field struct {
	key      string
	doc      string
	def      string // the default tag; hasDef tells an empty one from none
	hasDef   bool
	shows    string
	enum     []string
	min, max string
	required bool
	restart  bool
	kind     kind
	tag      kind // the kind tag, which a list and a map hand down to their elements
	index    []int
	typ      reflect.Type
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeSize     = reflect.TypeFor[Size]()
	typeCron     = reflect.TypeFor[Cron]()
	typeZone     = reflect.TypeFor[Zone]()
	typeSecret   = reflect.TypeFor[social.Secret]()
	typeNetworks = reflect.TypeFor[Networks]()
)

// fieldsOf lists the settings of a struct in the order of their declaration. A
// declaration that makes no sense is a bug of the program and panics: the tests
// of this package and of connectors/all go through every one.
func fieldsOf(t reflect.Type) []field {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("settings must be a struct, not %s", t))
	}
	var out []field
	seen := map[string]bool{}
	add := func(f field) {
		if seen[f.key] {
			panic(fmt.Sprintf("%s declares the key %q twice", t, f.key))
		}
		seen[f.key] = true
		out = append(out, f)
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("yaml")
		if !ok || tag == "-" {
			continue
		}
		if tag == ",inline" {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				add(f)
			}
			continue
		}
		if !sf.IsExported() {
			panic(fmt.Sprintf("%s.%s: a setting must be an exported field", t, sf.Name))
		}
		f := field{
			key:      tag,
			doc:      sf.Tag.Get("doc"),
			shows:    sf.Tag.Get("shows"),
			min:      sf.Tag.Get("min"),
			max:      sf.Tag.Get("max"),
			required: sf.Tag.Get("required") == "true",
			restart:  sf.Tag.Get("reload") == "restart",
			index:    []int{i},
			typ:      sf.Type,
		}
		f.def, f.hasDef = sf.Tag.Lookup("default")
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, ",")
		}
		if r := sf.Tag.Get("reload"); r != "" && r != "live" && r != "restart" {
			panic(fmt.Sprintf("%s.%s: reload is %q; it must be live or restart", t, sf.Name, r))
		}
		f.tag = kind(sf.Tag.Get("kind"))
		f.kind = kindOf(sf.Type, f.tag)
		if f.kind == "" {
			panic(fmt.Sprintf("%s.%s: a setting cannot be a %s", t, sf.Name, sf.Type))
		}
		add(f)
	}
	return out
}

// kindOf returns how a Go type is written, or "" if it cannot be. The kind tag
// of a list or a map is about its elements.
func kindOf(t reflect.Type, tag kind) kind {
	switch t {
	case typeDuration:
		return kindDuration
	case typeSize:
		return kindSize
	case typeCron:
		return kindCron
	case typeZone:
		return kindZone
	case typeSecret:
		return kindSecret
	case typeNetworks:
		return kindNetworks
	}
	switch t.Kind() {
	case reflect.Bool:
		return kindBool
	case reflect.Float64:
		return kindFloat
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		if tag == kindSize {
			return kindSize
		}
		return kindInt
	case reflect.String:
		switch tag {
		case kindURL, kindHostPort, kindListen, kindZone, kindCron, kindPath:
			return tag
		}
		return kindText
	case reflect.Slice:
		if kindOf(t.Elem(), tag) == "" {
			return ""
		}
		return kindList
	case reflect.Map:
		if t.Key().Kind() != reflect.String || kindOf(t.Elem(), tag) == "" {
			return ""
		}
		return kindMap
	case reflect.Struct:
		return kindSection
	}
	return ""
}

// elem is the field of a list's or a map's element: same rules, no default.
func (f field) elem() field {
	e := f
	e.typ = f.typ.Elem()
	e.hasDef, e.def, e.shows, e.required = false, "", "", false
	e.kind = kindOf(e.typ, f.tag)
	return e
}

// keys are the names under which a field may stand in the file.
func (f field) keys() []string {
	if f.kind == kindSecret {
		return []string{f.key + "_file", f.key + "_env"}
	}
	return []string{f.key}
}

package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

// postFile looks at the file of a post before it is read: every field that does
// not exist and every value of a wrong kind, with its line.
type postFile struct {
	name string
	bad  []httpapi.ProblemItem
}

// checkPostFile returns all that is wrong with the shape of a file, or nil.
func checkPostFile(name string, doc *yaml.Node) error {
	if doc.Kind == 0 || len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return social.Errorf(social.CodeInvalid, "--file", "%s is empty; it must hold a post, at least with accounts, parts and plan", name)
	}
	f := postFile{name: name}
	f.value(doc.Content[0], reflect.TypeFor[app.PostInput](), "")
	if len(f.bad) == 0 {
		return nil
	}
	return &httpapi.Problem{Code: social.CodeInvalid, Field: f.bad[0].Field, Detail: f.bad[0].Detail, Errors: f.bad}
}

func (f *postFile) add(n *yaml.Node, format string, args ...any) {
	f.bad = append(f.bad, httpapi.ProblemItem{Field: fmt.Sprintf("%s:%d", f.name, n.Line), Detail: fmt.Sprintf(format, args...)})
}

// value compares a node with the type it is read into. path names it in
// messages, "" the whole file.
func (f *postFile) value(n *yaml.Node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		return
	}
	what := "the file"
	if path != "" {
		what = path
	}
	switch t.Kind() {
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			f.add(n, "%s must have fields (%s), not %s", what, strings.Join(fieldsOf(t), ", "), kindOf(n))
			return
		}
		f.fields(n, t, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			f.add(n, "%s must be a list, not %s; write it as [ … ] or with a - before each item", what, kindOf(n))
			return
		}
		for i, item := range n.Content {
			f.value(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.String:
		if n.Tag == "!!timestamp" {
			n.Tag = "!!str" // a date in a text stays as it was written
		}
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			f.add(n, "%s must be a text, not %s; put it in quotes", what, kindOf(n))
		}
	case reflect.Bool:
		if n.Tag != "!!bool" {
			f.add(n, "%s must be true or false, not %s", what, kindOf(n))
		}
	}
}

func (f *postFile) fields(n *yaml.Node, t reflect.Type, path string) {
	known := fieldsOf(t)
	if t == reflect.TypeFor[app.MediaRef]() {
		known = append(known, "file") // of this machine, instead of a hash
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, below := n.Content[i].Value, n.Content[i+1]
		at := strings.TrimPrefix(path+"."+name, ".")
		if name == "<<" {
			continue
		}
		if !slices.Contains(known, name) {
			hint := ""
			if near := nearest(name, known); near != "" {
				hint = fmt.Sprintf(" (did you mean %q?)", near)
			}
			f.add(n.Content[i], "%s: there is no such field%s; there are %s", at, hint, strings.Join(known, ", "))
			continue
		}
		if name == "file" && slices.Contains(known, "hash") {
			f.value(below, reflect.TypeFor[string](), at)
			continue
		}
		for _, field := range reflect.VisibleFields(t) {
			if jsonName(field) == name {
				f.value(below, field.Type, at)
			}
		}
	}
}

// fieldsOf are the names that a struct has in JSON.
func fieldsOf(t reflect.Type) []string {
	var out []string
	for _, field := range reflect.VisibleFields(t) {
		if name := jsonName(field); name != "" {
			out = append(out, name)
		}
	}
	return out
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

// kindOf names what stands in a file.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	}
	b, err := json.Marshal(n.Value)
	if err != nil {
		return "a text"
	}
	return "the text " + string(b)
}

// nearest is the known word with the fewest letters changed, "" if none is near.
func nearest(word string, known []string) string {
	best, least := "", max(1, min(len(word), 9)/3)+1
	for _, k := range known {
		if n := letters(word, k); n < least {
			best, least = k, n
		}
	}
	return best
}

// letters counts the letters to add, drop or change to make b of a.
func letters(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		corner := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := corner
			if a[i-1] != b[j-1] {
				change++
			}
			corner, row[j] = row[j], min(row[j]+1, row[j-1]+1, change)
		}
	}
	return row[len(b)]
}

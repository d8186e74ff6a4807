package config

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"smi/connectors"
)

const docsHead = `# Configuration

<!-- Made by go run ./config/gen; do not edit. -->

One YAML file. smi takes the one named by ` + "`--config`" + `, else by ` + "`$SMI_CONFIG`" + `, else the first of
` + "`$XDG_CONFIG_HOME/smi/config.yaml`" + ` (` + "`~/.config/smi/config.yaml`" + `) and ` + "`/etc/smi/config.yaml`" + `; with none, the
defaults. The current folder is not looked at. ` + "`smi config example`" + ` prints a complete file,
` + "`smi config schema`" + ` a JSON Schema for editors, ` + "`smi config check`" + ` tells every mistake at once:

    config.yaml:14:5: sync.loook_back: unknown key (did you mean "look_back"?)

How values are written:

| kind | written as |
| --- | --- |
| duration | ` + "`90s`, `15m`, `1h30m`, `30d`, `2w`" + `; a day is 24 hours |
| size | ` + "`512`, `200MiB`, `4GB`" + ` |
| schedule | five fields (minute, hour, day, month, weekday with 0 for Sunday) or ` + "`@daily`" + ` and the like, on the wall clock of the workspace |
| time zone | an IANA name such as ` + "`Europe/Berlin`" + ` |
| address | ` + "`https://example.org`" + `; ` + "`http://`" + ` only on this machine or for servers in ` + "`allow_private`" + ` |
| path | absolute, below ` + "`~/`" + `, or relative to the folder of the configuration file |
| secret | never in the file: ` + "`KEY_file`" + ` names a file closed to other users (` + "`chmod 600`" + `; files under ` + "`/run/secrets`" + ` may have any mode), ` + "`KEY_env`" + ` an environment variable |

` + "`smi config reload`" + ` and the signal SIGHUP read the file again. If anything in it is wrong, the old settings
stay in force. Settings marked *restart* keep their old value until smi is started again; smi says which.
Keys at the top that begin with ` + "`x-`" + ` are left alone: they can hold anchors (` + "`&name`" + `) that other places repeat (` + "`*name`" + `).

`

// Docs is the reference of all settings in Markdown.
func Docs(r *connectors.Registry) []byte {
	var b bytes.Buffer
	b.WriteString(docsHead)
	c := defaults()
	v := reflect.ValueOf(c).Elem()
	b.WriteString("## At the top\n\n")
	docsTable(&b, v, "")
	for _, f := range fieldsOf(v.Type()) {
		if f.kind != kindSection {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", f.key, f.doc)
		docsTable(&b, v.FieldByIndex(f.index), f.key)
	}
	b.WriteString("\n## networks\n\nA section for each network. A network without a section has its defaults; one that needs settings cannot be\nused before it has them. Each section also takes:\n\n| key | default | |\n| --- | --- | --- |\n")
	fmt.Fprintf(&b, "| `networks.NAME.enabled` | `true` | %s |\n| `networks.NAME.apps` | `{}` | %s |\n", enabledDoc, appsDoc)
	if r == nil {
		return b.Bytes()
	}
	for _, m := range r.Makers() {
		settings := newSettings(m).Elem()
		fmt.Fprintf(&b, "\n### %s\n\n", title(m))
		if len(fieldsOf(settings.Type())) == 0 {
			b.WriteString("No settings of its own.\n")
			continue
		}
		docsTable(&b, settings, join("networks", string(m.Network)))
	}
	return b.Bytes()
}

// docsTable writes a row for each setting of a section, those of sections in it
// included, except for those at the top, which have tables of their own.
func docsTable(b *bytes.Buffer, v reflect.Value, path string) {
	b.WriteString("| key | default | |\n| --- | --- | --- |\n")
	docsRows(b, v, path)
}

func docsRows(b *bytes.Buffer, v reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		full := join(path, f.key)
		fv := v.FieldByIndex(f.index)
		switch f.kind {
		case kindNetworks:
			continue
		case kindSection:
			if path != "" {
				docsRows(b, fv, full)
			}
			continue
		}
		key := "`" + full + "`"
		def := "`" + flow(f, fv) + "`"
		switch {
		case f.kind == kindSecret:
			key = "`" + full + "_file`, `" + full + "_env`"
			def = "none"
		case f.shows != "":
			def = f.shows
		case f.required && fv.IsZero():
			def = "**needed**"
		}
		about := f.doc
		if rule := f.rule(); rule != "" {
			about += " " + rule
		}
		if f.restart {
			about += " *restart*"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", key, cell(def), cell(about))
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

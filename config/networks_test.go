package config

import (
	"reflect"
	"strings"
	"testing"

	"smi/connectors/all"
)

// TestTheSettingsOfEveryNetwork checks the declarations of each connector.
func TestTheSettingsOfEveryNetwork(t *testing.T) {
	t.Parallel()
	r := all.Registry()
	if len(r.Makers()) == 0 {
		t.Fatal("there are no networks")
	}
	for _, m := range r.Makers() {
		settings := newSettings(m).Elem()
		documented(t, settings.Type(), string(m.Network))
		// Where a default is both in the tags and in NewConfig they must agree:
		// the tag is what a reader of the code believes.
		fromTags := reflect.New(settings.Type()).Elem()
		setDefaults(fromTags)
		sameDefaults(t, settings, fromTags, string(m.Network))
	}
	want, err := testMachine().parse("", nil, r)
	if err != nil {
		t.Fatal(err)
	}
	example, err := testMachine().parse("config.example.yaml", Example(r), r)
	if err != nil {
		t.Fatal(err)
	}
	if live, restart := Diff(want, example); len(live)+len(restart) > 0 {
		t.Errorf("the example differs from the defaults in %v %v", live, restart)
	}
	printed, err := testMachine().parse("redacted.yaml", want.Redacted(), r)
	if err != nil {
		t.Fatal(err)
	}
	if live, restart := Diff(want, printed); len(live)+len(restart) > 0 {
		t.Errorf("what is printed differs from the defaults in %v %v", live, restart)
	}
	for path := range strings.SplitSeq("networks.bluesky.service networks.bluesky.oauth.client_key_file", " ") {
		if !strings.Contains(string(Docs(r)), "`"+path+"`") {
			t.Errorf("%s is not in the reference", path)
		}
	}
}

func sameDefaults(t *testing.T, settings, fromTags reflect.Value, path string) {
	t.Helper()
	for _, f := range fieldsOf(settings.Type()) {
		a, b, full := settings.FieldByIndex(f.index), fromTags.FieldByIndex(f.index), join(path, f.key)
		switch {
		case f.kind == kindSection:
			sameDefaults(t, a, b, full)
		case f.hasDef && flow(f, a) != flow(f, b):
			t.Errorf("%s: the default tag says %s and NewConfig %s", full, flow(f, b), flow(f, a))
		}
	}
}

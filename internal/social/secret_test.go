package social

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const value = "SMICANARY"
	s := NewSecret(value)
	if s.Reveal() != value || s.Empty() || s != NewSecret(value) || s == NewSecret("other") {
		t.Fatal("the value is not kept")
	}
	if (Secret{}).Reveal() != "" || !NewSecret("").Empty() || NewSecret("") != (Secret{}) {
		t.Fatal("the zero value is not the empty one")
	}
	type inside struct {
		Shown  Secret
		hidden Secret
		list   []Secret
		byName map[string]Secret
		any    any
	}
	in := inside{s, s, []Secret{s}, map[string]Secret{"k": s}, s}
	var out bytes.Buffer
	for _, v := range []any{s, &s, in, &in, []inside{in}, map[string]inside{"k": in}, []any{in}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := xml.NewEncoder(&out).Encode(s); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
		if i := strings.Index(out.String(), bad); i >= 0 {
			t.Errorf("the value was printed: …%s…", out.String()[max(0, i-80):i])
		}
	}
	if !strings.Contains(out.String(), Redacted) {
		t.Error("nothing was printed at all")
	}
}

package youtube_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/youtube"
)

// method, schema and document are what Google's discovery documents say of an
// API. They are read from the module that serves the calls; nothing of them is
// kept here.
type method struct {
	ID         string            `json:"id"`
	Path       string            `json:"path"`
	HTTPMethod string            `json:"httpMethod"`
	Parameters map[string]schema `json:"parameters"`
	Request    schema            `json:"request"`
	Response   schema            `json:"response"`
	Upload     struct {
		Accept    []string `json:"accept"`
		MaxSize   string   `json:"maxSize"`
		Protocols map[string]struct {
			Path string `json:"path"`
		} `json:"protocols"`
	} `json:"mediaUpload"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       string            `json:"type"`
	Format     string            `json:"format"`
	Enum       []string          `json:"enum"`
	Required   bool              `json:"required"`
	Repeated   bool              `json:"repeated"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Additional *schema           `json:"additionalProperties"`
}

type resource struct {
	Methods   map[string]method   `json:"methods"`
	Resources map[string]resource `json:"resources"`
}

type document struct {
	resource
	Revision   string            `json:"revision"`
	Parameters map[string]schema `json:"parameters"`
	Schemas    map[string]schema `json:"schemas"`
}

func discovery(t *testing.T, name string) document {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		t.Fatalf("where is google.golang.org/api? %v", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, revision %s", name, d.Revision)
	return d
}

// find returns the method of a request; upload says by which protocol.
func (r resource) find(verb, path string) (m method, upload, ok bool) {
	for _, m := range r.Methods {
		if m.HTTPMethod == verb && "/"+m.Path == path {
			return m, false, true
		}
		for _, p := range m.Upload.Protocols {
			// Production takes the path of simple uploads for resumable ones as well.
			if p.Path == path && m.HTTPMethod == verb {
				return m, true, true
			}
		}
	}
	for _, sub := range r.Resources {
		if m, upload, ok := sub.find(verb, path); ok {
			return m, upload, ok
		}
	}
	return m, false, false
}

// judge says what is wrong with a value by its schema.
func (d document) judge(at string, s schema, v any) []string {
	if s.Ref != "" {
		s = d.Schemas[s.Ref]
	}
	bad := func(format string, args ...any) []string { return []string{at + ": " + fmt.Sprintf(format, args...)} }
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if s.Type != "object" {
			return bad("is an object, not a %s", s.Type)
		}
		var out []string
		for k, x := range v {
			p, ok := s.Properties[k]
			if !ok && s.Additional != nil {
				p, ok = *s.Additional, true
			}
			if !ok {
				out = append(out, at+"."+k+": there is no such property")
				continue
			}
			out = append(out, d.judge(at+"."+k, p, x)...)
		}
		return out
	case []any:
		if s.Type != "array" || s.Items == nil {
			return bad("is an array, not a %s", s.Type)
		}
		var out []string
		for i, x := range v {
			out = append(out, d.judge(fmt.Sprintf("%s[%d]", at, i), *s.Items, x)...)
		}
		return out
	case bool:
		if s.Type != "boolean" && s.Type != "any" {
			return bad("is a boolean, not a %s", s.Type)
		}
	case json.Number:
		if s.Type != "integer" && s.Type != "number" && s.Type != "any" {
			return bad("is a number, not a %s", s.Type)
		}
	case string:
		switch {
		case s.Type != "string" && s.Type != "any":
			return bad("is a string, not a %s", s.Type)
		case len(s.Enum) > 0 && !slices.Contains(s.Enum, v):
			return bad("%q is none of %v", v, s.Enum)
		case s.Format == "date-time":
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				return bad("%q is no time", v)
			}
		case s.Format == "int64" || s.Format == "uint64":
			if _, err := strconv.ParseInt(v, 10, 64); err != nil {
				return bad("%q is no number", v)
			}
		}
	}
	return nil
}

// query says what is wrong with the parameters of a request.
func (d document) query(m method, q url.Values, upload bool) []string {
	var out []string
	for name, values := range q {
		p, ok := m.Parameters[name]
		if !ok {
			p, ok = d.Parameters[name]
		}
		if !ok && !(upload && name == "upload_id") {
			out = append(out, "there is no parameter "+name)
			continue
		}
		for _, v := range values {
			if p.Repeated && name == "part" {
				out = append(out, d.part(m, v)...)
			}
			switch {
			case len(p.Enum) > 0 && !slices.Contains(p.Enum, v):
				out = append(out, fmt.Sprintf("%s=%s is none of %v", name, v, p.Enum))
			case p.Type == "boolean" && v != "true" && v != "false":
				out = append(out, fmt.Sprintf("%s=%s is no boolean", name, v))
			case p.Type == "integer":
				if _, err := strconv.Atoi(v); err != nil {
					out = append(out, fmt.Sprintf("%s=%s is no number", name, v))
				}
			}
		}
	}
	for name, p := range m.Parameters {
		if p.Required && q.Get(name) == "" && q.Get("upload_id") == "" {
			out = append(out, "the parameter "+name+" is missing")
		}
	}
	return out
}

// part says whether the parts are of the resource.
func (d document) part(m method, v string) []string {
	s := d.Schemas[m.Response.Ref]
	if items, ok := s.Properties["items"]; ok && items.Items != nil {
		s = d.Schemas[items.Items.Ref]
	}
	var out []string
	for p := range strings.SplitSeq(v, ",") {
		if _, ok := s.Properties[p]; !ok {
			out = append(out, "part="+p+" is none of "+m.ID)
		}
	}
	return out
}

// call is one request with its answer.
type call struct {
	verb, path  string
	query       url.Values
	header      http.Header
	body        []byte
	status      int
	answer      []byte
	answerIsObj bool
}

// tape notes what goes by.
type tape struct {
	mu    sync.Mutex
	calls []call
}

func (tp *tape) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		tp.mu.Lock()
		tp.calls = append(tp.calls, call{
			verb: r.Method, path: r.URL.Path, query: r.URL.Query(), header: r.Header, body: body, status: rec.Code, answer: rec.Body.Bytes(),
			answerIsObj: strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json"),
		})
		tp.mu.Unlock()
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
}

// decoded reads a JSON body, alone or as the first part of two.
func (c call) decoded(t *testing.T) any {
	t.Helper()
	b := c.body
	if kind, params, err := mime.ParseMediaType(c.header.Get("Content-Type")); err == nil && kind == "multipart/related" {
		p, err := multipart.NewReader(bytes.NewReader(b), params["boundary"]).NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if b, err = io.ReadAll(p); err != nil {
			t.Fatal(err)
		}
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	return unmarshal(t, b)
}

func unmarshal(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// TestDiscovery holds every request of the connector, and every answer of the
// simulator, against Google's own description of the APIs.
func TestDiscovery(t *testing.T) {
	docs := map[string]document{
		"/v2/": discovery(t, "youtubeanalytics/v2/youtubeanalytics-api.json"), "/": discovery(t, "youtube/v3/youtube-api.json"),
	}
	var tp tape
	for _, batch := range []bool{true, false} {
		w := newWorld(t, setting{wrap: tp.wrap, cfg: func(c *youtube.Config) { c.BatchStats, c.NativeSchedule = batch, true }})
		c, j := w.client(), w.rich()
		w.mustPrepare(c, j)
		r := w.mustCommit(c, j)
		w.find(c, j)
		later := w.job("later", map[string]string{"publish_at": began.Add(time.Hour).Format(time.RFC3339)})
		w.mustPrepare(c, later)
		w.mustCommit(c, later)
		lost := w.job("lost", nil) // looked for among the uploads
		var session json.RawMessage
		lost.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
			if session == nil {
				session = st
			}
			return nil
		}
		w.mustPrepare(c, lost)
		w.sim.Forget()
		lost.State = session
		w.mustPrepare(c, lost)
		w.sim.SetTotals(r.RemoteID, map[string]any{"shares": 4, "subscribersGained": 2, "estimatedMinutesWatched": 10})
		w.sim.SetDay(w.channel, "2026-11-20", map[string]any{"views": 100, "likes": 5, "comments": 0, "shares": 2, "subscribersGained": 3, "estimatedMinutesWatched": 7})
		ctx := t.Context()
		for name, do := range map[string]func() error{
			"identity": func() error { _, err := c.Identity(ctx); return err },
			"get":      func() error { _, err := c.Get(ctx, r.RemoteID); return err },
			"list":     func() error { _, err := c.List(ctx, time.Time{}, ""); return err },
			"posts": func() error {
				_, err := c.PostInsights(ctx, []connectors.Receipt{r, {RemoteID: "abcdefghijk"}})
				return err
			},
			"account": func() error { _, err := c.AccountInsights(ctx, day("2026-11-18"), day("2026-11-24")); return err },
		} {
			if err := do(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := c.Delete(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for _, k := range tp.calls {
		if k.path == "/o/oauth2/v2/auth" || k.path == "/token" {
			continue
		}
		d := docs["/"]
		if strings.HasPrefix(k.path, "/v2/") {
			d = docs["/v2/"]
		}
		verb := k.verb
		if verb == http.MethodPut && k.query.Get("upload_id") != "" {
			verb = http.MethodPost // a piece goes to the session that a POST has opened
		}
		m, upload, ok := d.find(verb, k.path)
		if !ok {
			t.Errorf("there is no method %s %s", k.verb, k.path)
			continue
		}
		seen[m.ID]++
		for _, bad := range d.query(m, k.query, upload) {
			t.Errorf("%s: %s", m.ID, bad)
		}
		if k.query.Get("upload_id") == "" && (m.Request.Ref != "" || len(k.body) > 0 && !upload) {
			if body := k.decoded(t); body != nil {
				for _, bad := range d.judge("the request", m.Request, body) {
					t.Errorf("%s: %s", m.ID, bad)
				}
			}
		}
		if k.status < 300 && k.answerIsObj && len(k.answer) > 0 {
			for _, bad := range d.judge("the simulator's answer", m.Response, unmarshal(t, k.answer)) {
				t.Errorf("%s: %s", m.ID, bad)
			}
		}
	}
	for _, id := range []string{
		"youtube.channels.list", "youtube.videos.insert", "youtube.videos.list", "youtube.videos.update", "youtube.videos.delete", "youtube.videos.batchGetStats",
		"youtube.thumbnails.set", "youtube.captions.list", "youtube.captions.insert", "youtube.playlistItems.list", "youtube.playlistItems.insert",
		"youtubeAnalytics.reports.query",
	} {
		if seen[id] == 0 {
			t.Errorf("%s was never called: %v", id, seen)
		}
	}
	// The judge itself has teeth.
	yt := docs["/"]
	update, _, _ := yt.find(http.MethodPut, videosPath)
	for name, bad := range map[string][]string{
		"an unknown property":  yt.judge("x", update.Request, unmarshal(t, []byte(`{"status":{"privacy":"public"}}`))),
		"another type":         yt.judge("x", update.Request, unmarshal(t, []byte(`{"status":{"embeddable":"yes"}}`))),
		"a value of no enum":   yt.judge("x", update.Request, unmarshal(t, []byte(`{"status":{"privacyStatus":"hidden"}}`))),
		"no time":              yt.judge("x", update.Request, unmarshal(t, []byte(`{"status":{"publishAt":"tomorrow"}}`))),
		"an unknown parameter": yt.query(update, url.Values{"part": {"status"}, "notify": {"true"}}, false),
		"an unknown part":      yt.query(update, url.Values{"part": {"state"}}, false),
		"a missing parameter":  yt.query(update, url.Values{}, false),
	} {
		if len(bad) != 1 {
			t.Errorf("%s is not noticed: %v", name, bad)
		}
	}
}

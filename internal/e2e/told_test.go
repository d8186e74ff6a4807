//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestToldAcrossAKill kills the daemon after a webhook took an alarm and before
// that is written down. The next life tells it once more, with the same id, and
// then no more.
func TestToldAcrossAKill(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string // ids of the messages, in order
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			ID   string `json:"id"`
			Kind string `json:"kind"`
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.ID == "" || r.Header.Get("Smi-Signature") == "" {
			t.Errorf("a message that cannot be read or is not signed: %+v, %v", m, err)
		}
		if m.Kind != "disk_low" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.ID)
	}))
	t.Cleanup(receiver.Close)
	at, err := url.Parse(receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	n := startNetwork(t, 1)
	in := install(t, n)
	in.write("webhook-url", receiver.URL+"/told")
	in.write("webhook-secret", "a secret of the receiver, long enough")
	more := fmt.Sprintf("sync: {enabled: false}\ndisk: {refuse_media_below: 1TiB, stop_publishing_below: 1TiB}\nnotify: {webhook: {url_file: %q, secret_file: %q}}\n", in.dir+"/webhook-url", in.dir+"/webhook-secret")
	in.configure(in.dir+"/smi.keyset", more)
	in.allow(at.Host)

	const point = "notice-sent:1"
	in.start(point)
	in.connect()
	in.smi("post", "create", "--account", n.handles[0], "--text", "there is no room to note what becomes of it", "--now")
	in.diesAt(point, 90*time.Second)
	mu.Lock()
	first := len(got)
	mu.Unlock()
	if first != 1 {
		t.Fatalf("%d messages before the kill, want 1", first)
	}
	in.start("")
	until(t, 90*time.Second, "everything to be told", func() (bool, string) {
		s, err := in.api.Status(t.Context())
		if err != nil {
			return false, err.Error()
		}
		return s.Notices != nil && s.Notices.Backlog.Unsent == 0, fmt.Sprintf("%+v", s.Notices)
	})
	in.stop()
	in.start("") // a third life has nothing to repeat
	in.stop()
	mu.Lock()
	defer mu.Unlock()
	same := 0
	for _, id := range got {
		if id == got[0] {
			same++
		}
	}
	if same != 2 {
		t.Errorf("the alarm %s came %d times, want 2: before the kill and once after it (all: %s)", got[0], same, strings.Join(got, ", "))
	}
}

// allow lets the daemon speak to one more private address.
func (in *installation) allow(host string) {
	in.t.Helper()
	old, err := os.ReadFile(in.config)
	if err != nil {
		in.t.Fatal(err)
	}
	in.write("config.yaml", strings.Replace(string(old), "allow_private: [", fmt.Sprintf("allow_private: [%q, ", host), 1))
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/httpapi"
	"smi/internal/keyring"
	"smi/internal/media/film"
	"smi/internal/social"
)

// alone runs a daemon without networks until the test ends.
func alone(t *testing.T, more string) (*daemon, *httpapi.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "smi") //nolint:usetesting // short: the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a folder that stays does no harm
	data, key := filepath.Join(dir, "data"), filepath.Join(dir, "key", "smi.keyset")
	if _, err := keyring.Init(key, data); err != nil {
		t.Fatal(err)
	}
	registry := &connectors.Registry{}
	d, err := newDaemon(t.Context(), daemonOptions{
		Load: func() (*config.Config, error) {
			return config.Parse("config.yaml", fmt.Appendf(nil, "data_dir: %q\nkey_file: %q\n%s", data, key, more), registry)
		},
		Registry: registry, Version: "test", Log: &bytes.Buffer{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	api := httpapi.NewClient(d.cfg.Current().API.Socket, "")
	if _, err := api.Status(ctx); err != nil { // the socket is open, and this waits until it is served
		t.Error(err)
	}
	t.Cleanup(func() {
		api.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d, api
}

// TestLargeUpload: a file goes in by the API and out to a network that fetches
// it, and is never in memory. internal/loadtest does the same with 2 GiB.
func TestLargeUpload(t *testing.T) { //nolint:paralleltest // measures memory
	const most = 32 << 20
	length := int64(192 << 20)
	if testing.Short() {
		length = 64 << 20
	}
	d, api := alone(t, "public: {listen: \"127.0.0.1:0\", url: \"https://media.example.org\", trusted_proxies: [127.0.0.1]}\n")
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // begins the peak anew
		t.Fatal(err)
	}
	before := status(t, "VmRSS")
	sum := sha256.New()
	m, err := api.AddMedia(t.Context(), io.TeeReader(film.Read(length), sum), "film.mp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Bytes != length || m.Hash != hex.EncodeToString(sum.Sum(nil)) {
		t.Errorf("%d bytes became %+v", length, m)
	}
	address, err := connectors.MediaURL(t.Context(), d.media, m, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	path, ok := strings.CutPrefix(address, "https://media.example.org/")
	if !ok {
		t.Fatalf("the address is %s", address)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.open.Addr().String()+"/"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "media.example.org"
	c := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := sha256.New()
	n, err := io.Copy(got, resp.Body)
	if err != nil || n != length || hex.EncodeToString(got.Sum(nil)) != m.Hash || resp.Header.Get("Content-Type") != "video/mp4" {
		t.Errorf("%d bytes came out: %v", n, err)
	}
	peak := status(t, "VmHWM")
	t.Logf("%d MiB in and out: %.1f MiB before, %.1f MiB at the most", length>>20, before, peak)
	if peak-before > most>>20 {
		t.Errorf("%d MiB took %.1f MiB of memory, want less than %d", length>>20, peak-before, most>>20)
	}
}

// TestMetadataIsRemoved: unless the admin wants to keep it.
func TestMetadataIsRemoved(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	raw := slices.Concat(b.Bytes()[:2], []byte("\xff\xfe\x00\x0bmy place"), b.Bytes()[2:])
	sum := sha256.Sum256(raw)
	for more, stays := range map[string]bool{"": false, "media: {remove_metadata: false}\n": true} {
		_, api := alone(t, more)
		m, err := api.AddMedia(t.Context(), bytes.NewReader(raw), "photo.jpg", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Hash == hex.EncodeToString(sum[:]); got != stays {
			t.Errorf("%q: it is as it came: %v", more, got)
		}
	}
}

// status reads a figure of this process in MiB.
func status(t *testing.T, name string) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb float64
		if n, err := fmt.Sscanf(line, name+": %f kB", &kb); n == 1 && err == nil {
			return kb / 1024
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// TestNoPublicListener: what a connector is told names the setting.
func TestNoPublicListener(t *testing.T) {
	t.Parallel()
	d, _ := alone(t, "")
	_, err := connectors.MediaURL(t.Context(), d.media, social.Media{Hash: strings.Repeat("a", 64), MIME: "image/png"}, time.Hour)
	if connectors.KindOf(err) != connectors.Permission || !strings.Contains(err.Error(), "public.listen") {
		t.Errorf("%v", err)
	}
	if got := d.checkPublic(t.Context()); got.Verdict != "ok" || !strings.Contains(got.Text, "public.listen") {
		t.Errorf("%+v", got)
	}
}

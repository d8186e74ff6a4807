package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"smi/internal/httpapi"
	"smi/internal/keyring"
	"smi/internal/media/film"
	"smi/internal/public"
)

// uploads measures how much memory a large file takes on its way in by the API
// and out to a network that fetches it, with files in a folder and in a bucket.
func uploads(ctx context.Context, dir, binary string, length int64) error {
	fmt.Printf("\n%-64s %10s %10s %10s %10s\n", fmt.Sprintf("a file of %d MiB, in by the API and out by its public address", length>>20), "in", "out", "idle MiB", "added MiB")
	for _, kind := range []string{"folder", "bucket"} {
		if err := upload(ctx, filepath.Join(dir, "upload-"+kind), binary, kind, length); err != nil {
			return fmt.Errorf("uploading to a %s: %w", kind, err)
		}
	}
	return nil
}

func upload(ctx context.Context, dir, binary, kind string, length int64) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0") // finds a free port
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	media := "{max_video_size: 8GiB}"
	if kind == "bucket" {
		srv := httptest.NewServer(gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(true)).Server())
		defer srv.Close()
		media = fmt.Sprintf("{max_video_size: 8GiB, access_key_env: SMI_LOAD_KEY, secret_key_env: SMI_LOAD_KEY, bucket: %q}",
			"s3://smi/media?region=us-east-1&use_path_style=true&hostname_immutable=true&endpoint="+srv.URL)
	}
	const base = "https://media.example.org"
	conf, key := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "key", "smi.keyset")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder that stays does no harm
	text := fmt.Sprintf("data_dir: %q\nkey_file: %q\nlog: {level: warn}\nmedia: %s\npublic: {listen: %q, url: %q, trusted_proxies: [127.0.0.1]}\n", filepath.Join(dir, "data"), key, media, addr, base)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	k, err := keyring.Init(key, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	b := &bench{dir: dir, daemon: exec.CommandContext(ctx, binary, "--config", conf, "serve")}
	b.daemon.Env = append(os.Environ(), "SMI_LOAD_KEY=loadload")
	b.daemon.Stderr, b.daemon.Stdout = os.Stderr, os.Stderr
	if err := b.daemon.Start(); err != nil {
		return err
	}
	b.api = httpapi.NewClient(filepath.Join(dir, "data", "smi.sock"), "")
	defer b.stopDaemon()
	if err := b.until(ctx, 60*time.Second, func() bool { _, err := b.api.Status(ctx); return err == nil }); err != nil {
		return fmt.Errorf("waiting for the daemon: %w", err)
	}
	settle := time.NewTimer(2 * time.Second)
	<-settle.C
	idle := b.memory("VmRSS")
	begin := time.Now()
	m, err := b.api.AddMedia(ctx, film.Read(length), "film.mp4", nil)
	if err != nil {
		return err
	}
	in := time.Since(begin)
	begin = time.Now()
	address, err := public.NewSigner(base, k.Subkey("public media"), time.Now).URL(m.Hash, m.MIME, time.Hour)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+address[len(base):], http.NoBody)
	if err != nil {
		return err
	}
	req.Host = "media.example.org"
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || n != length || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d of %d bytes came out (status %d): %w", n, length, resp.StatusCode, err)
	}
	out := time.Since(begin)
	fmt.Printf("%-64s %10v %10v %10.1f %10.1f (target < 32)\n", "  in a "+kind, in.Round(10*time.Millisecond), out.Round(10*time.Millisecond), idle, b.memory("VmHWM")-idle)
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/config"
	"smi/internal/app"
	"smi/internal/httpapi"
)

// checkConfig asks whether the file can be read still, and whether it is in force.
func (d *daemon) checkConfig(context.Context) app.CheckResult {
	next, err := d.load()
	if err != nil {
		return broken("the configuration was read at start, but could not be read again: %s", oneLine(err.Error()))
	}
	live, restart := config.Diff(d.cfg.Current(), next)
	if len(live) > 0 {
		return warn("%s changed in the file and is not in force; run smi config reload", strings.Join(append(live, restart...), ", "))
	}
	if len(restart) > 0 {
		return warn("%s changed in the file and waits for a restart", strings.Join(restart, ", "))
	}
	return fine("read, without a mistake, and in force")
}

// callbackTime is how long doctor waits for names and answers.
const callbackTime = 5 * time.Second

// checkCallback asks whether browsers come back from a network's consent page.
func (d *daemon) checkCallback(ctx context.Context) app.CheckResult {
	var ask func(context.Context, string) (string, error)
	if d.callback != nil {
		ask = askCallback
	} else if d.cfg.Current().OAuth.RedirectBase == "" {
		return fine("smi serve opens it on this machine (%s)", d.cfg.Current().OAuth.CallbackListen)
	}
	return callbackVerdict(ctx, d.cfg.Current().OAuth.RedirectBase, d.callbackURL, net.DefaultResolver.LookupNetIP, ask)
}

// askCallback opens an address as a browser would and returns the beginning of
// the page. It follows nothing: networks want the address as it is.
func askCallback(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	c := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode/100 == 3 {
		return "", fmt.Errorf("it sends the browser on to %.100q", resp.Header.Get("Location"))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return string(b), err
}

// callbackVerdict judges the address that networks send browsers back to. ask is
// nil where no daemon answers.
func callbackVerdict(ctx context.Context, base string, callback func() string, lookup func(context.Context, string, string) ([]netip.Addr, error), ask func(context.Context, string) (string, error)) app.CheckResult {
	ctx, cancel := context.WithTimeout(ctx, callbackTime)
	defer cancel()
	private := ""
	if base != "" {
		u, err := url.Parse(base)
		switch {
		case err != nil || u.Hostname() == "":
			return broken("oauth.redirect_base %q is no address; write it as https://smi.example.org", base)
		case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
			return broken("oauth.redirect_base %q has more than a host and a path; networks compare it letter by letter with what was registered", base)
		}
		addrs, err := lookup(ctx, "ip", u.Hostname())
		if err != nil || len(addrs) == 0 {
			return broken("%s, the host of oauth.redirect_base, is not known to the name service of this machine: %v", u.Hostname(), orNothing(err))
		}
		local := !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.Unmap().IsLoopback() })
		if u.Scheme != "https" && !local {
			return broken("oauth.redirect_base %q is not https: networks refuse it, and the code of a login could be read on the way", base)
		}
		public := func(a netip.Addr) bool {
			a = a.Unmap()
			return !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
		}
		if !local && !slices.ContainsFunc(addrs, public) {
			private = fmt.Sprintf("; %s is an address of a private network, so only browsers there can log in", addrs[0])
		}
	}
	if ask == nil {
		return fine("%s looks right%s; whether it answers is seen when smi serve runs", base+httpapi.CallbackPath, private)
	}
	address := callback()
	page, err := ask(ctx, address)
	switch {
	case err != nil && base == "":
		return broken("%s does not answer: %s", address, oneLine(err.Error()))
	case err != nil:
		return warn("%s cannot be opened from this machine: %s; open it in a browser: the page must say smi", address, oneLine(err.Error()))
	case !strings.Contains(page, "<title>smi:"):
		return warn("%s answers, but not with a page of smi; see that the proxy in front passes it to oauth.callback_listen", address)
	}
	return fine("%s answers%s", address, private)
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("it has no address")
	}
	return err
}

// verifiedBytes is how much of the files of planned posts doctor reads when it is
// to be quick.
const verifiedBytes = 256 << 20

// mediaCheck asks whether the files of planned posts are there.
func (d *daemon) mediaCheck() app.Check {
	ask := func(most int64) func(context.Context) app.CheckResult {
		return func(ctx context.Context) app.CheckResult {
			if d.cfg.Current().Media.Bucket != "" && most == verifiedBytes {
				most = 0 // what is read from a bucket costs money
			}
			return d.checkMedia(ctx, most)
		}
	}
	return app.Check{Name: "media", Run: ask(verifiedBytes), Full: ask(1 << 62)}
}

// checkMedia reads at most so many bytes, and looks at the sizes of all.
func (d *daemon) checkMedia(ctx context.Context, most int64) app.CheckResult {
	files, err := d.store.PlannedFiles(ctx)
	if err != nil {
		return broken("%v", err)
	}
	if len(files) == 0 {
		return fine("no planned post has a file")
	}
	if d.media == nil {
		return broken("the folder of files %s cannot be opened, and %d files of planned posts lie there; put it back from a backup", mediaDir(d.cfg.Current()), len(files))
	}
	wrong, unread := map[string]error{}, 0
	known := map[string]bool{}
	var bad []string
	for _, f := range files {
		if !known[f.Media.Hash] {
			known[f.Media.Hash] = true
			whole := f.Media.Bytes <= most
			if whole {
				most -= f.Media.Bytes
			} else {
				unread++
			}
			if err := d.media.Verify(ctx, f.Media, whole); err != nil {
				wrong[f.Media.Hash] = err
			}
		}
		if err := wrong[f.Media.Hash]; err != nil {
			bad = append(bad, fmt.Sprintf("%s of post %s, planned for %s: %v", fileName(f.Media.Name, f.Media.Hash), f.Post, f.Planned.Format("2006-01-02 15:04 UTC"), err))
		}
	}
	switch {
	case len(bad) > 0:
		return broken("files of planned posts are not as they were stored; put them back from a backup, or add them again: %s", strings.Join(bad, "; "))
	case unread > 0:
		return fine("%d files of planned posts are there; the %d largest by their size, smi doctor --full reads them", len(known), unread)
	}
	return fine("%d files of planned posts are there, and whole", len(known))
}

// fileName is how people know a file.
func fileName(name, hash string) string {
	if name == "" {
		return "the file " + hash[:min(12, len(hash))]
	}
	return name
}

// Command gen writes docs/capabilities.md: what smi can do on each network and
// within which limits, found out from the connectors themselves. It is run in
// the top folder: go run ./connectors/all/gen.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/all"
	"smi/internal/social"
)

const path = "docs/capabilities.md"

func main() {
	text, err := page()
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// noGrant serves a connection that is only asked what it can do.
type noGrant struct{}

var errNoGrant = errors.New("no account is connected")

// Grant implements connectors.Credentials.
func (noGrant) Grant(context.Context) (connectors.Grant, error) {
	return connectors.Grant{}, errNoGrant
}

// Renew implements connectors.Credentials.
func (noGrant) Renew(context.Context, int64) (connectors.Grant, error) {
	return connectors.Grant{}, errNoGrant
}

// page is the whole document.
func page() (string, error) {
	var b strings.Builder
	b.WriteString("# What smi can do on each network\n\nMade from the connectors by `make generate`; do not edit. `smi networks` shows the same for the networks of an\ninstallation.\n")
	for _, m := range all.Registry().Makers() {
		p, err := m.New(m.NewConfig(), connectors.Env{
			Now:  time.Now,
			Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errNoGrant },
		})
		if err != nil {
			return "", fmt.Errorf("making %s: %w", m.Network, err)
		}
		c, err := connectors.Open(p, social.Account{Network: m.Network, RemoteID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Host: "https://example.org", DayZone: "UTC"}, noGrant{})
		if err != nil {
			return "", fmt.Errorf("opening %s: %w", m.Network, err)
		}
		network(&b, c, connectors.JoinOf(p))
	}
	return b.String(), nil
}

func network(b *strings.Builder, c *connectors.Client, join connectors.Join) {
	d, v := c.Describe(), c.Verbs()
	fmt.Fprintf(b, "\n## %s\n\n| | |\n| --- | --- |\n", d.Title)
	row := func(name string, values ...string) {
		if len(values) > 0 {
			fmt.Fprintf(b, "| %s | %s |\n", name, strings.Join(values, ", "))
		}
	}
	row("connect by", have(named{"browser (OAuth)", join.OAuth != nil}, named{"form", join.Form != nil})...)
	row("verbs", have(named{"publish", v.Publish}, named{"find after a lost answer", v.Find}, named{"confirm later", v.Confirm}, named{"read one", v.Get},
		named{"delete", v.Delete}, named{"list", v.List}, named{"numbers of posts", v.PostInsights}, named{"numbers of the account", v.AccountInsights})...)
	l := d.Limits
	if l.Text.Max > 0 {
		text := fmt.Sprintf("%d %s", l.Text.Max, l.Text.Unit)
		if l.Text.Bytes > 0 {
			text += fmt.Sprintf(", %d bytes", l.Text.Bytes)
		}
		row("text", text)
	}
	for _, m := range []struct {
		name  string
		limit connectors.MediaLimit
	}{{"images", l.Image}, {"GIFs", l.GIF}, {"video", l.Video}, {"documents", l.Document}} {
		if m.limit.Support != connectors.No {
			row(m.name, media(m.limit))
		}
	}
	row("also", have(named{"link card", l.Link != connectors.No}, named{"link card beside media", l.LinkAndMedia}, named{"kinds of media mixed", l.MixMedia},
		named{fmt.Sprintf("thread of %d more parts", l.Thread), l.Thread > 0}, named{fmt.Sprintf("%d first comments", l.Comment), l.Comment > 0})...)
	var options, metrics []string
	for _, o := range l.Options {
		options = append(options, "`"+o.Key+"` ("+o.Doc+")")
	}
	row("options", options...)
	for _, m := range d.Metrics {
		metrics = append(metrics, strings.ReplaceAll(string(m), "_", " "))
	}
	row("metrics", metrics...)
	var lacks []string
	for _, m := range d.Missing {
		lacks = append(lacks, m.What+" ("+m.Why+")")
	}
	row("not available", lacks...)
	row("prepared ahead", d.StageAhead.String())
	row("least time between two posts", d.MinGap.String())
}

// named is something that is there or not.
type named struct {
	name string
	is   bool
}

func have(all ...named) []string {
	var out []string
	for _, n := range all {
		if n.is {
			out = append(out, n.name)
		}
	}
	return out
}

func media(m connectors.MediaLimit) string {
	text := fmt.Sprintf("up to %d, %.1f MB each, %s", m.Max, float64(m.Bytes)/1e6, strings.Join(m.MIME, " "))
	if m.MaxDuration > 0 {
		text += fmt.Sprintf(", at most %v", m.MaxDuration)
	}
	if m.AltMax > 0 {
		text += fmt.Sprintf(", alt text up to %d characters", m.AltMax)
	}
	if m.Support == connectors.Lossy {
		text += " (" + m.Note + ")"
	}
	return text
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"smi/internal/social"
)

// show writes a value as JSON, or what person writes.
func (c *cli) show(v any, person func()) error {
	if !c.json {
		person()
		return nil
	}
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say writes a line to standard output.
func (c *cli) say(format string, args ...any) {
	fmt.Fprintf(c.out, format+"\n", args...) //nolint:errcheck // a closed output ends the process
}

// progress writes a line to standard error, where scripts do not look.
func (c *cli) progress(format string, args ...any) {
	if !c.json {
		fmt.Fprintf(c.err, format+"\n", args...) //nolint:errcheck // nobody is left to tell
	}
}

// table writes rows in columns. The first row is the head.
func (c *cli) table(rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		for i, cell := range r {
			r[i] = oneLine(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t")) //nolint:errcheck // as say
	}
	w.Flush() //nolint:errcheck // as say
}

// oneLine makes a text safe for a table and a terminal: no line ends, no
// control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, s)
}

// clip shortens a text for a table.
func clip(s string, n int) string {
	r := []rune(oneLine(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

// at writes an instant in a zone.
func at(t time.Time, zone string) string {
	if t.IsZero() {
		return "-"
	}
	loc, err := social.LoadZone(zone)
	if err != nil {
		loc = time.UTC
	}
	return t.In(loc).Format("2006-01-02 15:04:05 MST")
}

// seconds writes milliseconds as people read lateness.
func seconds(ms int64) string { return fmt.Sprintf("%.2f s", float64(ms)/1000) }

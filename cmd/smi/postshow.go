package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"smi/internal/app"
	"smi/internal/social"
)

// nextTry says when smi tries a waiting delivery again.
func nextTry(d app.Delivery, zone string) string {
	if d.State != social.Waiting || d.NextAt.IsZero() {
		return ""
	}
	return " (smi tries again by itself; next try at " + at(d.NextAt, zone) + ")"
}

// deliveries shows what became of each delivery in plain words.
func (c *cli) deliveries(p app.Post) {
	for _, d := range p.Deliveries {
		c.delivery(d, p.Planned.Zone)
	}
}

// delivery shows what became of one delivery.
func (c *cli) delivery(d app.Delivery, zone string) {
	if d.State != social.Published {
		text := cmp.Or(d.Reason, "planned for "+at(d.PlannedAt, zone))
		c.say("%s on %s: %s%s", d.State, d.AccountName, text, nextTry(d, zone))
		return
	}
	late := ""
	if d.LateMS != nil {
		late = fmt.Sprintf(" (%s late)", seconds(max(*d.LateMS, 0)))
		if *d.LateMS > 60_000 {
			late = fmt.Sprintf(" (%s late)", (time.Duration(*d.LateMS) * time.Millisecond).Round(time.Second))
		}
	}
	c.say("published on %s at %s%s: %s", d.AccountName, at(d.PublishedAt, zone), late, cmp.Or(d.URL, d.RemoteID))
	if d.Reason != "" {
		c.say("  %s", d.Reason)
	}
}

// post shows all of a post.
func (c *cli) post(p app.Post) {
	c.say("post %s: %s, planned for %s (revision %d)", p.ID, p.Status, at(p.Planned.UTC, p.Planned.Zone), p.Rev)
	if len(p.Tags) > 0 {
		c.say("tags: %s", strings.Join(p.Tags, ", "))
	}
	for i, part := range p.Parts {
		c.say("part %d (%s): %s", i+1, part.Role, oneLine(part.Text))
		for _, m := range part.Media {
			c.say("  %s %s %dx%d, alt: %s", m.Kind, cmp.Or(m.Name, m.Hash[:min(12, len(m.Hash))]), m.Width, m.Height, cmp.Or(m.Alt, "(none)"))
		}
		if part.Link != nil {
			c.say("  link %s", part.Link.URL)
		}
	}
	for _, d := range p.Deliveries {
		for i, part := range d.Own {
			c.say("on %s part %d (%s): %s", d.AccountName, i+1, part.Role, oneLine(part.Text))
		}
	}
	c.deliveries(p)
	for _, d := range p.Deliveries {
		for _, n := range d.Numbers {
			c.say("  numbers of %s part %d: %s (read %s)", d.AccountName, n.Part+1, numbers(n), at(n.Read, p.Planned.Zone))
		}
		for _, a := range d.Attempts {
			e := a.Evidence
			c.say("  %s part %d attempt %d: %s, decided by %s; %s", d.AccountName, a.Part+1, a.N, a.State, cmp.Or(a.DecidedBy, "nobody yet"),
				evidence(a))
			for _, cand := range e.Candidates {
				c.say("    could be %s: %s", cmp.Or(cand.Receipt.URL, cand.Receipt.RemoteID), clip(cand.Excerpt, 60))
			}
		}
	}
}

// numbers shows the totals of a part in the order of the catalogue.
func numbers(n app.PartNumbers) string {
	var out []string
	for _, m := range social.Catalogue {
		if v, ok := n.Totals[m.Metric]; ok {
			out = append(out, fmt.Sprintf("%d %s", v, m.Metric))
		}
	}
	return strings.Join(out, ", ")
}

// evidence is what is known of an attempt in one line.
func evidence(a app.Attempt) string {
	e := a.Evidence
	var out []string
	if e.Reach != "" {
		out = append(out, fmt.Sprintf("request %s", e.Reach))
	}
	if !e.FirstByte.IsZero() {
		out = append(out, "first byte at "+e.FirstByte.UTC().Format("15:04:05.000")+" UTC")
	}
	if e.Status != 0 {
		out = append(out, fmt.Sprintf("status %d", e.Status))
	}
	if e.Text != "" {
		out = append(out, clip(e.Text, 200))
	}
	if len(out) == 0 {
		return "no evidence yet"
	}
	return strings.Join(out, ", ")
}

// listed is the status of a post in a list, with the time of its next try if it
// waits for one.
func listed(p app.Post) string {
	var next time.Time
	for _, d := range p.Deliveries {
		if d.State == social.Waiting && !d.NextAt.IsZero() && (next.IsZero() || d.NextAt.Before(next)) {
			next = d.NextAt
		}
	}
	if p.Status != "waiting" || next.IsZero() {
		return p.Status
	}
	return "waiting, next try " + at(next, p.Planned.Zone)
}

// decided shows what follows from a decision: what is due goes out now, whatever
// its former time was.
func (c *cli) decided(p app.Post) {
	for _, d := range p.Deliveries {
		if !d.State.Resting() && d.PlannedAt.Before(time.Now()) {
			c.say("goes out now on %s", d.AccountName)
			continue
		}
		c.delivery(d, p.Planned.Zone)
	}
}

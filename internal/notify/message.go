package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"smi/internal/social"
)

// mostNamed is how many notices of a group are written out.
const mostNamed = 20

// Message is a group as it is sent. Its JSON is what webhooks and programs get;
// fields are only ever added.
type Message struct {
	ID       social.ID `json:"id"` // of the first notice; a message that comes twice has the same
	Kind     string    `json:"kind"`
	Severity string    `json:"severity"`
	// Workspace is zero for what concerns everybody.
	Workspace social.ID `json:"workspace,omitempty"`
	Count     int       `json:"count"`
	Title     string    `json:"title"`
	Text      string    `json:"text"`
	Notices   []Item    `json:"notices"` // the first ones
	Node      string    `json:"node"`
	Version   string    `json:"smi_version"`
}

// Item is one notice of a message.
type Item struct {
	social.NoticeRecord
	Cure string `json:"cure,omitempty"` // the command that answers it
}

// NewMessage makes one message of a group.
func NewMessage(g Group, node, version string) Message {
	m := Message{Kind: g.Kind, Severity: g.Severity, Workspace: g.Workspace, Count: len(g.Notices), Node: node, Version: version, Notices: []Item{}}
	if len(g.Notices) == 0 {
		return m
	}
	m.ID = g.Notices[0].ID
	for _, n := range g.Notices[:min(len(g.Notices), mostNamed)] {
		n.Text = oneLine(n.Text)
		m.Notices = append(m.Notices, Item{NoticeRecord: n, Cure: Cure(n)})
	}
	first, last := g.Notices[0], g.Notices[len(g.Notices)-1]
	if len(g.Notices) == 1 {
		m.Title = "smi " + g.Severity + ": " + short(oneLine(first.Text), 80)
		m.Text = item(m.Notices[0])
		return m
	}
	what := strings.ReplaceAll(g.Kind, "_", " ")
	m.Title = fmt.Sprintf("smi %s: %d times %s", g.Severity, len(g.Notices), what)
	var b strings.Builder
	fmt.Fprintf(&b, "%d times %s, from %s to %s.\n", len(g.Notices), what, stamp(first.CreatedAt), stamp(last.CreatedAt))
	for _, i := range m.Notices {
		b.WriteString("\n- " + item(i) + "\n")
	}
	if more := len(g.Notices) - len(m.Notices); more > 0 {
		fmt.Fprintf(&b, "\nand %d more, which smi notices lists.\n", more)
	}
	m.Text = strings.TrimRight(b.String(), "\n")
	return m
}

func item(i Item) string {
	s := i.Text
	if i.Cure != "" {
		s += "\n  " + i.Cure
	}
	return s
}

func testMessage(now time.Time, node, version string) Message {
	n := social.NoticeRecord{Kind: "test", Severity: Info, Text: "This is a test of smi's notices. Nothing is wrong.", CreatedAt: now.UTC()}
	m := NewMessage(Group{Kind: n.Kind, Severity: n.Severity, Notices: []social.NoticeRecord{n}}, node, version)
	m.Title = "smi: a test"
	return m
}

// Cure is the command with which a person answers a notice, "" if there is none.
func Cure(n social.NoticeRecord) string {
	if n.Delivery == 0 {
		switch n.Kind {
		case "quarantine_began":
			return "smi status, then smi adopt"
		case "disk_low":
			return "smi doctor"
		}
		if strings.HasPrefix(n.Kind, "account_") && n.Severity != Info && n.Account != 0 {
			return "smi accounts reconnect " + n.Account.String()
		}
		return ""
	}
	retry := "smi post retry " + n.Delivery.String()
	switch n.Kind {
	case "delivery_held_late":
		return fmt.Sprintf("%s --publish, or %s --skip", retry, retry)
	case "delivery_needs_human":
		return fmt.Sprintf("%s --found ADDRESS, --resend or --drop", retry)
	case "delivery_failed":
		return "to plan it again: " + retry
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// oneLine keeps what networks and people wrote from making lines, headers or
// colours of its own.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r == ' ' || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
	}), " ")
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"slices"
	"strings"
	"time"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
	"smi/scheduler"
)

// planned is a post that a person wants, and what became of the wish.
type planned struct {
	key   string // of the request: the same for every repetition
	did   string
	input app.PostInput
	media int
	id    social.ID // once the daemon has said that it is planned
	at    time.Time
}

// wishes makes n posts, shared out to the accounts in turn: of six, one has a
// picture, one two pictures, and two are threads of three.
func (in *installation) wishes(n int, ahead string) []*planned {
	in.t.Helper()
	return wishesOf(in.net, in.pictures(), "", n, func(int) string { return ahead })
}

// wishesOf is wishes with these pictures and words before each text, each as far
// ahead as the last argument says.
func wishesOf(net *network, pictures []string, before string, n int, ahead func(int) string) []*planned {
	var out []*planned
	for i := range n {
		who := i % len(net.handles)
		name := fmt.Sprintf("%sPost %d of %s", before, i+1, net.handles[who])
		body := app.PartInput{Text: name}
		p := &planned{key: fmt.Sprintf("%swish-%d", before, i+1), did: net.dids[who]}
		parts := []app.PartInput{body}
		switch i % 6 {
		case 1:
			p.media = 1
		case 2:
			p.media = 2
		case 3, 4:
			parts = append(parts, app.PartInput{Text: name + ", second part"}, app.PartInput{Text: name + ", third part"})
		}
		for k := range p.media {
			parts[0].Media = append(parts[0].Media, app.MediaRef{Hash: pictures[k], Alt: fmt.Sprintf("Picture %d", k+1)})
		}
		p.input = app.PostInput{Accounts: []string{net.handles[who]}, Parts: parts, Plan: app.PlanInput{In: ahead(i)}}
		out = append(out, p)
	}
	return out
}

// pictures adds two pictures to the library and returns their hashes.
func (in *installation) pictures() []string {
	in.t.Helper()
	var out []string
	for i := range 2 {
		img := image.NewRGBA(image.Rect(0, 0, 64, 40))
		for k := range img.Pix {
			img.Pix[k] = uint8(k * (i + 3))
		}
		img.SetRGBA(0, 0, color.RGBA{uint8(i), 1, 2, 255})
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			in.t.Fatal(err)
		}
		m, err := in.api.AddMedia(in.t.Context(), &b, fmt.Sprintf("picture-%d.png", i+1), nil)
		if err != nil {
			in.t.Fatalf("adding a picture: %v", err)
		}
		out = append(out, m.Hash)
	}
	return out
}

// plan asks the daemon for what it has not confirmed yet, until all is planned
// or the daemon is gone. Nobody can know whether a request without an answer
// was carried out: it is made again with the same key.
func (in *installation) plan(all []*planned) (complete bool) {
	in.t.Helper()
	for _, p := range all {
		if p.id != 0 {
			continue
		}
		made, err := in.api.CreatePost(in.t.Context(), p.input, p.key)
		unreachable := new(httpapi.UnreachableError)
		switch {
		case err == nil:
			p.id, p.at = made.Post.ID, made.Post.Planned.UTC
		case errors.As(err, &unreachable):
			return false
		default:
			in.t.Fatalf("planning %q: %v", p.input.Parts[0].Text, err)
		}
	}
	return true
}

// resting are the states in which smi waits for nothing but people.
var resting = []social.DeliveryState{
	social.Published, social.Failed, social.NeedsHuman, social.HeldLate, social.Blocked, social.Cancelled, social.Skipped,
}

// list returns all posts that the daemon knows.
func (in *installation) list() ([]app.Post, error) {
	var out []app.Post
	q := app.PostQuery{Limit: 100, Ascending: true}
	for {
		ctx, cancel := context.WithTimeout(in.t.Context(), 10*time.Second)
		page, err := in.api.ListPosts(ctx, q)
		cancel()
		if err != nil {
			return nil, err
		}
		out = append(out, page.Posts...)
		if page.Next == "" {
			return out, nil
		}
		q.After = page.Next
	}
}

// states says how many deliveries are in which state, for messages.
func (in *installation) states() string {
	posts, err := in.list()
	if err != nil {
		return err.Error()
	}
	n := map[social.DeliveryState]int{}
	var unrested []string
	for _, p := range posts {
		for _, d := range p.Deliveries {
			n[d.State]++
			if !slices.Contains(resting, d.State) {
				unrested = append(unrested, fmt.Sprintf("%s is %s until %s: %s", p.Parts[0].Text, d.State, d.NextAt.Format("15:04:05"), d.Reason))
			}
		}
	}
	return fmt.Sprintf("%v\n%s", n, strings.Join(unrested, "\n"))
}

// rest waits until every delivery rests. What does not is left to the oracle.
func (in *installation) rest(limit time.Duration) {
	in.t.Helper()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		posts, err := in.list()
		if err != nil {
			in.t.Fatalf("listing the posts: %v", err)
		}
		if !slices.ContainsFunc(posts, func(p app.Post) bool {
			return slices.ContainsFunc(p.Deliveries, func(d app.Delivery) bool { return !slices.Contains(resting, d.State) })
		}) {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		}
	}
}

// verdict is what the oracle found.
type verdict struct {
	posts, parts            int
	duplicates, lost, wrong int
	adopted, again          int // parts found on the network, sent again
	findings                []string
}

func (v *verdict) duplicate(format string, args ...any) {
	v.duplicates++
	v.findings = append(v.findings, "DUPLICATE: "+fmt.Sprintf(format, args...))
}

func (v *verdict) missing(format string, args ...any) {
	v.lost++
	v.findings = append(v.findings, "LOST: "+fmt.Sprintf(format, args...))
}

func (v *verdict) untrue(format string, args ...any) {
	v.wrong++
	v.findings = append(v.findings, "FALSE: "+fmt.Sprintf(format, args...))
}

// judge compares what was wished, what the daemon says and what the public
// sees. Every wish must have been published: these networks refuse nothing.
func (in *installation) judge(all []*planned) *verdict {
	in.t.Helper()
	v := &verdict{posts: len(all)}
	truth := truth{in.net.all(), in.net.made(), in.net.written()}
	wished := map[string]bool{}
	for _, p := range all {
		if p.id == 0 {
			v.missing("%q was never planned", p.input.Parts[0].Text)
			continue
		}
		post, err := in.api.Post(in.t.Context(), p.id.String(), 0)
		if err != nil || len(post.Deliveries) != 1 {
			v.missing("%q: the daemon does not know it any more (%d deliveries, %v)", p.input.Parts[0].Text, len(post.Deliveries), err)
			continue
		}
		for _, part := range p.input.Parts {
			wished[part.Text] = true
		}
		v.delivery(p, post.Deliveries[0], truth)
	}
	for text := range truth.made {
		if !wished[text] {
			v.untrue("%q is on the network and nobody wanted it", text)
		}
	}
	posts, err := in.list()
	if err != nil || len(posts) != len(all) {
		v.duplicate("%d posts were planned and the daemon has %d (%v): a repeated request was taken for a new one", len(all), len(posts), err)
	}
	return v
}

// truth is what the network knows, by text.
type truth struct {
	seen   map[string][]seenPost
	made   map[string]int
	writes map[string]writes
}

// delivery compares one delivery with the network.
func (v *verdict) delivery(p *planned, d app.Delivery, now truth) {
	name := p.input.Parts[0].Text
	if !slices.Contains(resting, d.State) {
		v.missing("%q is still %s: %s", name, d.State, d.Reason)
	} else if d.State != social.Published {
		v.missing("%q rests as %s: %s", name, d.State, d.Reason)
	}
	var before seenPost
	for step, part := range p.input.Parts {
		v.parts++
		there := now.seen[part.Text]
		if len(there) > 1 || now.made[part.Text] > 1 {
			v.duplicate("%q is there %d times and was written %d times", part.Text, len(there), now.made[part.Text])
		}
		v.attempts(part.Text, step, there, d, now.writes[part.Text])
		switch d.State {
		case social.Published:
			if len(there) == 0 {
				v.untrue("%q is said to be published and is not there", part.Text)
				continue
			}
		case social.Failed, social.Cancelled, social.Skipped:
			if len(there) > 0 {
				v.untrue("%q is said to be %s and is there", part.Text, d.State)
			}
			continue
		default:
			continue
		}
		got := there[0]
		switch {
		case got.DID != p.did:
			v.untrue("%q is on another account", part.Text)
		case step == 0 && (got.URI != d.RemoteID || d.URL == ""):
			v.untrue("%q: the daemon says %q, the network %q", part.Text, d.RemoteID, got.URI)
		case step > 0 && got.Parent != before.URI:
			v.untrue("%q answers %q, want the part before it, %q", part.Text, got.Parent, before.URI)
		case step == 0 && got.Media != p.media:
			v.untrue("%q has %d pictures, want %d", part.Text, got.Media, p.media)
		case got.Indexed.Before(p.at):
			v.untrue("%q came %s too early", part.Text, p.at.Sub(got.Indexed))
		}
		before = got
	}
}

// attempts compares what the daemon wrote down before and after it sent a part
// with what came to the network. Bluesky makes nothing of a record that is
// written a second time, so a protocol that is broken may make no duplicate
// there; it would elsewhere. That is why it is the requests that are counted:
// each attempt is the right to make one, and none is called refused that was
// not.
func (v *verdict) attempts(text string, step int, there []seenPost, d app.Delivery, came writes) {
	n := map[scheduler.AttemptState]int{}
	all := 0
	for _, a := range d.Attempts {
		if a.Part != step {
			continue
		}
		all++
		n[a.State]++
		if (a.State == scheduler.AttemptOK || a.State == scheduler.AttemptAdopted) && (len(there) == 0 || a.RemoteID != there[0].URI) {
			v.untrue("%q: the attempt is %s and says %q, which the network does not know", text, a.State, a.RemoteID)
		}
	}
	if sent := all - n[scheduler.AttemptNotSent]; came.came > sent {
		v.duplicate("%q was sent %d times with the right to do so %d times (%v)", text, came.came, sent, n)
	}
	if n[scheduler.AttemptRejected] > came.refused {
		v.untrue("%q: %d attempts are called rejected, the network refused %d", text, n[scheduler.AttemptRejected], came.refused)
	}
	if open := n[scheduler.AttemptArmed] + n[scheduler.AttemptAmbiguous]; open > 0 {
		v.untrue("%q: the post is %s and %d attempts are open", text, d.State, open)
	}
	if good := n[scheduler.AttemptOK] + n[scheduler.AttemptAdopted]; d.State == social.Published && good != 1 {
		v.untrue("%q is published and %d of its attempts say so (%v)", text, good, n)
	}
	v.adopted += n[scheduler.AttemptAdopted]
	if all > 1 {
		v.again++
	}
}

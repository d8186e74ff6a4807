package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

func (r *runner) publishing(t *testing.T) {
	if !r.verbs.Publish {
		r.na("publishing/all", "nothing can be published")
		return
	}
	r.check(t, "publishing/once", "one Commit, one post, with the words that were approved", func(c *check) string {
		c.publishOnce(c.body("Good morning, Đà Nẵng! 🌊 #smi"))
		return ""
	})
	r.check(t, "publishing/media", "a picture goes with its post", func(c *check) string {
		p := c.picture("with a picture")
		if len(p.Media) == 0 {
			return "this network takes no media"
		}
		c.publishOnce(p)
		if posts := c.h.Truth.Posts(); len(posts) == 1 && posts[0].Media != 1 {
			c.Errorf("the post has %d files, want 1", posts[0].Media)
		}
		return ""
	})
	r.check(t, "publishing/prepare is invisible", "Prepare runs up to a quarter of an hour early, and again after a restart", func(c *check) string {
		j := c.job(c.picture("prepared twice"))
		first, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		again, err := c.prepare(c.Context(), j)
		c.must("preparing again with the state it returned", err)
		c.effects(0, "two preparations")
		if first.Class != again.Class {
			c.Errorf("the class changed from %s to %s", first.Class, again.Class)
		}
		fresh := *j
		fresh.State = nil
		_, err = c.prepare(c.Context(), &fresh)
		c.must("preparing once more without any state", err)
		c.effects(0, "three preparations")
		_, _, err = c.shoot(c.Context(), j)
		c.must("committing", err)
		c.effects(1, "one commit")
		return ""
	})
	r.check(t, "publishing/resume", "killed after any save, Prepare goes on from there and one post comes out", func(c *check) string {
		saves := len(c.savedStates())
		for k := range saves {
			own := newCheck(c.T, r, c.name) // a key that was used is used: each kill has its own network
			own.killedAfter(k)
			own.leaks()
		}
		return ""
	})
	r.check(t, "publishing/save fails", "a state that could not be kept stops the preparation", func(c *check) string {
		states := c.savedStates()
		if len(states) < 3 { // nil, at least one saved, the final one
			return "Prepare saves nothing on its way"
		}
		j := c.job(c.resumable())
		j.Save = func(context.Context, json.RawMessage, time.Time) error { return errSave }
		_, err := c.prepare(c.Context(), j)
		c.want("preparing with a store that refuses", err, connectors.Unknown, connectors.Transient)
		c.effects(0, "a preparation that could not be kept")
		return ""
	})
	r.check(t, "publishing/class", "what may be repeated is said before the commit, and proved by what was sent", func(c *check) string {
		p, err := c.prepare(c.Context(), c.job(c.body("which class?")))
		c.must("preparing", err)
		if p.Class != connectors.Keyed && p.Class != connectors.Unkeyed {
			c.Errorf("the class is %q", p.Class)
		}
		if len(p.RequestHash) != 64 || strings.Trim(p.RequestHash, "0123456789abcdef") != "" {
			c.Errorf("RequestHash is %q, want a SHA-256 in lower-case hex", p.RequestHash)
		}
		if !json.Valid(p.State) {
			c.Errorf("the state is no JSON: %q", p.State)
		}
		return ""
	})
	r.check(t, "publishing/hash", "the attempt's row proves which bytes were sent", func(c *check) string {
		j := c.job(c.body("these bytes"))
		p, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		_, _, err = c.shoot(c.Context(), j)
		c.must("committing", err)
		posts := c.h.Truth.Posts()
		if len(posts) != 1 {
			c.Fatalf("there are %d posts", len(posts))
		}
		if posts[0].Hash == "" {
			return "the simulator cannot tell what was sent"
		}
		if posts[0].Hash != p.RequestHash {
			c.Errorf("the bytes sent have the hash %s, Prepare announced %s", posts[0].Hash, p.RequestHash)
		}
		return ""
	})
	r.check(t, "publishing/no shot", "a commit outside the protocol would have no record", func(c *check) string {
		j := c.job(c.body("without permission"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		conn, err := c.platform.Dial(c.h.Account, c.creds)
		c.must("opening the account", err)
		_, err = conn.(connectors.Publisher).Commit(c.Context(), j)
		c.want("a commit without a shot", err, connectors.Unsupported)
		c.effects(0, "a commit without a shot")
		return ""
	})
	r.check(t, "publishing/used shot", "one permission, one post", func(c *check) string {
		j := c.job(c.body("once only"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		line, err := c.client.DialCommit(c.Context(), j)
		c.must("dialling", err)
		shot := connectors.NewShot(7, c.h.Env.Now().Add(r.about.SendTime), line, c.h.Env.Now)
		_, err = c.client.Commit(c.Context(), j, shot)
		c.must("committing", err)
		_, err = c.client.Commit(c.Context(), j, shot)
		if err == nil {
			c.Error("the same shot was good for a second commit")
		}
		c.kind(err)
		c.effects(1, "a second commit with a used shot")
		return ""
	})
	r.check(t, "publishing/keyed twice", "a keyed commit that was armed again, because the handle said no, must not double what was under way", func(c *check) string {
		j := c.job(c.body("the same key"))
		p, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		if p.Class != connectors.Keyed {
			return "this network has no keys"
		}
		first, _, err := c.shoot(c.Context(), j)
		c.must("committing", err)
		again, _, err := c.shoot(c.Context(), j)
		if err == nil && again.RemoteID != first.RemoteID {
			c.Errorf("the same key made %s and %s", first.RemoteID, again.RemoteID)
		}
		c.kind(err)
		c.effects(1, "two commits with one key")
		return ""
	})
	r.check(t, "publishing/late shot", "no first byte after the time to send", func(c *check) string {
		j := c.job(c.body("too late"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		line, err := c.client.DialCommit(c.Context(), j)
		c.must("dialling", err)
		shot := connectors.NewShot(8, c.h.Env.Now().Add(-time.Second), line, c.h.Env.Now)
		_, err = c.client.Commit(c.Context(), j, shot)
		c.want("a commit after the time to send", err, connectors.Transient)
		if ev := shot.Evidence(); ev.Reach != connectors.ReachNothing {
			c.Errorf("the evidence says %s", ev.Reach)
		}
		c.effects(0, "a commit after the time to send")
		return ""
	})
	r.check(t, "publishing/unprepared", "a commit of nothing sends nothing", func(c *check) string {
		_, _, err := c.shoot(c.Context(), c.job(c.body("never prepared")))
		c.want("a commit without a preparation", err, connectors.Unsupported, connectors.Invalid, connectors.Transient)
		c.effects(0, "a commit without a preparation")
		return ""
	})
	r.check(t, "publishing/connection is closed", "a commit's connection is its own and is given back", func(c *check) string {
		j := c.job(c.body("close it"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		line, err := c.client.DialCommit(c.Context(), j)
		c.must("dialling", err)
		if line == nil {
			return "a commit has no connection of its own"
		}
		shot := connectors.NewShot(9, c.h.Env.Now().Add(r.about.SendTime), line, c.h.Env.Now)
		_, err = c.client.Commit(c.Context(), j, shot)
		c.want("committing", err, "")
		if line.SetDeadline(time.Now().Add(time.Minute)) == nil {
			c.Error("the connection of the commit was not closed")
		}
		return ""
	})
	r.found(t)
	r.threads(t)
}

var errSave = fmt.Errorf("the disk is full")

// publishOnce publishes a part and compares the truth with the receipt.
func (c *check) publishOnce(p social.Part) {
	c.Helper()
	j := c.job(p)
	got := c.publish(j)
	c.effects(1, "one commit")
	posts := c.h.Truth.Posts()
	if len(posts) != 1 {
		c.Fatalf("%d posts are visible", len(posts))
	}
	if got.RemoteID != posts[0].RemoteID {
		c.Errorf("the receipt names %q, the network %q", got.RemoteID, posts[0].RemoteID)
	}
	if social.NormalText(posts[0].Text) != social.NormalText(p.Text) {
		c.Errorf("the network shows %q, want %q", posts[0].Text, p.Text)
	}
	if posts[0].Parent != "" {
		c.Errorf("the post answers %q", posts[0].Parent)
	}
	if got.URL == "" || got.PublishedAt.IsZero() {
		c.Errorf("the receipt lacks a URL or a time: %+v", got)
	}
}

// resumable is a part whose Prepare has as many steps as this network knows.
func (c *check) resumable() social.Part {
	p := c.picture("killed and gone on")
	l := c.r.about.Limits.Image
	for i := len(p.Media); i < min(l.Max, 3) && p.Media[0].Kind == social.Image; i++ {
		p.Media = append(p.Media, c.medium(social.Image, l.MIME[0], 2000+int64(i)))
	}
	return p
}

// savedStates are nil, every state a preparation saved on its way, and the one
// it returned, each after a journey through JSON as the store makes it.
func (c *check) savedStates() []json.RawMessage {
	c.Helper()
	out := []json.RawMessage{nil}
	j := c.job(c.resumable())
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
		c.note(string(st))
		var v any
		if err := json.Unmarshal(st, &v); err != nil {
			c.Errorf("a saved state is no JSON: %v", err)
		}
		back, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			c.Errorf("a saved state cannot be written again: %v", err)
		}
		out = append(out, back)
		return nil
	}
	p, err := c.prepare(c.Context(), j)
	c.must("preparing", err)
	return append(out, p.State)
}

// killedAfter lets a preparation die right after its k-th save (0: before the
// first), goes on from what was kept, and commits.
func (c *check) killedAfter(k int) {
	c.Helper()
	errKilled := errors.New("killed")
	j := c.job(c.resumable())
	var kept json.RawMessage
	left := k
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
		if left == 0 {
			return errKilled
		}
		if kept = st; left == 1 {
			left = 0
			return errKilled
		}
		left--
		return nil
	}
	_, err := c.prepare(c.Context(), j)
	if err != nil && !errors.Is(err, errKilled) {
		c.must("preparing", err)
	}
	again := *j
	again.State, again.Save = kept, nil
	_, err = c.prepare(c.Context(), &again)
	c.must(fmt.Sprintf("going on after save %d", k), err)
	c.effects(0, fmt.Sprintf("a preparation killed after save %d and gone on with", k))
	_, _, err = c.shoot(c.Context(), &again)
	c.want(fmt.Sprintf("committing what was killed after save %d", k), err, "")
	c.effects(1, fmt.Sprintf("a commit of what was killed after save %d", k))
}

// found checks what Find says when the answer to a commit was not lost.
func (r *runner) found(t *testing.T) {
	if !r.verbs.Find {
		r.na("publishing/find", "nothing can be looked up; an ambiguous attempt goes to a person")
		return
	}
	r.check(t, "publishing/find", "Find shows a post that is there, and none that is not", func(c *check) string {
		j := c.job(c.body("look for me"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		j.ArmedAt = c.h.Env.Now()
		if id, k := c.there(j); id != "" {
			c.Errorf("before the commit Find shows %s (%s)", id, k)
		}
		got, _, err := c.shoot(c.Context(), j)
		c.must("committing", err)
		if id, k := c.there(j); id != got.RemoteID {
			c.Errorf("after the commit Find says %s %q, want %q", k, id, got.RemoteID)
		}
		c.effects(1, "looking twice")
		return ""
	})
	r.check(t, "publishing/find other", "another post of the account is not taken for ours", func(c *check) string {
		if c.h.Stage.Write == nil {
			c.Fatal("the harness has no Stage.Write")
		}
		j := c.job(c.body("mine alone"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		j.ArmedAt = c.h.Env.Now()
		c.h.Stage.Write("mine alonE")
		if id, k := c.there(j); id != "" {
			c.Errorf("Find takes %s for ours (%s)", id, k)
		}
		return ""
	})
	if r.verbs.Get {
		r.check(t, "publishing/get", "a receipt can be checked, and a gone post is told from an outage", func(c *check) string {
			got := c.publish(c.job(c.body("read me back")))
			for _, name := range []string{got.RemoteID, got.URL} {
				k, err := c.client.Get(c.Context(), name)
				c.must("reading "+name, err)
				if k.Receipt.RemoteID != got.RemoteID || k.Excerpt == "" {
					c.Errorf("%s reads back as %+v", name, k)
				}
			}
			if c.h.Stage.Remove == nil {
				c.Fatal("the harness has no Stage.Remove")
			}
			c.h.Stage.Remove(got.RemoteID)
			_, err := c.client.Get(c.Context(), got.RemoteID)
			c.want("reading a removed post", err, connectors.Invalid)
			if e := connectors.AsError(err); e != nil && e.Status != 404 {
				c.Errorf("a gone post has the status %d, want 404", e.Status)
			}
			return ""
		})
	}
	if r.verbs.Delete {
		r.check(t, "publishing/delete", "deleting removes it, and deleting what is gone is no error", func(c *check) string {
			got := c.publish(c.job(c.body("delete me")))
			c.must("deleting", c.client.Delete(c.Context(), got))
			if n := len(c.h.Truth.Posts()); n != 0 {
				c.Errorf("%d posts are left", n)
			}
			c.must("deleting again", c.client.Delete(c.Context(), got))
			return ""
		})
	}
	if r.verbs.Confirm {
		r.check(t, "publishing/confirm", "what was accepted becomes certain", func(c *check) string {
			got := c.publish(c.job(c.body("confirm me")))
			again, err := c.client.Confirm(c.Context(), got)
			c.must("confirming", err)
			if again.RemoteID != got.RemoteID {
				c.Errorf("%s became %s", got.RemoteID, again.RemoteID)
			}
			return ""
		})
	}
}

// threads checks what a delivery of several parts and a reply look like.
func (r *runner) threads(t *testing.T) {
	l := r.about.Limits
	if l.Thread < 2 {
		r.na("publishing/thread", "this network has no threads")
	} else {
		r.check(t, "publishing/thread", "three parts come out in order, each under the one before", func(c *check) string {
			ids := c.several(social.RoleThread)
			for i, p := range c.h.Truth.Posts() {
				want := ""
				if i > 0 {
					want = ids[i-1]
				}
				if p.RemoteID != ids[i] || p.Parent != want {
					c.Errorf("post %d is %s under %q, want %s under %q", i, p.RemoteID, p.Parent, ids[i], want)
				}
			}
			return ""
		})
	}
	if l.Comment < 2 {
		r.na("publishing/comment", "this network has no first comments")
	} else {
		r.check(t, "publishing/comment", "comments go under the body", func(c *check) string {
			ids := c.several(social.RoleComment)
			for i, p := range c.h.Truth.Posts() {
				if i > 0 && p.Parent != ids[0] {
					c.Errorf("comment %d is under %q, want %q", i, p.Parent, ids[0])
				}
			}
			return ""
		})
	}
	r.check(t, "publishing/reply", "an answer to somebody's post goes under it, once", func(c *check) string {
		if c.h.Stage.Write == nil {
			c.Fatal("the harness has no Stage.Write")
		}
		if l.Thread == 0 && l.Comment == 0 {
			return "this network takes no answers"
		}
		id := c.h.Stage.Write("a question?")
		parent := connectors.Receipt{RemoteID: id}
		if r.verbs.Get {
			k, err := c.client.Get(c.Context(), id)
			c.must("reading what is answered", err)
			parent = k.Receipt
		}
		p := part("an answer")
		j := c.job(p)
		j.Kind, j.Parent, j.Root = social.KindReply, &parent, &parent
		j.Fingerprint = c.client.Fingerprint(&p, parent.RemoteID)
		before := c.h.Truth.Effects()
		got := c.publish(j)
		c.effects(before+1, "one answer")
		for _, p := range c.h.Truth.Posts() {
			if p.RemoteID == got.RemoteID && p.Parent != id {
				c.Errorf("the answer is under %q, want %q", p.Parent, id)
			}
		}
		if r.verbs.Find {
			if found, k := c.there(j); found != got.RemoteID {
				c.Errorf("Find says %s %q of the answer, want %q", k, found, got.RemoteID)
			}
		}
		return ""
	})
}

// several publishes a body and two parts of a role, as the scheduler does: each
// after the one before it is known.
func (c *check) several(role social.PartRole) []string {
	c.Helper()
	var receipts []connectors.Receipt
	var ids []string
	for i := range 3 {
		p := c.body(fmt.Sprintf("part %d of 3", i+1))
		j := c.job(p)
		j.Delivery, j.Step = 5000, i
		if i > 0 {
			p.Role = role
			j.Part = &p
			j.Root, j.Parent = &receipts[0], &receipts[i-1]
			if role == social.RoleComment {
				j.Parent = &receipts[0]
			}
			j.Fingerprint = c.client.Fingerprint(&p, j.Parent.RemoteID)
		}
		got := c.publish(j)
		receipts, ids = append(receipts, got), append(ids, got.RemoteID)
	}
	c.effects(3, "three parts")
	if n := len(c.h.Truth.Posts()); n != 3 {
		c.Fatalf("%d posts are visible, want 3", n)
	}
	return ids
}

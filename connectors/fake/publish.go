package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"smi/connectors"
	"smi/internal/social"
)

// Prepare implements connectors.Publisher. It uploads each file (a step that is
// saved), waits while the network works on them, has the network look at the
// post, and for a keyed commit gets a handle for it.
func (c *conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	var none connectors.Preparation
	st, err := readState(j.State)
	if err != nil {
		return none, err
	}
	if j.Part.Role != social.RoleBody && j.Parent == nil || j.Kind == social.KindReply && j.Parent == nil {
		return none, &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "an answer was prepared before what it answers was known"}
	}
	if err := c.call(ctx, OpPrepare, "write", func(_ *account, now time.Time) error {
		if h := c.net.handles[st.Handle]; st.Handle != "" && (h == nil || h.post == "" && (h.dead || !now.Before(h.expires))) {
			st.Class, st.Handle, st.Body, st.Expires = "", "", nil, time.Time{} // the files are still there
		}
		return nil
	}); err != nil {
		return none, err
	}
	if st.Class != "" {
		return c.prepared(st), nil
	}
	for i := len(st.Uploads); i < len(j.Part.Media); i++ {
		id, err := c.upload(ctx, j, &j.Part.Media[i])
		if err != nil {
			return none, err
		}
		st.Uploads = append(st.Uploads, id)
		if err := save(ctx, j, st); err != nil {
			return none, err
		}
	}
	if d := c.net.o.ProcessTime; d > 0 && len(st.Uploads) > 0 {
		now := c.net.o.Now()
		if st.ReadyAt.IsZero() {
			st.ReadyAt = now.Add(d)
			if err := save(ctx, j, st); err != nil {
				return none, err
			}
		}
		if left := st.ReadyAt.Sub(now); left > 0 {
			return connectors.Preparation{State: mustJSON(st), Again: left}, nil
		}
	}
	if err := c.handIn(ctx, j, &st); err != nil {
		return none, err
	}
	return c.prepared(st), nil
}

func (c *conn) prepared(st state) connectors.Preparation {
	return connectors.Preparation{
		State:       mustJSON(st),
		Class:       st.Class,
		Expires:     st.Expires,
		RequestHash: connectors.RequestHash(st.Body),
	}
}

func save(ctx context.Context, j *connectors.Job, st state) error {
	if j.Save == nil {
		return nil
	}
	if err := j.Save(ctx, mustJSON(st), st.Expires); err != nil {
		return fmt.Errorf("keeping the state of a preparation: %w", err)
	}
	return nil
}

// upload sends one file. The network refuses bytes that are not those announced.
func (c *conn) upload(ctx context.Context, j *connectors.Job, m *social.Media) (id string, err error) {
	if j.Media == nil {
		return "", &connectors.Error{Kind: connectors.Unsupported, Op: "upload", Text: "the post has media and nobody to read them from"}
	}
	f, err := j.Media.Open(ctx, m.Hash)
	if err != nil {
		return "", fmt.Errorf("opening a file of the post: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return "", fmt.Errorf("reading a file of the post: %w", err)
	}
	err = c.call(ctx, OpUpload, "write", func(*account, time.Time) error {
		if size != m.Bytes || hex.EncodeToString(h.Sum(nil)) != m.Hash {
			return refused(OpUpload, connectors.Invalid, http.StatusBadRequest, "the file's bytes are not those that were announced")
		}
		c.net.seq++
		id = fmt.Sprintf("upload-%d", c.net.seq)
		return nil
	})
	return id, err
}

// handIn shows the post to the network and fixes the bytes of the commit.
func (c *conn) handIn(ctx context.Context, j *connectors.Job, st *state) error {
	d := draft{Account: c.acct.RemoteID, Text: j.Part.Text, Langs: j.Part.Langs, Media: social.Kinds(j.Part.Media), Uploads: st.Uploads, Options: j.Part.Options}
	if j.Part.Link != nil {
		d.Link = j.Part.Link.URL
	}
	if j.Root != nil {
		d.Root = j.Root.RemoteID
	}
	if j.Parent != nil {
		d.Parent = j.Parent.RemoteID
	}
	p := content{text: d.Text, langs: len(d.Langs), link: d.Link != "", options: d.Options, body: j.Part.Role == social.RoleBody}
	for _, m := range j.Part.Media {
		p.media = append(p.media, file{m.Kind, m.MIME, m.Bytes, uniseg.GraphemeClusterCount(m.Alt), int64(m.Duration)})
	}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	now := c.net.settle()
	a := c.net.accounts[c.acct.RemoteID]
	if no := c.net.refuse(p); no != nil {
		return no
	}
	st.Class = a.class
	st.Body = mustJSON(d)
	if a.class == connectors.Keyed {
		c.net.seq++
		st.Handle = fmt.Sprintf("handle-%d", c.net.seq)
		st.Expires = now.Add(c.net.o.HandleLife)
		c.net.handles[st.Handle] = &handle{account: c.acct.RemoteID, draft: d, expires: st.Expires}
		st.Body = mustJSON(map[string]string{"handle": st.Handle})
	}
	return nil
}

// Commit implements connectors.Publisher.
func (c *conn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	var none connectors.Receipt
	shot, err := connectors.ShotFrom(ctx)
	if err != nil {
		return none, err
	}
	st, err := readState(j.State)
	if err != nil {
		return none, err
	}
	if st.Class == "" {
		return none, &connectors.Error{Kind: connectors.Unsupported, Op: "commit", Text: "the part was not prepared"}
	}
	g, err := c.creds.Grant(ctx)
	if err != nil {
		return none, err
	}
	line, err := shot.Take()
	if line != nil {
		defer line.Close() //nolint:errcheck // this network writes nothing to it
	}
	if err != nil {
		return none, err
	}
	if err := ctx.Err(); err != nil {
		return none, cut(OpCommit, false, err)
	}
	c.net.mu.Lock()
	f, latency := c.knobs().next(OpCommit)
	c.net.mu.Unlock()
	if err := wait(ctx, f.Before); err != nil {
		return none, cut(OpCommit, false, err)
	}
	if f.Do == CutBeforeWrite {
		f.met()
		return none, cut(OpCommit, false, errReset)
	}
	if err := shot.BeforeByte(); err != nil {
		return none, err
	}
	shot.Wrote(len(st.Body))

	// From here the network acts, whatever becomes of the client.
	r, err := c.arrive(f, g, st.Body, origin{j.Delivery, j.Step, shot.Attempt, connectors.RequestHash(st.Body)})
	f.met()
	switch f.Do {
	case CutBeforeEffect, CutAfterEffect, Park:
		if e := wait(ctx, latency+f.Delay); e != nil {
			return none, cut(OpCommit, true, e)
		}
		return none, cut(OpCommit, true, errReset)
	case Hang, HangBefore:
		<-ctx.Done()
		return none, cut(OpCommit, true, ctx.Err())
	}
	if e := wait(ctx, latency+f.Delay); e != nil {
		return none, cut(OpCommit, true, e)
	}
	shot.Answered()
	switch {
	case err != nil:
		return none, err
	case f.Do == FailAfterEffect:
		return none, f.refusal(OpCommit)
	case f.Do == Garbage:
		return none, garbled(OpCommit)
	case f.Do == WithoutID:
		return none, nil
	}
	return r, nil
}

// arrive is what the network does with the bytes of a commit.
func (c *conn) arrive(f Fault, g connectors.Grant, body []byte, o origin) (connectors.Receipt, error) {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.settle()
	switch f.Do {
	case Refuse:
		return connectors.Receipt{}, f.refusal(OpCommit)
	case CutBeforeEffect, HangBefore:
		return connectors.Receipt{}, nil
	}
	known, dead := n.signed(OpCommit, g.Access)
	if dead != nil {
		return connectors.Receipt{}, dead
	}
	if _, no := n.may(OpCommit, known, c.acct.RemoteID, "write"); no != nil {
		return connectors.Receipt{}, no
	}
	d, h, no := n.read(body, c.acct.RemoteID, now)
	if no != nil {
		return connectors.Receipt{}, no
	}
	if h != nil && h.post != "" { // the same handle again: no second post
		if p := n.find(h.post); p != nil {
			return receipt(p, now), nil
		}
		return connectors.Receipt{}, refused(OpCommit, connectors.Invalid, http.StatusBadRequest, "the post of this handle was removed")
	}
	if no := n.refuseRepeat(d, now); no != nil {
		return connectors.Receipt{}, no
	}
	apply := func(at time.Time) connectors.Receipt {
		if h != nil && h.post != "" {
			return connectors.Receipt{} // a parked twin was faster
		}
		p := n.publish(d, at, o)
		if h != nil {
			h.post = p.RemoteID
		}
		return receipt(p, now)
	}
	if f.Do == Park {
		n.parked = append(n.parked, parkedPost{at: now.Add(f.After), make: func(at time.Time) { apply(at) }})
		return connectors.Receipt{}, nil
	}
	return apply(now), nil
}

// read understands the bytes of a commit. The lock is held.
func (n *Network) read(body []byte, remoteID string, now time.Time) (draft, *handle, *connectors.Error) {
	var in struct {
		Handle string `json:"handle"`
		draft
	}
	bad := refused(OpCommit, connectors.Invalid, http.StatusBadRequest, "the network does not understand the request")
	if err := json.Unmarshal(body, &in); err != nil {
		return draft{}, nil, bad
	}
	if !strings.HasPrefix(in.Handle, "handle-") {
		if in.Account != remoteID {
			return draft{}, nil, bad
		}
		return in.draft, nil, nil
	}
	h := n.handles[in.Handle]
	if h == nil || h.account != remoteID || h.post == "" && (h.dead || !now.Before(h.expires)) {
		// Nothing happened, and preparing again makes a new handle.
		e := refused(OpCommit, connectors.Transient, http.StatusBadRequest, "what was prepared has run out at the network")
		e.Code = "handle_dead"
		return draft{}, nil, e
	}
	return h.draft, h, nil
}

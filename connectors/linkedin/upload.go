package linkedin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/connectors/internal/seal"
	"smi/internal/social"
)

// file is an uploaded file. Nothing of it is visible before a post names it.
type file struct {
	URN   string    `json:"urn"`
	At    time.Time `json:"at,omitzero"`     // when its last byte had gone up
	Ready bool      `json:"ready,omitempty"` // the network says that it can be used, or may not be asked
	// Of videos, whose parts go up one by one.
	Token   string    `json:"token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Parts   []part    `json:"parts,omitempty"`
}

// part is a piece of a video. To is the address it goes to, sealed; ETag is what
// the network called it once it had it.
type part struct {
	To    string `json:"to"`
	First int64  `json:"first"`
	Last  int64  `json:"last"`
	ETag  string `json:"etag,omitempty"`
}

// How long to wait before asking again whether a file is ready.
const (
	pollPicture = 2 * time.Second
	pollVideo   = 10 * time.Second
)

// A file of which the network knows nothing so long after it went up is sent
// again, at most so many times for one post: then the network says at the minute
// whether it can be used.
const (
	lostAfter = 2 * time.Minute
	mostLost  = 2
)

// partFiles are the files of a part: its media, then the picture of its card.
func partFiles(p *social.Part) []*social.Media {
	var out []*social.Media
	for i := range p.Media {
		out = append(out, &p.Media[i])
	}
	if p.Link != nil && p.Link.Thumb != nil {
		out = append(out, p.Link.Thumb)
	}
	return out
}

// upload puts the part's files on the network. It says how long to wait before
// it should be called again, 0 once all can be used.
func (c *conn) upload(ctx context.Context, j *connectors.Job, d *draft) (time.Duration, error) {
	files := partFiles(j.Part)
	if len(files) == 0 {
		return 0, nil
	}
	now := c.p.env.Now()
	// A post that may be there already must name the very same files if it is sent
	// again, so that the network knows it.
	if j.Unproven == 0 && !d.Began.IsZero() && now.Sub(d.Began) > c.p.cfg.MediaLife {
		d.Files, d.Request = nil, ""
	}
	if d.Files == nil {
		d.Files, d.Began, d.Attempt = map[string]*file{}, now, j.Attempt
	}
	if j.Attempt > d.Attempt { // the one before was refused, perhaps because of them
		d.Attempt = j.Attempt
		for _, f := range d.Files {
			f.Ready = f.Ready && j.Unproven > 0 // if it may be there, they were good
		}
	}
	var wait time.Duration
	for i, m := range files {
		field := fmt.Sprintf("media[%d]", i)
		if i >= len(j.Part.Media) {
			field = "link"
		}
		if err := c.send(ctx, j, d, m); err != nil {
			return 0, within(err, field)
		}
	}
	for i, m := range files {
		field := fmt.Sprintf("media[%d]", i)
		if i >= len(j.Part.Media) {
			field = "link"
		}
		more, err := c.ready(ctx, d, m)
		if err != nil {
			return 0, within(err, field)
		}
		wait = max(wait, more)
	}
	return wait, nil
}

// within says of a refusal which file it is about.
func within(err error, field string) error {
	e := *connectors.AsError(err)
	if e.Kind == connectors.Invalid {
		e.Field = field
	}
	return &e
}

// collection is where files of a kind are.
func collection(k social.MediaKind) string {
	switch k {
	case social.Video:
		return "videos"
	case social.Document:
		return "documents"
	case social.Image, social.GIF:
	}
	return "images"
}

// send uploads what is missing of a file, and keeps each step.
func (c *conn) send(ctx context.Context, j *connectors.Job, d *draft, m *social.Media) error {
	f := d.Files[m.Hash]
	if f != nil && !f.At.IsZero() {
		return nil
	}
	if m.Kind == social.Video {
		return c.sendVideo(ctx, j, d, m)
	}
	begun, err := c.begin(ctx, m)
	if err != nil {
		return err
	}
	if _, err := c.put(ctx, j, m, begun.Value.URL, 0, m.Bytes-1); err != nil {
		return err
	}
	d.Files[m.Hash] = &file{URN: begun.urn(), At: c.p.env.Now()}
	return d.save(ctx, j, c.p.cfg.MediaLife)
}

// begin asks for the name of a file and where it goes. Asking twice makes two
// names, of which one is never used.
func (c *conn) begin(ctx context.Context, m *social.Media) (upload, error) {
	req := uploadRequest{Owner: c.account.RemoteID}
	if m.Kind == social.Video {
		no := false
		req.Bytes, req.Captions, req.Thumbnail = m.Bytes, &no, &no
	}
	var out upload
	_, err := c.http.Do(ctx, api.Call{
		Op: collection(m.Kind) + ".initializeUpload", Method: http.MethodPost, URL: c.url("/rest/"+collection(m.Kind), "action=initializeUpload"),
		Header: c.headers(""), JSON: beginUpload{req}, Out: &out, Repeatable: true,
	})
	return out, err
}

// put sends the bytes from first to last, both included, and returns the ETag.
func (c *conn) put(ctx context.Context, j *connectors.Job, m *social.Media, to string, first, last int64) (string, error) {
	a, err := c.http.Do(ctx, api.Call{
		Op: collection(m.Kind) + ".upload", Method: http.MethodPut, URL: to, Repeatable: true,
		BodyFunc: func() (io.ReadCloser, error) { return section(ctx, j, m, first, last) }, Size: last - first + 1,
		ContentType: "application/octet-stream", Timeout: time.Minute + time.Duration((last-first)/100_000)*time.Second,
	})
	return a.Header.Get("ETag"), err
}

// section opens a piece of a file.
func section(ctx context.Context, j *connectors.Job, m *social.Media, first, last int64) (io.ReadCloser, error) {
	f, err := j.Media.Open(ctx, m.Hash)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(first, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, last-first+1), f}, nil
}

// sendVideo uploads a video piece by piece: after a restart it goes on with the
// first piece that is missing.
func (c *conn) sendVideo(ctx context.Context, j *connectors.Job, d *draft, m *social.Media) error {
	f := d.Files[m.Hash]
	if f == nil || !f.Expires.IsZero() && f.Expires.Before(c.p.env.Now().Add(time.Minute)) {
		begun, err := c.begin(ctx, m)
		if err != nil {
			return err
		}
		f = &file{URN: begun.urn(), Token: begun.Value.Token, Expires: begun.Value.Expires.at()}
		if err := f.pieces(&c.p.cfg, begun, m.Bytes); err != nil {
			return err
		}
		d.Files[m.Hash] = f
		if err := d.save(ctx, j, c.p.cfg.MediaLife); err != nil {
			return err
		}
	}
	var ids []string
	for i := range f.Parts {
		p := &f.Parts[i]
		if p.ETag == "" {
			to, ok := c.p.cfg.opened(p.To)
			if !ok {
				return c.anew(ctx, j, d, m, &connectors.Error{Kind: connectors.Transient, Op: "videos.upload", Text: "the app's secret was changed while the video was being uploaded; it is uploaded again"})
			}
			tag, err := c.put(ctx, j, m, to, p.First, p.Last)
			switch {
			case isCode(err, codeUploadExpired):
				return c.anew(ctx, j, d, m, &connectors.Error{Kind: connectors.Transient, Op: "videos.upload", Code: codeUploadExpired, Text: "the address to which the video was being uploaded has expired; it is uploaded again"})
			case err != nil:
				return err
			case tag == "":
				return &connectors.Error{Kind: connectors.Transient, Op: "videos.upload", Text: "LinkedIn took a part of the video without naming it"}
			}
			if p.ETag = tag; c.p.cfg.StripETags {
				p.ETag = strings.Trim(tag, `"`)
			}
			if err := d.save(ctx, j, c.p.cfg.MediaLife); err != nil {
				return err
			}
		}
		ids = append(ids, p.ETag)
	}
	_, err := c.http.Do(ctx, api.Call{
		Op: "videos.finalizeUpload", Method: http.MethodPost, URL: c.url("/rest/videos", "action=finalizeUpload"), Header: c.headers(""),
		JSON: finishUpload{finishRequest{Video: f.URN, Token: f.Token, Parts: ids}}, Repeatable: true,
	})
	if connectors.KindOf(err) == connectors.Invalid {
		// It may have been ended by an earlier call whose answer was lost.
		if st, serr := c.asset(ctx, m, f.URN); serr != nil || st.Status == statusWaiting {
			delete(d.Files, m.Hash)
			return err
		}
	} else if err != nil {
		return err
	}
	f.At, f.Parts, f.Token, f.Expires = c.p.env.Now(), nil, "", time.Time{}
	return d.save(ctx, j, c.p.cfg.MediaLife)
}

// anew forgets what is there of a file, so that the next Prepare begins it again
// and does not come back to what was kept; why is the error of this one.
func (c *conn) anew(ctx context.Context, j *connectors.Job, d *draft, m *social.Media, why error) error {
	delete(d.Files, m.Hash)
	if err := d.save(ctx, j, c.p.cfg.MediaLife); err != nil {
		return err
	}
	return why
}

// pieces takes over the pieces that the network wants, which must be the whole
// file.
func (f *file) pieces(cfg *Config, begun upload, size int64) error {
	box, err := cfg.box()
	if err != nil {
		return fmt.Errorf("sealing the addresses of the pieces: %w", err)
	}
	next := int64(0)
	for _, p := range begun.Value.Parts {
		one := part{First: int64(p.First), Last: int64(p.Last)}
		if p.URL == "" || one.First != next || one.Last < one.First || one.Last >= size {
			break
		}
		one.To = box.Seal(p.URL)
		next = one.Last + 1
		f.Parts = append(f.Parts, one)
	}
	if next != size || len(f.Parts) != len(begun.Value.Parts) {
		return &connectors.Error{Kind: connectors.Unknown, Op: "videos.initializeUpload", Text: fmt.Sprintf("LinkedIn asks for other pieces than those of a video of %d bytes", size)}
	}
	return nil
}

// The statuses of an uploaded file (Images API, Videos API; read 2026-08-22).
const (
	statusAvailable = "AVAILABLE"
	statusFailed    = "PROCESSING_FAILED"
	statusWaiting   = "WAITING_UPLOAD"
)

// asset asks how far a file is.
func (c *conn) asset(ctx context.Context, m *social.Media, urn string) (asset, error) {
	var a asset
	_, err := c.get(ctx, collection(m.Kind)+".get", "/rest/"+collection(m.Kind)+"/"+enc(urn), "", &a)
	return a, err
}

// ready asks whether a file can be used, and how long to wait if not yet. A
// login that may not ask waits for a while and hopes: a post that comes too
// early is refused before anything happens.
func (c *conn) ready(ctx context.Context, d *draft, m *social.Media) (time.Duration, error) {
	f := d.Files[m.Hash]
	if f.Ready {
		return 0, nil
	}
	wait := pollPicture
	if m.Kind == social.Video {
		wait = pollVideo
	}
	a, err := c.asset(ctx, m, f.URN)
	switch {
	case isStatus(err, http.StatusForbidden):
		if left := f.At.Add(c.p.cfg.MediaWait).Sub(c.p.env.Now()); left > 0 {
			return left, nil
		}
		f.Ready = true
		return 0, nil
	case isStatus(err, http.StatusNotFound):
		if c.p.env.Now().Sub(f.At) > lostAfter {
			if d.Lost >= mostLost {
				f.Ready = true
				return 0, nil
			}
			d.Lost++
			delete(d.Files, m.Hash)
			d.Request = ""
		}
		return wait, nil
	case err != nil:
		return 0, err
	}
	switch a.Status {
	case statusAvailable:
		f.Ready = true
		return 0, nil
	case statusFailed:
		return 0, &connectors.Error{Kind: connectors.Invalid, Op: collection(m.Kind), Code: statusFailed, Text: "LinkedIn could not use the file" + api.Quoted(a.Reason)}
	case statusWaiting:
		if c.p.env.Now().Sub(f.At) > lostAfter { // its bytes are lost
			delete(d.Files, m.Hash)
			d.Request = ""
		}
	}
	return wait, nil
}

// save keeps the draft in the middle of a Prepare.
func (d *draft) save(ctx context.Context, j *connectors.Job, life time.Duration) error {
	if j.Save == nil {
		return nil
	}
	state, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keeping the uploaded files: %w", err)
	}
	return j.Save(ctx, state, d.Began.Add(life))
}

// box hides the addresses to which the pieces of a video go, which let whoever has
// them write there: after the app's secret was changed an upload begins again.
func (c *Config) box() (seal.Box, error) {
	if c.ClientSecret.Empty() {
		return seal.Box{}, errors.New("linkedin.client_secret is not set")
	}
	return seal.New(c.ClientSecret, "smi linkedin upload address")
}

// opened returns a sealed address; false if it cannot be read any more.
func (c *Config) opened(sealed string) (string, bool) {
	box, err := c.box()
	if err != nil {
		return "", false
	}
	return box.Open(sealed)
}

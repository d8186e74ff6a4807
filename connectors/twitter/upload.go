package twitter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// file is a file on its way to X (docs.x.com, Media upload, read 2026-08-22).
// Pictures go up in one request; GIFs and videos are announced, sent in pieces
// and finished, and then X looks at them.
type file struct {
	Hash     string    `json:"hash"`
	ID       string    `json:"id,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Piece    int64     `json:"piece,omitempty"`    // how large the pieces are, from the first to the last
	Segment  int       `json:"segment,omitempty"`  // the next piece
	Finished bool      `json:"finished,omitempty"` // all pieces are there
	Ready    bool      `json:"ready,omitempty"`    // X has looked at it
	Anew     bool      `json:"anew,omitempty"`     // it went up before, and X did not know it any more
	Alt      string    `json:"alt,omitempty"`      // the description that X has
}

// segmentsAtOnce is how many pieces one Prepare sends before it lets others have
// their turn.
const segmentsAtOnce = 64

// codeFailed is what smi calls it where X could not use a file.
const codeFailed = "processing-failed"

// fileLife is how long a file is kept where X does not say it: a day.
const fileLife = 24 * time.Hour

// upload puts the part's files on the network. It says how long to wait before
// it should be called again, 0 once all are there.
func (c *conn) upload(ctx context.Context, j *connectors.Job, d *draft) (time.Duration, error) {
	if len(d.Files) != len(j.Part.Media) || j.Attempt > d.Attempt || !d.expires().IsZero() && !j.Now.Before(d.expires()) {
		d.Files, d.Attempt, d.Request = make([]file, len(j.Part.Media)), j.Attempt, ""
	}
	for i := range j.Part.Media {
		m, f := &j.Part.Media[i], &d.Files[i]
		if f.Hash != m.Hash {
			*f = file{Hash: m.Hash}
		}
		wait, err := c.uploadOne(ctx, j, d, m, f)
		if err != nil {
			e := *connectors.AsError(err)
			if e.Kind == connectors.Invalid && e.Field != fieldAlt {
				e.Field = ""
			}
			if e.Kind == connectors.Invalid {
				e.Field = fmt.Sprintf("media[%d]%s", i, e.Field)
			}
			return 0, &e
		}
		if wait > 0 {
			return wait, nil
		}
	}
	return 0, nil
}

// fieldAlt marks a refusal of the description, not of the file.
const fieldAlt = ".alt"

// uploadOne takes one file as far as it gets. What X has is kept after each
// step.
func (c *conn) uploadOne(ctx context.Context, j *connectors.Job, d *draft, m *social.Media, f *file) (time.Duration, error) {
	if !f.Ready {
		var wait time.Duration
		var err error
		if m.Kind == social.Image {
			err = c.uploadImage(ctx, j, m, f)
		} else {
			wait, err = c.uploadPieces(ctx, j, d, m, f)
			err = d.refused(ctx, j, f, err)
		}
		if err != nil || wait > 0 {
			return wait, err
		}
		if err := d.save(ctx, j); err != nil {
			return 0, err
		}
	}
	if m.Alt == f.Alt || !hasAlt(m.Kind) {
		return 0, nil
	}
	if err := c.describe(ctx, f.ID, m.Alt); err != nil {
		return 0, err
	}
	f.Alt = m.Alt
	return 0, d.save(ctx, j)
}

// save keeps the draft in the middle of a Prepare.
func (d *draft) save(ctx context.Context, j *connectors.Job) error {
	if j.Save == nil {
		return nil
	}
	state, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keeping the uploaded files: %w", err)
	}
	return j.Save(ctx, state, d.expires())
}

// refused forgets an upload that X does not go on with: kept, it would be
// refused for a day. One that X does not know any more goes up anew, once.
func (d *draft) refused(ctx context.Context, j *connectors.Job, f *file, err error) error {
	e := connectors.AsError(err)
	if e == nil || e.Kind != connectors.Invalid || f.ID == "" {
		return err
	}
	again := !f.Anew && e.Code != codeFailed
	*f = file{Hash: f.Hash, Anew: again}
	if err := d.save(ctx, j); err != nil {
		return err
	}
	if !again {
		return err
	}
	return &connectors.Error{
		Kind: connectors.Transient, Op: e.Op, Status: e.Status, Code: e.Code, RequestID: e.RequestID, Err: err,
		Text: "X does not go on with the upload of a file; it is sent anew",
	}
}

// category is what X calls the use of a file.
func category(k social.MediaKind) string {
	switch k {
	case social.GIF:
		return "tweet_gif"
	case social.Video:
		return "tweet_video"
	case social.Image, social.Document:
	}
	return "tweet_image"
}

func (c *conn) uploadImage(ctx context.Context, j *connectors.Job, m *social.Media, f *file) error {
	b := newForm()
	b.field("media_category", category(m.Kind))
	b.field("media_type", m.MIME)
	b.file("media", m.MIME)
	var out uploaded
	_, err := c.http.Do(ctx, b.call(api.Call{
		Op: "uploadMedia", URL: c.p.url("/2/media/upload"), Repeatable: true, Bucket: "upload", Timeout: uploadTime(m.Bytes), Out: &out,
	}, m.Bytes, func() (io.ReadCloser, error) { return j.Media.Open(ctx, m.Hash) }))
	if err != nil {
		return err
	}
	f.ID, f.Expires, f.Ready = out.Data.ID, expiry(out, j.Now), true
	return nil
}

func expiry(u uploaded, now time.Time) time.Time {
	if s, ok := number(u.Data.Expires); ok && s > 0 {
		return now.Add(min(time.Duration(s)*time.Second, fileLife))
	}
	return now.Add(fileLife)
}

// uploadPieces sends a GIF or a video.
func (c *conn) uploadPieces(ctx context.Context, j *connectors.Job, d *draft, m *social.Media, f *file) (time.Duration, error) {
	if f.ID == "" {
		var out uploaded
		_, err := c.http.Do(ctx, api.Call{
			Op: "initializeUpload", URL: c.p.url("/2/media/upload/initialize"), Repeatable: true, Bucket: "initialize", Out: &out,
			JSON: map[string]any{"media_type": m.MIME, "media_category": category(m.Kind), "total_bytes": m.Bytes},
		})
		if err != nil {
			return 0, err
		}
		f.ID, f.Expires, f.Piece = out.Data.ID, expiry(out, j.Now), c.p.cfg.segment(m.Bytes)
		if err := d.save(ctx, j); err != nil {
			return 0, err
		}
	}
	if f.Piece <= 0 {
		f.Piece = c.p.cfg.segment(m.Bytes)
	}
	size := f.Piece // and not that of the settings, which may have changed since
	for sent := 0; int64(f.Segment)*size < m.Bytes; sent++ {
		if sent == segmentsAtOnce {
			return time.Second, nil
		}
		if err := c.append(ctx, j, m, f, size); err != nil {
			return 0, err
		}
		f.Segment++
		if err := d.save(ctx, j); err != nil {
			return 0, err
		}
	}
	var out uploaded
	call := api.Call{Op: "uploadStatus", URL: c.p.url("/2/media/upload"), Query: url.Values{"command": {"STATUS"}, "media_id": {f.ID}}, Bucket: "status", Out: &out}
	if !f.Finished {
		call = api.Call{
			Op: "finalizeUpload", Method: http.MethodPost, URL: c.p.url("/2/media/upload/" + f.ID + "/finalize"), Repeatable: true, Bucket: "finalize", Out: &out,
		}
	}
	if _, err := c.http.Do(ctx, call); err != nil {
		return 0, err
	}
	f.Finished = true
	return f.processed(out.Data.Processing)
}

// segment is how large the pieces of a file are.
func (c *Config) segment(total int64) int64 {
	return max(c.SegmentBytes, (total+maxSegments-1)/maxSegments)
}

// append sends the next piece. A piece may be sent again with the same index.
func (c *conn) append(ctx context.Context, j *connectors.Job, m *social.Media, f *file, size int64) error {
	from := int64(f.Segment) * size
	n := min(size, m.Bytes-from)
	b := newForm()
	b.field("segment_index", strconv.Itoa(f.Segment))
	b.file("media", "application/octet-stream")
	_, err := c.http.Do(ctx, b.call(api.Call{
		Op: "appendUpload", URL: c.p.url("/2/media/upload/" + f.ID + "/append"), Repeatable: true, Bucket: "append", Timeout: uploadTime(n),
	}, n, func() (io.ReadCloser, error) {
		r, err := j.Media.Open(ctx, m.Hash)
		if err != nil {
			return nil, err
		}
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			r.Close() //nolint:errcheck // was not read
			return nil, err
		}
		return section{io.LimitReader(r, n), r}, nil
	}))
	return err
}

type section struct {
	io.Reader
	io.Closer
}

// processed says what X makes of a file that is there as a whole.
func (f *file) processed(p *processing) (time.Duration, error) {
	if p == nil || p.State == "succeeded" {
		f.Ready = true
		return 0, nil
	}
	if p.State == "failed" {
		said := ""
		if p.Error != nil {
			said = p.Error.Message
		}
		return 0, &connectors.Error{Kind: connectors.Invalid, Op: "uploadStatus", Code: codeFailed, Text: "X cannot use this file" + api.Quoted(said) + "; convert it to MP4 (H.264, AAC) or make it smaller"}
	}
	wait := 5 * time.Second
	if s, ok := number(p.After); ok && s > 0 {
		wait = min(time.Duration(s)*time.Second, 10*time.Minute)
	}
	return wait, nil
}

// describe sets the description of a file. It may be set again.
func (c *conn) describe(ctx context.Context, id, text string) error {
	type alt struct {
		Text string `json:"text"`
	}
	type metadata struct {
		Alt alt `json:"alt_text"`
	}
	_, err := c.http.Do(ctx, api.Call{
		Op: "mediaMetadata", URL: c.p.url("/2/media/metadata"), Repeatable: true, Bucket: "metadata",
		JSON: struct {
			ID       string   `json:"id"`
			Metadata metadata `json:"metadata"`
		}{id, metadata{alt{text}}},
	})
	if connectors.KindOf(err) == connectors.Invalid {
		e := *connectors.AsError(err)
		e.Field = fieldAlt
		return &e
	}
	return err
}

// uploadTime is how long an upload may take: a minute and a second for each
// 100 kB.
func uploadTime(size int64) time.Duration {
	return time.Minute + time.Duration(size/100_000)*time.Second
}

// form is a multipart form whose file is streamed.
type form struct {
	b bytes.Buffer
	w *multipart.Writer
}

func newForm() *form {
	f := &form{}
	f.w = multipart.NewWriter(&f.b)
	return f
}

// field and file write to memory, which does not fail.
func (f *form) field(name, value string) { f.w.WriteField(name, value) } //nolint:errcheck // see above

func (f *form) file(name, mime string) {
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename="file"`, name))
	h.Set("Content-Type", mime)
	f.w.CreatePart(h) //nolint:errcheck // see above
}

// call makes a call of the form with size bytes as its file, which comes last.
func (f *form) call(k api.Call, size int64, open func() (io.ReadCloser, error)) api.Call {
	head := bytes.Clone(f.b.Bytes())
	f.w.Close() //nolint:errcheck // see above
	tail := bytes.Clone(f.b.Bytes()[len(head):])
	k.ContentType, k.Size = f.w.FormDataContentType(), int64(len(head))+size+int64(len(tail))
	k.BodyFunc = func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		return section{io.MultiReader(bytes.NewReader(head), r, bytes.NewReader(tail)), r}, nil
	}
	return k
}

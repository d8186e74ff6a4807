package mastodon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// file is an uploaded file.
type file struct {
	Hash  string `json:"hash"`
	ID    string `json:"id,omitempty"` // "": it is not there (any more)
	Ready bool   `json:"ready,omitempty"`
}

// fileLife is how long an uploaded file is relied upon before a post shows it.
// Servers keep them for about a day.
const fileLife = time.Hour

// mediaWait is how long to wait between two looks at a file in work.
const mediaWait = 3 * time.Second

// ids are the server's names of the files.
func (d *draft) ids() []string {
	var out []string
	for _, f := range d.Files {
		out = append(out, f.ID)
	}
	return out
}

// upload puts the part's files on the server and looks whether it has processed
// them. It says how long to wait before it should be called again, 0 once all
// are ready. A file that went up twice is an orphan that nobody sees, which the
// server throws away.
func (r *remote) upload(ctx context.Context, j *connectors.Job, d *draft) (time.Duration, error) {
	if len(j.Part.Media) == 0 {
		return 0, nil
	}
	if len(d.Files) != len(j.Part.Media) || j.Now.Sub(d.Uploaded) > fileLife*3/4 {
		d.Files = nil
	}
	if d.Files == nil {
		d.Uploaded, d.Checked = j.Now.UTC(), j.Attempt
		for i := range j.Part.Media {
			d.Files = append(d.Files, file{Hash: j.Part.Media[i].Hash})
		}
	}
	if j.Attempt > d.Checked { // the attempt may have been refused because one is gone
		for i := range d.Files {
			d.Files[i].Ready = false
		}
		d.Checked = j.Attempt
	}
	focus, err := focusOf(j.Part)
	if err != nil {
		return 0, &connectors.Error{Kind: connectors.Invalid, Op: "upload", Field: "options." + optionFocus, Text: err.Error()}
	}
	var wait time.Duration
	for i := range d.Files {
		f := &d.Files[i]
		if f.ID != "" && !f.Ready {
			if err := r.lookAt(ctx, f); err != nil {
				return 0, inMedia(err, i)
			}
		}
		if f.ID == "" {
			if err := r.uploadFile(ctx, j, &j.Part.Media[i], focus[i], f); err != nil {
				return 0, inMedia(err, i)
			}
			if err := d.save(ctx, j, r.c.p.cfg.KeyWindow); err != nil {
				return 0, err
			}
		}
		if !f.Ready {
			wait = mediaWait // the others can go up meanwhile
		}
	}
	return wait, nil
}

// inMedia says of which file a refusal is.
func inMedia(err error, i int) error {
	e := *connectors.AsError(err)
	if e.Kind == connectors.Invalid {
		field := fmt.Sprintf("media[%d]", i)
		if e.Field == "media.alt" {
			field += ".alt"
		}
		e.Field = field
	}
	return &e
}

// save keeps the draft in the middle of a Prepare.
func (d *draft) save(ctx context.Context, j *connectors.Job, window time.Duration) error {
	if j.Save == nil {
		return nil
	}
	state, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keeping the uploaded files: %w", err)
	}
	return j.Save(ctx, state, d.expires(window))
}

// lookAt asks how far the server is with a file: 206 says that it works on it,
// 404 that it is gone or in a post already (docs.joinmastodon.org, methods/media,
// read 2026-07-02).
func (r *remote) lookAt(ctx context.Context, f *file) error {
	a, err := r.get(ctx, "getMedia", "/api/v1/media/"+url.PathEscape(f.ID), nil, nil)
	switch {
	case err == nil:
		f.Ready = a.Status == http.StatusOK
		return nil
	case isGone(err):
		*f = file{Hash: f.Hash}
		return nil
	}
	return err
}

// uploadTime is how long an upload may take: a minute and a second for each
// 100 kB.
func uploadTime(m *social.Media) time.Duration {
	return time.Minute + time.Duration(m.Bytes/100_000)*time.Second
}

// uploadFile sends a file with its description and focal point. The answer 202
// says that the server still works on it.
func (r *remote) uploadFile(ctx context.Context, j *connectors.Job, m *social.Media, focus string, f *file) error {
	head, tail, ctype, err := envelope(m, focus)
	if err != nil {
		return err
	}
	var out attachment
	a, err := r.http.Do(ctx, api.Call{
		Op: "media", Method: http.MethodPost, URL: r.base.String() + "/api/v2/media", Repeatable: true, Bucket: bucketMedia,
		BodyFunc: func() (io.ReadCloser, error) {
			in, err := j.Media.Open(ctx, m.Hash)
			if err != nil {
				return nil, err
			}
			return wrapped{io.MultiReader(bytes.NewReader(head), in, bytes.NewReader(tail)), in}, nil
		},
		Size: int64(len(head)) + m.Bytes + int64(len(tail)), ContentType: ctype, Timeout: uploadTime(m), Out: &out,
	})
	if err != nil {
		return err
	}
	f.ID, f.Ready = out.ID, a.Status == http.StatusOK
	return nil
}

// Validate asks for the name of a file.
func (a attachment) Validate() error {
	if a.ID == "" {
		return missing("id")
	}
	return nil
}

type wrapped struct {
	io.Reader
	io.Closer
}

// envelope is what stands before and after the bytes of a file in a form.
func envelope(m *social.Media, focus string) (head, tail []byte, ctype string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	name := m.Hash[:min(16, len(m.Hash))]
	if ext, err := mime.ExtensionsByType(m.MIME); err == nil && len(ext) > 0 {
		name += ext[0]
	}
	for _, f := range []struct{ name, value string }{{"description", strings.TrimSpace(m.Alt)}, {"focus", focus}} {
		if f.value == "" {
			continue
		}
		if err := w.WriteField(f.name, f.value); err != nil {
			return nil, nil, "", fmt.Errorf("writing the form of an upload: %w", err)
		}
	}
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", mime.FormatMediaType("form-data", map[string]string{"name": "file", "filename": name}))
	h.Set("Content-Type", m.MIME)
	if _, err := w.CreatePart(h); err != nil {
		return nil, nil, "", fmt.Errorf("writing the form of an upload: %w", err)
	}
	n := b.Len()
	if err := w.Close(); err != nil {
		return nil, nil, "", fmt.Errorf("writing the form of an upload: %w", err)
	}
	return b.Bytes()[:n:n], b.Bytes()[n:], w.FormDataContentType(), nil
}

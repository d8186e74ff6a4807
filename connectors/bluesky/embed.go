package bluesky

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// upload puts the part's files on the server. It says how long to wait before
// it should be called again, 0 once all are there. It may be repeated: the same
// bytes get the same name.
func (r *remote) upload(ctx context.Context, j *connectors.Job, d *draft) (time.Duration, error) {
	files := partFiles(j.Part)
	if len(files) == 0 {
		return 0, nil
	}
	if len(d.Blobs) > 0 && (j.Attempt > d.Attempt || j.Now.Sub(d.Uploaded) > blobLife*3/4) {
		d.Blobs, d.VideoJob = nil, "" // they may be collected by now
	}
	if d.Blobs == nil {
		d.Blobs, d.Uploaded, d.Attempt = map[string]json.RawMessage{}, j.Now, j.Attempt
	}
	for i, m := range files {
		if d.Blobs[m.Hash] != nil {
			continue
		}
		var wait time.Duration
		var err error
		if m.Kind == social.Video && r.c.p.cfg.hasVideoService() {
			wait, err = r.uploadVideo(ctx, j, d, m)
		} else {
			d.Blobs[m.Hash], err = r.uploadBlob(ctx, j, m)
		}
		if err != nil {
			delete(d.Blobs, m.Hash)
			e := *connectors.AsError(err)
			if e.Kind == connectors.Invalid {
				e.Field = fmt.Sprintf("media[%d]", i)
				if i >= len(j.Part.Media) {
					e.Field = "link"
				}
			}
			return 0, &e
		}
		if err := d.save(ctx, j); err != nil {
			return 0, err
		}
		if wait > 0 {
			return wait, nil
		}
	}
	if d.Request != "" && !d.names(d.Blobs) {
		// The server knows the file by another name than before. Key and time stay,
		// so that it is still the same post.
		d.Request = ""
	}
	return 0, nil
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
	return j.Save(ctx, state, d.Uploaded.Add(blobLife))
}

// names says whether the bytes of the commit name all these blobs.
func (d *draft) names(blobs map[string]json.RawMessage) bool {
	for _, raw := range blobs {
		var b struct {
			Ref struct {
				Link string `json:"$link"`
			} `json:"ref"`
		}
		if json.Unmarshal(raw, &b) != nil || b.Ref.Link == "" || !strings.Contains(d.Request, b.Ref.Link) {
			return false
		}
	}
	return true
}

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

// body opens a file for one request after another.
func body(ctx context.Context, j *connectors.Job, m *social.Media) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return j.Media.Open(ctx, m.Hash) }
}

// uploadTime is how long an upload may take: a minute and a second for each
// 100 kB.
func uploadTime(m *social.Media) time.Duration {
	return time.Minute + time.Duration(m.Bytes/100_000)*time.Second
}

func (r *remote) uploadBlob(ctx context.Context, j *connectors.Job, m *social.Media) (json.RawMessage, error) {
	var out blobAnswer
	_, err := r.do(ctx, api.Call{
		Op: "uploadBlob", Method: http.MethodPost, URL: xrpc(r.pds, "com.atproto.repo.uploadBlob"), Repeatable: true,
		BodyFunc: body(ctx, j, m), Size: m.Bytes, ContentType: m.MIME, Timeout: uploadTime(m), Out: &out,
	})
	return out.Blob, err
}

// Validate asks for the blob.
func (b blobAnswer) Validate() error {
	if len(b.Blob) == 0 || b.Blob[0] != '{' {
		return fmt.Errorf("blob is missing")
	}
	return nil
}

// embed builds what hangs under the text.
func (r *remote) embed(ctx context.Context, j *connectors.Job, d *draft) (any, error) {
	media, err := r.embedMedia(ctx, j, d)
	if err != nil {
		return nil, err
	}
	quote := j.Part.Options[optionQuote]
	if quote == "" {
		return media, nil
	}
	got, err := r.record(ctx, quote)
	if err != nil {
		if isGone(err) {
			err = &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: "options." + optionQuote, Text: "the post to quote is not there any more", Err: err}
		}
		return nil, err
	}
	rec := embedRecord{Type: "app.bsky.embed.record", Record: ref{got.URI, got.CID}}
	if media == nil {
		return rec, nil
	}
	return embedRecordWithMedia{Type: "app.bsky.embed.recordWithMedia", Record: rec, Media: media}, nil
}

func (r *remote) embedMedia(ctx context.Context, j *connectors.Job, d *draft) (any, error) {
	p := j.Part
	switch {
	case len(p.Media) == 1 && p.Media[0].Kind == social.Video:
		m := &p.Media[0]
		return embedVideo{Type: "app.bsky.embed.video", Video: d.Blobs[m.Hash], Alt: m.Alt, AspectRatio: ratioOf(m)}, nil
	case len(p.Media) > 0:
		e := embedImages{Type: "app.bsky.embed.images"}
		for i := range p.Media {
			m := &p.Media[i]
			e.Images = append(e.Images, embedImage{Image: d.Blobs[m.Hash], Alt: m.Alt, AspectRatio: ratioOf(m)})
		}
		return e, nil
	case p.Link != nil:
		if d.Card == nil {
			d.Card = r.c.p.card(ctx, p.Link)
		}
		x := *d.Card
		if p.Link.Thumb != nil {
			x.Thumb = d.Blobs[p.Link.Thumb.Hash]
		}
		return embedExternal{Type: "app.bsky.embed.external", External: x}, nil
	}
	return nil, nil
}

func ratioOf(m *social.Media) *ratio {
	if m.Width <= 0 || m.Height <= 0 {
		return nil
	}
	return &ratio{m.Width, m.Height}
}

// videoWait is how long to wait between two looks at a video's job.
const videoWait = 3 * time.Second

// uploadVideo sends a video to the video service, which prepares it and puts it
// on the account's server, and looks how far it is (lexicons app.bsky.video.*,
// read 2026-08-20). The same bytes give the same job.
func (r *remote) uploadVideo(ctx context.Context, j *connectors.Job, d *draft, m *social.Media) (time.Duration, error) {
	service := strings.TrimSuffix(r.c.p.cfg.VideoService, "/")
	client, err := r.c.p.at(service)
	if err != nil {
		return 0, err
	}
	var st jobStatus
	if d.VideoJob == "" {
		st, err = r.startVideo(ctx, client, service, j, m)
	} else {
		var out jobAnswer
		_, err = client.Do(ctx, api.Call{
			Op: "getJobStatus", URL: xrpc(service, "app.bsky.video.getJobStatus"), Anonymous: true,
			Query: url.Values{"jobId": {d.VideoJob}}, Out: &out,
		})
		st = out.status()
	}
	if err != nil {
		if e := connectors.AsError(err); d.VideoJob != "" && e.Status != 0 && e.Kind != connectors.Transient {
			d.VideoJob = "" // forgotten there: it goes up again
			return videoWait, nil
		}
		return 0, err
	}
	d.VideoJob = st.JobID
	switch {
	case len(st.Blob) > 0 && st.Blob[0] == '{':
		d.Blobs[m.Hash] = st.Blob
		return 0, nil
	case st.State == "JOB_STATE_FAILED":
		d.VideoJob = "" // the next try sends it again
		if err := d.save(ctx, j); err != nil {
			return 0, err
		}
		return 0, videoFailure(st)
	}
	return videoWait, nil
}

// startVideo uploads the bytes with a token that lets the service write the
// result to the account's server.
func (r *remote) startVideo(ctx context.Context, client *api.Client, service string, j *connectors.Job, m *social.Media) (jobStatus, error) {
	u, err := url.Parse(r.pds)
	if err != nil {
		return jobStatus{}, fmt.Errorf("reading the address of the account's server: %w", err)
	}
	var lent struct {
		Token string `json:"token"`
	}
	_, err = r.do(ctx, api.Call{
		Op: "getServiceAuth", URL: xrpc(r.pds, "com.atproto.server.getServiceAuth"), Secret: true, Out: &lent,
		Query: url.Values{
			"aud": {"did:web:" + strings.ReplaceAll(u.Host, ":", "%3A")},
			"lxm": {"com.atproto.repo.uploadBlob"},
			"exp": {fmt.Sprint(r.c.p.env.Now().Add(30 * time.Minute).Unix())},
		},
	})
	if err != nil {
		return jobStatus{}, err
	}
	r.c.p.secret(lent.Token)
	var out jobAnswer
	a, err := client.Do(ctx, api.Call{
		Op: "uploadVideo", Method: http.MethodPost, URL: xrpc(service, "app.bsky.video.uploadVideo"), Anonymous: true, Repeatable: true,
		Query:    url.Values{"did": {r.did}, "name": {m.Hash[:min(16, len(m.Hash))] + ".mp4"}},
		Header:   http.Header{"Authorization": {"Bearer " + lent.Token}},
		BodyFunc: body(ctx, j, m), Size: m.Bytes, ContentType: m.MIME, Timeout: uploadTime(m), Out: &out,
	})
	if a.Status == http.StatusConflict { // already_exists: the job is in the answer
		out = jobAnswer{}
		if a.JSON(&out) == nil && out.status().JobID != "" {
			err = nil
		}
	}
	return out.status(), err
}

// videoFailure says what to do about a job that failed.
func videoFailure(st jobStatus) error {
	e := &connectors.Error{Op: "video", Code: cmp.Or(st.FailureCode, st.Error)}
	switch st.FailureCode {
	case "validation_failure", "encoding_failure", "pds_upload_unsupported_blob_size":
		e.Kind, e.Text = connectors.Invalid, "Bluesky cannot use this video"+api.Quoted(st.Message)+"; convert it to MP4 (H.264) or make it smaller"
	default:
		e.Kind, e.Text = connectors.Transient, "Bluesky could not prepare the video now"+api.Quoted(st.Message)
	}
	return e
}

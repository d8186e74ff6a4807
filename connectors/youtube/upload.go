package youtube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
	youtube "google.golang.org/api/youtube/v3"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/connectors/internal/seal"
	"smi/internal/social"
)

// The protocol of an upload is that of Google's resumable uploads (YouTube Data
// API, "Resumable uploads", read 2026-11): a session is opened, whose address is
// kept; pieces are put there; and at any time the server says how far it is.
// Google's library speaks it too, but keeps the address for itself, so that its
// uploads end with the process.

const (
	// sessionLife is how long a session is relied upon. The network says a week.
	sessionLife = 6 * 24 * time.Hour
	// turn is how long one Prepare goes on with an upload before it gives others
	// their turn.
	turn = 4 * time.Minute
	// pieceTime is how long one piece may take.
	pieceTime = 5 * time.Minute
	// saveEvery is how many bytes are sent between two notes of how far it is. The
	// server's word counts more; the note is for people and for what is lost least.
	saveEvery = 64 << 20
	// stalls is how often in a row a piece may bring nothing on.
	stalls = 3
)

// errGone says that the server does not know the session any more.
var errGone = errors.New("the upload session is gone")

// upload brings the video to the network as a private one and sets its id. It
// returns a time after which Prepare is to be called again.
func (c *conn) upload(ctx context.Context, j *connectors.Job, d *draft) (again time.Duration, err error) {
	m := j.Part.Media[0]
	if d.Hash != m.Hash || d.Size != m.Bytes {
		*d = draft{Hash: m.Hash, Size: m.Bytes}
	}
	if d.Size <= 0 {
		return 0, &connectors.Error{Kind: connectors.Invalid, Op: "upload", Field: "media[0]", Text: "the video is empty"}
	}
	h, err := c.client()
	if err != nil {
		return 0, err
	}
	u := &upload{c: c, j: j, d: d, http: h, media: m}
	if u.address, err = c.unseal(ctx, d.Session); err != nil {
		return 0, err
	}
	unread := d.Session != "" && u.address == "" // the channel was connected anew meanwhile
	for fresh := 0; ; fresh++ {
		if fresh > 0 || !unread {
			again, err = u.run(ctx)
			if !errors.Is(err, errGone) {
				return again, unseen(err)
			}
		}
		if fresh == 2 || fresh == 1 && !unread {
			e := *connectors.AsError(err)
			e.Kind, e.Text = connectors.Transient, "YouTube forgot the upload twice in a row"
			if e.Status == http.StatusNotFound || e.Status == http.StatusGone {
				e.Kind = connectors.Unknown
			}
			return 0, &e
		}
		if d.Offset+saveEvery+c.p.cfg.ChunkBytes >= d.Size { // its last piece may have been on the way
			id, err := u.stray(ctx)
			if err != nil {
				return 0, unseen(err)
			}
			if id != "" {
				d.VideoID, d.Offset, d.Uploaded, d.Session = id, d.Size, c.p.env.Now().UTC(), ""
				return 0, u.save(ctx)
			}
			c.warn(ctx, j, "an upload was begun anew; a private copy of the video may have stayed on YouTube")
		}
		*d, u.address = draft{Hash: d.Hash, Size: d.Size}, ""
	}
}

// stray looks for the video of an upload whose session was lost when its last
// piece may have arrived: a private one of this channel, made since the session
// was opened, with the same words and as many bytes. Two that fit are none, for
// they may be those of two posts. A listing that does not show it yet leaves a
// private copy on the channel, which does no harm.
func (u *upload) stray(ctx context.Context) (string, error) {
	const clockSkew = 2 * time.Minute
	c := u.c
	list, _, err := c.uploads(ctx)
	if err != nil {
		return "", err
	}
	var out *youtube.PlaylistItemListResponse
	_, err = c.ask(ctx, api.Call{Op: "playlistItems.list"}, func(ctx context.Context) (err error) {
		out, err = c.p.data.PlaylistItems.List([]string{"snippet", "contentDetails", "status"}).PlaylistId(list).MaxResults(pageSize).Context(ctx).Do()
		return err
	})
	if isCode(err, codePlaylistNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	ours := social.NormalText(norm.NFC.String(c.Words(u.j.Part)))
	var ids []string
	for _, it := range out.Items {
		if it.Snippet == nil || it.ContentDetails == nil || it.Status == nil || it.Status.PrivacyStatus != private {
			continue
		}
		made, err := time.Parse(time.RFC3339, it.Snippet.PublishedAt)
		if err != nil || made.Before(u.d.Started.Add(-clockSkew)) || social.NormalText(norm.NFC.String(words(it.Snippet.Title, it.Snippet.Description))) != ours {
			continue
		}
		ids = append(ids, it.ContentDetails.VideoId)
	}
	if len(ids) == 0 {
		return "", nil
	}
	var videos videoList
	_, err = c.ask(ctx, api.Call{Op: "videos.list", Out: &videos}, func(ctx context.Context) error {
		_, err := c.p.data.Videos.List([]string{"status", "fileDetails"}).Id(ids...).Context(ctx).Do()
		return err
	})
	if err != nil {
		return "", err
	}
	found := ""
	for _, v := range videos.Items {
		switch {
		case !slices.Contains(ids, v.ID), v.Status.Privacy != private, v.Status.PublishAt != "", v.refused() != nil, v.File.Bytes == nil || int64(*v.File.Bytes) != u.d.Size:
		case found != "":
			return "", nil
		default:
			found = v.ID
		}
	}
	return found, nil
}

// upload is one upload under way.
type upload struct {
	c       *conn
	j       *connectors.Job
	d       *draft
	http    *api.Client
	media   social.Media
	address string // of the session
	saved   int64  // offset at the last note
}

// run opens or resumes the session and sends pieces until the video is there or
// the turn is over.
func (u *upload) run(ctx context.Context) (time.Duration, error) {
	began := u.c.p.env.Now()
	if u.address == "" {
		if err := u.open(ctx); err != nil {
			return 0, err
		}
	} else if err := u.probe(ctx); err != nil {
		return 0, err
	}
	u.saved = u.d.Offset
	for stalled := 0; u.d.VideoID == ""; {
		if u.c.p.env.Now().Sub(began) > turn {
			return time.Second, nil
		}
		before := u.d.Offset
		err := u.piece(ctx)
		if kind := connectors.KindOf(err); kind == connectors.Transient || kind == connectors.Ambiguous {
			if ctx.Err() != nil {
				return 0, err
			}
			if perr := u.probe(ctx); perr != nil {
				return 0, perr
			}
			if u.d.VideoID == "" && u.d.Offset <= before {
				if stalled++; stalled >= stalls {
					return 0, err
				}
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		stalled++
		if u.d.Offset > before {
			stalled = 0
		}
		if u.d.VideoID == "" && stalled >= stalls {
			return 0, &connectors.Error{Kind: connectors.Transient, Op: "upload", Text: "YouTube took nothing more of the video"}
		}
		if u.d.Offset-u.saved >= saveEvery || u.d.VideoID != "" {
			if err := u.save(ctx); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

// save keeps how far it is, so that a restart goes on from there.
func (u *upload) save(ctx context.Context) error {
	u.saved = u.d.Offset
	return u.c.save(ctx, u.j, u.d)
}

// open opens a session: from here on the description of the video is fixed.
func (u *upload) open(ctx context.Context) error {
	q := url.Values{"uploadType": {"resumable"}, "part": {"snippet,status"}}
	if u.j.Part.Options[optionNotify] == no {
		q.Set("notifySubscribers", "false")
	}
	body, err := json.Marshal(u.c.describe(u.j.Part))
	if err != nil {
		return fmt.Errorf("writing the description as JSON: %w", err)
	}
	a, err := u.http.Do(ctx, api.Call{
		Op: opInsert, Bucket: opInsert, Method: http.MethodPost, URL: strings.TrimSuffix(u.c.p.cfg.Upload, "/") + "/upload/youtube/v3/videos", Query: q,
		Repeatable: true, // a session that nobody uses leaves nothing
		Header: http.Header{
			"X-Upload-Content-Length": {strconv.FormatInt(u.d.Size, 10)}, "X-Upload-Content-Type": {u.media.MIME},
		},
		Body: body, ContentType: "application/json; charset=UTF-8",
	})
	if err != nil {
		return err
	}
	where, err := url.Parse(a.Header.Get("Location"))
	if err != nil || where.Host == "" {
		return &connectors.Error{Kind: connectors.Unknown, Op: opInsert, Status: a.Status, Text: "YouTube opened an upload and did not say where"}
	}
	u.address = where.String()
	u.c.p.secret(u.address)
	u.c.p.secret(where.Query().Get("upload_id"))
	u.d.Offset, u.d.Started = 0, u.c.p.env.Now().UTC()
	box, err := u.c.box(ctx)
	if err != nil {
		return err
	}
	u.d.Session = box.Seal(u.address)
	return u.save(ctx)
}

// probe asks the server how far it is.
func (u *upload) probe(ctx context.Context) error {
	a, err := u.http.Do(ctx, api.Call{
		Op: "upload", Method: http.MethodPut, URL: u.address, Repeatable: true, Body: []byte{},
		Header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", u.d.Size)}},
	})
	return u.took(a, err)
}

// piece sends the next piece. It is not repeated blindly: after a cut the server
// is asked first.
func (u *upload) piece(ctx context.Context) error {
	from := u.d.Offset
	n := min(u.c.p.cfg.ChunkBytes, u.d.Size-from)
	if n == 0 { // everything is there and the server has not said so yet
		return u.probe(ctx)
	}
	a, err := u.http.Do(ctx, api.Call{
		Op: "upload", Method: http.MethodPut, URL: u.address, Timeout: pieceTime, Size: n, ContentType: u.media.MIME,
		Header:   http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, u.d.Size)}},
		BodyFunc: func() (io.ReadCloser, error) { return section(ctx, u.j.Media, u.media.Hash, from, n) },
	})
	return u.took(a, err)
}

// took reads what the server says of the session.
func (u *upload) took(a api.Answer, err error) error {
	switch {
	case a.Status == http.StatusPermanentRedirect: // "Resume Incomplete", older than the redirect of this number
		next, ok := nextByte(a.Header.Get("Range"))
		if !ok || next > u.d.Size {
			return &connectors.Error{Kind: connectors.Unknown, Op: "upload", Status: a.Status, Text: "YouTube says in an unknown way how far the upload is"}
		}
		u.d.Offset = next
		return nil
	case a.Status == http.StatusNotFound || a.Status == http.StatusGone:
		e := *connectors.AsError(err)
		e.Err = errGone
		return &e
	case err != nil:
		return err
	}
	var v uploaded
	if jerr := a.JSON(&v); jerr != nil || v.ID == "" {
		return &connectors.Error{Kind: connectors.Unknown, Op: "upload", Status: a.Status, Text: "YouTube took the video and did not say its id", Err: jerr}
	}
	u.d.VideoID, u.d.Offset, u.d.Uploaded, u.d.Session = v.ID, u.d.Size, u.c.p.env.Now().UTC(), ""
	return nil
}

// nextByte reads a Range header of the form bytes=0-8388607. Without one nothing
// is there yet.
func nextByte(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	last, ok := strings.CutPrefix(s, "bytes=0-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(last, 10, 64)
	return n + 1, err == nil && n >= 0
}

// section opens n bytes of a file from an offset. Each piece opens the file anew:
// the HTTP transport may still read an old one when its answer is there.
func section(ctx context.Context, files connectors.MediaSource, hash string, from, n int64) (io.ReadCloser, error) {
	f, err := files.Open(ctx, hash)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		f.Close() //nolint:errcheck // nothing was read
		return nil, fmt.Errorf("going to byte %d of the file: %w", from, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, n), f}, nil
}

// The address of a session lets whoever has it add to the upload. It is kept
// encrypted with a key made from the refresh token, which is sealed elsewhere: a
// copy of the database alone does not open it, and after the channel was
// connected anew an upload begins again.

func (c *conn) box(ctx context.Context) (seal.Box, error) {
	g, err := c.creds.Grant(ctx)
	if err != nil {
		return seal.Box{}, err
	}
	return seal.New(g.Refresh, "smi youtube upload session")
}

// unseal returns the address of a session, "" if there is none that can be read.
func (c *conn) unseal(ctx context.Context, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	box, err := c.box(ctx)
	if err != nil {
		return "", err
	}
	address, ok := box.Open(sealed)
	if !ok {
		return "", nil // the channel was connected anew
	}
	c.p.secret(address)
	if u, err := url.Parse(address); err == nil {
		c.p.secret(u.Query().Get("upload_id"))
	}
	return address, nil
}

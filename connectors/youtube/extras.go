package youtube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/api/googleapi"
	youtube "google.golang.org/api/youtube/v3"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// extras adds what belongs to the video beside its file. Each may be done twice
// without harm, or is looked for before it is done. None of them decides about
// the video: what cannot be done is left out, told in the log and kept with the
// receipt; what cannot be done now is tried again while there is time.
func (c *conn) extras(ctx context.Context, j *connectors.Job, d *draft) error {
	o := j.Part.Options
	for _, x := range []struct {
		name string
		want bool
		done *bool
		do   func(context.Context, *connectors.Job, string) error
	}{
		{optionThumbnail, o[optionThumbnail] != "", &d.Thumbnail, c.thumbnail},
		{optionCaptions, o[optionCaptions] != "", &d.Captions, c.captions},
		{optionPlaylist, o[optionPlaylist] != "", &d.Playlist, c.playlist},
	} {
		if !x.want || *x.done {
			continue
		}
		err := unseen(x.do(ctx, j, d.VideoID))
		switch kind := connectors.KindOf(err); {
		case err == nil:
		case kind == connectors.AuthExpired, kind == connectors.Permanent, ctx.Err() != nil:
			return err
		case (kind == connectors.Transient || kind == connectors.RateLimited && connectors.AsError(err).RetryAfter < lead) && j.Now.Before(j.Planned.Add(-lead)):
			return err
		default:
			d.LeftOut = append(d.LeftOut, x.name+": "+connectors.AsError(err).Text)
			c.warn(ctx, j, "something beside the video could not be done", slog.String("what", x.name), slog.String("err", err.Error()))
		}
		*x.done = true
		if err := c.save(ctx, j, d); err != nil {
			return err
		}
	}
	return nil
}

// thumbnail sets the picture of the video. Setting it again changes nothing.
func (c *conn) thumbnail(ctx context.Context, j *connectors.Job, id string) error {
	invalid := func(format string, args ...any) error {
		return &connectors.Error{Kind: connectors.Invalid, Op: "thumbnails.set", Field: "options." + optionThumbnail, Text: fmt.Sprintf(format, args...)}
	}
	f, err := j.Media.Open(ctx, j.Part.Options[optionThumbnail])
	if err != nil {
		return invalid("the picture for the thumbnail is not in smi's store")
	}
	defer f.Close() //nolint:errcheck // it was read
	most := c.p.cfg.ThumbnailBytes
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return &connectors.Error{Kind: connectors.Transient, Op: "thumbnails.set", Text: "the picture for the thumbnail could not be read", Err: err}
	}
	mime := http.DetectContentType(b)
	switch {
	case int64(len(b)) > most:
		return invalid("the thumbnail has more than %d bytes", most)
	case mime != "image/jpeg" && mime != "image/png":
		return invalid("the thumbnail must be a JPEG or PNG picture, and this is %s", mime)
	}
	_, err = c.ask(ctx, api.Call{Op: "thumbnails.set", Repeatable: true, Timeout: 2 * time.Minute}, func(ctx context.Context) error {
		_, err := c.p.uploads.Thumbnails.Set(id).Media(bytes.NewReader(b), googleapi.ContentType(mime), googleapi.ChunkSize(0)).Context(ctx).Do()
		return err
	})
	return err
}

// captionName is how smi's captions are told from others.
const captionName = ""

// captions adds captions, unless there are some of this language already.
func (c *conn) captions(ctx context.Context, j *connectors.Job, id string) error {
	lang := captionLanguage(j.Part)
	var have *youtube.CaptionListResponse
	_, err := c.ask(ctx, api.Call{Op: "captions.list"}, func(ctx context.Context) (err error) {
		have, err = c.p.data.Captions.List([]string{"snippet"}, id).Context(ctx).Do()
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range have.Items {
		if t.Snippet != nil && t.Snippet.Language == lang && t.Snippet.Name == captionName && t.Snippet.TrackKind != "asr" { // asr: made by the network itself
			return nil
		}
	}
	_, err = c.ask(ctx, api.Call{Op: "captions.insert", Timeout: 2 * time.Minute}, func(ctx context.Context) error {
		track := &youtube.Caption{Snippet: &youtube.CaptionSnippet{VideoId: id, Language: lang, Name: captionName, ForceSendFields: []string{"Name"}}}
		text := strings.NewReader(j.Part.Options[optionCaptions])
		_, err := c.p.uploads.Captions.Insert([]string{"snippet"}, track).Media(text, googleapi.ContentType("application/octet-stream"), googleapi.ChunkSize(0)).Context(ctx).Do()
		return err
	})
	return err
}

func captionLanguage(p *social.Part) string {
	switch {
	case p.Options[optionCaptionsL] != "":
		return p.Options[optionCaptionsL]
	case len(p.Langs) > 0:
		return p.Langs[0]
	}
	return "en"
}

// playlist puts the video into a playlist, unless it is in there: the network
// would put it in twice.
func (c *conn) playlist(ctx context.Context, j *connectors.Job, id string) error {
	list := playlistID(j.Part.Options[optionPlaylist])
	var have *youtube.PlaylistItemListResponse
	_, err := c.ask(ctx, api.Call{Op: "playlistItems.list"}, func(ctx context.Context) (err error) {
		have, err = c.p.data.PlaylistItems.List([]string{"id"}).PlaylistId(list).VideoId(id).Context(ctx).Do()
		return err
	})
	if err != nil {
		return err
	}
	if len(have.Items) > 0 {
		return nil
	}
	_, err = c.ask(ctx, api.Call{Op: "playlistItems.insert"}, func(ctx context.Context) error {
		item := &youtube.PlaylistItem{Snippet: &youtube.PlaylistItemSnippet{PlaylistId: list, ResourceId: &youtube.ResourceId{Kind: "youtube#video", VideoId: id}}}
		_, err := c.p.data.PlaylistItems.Insert([]string{"snippet"}, item).Context(ctx).Do()
		return err
	})
	return err
}

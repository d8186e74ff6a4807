package youtube

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	youtube "google.golang.org/api/youtube/v3"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.Getter  = (*conn)(nil)
	_ connectors.Deleter = (*conn)(nil)
	_ connectors.Lister  = (*conn)(nil)
)

// videoForm is the form of an id. The network promises none; all have had this
// one for twenty years.
var videoForm = regexp.MustCompile(`^[A-Za-z0-9_-]{11}$`)

// videoID reads what people paste as a video: its id or the address of its page.
func videoID(s string) (string, error) {
	s = strings.TrimSpace(s)
	bad := &connectors.Error{Kind: connectors.Invalid, Op: "videos.list", Field: "remote_id", Text: "this is no video; paste its address, such as https://www.youtube.com/watch?v=dQw4w9WgXcQ"}
	id := s
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		id = u.Query().Get("v")
		if id == "" {
			parts := strings.Split(strings.Trim(u.Path, "/"), "/")
			id = parts[len(parts)-1] // /shorts/ID, youtu.be/ID, /live/ID
		}
	}
	if !videoForm.MatchString(id) {
		return "", bad
	}
	return id, nil
}

// Get reads one video back.
func (c *conn) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	none := connectors.Candidate{}
	id, err := videoID(remoteID)
	if err != nil {
		return none, err
	}
	v, err := c.video(ctx, id, "snippet", "status")
	if err != nil {
		return none, err
	}
	if v == nil {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "videos.list", Status: http.StatusNotFound, Field: "remote_id", Text: "the video is not there (any more)"}
	}
	if v.Snippet.ChannelID != c.account.RemoteID && c.account.RemoteID != "" {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "videos.list", Field: "remote_id", Text: "this video is of another channel"}
	}
	if v.Status.Privacy == private && v.Status.PublishAt == "" {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "videos.list", Field: "remote_id", Text: "this video is private: nobody else can see it; make it public on YouTube first"}
	}
	at := v.at(time.Time{})
	text := v.Snippet.Description
	return connectors.Candidate{
		Receipt: connectors.Receipt{RemoteID: id, URL: c.p.link(id, false), PublishedAt: at}, Excerpt: excerpt(cmp.Or(text, v.Snippet.Title)), At: at,
		Fingerprint: connectors.FingerprintOf(c.known(), "", words(v.Snippet.Title, text), []social.MediaKind{social.Video}),
	}, nil
}

func (c *conn) known() social.Account {
	a := c.account
	a.Network = Network
	return a
}

// excerpt is the beginning of a text.
func excerpt(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Delete removes a video. Deleting what is gone is no error.
func (c *conn) Delete(ctx context.Context, rec connectors.Receipt) error {
	id, err := videoID(rec.RemoteID)
	if err != nil {
		return err
	}
	a, err := c.ask(ctx, api.Call{Op: "videos.delete", Repeatable: true}, func(ctx context.Context) error {
		return c.p.data.Videos.Delete(id).Context(ctx).Do()
	})
	if a.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// pageSize is the largest page of playlistItems.list (YouTube Data API,
// "PlaylistItems: list", read 2026-11).
const pageSize = 50

// uploads is the playlist of the channel's uploads, and whether the channel says
// that it has no video for others.
func (c *conn) uploads(ctx context.Context) (list string, none bool, err error) {
	ch, counts, _, err := c.channel(ctx, "contentDetails", "statistics")
	if err != nil {
		return "", false, err
	}
	if ch.ContentDetails == nil || ch.ContentDetails.RelatedPlaylists == nil || ch.ContentDetails.RelatedPlaylists.Uploads == "" {
		return "", false, &connectors.Error{Kind: connectors.Unknown, Op: "channels.list", Text: "YouTube does not say where the uploads of the channel are"}
	}
	return ch.ContentDetails.RelatedPlaylists.Uploads, counts.Videos != nil && *counts.Videos == 0, nil
}

// List returns the channel's videos that others can see, the newest first, from
// the playlist of its uploads. Videos that smi has uploaded and not yet
// published are private and left out.
func (c *conn) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	list, token, _ := strings.Cut(cursor, " ")
	none := false
	if list == "" {
		var err error
		if list, none, err = c.uploads(ctx); err != nil {
			return connectors.Page{}, err
		}
	}
	var out *youtube.PlaylistItemListResponse
	a, err := c.ask(ctx, api.Call{Op: "playlistItems.list"}, func(ctx context.Context) (err error) {
		out, err = c.p.data.PlaylistItems.List([]string{"snippet", "contentDetails", "status"}).PlaylistId(list).MaxResults(pageSize).PageToken(token).Context(ctx).Do()
		return err
	})
	if isCode(err, codePlaylistNotFound) && none {
		return connectors.Page{}, nil // a channel that never had a video
	}
	if err != nil {
		return connectors.Page{}, err
	}
	page := connectors.Page{Raw: []social.RawAnswer{{Op: "playlistItems.list", APIVersion: "v3", At: c.p.env.Now(), Body: a.Body}}}
	if out.NextPageToken != "" && out.NextPageToken != token && len(out.Items) > 0 { // a cursor must lead on
		page.Next = list + " " + out.NextPageToken
	}
	older := 0
	for _, it := range out.Items {
		if it.ContentDetails == nil || it.Snippet == nil || it.ContentDetails.VideoId == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, cmp.Or(it.ContentDetails.VideoPublishedAt, it.Snippet.PublishedAt))
		if err != nil || at.Before(since) {
			older++
			continue
		}
		if it.Status != nil && it.Status.PrivacyStatus != public && it.Status.PrivacyStatus != unlisted {
			continue
		}
		id := it.ContentDetails.VideoId
		page.Posts = append(page.Posts, connectors.RemotePost{
			Receipt: connectors.Receipt{RemoteID: id, URL: c.p.link(id, false), PublishedAt: at.UTC()},
			Text:    words(it.Snippet.Title, it.Snippet.Description), Media: []social.MediaKind{social.Video},
		})
	}
	if older > 0 && older == len(out.Items) {
		page.Next = "" // what follows is older still
	}
	return page, nil
}

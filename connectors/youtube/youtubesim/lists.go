package youtubesim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// playlist is a list somebody made.
type playlist struct {
	id, channel string
	items       []string // ids of videos; one may be in there twice
}

func (s *Sim) listRoutes() {
	s.mux.HandleFunc("GET /youtube/v3/channels", s.listChannels)
	s.mux.HandleFunc("GET /youtube/v3/playlistItems", s.listItems)
	s.mux.HandleFunc("POST /youtube/v3/playlistItems", s.addItem)
	s.mux.HandleFunc("GET /youtube/v3/captions", s.listCaptions)
	s.mux.HandleFunc("GET /v2/reports", s.reports)
}

func (s *Sim) listChannels(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube.readonly", "youtube", "youtube.force-ssl")
	var ps map[string]bool
	if err == nil {
		ps, err = parts(r, "snippet", "contentDetails", "statistics", "status")
	}
	if err == nil && r.URL.Query().Get("mine") != "true" {
		err = refuse(http.StatusBadRequest, "youtube.parameter", "missingRequiredParameter", "No filter selected.")
	}
	if err == nil {
		err = s.spend("units", 1)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	if s.stage.noChannel {
		send(w, map[string]any{"kind": "youtube#channelListResponse", "etag": "e", "pageInfo": map[string]any{"totalResults": 0, "resultsPerPage": 5}}, nil)
		return
	}
	out := map[string]any{"kind": "youtube#channel", "etag": "e", "id": c.id}
	if ps["snippet"] {
		out["snippet"] = map[string]any{
			"title": c.title, "customUrl": c.handle, "publishedAt": "2020-01-01T00:00:00Z",
			"thumbnails": map[string]any{"default": map[string]any{"url": "https://yt3.ggpht.com/" + c.id, "width": 88, "height": 88}},
		}
	}
	if ps["contentDetails"] {
		out["contentDetails"] = map[string]any{"relatedPlaylists": map[string]any{"likes": "", "uploads": uploadsOf(c.id)}}
	}
	if ps["statistics"] {
		n := 0
		for _, v := range s.videos {
			if v.channel == c.id && v.Privacy == "public" {
				n++
			}
		}
		st := map[string]any{"viewCount": "0", "videoCount": strconv.Itoa(n), "hiddenSubscriberCount": false}
		if slices.Contains(s.stage.hidden, "subscriberCount") {
			st["hiddenSubscriberCount"] = true
		} else {
			st["subscriberCount"] = strconv.FormatInt(s.rounded(c.subscribers), 10)
		}
		out["statistics"] = st
	}
	if ps["status"] {
		out["status"] = map[string]any{"privacyStatus": "public", "isLinked": true, "longUploadsStatus": "allowed"}
	}
	send(w, list("youtube#channelListResponse", []any{out}), nil)
}

// rounded gives three digits, where the network does.
func (s *Sim) rounded(n int64) int64 {
	if !s.o.Rounded {
		return n
	}
	unit := int64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	return n / unit * unit
}

// uploadsOf is the playlist of a channel's uploads.
func uploadsOf(channel string) string { return "UU" + strings.TrimPrefix(channel, "UC") }

const pageMost = 50

func (s *Sim) listItems(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube.readonly", "youtube", "youtube.force-ssl")
	var ps map[string]bool
	if err == nil {
		ps, err = parts(r, "snippet", "contentDetails", "status")
	}
	if err == nil {
		err = s.spend("units", 1)
	}
	most := 5
	if v := q.Get("maxResults"); err == nil && v != "" {
		n, nerr := strconv.Atoi(v)
		if nerr != nil || n < 0 || n > pageMost {
			err = refuse(http.StatusBadRequest, "youtube.parameter", "invalidValue", "maxResults")
		}
		most = n
	}
	var videos []string
	if err == nil {
		videos, err = s.itemsOf(c, q.Get("playlistId"))
	}
	first := 0
	if t := q.Get("pageToken"); err == nil && t != "" {
		first, err = strconv.Atoi(strings.TrimPrefix(t, "PAGE"))
		if err != nil || first > len(videos) {
			err = refuse(http.StatusBadRequest, "youtube.parameter", "invalidPageToken", "The request specifies an invalid page token.")
		}
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	if only := q.Get("videoId"); only != "" {
		videos = slices.DeleteFunc(videos, func(id string) bool { return id != only })
	}
	var out []any
	last := min(first+most, len(videos))
	for i := min(first, last); i < last; i++ {
		out = append(out, s.item(q.Get("playlistId"), s.videos[videos[i]], i, ps))
	}
	page := list("youtube#playlistItemListResponse", out)
	page["pageInfo"] = map[string]any{"totalResults": len(videos), "resultsPerPage": most}
	if last < len(videos) {
		page["nextPageToken"] = "PAGE" + strconv.Itoa(last)
	}
	if s.stage.loop && len(videos) > most {
		page["nextPageToken"] = "PAGE" + strconv.Itoa(most)
	}
	send(w, page, nil)
}

// itemsOf are the videos of a playlist; those of uploads the newest first, the
// private ones only for their owner. The caller holds s.mu.
func (s *Sim) itemsOf(c *channel, id string) ([]string, error) {
	if p := s.playlists[id]; p != nil {
		return slices.DeleteFunc(slices.Clone(p.items), func(id string) bool { return s.videos[id] == nil }), nil
	}
	for _, ch := range s.channels {
		if uploadsOf(ch.id) != id {
			continue
		}
		var out []*video
		for _, v := range s.videos {
			if v.channel == ch.id && (v.Privacy == "public" || ch.id == c.id) {
				out = append(out, v)
			}
		}
		slices.SortFunc(out, func(a, b *video) int { return b.serial - a.serial })
		var names []string
		for _, v := range out {
			names = append(names, v.ID)
		}
		return names, nil
	}
	return nil, refuse(http.StatusNotFound, "youtube.playlistItem", "playlistNotFound", "The playlist identified with the request's playlistId parameter cannot be found.")
}

// item is an entry of a playlist. The caller holds s.mu.
func (s *Sim) item(list string, v *video, at int, ps map[string]bool) map[string]any {
	out := map[string]any{"kind": "youtube#playlistItem", "etag": "e", "id": "PLI" + list + v.ID + strconv.Itoa(at)}
	if ps["snippet"] {
		out["snippet"] = map[string]any{
			"publishedAt": v.made.Format(layout), "channelId": v.channel, "title": v.Title, "description": v.Text, "playlistId": list, "position": at,
			"resourceId": map[string]any{"kind": "youtube#video", "videoId": v.ID},
		}
	}
	if ps["contentDetails"] {
		out["contentDetails"] = map[string]any{"videoId": v.ID, "videoPublishedAt": v.PublishedAt.Format(layout)}
	}
	if ps["status"] {
		out["status"] = map[string]any{"privacyStatus": v.Privacy}
	}
	return out
}

func (s *Sim) addItem(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Snippet struct {
			PlaylistID string `json:"playlistId"`
			ResourceID struct {
				Kind    string `json:"kind"`
				VideoID string `json:"videoId"`
			} `json:"resourceId"`
		} `json:"snippet"`
	}
	rerr := read(r, &in)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube", "youtube.force-ssl")
	if err == nil {
		err = rerr
	}
	ps := map[string]bool{}
	if err == nil {
		ps, err = parts(r, "snippet", "contentDetails", "status")
	}
	p, v := s.playlists[in.Snippet.PlaylistID], s.videos[in.Snippet.ResourceID.VideoID]
	switch {
	case err != nil:
	case p == nil:
		err = refuse(http.StatusNotFound, "youtube.playlistItem", "playlistNotFound", "Playlist not found.")
	case p.channel != c.id:
		err = refuse(http.StatusForbidden, "youtube.playlistItem", "playlistItemsNotAccessible", "Forbidden")
	case v == nil || in.Snippet.ResourceID.Kind != "youtube#video":
		err = refuse(http.StatusNotFound, "youtube.playlistItem", "videoNotFound", "Video not found.")
	default:
		err = s.spend("units", 50)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	p.items = append(p.items, v.ID)
	send(w, s.item(p.id, v, len(p.items)-1, ps), nil)
}

func (s *Sim) listCaptions(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube.force-ssl")
	if err == nil {
		_, err = parts(r, "snippet")
	}
	if err == nil {
		err = s.spend("units", 50)
	}
	v := s.videos[r.URL.Query().Get("videoId")]
	if err == nil && (v == nil || v.channel != c.id) {
		err = refuse(http.StatusNotFound, "youtube.caption", "videoNotFound", "The video identified by the videoId parameter could not be found.")
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	out := []any{}
	for lang := range v.Captions {
		out = append(out, caption(v, lang))
	}
	send(w, map[string]any{"kind": "youtube#captionListResponse", "etag": "e", "items": out}, nil)
}

func caption(v *video, lang string) map[string]any {
	return map[string]any{"kind": "youtube#caption", "etag": "e", "id": "cap" + v.ID + lang, "snippet": map[string]any{
		"videoId": v.ID, "lastUpdated": v.made.Format(layout), "trackKind": "standard", "language": lang, "name": "", "isDraft": false, "status": "serving",
	}}
}

func (s *Sim) addCaptions(w http.ResponseWriter, r *http.Request) {
	meta, body, _, ferr := file(r)
	var in struct {
		Snippet struct{ VideoID, Language, Name string } `json:"snippet"`
	}
	if ferr == nil && json.Unmarshal(meta, &in) != nil {
		ferr = refuse(http.StatusBadRequest, "global", "parseError", "Parse Error")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube.force-ssl")
	if err == nil {
		err = ferr
	}
	if err == nil {
		_, err = parts(r, "snippet")
	}
	v := s.videos[in.Snippet.VideoID]
	switch {
	case err != nil:
	case v == nil || v.channel != c.id:
		err = refuse(http.StatusNotFound, "youtube.caption", "videoNotFound", "The video could not be found.")
	case in.Snippet.Language == "" || !strings.Contains(string(body), "-->"):
		err = refuse(http.StatusBadRequest, "youtube.caption", "contentRequired", "The request does not contain the caption track contents.")
	case v.Captions[in.Snippet.Language] != "":
		err = refuse(http.StatusConflict, "youtube.caption", "captionExists", "The specified video already has a caption track with the given snippet.language and snippet.name.")
	default:
		err = s.spend("units", 400)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	v.Captions[in.Snippet.Language] = string(body)
	send(w, caption(v, in.Snippet.Language), nil)
}

// knownMetrics are those of the Analytics API that the simulator has.
var knownMetrics = []string{
	"views", "engagedViews", "estimatedMinutesWatched", "averageViewDuration", "likes", "dislikes", "comments", "shares", "subscribersGained", "subscribersLost",
}

// topVideos says whether a report of videos is sorted by one of its metrics, the
// largest first, and says how many rows it may have, as the network asks for.
func topVideos(q url.Values, metrics []string) bool {
	by, down := strings.CutPrefix(q.Get("sort"), "-")
	n, err := strconv.Atoi(q.Get("maxResults"))
	return down && slices.Contains(metrics, by) && err == nil && n >= 1 && n <= 200
}

// reports answers by day of the channel or by video.
func (s *Sim) reports(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "yt-analytics.readonly")
	metrics := strings.Split(q.Get("metrics"), ",")
	from, ferr := time.Parse(time.DateOnly, q.Get("startDate"))
	to, terr := time.Parse(time.DateOnly, q.Get("endDate"))
	dimension := q.Get("dimensions")
	bad := func(text string) error { return refuse(http.StatusBadRequest, "global", "badRequest", text) }
	switch {
	case err != nil:
	case q.Get("ids") != "channel==MINE" && q.Get("ids") != "channel=="+c.id:
		err = bad("The ids parameter is invalid.")
	case ferr != nil || terr != nil || to.Before(from):
		err = bad("The startDate or endDate parameter is invalid.")
	case dimension != "day" && dimension != "video":
		err = bad("The query is not supported. Check the documentation at https://developers.google.com/youtube/analytics/v2/available_reports for supported queries.")
	case dimension == "video" && !strings.HasPrefix(q.Get("filters"), "video=="):
		err = bad("The query is not supported.")
	case dimension == "video" && !topVideos(q, metrics):
		err = bad("The query is not supported. Check the documentation at https://developers.google.com/youtube/analytics/v2/available_reports for supported queries.")
	}
	for _, m := range metrics {
		if err == nil && !slices.Contains(knownMetrics, m) {
			err = bad("Unknown identifier (" + m + ") given in field parameters.metrics.")
		}
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	columns := []any{map[string]any{"name": dimension, "columnType": "DIMENSION", "dataType": "STRING"}}
	for _, m := range metrics {
		columns = append(columns, map[string]any{"name": m, "columnType": "METRIC", "dataType": "INTEGER"})
	}
	rows := []any{}
	add := func(key string, values map[string]any) {
		row := []any{key}
		for _, m := range metrics {
			row = append(row, values[m])
		}
		rows = append(rows, row)
	}
	if dimension == "day" {
		for d := from; !d.After(to); d = d.AddDate(0, 0, 1) {
			if v := c.days[d.Format(time.DateOnly)]; v != nil {
				add(d.Format(time.DateOnly), v)
			}
		}
	} else {
		for id := range strings.SplitSeq(strings.TrimPrefix(q.Get("filters"), "video=="), ",") {
			if v := s.videos[id]; v != nil && v.channel == c.id && v.totals != nil {
				add(id, v.totals)
			}
		}
	}
	out := map[string]any{"kind": "youtubeAnalytics#resultTable", "columnHeaders": columns}
	if len(rows) > 0 {
		out["rows"] = rows
	}
	send(w, out, nil)
}

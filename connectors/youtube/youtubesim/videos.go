package youtubesim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func (s *Sim) videoRoutes() {
	s.mux.HandleFunc("GET /youtube/v3/videos", s.listVideos)
	s.mux.HandleFunc("PUT /youtube/v3/videos", s.updateVideo)
	s.mux.HandleFunc("DELETE /youtube/v3/videos", s.deleteVideo)
	s.mux.HandleFunc("GET /youtube/v3/videos:batchGetStats", s.batchStats)
}

const layout = "2006-01-02T15:04:05Z"

// resource is a video with the parts that were asked for. The caller holds s.mu.
func (s *Sim) resource(v *video, ps map[string]bool, own bool) map[string]any {
	out := map[string]any{"kind": "youtube#video", "etag": "e" + v.ID, "id": v.ID}
	if ps["snippet"] {
		sn := map[string]any{
			"publishedAt": v.PublishedAt.Format(layout), "channelId": v.channel, "channelTitle": s.channels[v.channel].title,
			"title": v.Title, "description": v.Text, "categoryId": v.Category, "liveBroadcastContent": "none",
			"thumbnails": map[string]any{"default": map[string]any{"url": "https://i.ytimg.com/vi/" + v.ID + "/default.jpg", "width": 120, "height": 90}},
		}
		if len(v.Tags) > 0 {
			sn["tags"] = v.Tags
		}
		if v.defaultLang != "" {
			sn["defaultLanguage"] = v.defaultLang
		}
		if v.language != "" {
			sn["defaultAudioLanguage"] = v.language
		}
		out["snippet"] = sn
	}
	if ps["status"] {
		st := map[string]any{
			"uploadStatus": v.upload(), "privacyStatus": v.Privacy, "license": v.License, "embeddable": v.Embeddable, "publicStatsViewable": v.PublicStats,
			"madeForKids": v.ForKids,
		}
		if own {
			st["selfDeclaredMadeForKids"], st["containsSyntheticMedia"] = v.ForKids, v.Synthetic
		}
		if v.failure != "" {
			st["failureReason"] = v.failure
		}
		if v.rejection != "" {
			st["rejectionReason"] = v.rejection
		}
		if !v.PublishAt.IsZero() {
			st["publishAt"] = v.PublishAt.UTC().Format(layout)
		}
		out["status"] = st
	}
	if ps["contentDetails"] {
		out["contentDetails"] = map[string]any{"duration": "PT1S", "dimension": "2d", "definition": "hd", "caption": strconv.FormatBool(len(v.Captions) > 0)}
	}
	if ps["processingDetails"] && own {
		state := "succeeded"
		switch {
		case v.failure != "":
			state = "failed"
		case v.polls > 0:
			state = "processing"
		}
		out["processingDetails"] = map[string]any{"processingStatus": state}
	}
	if ps["fileDetails"] && own {
		out["fileDetails"] = map[string]any{"fileName": "unknown", "fileSize": strconv.FormatInt(v.Bytes, 10)}
	}
	if ps["statistics"] {
		out["statistics"] = s.statistics(v, "viewCount", "likeCount", "commentCount", "favoriteCount")
	}
	return out
}

// upload is the status of the file.
func (v *video) upload() string {
	switch {
	case v.failure != "":
		return "failed"
	case v.rejection != "":
		return "rejected"
	case v.polls > 0:
		return "uploaded"
	}
	return "processed"
}

// statistics are the counts that are not hidden, as strings. The caller holds
// s.mu.
func (s *Sim) statistics(v *video, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		if !slices.Contains(s.stage.hidden, n) {
			out[n] = strconv.FormatInt(v.counts[n], 10)
		}
	}
	return out
}

func list(kind string, items []any) map[string]any {
	if items == nil {
		items = []any{}
	}
	return map[string]any{"kind": kind, "etag": "e", "items": items, "pageInfo": map[string]any{"totalResults": len(items), "resultsPerPage": len(items)}}
}

func (s *Sim) listVideos(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube.readonly", "youtube", "youtube.force-ssl")
	var ps map[string]bool
	if err == nil {
		ps, err = parts(r, "snippet", "status", "contentDetails", "processingDetails", "statistics", "fileDetails")
	}
	wanted := ids(r, "id")
	if err == nil && len(wanted) == 0 {
		err = refuse(http.StatusBadRequest, "youtube.parameter", "missingRequiredParameter", "No filter selected. Expected one of: id, chart, myRating")
	}
	if err == nil && len(wanted) > 50 {
		err = refuse(http.StatusBadRequest, "youtube.parameter", "invalidFilters", "The request specifies an invalid filter parameter.")
	}
	if err == nil {
		err = s.spend("units", 1)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	var out []any
	for _, id := range wanted {
		v := s.videos[id]
		if v == nil || v.channel != c.id && v.Privacy == "private" {
			continue
		}
		out = append(out, s.resource(v, ps, v.channel == c.id))
		if ps["processingDetails"] && v.polls > 0 {
			v.polls--
		}
	}
	send(w, list("youtube#videoListResponse", out), nil)
}

func (s *Sim) batchStats(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.authorise(r, "youtube.readonly", "youtube", "youtube.force-ssl")
	var ps map[string]bool
	if err == nil {
		ps, err = parts(r, "snippet", "contentDetails", "statistics")
	}
	wanted := ids(r, "id")
	if err == nil && (len(wanted) == 0 || len(wanted) > 50) {
		err = refuse(http.StatusBadRequest, "youtube.parameter", "invalidFilters", "The request specifies an invalid filter parameter.")
	}
	if err == nil {
		err = s.spend("stats", 1)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	out := []any{}
	for _, id := range wanted {
		v := s.videos[id]
		if v == nil || slices.Contains(s.stage.unlisted, id) {
			continue
		}
		item := map[string]any{"kind": "youtube#videoStat", "etag": "e", "id": id}
		if ps["statistics"] {
			item["statistics"] = s.statistics(v, "viewCount", "likeCount", "commentCount")
		}
		if ps["snippet"] {
			item["snippet"] = map[string]any{"publishTime": v.PublishedAt.Format(layout)}
		}
		if ps["contentDetails"] {
			item["contentDetails"] = map[string]any{"duration": "1s"}
		}
		out = append(out, item)
	}
	send(w, map[string]any{"kind": "youtube#batchGetStatsResponse", "etag": "e", "items": out}, nil)
}

// updateVideo overwrites each part that is named, whole.
func (s *Sim) updateVideo(w http.ResponseWriter, r *http.Request) {
	body, rerr := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ps, err := s.change(r, body)
	if err == nil {
		err = rerr
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	send(w, s.resource(v, ps, true), nil)
}

func (s *Sim) change(r *http.Request, body []byte) (*video, map[string]bool, error) {
	c, err := s.authorise(r, "youtube", "youtube.force-ssl")
	if err != nil {
		return nil, nil, err
	}
	ps, err := parts(r, "snippet", "status", "recordingDetails", "localizations", "paidProductPlacementDetails")
	if err != nil {
		return nil, nil, err
	}
	var m metadata
	if json.Unmarshal(body, &m) != nil {
		return nil, nil, refuse(http.StatusBadRequest, "global", "parseError", "Parse Error")
	}
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	v := s.videos[m.ID]
	switch {
	case v == nil:
		return nil, nil, refuse(http.StatusNotFound, "youtube.video", "videoNotFound", "The video that you are trying to update cannot be found. Check the value of the id field in the request body to ensure that it is correct.")
	case v.channel != c.id:
		return nil, nil, refuse(http.StatusForbidden, "youtube.common", "forbidden", "Forbidden")
	case ps["status"] && m.Status == nil, ps["snippet"] && (m.Snippet == nil || m.Snippet.CategoryID == ""):
		return nil, nil, invalid("invalidVideoMetadata", "The request metadata is invalid.")
	}
	if err := s.spend("units", 50); err != nil {
		return nil, nil, err
	}
	if ps["status"] {
		if err := s.changeStatus(v, &m, digest(body)); err != nil {
			return nil, nil, err
		}
	}
	if ps["snippet"] {
		v.Title, v.Text, v.Tags, v.Category = m.Snippet.Title, m.Snippet.Description, m.Snippet.Tags, m.Snippet.CategoryID
	}
	return v, ps, nil
}

func (s *Sim) changeStatus(v *video, m *metadata, hash string) error {
	st := m.Status
	privacy := st.PrivacyStatus
	if privacy == "" {
		privacy = "public" // the default: what is left out is lost
	}
	var at time.Time
	if st.PublishAt != "" {
		at, _ = time.Parse(time.RFC3339, st.PublishAt) //nolint:errcheck // it was checked
		if v.wasPublic {
			return invalid("invalidPublishAt", "The request metadata specifies an invalid scheduled publishing time.")
		}
	}
	if privacy != "private" && v.Privacy == "private" {
		switch s.o.Lock {
		case "refuse":
			return refuse(http.StatusForbidden, "youtube.video", "forbiddenPrivacySetting", "The request attempts to set an invalid privacy setting for the video.")
		case "silent":
			privacy = "private"
		}
	}
	v.ForKids, v.Synthetic, v.License, v.Embeddable, v.PublicStats = st.ForKids, st.Synthetic, "youtube", true, true
	if st.License != "" {
		v.License = st.License
	}
	if st.Embeddable != nil {
		v.Embeddable = *st.Embeddable
	}
	if st.PublicStatsViewable != nil {
		v.PublicStats = *st.PublicStatsViewable
	}
	v.PublishAt = at
	s.publish(v, privacy, hash)
	s.settle()
	return nil
}

func (s *Sim) deleteVideo(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube", "youtube.force-ssl")
	if err == nil {
		err = s.spend("units", 50)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	v := s.videos[r.URL.Query().Get("id")]
	switch {
	case v == nil:
		send(w, nil, refuse(http.StatusNotFound, "youtube.video", "videoNotFound", "The video that you are trying to delete cannot be found."))
	case v.channel != c.id:
		send(w, nil, refuse(http.StatusForbidden, "youtube.common", "forbidden", fmt.Sprintf("The video %s cannot be deleted.", v.ID)))
	default:
		delete(s.videos, v.ID)
		send(w, nil, nil)
	}
}

package youtubesim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// session is an upload that was begun.
type session struct {
	id, channel string
	meta        metadata
	notify      bool
	parts       map[string]bool
	size        int64 // 0: not said yet
	offset      int64
	sum         hash.Hash
	done        string // id of the video
	opened      time.Time
}

// sessionLife is how long a session can be used.
const sessionLife = 7 * 24 * time.Hour

// granule is what the size of every piece but the last must be a multiple of.
const granule = 256 << 10

const maxVideo = 256 << 30

// metadata is a video as a client describes it.
type metadata struct {
	ID      string `json:"id"`
	Snippet *struct {
		Title                string   `json:"title"`
		Description          string   `json:"description"`
		Tags                 []string `json:"tags"`
		CategoryID           string   `json:"categoryId"`
		DefaultLanguage      string   `json:"defaultLanguage"`
		DefaultAudioLanguage string   `json:"defaultAudioLanguage"`
	} `json:"snippet"`
	Status *struct {
		PrivacyStatus       string `json:"privacyStatus"`
		PublishAt           string `json:"publishAt"`
		License             string `json:"license"`
		Embeddable          *bool  `json:"embeddable"`
		PublicStatsViewable *bool  `json:"publicStatsViewable"`
		ForKids             bool   `json:"selfDeclaredMadeForKids"`
		Synthetic           bool   `json:"containsSyntheticMedia"`
	} `json:"status"`
}

func (s *Sim) uploadRoutes() {
	s.mux.HandleFunc("POST /upload/youtube/v3/videos", s.upload)
	s.mux.HandleFunc("PUT /upload/youtube/v3/videos", s.upload)
	s.mux.HandleFunc("POST /upload/youtube/v3/thumbnails/set", s.thumbnail)
	s.mux.HandleFunc("POST /upload/youtube/v3/captions", s.addCaptions)
}

func (s *Sim) upload(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("upload_id") != "" {
		s.piece(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.open(r)
	if err != nil {
		send(w, nil, err)
		return
	}
	base := s.o.BaseURL
	if base == "" {
		base = "http://" + r.Host
		if r.TLS != nil {
			base = "https://" + r.Host
		}
	}
	w.Header().Set("Location", base+"/upload/youtube/v3/videos?uploadType=resumable&upload_id="+id)
	w.WriteHeader(http.StatusOK)
}

// open begins a session. The caller holds s.mu.
func (s *Sim) open(r *http.Request) (string, error) {
	c, err := s.authorise(r, "youtube.upload", "youtube", "youtube.force-ssl")
	if err != nil {
		return "", err
	}
	if r.Method != http.MethodPost || r.URL.Query().Get("uploadType") != "resumable" {
		return "", refuse(http.StatusBadRequest, "global", "badRequest", "Only resumable uploads are simulated")
	}
	ps, err := parts(r, "snippet", "status", "contentDetails", "recordingDetails", "localizations", "paidProductPlacementDetails", "processingDetails", "statistics")
	if err != nil {
		return "", err
	}
	x := &session{channel: c.id, parts: ps, notify: r.URL.Query().Get("notifySubscribers") != "false", sum: sha256.New(), opened: s.now()}
	if err := read(r, &x.meta); err != nil {
		return "", err
	}
	ctype := r.Header.Get("X-Upload-Content-Type")
	if !strings.HasPrefix(ctype, "video/") && ctype != "application/octet-stream" {
		return "", refuse(http.StatusBadRequest, "global", "badContent", "Media type '"+ctype+"' is not supported. Valid media types: [video/*, application/octet-stream]")
	}
	if v := r.Header.Get("X-Upload-Content-Length"); v != "" {
		if x.size, err = strconv.ParseInt(v, 10, 64); err != nil || x.size <= 0 || x.size > maxVideo {
			return "", refuse(http.StatusBadRequest, "global", "uploadTooLarge", "The file is empty or too large")
		}
	}
	if err := x.meta.check(); err != nil {
		return "", err
	}
	if s.stage.uploadLimit {
		return "", refuse(http.StatusBadRequest, "youtube.video", "uploadLimitExceeded", "The user has exceeded the number of videos they may upload.")
	}
	if err := s.spend("inserts", 1); err != nil {
		return "", err
	}
	x.id = s.unique("session")
	s.sessions[x.id] = x
	return x.id, nil
}

// check refuses what videos.insert and videos.update refuse.
func (m *metadata) check() error {
	if sn := m.Snippet; sn != nil {
		total := max(len(sn.Tags)-1, 0)
		for _, t := range sn.Tags {
			total += utf8.RuneCountInString(t)
			if strings.Contains(t, " ") {
				total += 2
			}
		}
		switch {
		case strings.TrimSpace(sn.Title) == "" || utf8.RuneCountInString(sn.Title) > 100 || strings.ContainsAny(sn.Title, "<>"):
			return invalid("invalidTitle", "The request metadata specifies an invalid or empty video title.")
		case len(sn.Description) > 5000 || strings.ContainsAny(sn.Description, "<>"):
			return invalid("invalidDescription", "The request metadata specifies an invalid video description.")
		case total > 500:
			return invalid("invalidTags", "The request metadata specifies invalid video keywords.")
		case sn.CategoryID != "" && !knownCategory[sn.CategoryID]:
			return invalid("invalidCategoryId", "The snippet.categoryId property specifies an invalid category ID.")
		}
	}
	if st := m.Status; st != nil {
		if p := st.PrivacyStatus; p != "" && p != "public" && p != "unlisted" && p != "private" {
			return invalid("invalidVideoMetadata", "The request metadata is invalid.")
		}
		if st.PublishAt != "" {
			if _, err := time.Parse(time.RFC3339, st.PublishAt); err != nil || st.PrivacyStatus != "private" {
				return invalid("invalidPublishAt", "The request metadata specifies an invalid scheduled publishing time.")
			}
		}
	}
	return nil
}

// knownCategory are the categories of videoCategories.list for the United States
// that can be assigned.
var knownCategory = map[string]bool{
	"1": true, "2": true, "10": true, "15": true, "17": true, "19": true, "20": true, "22": true, "23": true, "24": true, "25": true, "26": true, "27": true, "28": true, "29": true,
}

// piece takes a part of a file, or says how far it is.
func (s *Sim) piece(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.authorise(r, "youtube.upload", "youtube", "youtube.force-ssl")
	if err != nil {
		send(w, nil, err)
		return
	}
	x := s.sessions[r.URL.Query().Get("upload_id")]
	if x == nil || x.channel != c.id || s.now().Sub(x.opened) > sessionLife {
		http.Error(w, "Not Found", http.StatusNotFound)
		return
	}
	from, total, probe, ok := contentRange(r.Header.Get("Content-Range"), int64(len(body)))
	if !ok || total > 0 && x.size > 0 && total != x.size {
		http.Error(w, "Failed to parse Content-Range header.", http.StatusBadRequest)
		return
	}
	if total > 0 {
		x.size = total
	}
	if x.done != "" {
		if v := s.videos[x.done]; v != nil {
			answer(w, http.StatusOK, s.resource(v, x.parts, true))
		} else {
			http.Error(w, "Gone", http.StatusGone)
		}
		return
	}
	if !probe && from != x.offset { // stricter than the network may be: who does not know how far it is has to ask
		http.Error(w, "Invalid request. The first byte is not the one that is missing.", http.StatusBadRequest)
		return
	}
	if !probe {
		last := x.size > 0 && from+int64(len(body)) == x.size
		if !last && len(body)%granule != 0 {
			http.Error(w, "Invalid request. The number of bytes uploaded is required to be equal or greater than 262144, except for the final request.", http.StatusBadRequest)
			return
		}
		keep, cut := body, false
		if s.tear >= 0 {
			keep, cut = body[:min(s.tear, int64(len(body)))], true
			s.tear = -1
		}
		x.sum.Write(keep)
		x.offset += int64(len(keep))
		if cut {
			panic(http.ErrAbortHandler)
		}
	}
	if x.size > 0 && x.offset == x.size {
		v := s.create(x)
		answer(w, http.StatusOK, s.resource(v, x.parts, true))
		return
	}
	if x.offset > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", x.offset-1))
	}
	if r.Header.Get("X-Guploader-No-308") == "yes" {
		w.Header().Set("X-Http-Status-Code-Override", "308")
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

// contentRange reads a Content-Range header: "bytes 0-9/20", "bytes 0-9/*" or,
// to ask how far it is, "bytes */20".
func contentRange(h string, n int64) (from, total int64, probe, ok bool) {
	h, found := strings.CutPrefix(h, "bytes ")
	span, all, slash := strings.Cut(h, "/")
	if !found || !slash {
		return 0, 0, false, false
	}
	var err error
	if all != "*" {
		if total, err = strconv.ParseInt(all, 10, 64); err != nil {
			return 0, 0, false, false
		}
	}
	if span == "*" {
		return 0, total, true, n == 0
	}
	a, b, dash := strings.Cut(span, "-")
	from, err = strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	return from, total, false, dash && err == nil && err2 == nil && to-from+1 == n
}

// create makes the video of a finished upload. The caller holds s.mu.
func (s *Sim) create(x *session) *video {
	v := &video{channel: x.channel, made: s.now(), polls: s.o.Polls, counts: map[string]int64{"viewCount": 0, "likeCount": 0, "commentCount": 0}}
	v.ID, v.Captions = s.unique("video")[:11], map[string]string{}
	v.serial = s.serial
	v.Bytes, v.MediaHash, v.NotifySubscribed = x.size, hex.EncodeToString(x.sum.Sum(nil)), x.notify
	v.Privacy, v.PublishedAt, v.Category = "private", s.now(), "22"
	v.Embeddable, v.PublicStats, v.License = true, true, "youtube"
	if sn := x.meta.Snippet; sn != nil {
		v.Title, v.Text, v.Tags, v.defaultLang, v.language = sn.Title, sn.Description, sn.Tags, sn.DefaultLanguage, sn.DefaultAudioLanguage
		if sn.CategoryID != "" {
			v.Category = sn.CategoryID
		}
	}
	s.videos[v.ID] = v
	s.made = append(s.made, v.ID)
	x.done = v.ID
	if st := x.meta.Status; st != nil {
		v.ForKids, v.Synthetic = st.ForKids, st.Synthetic
		if at, err := time.Parse(time.RFC3339, st.PublishAt); err == nil {
			v.PublishAt = at
		}
		if p := st.PrivacyStatus; p != "private" && s.o.Lock == "" {
			if p == "" {
				p = "public" // the default of the property
			}
			s.publish(v, p, "")
		}
	}
	s.settle()
	return v
}

// file reads the bytes of a small upload: alone, or as the second part of a
// multipart/related body.
func file(r *http.Request) (meta, body []byte, ctype string, err error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, nil, "", refuse(http.StatusBadRequest, "global", "mediaBodyRequired", "The request does not include the file.")
	}
	if kind != "multipart/related" {
		body, err = io.ReadAll(r.Body)
		return nil, body, kind, err
	}
	m := multipart.NewReader(r.Body, params["boundary"])
	for n := range 2 {
		p, err := m.NextPart()
		if err != nil {
			return nil, nil, "", refuse(http.StatusBadRequest, "global", "mediaBodyRequired", "The request does not include the file.")
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, nil, "", err
		}
		if n == 0 {
			meta = b
		} else {
			body, ctype = b, p.Header.Get("Content-Type")
		}
	}
	return meta, body, ctype, nil
}

// maxThumb is the largest thumbnail.
const maxThumb = 50 << 20

func (s *Sim) thumbnail(w http.ResponseWriter, r *http.Request) {
	_, body, _, err := file(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, aerr := s.authorise(r, "youtube.upload", "youtube", "youtube.force-ssl")
	if aerr != nil {
		send(w, nil, aerr)
		return
	}
	v := s.videos[r.URL.Query().Get("videoId")]
	kind := http.DetectContentType(body)
	switch {
	case err != nil || len(body) == 0:
		err = refuse(http.StatusBadRequest, "youtube.thumbnail", "mediaBodyRequired", "The request does not include the image content.")
	case v == nil:
		err = refuse(http.StatusNotFound, "youtube.thumbnail", "videoNotFound", "The video that you are trying to insert a thumbnail image for cannot be found.")
	case v.channel != c.id || s.o.Unverified:
		err = refuse(http.StatusForbidden, "youtube.thumbnail", "forbidden", "The authenticated user doesn't have permissions to upload and set custom video thumbnails.")
	case len(body) > maxThumb:
		err = refuse(http.StatusRequestEntityTooLarge, "youtube.thumbnail", "uploadTooLarge", "Media is too large")
	case kind != "image/jpeg" && kind != "image/png":
		err = refuse(http.StatusBadRequest, "youtube.thumbnail", "invalidImage", "The provided image content is invalid.")
	default:
		err = s.spend("units", 50)
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	v.Thumbnail = digest(body)
	send(w, map[string]any{"kind": "youtube#thumbnailSetResponse", "etag": "e", "items": []any{map[string]any{"default": map[string]any{"url": "https://i.ytimg.com/vi/" + v.ID + "/default.jpg", "width": 120, "height": 90}}}}, nil)
}

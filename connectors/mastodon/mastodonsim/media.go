package mastodonsim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// media is an uploaded file.
type media struct {
	Media
	account *account
	made    time.Time
	polls   int  // looks that find it unfinished
	failed  bool //
	status  string
}

// mediaLife is how long a file lives that no post shows.
const mediaLife = 24 * time.Hour

func (s *Sim) mediaRoutes() {
	s.mux.HandleFunc("POST /api/v2/media", func(w http.ResponseWriter, r *http.Request) { s.upload(w, r, true) })
	s.mux.HandleFunc("POST /api/v1/media", func(w http.ResponseWriter, r *http.Request) { s.upload(w, r, false) })
	s.mux.HandleFunc("GET /api/v1/media/{id}", s.getMedia)
	s.mux.HandleFunc("PUT /api/v1/media/{id}", s.putMedia)
	s.mux.HandleFunc("DELETE /api/v1/media/{id}", s.deleteMedia)
}

// upload takes a file. Version 2 answers before a moving picture is processed,
// but on a GoToSocial.
func (s *Sim) upload(w http.ResponseWriter, r *http.Request, v2 bool) {
	t := s.signed(w, r, "write:media")
	if t == nil {
		return
	}
	f, err := readForm(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request could not be read")
		return
	}
	file, ok := f.files["file"]
	alt, focus := f.get("description"), f.get("focus")
	switch {
	case !ok || len(file.bytes) == 0:
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: File can't be blank")
		return
	case !slices.Contains(mimes, file.mime):
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: File content type is invalid, File is invalid")
		return
	case strings.HasPrefix(file.mime, "image/") && len(file.bytes) > imageLimit:
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: File file size must be less than 16 MB")
		return
	case len(file.bytes) > videoLimit:
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: File file size must be less than 99 MB")
		return
	case !s.describe(w, alt, focus):
		return
	}
	m := &media{Media: Media{MIME: file.mime, Alt: alt, Focus: focus, Type: "image"}, account: t.account}
	switch kind, _, _ := strings.Cut(file.mime, "/"); {
	case file.mime == "image/gif":
		m.Type = "gifv"
	case kind != "image":
		m.Type = kind
	}
	s.mu.Lock()
	m.ID, m.made = s.newID(), s.now()
	if m.Type != "image" && v2 && !s.o.GoToSocial {
		m.polls = s.o.MediaPolls
		m.failed = s.stage.failMedia
	}
	s.media[m.ID] = m
	out := s.mediaView(r, m)
	s.mu.Unlock()
	if m.polls > 0 || m.failed {
		answer(w, http.StatusAccepted, out)
		return
	}
	answer(w, http.StatusOK, out)
}

// describe checks what is said of a file.
func (s *Sim) describe(w http.ResponseWriter, alt, focus string) bool {
	if utf8.RuneCountInString(alt) > s.o.MaxAlt {
		refuse(w, http.StatusUnprocessableEntity, fmt.Sprintf("Validation failed: Description is too long (maximum is %d characters)", s.o.MaxAlt))
		return false
	}
	if focus == "" {
		return true
	}
	x, y, ok := strings.Cut(focus, ",")
	for _, v := range []string{x, y} {
		if n, err := strconv.ParseFloat(v, 64); err != nil || n < -1 || n > 1 {
			ok = false
		}
	}
	if !ok {
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: File focus is invalid")
	}
	return ok
}

// mine returns the file of a request that is the caller's own and in no post, or
// answers that there is none.
func (s *Sim) mine(w http.ResponseWriter, r *http.Request, t *token) *media {
	m := s.media[r.PathValue("id")]
	if m == nil || m.account != t.account || m.status != "" || s.now().Sub(m.made) > mediaLife {
		refuse(w, http.StatusNotFound, "Record not found")
		return nil
	}
	return m
}

func (s *Sim) getMedia(w http.ResponseWriter, r *http.Request) {
	t := s.signed(w, r, "write:media")
	if t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mine(w, r, t)
	switch {
	case m == nil:
	case m.polls > 1:
		m.polls--
		answer(w, http.StatusPartialContent, s.mediaView(r, m))
	case m.failed:
		refuse(w, http.StatusUnprocessableEntity, "There was a problem processing the file")
	default:
		m.polls = 0
		answer(w, http.StatusOK, s.mediaView(r, m))
	}
}

func (s *Sim) putMedia(w http.ResponseWriter, r *http.Request) {
	t := s.signed(w, r, "write:media")
	if t == nil {
		return
	}
	f, err := readForm(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request could not be read")
		return
	}
	if !s.describe(w, f.get("description"), f.get("focus")) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mine(w, r, t)
	if m == nil {
		return
	}
	if f.has("description") {
		m.Alt = f.get("description")
	}
	if f.has("focus") {
		m.Focus = f.get("focus")
	}
	answer(w, http.StatusOK, s.mediaView(r, m))
}

func (s *Sim) deleteMedia(w http.ResponseWriter, r *http.Request) {
	t := s.signed(w, r, "write:media")
	if t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mine(w, r, t); m != nil {
		delete(s.media, m.ID)
		answer(w, http.StatusOK, object{})
	}
}

// mediaView is a file as the API shows it. The caller holds s.mu.
func (s *Sim) mediaView(r *http.Request, m *media) object {
	at := s.base(r) + "/files/" + m.ID
	out := object{
		"id": m.ID, "type": m.Type, "url": at, "preview_url": at + "/small", "remote_url": nil, "preview_remote_url": nil, "text_url": nil,
		"description": orNil(m.Alt), "blurhash": nil, "meta": object{"original": object{"width": 64, "height": 64, "size": "64x64", "aspect": 1}},
	}
	if m.polls > 0 || m.failed {
		out["url"] = nil
	}
	if x, y, ok := strings.Cut(m.Focus, ","); ok {
		fx, _ := strconv.ParseFloat(x, 64) //nolint:errcheck // it was checked when it came
		fy, _ := strconv.ParseFloat(y, 64) //nolint:errcheck // as above
		out["meta"].(object)["focus"] = object{"x": fx, "y": fy}
	}
	return out
}

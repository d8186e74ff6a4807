package twittersim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// media is a file that somebody uploaded. The bytes are counted, not kept.
type media struct {
	id, account    string
	category, mime string
	total, got     int64
	segments       map[int]segment
	finished       bool
	polls          int
	failure        string
	alt            string
	expires        time.Time
}

// segment is a piece of a file.
type segment struct {
	size int64
	sum  string // SHA-256, hex
}

func (s *Sim) mediaRoutes() {
	s.mux.HandleFunc("POST /2/media/upload", s.uploadMedia)
	s.mux.HandleFunc("POST /2/media/upload/initialize", s.initializeMedia)
	s.mux.HandleFunc("POST /2/media/upload/{id}/append", s.appendMedia)
	s.mux.HandleFunc("POST /2/media/upload/{id}/finalize", s.finalizeMedia)
	s.mux.HandleFunc("GET /2/media/upload", s.mediaStatus)
	s.mux.HandleFunc("POST /2/media/metadata", s.mediaMetadata)
}

// The largest files by category (docs.x.com, Media best practices, and changelog
// of 2026-09-01).
var largest = map[string]int64{"tweet_image": 5_000_000, "tweet_gif": 15_000_000, "tweet_video": 8_000_000_000}

var types = map[string][]string{
	"tweet_image": {"image/jpeg", "image/png", "image/webp", "image/bmp", "image/pjpeg", "image/tiff", "image/gif"},
	"tweet_gif":   {"image/gif"},
	"tweet_video": {"video/mp4", "video/quicktime", "video/webm", "video/mp2t"},
}

func (m *media) shownAs() string {
	switch {
	case m == nil:
		return "photo"
	case m.category == "tweet_gif":
		return "animated_gif"
	case m.category == "tweet_video":
		return "video"
	}
	return "photo"
}

// keep makes a file, or says what is wrong with it. The caller holds s.mu.
func (s *Sim) keep(a *Account, category, mime string, total int64) (*media, error) {
	switch {
	case !slices.Contains(types[category], mime):
		return nil, invalid("media_type", mime, "The media type is not supported for this category")
	case total < 1 || total > largest[category]:
		return nil, invalid("media", strconv.FormatInt(total, 10), "The media is too large or empty")
	}
	m := &media{id: s.id(), account: a.ID, category: category, mime: mime, total: total, segments: map[int]segment{}, expires: s.now().Add(24 * time.Hour)}
	s.media[m.id] = m
	return m, nil
}

func (s *Sim) shown(m *media, more map[string]any) map[string]any {
	out := map[string]any{"id": m.id, "media_key": "3_" + m.id, "expires_after_secs": 86400}
	maps.Copy(out, more)
	return map[string]any{"data": out}
}

func (s *Sim) uploadMedia(w http.ResponseWriter, r *http.Request) {
	fields, size, err := parts(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, authErr := s.enter(w, r, "upload", "media.write")
	if authErr != nil || err != nil {
		if authErr == nil {
			authErr = invalid("media", "", "The media field is missing")
		}
		send(w, nil, authErr)
		return
	}
	mime := fields["media_type"]
	if mime == "" {
		mime = fields["content-type"]
	}
	m, err := s.keep(a, fields["media_category"], mime, size)
	if err != nil {
		send(w, nil, err)
		return
	}
	m.got, m.finished = size, true
	send(w, s.shown(m, map[string]any{"size": size}), nil)
}

// parts reads a multipart form: its fields, and how large its file is.
func parts(r *http.Request) (map[string]string, int64, error) {
	mr, err := r.MultipartReader()
	if err != nil {
		return nil, 0, err
	}
	fields, size := map[string]string{}, int64(-1)
	for {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if p.FormName() == "media" {
			fields["content-type"] = p.Header.Get("Content-Type")
			sum := sha256.New()
			if size, err = io.Copy(sum, p); err != nil {
				return nil, 0, err
			}
			fields["sum"] = hex.EncodeToString(sum.Sum(nil))
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p, 1000))
		if err != nil {
			return nil, 0, err
		}
		fields[p.FormName()] = string(b)
	}
	if size < 0 {
		return nil, 0, io.ErrUnexpectedEOF
	}
	return fields, size, nil
}

func (s *Sim) initializeMedia(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Type     string `json:"media_type"`
		Category string `json:"media_category"`
		Total    int64  `json:"total_bytes"`
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, authErr := s.enter(w, r, "initialize", "media.write")
	if authErr != nil || err != nil {
		if authErr == nil {
			authErr = invalid("media", "", "The body cannot be read")
		}
		send(w, nil, authErr)
		return
	}
	m, err := s.keep(a, in.Category, in.Type, in.Total)
	if err != nil {
		send(w, nil, err)
		return
	}
	send(w, s.shown(m, nil), nil)
}

// own finds a file of an account. The caller holds s.mu.
func (s *Sim) own(a *Account, id string) (*media, error) {
	m := s.media[id]
	if m == nil || m.account != a.ID || !s.now().Before(m.expires) {
		return nil, invalid("media_id", id, "The media id is not valid")
	}
	return m, nil
}

func (s *Sim) appendMedia(w http.ResponseWriter, r *http.Request) {
	fields, size, err := parts(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, authErr := s.enter(w, r, "append", "media.write")
	if authErr != nil {
		send(w, nil, authErr)
		return
	}
	m, ownErr := s.own(a, r.PathValue("id"))
	index, numberErr := strconv.Atoi(fields["segment_index"])
	switch {
	case ownErr != nil:
		send(w, nil, ownErr)
	case err != nil || numberErr != nil || index < 0 || index > 999 || size > 5_000_000 || m.finished:
		send(w, nil, invalid("segment_index", fields["segment_index"], "The segment is not valid"))
	default:
		m.segments[index] = segment{size, fields["sum"]}
		send(w, map[string]any{"data": map[string]any{"expires_at": m.expires.Unix()}}, nil)
	}
}

func (s *Sim) finalizeMedia(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "finalize", "media.write")
	if err != nil {
		send(w, nil, err)
		return
	}
	m, err := s.own(a, r.PathValue("id"))
	if err != nil {
		send(w, nil, err)
		return
	}
	if !m.finished {
		m.got = 0
		for i := range len(m.segments) {
			one, ok := m.segments[i]
			if !ok {
				break
			}
			m.got += one.size
		}
		if m.got != m.total {
			send(w, nil, invalid("media_id", m.id, "Segments do not add up to provided total file size."))
			return
		}
		m.finished, m.polls, m.failure = true, s.o.MediaPolls, s.stage.failing
	}
	send(w, s.shown(m, s.processing(m)), nil)
}

// processing is how far a file is. One that is ready at once says nothing of it.
// The caller holds s.mu.
func (s *Sim) processing(m *media) map[string]any {
	out := map[string]any{"size": m.total}
	switch {
	case m.polls > 0:
		out["processing_info"] = map[string]any{"state": "pending", "check_after_secs": 1}
	case m.failure != "":
		out["processing_info"] = map[string]any{"state": "failed", "error": map[string]any{"code": 1, "name": "InvalidMedia", "message": m.failure}}
	}
	return out
}

func (s *Sim) mediaStatus(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "status", "media.write")
	if err == nil && r.URL.Query().Get("command") != "STATUS" {
		err = invalid("command", r.URL.Query().Get("command"), "The command is not STATUS")
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	m, err := s.own(a, r.URL.Query().Get("media_id"))
	if err != nil {
		send(w, nil, err)
		return
	}
	m.polls--
	more := s.processing(m)
	if _, busy := more["processing_info"]; !busy {
		more["processing_info"] = map[string]any{"state": "succeeded", "progress_percent": 100}
	} else if m.polls > 0 {
		more["processing_info"] = map[string]any{"state": "in_progress", "check_after_secs": 1, "progress_percent": 40}
	}
	send(w, s.shown(m, more), nil)
}

func (s *Sim) mediaMetadata(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID       string `json:"id"`
		Metadata struct {
			Alt struct {
				Text string `json:"text"`
			} `json:"alt_text"`
		} `json:"metadata"`
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10)) // what cannot be read is no JSON
	err := json.NewDecoder(bytes.NewReader(body)).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	a, authErr := s.enter(w, r, "metadata", "media.write")
	if authErr != nil {
		send(w, nil, authErr)
		return
	}
	m, ownErr := s.own(a, in.ID)
	switch {
	case err != nil || ownErr != nil:
		send(w, nil, invalid("id", in.ID, "The media id is not valid"))
	case utf8.RuneCountInString(in.Metadata.Alt.Text) > 1000:
		send(w, nil, invalid("metadata.alt_text.text", strings.Repeat("…", 1), "The alt text is longer than 1000 characters"))
	default:
		m.alt = in.Metadata.Alt.Text
		send(w, map[string]any{"data": map[string]any{"id": m.id, "associated_metadata": map[string]any{"alt_text": map[string]any{"text": m.alt}}}}, nil)
	}
}

// attach gives a post its files. The caller holds s.mu.
func (s *Sim) attach(p *Post, ids []string) error {
	if len(ids) < 1 || len(ids) > 4 {
		return invalid("media.media_ids", strings.Join(ids, ","), "A post has 1 to 4 media")
	}
	count := map[string]int{}
	for _, id := range ids {
		m := s.media[id]
		if m == nil || m.account != p.Account || !m.finished || m.polls > 0 || m.failure != "" || !s.now().Before(m.expires) {
			return invalid("media.media_ids", id, "Your media IDs are invalid.")
		}
		count[m.category]++
		p.Media, p.Alt = append(p.Media, id), append(p.Alt, m.alt)
	}
	if len(count) > 1 || count["tweet_gif"] > 1 || count["tweet_video"] > 1 {
		return invalid("media.media_ids", strings.Join(ids, ","), "A post has up to 4 photos, one GIF or one video")
	}
	return nil
}

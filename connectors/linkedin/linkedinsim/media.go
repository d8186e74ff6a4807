package linkedinsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
)

type asset struct {
	urn, owner string
	kind       string // images, documents, videos
	size       int64  // of a video, as it was announced
	pieces     []*slot
	done       bool // all bytes are there, and a video was finalised
	polls      int
	failed     bool
}

// slot is an address to which bytes go.
type slot struct {
	asset       *asset
	first, last int64 // last is -1 where any size will do
	etag        string
	bytes       int64
	expired     bool
}

// media are the collections of files.
func (s *Sim) media(c *call, kind string) {
	switch action := c.query.text("action"); {
	case len(c.path) == 2 && c.r.Method == http.MethodGet:
		s.assetStatus(c, kind)
	case len(c.path) == 1 && c.r.Method == http.MethodPost && action == "initializeUpload":
		s.initialize(c, kind)
	case len(c.path) == 1 && c.r.Method == http.MethodPost && action == "finalizeUpload" && kind == "videos":
		s.finalize(c)
	default:
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "unknown action", "")
	}
}

func (s *Sim) initialize(c *call, kind string) {
	var in struct {
		Request struct {
			Owner string `json:"owner"`
			Size  int64  `json:"fileSizeBytes"`
		} `json:"initializeUploadRequest"`
	}
	if err := json.Unmarshal(body(c.r), &in); err != nil || in.Request.Owner == "" {
		refuse(c.w, http.StatusBadRequest, "MISSING_FIELD", "owner is missing", "initializeUploadRequest/owner")
		return
	}
	if !s.acts(c, in.Request.Owner, "w_member_social", "w_organization_social") {
		return
	}
	name := map[string]string{"images": "image", "documents": "document", "videos": "video"}[kind]
	a := &asset{urn: "urn:li:" + name + ":C5F" + s.next(), owner: in.Request.Owner, kind: kind, size: in.Request.Size, polls: s.o.MediaPolls, failed: s.stage.mediaFails}
	s.assets[a.urn] = a
	out := map[string]any{name: a.urn}
	expires := s.now().Add(uploadLife).UnixMilli()
	if kind != "videos" {
		out["uploadUrl"], out["uploadUrlExpiresAt"] = s.slot(c, a, 0, -1), expires
		answer(c.w, http.StatusOK, map[string]any{"value": out})
		return
	}
	if a.size <= 0 {
		refuse(c.w, http.StatusBadRequest, "MISSING_FIELD", "fileSizeBytes is missing", "initializeUploadRequest/fileSizeBytes")
		return
	}
	var parts []any
	for first := int64(0); first < a.size; first += s.o.PartSize {
		last := min(first+s.o.PartSize, a.size) - 1
		parts = append(parts, map[string]any{"uploadUrl": s.slot(c, a, first, last), "firstByte": first, "lastByte": last})
	}
	out["uploadInstructions"], out["uploadToken"], out["uploadUrlsExpireAt"] = parts, "", expires
	answer(c.w, http.StatusOK, map[string]any{"value": out})
}

func (s *Sim) slot(c *call, a *asset, first, last int64) string {
	id := s.next()
	p := &slot{asset: a, first: first, last: last}
	s.uploads[id] = p
	a.pieces = append(a.pieces, p)
	return s.base(c.r) + "/dms-uploads/" + id + "?sau=sim"
}

// receive is the upload server. A login may come with the bytes; it is not
// looked at.
func (s *Sim) receive(w http.ResponseWriter, r *http.Request) {
	p := s.uploads[strings.TrimPrefix(r.URL.Path, "/dms-uploads/")]
	switch {
	case p == nil || r.Method != http.MethodPut:
		refuse(w, http.StatusNotFound, "", "no such upload", "")
		return
	case p.expired:
		refuse(w, http.StatusBadRequest, "EXPIRED_UPLOAD_URL", "the upload URL has expired", "")
		return
	}
	b := body(r)
	if p.last >= 0 && int64(len(b)) != p.last-p.first+1 || len(b) == 0 {
		refuse(w, http.StatusBadRequest, "", "the bytes are not those of the instruction", "")
		return
	}
	sum := sha256.Sum256(b)
	p.bytes, p.etag = int64(len(b)), `"`+hex.EncodeToString(sum[:8])+`"`
	if p.asset.kind != "videos" {
		p.asset.done = true
	}
	w.Header().Set("ETag", p.etag)
	w.WriteHeader(http.StatusCreated)
}

// finalize wants the names of all pieces in order; with quotes or without,
// because the pages do not say.
func (s *Sim) finalize(c *call) {
	var in struct {
		Request struct {
			Video string   `json:"video"`
			Token *string  `json:"uploadToken"`
			Parts []string `json:"uploadedPartIds"`
		} `json:"finalizeUploadRequest"`
	}
	if err := json.Unmarshal(body(c.r), &in); err != nil || in.Request.Token == nil {
		refuse(c.w, http.StatusBadRequest, "MISSING_FIELD", "the request cannot be read", "finalizeUploadRequest")
		return
	}
	a := s.assets[in.Request.Video]
	if a == nil || a.kind != "videos" {
		refuse(c.w, http.StatusBadRequest, "INVALID_URN_ID", "no such video", "finalizeUploadRequest/video")
		return
	}
	ok := len(in.Request.Parts) == len(a.pieces)
	for i, p := range a.pieces {
		ok = ok && p.etag != "" && strings.Trim(in.Request.Parts[i], `"`) == strings.Trim(p.etag, `"`)
	}
	if !ok {
		refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "the parts are not those that were uploaded", "finalizeUploadRequest/uploadedPartIds")
		return
	}
	a.done = true
	c.w.WriteHeader(http.StatusOK)
}

func (a *asset) status() string {
	switch {
	case a.failed:
		return "PROCESSING_FAILED"
	case !a.done:
		return "WAITING_UPLOAD"
	case a.polls > 0:
		return "PROCESSING"
	}
	return "AVAILABLE"
}

func (s *Sim) assetStatus(c *call, kind string) {
	a := s.assets[c.path[1]]
	switch {
	case s.o.NoAssets && kind != "videos":
		refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "Not enough permissions to access: "+kind+".GET", "")
		return
	case a == nil || a.kind != kind:
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "no such file", "")
		return
	}
	out := map[string]any{"id": a.urn, "owner": a.owner, "status": a.status()}
	if a.failed {
		out["processingFailureReason"] = "the file cannot be read"
	}
	if a.done && a.polls > 0 {
		a.polls--
	}
	answer(c.w, http.StatusOK, out)
}

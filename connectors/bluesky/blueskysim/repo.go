package blueskysim

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/connectors/internal/simkit"
)

const postCollection = "app.bsky.feed.post"

// Points of a write (bluesky-social/bsky-docs, rate limits, read 2026-04-21).
const (
	pointsCreate = 3
	pointsUpdate = 2
	pointsDelete = 1
)

// write is points taken at a time.
type write struct {
	at     time.Time
	points int
}

var rkeyPattern = regexp.MustCompile(`^[A-Za-z0-9._:~-]{1,512}$`)

func (s *Sim) repoRoutes() {
	s.mux.HandleFunc("POST /xrpc/com.atproto.repo.uploadBlob", s.uploadBlob)
	s.mux.HandleFunc("POST /xrpc/com.atproto.repo.putRecord", s.writing(s.putRecord))
	s.mux.HandleFunc("POST /xrpc/com.atproto.repo.createRecord", s.writing(s.createRecord))
	s.mux.HandleFunc("POST /xrpc/com.atproto.repo.deleteRecord", s.writing(s.deleteRecord))
	s.mux.HandleFunc("POST /xrpc/com.atproto.repo.applyWrites", s.writing(s.applyWrites))
	s.mux.HandleFunc("GET /xrpc/com.atproto.repo.getRecord", s.getRecord)
	s.mux.HandleFunc("GET /xrpc/com.atproto.repo.listRecords", s.listRecords)
}

// writeInput is the body of the writing methods.
type writeInput struct {
	hash       string          // of the whole body, for the journal
	Repo       string          `json:"repo"`
	Collection string          `json:"collection"`
	RKey       string          `json:"rkey"`
	Validate   *bool           `json:"validate"`
	Record     json.RawMessage `json:"record"`
	SwapRecord json.RawMessage `json:"swapRecord"` // a cid, null, or absent
	Writes     []struct {
		Type       string          `json:"$type"`
		Collection string          `json:"collection"`
		RKey       string          `json:"rkey"`
		Value      json.RawMessage `json:"value"`
	} `json:"writes"`
}

// writing wraps a method that changes a repository: body, token, owner.
func (s *Sim) writing(do func(http.ResponseWriter, *account, *token, *writeInput) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in := writeInput{hash: simkit.BodyHash(r)}
		bodyErr := read(r, &in)
		s.mu.Lock()
		defer s.mu.Unlock()
		a, t, err := s.authorise(w, r)
		if err == nil {
			err = bodyErr
		}
		if err == nil && s.find(in.Repo) != a {
			err = invalid("Could not find repo: " + in.Repo)
			if s.find(in.Repo) != nil {
				err = &refusal{http.StatusUnauthorized, "AuthenticationRequired", "Invalid repo"}
			}
		}
		if err != nil {
			send(w, nil, err)
			return
		}
		out, err := do(w, a, t, &in)
		send(w, out, err)
	}
}

func (s *Sim) putRecord(w http.ResponseWriter, a *account, t *token, in *writeInput) (any, error) {
	if err := t.mayWrite(in.Collection, "create", "update"); err != nil {
		return nil, err
	}
	if !rkeyPattern.MatchString(in.RKey) || in.RKey == "." || in.RKey == ".." {
		return nil, invalid(fmt.Sprintf("Invalid record key (got %q) at $.rkey", in.RKey))
	}
	value, cid, err := s.validated(a, in.Collection, in.Record)
	if err != nil {
		return nil, err
	}
	old, exists := a.records[in.Collection][in.RKey]
	switch swap := strings.Trim(string(in.SwapRecord), `"`); {
	case in.SwapRecord == nil:
	case swap == "null" && exists, swap != "null" && (!exists || old.cid != swap):
		return nil, &refusal{http.StatusBadRequest, "InvalidSwap", "Record was at " + old.cid}
	}
	uri := atURI(a.DID, in.Collection, in.RKey)
	if exists && old.cid == cid {
		// The same record again: no commit, the same answer.
		return map[string]any{"uri": uri, "cid": cid, "validationStatus": "valid"}, nil
	}
	points := pointsCreate
	if exists {
		points = pointsUpdate
	}
	if err := s.spend(w, a, points); err != nil {
		return nil, err
	}
	s.store(a, in, in.Collection, in.RKey, stored{cid, value, s.now()})
	return s.writeAnswer(uri, cid), nil
}

func (s *Sim) createRecord(w http.ResponseWriter, a *account, t *token, in *writeInput) (any, error) {
	if err := t.mayWrite(in.Collection, "create"); err != nil {
		return nil, err
	}
	value, cid, err := s.validated(a, in.Collection, in.Record)
	if err != nil {
		return nil, err
	}
	rkey := in.RKey
	if rkey == "" {
		rkey = s.newKey()
	} else if !rkeyPattern.MatchString(rkey) {
		return nil, invalid(fmt.Sprintf("Invalid record key (got %q) at $.rkey", rkey))
	}
	if _, exists := a.records[in.Collection][rkey]; exists {
		// Not a clean conflict: the reference server answers so.
		return nil, fmt.Errorf("record exists")
	}
	if err := s.spend(w, a, pointsCreate); err != nil {
		return nil, err
	}
	s.store(a, in, in.Collection, rkey, stored{cid, value, s.now()})
	return s.writeAnswer(atURI(a.DID, in.Collection, rkey), cid), nil
}

func (s *Sim) deleteRecord(w http.ResponseWriter, a *account, t *token, in *writeInput) (any, error) {
	if err := t.mayWrite(in.Collection, "delete"); err != nil {
		return nil, err
	}
	if _, exists := a.records[in.Collection][in.RKey]; !exists {
		return map[string]any{}, nil
	}
	if err := s.spend(w, a, pointsDelete); err != nil {
		return nil, err
	}
	s.erase(a, in, in.Collection, in.RKey)
	return map[string]any{"commit": map[string]string{"cid": cidOf(codecCBOR, digest(in.RKey)), "rev": s.newKey()}}, nil
}

func (s *Sim) applyWrites(w http.ResponseWriter, a *account, t *token, in *writeInput) (any, error) {
	if len(in.Writes) > 200 {
		return nil, invalid("Too many writes. Max: 200")
	}
	type change struct {
		collection, rkey string
		rec              *stored
	}
	var changes []change
	var results []map[string]any
	points := 0
	for _, wr := range in.Writes {
		verb := wr.Type[strings.Index(wr.Type, "#")+1:]
		if err := t.mayWrite(wr.Collection, verb); err != nil {
			return nil, err
		}
		switch verb {
		case "create", "update":
			value, cid, err := s.validated(a, wr.Collection, wr.Value)
			if err != nil {
				return nil, err
			}
			rkey := wr.RKey
			if rkey == "" {
				rkey = s.newKey()
			}
			if _, exists := a.records[wr.Collection][rkey]; exists != (verb == "update") {
				return nil, fmt.Errorf("record exists or not")
			}
			changes = append(changes, change{wr.Collection, rkey, &stored{cid, value, s.now()}})
			points += map[string]int{"create": pointsCreate, "update": pointsUpdate}[verb]
			results = append(results, map[string]any{"$type": "com.atproto.repo.applyWrites#" + verb + "Result", "uri": atURI(a.DID, wr.Collection, rkey), "cid": cid})
		case "delete":
			changes = append(changes, change{wr.Collection, wr.RKey, nil})
			points += pointsDelete
			results = append(results, map[string]any{"$type": "com.atproto.repo.applyWrites#deleteResult"})
		default:
			return nil, invalid("Action not supported: " + wr.Type)
		}
	}
	if err := s.spend(w, a, points); err != nil {
		return nil, err
	}
	for _, c := range changes {
		if c.rec == nil {
			s.erase(a, in, c.collection, c.rkey)
		} else {
			s.store(a, in, c.collection, c.rkey, *c.rec)
		}
	}
	return map[string]any{"results": results}, nil
}

// validated returns a record in canonical JSON with its id. The caller holds
// s.mu.
func (s *Sim) validated(a *account, collection string, raw json.RawMessage) (json.RawMessage, string, error) {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, "", invalid("Input must have the property \"record\"")
	}
	rec, ok := v.(map[string]any)
	if !ok {
		return nil, "", invalid("Input/record must be an object")
	}
	if rec["$type"] != collection {
		return nil, "", invalid(fmt.Sprintf("Invalid $type: expected %s, got %v", collection, rec["$type"]))
	}
	if collection == postCollection {
		if err := checkPost(rec); err != nil {
			return nil, "", invalid("Invalid " + collection + " record: " + err.Error())
		}
	}
	canonical, err := json.Marshal(v)
	if err != nil {
		return nil, "", invalid("Input/record must be an object")
	}
	for _, cid := range blobsIn(canonical) {
		if a.blobs[cid] == nil {
			return nil, "", &refusal{http.StatusBadRequest, "BlobNotFound", "Could not find blob: " + cid}
		}
	}
	return canonical, cidOf(codecCBOR, canonical), nil
}

// store puts a record into its place and notes it in the journal.
func (s *Sim) store(a *account, in *writeInput, collection, rkey string, rec stored) {
	if a.records[collection] == nil {
		a.records[collection] = map[string]stored{}
	}
	op := "create"
	if _, exists := a.records[collection][rkey]; exists {
		op = "update"
	}
	a.records[collection][rkey] = rec
	s.note(op, a, in, atURI(a.DID, collection, rkey), publicPost(a.DID, rkey, rec).Text)
}

func (s *Sim) erase(a *account, in *writeInput, collection, rkey string) {
	delete(a.records[collection], rkey)
	s.note("delete", a, in, atURI(a.DID, collection, rkey), "")
}

func (s *Sim) note(op string, a *account, in *writeInput, uri, text string) {
	s.Kit.Journal.Add(simkit.Effect{At: s.now(), Op: op, Account: a.DID, RemoteID: uri, Hash: in.hash, Text: text})
}

func (s *Sim) writeAnswer(uri, cid string) map[string]any {
	return map[string]any{
		"uri": uri, "cid": cid, "validationStatus": "valid",
		"commit": map[string]string{"cid": cidOf(codecCBOR, digest(uri, cid)), "rev": s.newKey()},
	}
}

// newKey makes a record key that sorts by time. The caller holds s.mu.
func (s *Sim) newKey() string {
	const alphabet = "234567abcdefghijklmnopqrstuvwxyz"
	s.serial++
	n := uint64(s.now().UnixMicro())<<10 | uint64(s.serial&0x3ff)
	var b [13]byte
	for i := 12; i >= 0; i-- {
		b[i] = alphabet[n&31]
		n >>= 5
	}
	return string(b[:])
}

func (s *Sim) uploadBlob(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, readErr := io.Copy(sum, io.LimitReader(r.Body, s.o.BlobLimit+1))
	s.mu.Lock()
	defer s.mu.Unlock()
	a, t, err := s.authorise(w, r)
	switch mime := r.Header.Get("Content-Type"); {
	case err != nil:
	case readErr != nil || n == 0:
		err = invalid("Request aborted")
	case mime == "":
		err = invalid("Request encoding (Content-Type) required but not provided")
	case n > s.o.BlobLimit:
		err = &refusal{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "request entity too large"}
	default:
		err = t.may("blob:")
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	mime := r.Header.Get("Content-Type")
	answer(w, http.StatusOK, map[string]any{"blob": a.keep(mime, n, cidFrom(codecRaw, sum.Sum(nil)), s.now())})
}

// keep stores a blob and returns its reference.
func (a *account) keep(mime string, n int64, cid string, at time.Time) map[string]any {
	a.blobs[cid] = &blob{mime: mime, bytes: n, at: at}
	return map[string]any{"$type": "blob", "ref": map[string]string{"$link": cid}, "mimeType": mime, "size": n}
}

func (s *Sim) getRecord(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(q.Get("repo"))
	if a == nil {
		send(w, nil, invalid("Could not find repo: "+q.Get("repo")))
		return
	}
	rec, ok := a.records[q.Get("collection")][q.Get("rkey")]
	uri := atURI(a.DID, q.Get("collection"), q.Get("rkey"))
	if !ok || q.Get("cid") != "" && q.Get("cid") != rec.cid {
		refuse(w, http.StatusBadRequest, "RecordNotFound", "Could not locate record: "+uri)
		return
	}
	answer(w, http.StatusOK, map[string]any{"uri": uri, "cid": rec.cid, "value": rec.value})
}

// listRecords answers newest key first; the cursor is the last key.
func (s *Sim) listRecords(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := 50
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 100 {
			send(w, nil, invalid("Params/limit must be between 1 and 100"))
			return
		}
		limit = n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(q.Get("repo"))
	if a == nil {
		send(w, nil, invalid("Could not find repo: "+q.Get("repo")))
		return
	}
	coll := q.Get("collection")
	var keys []string
	for k := range a.records[coll] {
		if c := q.Get("cursor"); c == "" || k < c || s.stage.loop {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	out := map[string]any{}
	if len(keys) > limit {
		keys = keys[:limit]
	}
	if len(keys) > 0 {
		out["cursor"] = keys[len(keys)-1]
	}
	list := []map[string]any{}
	for _, k := range keys {
		rec := a.records[coll][k]
		list = append(list, map[string]any{"uri": atURI(a.DID, coll, k), "cid": rec.cid, "value": rec.value})
	}
	out["records"] = list
	answer(w, http.StatusOK, out)
}

// spend takes write points and says in the headers what is left. The caller
// holds s.mu.
func (s *Sim) spend(w http.ResponseWriter, a *account, points int) error {
	now := s.now()
	hour, day := 0, 0
	kept := a.writes[:0]
	var first time.Time
	for _, wr := range a.writes {
		if now.Sub(wr.at) >= 24*time.Hour {
			continue
		}
		kept = append(kept, wr)
		day += wr.points
		if now.Sub(wr.at) < time.Hour {
			hour += wr.points
			if first.IsZero() {
				first = wr.at
			}
		}
	}
	a.writes = kept
	reset := now.Add(time.Hour)
	if !first.IsZero() {
		reset = first.Add(time.Hour)
	}
	if hour+points > s.o.HourPoints || day+points > s.o.DayPoints {
		s.rateHeaders(w, s.o.HourPoints, 0, reset, time.Hour)
		return &refusal{http.StatusTooManyRequests, "RateLimitExceeded", "Rate Limit Exceeded"}
	}
	a.writes = append(a.writes, write{now, points})
	s.rateHeaders(w, s.o.HourPoints, s.o.HourPoints-hour-points, reset, time.Hour)
	return nil
}

func (s *Sim) rateHeaders(w http.ResponseWriter, limit, left int, reset time.Time, window time.Duration) {
	h := w.Header()
	h.Set("ratelimit-limit", strconv.Itoa(limit))
	h.Set("ratelimit-remaining", strconv.Itoa(left))
	h.Set("ratelimit-reset", strconv.FormatInt(reset.Unix()+1, 10))
	h.Set("ratelimit-policy", fmt.Sprintf("%d;w=%d", limit, int(window.Seconds())))
}

// mayWrite checks the scopes of an OAuth token. Sessions may do everything.
func (t *token) mayWrite(collection string, actions ...string) error {
	if t.thumb == "" || slices.Contains(t.scopes, "transition:generic") {
		return nil
	}
	for _, action := range actions {
		ok := slices.ContainsFunc(t.scopes, func(sc string) bool {
			head, query, _ := strings.Cut(sc, "?")
			return (head == "repo:"+collection || head == "repo:*") && (query == "" || strings.Contains(query, "action="+action))
		})
		if !ok {
			return missingScope("repo:" + collection + "?action=" + action)
		}
	}
	return nil
}

func (t *token) may(prefix string) error {
	if t.thumb == "" || slices.ContainsFunc(t.scopes, func(sc string) bool { return sc == "transition:generic" || strings.HasPrefix(sc, prefix) }) {
		return nil
	}
	return missingScope(prefix + "*/*")
}

func missingScope(scope string) error {
	return &refusal{http.StatusForbidden, "ScopeMissingError", `Missing required scope "` + scope + `"`}
}

package blueskysim

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// bodyLimit bounds JSON bodies, as the reference server does (150 kB).
const bodyLimit = 150 << 10

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// refuse answers as XRPC errors do.
func refuse(w http.ResponseWriter, status int, name, message string) {
	answer(w, status, map[string]string{"error": name, "message": message})
}

// refusal is an error of a method.
type refusal struct {
	status  int
	name    string
	message string
}

func (r *refusal) Error() string { return r.name + ": " + r.message }

func invalid(message string) *refusal {
	return &refusal{http.StatusBadRequest, "InvalidRequest", message}
}

// send answers with v, or with the error of a method.
func send(w http.ResponseWriter, v any, err error) {
	if err == nil {
		answer(w, http.StatusOK, v)
		return
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		refuse(w, r.status, r.name, r.message)
		return
	}
	refuse(w, http.StatusInternalServerError, "InternalServerError", "Internal Server Error")
}

// read decodes a JSON body.
func read(r *http.Request, v any) error {
	if ct := r.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		return invalid("Wrong request encoding (Content-Type): " + ct)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	if err != nil {
		return invalid("request aborted")
	}
	if len(b) > bodyLimit {
		return &refusal{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "request entity too large"}
	}
	if err := json.Unmarshal(b, v); err != nil {
		return invalid("Unexpected token in JSON")
	}
	return nil
}

func digest(parts ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:]
}

// The codecs of a content id.
const (
	codecRaw  = 0x55
	codecCBOR = 0x71
)

// cidOf returns the content id of bytes: version 1, SHA-256, base32.
func cidOf(codec byte, b []byte) string {
	sum := sha256.Sum256(b)
	return cidFrom(codec, sum[:])
}

func cidFrom(codec byte, sum []byte) string {
	raw := append([]byte{1, codec, 0x12, 0x20}, sum...)
	return "b" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw))
}

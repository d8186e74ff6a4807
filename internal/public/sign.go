// Package public is what strangers on the internet may ask smi: the files of
// posts, by addresses that are signed, end after a while and are given to
// networks that fetch files by themselves. There is nothing else: no API, no
// list, no cookie, and every other request gets the same short answer.
package public

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"

	"smi/internal/social"
)

// The bounds of how long an address works.
const (
	leastTime = time.Minute
	mostTime  = 24 * time.Hour
)

// prefix begins the path of every file.
const prefix = "/m/"

// kinds are the types that have addresses, by the ending of their names. A probe
// is no file: see Signer.Probe.
var kinds = map[string]string{
	"jpg": "image/jpeg", "png": "image/png", "gif": "image/gif", "mp4": "video/mp4", "mov": "video/quicktime",
	probe: "text/plain; charset=utf-8",
}

const probe = "txt"

func endingOf(mime string) (string, bool) {
	for ending, m := range kinds {
		if m == mime && ending != probe {
			return ending, true
		}
	}
	return "", false
}

// Signer makes addresses and recognises its own. It is safe for concurrent use.
type Signer struct {
	base string // https://HOST[:PORT]
	key  []byte
	now  func() time.Time
}

// NewSigner returns a signer of addresses below base, which is https://HOST or
// https://HOST:PORT. key has 32 bytes and is the same on every node.
func NewSigner(base string, key []byte, now func() time.Time) *Signer {
	return &Signer{base: strings.TrimSuffix(base, "/"), key: key, now: now}
}

// URL returns the address of a file, which works for so long: a minute to a
// day. mime must be that of the file.
func (s *Signer) URL(hash, mime string, lasts time.Duration) (string, error) {
	ending, ok := endingOf(mime)
	if !ok {
		return "", social.Errorf(social.CodeUnsupported, "media", "files of the type %s have no public address", mime)
	}
	if !isHash(hash) {
		return "", social.Errorf(social.CodeInvalid, "hash", "%.80q is no hash of a file", hash)
	}
	return s.address(hash, ending, lasts), nil
}

func (s *Signer) address(hash, ending string, lasts time.Duration) string {
	ends := s.now().Add(min(max(lasts, leastTime), mostTime)).Unix()
	return s.base + s.path(ends, hash, ending)
}

func (s *Signer) path(ends int64, hash, ending string) string {
	at := strconv.FormatInt(ends, 10)
	return prefix + at + "/" + hash + "/" + base64.RawURLEncoding.EncodeToString(s.sum("file", at, hash, ending)) + "." + ending
}

// sum is a MAC of some words for one purpose. No word has a line end in it.
func (s *Signer) sum(purpose string, words ...string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte("smi public v1\n" + purpose + "\n" + s.base + "\n" + strings.Join(words, "\n")))
	return h.Sum(nil)
}

// Probe returns an address that no file has, and what must be answered there:
// only who has the key can know it. nonce is a fresh hash.
func (s *Signer) Probe(nonce string) (address, answer string) {
	return s.address(nonce, probe, 5*time.Minute), s.answer(nonce)
}

func (s *Signer) answer(nonce string) string {
	return "smi " + base64.RawURLEncoding.EncodeToString(s.sum("probe", nonce)) + "\n"
}

// asked is what an address is about.
type asked struct{ hash, ending, mime string }

// open recognises a path that it made and whose time is not over. It takes as
// long for a signature that is nearly right as for one that is not.
func (s *Signer) open(u *url.URL) (asked, bool) {
	// Exactly what was given out: no second spelling, nothing behind it.
	if u.RawPath != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || len(u.Path) > 200 {
		return asked{}, false
	}
	rest, ok := strings.CutPrefix(u.Path, prefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return asked{}, false
	}
	sum, ending, _ := strings.Cut(parts[2], ".")
	mime, known := kinds[ending]
	got, err := base64.RawURLEncoding.Strict().DecodeString(sum)
	if !known || err != nil || !isHash(parts[1]) {
		return asked{}, false
	}
	if !hmac.Equal(got, s.sum("file", parts[0], parts[1], ending)) {
		return asked{}, false
	}
	ends, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || s.now().Unix() >= ends {
		return asked{}, false
	}
	return asked{hash: parts[1], ending: ending, mime: mime}, true
}

func isHash(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

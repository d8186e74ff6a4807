// Package obs is how the program watches itself: logs without secrets.
package obs

import (
	"container/list"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"smi/internal/social"
)

// Shortest is the length in bytes of the shortest value a Redactor removes.
// Shorter ones would take ordinary words out of sentences; config refuses
// secrets that short.
const Shortest = 6

// keep is how many values a Redactor remembers. Tokens change every hour or
// two; the one not seen for longest is forgotten first.
const keep = 16384

// Redactor removes secrets from text by their value: as they are, and as URLs,
// base64, hex, JSON and Go's %q write them. It is safe for concurrent use; the
// zero value is not ready.
type Redactor struct {
	mu     sync.RWMutex
	values map[string]*list.Element // of order
	order  *list.List               // of *secret, the latest at the front
	index  map[[4]byte][]string     // forms by their first four bytes
}

type secret struct {
	value string
	forms []string
}

// NewRedactor returns one that knows these values.
func NewRedactor(values ...string) *Redactor {
	r := &Redactor{values: map[string]*list.Element{}, order: list.New(), index: map[[4]byte][]string{}}
	for _, v := range values {
		r.Add(v)
	}
	return r
}

// Add makes the redactor know a value. Values shorter than Shortest are
// ignored. It fits connectors.Env.Secrets.
func (r *Redactor) Add(value string) {
	if len(value) < Shortest {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if el, ok := r.values[value]; ok {
		r.order.MoveToFront(el)
		return
	}
	s := &secret{value: value, forms: forms(value)}
	r.values[value] = r.order.PushFront(s)
	for _, f := range s.forms {
		k := [4]byte([]byte(f[:4]))
		r.index[k] = append(r.index[k], f)
	}
	for r.order.Len() > keep {
		last := r.order.Remove(r.order.Back()).(*secret) //nolint:errcheck,forcetypeassert // only *secret is put in
		delete(r.values, last.value)
		for _, f := range last.forms {
			r.forget(f)
		}
	}
}

// forget takes one occurrence of form out of the index; another secret may
// have the same one.
func (r *Redactor) forget(form string) {
	k := [4]byte([]byte(form[:4]))
	all := r.index[k]
	for i, f := range all {
		if f == form {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if len(all) == 0 {
		delete(r.index, k)
	} else {
		r.index[k] = all
	}
}

// Text returns s with every known value replaced by social.Redacted.
func (r *Redactor) Text(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.index) == 0 || len(s) < 4 {
		return s
	}
	var out strings.Builder
	from := 0
	for i := 0; i+4 <= len(s); {
		n := 0
		for _, f := range r.index[[4]byte{s[i], s[i+1], s[i+2], s[i+3]}] {
			if len(f) > n && strings.HasPrefix(s[i:], f) {
				n = len(f)
			}
		}
		if n == 0 {
			i++
			continue
		}
		out.WriteString(s[from:i])
		out.WriteString(social.Redacted)
		i += n
		from = i
	}
	if from == 0 {
		return s
	}
	out.WriteString(s[from:])
	return out.String()
}

// forms are the ways a value may be written. Each has at least four bytes.
func forms(v string) []string {
	seen := map[string]bool{}
	var out []string
	add := func(s string) {
		if len(s) >= Shortest && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	add(v)
	add(url.QueryEscape(v))
	add(url.PathEscape(v))
	add(strings.ToLower(url.QueryEscape(v)))
	add(hex.EncodeToString([]byte(v)))
	add(strings.ToUpper(hex.EncodeToString([]byte(v))))
	if q := strconv.Quote(v); len(q) > 2 {
		add(q[1 : len(q)-1])
	}
	if j, err := json.Marshal(v); err == nil {
		add(string(j[1 : len(j)-1]))
	}
	add(strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`).Replace(v))
	// In base64 a value looks different by where it begins in its group of three
	// bytes ("user:secret" in a Basic header): take what is the same whatever
	// stands before and after it.
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for skip := range 3 {
			s := enc.EncodeToString([]byte(strings.Repeat("\x00", skip) + v))
			lead := []int{0, 2, 3}[skip]
			tail := 0
			if (skip+len(v))%3 != 0 {
				tail = 1
			}
			if len(s) > lead+tail {
				add(s[lead : len(s)-tail])
			}
		}
	}
	return out
}

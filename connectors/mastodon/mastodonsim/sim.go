// Package mastodonsim stands in for one server of the fediverse: a Mastodon, or
// a GoToSocial, behind one http.Handler and all in memory.
//
// It is written from docs.joinmastodon.org (methods, entities, api; read
// 2026-07-02), the sources of mastodon/mastodon that decide about keys and rate
// limits, and GoToSocial's own documentation of its API (2025-10-03), not from
// the connector, with which it shares no type. GoToSocial words its refusals in
// ways of its own; here both speak Mastodon's words, unless Options.OwnWords.
//
// What it does not do: federate, look into files, send mail or notifications.
// The truth it holds is what a test asks: Posts says what can be seen.
package mastodonsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"smi/connectors/internal/simkit"
)

// Options say how a simulator behaves. The zero value is a Mastodon of today.
type Options struct {
	// Now is the time of the network; nil means time.Now.
	Now func() time.Time
	// Domain is what stands behind the @ of handles; "" means mastodon.test.
	Domain string
	// BaseURL is the address written into answers; "" takes it from each request.
	BaseURL string
	// GoToSocial is a server that ignores keys and PKCE, and whose ids are words.
	GoToSocial bool
	// Old is a Mastodon before 4.0: no second version of the instance's document,
	// and no posts by the dozen.
	Old bool
	// MaxCharacters, MaxMedia and MaxAlt are rules of the server; 0 means 500, 4
	// and 1500, or 5000, 6 and 5000 on a GoToSocial.
	MaxCharacters, MaxMedia, MaxAlt int
	// MediaPolls is how many looks at a video or GIF find it unfinished.
	MediaPolls int
	// TokenLife gives tokens an end and a refresh token beside them, as the
	// documentation foresees and no server does yet; 0 lets them live.
	TokenLife time.Duration
	// ConsentPage shows a page with buttons at the authorisation endpoint. Without
	// it the request is approved at once.
	ConsentPage bool
	// NoLimits switches the rate limits off.
	NoLimits bool
	// EpochReset writes X-RateLimit-Reset as seconds since 1970, as older
	// GoToSocials do.
	EpochReset bool
	// OwnWords puts the name of the status before each refusal, as GoToSocial does:
	// the sentences are then none of Mastodon's.
	OwnWords bool
	// German is the language of a Mastodon for those who do not ask for English.
	German bool
	// Growth lets counters grow with Advance.
	Growth bool
	// Seed of the kit's random numbers.
	Seed uint64
}

// Account is somebody on the server.
type Account struct {
	Username    string
	DisplayName string
	Followers   int64
	Following   int64
}

// Post is one post as it can be seen.
type Post struct {
	ID, URL    string
	Account    string // remote id of its author, see AddAccount
	Text       string
	Spoiler    string
	Visibility string
	Language   string
	Sensitive  bool
	Parent     string // id of what it answers
	Media      []Media
	Poll       []string
	At         time.Time
}

// Media is a file of a post.
type Media struct{ ID, Type, MIME, Alt, Focus string }

// Counts are the public counters of a post.
type Counts struct{ Favourites, Reblogs, Replies, Quotes int64 }

// Sim is the server. It is safe for concurrent use.
type Sim struct {
	// Kit holds the script of faults, the journal of what became true (Op is
	// create or delete) and the log of requests.
	Kit *simkit.Kit

	o       Options
	mux     *http.ServeMux
	handler http.Handler

	mu       sync.Mutex
	accounts map[string]*account // by id
	order    []string
	apps     map[string]*app    // by client id
	codes    map[string]*code   //
	tokens   map[string]*token  // access tokens by value
	renewals map[string]*token  // by refresh token
	statuses map[string]*status // by id
	media    map[string]*media  // by id
	keys     map[string]key     // idempotency keys by account and key
	windows  map[string]*window // rate limits
	serial   uint64
	lastID   uint64
	stage    stage
}

type account struct {
	Account
	id    string
	stale time.Duration // listings show only what is older
	posts []string      // ids of statuses, the oldest first
}

type status struct {
	Post
	counts Counts
	poll   *poll
	app    string
}

type poll struct {
	id         string
	options    []string
	expires    time.Time
	multiple   bool
	hideTotals bool
}

type key struct {
	status string
	until  time.Time
}

// keyLife is how long a Mastodon knows a key.
const keyLife = time.Hour

// New returns a server without accounts.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	def := func(v *int, mastodon, gts int) {
		if *v == 0 {
			*v = mastodon
			if o.GoToSocial {
				*v = gts
			}
		}
	}
	def(&o.MaxCharacters, 500, 5000)
	def(&o.MaxMedia, 4, 6)
	def(&o.MaxAlt, 1500, 5000)
	if o.Domain == "" {
		o.Domain = "mastodon.test"
	}
	s := &Sim{
		Kit: simkit.New(simkit.Options{Now: o.Now, Seed: o.Seed}), o: o, mux: http.NewServeMux(),
		accounts: map[string]*account{}, apps: map[string]*app{}, codes: map[string]*code{}, tokens: map[string]*token{},
		renewals: map[string]*token{}, statuses: map[string]*status{}, media: map[string]*media{}, keys: map[string]key{}, windows: map[string]*window{},
	}
	s.instanceRoutes()
	s.oauthRoutes()
	s.accountRoutes()
	s.mediaRoutes()
	s.statusRoutes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "Record not found") })
	s.handler = s.Kit.Handler(simkit.Noisy(http.HandlerFunc(s.serve), s.isNoisy, nil))
	return s
}

// ServeHTTP answers as the server does.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	if s.o.GoToSocial {
		switch accept := r.Header.Get("Accept"); {
		case r.Header.Get("User-Agent") == "":
			refuse(w, http.StatusTeapot, "I'm a teapot: no user-agent sent with request")
			return
		case strings.HasPrefix(r.URL.Path, "/api/") && accept != "" && !strings.Contains(accept, "application/json") && !strings.Contains(accept, "*/*"):
			refuse(w, http.StatusNotAcceptable, "Not Acceptable: no content type acceptable")
			return
		}
	}
	switch {
	case s.o.OwnWords:
		w = voice{w, func(code int, text string) string { return http.StatusText(code) + ": " + text }}
	case s.o.German && !strings.HasPrefix(r.Header.Get("Accept-Language"), "en"):
		w = voice{w, func(int, string) string { return "Das geht leider nicht" }}
	}
	if p := strings.TrimRight(r.URL.Path, "/"); p != r.URL.Path && p != "" { // as Rails has it
		u := *r.URL
		u.Path = p
		r = r.Clone(r.Context())
		r.URL = &u
	}
	s.mux.ServeHTTP(w, r)
}

// AddAccount makes an account and returns its remote id: the server's own id and
// the server, id@domain.
func (s *Sim) AddAccount(a Account) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.newID()
	s.accounts[id] = &account{Account: a, id: id}
	s.order = append(s.order, id)
	return s.remote(id)
}

// remote is the remote id of an account's own id, and own the other way.
func (s *Sim) remote(id string) string { return id + "@" + s.o.Domain }

func (s *Sim) own(remote string) *account {
	id, _, _ := strings.Cut(remote, "@")
	return s.accounts[id]
}

// Posts returns the posts of an account, the oldest first.
func (s *Sim) Posts(remote string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.own(remote)
	if a == nil {
		return nil
	}
	var out []Post
	for _, id := range a.posts {
		out = append(out, s.statuses[id].Post)
	}
	return out
}

// Handles returns the handles of all accounts in the order of their making.
func (s *Sim) Handles() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, id := range s.order {
		out = append(out, s.accounts[id].Username+"@"+s.o.Domain)
	}
	return out
}

func (s *Sim) now() time.Time { return s.o.Now().UTC() }

// base is the address of this server as the caller knows it.
func (s *Sim) base(r *http.Request) string {
	switch {
	case s.o.BaseURL != "":
		return s.o.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newID makes an id that is greater than all before it: a number of 64 bits that
// no float holds, as Mastodon's, or a word of 26 letters. The caller holds s.mu.
func (s *Sim) newID() string {
	n := uint64(max(s.now().UnixMilli(), 0)) << 16 //nolint:gosec // not negative
	s.lastID = max(n, s.lastID+1)
	if !s.o.GoToSocial {
		return strconv.FormatUint(s.lastID, 10)
	}
	b := []byte("01" + strings.Repeat("0", 24))
	for n, i := s.lastID, len(b)-1; n > 0; n, i = n>>5, i-1 {
		b[i] = crockford[n&31]
	}
	return string(b)
}

// unique returns a secret nobody has seen before. The caller holds s.mu.
func (s *Sim) unique(kind string) string {
	s.serial++
	return fmt.Sprintf("%s-%016x%016x-%d", kind, s.Kit.Rand.Uint64(), s.Kit.Rand.Uint64(), s.serial)
}

// object is a JSON object of an answer.
type object = map[string]any

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return // the client has gone
	}
}

// refuse answers as the API does: a status and a sentence.
func refuse(w http.ResponseWriter, code int, text string) {
	if v, ok := w.(voice); ok {
		text = v.say(code, text)
	}
	answer(w, code, object{"error": text})
}

// voice is the way in which a server words its refusals.
type voice struct {
	http.ResponseWriter
	say func(code int, text string) string
}

// instant is a time as the API writes it.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

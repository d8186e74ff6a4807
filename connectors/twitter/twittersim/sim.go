// Package twittersim stands in for X: its OAuth 2 and OAuth 1.0a, posts, media,
// timelines and counters of API v2, and what enterprise contracts still have of
// API v1.1, all behind one http.Handler and all in memory.
//
// It is written from X's documentation (docs.x.com and its OpenAPI documents
// 2.166 and 2.167, read 2026-08-22), its changelog and what developers reported
// of answers that are not documented, not from the connector, with which it
// shares no type. Where it is stricter than the network the comment says so.
// What it does not do: look into media files, vote in polls, charge money.
//
// The truth it holds is what a test asks: Posts says what the public can see.
package twittersim

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"smi/connectors/internal/simkit"
)

// Options say how a simulator behaves. The zero value is a network that works.
type Options struct {
	// Now is the time of the network; nil means time.Now.
	Now func() time.Time
	// AccessLife is the life of OAuth 2 access tokens; 0 means two hours.
	AccessLife time.Duration
	// MediaPolls is how many looks at a GIF or video find it unfinished.
	MediaPolls int
	// SelfServe refuses API v1.1, as to all apps without an enterprise contract.
	SelfServe bool
	// Renamed drops the older names of fields without a word, as X says it will
	// one day; OldOnly the newer ones.
	Renamed, OldOnly bool
	// ConsentPage shows a page with an Approve and a Deny button where people sign
	// in. Without it the first account agrees at once.
	ConsentPage bool
	// Growth lets counters grow with Advance.
	Growth bool
	// Seed of the kit's random numbers.
	Seed uint64
}

// App is what the developer registered.
type App struct {
	ClientID, ClientSecret string // secret "": a public client
	ConsumerKey            string
	ConsumerSecret         string
}

// Account is somebody on the network.
type Account struct {
	ID           string // "": made from the name
	Username     string
	Name         string
	Subscription string // None, Basic, Premium, PremiumPlus; "" is None
	Followers    int64
	Following    int64
}

// Post is one post as the public can see it.
type Post struct {
	ID      string
	Account string
	Text    string // as it was written
	Parent  string // id of what it answers, or ""
	Repost  string // id of what it repeats, or ""
	Media   []string
	Alt     []string
	Poll    []string
	Minutes int // the poll is open for
	Replies string
	At      time.Time
}

// Counts are the counters of a post.
type Counts struct{ Likes, Reposts, Replies, Quotes, Bookmarks, Views, Clicks int64 }

// Sim is the network. It is safe for concurrent use.
type Sim struct {
	// Kit holds the script of faults, the journal of what became true (Op is create
	// or delete) and the log of requests.
	Kit *simkit.Kit

	o       Options
	app     App
	mux     *http.ServeMux
	handler http.Handler

	mu       sync.Mutex
	accounts map[string]*Account
	order    []string
	posts    map[string]*Post
	ids      []string // of posts, oldest first
	removed  map[string]bool
	counts   map[string]Counts
	tokens   map[string]*token
	codes    map[string]*code
	keys     map[string]*keyToken // OAuth 1.0a
	nonces   map[string]bool
	media    map[string]*media
	spent    map[string]*window
	serial   int64
	stage    stage
}

// New returns a network without accounts for one app.
func New(app App, o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AccessLife == 0 {
		o.AccessLife = 2 * time.Hour
	}
	s := &Sim{
		Kit: simkit.New(simkit.Options{Now: o.Now, Seed: o.Seed}),
		o:   o, app: app, mux: http.NewServeMux(),
		accounts: map[string]*Account{}, posts: map[string]*Post{}, removed: map[string]bool{}, counts: map[string]Counts{}, tokens: map[string]*token{},
		codes: map[string]*code{}, keys: map[string]*keyToken{}, nonces: map[string]bool{}, media: map[string]*media{}, spent: map[string]*window{},
		stage: stage{stale: map[string]time.Duration{}},
	}
	s.authRoutes()
	s.postRoutes()
	s.mediaRoutes()
	s.legacyRoutes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { send(w, nil, notFound("")) })
	s.handler = s.Kit.Handler(simkit.Noisy(s.mux, s.isNoisy, nil))
	return s
}

// ServeHTTP answers as the network's servers would.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// AddAccount makes an account and returns its id.
func (s *Sim) AddAccount(a Account) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ID == "" {
		sum := sha256.Sum256([]byte(a.Username))
		a.ID = strconv.FormatUint(1_500_000_000_000_000_000+uint64(sum[0])<<40+uint64(sum[1])<<32+uint64(sum[2])<<24+uint64(sum[3])<<16+uint64(sum[4])<<8+uint64(sum[5]), 10)
	}
	if a.Subscription == "" {
		a.Subscription = "None"
	}
	s.accounts[a.ID] = &a
	s.order = append(s.order, a.ID)
	return a.ID
}

// Posts returns the posts of an account that are public, the oldest first.
func (s *Sim) Posts(account string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Post
	for _, id := range s.ids {
		if p := s.posts[id]; p != nil && p.Account == account && !s.removed[id] {
			out = append(out, *p)
		}
	}
	return out
}

// Made returns a post that ever was, removed ones included.
func (s *Sim) Made(id string) Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.posts[id]; p != nil {
		return *p
	}
	return Post{}
}

func (s *Sim) now() time.Time { return s.o.Now().UTC() }

// Skip leaves n ids out, so that a network which is started again gives none that
// it gave before.
func (s *Sim) Skip(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial += n
}

// id makes the id of something new: 19 digits that grow, too many for a float.
// The caller holds s.mu.
func (s *Sim) id() string {
	s.serial++
	return strconv.FormatInt(1_990_000_000_000_000_000+s.serial*7, 10)
}

// unique returns a value nobody has seen before. The caller holds s.mu.
func (s *Sim) unique(kind string) string {
	s.serial++
	sum := sha256.Sum256([]byte(kind + "\x00" + strconv.FormatInt(s.serial, 10) + "\x00" + strconv.FormatInt(s.o.Now().UnixNano(), 10)))
	return hex.EncodeToString(sum[:20])
}

// add makes a post. The caller holds s.mu.
func (s *Sim) add(p Post, hash string) *Post {
	p.ID, p.At = s.id(), s.now()
	s.posts[p.ID] = &p
	s.ids = append(s.ids, p.ID)
	s.Kit.Journal.Add(simkit.Effect{At: p.At, Op: "create", Account: p.Account, RemoteID: p.ID, Hash: hash, Text: p.Text})
	return &p
}

// visible returns a post that the public can see. The caller holds s.mu.
func (s *Sim) visible(id string) *Post {
	if s.removed[id] {
		return nil
	}
	return s.posts[id]
}

// repeated says whether the account said the same within a day. X does not say
// how long it remembers. The caller holds s.mu.
func (s *Sim) repeated(account, text string) bool {
	return text != "" && slices.ContainsFunc(s.ids, func(id string) bool {
		p := s.visible(id)
		return p != nil && p.Account == account && strings.TrimSpace(p.Text) == strings.TrimSpace(text) && s.now().Sub(p.At) < 24*time.Hour
	})
}

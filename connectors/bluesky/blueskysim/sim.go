// Package blueskysim stands in for the Bluesky network: the PLC directory, one
// personal data server with its authorisation server, an AppView and the video
// service, all behind one http.Handler and all in memory.
//
// It is written from the lexicons and the server sources of
// bluesky-social/atproto (read 2026-08-20), the specifications of atproto.com
// (oauth, tid, record-key, did; read 2026-08-20) and from answers of the
// reference server run on loopback (2026-11-23; real_test.go asks both the same
// questions), not from the connector, with which it shares no type. Where it is stricter than the network the comment says so.
// What it does not do: sign anything, compute real record hashes (they are
// hashes of the JSON), send DNS answers, federate.
//
// The truth it holds is what a test asks: Posts says what the public can see.
package blueskysim

import (
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"smi/connectors/internal/simkit"
)

// Options say how a simulator behaves. The zero value is a network that works.
type Options struct {
	// Now is the time of the network; nil means time.Now.
	Now func() time.Time
	// BaseURL is the address written into identity documents and metadata; ""
	// takes it from each request's Host.
	BaseURL string
	// NoAppView leaves the AppView out: its methods answer 502 UpstreamFailure,
	// as a server without one does.
	NoAppView bool
	// BlobLimit is the largest blob in bytes; 0 means 5,000,000, the default of
	// the reference server.
	BlobLimit int64
	// HourPoints and DayPoints bound writes; 0 means 5,000 and 35,000.
	HourPoints, DayPoints int
	// VideoPolls is how many looks at a video's job find it unfinished.
	VideoPolls int
	// AccessLife is the life of access tokens; 0 means two hours for sessions
	// and one hour for OAuth.
	AccessLife time.Duration
	// ConsentPage shows a page with an Approve and a Deny button at the
	// authorisation endpoint. Without it the request is approved at once for the
	// account of login_hint, or for the first account.
	ConsentPage bool
	// Growth lets the counters of posts and accounts grow with Advance.
	Growth bool
	// Seed of the kit's random numbers.
	Seed uint64
}

// Account is somebody on the network.
type Account struct {
	Handle      string
	DisplayName string
	Password    string // main password
	AppPassword string // of the form xxxx-xxxx-xxxx-xxxx
	DID         string // "": made from the handle
	Followers   int64
	Follows     int64
}

// Post is one post as the public can see it.
type Post struct {
	URI, CID, RKey string
	DID            string
	Text           string
	CreatedAt      string
	Parent, Root   string // URIs, "" for a post that answers none
	Media          int    // pictures and videos
	Record         json.RawMessage
	Indexed        time.Time
}

// Counts are the public counters of a post.
type Counts struct{ Likes, Reposts, Replies, Quotes, Bookmarks int64 }

// Sim is the network. It is safe for concurrent use.
type Sim struct {
	// Kit holds the script of faults, the journal of what became true (Op is
	// create, update or delete) and the log of requests.
	Kit *simkit.Kit

	o       Options
	mux     *http.ServeMux
	handler http.Handler // mux behind the kit

	mu       sync.Mutex
	accounts map[string]*account // by DID
	order    []string            // DIDs in the order of their making
	tokens   map[string]*token   // access and refresh tokens by value
	oauth    oauthState
	jobs     map[string]*videoJob
	counts   map[string]Counts // by URI
	videoErr string            // failure code of the next videos
	serial   int               // for everything that must differ
	stage    stage
}

// account is an Account with what it owns.
type account struct {
	Account
	status  string // "": active; else takendown, suspended, deactivated
	records map[string]map[string]stored
	blobs   map[string]*blob
	writes  []write
	logins  []time.Time
	email   bool
}

type stored struct {
	cid     string
	value   json.RawMessage
	indexed time.Time
}

type blob struct {
	mime  string
	bytes int64
	at    time.Time
}

// New returns a network without accounts.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BlobLimit == 0 {
		o.BlobLimit = 5_000_000
	}
	if o.HourPoints == 0 {
		o.HourPoints = 5000
	}
	if o.DayPoints == 0 {
		o.DayPoints = 35000
	}
	s := &Sim{
		Kit: simkit.New(simkit.Options{Now: o.Now, Seed: o.Seed}),
		o:   o, mux: http.NewServeMux(),
		accounts: map[string]*account{}, tokens: map[string]*token{},
		jobs: map[string]*videoJob{}, counts: map[string]Counts{},
		oauth: newOAuthState(),
	}
	s.routes()
	s.handler = s.Kit.Handler(simkit.Noisy(s.mux, s.isNoisy, nil))
	return s
}

// ServeHTTP answers as whichever of the network's servers is meant by the path.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

func (s *Sim) routes() {
	s.identityRoutes()
	s.sessionRoutes()
	s.repoRoutes()
	s.oauthRoutes()
	s.appviewRoutes()
	s.videoRoutes()
	s.mux.HandleFunc("/xrpc/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotImplemented, "MethodNotImplemented", "Method Not Implemented")
	})
}

// AddAccount makes an account and returns its DID.
func (s *Sim) AddAccount(a Account) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.DID == "" {
		a.DID = "did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(digest("did", a.Handle)[:15]))
	}
	s.accounts[a.DID] = &account{
		Account: a, email: true,
		records: map[string]map[string]stored{}, blobs: map[string]*blob{},
	}
	s.order = append(s.order, a.DID)
	return a.DID
}

// Posts returns the posts of an account that are public, the oldest first.
func (s *Sim) Posts(did string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[did]
	if a == nil {
		return nil
	}
	var out []Post
	for rkey, rec := range a.records[postCollection] {
		out = append(out, publicPost(did, rkey, rec))
	}
	slices.SortFunc(out, func(x, y Post) int { return strings.Compare(x.RKey, y.RKey) })
	return out
}

// now is the time of the network.
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

// find returns an account by DID or handle. The caller holds s.mu.
func (s *Sim) find(id string) *account {
	if a := s.accounts[id]; a != nil {
		return a
	}
	for _, a := range s.accounts {
		if strings.EqualFold(a.Handle, id) {
			return a
		}
	}
	return nil
}

// unique returns a value nobody has seen before. The caller holds s.mu.
func (s *Sim) unique(kind string) string {
	s.serial++
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(digest(kind, fmt.Sprint(s.serial), fmt.Sprint(s.o.Now().UnixNano())))[:40]
}

func publicPost(did, rkey string, rec stored) Post {
	var v struct {
		Text      string `json:"text"`
		CreatedAt string `json:"createdAt"`
		Reply     struct {
			Root   struct{ URI string } `json:"root"`
			Parent struct{ URI string } `json:"parent"`
		} `json:"reply"`
		Embed struct {
			Type   string `json:"$type"`
			Images []any  `json:"images"`
		} `json:"embed"`
	}
	_ = json.Unmarshal(rec.value, &v) // it was validated when it was written
	media := len(v.Embed.Images)
	if v.Embed.Type == "app.bsky.embed.video" {
		media = 1
	}
	return Post{
		URI: atURI(did, postCollection, rkey), CID: rec.cid, RKey: rkey, DID: did,
		Text: v.Text, CreatedAt: v.CreatedAt, Parent: v.Reply.Parent.URI, Root: v.Reply.Root.URI,
		Media: media, Record: rec.value, Indexed: rec.indexed,
	}
}

func atURI(did, collection, rkey string) string {
	return "at://" + did + "/" + collection + "/" + rkey
}

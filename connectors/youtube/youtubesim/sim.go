// Package youtubesim stands in for Google where YouTube needs it: the consent
// page and the token endpoint, the YouTube Data API v3 with its resumable
// uploads, and the YouTube Analytics API v2, all behind one http.Handler and all
// in memory.
//
// It is written from the reference pages of developers.google.com/youtube (v3
// and analytics, read 2026-11), from Google Identity's "Using OAuth 2.0" (read
// 2026-11), and from the discovery documents in google.golang.org/api, not from
// the connector, with which it shares no type. Where it is stricter than the
// network the comment says so. It keeps no bytes of videos, only their number
// and their SHA-256.
//
// The truth it holds is what a test asks: Posts says what others can see.
package youtubesim

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the days of quotas are Pacific ones, on any machine

	"smi/connectors/internal/simkit"
)

// Options say how a simulator behaves. The zero value is a network that works.
type Options struct {
	// Now is the time of the network; nil means time.Now.
	Now func() time.Time
	// BaseURL is the address in upload sessions; "" takes it from each request.
	BaseURL string
	// AccessLife is the life of access tokens; 0 means 3599 s.
	AccessLife time.Duration
	// Testing is a project whose consent screen is in the state Testing: refresh
	// tokens end after seven days.
	Testing bool
	// Polls is how many looks at a video find it in processing.
	Polls int
	// Lock is what happens to uploads of a project that was not audited: "" nothing;
	// "refuse", a change to public is refused; "silent", it is taken and the video
	// stays private.
	Lock string
	// Rounded gives subscribers to three digits, as the network does. Without it
	// they are exact, so that a test can tell numbers apart.
	Rounded bool
	// Units, Inserts and Stats are the quotas of a day; 0 means 10,000, 100 and
	// 10,000. Single counts uploads in the units, 100 each.
	Units, Inserts, Stats int
	Single                bool
	// Unverified channels may not set thumbnails.
	Unverified bool
	// Seed of the kit's random numbers.
	Seed uint64
}

// The client of the project, and its secret.
const (
	ClientID     = "1234567890-smi.apps.googleusercontent.com"
	ClientSecret = "GOCSPX-simulated-client-secret"
)

// Post is a video as others can see it.
type Post struct {
	ID, Title, Text string
	Privacy         string
	PublishedAt     time.Time
	MediaHash       string // SHA-256 (hex) of the file
	Hash            string // of the request that made it public
}

// Video is a video as its owner can see it.
type Video struct {
	Post
	Bytes            int64
	Tags             []string
	Category         string
	ForKids          bool
	PublishAt        time.Time
	Thumbnail        string // SHA-256 (hex) of the picture
	Captions         map[string]string
	NotifySubscribed bool
	// What an update must not lose by leaving it out.
	Embeddable, PublicStats, Synthetic bool
	License                            string
}

// Sim is the network. It is safe for concurrent use.
type Sim struct {
	// Kit holds the script of faults, the journal of what became public (Op
	// publish) and the log of requests.
	Kit *simkit.Kit

	o       Options
	handler http.Handler
	mux     *http.ServeMux
	pacific *time.Location

	mu        sync.Mutex
	channels  map[string]*channel
	order     []string
	videos    map[string]*video
	made      []string // ids of videos in the order of their making
	sessions  map[string]*session
	playlists map[string]*playlist
	tokens    map[string]*token
	codes     map[string]*code
	asked     Asked
	used      map[string]int // quota, by bucket and Pacific day
	serial    int
	tear      int64 // bytes of the next piece that are kept before the connection is cut; -1: none
	stage     stage
}

type channel struct {
	id, title, handle string
	subscribers       int64
	days              map[string]map[string]any // Analytics, by day and metric
}

type video struct {
	Video
	channel     string
	made        time.Time
	serial      int
	polls       int
	failure     string // uploadStatus failed
	rejection   string // uploadStatus rejected
	wasPublic   bool
	counts      map[string]int64
	totals      map[string]any // Analytics
	language    string
	defaultLang string
}

// New returns a network without channels.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AccessLife == 0 {
		o.AccessLife = 3599 * time.Second
	}
	if o.Units == 0 {
		o.Units = 10_000
	}
	if o.Inserts == 0 {
		o.Inserts = 100
	}
	if o.Stats == 0 {
		o.Stats = 10_000
	}
	pacific, err := time.LoadLocation("America/Los_Angeles")
	if err != nil { // it is compiled in
		panic(err)
	}
	s := &Sim{
		Kit: simkit.New(simkit.Options{Now: o.Now, Seed: o.Seed}), o: o, mux: http.NewServeMux(), pacific: pacific,
		channels: map[string]*channel{}, videos: map[string]*video{}, sessions: map[string]*session{}, playlists: map[string]*playlist{},
		tokens: map[string]*token{}, codes: map[string]*code{}, used: map[string]int{}, tear: -1,
	}
	s.oauthRoutes()
	s.uploadRoutes()
	s.videoRoutes()
	s.listRoutes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		send(w, nil, refuse(http.StatusNotFound, "global", "notFound", "Not Found"))
	})
	s.handler = s.Kit.Handler(simkit.Noisy(s.mux, s.isNoisy, nil))
	return s
}

// ServeHTTP answers as whichever of Google's servers is meant by the path.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// AddChannel makes a channel with its own Google account and returns its id.
func (s *Sim) AddChannel(title, handle string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := "UC" + s.unique("channel")[:22]
	s.channels[id] = &channel{id: id, title: title, handle: handle, days: map[string]map[string]any{}}
	s.order = append(s.order, id)
	return id
}

// Posts returns the videos of a channel that others can see, the oldest first.
func (s *Sim) Posts(channel string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []Post
	for _, id := range s.made {
		if v := s.videos[id]; v != nil && v.channel == channel && v.Privacy != "private" {
			out = append(out, v.Post)
		}
	}
	slices.SortStableFunc(out, func(a, b Post) int { return a.PublishedAt.Compare(b.PublishedAt) })
	return out
}

// Videos returns all videos of a channel, the oldest first.
func (s *Sim) Videos(channel string) []Video {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []Video
	for _, id := range s.made {
		if v := s.videos[id]; v != nil && v.channel == channel {
			out = append(out, v.Video)
		}
	}
	return out
}

// settle publishes what YouTube's own schedule says. The caller holds s.mu.
func (s *Sim) settle() {
	now := s.now()
	for _, id := range s.made {
		if v := s.videos[id]; v != nil && !v.PublishAt.IsZero() && !now.Before(v.PublishAt) {
			v.PublishAt = time.Time{}
			s.publish(v, "public", v.Hash)
		}
	}
}

// publish changes who can see a video. The caller holds s.mu.
func (s *Sim) publish(v *video, privacy, hash string) {
	was := v.Privacy
	v.Privacy, v.Hash = privacy, hash
	if was != "private" || privacy == "private" {
		return
	}
	v.wasPublic, v.PublishedAt = true, s.now()
	s.Kit.Journal.Add(simkit.Effect{Op: "publish", Account: v.channel, RemoteID: v.ID, Hash: hash, Text: v.Text})
}

func (s *Sim) now() time.Time { return s.o.Now().UTC() }

// Skip leaves n ids out, so that a network which is started again gives none that
// it gave before.
func (s *Sim) Skip(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial += int(n)
}

// unique returns a value nobody has seen before. The caller holds s.mu.
func (s *Sim) unique(kind string) string {
	s.serial++
	sum := sha256.Sum256([]byte(kind + "/" + fmt.Sprint(s.serial)))
	return strings.NewReplacer("-", "x", "_", "y").Replace(base64.RawURLEncoding.EncodeToString(sum[:]))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// spend takes units of a quota, or refuses. The caller holds s.mu.
func (s *Sim) spend(bucket string, n int) error {
	most := map[string]int{"units": s.o.Units, "inserts": s.o.Inserts, "stats": s.o.Stats}[bucket]
	if s.o.Single && bucket == "inserts" {
		bucket, n, most = "units", 100*n, s.o.Units
	}
	key := bucket + s.now().In(s.pacific).Format(time.DateOnly)
	if s.used[key]+n > most {
		return refuse(http.StatusForbidden, "youtube.quota", "quotaExceeded", `The request cannot be completed because you have exceeded your <a href="/youtube/v3/getting-started#quota">quota</a>.`)
	}
	s.used[key] += n
	return nil
}

// Used is how much of a quota ("units", "inserts", "stats") today has cost.
func (s *Sim) Used(bucket string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[bucket+s.now().In(s.pacific).Format(time.DateOnly)]
}

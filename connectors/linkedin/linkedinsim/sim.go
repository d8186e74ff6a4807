// Package linkedinsim stands in for LinkedIn: its login, the versioned API for
// posts, comments, media and numbers, and its upload server, all behind one
// http.Handler and all in memory.
//
// It is written from LinkedIn's pages (learn.microsoft.com/linkedin: 3-legged
// OAuth, Marketing API versioning, Posts API, little text format, Images, Videos
// and Documents API, Comments API, Organization access control, the statistics
// pages; read 2026-08-22), the protocol of Rest.li 2.0.0 and what others have
// reported of live answers (2023 to 2026-07), not from the connector, with which
// it shares no type. Where it is stricter than the network the comment says so.
//
// The truth it holds is what a test asks: Posts says what the public can see.
package linkedinsim

import (
	"encoding/json"
	"fmt"
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
	// BaseURL is the address written into upload addresses; "" takes it from each
	// request's Host.
	BaseURL string
	// Newest and Oldest are the living versions; "" means 202609 and 202511.
	Newest, Oldest string
	// AccessLife is the life of access tokens; 0 means 60 days.
	AccessLife time.Duration
	// NoRefresh leaves refresh tokens out, as for apps without approval.
	NoRefresh bool
	// DevTier has no statistics of members: they answer 404.
	DevTier bool
	// NoMetadata refuses social metadata to everybody, NoAssets the question
	// whether a picture or document is ready.
	NoMetadata, NoAssets bool
	// MediaPolls is how many looks at a file find it unfinished.
	MediaPolls int
	// PartSize is the size of the pieces of a video; 0 means 4 MiB.
	PartSize int64
	// DailyCalls bounds the calls of a member in a UTC day; 0: no bound.
	DailyCalls int
	// Sparse leaves posts to which nothing happened out of statistics, and gives
	// new posts no first impression by their own author.
	Sparse bool
	// Ghosts lets the check for duplicates remember deleted posts.
	Ghosts bool
	// Seed of the kit's random numbers.
	Seed uint64
}

// App is a developer app.
type App struct {
	ID, Secret string
	Redirects  []string
	Scopes     []string // what it may ask for
}

// Member is a person.
type Member struct{ ID, First, Last, Vanity string }

// Organization is a page.
type Organization struct{ ID, Name, Vanity string }

// Sim is the network. It is safe for concurrent use.
type Sim struct {
	// Kit holds the script of faults, the journal of what became true (Op is create,
	// update or delete) and the log of requests.
	Kit *simkit.Kit

	o       Options
	handler http.Handler

	mu      sync.Mutex
	apps    map[string]App
	members []Member
	orgs    []Organization
	roles   map[string]map[string]string // organisation, member: role
	codes   map[string]*code
	tokens  map[string]*token
	posts   []*post
	replies []*comment
	assets  map[string]*asset
	uploads map[string]*slot
	counts  map[string]Counts
	days    map[string]map[string]Counts // organisation, date
	gains   map[string]map[string]int64
	follow  map[string]int64
	calls   map[string]int
	serial  int64
	stage   stage
}

// New returns a network without people.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Newest == "" {
		o.Newest = "202609"
	}
	if o.Oldest == "" {
		o.Oldest = "202511"
	}
	if o.AccessLife == 0 {
		o.AccessLife = 60 * 24 * time.Hour
	}
	if o.PartSize == 0 {
		o.PartSize = 4 << 20
	}
	s := &Sim{
		Kit: simkit.New(simkit.Options{Now: o.Now, Seed: o.Seed}), o: o,
		apps: map[string]App{}, roles: map[string]map[string]string{}, codes: map[string]*code{}, tokens: map[string]*token{},
		assets: map[string]*asset{}, uploads: map[string]*slot{}, counts: map[string]Counts{}, days: map[string]map[string]Counts{},
		gains: map[string]map[string]int64{}, follow: map[string]int64{}, calls: map[string]int{},
	}
	s.handler = s.Kit.Handler(simkit.Noisy(http.HandlerFunc(s.serve), s.isNoisy, named))
	return s
}

// ServeHTTP answers as whichever of the network's servers is meant by the path.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := r.URL.EscapedPath()
	switch {
	case strings.HasPrefix(path, "/oauth/v2/"):
		s.login(w, r)
	case strings.HasPrefix(path, "/dms-uploads/"):
		s.receive(w, r)
	case path == "/v2/userinfo":
		s.userinfo(w, r)
	case strings.HasPrefix(path, "/rest/"):
		s.rest(w, r)
	default:
		refuse(w, http.StatusNotFound, "RESOURCE_NOT_FOUND", "No virtual resource found", "")
	}
}

// call is a request of the versioned API that passed the gateway.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	t      *token
	path   []string // decoded segments after /rest/
	query  query
	method string // Rest.li
}

// rest is the gateway of the versioned API: token, quota, version, protocol,
// then the address.
func (s *Sim) rest(w http.ResponseWriter, r *http.Request) {
	t := s.bearer(w, r)
	if t == nil {
		return
	}
	day := t.member + s.o.Now().UTC().Format(" 2006-01-02")
	if s.calls[day]++; s.o.DailyCalls > 0 && s.calls[day] > s.o.DailyCalls {
		refuse(w, http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Resource level throttle MEMBER DAY limit for calls to this resource is reached.", "")
		return
	}
	switch v := r.Header.Get("LinkedIn-Version"); {
	case v == "":
		refuse(w, http.StatusBadRequest, "VERSION_MISSING", "A version must be present. Please specify a version by adding the LinkedIn-Version header.", "")
		return
	case len(v) != 6 || v < s.o.Oldest || v > s.o.Newest:
		refuse(w, http.StatusUpgradeRequired, "NONEXISTENT_VERSION", "Requested version "+v+" is not active", "")
		return
	case r.Header.Get("X-Restli-Protocol-Version") != "2.0.0":
		refuse(w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "this API is spoken in protocol 2.0.0", "")
		return
	}
	c := &call{w: w, r: r, t: t, method: r.Header.Get("X-RestLi-Method")}
	raw := r.URL.RawQuery
	if r.Header.Get("X-HTTP-Method-Override") != "" { // a query too long for an address
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || raw != "" {
			refuse(w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "a tunnelled query is a POST whose body is the query", "")
			return
		}
		r.Method, raw = r.Header.Get("X-HTTP-Method-Override"), string(body(r))
	} else if len(raw) > 4000 {
		refuse(w, http.StatusRequestURITooLong, "", "the query is too long", "")
		return
	}
	var err error
	if c.path, err = keys(strings.TrimPrefix(r.URL.EscapedPath(), "/rest/")); err == nil {
		c.query, err = parseQuery(raw)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", err.Error(), "")
		return
	}
	s.route(c)
}

func (s *Sim) route(c *call) {
	n, m := len(c.path), c.r.Method
	switch res := c.path[0]; {
	case res == "me" && n == 1 && m == http.MethodGet:
		s.me(c)
	case res == "organizationAcls" && n == 1 && m == http.MethodGet:
		s.acls(c)
	case res == "organizationsLookup" && n == 1 && m == http.MethodGet:
		s.lookup(c)
	case (res == "images" || res == "documents" || res == "videos") && n <= 2:
		s.media(c, res)
	case res == "posts" && n == 1 && m == http.MethodPost:
		s.createPost(c)
	case res == "posts" && n == 1 && m == http.MethodGet:
		s.findPosts(c)
	case res == "posts" && n == 2:
		s.onePost(c)
	case res == "socialActions" && n >= 3 && c.path[2] == "comments":
		s.comments(c)
	case res == "socialMetadata" && n == 2 && m == http.MethodGet:
		s.metadata(c)
	case n <= 2 && m == http.MethodGet && s.numbers(c, res):
	default:
		refuse(c.w, http.StatusNotFound, "RESOURCE_NOT_FOUND", "No virtual resource found", "")
	}
}

// allows refuses a call whose token lacks all of these rights.
func (c *call) allows(rights ...string) bool {
	for _, r := range rights {
		if slices.Contains(c.t.scopes, r) || slices.Contains(c.t.scopes, r+"_feed") {
			return true
		}
	}
	refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "Not enough permissions to access: "+c.path[0]+"."+c.r.Method, "")
	return false
}

// acts refuses a call in the name of somebody for whom the token may not speak:
// itself with the first right, an organisation with the second.
func (s *Sim) acts(c *call, urn, asMember, asOrganization string) bool {
	switch {
	case urn == personURN(c.t.member):
		return c.allows(asMember)
	case strings.HasPrefix(urn, "urn:li:organization:"):
		if !c.allows(asOrganization) {
			return false
		}
		switch s.roles[urn][c.t.member] {
		case "ADMINISTRATOR", "CONTENT_ADMINISTRATOR":
			return true
		}
	}
	refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "the member may not act as "+urn, "")
	return false
}

func personURN(id string) string { return "urn:li:person:" + id }

// now is the time of the network.
func (s *Sim) now() time.Time { return s.o.Now().UTC() }

func (s *Sim) base(r *http.Request) string {
	switch {
	case s.o.BaseURL != "":
		return s.o.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// Skip leaves n ids out, so that a network which is started again gives none that
// it gave before.
func (s *Sim) Skip(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial += n
}

// next is a number nobody has seen before, larger than 2^53 as those of the
// network are.
func (s *Sim) next() string {
	s.serial++
	return strconv.FormatInt(7_300_000_000_000_000_000+s.serial, 10)
}

// AddApp makes a developer app known.
func (s *Sim) AddApp(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[a.ID] = a
}

// AddMember makes a person and returns their name.
func (s *Sim) AddMember(m Member) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = append(s.members, m)
	return personURN(m.ID)
}

// AddOrganization makes a page and returns its name.
func (s *Sim) AddOrganization(o Organization) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orgs = append(s.orgs, o)
	return "urn:li:organization:" + o.ID
}

// SetRole gives a member, by name, a role in an organisation; "" takes it away.
func (s *Sim) SetRole(organization, member, role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roles[organization] == nil {
		s.roles[organization] = map[string]string{}
	}
	s.roles[organization][strings.TrimPrefix(member, "urn:li:person:")] = role
}

func (s *Sim) member(id string) Member {
	for _, m := range s.members {
		if m.ID == id {
			return m
		}
	}
	return Member{}
}

func (s *Sim) me(c *call) {
	if !c.allows("r_basicprofile") {
		return
	}
	m := s.member(c.t.member)
	answer(c.w, http.StatusOK, map[string]any{"id": m.ID, "localizedFirstName": m.First, "localizedLastName": m.Last, "vanityName": m.Vanity})
}

// userinfo is of OpenID Connect and has no version.
func (s *Sim) userinfo(w http.ResponseWriter, r *http.Request) {
	t := s.bearer(w, r)
	if t == nil {
		return
	}
	if !slices.Contains(t.scopes, "openid") {
		refuse(w, http.StatusForbidden, "ACCESS_DENIED", "Not enough permissions to access: userinfo.GET.NO_VERSION", "")
		return
	}
	m := s.member(t.member)
	answer(w, http.StatusOK, map[string]any{
		"sub": m.ID, "name": m.First + " " + m.Last, "given_name": m.First, "family_name": m.Last,
		"locale": map[string]string{"country": "US", "language": "en"},
	})
}

func (s *Sim) acls(c *call) {
	if !c.allows("rw_organization_admin", "r_organization_admin") {
		return
	}
	if c.query.text("q") != "roleAssignee" {
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "q must be roleAssignee", "")
		return
	}
	var all []any
	for _, o := range s.orgs {
		urn := "urn:li:organization:" + o.ID
		role := s.roles[urn][c.t.member]
		if want := c.query.text("role"); role == "" || want != "" && want != role {
			continue
		}
		all = append(all, map[string]any{"role": role, "state": "APPROVED", "roleAssignee": personURN(c.t.member), "organization": urn})
	}
	answer(c.w, http.StatusOK, page(c, all))
}

func (s *Sim) lookup(c *call) {
	if !c.allows("rw_organization_admin", "r_organization_admin", "r_organization_social") {
		return
	}
	found := map[string]any{}
	for _, id := range c.query.list("ids") {
		for _, o := range s.orgs {
			if n, err := strconv.ParseInt(o.ID, 10, 64); err == nil && o.ID == id {
				found[id] = map[string]any{"id": n, "localizedName": o.Name, "vanityName": o.Vanity}
			}
		}
	}
	answer(c.w, http.StatusOK, map[string]any{"results": found, "statuses": map[string]any{}, "errors": map[string]any{}})
}

// page is the part of a list that was asked for.
func page(c *call, all []any) map[string]any {
	start, count := c.query.number("start", 0), c.query.number("count", 10)
	from := min(start, len(all))
	out := all[from:min(from+min(count, 100), len(all))]
	if out == nil {
		out = []any{}
	}
	return map[string]any{"elements": out, "paging": map[string]any{"start": start, "count": count, "links": []any{}}}
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("the simulator made no JSON: %v", err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Li-Uuid", "AAYsim"+strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// refuse answers with an error; field is the path of what was wrong in the body.
func refuse(w http.ResponseWriter, status int, code, message, field string) {
	v := map[string]any{"status": status, "message": message}
	if code != "" {
		v["code"] = code
	}
	if n := map[string]int{"INVALID_ACCESS_TOKEN": 65600, "REVOKED_ACCESS_TOKEN": 65601, "EXPIRED_ACCESS_TOKEN": 65602, "EMPTY_ACCESS_TOKEN": 65604}[code]; n != 0 {
		v["serviceErrorCode"] = n
	}
	if field != "" {
		v["errorDetailType"] = "com.linkedin.common.error.BadRequest"
		v["errorDetails"] = map[string]any{"inputErrors": []any{map[string]any{
			"description": message, "code": code, "input": map[string]any{"inputPath": map[string]any{"fieldPath": field}},
		}}}
		delete(v, "code")
	}
	answer(w, status, v)
}

package linkedinsim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"smi/connectors/linkedin/linkedinsim"
)

// talk sends requests that are written out as LinkedIn's pages write them.
// {name} stands for what an earlier answer gave.
type talk struct {
	t     *testing.T
	sim   *linkedinsim.Sim
	names map[string]string
}

// headers are those that the pages put on each request of the versioned API.
const headers = `Authorization: Bearer {token}
LinkedIn-Version: 202608
X-Restli-Protocol-Version: 2.0.0
`

// says is an answer and how to look into it.
type says struct {
	*talk
	status int
	header http.Header
	body   []byte
	asked  string
}

// ask sends a request: its first line, headers, an empty line and the body.
func (k *talk) ask(literal string) *says {
	k.t.Helper()
	for name, v := range k.names {
		literal = strings.ReplaceAll(literal, "{"+name+"}", v)
	}
	head, content, _ := strings.Cut(strings.TrimPrefix(literal, "\n"), "\n\n")
	line, rest, _ := strings.Cut(head, "\n")
	raw := line + " HTTP/1.1\r\nHost: api.linkedin.com\r\n"
	if rest = strings.TrimSpace(rest); rest != "" {
		raw += strings.ReplaceAll(rest, "\n", "\r\n") + "\r\n"
	}
	raw += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(content), content)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		k.t.Fatalf("%q is no request: %v", line, err)
	}
	w := httptest.NewRecorder()
	k.sim.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return &says{k, w.Code, w.Result().Header, b, line}
}

// is wants a status.
func (s *says) is(status int) *says {
	s.t.Helper()
	if s.status != status {
		s.t.Fatalf("%s: %d %s, want %d", s.asked, s.status, s.body, status)
	}
	return s
}

// at returns what the answer has at a path such as "elements.0.role".
func (s *says) at(path string) string {
	s.t.Helper()
	d := json.NewDecoder(bytes.NewReader(s.body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		s.t.Fatalf("%s: %s is no JSON: %v", s.asked, s.body, err)
	}
	for step := range strings.SplitSeq(path, "/") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				s.t.Fatalf("%s: %s has no %s", s.asked, s.body, path)
			}
			v = x[i]
		default:
			s.t.Fatalf("%s: %s has no %s", s.asked, s.body, path)
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// has wants a value at a path.
func (s *says) has(path, want string) *says {
	s.t.Helper()
	if got := s.at(path); got != want {
		s.t.Fatalf("%s: %s is %q, want %q (%s)", s.asked, path, got, want, s.body)
	}
	return s
}

// keep names a value for later requests, as it is and percent-encoded as a key.
func (s *says) keep(name, v string) *says {
	s.t.Helper()
	if v == "" {
		s.t.Fatalf("%s: there is no %s in %v %s", s.asked, name, s.header, s.body)
	}
	s.names[name], s.names["enc "+name] = v, strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
	return s
}

func newTalk(t *testing.T, o linkedinsim.Options) *talk {
	t.Helper()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	k := &talk{t: t, sim: linkedinsim.New(o), names: map[string]string{}}
	k.sim.AddApp(linkedinsim.App{ID: "86app", Secret: "s3cret", Redirects: []string{"https://smi.example/callback"}, Scopes: []string{
		"openid", "profile", "r_basicprofile", "rw_organization_admin", "r_organization_social", "w_organization_social", "w_member_social_feed",
		"r_member_postAnalytics", "r_member_profileAnalytics",
	}})
	person := k.sim.AddMember(linkedinsim.Member{ID: "782bbtaQ", First: "Alice", Last: "Example", Vanity: "alice"})
	page := k.sim.AddOrganization(linkedinsim.Organization{ID: "5515715", Name: "Devtestco", Vanity: "devtestco"})
	k.sim.AddOrganization(linkedinsim.Organization{ID: "2414183", Name: "Another", Vanity: "another"})
	k.sim.SetRole(page, person, "ADMINISTRATOR")
	return k
}

func (k *talk) signIn(scopes string) {
	k.t.Helper()
	got := k.ask("GET /oauth/v2/authorization?response_type=code&client_id=86app&redirect_uri=https%3A%2F%2Fsmi.example%2Fcallback&state=foobar&scope=" + scopes).is(http.StatusFound)
	to, err := url.Parse(got.header.Get("Location"))
	if err != nil || to.Query().Get("state") != "foobar" {
		k.t.Fatalf("the browser goes to %q", got.header.Get("Location"))
	}
	k.names["code"] = to.Query().Get("code")
	got = k.ask(`
POST /oauth/v2/accessToken
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code&code={code}&client_id=86app&client_secret=s3cret&redirect_uri=https%3A%2F%2Fsmi.example%2Fcallback`).is(http.StatusOK)
	got.has("expires_in", "5184000").has("token_type", "Bearer").keep("token", got.at("access_token")).keep("refresh", got.at("refresh_token"))
}

const allScopes = "r_basicprofile%20rw_organization_admin%20r_organization_social%20w_organization_social%20w_member_social_feed%20r_member_postAnalytics%20r_member_profileAnalytics"

// 3-legged OAuth, refresh tokens, token introspection.
func TestPagesLogin(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{})
	k.signIn("openid%20profile")
	k.ask("GET /v2/userinfo\nAuthorization: Bearer {token}").is(http.StatusOK).has("sub", "782bbtaQ").has("name", "Alice Example")
	k.ask("GET /rest/me\n"+headers).is(http.StatusForbidden).has("code", "ACCESS_DENIED")

	k.ask(`
POST /oauth/v2/introspectToken
Content-Type: application/x-www-form-urlencoded

client_id=86app&client_secret=s3cret&token={token}`).is(http.StatusOK).has("active", "true").has("status", "active").has("auth_type", "3L").has("scope", "openid,profile")
	got := k.ask(`
POST /oauth/v2/accessToken
Content-Type: application/x-www-form-urlencoded

grant_type=refresh_token&refresh_token={refresh}&client_id=86app&client_secret=s3cret`).is(http.StatusOK)
	got.has("refresh_token", k.names["refresh"]).has("refresh_token_expires_in", "31536000")
	k.ask(`
POST /oauth/v2/accessToken
Content-Type: application/x-www-form-urlencoded

grant_type=refresh_token&refresh_token=wrong&client_id=86app&client_secret=s3cret`).is(http.StatusBadRequest).has("error", "invalid_grant")

	// A code is good once; the redirect must be the very same.
	k.ask(`
POST /oauth/v2/accessToken
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code&code={code}&client_id=86app&client_secret=s3cret&redirect_uri=https%3A%2F%2Fsmi.example%2Fcallback`).is(http.StatusBadRequest)
	k.ask("GET /oauth/v2/authorization?response_type=code&client_id=86app&redirect_uri=https%3A%2F%2Felsewhere.example&state=x&scope=openid").is(http.StatusBadRequest)
	to := k.ask("GET /oauth/v2/authorization?response_type=code&client_id=86app&redirect_uri=https%3A%2F%2Fsmi.example%2Fcallback&state=x&scope=r_ads").is(http.StatusFound).header.Get("Location")
	if !strings.Contains(to, "error=unauthorized_scope_error") {
		t.Errorf("a scope that the app has not leads to %s", to)
	}

	// Other rights end what was there before.
	k.names["old"] = k.names["token"]
	k.signIn(allScopes)
	k.ask("GET /v2/userinfo\nAuthorization: Bearer {old}").is(http.StatusUnauthorized).has("code", "REVOKED_ACCESS_TOKEN").has("serviceErrorCode", "65601")
	k.ask("GET /rest/me\n"+headers).is(http.StatusOK).has("id", "782bbtaQ").has("vanityName", "alice")
	k.ask(`
POST /oauth/v2/revoke
Content-Type: application/x-www-form-urlencoded

client_id=86app&client_secret=s3cret&token={token}`).is(http.StatusOK)
	k.ask("GET /rest/me\n"+headers).is(http.StatusUnauthorized).has("code", "REVOKED_ACCESS_TOKEN")
	k.ask("GET /rest/me\nLinkedIn-Version: 202608").is(http.StatusUnauthorized).has("code", "EMPTY_ACCESS_TOKEN").has("serviceErrorCode", "65604")
}

// Versioning, protocol and encodings.
func TestPagesProtocol(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{})
	k.signIn(allScopes)
	k.ask("GET /rest/me\nAuthorization: Bearer {token}\nX-Restli-Protocol-Version: 2.0.0").is(http.StatusBadRequest).has("code", "VERSION_MISSING")
	k.ask("GET /rest/me\nAuthorization: Bearer {token}\nLinkedIn-Version: 202401\nX-Restli-Protocol-Version: 2.0.0").is(http.StatusUpgradeRequired).has("code", "NONEXISTENT_VERSION")
	k.ask("GET /rest/me\nAuthorization: Bearer {token}\nLinkedIn-Version: 202608").is(http.StatusBadRequest)

	k.ask("GET /rest/organizationAcls?q=roleAssignee&role=ADMINISTRATOR&state=APPROVED&start=0&count=100\n"+headers).is(http.StatusOK).
		has("elements/0/role", "ADMINISTRATOR").has("elements/0/state", "APPROVED").has("elements/0/roleAssignee", "urn:li:person:782bbtaQ").
		has("elements/0/organization", "urn:li:organization:5515715").has("paging/count", "100")
	k.ask("GET /rest/organizationsLookup?ids=List(2414183,5515715)\n"+headers).is(http.StatusOK).
		has("results/2414183/localizedName", "Another").has("results/5515715/vanityName", "devtestco").has("results/5515715/id", "5515715")
	for name, query := range map[string]string{
		"the structure is encoded too": "ids=List%282414183%2C5515715%29",
		"a list does not end":          "ids=List(2414183",
		"something follows":            "ids=List(2414183)x",
		"twice":                        "ids=List(1)&ids=List(2)",
		"a bare urn":                   "ids=List(urn:li:organization:1)",
	} {
		got := k.ask("GET /rest/organizationsLookup?" + query + "\n" + headers)
		if name == "the structure is encoded too" {
			if got.is(http.StatusOK).at("results/5515715") != "" {
				t.Errorf("%s: it is read as a list", name)
			}
			continue
		}
		got.is(http.StatusBadRequest)
	}
	// A query that is too long goes as the body of a POST.
	long := "ids=List(" + strings.Repeat("2414183,", 600) + "5515715)"
	k.ask("GET /rest/organizationsLookup?" + long + "\n" + headers).is(http.StatusRequestURITooLong)
	k.ask("POST /rest/organizationsLookup\n"+headers+"X-HTTP-Method-Override: GET\nX-RestLi-Method: BATCH_GET\nContent-Type: application/x-www-form-urlencoded\n\n"+long).
		is(http.StatusOK).has("results/5515715/vanityName", "devtestco")
	k.ask("GET /rest/posts/urn:li:share:1\n" + headers).is(http.StatusBadRequest) // the key is not encoded
}

// Posts API: create, read, find, change, delete, duplicates.
func TestPagesPosts(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{})
	k.signIn(allScopes)
	got := k.ask("POST /rest/images?action=initializeUpload\n" + headers + "Content-Type: application/json\n\n" + `{"initializeUploadRequest":{"owner":"urn:li:organization:5515715"}}`).is(http.StatusOK)
	up, err := url.Parse(got.at("value/uploadUrl"))
	if err != nil {
		t.Fatal(err)
	}
	got.keep("image", got.at("value/image")).keep("up", up.RequestURI())
	k.ask("GET /rest/images/{enc image}\n"+headers).is(http.StatusOK).has("status", "WAITING_UPLOAD")
	k.ask("PUT {up}\nAuthorization: Bearer {token}\n\nthe bytes of a picture").is(http.StatusCreated)
	k.ask("GET /rest/images/{enc image}\n"+headers).is(http.StatusOK).has("status", "AVAILABLE")

	const create = `
POST /rest/posts
` + headers + `Content-Type: application/json

{"author":"urn:li:organization:5515715","commentary":"Hello \\(world\\) #smi {hashtag|\\#|a\\_b} @[Devtestco](urn:li:organization:2414183)","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED","targetEntities":[],"thirdPartyDistributionChannels":[]},"content":{"media":{"id":"{image}","altText":"x"}},"lifecycleState":"PUBLISHED","isReshareDisabledByAuthor":false}`
	got = k.ask(create).is(http.StatusCreated)
	got.keep("share", got.header.Get("x-restli-id"))
	if len(got.body) != 0 || got.header.Get("x-linkedin-id") != k.names["share"] || !strings.HasPrefix(k.names["share"], "urn:li:share:") {
		t.Errorf("a post is answered with %v and %q", got.header, got.body)
	}
	if text := k.sim.Posts("urn:li:organization:5515715")[0].Text; text != "Hello (world) #smi #a_b Devtestco" {
		t.Errorf("a reader sees %q", text)
	}
	got = k.ask(create).is(http.StatusUnprocessableEntity).has("status", "422").has("errorDetails/inputErrors/0/code", "DUPLICATE_POST")
	if !strings.HasSuffix(got.at("message"), "Content is a duplicate of "+k.names["share"]) {
		t.Errorf("a duplicate is answered with %s", got.body)
	}

	k.ask("GET /rest/posts/{enc share}\n"+headers).is(http.StatusOK).has("id", k.names["share"]).has("author", "urn:li:organization:5515715").
		has("lifecycleState", "PUBLISHED").has("content/media/altText", "x").has("createdAt", "1795424400000")
	k.ask("GET /rest/posts?ids=List({enc share},urn%3Ali%3Ashare%3A1)\n"+headers+"X-RestLi-Method: BATCH_GET").is(http.StatusOK).
		has("results/"+k.names["share"]+"/visibility", "PUBLIC").has("errors/urn:li:share:1/status", "404")
	k.ask("GET /rest/posts?author=urn%3Ali%3Aorganization%3A5515715&q=author&count=10&sortBy=LAST_MODIFIED\n"+headers+"X-RestLi-Method: FINDER").is(http.StatusOK).
		has("elements/0/id", k.names["share"]).has("paging/start", "0")
	k.ask("GET /rest/posts?author=urn%3Ali%3Aperson%3A782bbtaQ&q=author&count=10\n"+headers).is(http.StatusBadRequest).
		has("message", "Member permissions must be used when using member as author")
	k.ask("GET /rest/posts?author=urn%3Ali%3Aorganization%3A2414183&q=author&count=10\n" + headers).is(http.StatusForbidden)

	k.ask("POST /rest/posts/{enc share}\n" + headers + "Content-Type: application/json\n\n" + `{"patch":{"$set":{"commentary":"Changed"}}}`).is(http.StatusBadRequest)
	k.ask("POST /rest/posts/{enc share}\n" + headers + "X-RestLi-Method: PARTIAL_UPDATE\nContent-Type: application/json\n\n" + `{"patch":{"$set":{"commentary":"Changed"}}}`).is(http.StatusNoContent)
	k.ask("GET /rest/posts/{enc share}\n"+headers).is(http.StatusOK).has("commentary", "Changed")
	k.ask("DELETE /rest/posts/{enc share}\n" + headers + "X-RestLi-Method: DELETE").is(http.StatusNoContent)
	k.ask("DELETE /rest/posts/{enc share}\n" + headers).is(http.StatusNoContent)
	k.ask("GET /rest/posts/{enc share}\n" + headers).is(http.StatusNotFound)
	if n := len(k.sim.Posts("urn:li:organization:5515715")); n != 0 {
		t.Errorf("%d posts are left", n)
	}
}

// A reserved character without its backslash cuts the post, and nobody is told.
func TestPagesLittleText(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{})
	k.signIn(allScopes)
	for sent, seen := range map[string]string{
		`Hello (world)`:                     "Hello ",
		`Hello \\(world\\) \\*`:             "Hello (world) *",
		`a_b`:                               "a",
		`1 # 2`:                             "1 ",
		`@[Eddy \\(x\\)](urn:li:person:1)!`: "Eddy (x)!",
		`@[Eddy] (urn:li:person:1)`:         "",
	} {
		k.ask("POST /rest/posts\n" + headers + "Content-Type: application/json\n\n" + `{"author":"urn:li:person:782bbtaQ","commentary":"` + sent +
			`","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED"},"lifecycleState":"PUBLISHED"}`).is(http.StatusCreated)
		all := k.sim.Posts("urn:li:person:782bbtaQ")
		if got := all[len(all)-1].Text; got != seen {
			t.Errorf("of %q a reader sees %q, want %q", sent, got, seen)
		}
	}
	for field, body := range map[string]string{
		"commentary":           `"commentary":"` + strings.Repeat("a", 3001) + `","visibility":"PUBLIC"`,
		"visibility":           `"commentary":"a","visibility":"EVERYBODY"`,
		"content/poll/options": `"commentary":"a","visibility":"PUBLIC","content":{"poll":{"question":"q","options":[{"text":"one"}],"settings":{"duration":"ONE_DAY"}}}`,
	} {
		got := k.ask("POST /rest/posts\n" + headers + "Content-Type: application/json\n\n" + `{"author":"urn:li:person:782bbtaQ",` + body + `,"distribution":{"feedDistribution":"MAIN_FEED"},"lifecycleState":"PUBLISHED"}`)
		if got.status != http.StatusBadRequest && got.status != http.StatusUnprocessableEntity {
			t.Fatalf("%s: %d %s", field, got.status, got.body)
		}
		got.has("errorDetails/inputErrors/0/input/inputPath/fieldPath", field)
	}
}

// Videos API: pieces, ETags, finalising.
func TestPagesVideo(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{PartSize: 10, MediaPolls: 1})
	k.signIn(allScopes)
	got := k.ask("POST /rest/videos?action=initializeUpload\n"+headers+"Content-Type: application/json\n\n"+
		`{"initializeUploadRequest":{"owner":"urn:li:organization:5515715","fileSizeBytes":14,"uploadCaptions":false,"uploadThumbnail":false}}`).is(http.StatusOK).
		has("value/uploadInstructions/0/firstByte", "0").has("value/uploadInstructions/0/lastByte", "9").has("value/uploadInstructions/1/lastByte", "13")
	got.keep("video", got.at("value/video"))
	for i, bytes := range []string{"0123456789", "abcd"} {
		up, err := url.Parse(got.at(fmt.Sprintf("value/uploadInstructions/%d/uploadUrl", i)))
		if err != nil {
			t.Fatal(err)
		}
		k.names["up"] = up.RequestURI()
		k.ask("PUT {up}\nContent-Type: application/octet-stream\n\ntoo much for a piece").is(http.StatusBadRequest)
		put := k.ask("PUT {up}\nContent-Type: application/octet-stream\n\n" + bytes).is(http.StatusCreated)
		put.keep(fmt.Sprint("etag", i), strings.Trim(put.header.Get("ETag"), `"`))
	}
	const finish = "POST /rest/videos?action=finalizeUpload\n" + headers + "Content-Type: application/json\n\n"
	k.ask(finish + `{"finalizeUploadRequest":{"video":"{video}","uploadToken":"","uploadedPartIds":["{etag1}","{etag0}"]}}`).is(http.StatusBadRequest)
	k.ask("GET /rest/videos/{enc video}\n"+headers).is(http.StatusOK).has("status", "WAITING_UPLOAD")
	k.ask(finish + `{"finalizeUploadRequest":{"video":"{video}","uploadToken":"","uploadedPartIds":["{etag0}","{etag1}"]}}`).is(http.StatusOK)
	k.ask("GET /rest/videos/{enc video}\n"+headers).is(http.StatusOK).has("status", "PROCESSING")
	k.ask("GET /rest/videos/{enc video}\n"+headers).is(http.StatusOK).has("status", "AVAILABLE")
	post := k.ask("POST /rest/posts\n" + headers + "Content-Type: application/json\n\n" + `{"author":"urn:li:organization:5515715","commentary":"moving","visibility":"PUBLIC","distribution":{"feedDistribution":"MAIN_FEED"},"content":{"media":{"id":"{video}","title":"t"}},"lifecycleState":"PUBLISHED"}`).is(http.StatusCreated)
	post.keep("ugc", post.header.Get("x-restli-id"))
	if !strings.HasPrefix(k.names["ugc"], "urn:li:ugcPost:") {
		t.Errorf("a video is called %s", k.names["ugc"])
	}
	k.sim.SetCounts(k.names["ugc"], linkedinsim.Counts{Impressions: 3, WatchMS: 12345})
	k.ask("GET /rest/videoAnalytics?q=entity&entity={enc ugc}&type=TIME_WATCHED&aggregation=ALL\n"+headers).is(http.StatusOK).has("elements/0/value", "12345")
	k.ask("GET /rest/organizationalEntityShareStatistics?q=organizationalEntity&organizationalEntity=urn%3Ali%3Aorganization%3A5515715&ugcPosts=List({enc ugc})\n"+headers).
		is(http.StatusOK).has("elements/0/ugcPost", k.names["ugc"]).has("elements/0/totalShareStatistics/impressionCount", "3")
}

// Comments API.
func TestPagesComments(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{})
	k.signIn(allScopes)
	k.names["share"] = k.sim.Write("urn:li:organization:5515715", "a question?")
	k.names["enc share"] = url.QueryEscape(k.names["share"])
	const json = "Content-Type: application/json\n\n"
	got := k.ask("POST /rest/socialActions/{enc share}/comments\n"+headers+json+`{"actor":"urn:li:organization:5515715","object":"{share}","message":{"text":"first!"}}`).is(http.StatusCreated).
		has("message/text", "first!").has("actor", "urn:li:organization:5515715")
	got.keep("comment", got.at("commentUrn")).keep("id", got.at("id")).keep("activity", got.at("object"))
	if want := "urn:li:comment:(" + k.names["activity"] + "," + k.names["id"] + ")"; k.names["comment"] != want {
		t.Errorf("the comment is called %s, want %s", k.names["comment"], want)
	}
	k.ask("POST /rest/socialActions/{enc comment}/comments\n"+headers+json+`{"actor":"urn:li:person:782bbtaQ","object":"{activity}","parentComment":"{comment}","message":{"text":"second"}}`).
		is(http.StatusCreated).has("parentComment", k.names["comment"])
	k.ask("GET /rest/socialActions/{enc activity}/comments?start=0&count=100\n"+headers).is(http.StatusOK).has("elements/0/commentUrn", k.names["comment"]).has("paging/count", "100")
	k.ask("GET /rest/socialActions/{enc comment}/comments\n"+headers).is(http.StatusOK).has("elements/0/message/text", "second")
	k.ask("GET /rest/socialMetadata/{enc share}\n"+headers).is(http.StatusOK).has("commentSummary/count", "2").has("commentsState", "OPEN")
	k.ask("POST /rest/socialActions/{enc share}/comments/{id}?actor=urn%3Ali%3Aorganization%3A5515715\n" + headers + "X-RestLi-Method: PARTIAL_UPDATE\n" + json + `{"patch":{"message":{"$set":{"text":"edited"}}}}`).is(http.StatusOK)
	k.ask("DELETE /rest/socialActions/{enc share}/comments/{id}?actor=urn%3Ali%3Aorganization%3A5515715\n" + headers).is(http.StatusNoContent)
	k.ask("GET /rest/socialActions/{enc share}/comments/{id}\n" + headers).is(http.StatusNotFound)
	k.ask("POST /rest/socialActions/urn%3Ali%3Aactivity%3A6631349431612559360/comments\n" + headers + json + `{"actor":"urn:li:organization:5515715","object":"urn:li:activity:6631349431612559360","message":{"text":"first!"}}`).is(http.StatusNotFound)
}

// The pages on statistics.
func TestPagesStatistics(t *testing.T) {
	t.Parallel()
	k := newTalk(t, linkedinsim.Options{})
	k.signIn(allScopes)
	const page = "urn:li:organization:5515715"
	k.names["share"] = k.sim.Write(page, "hello")
	k.names["enc share"] = url.QueryEscape(k.names["share"])
	k.sim.SetCounts(k.names["share"], linkedinsim.Counts{Impressions: 10, Unique: 8, Clicks: 1, Likes: 1})
	k.sim.SetDay(page, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), linkedinsim.Counts{Impressions: 10, Unique: 8, Clicks: 1, Likes: -1})
	k.sim.SetGain(page, time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), 223)
	k.sim.SetFollowers(page, 4321)
	const share = "GET /rest/organizationalEntityShareStatistics?q=organizationalEntity&organizationalEntity=urn%3Ali%3Aorganization%3A5515715"
	const november = "timeIntervals=(timeRange:(start:1793491200000,end:1794096000000),timeGranularityType:DAY)"
	k.ask(share+"&"+november+"\n"+headers).is(http.StatusOK).has("elements/0/timeRange/start", "1793491200000").has("elements/0/timeRange/end", "1793577600000").
		has("elements/0/totalShareStatistics/uniqueImpressionsCount", "8").has("elements/0/totalShareStatistics/likeCount", "-1").has("elements/0/organizationalEntity", page)
	k.ask(share+"&shares=List({enc share})\n"+headers).is(http.StatusOK).has("elements/0/share", k.names["share"]).has("elements/0/totalShareStatistics/engagement", "0.2")
	k.ask(share + "&shares=List({enc share})&" + november + "\n" + headers).is(http.StatusBadRequest)
	k.ask("GET /rest/organizationalEntityFollowerStatistics?q=organizationalEntity&organizationalEntity=urn%3Ali%3Aorganization%3A5515715&"+november+"\n"+headers).is(http.StatusOK).
		has("elements/0/followerGains/organicFollowerGain", "223").has("elements/0/followerGains/paidFollowerGain", "0")
	k.ask("GET /rest/networkSizes/urn%3Ali%3Aorganization%3A5515715?edgeType=COMPANY_FOLLOWED_BY_MEMBER\n"+headers).is(http.StatusOK).has("firstDegreeSize", "4321")
	k.ask("GET /rest/networkSizes/urn%3Ali%3Aorganization%3A5515715?edgeType=CompanyFollowedByMember\n" + headers).is(http.StatusBadRequest)

	k.names["mine"] = k.sim.Write("urn:li:person:782bbtaQ", "hello")
	k.names["enc mine"] = url.QueryEscape(k.names["mine"])
	const member = "GET /rest/memberCreatorPostAnalytics?q=entity&entity=(share:{enc mine})&queryType="
	k.ask(member+"IMPRESSION&aggregation=TOTAL\n"+headers).is(http.StatusOK).has("elements/0/count", "1").has("elements/0/metricType", "IMPRESSION")
	k.ask(member + "IMPRESSION&aggregation=DAILY\n" + headers).is(http.StatusBadRequest)
	old := strings.ReplaceAll(headers, "202608", "202602")
	k.ask(member + "POST_SAVE&aggregation=TOTAL\n" + old).is(http.StatusBadRequest)
	if got := k.ask(member + "REACTION&aggregation=TOTAL\n" + old).is(http.StatusOK).at("elements/0/metricType"); !strings.HasPrefix(got, "map[") {
		t.Errorf("before 202605 the metric is %q", got)
	}
	k.ask("GET /rest/memberFollowersCount?q=me\n"+headers).is(http.StatusOK).has("elements/0/memberFollowersCount", "0")

	dev := newTalk(t, linkedinsim.Options{DevTier: true, DailyCalls: 2})
	dev.signIn(allScopes)
	dev.ask("GET /rest/memberFollowersCount?q=me\n" + headers).is(http.StatusNotFound)
	dev.ask("GET /rest/me\n" + headers).is(http.StatusOK)
	dev.ask("GET /rest/me\n"+headers).is(http.StatusTooManyRequests).has("code", "TOO_MANY_REQUESTS")
}

package twitter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dghubble/go-twitter/twitter" //nolint:staticcheck // it is archived, as is the API it speaks

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// legacyConn is one account, by API v1.1.
type legacyConn struct {
	p       *Platform
	account social.Account
	http    *api.Client
}

var (
	_ connectors.Publisher       = (*legacyConn)(nil)
	_ connectors.CommitDialer    = (*legacyConn)(nil)
	_ connectors.Finder          = (*legacyConn)(nil)
	_ connectors.Getter          = (*legacyConn)(nil)
	_ connectors.Deleter         = (*legacyConn)(nil)
	_ connectors.Lister          = (*legacyConn)(nil)
	_ connectors.PostInsights    = (*legacyConn)(nil)
	_ connectors.AccountInsights = (*legacyConn)(nil)
	_ connectors.Recogniser      = (*legacyConn)(nil)
)

// status is what smi itself reads of a v1.1 answer: go-twitter has zeros where X
// said nothing, and absent is not zero.
type status struct {
	ID    string       `json:"id_str"`
	Likes *json.Number `json:"favorite_count"`
	Posts *json.Number `json:"retweet_count"`
}

// Validate asks for the id.
func (s status) Validate() error {
	if !isID(s.ID) {
		return errors.New("id_str is missing")
	}
	return nil
}

type statuses []status

// Validate asks for the ids.
func (s statuses) Validate() error {
	for _, one := range s {
		if err := one.Validate(); err != nil {
			return err
		}
	}
	return nil
}

type legacyUser struct {
	ID        string       `json:"id_str"`
	Followers *json.Number `json:"followers_count"`
	Following *json.Number `json:"friends_count"`
	Posts     *json.Number `json:"statuses_count"`
}

// Validate asks for the id.
func (u legacyUser) Validate() error {
	if !isID(u.ID) {
		return errors.New("id_str is missing")
	}
	return nil
}

func (c *legacyConn) whoAmI(ctx context.Context) (*twitter.User, legacyUser, api.Answer, error) {
	var user *twitter.User
	var own legacyUser
	a, err := c.through(ctx, api.Call{Op: "verifyCredentials", Bucket: "me", Out: &own}, false, func(t *twitter.Client) (err error) {
		user, _, err = t.Accounts.VerifyCredentials(&twitter.AccountVerifyParams{SkipStatus: twitter.Bool(true)}) //nolint:bodyclose // the library closes it
		return err
	})
	return user, own, a, err
}

// Identity says whose token it is.
func (c *legacyConn) Identity(ctx context.Context) (social.Profile, error) {
	u, own, _, err := c.whoAmI(ctx)
	if err != nil {
		return social.Profile{}, err
	}
	return social.Profile{
		RemoteID: own.ID, Handle: u.ScreenName, Name: u.Name, AvatarURL: u.ProfileImageURLHttps, DayZone: "UTC",
		URL: strings.TrimRight(c.p.cfg.WebURL, "/") + "/" + u.ScreenName,
	}, nil
}

// Check says what is wrong with a part. Pure.
func (c *legacyConn) Check(p *social.Part) []social.Problem {
	k := checker{part: p, limits: legacyLimits()}
	k.text()
	k.rest()
	k.media()
	return k.Found
}

// Prepare fixes the bytes of the commit: nothing goes up before it.
func (c *legacyConn) Prepare(_ context.Context, j *connectors.Job) (connectors.Preparation, error) {
	none := connectors.Preparation{}
	if err := sayable(j.Part, legacyLimits(), nil); err != nil {
		return none, err
	}
	if err := hasParent(j); err != nil {
		return none, err
	}
	if composed(j.Part) == "" {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: "text", Text: "the post is empty; write something"}
	}
	d := draft{Request: legacyForm(j).Encode()}
	state, err := json.Marshal(&d)
	if err != nil {
		return none, fmt.Errorf("keeping the prepared post: %w", err)
	}
	return connectors.Preparation{State: state, Class: connectors.Unkeyed, RequestHash: connectors.RequestHash([]byte(d.Request))}, nil
}

// legacyForm is the body of statuses/update, as go-twitter writes it.
func legacyForm(j *connectors.Job) url.Values {
	f := url.Values{"status": {composed(j.Part)}}
	if j.Parent != nil {
		f.Set("in_reply_to_status_id", j.Parent.RemoteID)
		f.Set("auto_populate_reply_metadata", "true")
	}
	return f
}

// DialCommit opens the connection of the commit.
func (c *legacyConn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	return c.http.DialCommit(ctx, c.p.cfg.APIURL)
}

// Commit posts what was fixed in Prepare. The library writes the body; it must
// come out as announced.
func (c *legacyConn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	none := connectors.Receipt{}
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil || d.Request == "" {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opUpdate, Text: "the post was not prepared", Err: err}
	}
	f, err := url.ParseQuery(d.Request)
	if err != nil {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opUpdate, Text: "the prepared post cannot be read", Err: err}
	}
	params := &twitter.StatusUpdateParams{}
	if parent := f.Get("in_reply_to_status_id"); parent != "" {
		if params.InReplyToStatusID, err = strconv.ParseInt(parent, 10, 64); err != nil {
			return none, &connectors.Error{Kind: connectors.Unsupported, Op: opUpdate, Text: "the post that is answered has no number for an id", Err: err}
		}
		params.AutoPopulateReplyMetadata = twitter.Bool(true)
	}
	var out status
	_, err = c.through(ctx, api.Call{Op: opUpdate, Bucket: "create", Out: &out}, true, func(t *twitter.Client) error {
		_, _, err := t.Statuses.Update(f.Get("status"), params) //nolint:bodyclose // the library closes it
		return err
	})
	if err != nil {
		return none, doubted(err, j)
	}
	return connectors.Receipt{RemoteID: out.ID, URL: c.p.postURL(c.account.Handle, out.ID), PublishedAt: c.p.env.Now()}, nil
}

// seeLegacy undoes what X does to a text.
func seeLegacy(t *twitter.Tweet) seen {
	s := seen{id: t.IDStr, text: t.FullText, parent: t.InReplyToStatusIDStr}
	if s.text == "" {
		s.text = t.Text
	}
	if t.User != nil {
		s.author = t.User.IDStr
	}
	if at, err := t.CreatedAtTime(); err == nil {
		s.at = at.UTC()
	}
	var urls []urlEntity
	if t.Entities != nil {
		for _, u := range t.Entities.Urls {
			urls = append(urls, urlEntity{URL: u.URL, Expanded: u.ExpandedURL})
		}
		for _, m := range t.Entities.Media {
			urls = append(urls, urlEntity{URL: m.URL, MediaKey: m.IDStr})
		}
	}
	s.text = plainText(s.text, urls, s.id)
	if t.ExtendedEntities != nil {
		for _, m := range t.ExtendedEntities.Media {
			s.media = append(s.media, kindOfMedia(m.Type))
		}
	}
	return s
}

// timeline reads a page of the account's own posts, from an id downwards ("" for
// the newest). Reposts count in a page whether they are given or not, so they
// are asked for: a page without any would look like the end (developer.x.com,
// GET statuses/user_timeline).
func (c *legacyConn) timeline(ctx context.Context, size int, from string) ([]twitter.Tweet, api.Answer, error) {
	params := &twitter.UserTimelineParams{Count: size, TweetMode: "extended", IncludeRetweets: twitter.Bool(true)}
	var err error
	if params.UserID, err = strconv.ParseInt(c.account.RemoteID, 10, 64); err == nil && from != "" {
		params.MaxID, err = strconv.ParseInt(from, 10, 64)
	}
	if err != nil {
		return nil, api.Answer{}, &connectors.Error{Kind: connectors.Invalid, Op: "userTimeline", Text: "an id is no number", Err: err}
	}
	var out []twitter.Tweet
	var ids statuses
	a, err := c.through(ctx, api.Call{Op: "userTimeline", Bucket: "timeline", Out: &ids}, false, func(t *twitter.Client) (err error) {
		out, _, err = t.Timelines.UserTimeline(params) //nolint:bodyclose // the library closes it
		return err
	})
	return out, a, err
}

// below is the largest id that is smaller than one of these, "" if there is
// none.
func below(page []twitter.Tweet) string {
	least := int64(0)
	for _, t := range page {
		if least == 0 || t.ID < least {
			least = t.ID
		}
	}
	if least <= 1 {
		return ""
	}
	return strconv.FormatInt(least-1, 10)
}

func (c *legacyConn) known() social.Account {
	a := c.account
	a.Network = Network
	return a
}

func (c *legacyConn) receipt(s seen) connectors.Receipt {
	return connectors.Receipt{RemoteID: s.id, URL: c.p.postURL(c.account.Handle, s.id), PublishedAt: s.at}
}

// Find lists what the account has posted since the attempt. v1.1 tells whole
// seconds.
func (c *legacyConn) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	since := j.ArmedAt.Add(-findSlack)
	var found []connectors.Candidate
	from := ""
	for range findPages {
		page, _, err := c.timeline(ctx, findPage, from)
		if err != nil {
			return connectors.Finding{}, err
		}
		older := false
		for i := range page {
			s := seeLegacy(&page[i])
			if s.at.Before(since) {
				older = true
				continue
			}
			if page[i].RetweetedStatus != nil {
				continue
			}
			found = append(found, connectors.Candidate{
				Receipt: c.receipt(s), Fingerprint: s.fingerprint(c.known(), j.Part), Excerpt: excerpt(s.text), At: s.at,
				Similarity: social.Similarity(composed(j.Part), s.text), SameMedia: len(s.media) == len(j.Part.Media),
			})
		}
		if from = below(page); older || from == "" {
			break
		}
	}
	if len(found) == 0 {
		return connectors.Finding{Kind: connectors.FoundNothing}, nil
	}
	return connectors.Finding{Kind: connectors.FoundCandidates, Candidates: found}, nil
}

// Recognises says whether a post of a listing has the words of a part.
func (c *legacyConn) Recognises(p *social.Part, r connectors.RemotePost) bool {
	return recognises(p, r)
}

// Get reads one post back.
func (c *legacyConn) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	none := connectors.Candidate{}
	id, err := legacyID(remoteID)
	if err != nil {
		return none, err
	}
	var t *twitter.Tweet
	var own status
	_, err = c.through(ctx, api.Call{Op: "showStatus", Bucket: "show", Out: &own}, false, func(tw *twitter.Client) (err error) {
		t, _, err = tw.Statuses.Show(id, &twitter.StatusShowParams{TweetMode: "extended"}) //nolint:bodyclose // the library closes it
		return err
	})
	if err != nil {
		if e := connectors.AsError(err); e.Status == http.StatusNotFound {
			gone := *e
			gone.Field, gone.Text = "remote_id", "the post is not there (any more)"
			return none, &gone
		}
		return none, err
	}
	s := seeLegacy(t)
	if s.author != "" && c.account.RemoteID != "" && s.author != c.account.RemoteID {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "showStatus", Field: "remote_id", Text: "this post is by another account"}
	}
	return connectors.Candidate{Receipt: c.receipt(s), Fingerprint: s.fingerprint(c.known(), nil), Excerpt: excerpt(s.text), At: s.at}, nil
}

func legacyID(s string) (int64, error) {
	id, err := postID(s)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return 0, &connectors.Error{Kind: connectors.Invalid, Op: "get", Field: "remote_id", Text: fmt.Sprintf("%q is no post", s)}
	}
	return n, nil
}

// Delete removes a post. Deleting what is gone succeeds.
func (c *legacyConn) Delete(ctx context.Context, rec connectors.Receipt) error {
	id, err := legacyID(rec.RemoteID)
	if err != nil {
		return err
	}
	_, err = c.through(ctx, api.Call{Op: "destroyStatus", Bucket: "delete", Repeatable: true, Out: &status{}}, false, func(t *twitter.Client) error {
		_, _, err := t.Statuses.Destroy(id, nil) //nolint:bodyclose // the library closes it
		return err
	})
	if e := connectors.AsError(err); e != nil && e.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// legacyPage is the largest page of a v1.1 timeline.
const legacyPage = 200

// List returns the account's posts, the newest first. The cursor is an id.
func (c *legacyConn) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	got, a, err := c.timeline(ctx, legacyPage, cursor)
	if err != nil {
		return connectors.Page{}, err
	}
	page := connectors.Page{Next: below(got), Raw: []social.RawAnswer{{Op: "userTimeline", APIVersion: apiV11, At: c.p.env.Now(), Body: a.Body}}}
	if page.Next == cursor || cursor != "" && !smaller(page.Next, cursor) {
		page.Next = "" // it leads back
	}
	older := 0
	for i := range got {
		s := seeLegacy(&got[i])
		if s.at.Before(since.Truncate(time.Second)) {
			older++
			continue
		}
		if got[i].RetweetedStatus != nil {
			continue
		}
		page.Posts = append(page.Posts, connectors.RemotePost{Receipt: c.receipt(s), Text: s.text, Media: s.media, Parent: s.parent})
	}
	if older > 0 && older == len(got) {
		page.Next = ""
	}
	return page, nil
}

// smaller compares ids as numbers.
func smaller(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// legacyBatch is how many posts statuses/lookup takes.
const legacyBatch = 100

// PostInsights reads the counters of posts. v1.1 tells likes and reposts.
func (c *legacyConn) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	var out social.Reading
	for batch := range slices.Chunk(rs, legacyBatch) {
		var ids []int64
		var names []string
		for _, r := range batch {
			id, err := legacyID(r.RemoteID)
			if err != nil {
				return out, err
			}
			ids, names = append(ids, id), append(names, strconv.FormatInt(id, 10))
		}
		var own statuses
		a, err := c.through(ctx, api.Call{Op: "lookupStatuses", Bucket: "lookup", Out: &own}, false, func(t *twitter.Client) error {
			_, _, err := t.Statuses.Lookup(ids, &twitter.StatusLookupParams{TrimUser: twitter.Bool(true)}) //nolint:bodyclose // the library closes it
			return err
		})
		if err != nil {
			return out, err
		}
		at := c.p.env.Now()
		out.Raw = append(out.Raw, social.RawAnswer{Op: "lookupStatuses", APIVersion: apiV11, At: at, Body: a.Body})
		seen := map[string]bool{}
		for _, s := range own {
			if seen[s.ID] || !slices.Contains(names, s.ID) {
				continue
			}
			seen[s.ID] = true
			for _, n := range []counted{{social.Likes, "favorite_count", s.Likes}, {social.Shares, "retweet_count", s.Posts}} {
				if v, ok := number(n.value); ok && v >= 0 {
					out.Observations = append(out.Observations, social.Observation{
						Subject: social.OfPost, RemoteID: s.ID, Metric: n.metric, Value: v, Window: social.Lifetime, At: at, Name: n.name, Raw: len(out.Raw) - 1,
					})
				}
			}
		}
		for _, id := range names {
			if !seen[id] { // lookup leaves out what is not there
				out.Gone = append(out.Gone, id)
			}
		}
	}
	return out, nil
}

// AccountInsights reads the account's levels as they are now.
func (c *legacyConn) AccountInsights(ctx context.Context, _, _ time.Time) (social.Reading, error) {
	var out social.Reading
	_, own, a, err := c.whoAmI(ctx)
	if err != nil {
		return out, err
	}
	if own.ID != c.account.RemoteID {
		return out, &connectors.Error{Kind: connectors.Permanent, Op: "verifyCredentials", Text: fmt.Sprintf("the tokens belong to %s, not to %s", own.ID, c.account.Handle)}
	}
	at := c.p.env.Now()
	out.Raw = []social.RawAnswer{{Op: "verifyCredentials", APIVersion: apiV11, At: at, Body: bytes.Clone(a.Body)}}
	for _, n := range []counted{{social.Followers, "followers_count", own.Followers}, {social.Following, "friends_count", own.Following}, {social.Posts, "statuses_count", own.Posts}} {
		if v, ok := number(n.value); ok && v >= 0 {
			out.Observations = append(out.Observations, social.Observation{
				Subject: social.OfAccount, RemoteID: own.ID, Metric: n.metric, Value: v, Window: social.Instant, At: at, Name: n.name,
			})
		}
	}
	return out, nil
}

package twitter

import (
	"encoding/json"
	"errors"
)

// The JSON of API v2. Names come in two spellings, and an answer has that of
// the parameter that was sent; both are read (docs.x.com, OpenAPI documents
// 2.166 and 2.167, read 2026-08-22). Counters are json.Number: some are strings
// in one spelling and numbers in the other.

// createPost is the body of POST /2/tweets. Keys that the network does not know
// are refused, and its names did not change with the others.
type createPost struct {
	Text          string      `json:"text,omitempty"`
	Reply         *replyTo    `json:"reply,omitempty"`
	Media         *mediaIDs   `json:"media,omitempty"`
	Poll          *createPoll `json:"poll,omitempty"`
	ReplySettings string      `json:"reply_settings,omitempty"`
	MadeWithAI    bool        `json:"made_with_ai,omitempty"`
	Partnership   bool        `json:"paid_partnership,omitempty"`
}

type replyTo struct {
	ID string `json:"in_reply_to_tweet_id"`
}

type mediaIDs struct {
	IDs []string `json:"media_ids"`
}

type createPoll struct {
	Options []string `json:"options"`
	Minutes int      `json:"duration_minutes"`
}

// created is the answer to createPost. A success may carry errors beside it, so
// the id decides.
type created struct {
	Data struct {
		ID   string `json:"id"`
		Text string `json:"text"`
	} `json:"data"`
}

// Validate asks for the id.
func (c created) Validate() error {
	if !isID(c.Data.ID) {
		return errors.New("data.id is missing")
	}
	return nil
}

type deleted struct {
	Data struct {
		Deleted bool `json:"deleted"`
	} `json:"data"`
	Errors []partial `json:"errors"`
}

// post is a post as it is read.
type post struct {
	ID        string    `json:"id"`
	Text      string    `json:"text"` // HTML-escaped, with t.co addresses; cut where there is a note
	AuthorID  string    `json:"author_id"`
	CreatedAt string    `json:"created_at"`
	Entities  *entities `json:"entities"`
	NoteOld   *note     `json:"note_tweet"`
	NoteNew   *note     `json:"note_post"`
	RefsOld   []postRef `json:"referenced_tweets"`
	RefsNew   []postRef `json:"referenced_posts"`
	Attached  struct {
		MediaKeys []string `json:"media_keys"`
	} `json:"attachments"`
	Public    *counters `json:"public_metrics"`
	NonPublic *counters `json:"non_public_metrics"`
	Organic   *counters `json:"organic_metrics"`
}

// note is the whole of a long post.
type note struct {
	Text     string    `json:"text"`
	Entities *entities `json:"entities"`
}

type entities struct {
	URLs []urlEntity `json:"urls"`
}

type urlEntity struct {
	URL      string `json:"url"` // https://t.co/…
	Expanded string `json:"expanded_url"`
	Display  string `json:"display_url"`
	MediaKey string `json:"media_key"` // of the address that stands for attached media
}

type postRef struct {
	Type string `json:"type"` // replied_to, quoted, retweeted
	ID   string `json:"id"`
}

type counters struct {
	Retweets    *json.Number `json:"retweet_count"`
	Reposts     *json.Number `json:"repost_count"`
	Replies     *json.Number `json:"reply_count"`
	Likes       *json.Number `json:"like_count"`
	Quotes      *json.Number `json:"quote_count"`
	Bookmarks   *json.Number `json:"bookmark_count"`
	Impressions *json.Number `json:"impression_count"`
	LinkClicks  *json.Number `json:"url_link_clicks"`
}

type media struct {
	Key  string `json:"media_key"`
	Type string `json:"type"` // photo, animated_gif, video
}

type includes struct {
	Media []media `json:"media"`
	Users []struct {
		ID string `json:"id"`
	} `json:"users"`
}

// partial is an error inside a success: a post that is gone, a field that may
// not be read.
type partial struct {
	ResourceID string `json:"resource_id"`
	Value      string `json:"value"`
	Title      string `json:"title"`
	Detail     string `json:"detail"`
	Type       string `json:"type"`
	Field      string `json:"field"`
}

func (p partial) id() string {
	if p.ResourceID != "" {
		return p.ResourceID
	}
	return p.Value
}

// posts is a list of posts: a timeline, or those that were asked for.
type posts struct {
	Data     []post    `json:"data"`
	Includes includes  `json:"includes"`
	Errors   []partial `json:"errors"`
	Meta     *struct {
		Next  string       `json:"next_token"`
		Count *json.Number `json:"result_count"`
	} `json:"meta"`
}

// Validate asks for something: an empty timeline has only its meta.
func (p posts) Validate() error {
	if p.Data == nil && p.Meta == nil && p.Errors == nil {
		return errors.New("data, meta and errors are missing")
	}
	return nil
}

// onePost is a post asked for by its id.
type onePost struct {
	Data     *post     `json:"data"`
	Includes includes  `json:"includes"`
	Errors   []partial `json:"errors"`
}

// Validate asks for the post, or for why there is none.
func (p onePost) Validate() error {
	if p.Data == nil && p.Errors == nil {
		return errors.New("data and errors are missing")
	}
	return nil
}

type me struct {
	Data struct {
		ID           string `json:"id"`
		Username     string `json:"username"`
		Name         string `json:"name"`
		Avatar       string `json:"profile_image_url"`
		Subscription string `json:"subscription_type"`
		Metrics      struct {
			Followers *json.Number `json:"followers_count"`
			Following *json.Number `json:"following_count"`
			PostsOld  *json.Number `json:"tweet_count"`
			PostsNew  *json.Number `json:"post_count"`
		} `json:"public_metrics"`
	} `json:"data"`
}

// Validate asks for who it is.
func (m me) Validate() error {
	if m.Data.ID == "" || m.Data.Username == "" {
		return errors.New("data.id or data.username is missing")
	}
	return nil
}

// uploaded is the answer of every upload endpoint.
type uploaded struct {
	Data struct {
		ID         string       `json:"id"`
		Expires    *json.Number `json:"expires_after_secs"`
		Processing *processing  `json:"processing_info"`
	} `json:"data"`
}

type processing struct {
	State string       `json:"state"` // pending, in_progress, succeeded, failed
	After *json.Number `json:"check_after_secs"`
	Error *struct {
		Name    string `json:"name"`
		Message string `json:"message"`
	} `json:"error"`
}

// Validate asks for the id.
func (u uploaded) Validate() error {
	if u.Data.ID == "" {
		return errors.New("data.id is missing")
	}
	return nil
}

// tokens is the answer of the token endpoint.
type tokens struct {
	Type    string       `json:"token_type"`
	Access  string       `json:"access_token"`
	Refresh string       `json:"refresh_token"`
	Scope   string       `json:"scope"`
	Expires *json.Number `json:"expires_in"`
}

// Validate asks for the token. Without offline.access there is no second, and
// the login would end after two hours: grant sees to that.
func (t tokens) Validate() error {
	if t.Access == "" {
		return errors.New("access_token is missing")
	}
	return nil
}

// failure is any of the shapes of a refusal: a problem, a list, OAuth's own.
type failure struct {
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Period string `json:"period"`
	Errors []struct {
		Message    string          `json:"message"`
		Code       json.RawMessage `json:"code"` // a number, and not in all of them
		Parameters map[string]any  `json:"parameters"`
	} `json:"errors"`
	Error       json.RawMessage `json:"error"` // text in OAuth's
	Description string          `json:"error_description"`
}

// number reads a counter; false where it is absent or no whole number.
func number(n *json.Number) (int64, bool) {
	if n == nil {
		return 0, false
	}
	v, err := n.Int64()
	return v, err == nil
}

// isID says whether s can be an id: up to 19 digits (OpenAPI document 2.167).
func isID(s string) bool {
	if s == "" || len(s) > 19 {
		return false
	}
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}

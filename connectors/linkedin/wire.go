package linkedin

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"time"
)

// number is a whole number that may be written as a string. It never passes
// through a float.
type number int64

// UnmarshalJSON reads digits, bare or in quotes. What is neither is told with
// its path, as encoding/json tells a wrong type.
func (n *number) UnmarshalJSON(b []byte) error {
	raw := string(b)
	if len(raw) > 1 && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	v, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return &json.UnmarshalTypeError{Value: kindOfJSON(b), Type: reflect.TypeFor[int64]()}
	}
	*n = number(v)
	return nil
}

func kindOfJSON(b []byte) string {
	switch b[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	}
	return "number " + string(b)
}

// at reads a time in milliseconds since 1970.
func (n *number) at() time.Time {
	if n == nil || *n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(*n)).UTC()
}

// tokens is the answer of the token endpoint.
type tokens struct {
	Access    string `json:"access_token"`
	ExpiresIn int64  `json:"expires_in"`
	Refresh   string `json:"refresh_token"`
	RefreshIn int64  `json:"refresh_token_expires_in"`
	Scope     string `json:"scope"`
	Type      string `json:"token_type"`
}

// Validate asks for the token.
func (t tokens) Validate() error {
	if t.Access == "" {
		return errors.New("access_token is missing")
	}
	return nil
}

// userinfo is who a login of OpenID Connect belongs to.
type userinfo struct {
	Sub     string `json:"sub"`
	Name    string `json:"name"`
	Picture string `json:"picture"`
}

// Validate asks for the id.
func (u userinfo) Validate() error {
	if u.Sub == "" {
		return errors.New("sub is missing")
	}
	return nil
}

// me is who a login of other apps belongs to.
type me struct {
	ID      string `json:"id"`
	First   string `json:"localizedFirstName"`
	Last    string `json:"localizedLastName"`
	Vanity  string `json:"vanityName"`
	Tagline string `json:"localizedHeadline"`
}

// Validate asks for the id.
func (m me) Validate() error {
	if m.ID == "" {
		return errors.New("id is missing")
	}
	return nil
}

// acls is a page of the organisations in which a member has a role. Older
// versions write organizationalTarget.
type acls struct {
	Elements []acl `json:"elements"`
}

type acl struct {
	Role         string `json:"role"`
	State        string `json:"state"`
	Organization string `json:"organization"`
	Target       string `json:"organizationalTarget"`
}

// Validate asks for the list, which may be empty.
func (a acls) Validate() error {
	if a.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// organizations are what the lookup says of organisations, by id.
type organizations struct {
	Results map[string]struct {
		Name   string `json:"localizedName"`
		Vanity string `json:"vanityName"`
	} `json:"results"`
}

// Validate asks for the map, which may be empty.
func (o organizations) Validate() error {
	if o.Results == nil {
		return errors.New("results is missing")
	}
	return nil
}

// createPost is the body of the call that publishes.
type createPost struct {
	Author       string       `json:"author"`
	Commentary   string       `json:"commentary"`
	Visibility   string       `json:"visibility"`
	Distribution distribution `json:"distribution"`
	Content      *content     `json:"content,omitempty"`
	Lifecycle    string       `json:"lifecycleState"`
	NoReshare    bool         `json:"isReshareDisabledByAuthor"`
}

type distribution struct {
	Feed     string `json:"feedDistribution"`
	Targets  []any  `json:"targetEntities"`
	Channels []any  `json:"thirdPartyDistributionChannels"`
}

type content struct {
	Media      *media      `json:"media,omitempty"`
	MultiImage *multiImage `json:"multiImage,omitempty"`
	Article    *article    `json:"article,omitempty"`
	Poll       *poll       `json:"poll,omitempty"`
}

type media struct {
	ID    string `json:"id"`
	Alt   string `json:"altText,omitempty"`
	Title string `json:"title,omitempty"`
}

type multiImage struct {
	Images []media `json:"images"`
}

type article struct {
	Source      string `json:"source"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Thumbnail   string `json:"thumbnail,omitempty"`
}

type poll struct {
	Question string       `json:"question"`
	Options  []pollOption `json:"options"`
	Settings pollSettings `json:"settings"`
}

type pollOption struct {
	Text string `json:"text"`
}

type pollSettings struct {
	Duration string `json:"duration"`
}

// readPost is a post as it is read back.
type readPost struct {
	ID         string   `json:"id"`
	Author     string   `json:"author"`
	Commentary string   `json:"commentary"`
	Lifecycle  string   `json:"lifecycleState"`
	Created    *number  `json:"createdAt"`
	Published  *number  `json:"publishedAt"`
	Content    *content `json:"content"`
}

// Validate asks for the id.
func (p readPost) Validate() error {
	if p.ID == "" {
		return errors.New("id is missing")
	}
	return nil
}

// posts is a page of posts.
type posts struct {
	Elements []readPost `json:"elements"`
}

// Validate asks for the list, which may be empty.
func (p posts) Validate() error {
	if p.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// postsByID is the answer to many ids.
type postsByID struct {
	Results map[string]readPost `json:"results"`
	Errors  map[string]struct {
		Status number `json:"status"`
	} `json:"errors"`
	Statuses map[string]number `json:"statuses"`
}

// Validate asks for the map, which may be empty.
func (p postsByID) Validate() error {
	if p.Results == nil {
		return errors.New("results is missing")
	}
	return nil
}

// createComment is the body of the call that comments.
type createComment struct {
	Actor   string           `json:"actor"`
	Object  string           `json:"object"`
	Parent  string           `json:"parentComment,omitempty"`
	Message message          `json:"message"`
	Content []commentContent `json:"content,omitempty"`
}

type message struct {
	Text string `json:"text"`
}

type commentContent struct {
	Entity commentEntity `json:"entity"`
}

type commentEntity struct {
	Image string `json:"image"`
}

// readComment is a comment as it is read back, and as it comes back when it was
// made.
type readComment struct {
	ID      string           `json:"id"`
	URN     string           `json:"commentUrn"`
	Alt     string           `json:"$URN"` // the same in other answers
	Actor   string           `json:"actor"`
	Message message          `json:"message"`
	Created created          `json:"created"`
	Content []commentContent `json:"content"`
}

type created struct {
	Time *number `json:"time"`
}

func (c readComment) urn() string {
	if c.URN != "" {
		return c.URN
	}
	return c.Alt
}

// Validate asks for the name.
func (c readComment) Validate() error {
	if c.urn() == "" {
		return errors.New("commentUrn is missing")
	}
	return nil
}

// comments is a page of comments.
type comments struct {
	Elements []readComment `json:"elements"`
}

// Validate asks for the list, which may be empty.
func (c comments) Validate() error {
	if c.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// beginUpload begins the upload of a file.
type beginUpload struct {
	Request uploadRequest `json:"initializeUploadRequest"`
}

type uploadRequest struct {
	Owner string `json:"owner"`
	// Of videos only.
	Bytes     int64 `json:"fileSizeBytes,omitempty"`
	Captions  *bool `json:"uploadCaptions,omitempty"`
	Thumbnail *bool `json:"uploadThumbnail,omitempty"`
}

// upload is where a file goes.
type upload struct {
	Value struct {
		URL      string  `json:"uploadUrl"`
		Image    string  `json:"image"`
		Document string  `json:"document"`
		Video    string  `json:"video"`
		Token    string  `json:"uploadToken"`
		Expires  *number `json:"uploadUrlsExpireAt"`
		Parts    []struct {
			URL   string `json:"uploadUrl"`
			First number `json:"firstByte"`
			Last  number `json:"lastByte"`
		} `json:"uploadInstructions"`
	} `json:"value"`
}

func (u upload) urn() string {
	return u.Value.Image + u.Value.Document + u.Value.Video
}

// Validate asks for the file's name and where its bytes go.
func (u upload) Validate() error {
	if u.urn() == "" || u.Value.URL == "" && len(u.Value.Parts) == 0 {
		return errors.New("the file's name or its uploadUrl is missing")
	}
	return nil
}

// finishUpload ends the upload of a video.
type finishUpload struct {
	Request finishRequest `json:"finalizeUploadRequest"`
}

type finishRequest struct {
	Video string   `json:"video"`
	Token string   `json:"uploadToken"`
	Parts []string `json:"uploadedPartIds"`
}

// asset is how far an uploaded file is.
type asset struct {
	Status string `json:"status"`
	Reason string `json:"processingFailureReason"`
}

// Validate asks for the status.
func (a asset) Validate() error {
	if a.Status == "" {
		return errors.New("status is missing")
	}
	return nil
}

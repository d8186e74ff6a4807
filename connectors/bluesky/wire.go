package bluesky

import "encoding/json"

// The network's own types, as far as smi reads or writes them. Names and limits
// are those of the lexicons in bluesky-social/atproto, read 2026-08-20. Unknown
// fields and unknown $type values are ignored.

// collectionPost holds the posts of a repository.
const collectionPost = "app.bsky.feed.post"

// post is a record of collectionPost as smi writes it.
type post struct {
	Type      string     `json:"$type"`
	Text      string     `json:"text"`
	CreatedAt string     `json:"createdAt"`
	Langs     []string   `json:"langs,omitempty"`
	Facets    []facet    `json:"facets,omitempty"`
	Reply     *replyRef  `json:"reply,omitempty"`
	Embed     any        `json:"embed,omitempty"`
	Labels    *selfLabel `json:"labels,omitempty"`
}

type facet struct {
	Index    byteSlice `json:"index"`
	Features []feature `json:"features"`
}

type byteSlice struct {
	Start int `json:"byteStart"`
	End   int `json:"byteEnd"`
}

type feature struct {
	Type string `json:"$type"`
	URI  string `json:"uri,omitempty"`
	DID  string `json:"did,omitempty"`
	Tag  string `json:"tag,omitempty"`
}

// ref names one version of a record.
type ref struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
}

type replyRef struct {
	Root   ref `json:"root"`
	Parent ref `json:"parent"`
}

type selfLabel struct {
	Type   string       `json:"$type"`
	Values []labelValue `json:"values"`
}

type labelValue struct {
	Val string `json:"val"`
}

type ratio struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

type embedImages struct {
	Type   string       `json:"$type"`
	Images []embedImage `json:"images"`
}

type embedImage struct {
	Image       json.RawMessage `json:"image"` // the blob exactly as the server gave it
	Alt         string          `json:"alt"`
	AspectRatio *ratio          `json:"aspectRatio,omitempty"`
}

type embedVideo struct {
	Type        string          `json:"$type"`
	Video       json.RawMessage `json:"video"`
	Alt         string          `json:"alt,omitempty"`
	AspectRatio *ratio          `json:"aspectRatio,omitempty"`
}

type embedExternal struct {
	Type     string   `json:"$type"`
	External external `json:"external"`
}

type external struct {
	URI         string          `json:"uri"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Thumb       json.RawMessage `json:"thumb,omitempty"`
}

type embedRecord struct {
	Type   string `json:"$type"`
	Record ref    `json:"record"`
}

type embedRecordWithMedia struct {
	Type   string      `json:"$type"`
	Record embedRecord `json:"record"`
	Media  any         `json:"media"`
}

// putRecord is the body of the commit.
type putRecord struct {
	Repo       string `json:"repo"`
	Collection string `json:"collection"`
	RKey       string `json:"rkey"`
	Record     any    `json:"record"`
}

// readPost is what smi reads of anybody's post.
type readPost struct {
	Type      string    `json:"$type"`
	Text      string    `json:"text"`
	CreatedAt string    `json:"createdAt"`
	Reply     *replyRef `json:"reply"`
	Embed     *readRich `json:"embed"`
}

// readRich is an embed of any kind.
type readRich struct {
	Type   string            `json:"$type"`
	Images []json.RawMessage `json:"images"`
	Items  []json.RawMessage `json:"items"` // of a gallery
	Media  *readRich         `json:"media"` // beside a quoted post
}

// record is the answer of getRecord and one entry of listRecords.
type record struct {
	URI   string   `json:"uri"`
	CID   string   `json:"cid"`
	Value readPost `json:"value"`
}

type recordPage struct {
	Cursor  string   `json:"cursor"`
	Records []record `json:"records"`
}

// written is the answer of putRecord.
type written struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
}

type blobAnswer struct {
	Blob json.RawMessage `json:"blob"`
}

// session is the answer of createSession, refreshSession and getSession.
type session struct {
	DID        string `json:"did"`
	Handle     string `json:"handle"`
	AccessJWT  string `json:"accessJwt"`
	RefreshJWT string `json:"refreshJwt"`
	Active     *bool  `json:"active"` // absent: active
	Status     string `json:"status"` // why it is not
}

// postViews is the answer of getPosts. A counter that is absent was not said.
type postViews struct {
	Posts []postView `json:"posts"`
}

type postView struct {
	URI       string `json:"uri"`
	Replies   *int64 `json:"replyCount"`
	Reposts   *int64 `json:"repostCount"`
	Likes     *int64 `json:"likeCount"`
	Quotes    *int64 `json:"quoteCount"`
	Bookmarks *int64 `json:"bookmarkCount"`
}

type profileView struct {
	DID         string `json:"did"`
	Handle      string `json:"handle"`
	DisplayName string `json:"displayName"`
	Avatar      string `json:"avatar"`
	Followers   *int64 `json:"followersCount"`
	Follows     *int64 `json:"followsCount"`
	Posts       *int64 `json:"postsCount"`
}

// jobStatus is how far the video service is with a video.
type jobStatus struct {
	JobID       string          `json:"jobId"`
	State       string          `json:"state"`
	Blob        json.RawMessage `json:"blob"`
	Error       string          `json:"error"`
	Message     string          `json:"message"`
	FailureCode string          `json:"failureCode"`
}

// jobAnswer wraps a jobStatus; older servers send it bare.
type jobAnswer struct {
	jobStatus
	JobStatus *jobStatus `json:"jobStatus"`
}

func (a jobAnswer) status() jobStatus {
	if a.JobStatus != nil {
		return *a.JobStatus
	}
	return a.jobStatus
}

// xrpcError is the body of every refusal.
type xrpcError struct {
	Error       string `json:"error"`
	Message     string `json:"message"`
	Description string `json:"error_description"` // of the OAuth endpoints
}

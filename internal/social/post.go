package social

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// PostState is where a post is on its way through people. What happened on the
// networks is in its deliveries.
type PostState string

// The states of a post. Draft and the review states wait for people; only
// deliveries of an approved post are ever armed.
const (
	PostDraft            PostState = "draft"
	PostInReview         PostState = "in_review"
	PostChangesRequested PostState = "changes_requested"
	PostApproved         PostState = "approved"
)

// Post is what a person writes once. Its parts are the common text and media;
// a delivery holds its own copy, which may differ per account.
type Post struct {
	ID          ID        `json:"id"`
	WorkspaceID ID        `json:"workspace_id"`
	State       PostState `json:"state"`
	Rev         int       `json:"rev"` // grows with each edit; approval is for one rev
	Parts       []Part    `json:"parts"`
	Planned     When      `json:"planned"`
	Tags        []string  `json:"tags,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// PartRole says what a part is to its delivery.
type PartRole string

// The roles. The first part of a delivery is always its body.
const (
	RoleBody    PartRole = "body"
	RoleThread  PartRole = "thread"  // the next item of a thread: answers the part before it
	RoleComment PartRole = "comment" // a comment of our own under the body
)

// Part is one thing that becomes visible by one call.
type Part struct {
	Role    PartRole          `json:"role"`
	Text    string            `json:"text"`
	Langs   []string          `json:"langs,omitempty"` // BCP 47
	Link    *LinkCard         `json:"link,omitempty"`
	Media   []Media           `json:"media,omitempty"`
	Options map[string]string `json:"options,omitempty"` // per network: "visibility", "reply_control" …; a connector refuses keys it does not know
}

// LinkCard is the preview under a post. Title and Description may be empty:
// smi reads them from the page where the network wants them.
type LinkCard struct {
	URL         string `json:"url"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Thumb       *Media `json:"thumb,omitempty"`
}

// MediaKind is what a file is to the networks.
type MediaKind string

// The kinds of media.
const (
	Image    MediaKind = "image"
	GIF      MediaKind = "gif" // animated
	Video    MediaKind = "video"
	Document MediaKind = "document"
)

// Media is a stored file as it is used in a part. The bytes are found by Hash.
type Media struct {
	Hash     string        `json:"hash"` // lower-case hex SHA-256 of the stored bytes
	Kind     MediaKind     `json:"kind"`
	MIME     string        `json:"mime"` // from the content, not from the name
	Bytes    int64         `json:"bytes"`
	Width    int           `json:"width,omitempty"`
	Height   int           `json:"height,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"`
	Codec    string        `json:"codec,omitempty"` // of a video's picture: h264, hevc, av1, prores, …; "" if it is not known
	Sound    string        `json:"sound,omitempty"` // of a video's sound: aac, mp3, pcm, …; "" if it has none or it is not known
	Alt      string        `json:"alt,omitempty"`
	Name     string        `json:"name,omitempty"` // the file's name when it came in; for people only
}

// DeliveryKind says what a delivery is. Replies and messages are kept to the
// same promise as posts: once.
type DeliveryKind string

// The kinds of delivery.
const (
	KindPost    DeliveryKind = "post"
	KindReply   DeliveryKind = "reply"
	KindMessage DeliveryKind = "message"
)

// DeliveryState is where a delivery is. See docs/states.md for the words on
// the screen.
type DeliveryState string

// The states of a delivery, in the order of an ordinary life.
const (
	Scheduled  DeliveryState = "scheduled"   // waits for its time to be prepared
	Claimed    DeliveryState = "claimed"     // a node is preparing it
	Ready      DeliveryState = "ready"       // prepared; waits for its minute
	Armed      DeliveryState = "armed"       // an attempt is written down and may be on the wire
	Ambiguous  DeliveryState = "ambiguous"   // sent, outcome unknown, being checked
	Waiting    DeliveryState = "waiting"     // told to wait by a limit or after a passing failure; always with a time
	NeedsHuman DeliveryState = "needs_human" // only a person can say what happened
	HeldLate   DeliveryState = "held_late"   // its time passed; a person decides
	Blocked    DeliveryState = "blocked"     // its account cannot be used
	Published  DeliveryState = "published"   // exactly one remote post, known by id
	Failed     DeliveryState = "failed"      // refused; nothing is or will be there
	Cancelled  DeliveryState = "cancelled"   // stopped by a person before it was armed
	Skipped    DeliveryState = "skipped"     // too late to be wanted
)

// DeliveryStates lists every state.
var DeliveryStates = []DeliveryState{
	Scheduled, Claimed, Ready, Armed, Ambiguous, Waiting, NeedsHuman, HeldLate, Blocked, Published, Failed, Cancelled, Skipped,
}

// Final says whether nothing will ever happen to a delivery in this state
// unless a person asks for it.
func (s DeliveryState) Final() bool {
	switch s {
	case Published, Failed, Cancelled, Skipped:
		return true
	}
	return false
}

// Resting says whether the delivery is final or waits for a person who was told.
func (s DeliveryState) Resting() bool {
	return s.Final() || s == NeedsHuman || s == HeldLate || s == Blocked
}

// LatePolicy says what to do with a delivery whose minute has passed by more
// than the grace time.
type LatePolicy string

// The late policies. The default is LateAsk.
const (
	LateAsk     LatePolicy = "ask"
	LatePublish LatePolicy = "publish"
	LateSkip    LatePolicy = "skip"
)

// Delivery is one post on one account.
type Delivery struct {
	ID          ID            `json:"id"`
	WorkspaceID ID            `json:"workspace_id"`
	PostID      ID            `json:"post_id"`
	AccountID   ID            `json:"account_id"`
	Occurrence  int           `json:"occurrence"` // 0 unless the post recurs
	Kind        DeliveryKind  `json:"kind"`
	ParentRef   string        `json:"parent_ref,omitempty"` // remote id answered to, for replies and messages
	Parts       []Part        `json:"parts"`
	ContentHash string        `json:"content_hash"`  // ContentHash(Parts); approval and arming compare it
	PlannedAt   time.Time     `json:"planned_at"`    // UTC
	NotAfter    time.Time     `json:"not_after"`     // zero: no such limit
	LatePolicy  LatePolicy    `json:"late_policy"`   //
	AllowRepeat bool          `json:"allow_repeat"`  // the author said that this text may appear twice within 24 h
	State       DeliveryState `json:"state"`         //
	Reason      string        `json:"reason"`        // one sentence for a person on why it is in this state
	Step        int           `json:"step"`          // index of the next part to publish
	NextAt      time.Time     `json:"next_at"`       // when smi looks at it next, zero: never by itself; of one that waits for a person, when it can no longer appear by itself: before, no answer is taken but that it is there
	Tries       int           `json:"tries"`         // passing failures so far, for the back-off
	Epoch       int64         `json:"epoch"`         // grows with each claim; writes with an old epoch change nothing
	Owner       string        `json:"owner"`         // node that holds it, or ""
	LeaseUntil  time.Time     `json:"lease_until"`   //
	Ver         int64         `json:"ver"`           // grows with each change; people's changes compare it
	RemoteID    string        `json:"remote_id"`     // of the body, once published
	RemoteURL   string        `json:"remote_url"`    //
	PublishedAt time.Time     `json:"published_at"`  //
	Cancel      bool          `json:"cancel_wanted"` // cancel came too late; offer to delete
	CreatedAt   time.Time     `json:"created_at"`
	UpdatedAt   time.Time     `json:"updated_at"`
}

// ContentHash is the SHA-256 of what will be said, as lower-case hex. It does
// not depend on file names.
func ContentHash(parts []Part) string {
	clean := make([]Part, len(parts))
	for i, p := range parts {
		p.Media = append([]Media(nil), p.Media...)
		for j := range p.Media {
			p.Media[j].Name = ""
		}
		if p.Link != nil && p.Link.Thumb != nil {
			link, thumb := *p.Link, *p.Link.Thumb
			thumb.Name = ""
			link.Thumb = &thumb
			p.Link = &link
		}
		clean[i] = p
	}
	b, err := json.Marshal(clean)
	if err != nil { // a Part holds nothing that JSON cannot say
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

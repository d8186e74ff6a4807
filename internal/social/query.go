package social

import "time"

// PostFilter says which posts of a workspace are wanted, and which page of them.
// Zero fields do not restrict.
type PostFilter struct {
	Account   ID              // posts with a delivery on this account
	States    []DeliveryState // posts with a delivery in one of these states
	Tag       string          // in any case
	From, To  time.Time       // planned time, From included, To not
	Ascending bool            // earliest planned first; else latest first
	After     string          // Next of the page before
	Limit     int             // 1 to 200; 0 means 50
}

// PlannedPost is a post with its deliveries, ordered by account.
type PlannedPost struct {
	Post       Post
	Deliveries []Delivery
}

// PostPage is one page of posts.
type PostPage struct {
	Posts []PlannedPost
	Next  string // "" at the end
}

// Once makes a write of an outside program repeatable: the same key by the same
// actor with the same request has its effect once and gets the same answer.
// The zero Once asks for nothing.
type Once struct {
	Key         string
	Actor       string
	RequestHash string // of the request's content; another content under the same key is refused
}

// NoticeRecord is something people were told, as it is kept.
type NoticeRecord struct {
	ID        ID        `json:"id"`
	Kind      string    `json:"kind"`     // "delivery_failed", "account_needs_reconnect" …
	Severity  string    `json:"severity"` // "info", "warning", "alarm"
	Delivery  ID        `json:"delivery,omitempty"`
	Account   ID        `json:"account,omitempty"`
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"created_at"`
	// Unsent is set while it is still to be sent to people outside of smi.
	Unsent   bool            `json:"unsent,omitempty"`
	Sendings []NoticeSending `json:"sendings,omitempty"`
}

// NoticeSending is what became of a notice on one channel.
type NoticeSending struct {
	Channel string    `json:"channel"` // "mail", "webhook", "exec"
	Tries   int       `json:"tries"`
	TriedAt time.Time `json:"tried_at"`
	SentAt  time.Time `json:"sent_at,omitzero"` // zero: it did not take it
	Error   string    `json:"error,omitempty"`
}

// NoticeBacklog is how much was not sent yet.
type NoticeBacklog struct {
	Unsent      int       `json:"unsent"`
	Alarms      int       `json:"alarms" doc:"how many of them are alarms"`
	Oldest      time.Time `json:"oldest,omitzero"`
	OldestAlarm time.Time `json:"oldest_alarm,omitzero"`
}

package social

import (
	"encoding/json"
	"time"
)

// Network is the name of a social platform in lower case, as its users call it:
// "bluesky", "facebook", "twitter". The names are those of the folders under
// connectors/.
type Network string

// Workspace is a team's room: its accounts, posts and settings, apart from
// those of others.
type Workspace struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	Zone      string    `json:"zone"` // IANA time zone in which the team plans
	Paused    bool      `json:"paused"`
	CreatedAt time.Time `json:"created_at"`
}

// AccountStatus says whether an account can be used and who must act.
type AccountStatus string

// The statuses of an account.
const (
	AccountConnected      AccountStatus = "connected"
	AccountNeedsReconnect AccountStatus = "needs_reconnect" // a person must log in again; waiting posts are blocked, not failed
	AccountDisabled       AccountStatus = "disabled"        // the network closed or suspended it
	AccountRemoved        AccountStatus = "removed"         // disconnected by us; its secrets are destroyed
)

// Account is one connected page, channel, profile or organisation.
type Account struct {
	ID           ID            `json:"id"`
	WorkspaceID  ID            `json:"workspace_id"`
	Network      Network       `json:"network"`
	App          string        `json:"app"`                     // which set of app credentials it was connected with; "" is the default set
	RemoteID     string        `json:"remote_id"`               // the network's own id, which never changes
	Handle       string        `json:"handle"`                  // what people call it; may change
	Name         string        `json:"name,omitempty"`          // display name
	URL          string        `json:"url,omitempty"`           // its page
	AvatarURL    string        `json:"avatar_url,omitempty"`    //
	Host         string        `json:"host,omitempty"`          // its home server's base URL, for networks of many servers; "" otherwise
	DayZone      string        `json:"day_zone"`                // IANA zone of the network's own day for this account
	Status       AccountStatus `json:"status"`                  //
	StatusReason string        `json:"status_reason,omitempty"` // one sentence for a person: why, and what to do
	Paused       bool          `json:"paused"`                  //
	TokenGen     int64         `json:"token_gen"`               // generation of the stored grant; 0 before the first
	CreatedAt    time.Time     `json:"created_at"`

	// Server is what the account's home server says of itself and takes, in the
	// words of the connector, which alone reads it; nil where all servers are alike.
	Server json.RawMessage `json:"server,omitempty"`
}

// Profile is what a network says of an account.
type Profile struct {
	RemoteID  string `json:"remote_id"`
	Handle    string `json:"handle"`
	Name      string `json:"name,omitempty"`
	URL       string `json:"url,omitempty"`
	AvatarURL string `json:"avatar_url,omitempty"`
	Host      string `json:"host,omitempty"`
	DayZone   string `json:"day_zone,omitempty"` // "" means UTC

	// Server is what Account.Server should be from now on; nil: as it was.
	Server json.RawMessage `json:"server,omitempty"`
}

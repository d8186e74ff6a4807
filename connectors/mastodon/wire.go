package mastodon

import "time"

// The network's own types, as far as smi reads or writes them. Names are those
// of docs.joinmastodon.org (entities, methods), read 2026-07-02. Unknown fields
// are ignored. Ids are strings: some are numbers beyond 2^53, some are none.

// instance is /api/v2/instance, and /api/v1/instance of older servers.
type instance struct {
	Domain       string `json:"domain"` // v2
	URI          string `json:"uri"`    // v1
	Version      string `json:"version"`
	MaxTootChars int    `json:"max_toot_chars"` // of forks
	APIVersions  struct {
		Mastodon int `json:"mastodon"`
	} `json:"api_versions"`
	Configuration struct {
		Statuses struct {
			MaxCharacters  int `json:"max_characters"`
			MaxMedia       int `json:"max_media_attachments"`
			ReservedPerURL int `json:"characters_reserved_per_url"`
		} `json:"statuses"`
		Media struct {
			Description int      `json:"description_limit"`
			ImageSize   int64    `json:"image_size_limit"`
			ImageMatrix int64    `json:"image_matrix_limit"`
			VideoSize   int64    `json:"video_size_limit"`
			VideoMatrix int64    `json:"video_matrix_limit"`
			MIME        []string `json:"supported_mime_types"`
		} `json:"media_attachments"`
		Polls struct {
			Options int   `json:"max_options"`
			Option  int   `json:"max_characters_per_option"`
			Min     int64 `json:"min_expiration"`
			Max     int64 `json:"max_expiration"`
		} `json:"polls"`
	} `json:"configuration"`
}

type nodeinfoList struct {
	Links []struct {
		Rel  string `json:"rel"`
		Href string `json:"href"`
	} `json:"links"`
}

type nodeinfo struct {
	Software struct {
		Name string `json:"name"`
	} `json:"software"`
}

// application is the answer of POST /api/v1/apps.
type application struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// token is the answer of POST /oauth/token. Servers of today send neither an end
// nor a refresh token.
type token struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ExpiresIn int64  `json:"expires_in"`
	Scope     string `json:"scope"`
}

// account is what smi reads of an account. A counter that is absent was not
// said.
type account struct {
	ID          string `json:"id"`
	Acct        string `json:"acct"`
	DisplayName string `json:"display_name"`
	URL         string `json:"url"`
	Avatar      string `json:"avatar"`
	Followers   *int64 `json:"followers_count"`
	Following   *int64 `json:"following_count"`
	Statuses    *int64 `json:"statuses_count"`
}

// newStatus is the body of the commit.
type newStatus struct {
	Status      string   `json:"status"`
	MediaIDs    []string `json:"media_ids,omitempty"`
	Poll        *newPoll `json:"poll,omitempty"`
	InReplyTo   string   `json:"in_reply_to_id,omitempty"`
	Sensitive   bool     `json:"sensitive"`
	SpoilerText string   `json:"spoiler_text,omitempty"`
	Visibility  string   `json:"visibility"`
	Language    string   `json:"language,omitempty"`
	ContentType string   `json:"content_type,omitempty"` // not Mastodon's: the others may read Markdown
}

type newPoll struct {
	Options    []string `json:"options"`
	ExpiresIn  int64    `json:"expires_in"`
	Multiple   bool     `json:"multiple"`
	HideTotals bool     `json:"hide_totals"`
}

// status is what smi reads of anybody's post.
type status struct {
	ID         string    `json:"id"`
	URI        string    `json:"uri"`
	URL        string    `json:"url"`
	CreatedAt  time.Time `json:"created_at"`
	Content    string    `json:"content"` // HTML
	Visibility string    `json:"visibility"`
	InReplyTo  string    `json:"in_reply_to_id"`
	Account    struct {
		ID string `json:"id"`
	} `json:"account"`
	Reblog *struct {
		ID string `json:"id"`
	} `json:"reblog"`
	Media    []attachment `json:"media_attachments"`
	Mentions []mention    `json:"mentions"`
	Replies  *int64       `json:"replies_count"`
	Reblogs  *int64       `json:"reblogs_count"`
	Favs     *int64       `json:"favourites_count"`
	Quotes   *int64       `json:"quotes_count"` // since 4.5
}

type mention struct {
	Acct string `json:"acct"`
	URL  string `json:"url"`
}

type attachment struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// source is the text of a post as its author wrote it.
type source struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// refusal is the body of every refusal.
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

package twitter

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// conn is one account, by API v2.
type conn struct {
	p       *Platform
	account social.Account
	http    *api.Client
	limits  connectors.Limits
}

var _ connectors.OwnLimits = (*conn)(nil)

// Limits are those of the account: who pays for X Premium may write more.
func (c *conn) Limits() connectors.Limits { return c.limits }

// server is what is kept of an account as its Server.
type server struct {
	Subscription string `json:"subscription_type"`
}

// The longest texts in weighted characters (docs.x.com, Counting characters,
// read 2026-08-22; changelog of 2024-08 for long posts).
const (
	normalText  = 280
	premiumText = 25_000
)

// textMost is how long a text of the account may be.
func textMost(a social.Account) int {
	var s server
	if len(a.Server) > 0 && json.Unmarshal(a.Server, &s) == nil && (s.Subscription == "Premium" || s.Subscription == "PremiumPlus") {
		return premiumText
	}
	return normalText
}

// whoAmI asks who the token belongs to.
func (c *conn) whoAmI(ctx context.Context) (me, api.Answer, error) {
	var out me
	a, err := c.http.Do(ctx, api.Call{
		Op: "usersMe", URL: c.p.url("/2/users/me"), Bucket: "me", Out: &out,
		Query: url.Values{"user.fields": {"id,name,username,profile_image_url,subscription_type,public_metrics"}},
	})
	if err == nil {
		c.p.spent(ctx, c.p.cfg.Prices.ReadUser)
	}
	return out, a, err
}

// Identity says whose token it is.
func (c *conn) Identity(ctx context.Context) (social.Profile, error) {
	m, _, err := c.whoAmI(ctx)
	if err != nil {
		return social.Profile{}, err
	}
	kept, err := json.Marshal(server{m.Data.Subscription})
	if err != nil {
		return social.Profile{}, err
	}
	return social.Profile{
		RemoteID: m.Data.ID, Handle: m.Data.Username, Name: m.Data.Name, AvatarURL: m.Data.Avatar, DayZone: "UTC",
		URL: strings.TrimRight(c.p.cfg.WebURL, "/") + "/" + m.Data.Username, Server: kept,
	}, nil
}

package linkedin

import (
	"context"
	"net/http"
	"slices"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// conn is what members and organisations have in common.
type conn struct {
	p       *Platform
	account social.Account
	http    *api.Client
}

// organization is an organisation's page: its posts can be listed.
type organization struct{ conn }

// member is a person: LinkedIn lets hardly any app list their posts, so that
// what became of an unclear attempt is asked of a person.
type member struct{ conn }

// countedMember is a member whose posts' numbers come from the social metadata.
type countedMember struct{ member }

// analysedMember is a member whose own statistics may be read.
type analysedMember struct{ member }

var (
	_ connectors.Publisher       = (*organization)(nil)
	_ connectors.CommitDialer    = (*organization)(nil)
	_ connectors.Finder          = (*organization)(nil)
	_ connectors.Getter          = (*organization)(nil)
	_ connectors.Deleter         = (*organization)(nil)
	_ connectors.Lister          = (*organization)(nil)
	_ connectors.PostInsights    = (*organization)(nil)
	_ connectors.AccountInsights = (*organization)(nil)
	_ connectors.Publisher       = (*member)(nil)
	_ connectors.CommitDialer    = (*member)(nil)
	_ connectors.Getter          = (*member)(nil)
	_ connectors.Deleter         = (*member)(nil)
	_ connectors.PostInsights    = (*countedMember)(nil)
	_ connectors.PostInsights    = (*analysedMember)(nil)
	_ connectors.AccountInsights = (*analysedMember)(nil)
)

// pageSize is how much of a listing is asked for at once, batch how many ids of
// a question: an address may have 4,000 characters (Rest.li, query tunnelling;
// read 2026-08-22).
const (
	pageSize = 100
	batch    = 50
)

// headers go with each call of the versioned API ("Marketing API versioning",
// read 2026-08-22). method is the Rest.li method where it is not the HTTP one.
func (c *conn) headers(method string) http.Header {
	h := http.Header{"Linkedin-Version": {c.p.cfg.Version}, "X-Restli-Protocol-Version": {"2.0.0"}}
	if method != "" {
		h.Set("X-Restli-Method", method)
	}
	return h
}

// url is an address whose query, if any, is written as Rest.li wants it.
func (c *conn) url(path, query string) string {
	if query != "" {
		query = "?" + query
	}
	return c.p.cfg.APIURL + path + query
}

// get asks for something.
func (c *conn) get(ctx context.Context, op, path, query string, out any) (api.Answer, error) {
	return c.http.Do(ctx, api.Call{Op: op, URL: c.url(path, query), Header: c.headers(""), Out: out, Bucket: op})
}

// raw is an answer as it is kept beside the numbers that came from it.
func (c *conn) raw(op string, a api.Answer) social.RawAnswer {
	return social.RawAnswer{Op: op, APIVersion: c.p.cfg.Version, At: c.p.env.Now(), Body: a.Body}
}

// Identity says whose login it is.
func (m *member) Identity(ctx context.Context) (social.Profile, error) { return m.person(ctx) }

// Identity says whether the login may still post for the organisation.
func (o *organization) Identity(ctx context.Context) (social.Profile, error) {
	roles, err := o.roles(ctx)
	if err != nil {
		return social.Profile{}, err
	}
	if !slices.Contains(roles, o.account.RemoteID) {
		return social.Profile{}, &connectors.Error{
			Kind: connectors.Permission, Op: "organizationAcls",
			Text: "the person who signed in is no longer an administrator or content administrator of this LinkedIn page; give them the role, or connect the page by somebody who has it",
		}
	}
	profiles, err := o.profiles(ctx, []string{o.account.RemoteID})
	if err != nil {
		return social.Profile{}, err
	}
	return profiles[0], nil
}

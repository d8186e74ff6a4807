package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedinsim"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
	"smi/connectors/twitter"
	"smi/connectors/twitter/twittersim"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
	"smi/internal/social"
)

// simNet is one simulated network that people join with a browser, on a loopback
// address of its own.
type simNet struct {
	network  social.Network
	title    string
	account  string // handle of the account to connect
	hint     string // what a person types to connect it
	server   http.Handler
	settings []string         // its section of networks:, line by line
	pages    string           // how the addresses of posts begin, without the host
	posts    func() []simPost // what the public sees, the oldest first
	react    func(n int64)    // people do something, for the nth time
	register func(url.Values) // is told what a login asks for, as who registers an app is; may be nil
	listener net.Listener
}

// simPost is a post as the public sees it.
type simPost struct {
	ID, Title, Text string
	At              time.Time
}

// The secret of every app of the simulated networks, and the variable of the
// environment in which the daemon finds it: a configuration holds none.
const (
	simSecret    = youtubesim.ClientSecret
	simSecretEnv = "SMI_SIM_SECRET" //nolint:gosec // the name of one that opens nothing
)

// simNets are the simulated networks beside that of Bluesky, by name.
var simNets = map[social.Network]func(base string) *simNet{
	mastodon.Network: newSimMastodon,
	linkedin.Network: newSimLinkedIn,
	twitter.Network:  newSimTwitter,
	youtube.Network:  newSimYouTube,
}

// simEpoch is the second from which simulated networks that count their posts go
// on at each start: a daemon that keeps its data never sees an id twice.
const simEpoch = 1_790_000_000

func newSimMastodon(base string) *simNet {
	s := mastodonsim.New(mastodonsim.Options{BaseURL: base, Domain: "masto.test", Growth: true})
	id := s.AddAccount(mastodonsim.Account{Username: "carol", DisplayName: "Carol", Followers: 310})
	return &simNet{
		network: mastodon.Network, title: "Mastodon", account: "carol@masto.test", hint: base, server: s, pages: "/@",
		settings: []string{"allow_hosts: [ADDRESS]", "min_gap: 0s"},
		posts: func() (out []simPost) {
			for _, p := range s.Posts(id) {
				out = append(out, simPost{p.ID, "", p.Text, p.At})
			}
			return out
		},
		react: func(int64) { s.Advance() },
	}
}

func newSimTwitter(base string) *simNet {
	s := twittersim.New(twittersim.App{ClientID: "demo-client", ClientSecret: simSecret}, twittersim.Options{Growth: true, MediaPolls: 1})
	id := s.AddAccount(twittersim.Account{Username: "grace_example", Name: "Grace", Followers: 540})
	s.Skip(time.Now().Unix() - simEpoch)
	return &simNet{
		network: twitter.Network, title: "X (Twitter)", account: "grace_example", hint: "grace_example", server: s, pages: "/grace_example/status/",
		settings: []string{
			"client_id: demo-client", "client_secret_env: " + simSecretEnv, "api_url: " + base, "web_url: " + base, "allow_hosts: [ADDRESS]",
			"monthly_budget_cents: 1000", "min_gap: 0s",
		},
		posts: func() (out []simPost) {
			for _, p := range s.Posts(id) {
				out = append(out, simPost{p.ID, "", p.Text, p.At})
			}
			return out
		},
		react: func(int64) { s.Advance() },
	}
}

func newSimLinkedIn(base string) *simNet {
	s := linkedinsim.New(linkedinsim.Options{BaseURL: base})
	member := s.AddMember(linkedinsim.Member{ID: "demoErin", First: "Erin", Last: "Example", Vanity: "erin-example"})
	page := s.AddOrganization(linkedinsim.Organization{ID: "5515715", Name: "Example Works", Vanity: "example-works"})
	s.SetRole(page, member, "ADMINISTRATOR")
	s.AtBrowser(member)
	s.SetFollowers(page, 1250)
	s.Skip(time.Now().Unix() - simEpoch)
	app := linkedinsim.App{ID: "demo-client", Secret: simSecret}
	return &simNet{
		network: linkedin.Network, title: "LinkedIn", account: "example-works", hint: "example-works", server: s, pages: "/feed/update/",
		settings: []string{
			"client_id: " + app.ID, "client_secret_env: " + simSecretEnv, "product: community", "api_url: " + base, "oauth_url: " + base, "web_url: " + base,
			"allow_hosts: [ADDRESS]", "upload_hosts: [ADDRESS]", "min_gap: 0s",
		},
		register: func(asked url.Values) {
			its := app
			its.Redirects, its.Scopes = []string{asked.Get("redirect_uri")}, strings.Fields(asked.Get("scope"))
			s.AddApp(its)
		},
		posts: func() (out []simPost) {
			for _, p := range s.Posts(page) {
				out = append(out, simPost{p.URN, "", p.Text, p.At})
			}
			return out
		},
		react: func(n int64) {
			for i, p := range s.Posts(page) {
				n := n + int64(i)
				s.SetCounts(p.URN, linkedinsim.Counts{Impressions: 40 * n, Unique: 31 * n, Clicks: 3 * n, Likes: 2 * n, Comments: n / 2, Shares: n / 3})
			}
		},
	}
}

func newSimYouTube(base string) *simNet {
	s := youtubesim.New(youtubesim.Options{BaseURL: base, Polls: 1})
	channel := s.AddChannel("Frank films", "@frank")
	s.Skip(time.Now().Unix() - simEpoch)
	return &simNet{
		network: youtube.Network, title: "YouTube", account: "@frank", hint: "@frank", server: s, pages: "/watch",
		settings: []string{
			"client_id: " + youtubesim.ClientID, "client_secret_env: " + simSecretEnv, "made_for_kids: \"no\"", "audited: true",
			"api_url: " + base, "upload_url: " + base, "analytics_url: " + base, "auth_url: " + base + "/o/oauth2/v2/auth", "token_url: " + base + "/token",
			"revoke_url: " + base + "/revoke", "web_url: " + base, "allow_hosts: [ADDRESS]", "min_gap: 0s",
		},
		posts: func() (out []simPost) {
			for _, p := range s.Posts(channel) {
				out = append(out, simPost{p.ID, p.Title, p.Text, p.PublishedAt})
			}
			return out
		},
		react: func(n int64) {
			for i, p := range s.Posts(channel) {
				n := n + int64(i)
				s.SetCount(p.ID, "viewCount", 55*n)
				s.SetCount(p.ID, "likeCount", 4*n)
				s.SetCount(p.ID, "commentCount", n/2)
			}
		},
	}
}

// startSimNets listens for these networks, on free ports or on those after
// first.
func startSimNets(ctx context.Context, networks []social.Network, first int) ([]*simNet, error) {
	var out []*simNet
	for i, n := range networks {
		port := 0
		if first > 0 {
			port = first + 1 + i
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return nil, social.Errorf(social.CodeUnavailable, "--listen", "127.0.0.1:%d, on which %s would be, cannot be listened on; choose other ports", port, n)
		}
		s := simNets[n]("http://" + l.Addr().String())
		s.listener = l
		out = append(out, s)
	}
	return out, nil
}

func (s *simNet) url() string { return "http://" + s.listener.Addr().String() }

// config is its section of networks:.
func (s *simNet) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n", s.network)
	for _, line := range s.settings {
		fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(line, "ADDRESS", fmt.Sprintf("%q", s.listener.Addr().String())))
	}
	return b.String()
}

// serve answers until ctx ends; people react once a second meanwhile.
func (s *simNet) serve(ctx context.Context) error {
	srv := &http.Server{Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := int64(1); ; n++ {
			select {
			case <-ctx.Done():
				srv.Close() //nolint:errcheck // it was a simulation
				return
			case <-tick.C:
				s.react(n)
			}
		}
	}()
	if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the simulated %s: %w", s.title, err)
	}
	<-done
	return nil
}

// answer shows the public pages, and leaves the rest to the network.
func (s *simNet) answer(w http.ResponseWriter, r *http.Request) {
	if q := r.URL.Query(); s.register != nil && q.Has("client_id") && q.Has("redirect_uri") { // whoever comes is its app
		s.register(q)
	}
	if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, s.pages) {
		showPosts(w, s.title, s.posts(), r.URL.Path+"?"+r.URL.RawQuery)
		return
	}
	s.server.ServeHTTP(w, r)
}

// showPosts shows the post whose id is in the address, or all of them.
func showPosts(w http.ResponseWriter, title string, posts []simPost, address string) {
	if i := slices.IndexFunc(posts, func(p simPost) bool { return strings.Contains(address, p.ID) }); i >= 0 {
		posts = posts[i : i+1]
	}
	if len(posts) == 0 {
		http.Error(w, "nothing is public here yet", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	simPage.Execute(w, map[string]any{"Name": title, "Posts": posts}) //nolint:errcheck // the browser went away
}

var simPage = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Name}}, simulated</title>
<style>body{font:1.05rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}article{border:1px solid #ccc;border-radius:.6rem;padding:.8rem 1rem;margin:1rem 0;white-space:pre-wrap}small{color:#666}</style></head>
<body><h1>{{.Name}}</h1><p><small>A simulated network. Nothing here is public.</small></p>
{{range .Posts}}<article>{{with .Title}}<b>{{.}}</b><br>{{end}}{{.Text}}<br><small>{{.At.Format "2006-01-02 15:04:05"}}</small></article>{{end}}</body></html>
`))

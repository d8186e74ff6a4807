package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smi/connectors/bluesky/blueskysim"
	"smi/internal/social"
)

// simulator is a simulated Bluesky network on a loopback address.
type simulator struct {
	*blueskysim.Sim
	listener net.Listener
	names    map[string]string // handles by DID
}

// simPassword is the app password of every account of the simulator. It opens
// nothing else.
const simPassword = "demo-demo-demo-demo"

// startSimulator listens on addr and adds accounts with these handles.
func startSimulator(ctx context.Context, addr string, handles ...string) (*simulator, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, social.Errorf(social.CodeUnavailable, "--listen", "%s cannot be listened on; choose another address of this machine", addr)
	}
	s := &simulator{Sim: blueskysim.New(blueskysim.Options{Growth: true, BaseURL: "http://" + l.Addr().String()}), listener: l, names: map[string]string{}}
	for i, h := range handles {
		did := s.AddAccount(blueskysim.Account{Handle: h, DisplayName: strings.ToUpper(h[:1]) + strings.Split(h[1:], ".")[0], AppPassword: simPassword, Followers: int64(120 + 85*i)})
		s.names[did] = h
	}
	return s, nil
}

// url is where the simulator is reached.
func (s *simulator) url() string { return "http://" + s.listener.Addr().String() }

// serve answers until ctx ends.
func (s *simulator) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("/", s.Sim)
	mux.HandleFunc("GET /profile/{did}", s.page)
	mux.HandleFunc("GET /profile/{did}/post/{rkey}", s.page)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan struct{})
	go func() {
		<-ctx.Done()
		srv.Close() //nolint:errcheck // it was a simulation
		close(done)
	}()
	if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the simulator: %w", err)
	}
	<-done
	return nil
}

// page shows what the public would see of an account, so that the addresses of
// published posts can be opened.
func (s *simulator) page(w http.ResponseWriter, r *http.Request) {
	did := r.PathValue("did")
	for d, h := range s.names {
		if h == did {
			did = d
		}
	}
	posts := s.Posts(did)
	if key := r.PathValue("rkey"); key != "" {
		kept := posts[:0]
		for _, p := range posts {
			if p.RKey == key {
				kept = append(kept, p)
			}
		}
		posts = kept
	}
	if len(posts) == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	simPage.Execute(w, map[string]any{"Name": s.names[did], "Posts": posts}) //nolint:errcheck // the browser went away
}

var simPage = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Name}} on the simulated network</title>
<style>body{font:1.05rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}article{border:1px solid #ccc;border-radius:.6rem;padding:.8rem 1rem;margin:1rem 0;white-space:pre-wrap}small{color:#666}</style></head>
<body><h1>{{.Name}}</h1><p><small>A simulated network. Nothing here is public.</small></p>
{{range .Posts}}<article>{{.Text}}<br><small>{{.CreatedAt}}</small></article>{{end}}</body></html>
`))

// live lets people like what was published, until ctx ends.
func (s *simulator) live(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		i := int64(0)
		for did := range s.names {
			for _, p := range s.Posts(did) {
				i++
				s.Like(p.URI, 1+(n*7+i*3)%4)
				if (n+i)%3 == 0 {
					s.Repost(p.URI, 1)
				}
				if (n+i)%7 == 0 {
					s.Quote(p.URI, 1)
				}
			}
			if n%5 == 0 {
				s.Follow(did, 1)
			}
		}
	}
}

// config is the configuration of a daemon that uses the simulator for Bluesky.
func (s *simulator) config() string {
	addr := s.listener.Addr().String()
	return fmt.Sprintf(`allow_private: [%[1]q]
networks:
  bluesky:
    service: %[2]q
    plc_url: %[2]q
    web_url: %[2]q
    video_service: %[2]q
    allow_hosts: [%[1]q]
    min_gap: 0s
`, addr, s.url())
}

func (c *cli) simCommand() *cobra.Command {
	var listen string
	var handles []string
	cmd := &cobra.Command{
		Use: "sim", Short: "Run a simulated network alone, for trying things out", Args: cobra.NoArgs,
		Long: "Runs a simulated Bluesky network in memory on a loopback address. It prints the configuration with which a\n" +
			"daemon uses it. All accounts have the app password " + simPassword + ".",
		RunE: runs(func(cmd *cobra.Command, _ []string) error {
			if host, _, err := net.SplitHostPort(listen); err != nil || !net.ParseIP(host).IsLoopback() {
				return social.Errorf(social.CodeInvalid, "--listen", "%q is not an address of this machine alone; use 127.0.0.1:PORT", listen)
			}
			s, err := startSimulator(cmd.Context(), listen, handles...)
			if err != nil {
				return err
			}
			c.say("# A simulated Bluesky network with %s, app password %s.", strings.Join(handles, ", "), simPassword)
			c.say("# Add this to a configuration to use it:")
			c.say("%s", s.config())
			go s.live(cmd.Context())
			return s.serve(cmd.Context())
		}),
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback address and port (0: any free one)")
	cmd.Flags().StringSliceVar(&handles, "handle", []string{"alice.test", "bob.test"}, "handles of the accounts")
	return cmd
}

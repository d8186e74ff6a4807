package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
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
	var shown []simPost
	for _, p := range posts {
		at, _ := time.Parse(time.RFC3339, p.CreatedAt) //nolint:errcheck // shown only
		shown = append(shown, simPost{p.RKey, "", p.Text, at})
	}
	showPosts(w, s.names[did], shown, "")
}

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

// config is the configuration of a daemon that uses the simulator for Bluesky,
// and these for other networks.
func (s *simulator) config(others ...*simNet) string {
	addr := s.listener.Addr().String()
	private, sections := []string{fmt.Sprintf("%q", addr)}, ""
	for _, o := range others {
		private = append(private, fmt.Sprintf("%q", o.listener.Addr().String()))
		sections += o.config()
	}
	return fmt.Sprintf(`allow_private: [%[3]s]
networks:
  bluesky:
    service: %[2]q
    plc_url: %[2]q
    web_url: %[2]q
    video_service: %[2]q
    allow_hosts: [%[1]q]
    min_gap: 0s
`, addr, s.url(), strings.Join(private, ", ")) + sections
}

func (c *cli) simCommand() *cobra.Command {
	var listen string
	var handles, networks []string
	cmd := &cobra.Command{
		Use: "sim", Short: "Run simulated networks alone, for trying things out", Args: cobra.NoArgs,
		Long: "Runs simulated networks in memory on loopback addresses: Bluesky on --listen, the others on the ports after it.\n" +
			"It prints the configuration with which a daemon uses them. All accounts of Bluesky have the app password\n" +
			simPassword + "; on the others whoever logs in with a browser is let in.",
		RunE: runs(func(cmd *cobra.Command, _ []string) error {
			host, port, err := net.SplitHostPort(listen)
			if err != nil || !net.ParseIP(host).IsLoopback() {
				return social.Errorf(social.CodeInvalid, "--listen", "%q is not an address of this machine alone; use 127.0.0.1:PORT", listen)
			}
			first, err := strconv.Atoi(port)
			if err != nil || first < 0 || first > 65000 {
				return social.Errorf(social.CodeInvalid, "--listen", "%q is no port up to 65000; use 127.0.0.1:PORT, or 0 for any free one", port)
			}
			wanted, err := otherNetworks(networks)
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			s, err := startSimulator(ctx, listen, handles...)
			if err != nil {
				return err
			}
			others, err := startSimNets(ctx, wanted, first)
			if err != nil {
				return err
			}
			c.say("# Simulated networks. Bluesky has %s, app password %s.", strings.Join(handles, ", "), simPassword)
			for _, o := range others {
				c.say("# %s has %s: smi accounts add %s --oauth --handle %s", o.title, o.account, o.network, o.hint)
			}
			if len(others) > 0 {
				c.say("# Put this into the daemon's environment: %s=%s", simSecretEnv, simSecret)
			}
			c.say("# Add this to a configuration to use them:")
			c.say("%s", s.config(others...))
			go s.live(ctx)
			ended := make(chan error, len(others)+1)
			go func() { ended <- s.serve(ctx) }()
			for _, o := range others {
				go func() { ended <- o.serve(ctx) }()
			}
			for range len(others) + 1 {
				err = errors.Join(err, <-ended)
				stop() // one that ended ends all
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback address and port of Bluesky (0: any free ones)")
	cmd.Flags().StringSliceVar(&handles, "handle", []string{"alice.test", "bob.test"}, "handles of the accounts on Bluesky")
	cmd.Flags().StringSliceVar(&networks, "network", nil, "which networks beside Bluesky (default: all): "+strings.Join(simNames(), ", "))
	return cmd
}

// simNames are the names of the simulated networks beside Bluesky.
func simNames() []string {
	var out []string
	for n := range simNets {
		out = append(out, string(n))
	}
	slices.Sort(out)
	return out
}

// otherNetworks are the named networks but Bluesky, or all.
func otherNetworks(names []string) ([]social.Network, error) {
	if len(names) == 0 {
		names = simNames()
	}
	var out []social.Network
	for _, n := range names {
		switch _, ok := simNets[social.Network(n)]; {
		case ok:
			out = append(out, social.Network(n))
		case n != "bluesky":
			return nil, social.Errorf(social.CodeInvalid, "--network", "there is no simulated network %q; choose among bluesky, %s", n, strings.Join(simNames(), ", "))
		}
	}
	return out, nil
}

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smi/connectors"
	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

func (c *cli) accountsCommand() *cobra.Command {
	return group("accounts", "Connect accounts and look after them", c.accountsAdd(), c.accountsList(), c.accountsCheck(), c.accountsReconnect(), c.accountsRemove())
}

// login are the flags of a login.
type login struct {
	handle   string
	app      string
	file     string
	oauth    bool
	typed    bool // a password was typed on the command line
	noWait   bool
	register func(*cobra.Command)
}

func newLogin() *login {
	l := &login{}
	l.register = func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&l.handle, "handle", "", "the account's handle, such as alice.example.org")
		cmd.Flags().StringVar(&l.file, "app-password-file", "", "file that holds the app password (- for standard input)")
		cmd.Flags().Var(word{"", func(string) error { l.typed = true; return nil }}, "app-password", "")
		cmd.Flags().MarkHidden("app-password") //nolint:errcheck // it is there
		cmd.Flags().BoolVar(&l.oauth, "oauth", false, "log in with the browser")
		cmd.Flags().BoolVar(&l.noWait, "no-wait", false, "with --oauth: show the address and do not wait for the browser")
		cmd.MarkFlagsMutuallyExclusive("oauth", "app-password-file")
	}
	return l
}

func (c *cli) accountsAdd() *cobra.Command {
	l := newLogin()
	cmd := &cobra.Command{
		Use: "add NETWORK", Short: "Connect an account", Args: cobra.ExactArgs(1),
		Long: "Connects an account of a network. With --oauth it shows an address for your browser. Without it, it asks\n" +
			"for an app password (never your main one), or reads it from --app-password-file. A password is never\n" +
			"taken from the command line, where other users could see it.",
		Example: "  smi accounts add bluesky --handle alice.bsky.social --oauth\n  smi accounts add bluesky --handle alice.bsky.social --app-password-file ./secret",
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			return c.connect(ctx, api, l, app.ConnectRequest{Network: social.Network(args[0]), App: l.app, Handle: l.handle})
		}),
	}
	l.register(cmd)
	cmd.Flags().StringVar(&l.app, "app", "", "which set of app credentials of the configuration to use")
	return cmd
}

func (c *cli) accountsReconnect() *cobra.Command {
	l := newLogin()
	cmd := &cobra.Command{
		Use: "reconnect ACCOUNT", Short: "Log in again to an account; what waits for it goes on", Args: cobra.ExactArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			return c.connect(ctx, api, l, app.ConnectRequest{Reconnect: args[0], Handle: l.handle})
		}),
	}
	l.register(cmd)
	return cmd
}

// connect walks a person through a login.
func (c *cli) connect(ctx context.Context, api *httpapi.Client, l *login, r app.ConnectRequest) error {
	if l.typed {
		return social.Errorf(social.CodeInvalid, "--app-password", "a password on the command line can be seen by other users of this machine and stays in the shell's history; leave it out to be asked for it, or put it into a file and give --app-password-file FILE")
	}
	r.Method = "form"
	if l.oauth {
		r.Method = "oauth"
	}
	conn, err := api.StartConnect(ctx, r)
	if err != nil {
		return err
	}
	if l.oauth {
		return c.browser(ctx, api, conn, l.noWait)
	}
	values, err := c.fill(conn.Fields, cmp.Or(l.handle, r.Reconnect), l.file)
	if err != nil {
		return err
	}
	c.progress("logging in …")
	conn, err = api.FinishForm(ctx, conn.ID, values)
	if err != nil {
		return err
	}
	return c.connected(conn)
}

// browser waits for the browser to come back.
func (c *cli) browser(ctx context.Context, api *httpapi.Client, conn app.Connection, noWait bool) error {
	if noWait {
		return c.show(conn, func() { c.say("%s", conn.AuthURL) })
	}
	if c.json {
		fmt.Fprintln(c.err, conn.AuthURL) //nolint:errcheck // nobody is left to tell
	}
	c.progress("open this address in your browser and agree (until %s):\n\n  %s\n", conn.Expires.Local().Format("15:04"), conn.AuthURL)
	for conn.State == "waiting" {
		if time.Now().After(conn.Expires) {
			return social.Errorf(social.CodeUnavailable, "", "nobody came back from the browser in time; start again")
		}
		var err error
		if conn, err = api.Connection(ctx, conn.ID, 30*time.Second); err != nil {
			return err
		}
	}
	if conn.State == "failed" {
		return social.Errorf(social.CodeRemote, "", "%s", conn.Text)
	}
	return c.connected(conn)
}

func (c *cli) connected(conn app.Connection) error {
	return c.show(conn, func() {
		if conn.Account == nil {
			return
		}
		word := "reconnected"
		if conn.New {
			word = "connected"
		}
		c.say("%s %s (%s)", word, conn.Account.Name, conn.Account.ID)
		if conn.Freed > 0 {
			c.say("%d posts that waited for it go on", conn.Freed)
		}
	})
}

// fill gets the values of a login form: the handle from its flag, one secret
// from a file, the rest from the terminal.
func (c *cli) fill(fields []connectors.Field, handle, file string) (map[string]social.Secret, error) {
	values := map[string]social.Secret{}
	in := bufio.NewReader(c.in)
	for _, f := range fields {
		var v string
		var err error
		switch {
		case f.Secret && file != "":
			v, err = c.secretFile(file)
		case f.Secret:
			v, err = c.askSecret(in, f)
		case handle != "" && (f.Name == "handle" || f.Name == "identifier"):
			v = handle
		case f.Name != "handle" && f.Name != "identifier" && !c.terminal():
			continue // an optional field that nobody can be asked for
		default:
			v, err = c.ask(in, f)
		}
		if err != nil {
			return nil, err
		}
		if v != "" {
			values[f.Name] = social.NewSecret(v)
		}
	}
	return values, nil
}

func (c *cli) secretFile(path string) (string, error) {
	var b []byte
	var err error
	if path == "-" {
		b, err = io.ReadAll(io.LimitReader(c.in, 64<<10))
	} else {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return "", social.Errorf(social.CodeNotFound, "--app-password-file", "%s cannot be read (%v); name a file that holds the app password", path, bare(err))
	}
	v := strings.TrimSpace(string(b))
	if v == "" {
		return "", social.Errorf(social.CodeInvalid, "--app-password-file", "%s is empty; it must hold the app password", path)
	}
	return v, nil
}

// bare drops the path that the operating system's errors repeat.
func bare(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

func (c *cli) terminal() bool {
	f, ok := c.in.(*os.File)
	return ok && isTerminal(f)
}

func (c *cli) ask(in *bufio.Reader, f connectors.Field) (string, error) {
	if c.terminal() {
		fmt.Fprintf(c.err, "%s (%s): ", f.Label, f.Help) //nolint:errcheck // nobody is left to tell
	}
	line, err := in.ReadString('\n')
	if err != nil && line == "" {
		return "", social.Errorf(social.CodeInvalid, f.Name, "%s is needed: %s", f.Label, f.Help)
	}
	return strings.TrimSpace(line), nil
}

// askSecret asks without an echo on a terminal, and reads a line elsewhere.
func (c *cli) askSecret(in *bufio.Reader, f connectors.Field) (string, error) {
	file, ok := c.in.(*os.File)
	if !ok || !c.terminal() {
		v, err := c.ask(in, f)
		if err != nil {
			return "", social.Errorf(social.CodeInvalid, f.Name, "%s is needed and there is no terminal to ask at; give --app-password-file FILE (- for standard input)", f.Label)
		}
		return v, nil
	}
	fmt.Fprintf(c.err, "%s (%s; it is not shown): ", f.Label, f.Help) //nolint:errcheck // nobody is left to tell
	line, err := readSecret(file, in)
	fmt.Fprintln(c.err) //nolint:errcheck // nobody is left to tell
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", f.Label, err)
	}
	return strings.TrimSpace(line), nil
}

func (c *cli) accountsList() *cobra.Command {
	var removed bool
	cmd := &cobra.Command{
		Use: "list", Short: "Show the connected accounts", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			all, err := api.Accounts(ctx, removed)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"accounts": all}, func() {
				if len(all) == 0 {
					c.say("no account is connected; connect one with: smi accounts add NETWORK --handle HANDLE")
					return
				}
				rows := [][]string{{"ACCOUNT", "STATUS", "LOGIN", "ID", "NOTE"}}
				for _, a := range all {
					state, note := "-", a.StatusReason
					if a.Login != nil {
						state = a.Login.State
					}
					if a.Paused {
						note = strings.TrimSpace("paused " + note)
					}
					rows = append(rows, []string{a.Name, string(a.Status), state, a.ID.String(), note})
				}
				c.table(rows)
			})
		}),
	}
	cmd.Flags().BoolVar(&removed, "removed", false, "show removed accounts too")
	return cmd
}

func (c *cli) accountsCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check [ACCOUNT]", Short: "Ask the network whether the login works (all accounts without a name)", Args: cobra.MaximumNArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			if len(args) == 0 {
				all, err := api.Accounts(ctx, false)
				if err != nil {
					return err
				}
				for _, a := range all {
					args = append(args, a.ID.String())
				}
			}
			out, bad, unknown := []app.AccountCheck{}, 0, 0
			for _, name := range args {
				r, err := api.CheckAccount(ctx, name)
				if err != nil {
					return err
				}
				out = append(out, r)
				switch {
				case r.Unknown:
					unknown++
				case !r.OK:
					bad++
				}
			}
			if err := c.show(map[string]any{"checks": out}, func() {
				for _, r := range out {
					word := "ok"
					switch {
					case r.Unknown:
						word = "not known"
					case !r.OK:
						word = "NOT OK"
					}
					c.say("%s: %s: %s", r.Account.Name, word, r.Text)
				}
			}); err != nil {
				return err
			}
			switch {
			case bad == 0 && unknown > 0:
				return social.Errorf(social.CodeUnavailable, "", "the network cannot be reached for %d of %d accounts, which says nothing about their logins; check this machine's connection and try again later", unknown, len(out))
			case bad > 0:
				return &attentionError{fmt.Sprintf("%d of %d accounts do not work; log in again with: smi accounts reconnect ACCOUNT", bad, len(out))}
			}
			return nil
		}),
	}
}

func (c *cli) accountsRemove() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove ACCOUNT", Short: "Disconnect an account and destroy its login", Args: cobra.ExactArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			r, err := api.RemoveAccount(ctx, args[0], force)
			if err != nil {
				return err
			}
			return c.show(r, func() {
				c.say("removed %s; its login is destroyed", r.Account.Name)
				if r.Cancelled > 0 {
					c.say("%d posts that waited for it are cancelled", r.Cancelled)
				}
				if r.Note != "" {
					c.say("note: %s", r.Note)
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&force, "force", false, "although posts wait for it: they are cancelled")
	return cmd
}

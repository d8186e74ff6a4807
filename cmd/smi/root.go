package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"smi/config"
	"smi/connectors"
	"smi/connectors/all"
	"smi/internal/httpapi"
	"smi/internal/social"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// cli is one run of the command line.
type cli struct {
	streams
	registry  *connectors.Registry
	config    string
	socket    string
	workspace string
	json      bool
}

// The exit codes. They are documented in docs/cli.md and by smi help
// exit-codes; don't renumber them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNotFound    = 4
	exitInvalid     = 5
	exitConflict    = 6
	exitUnavailable = 7
	exitExhausted   = 8
	exitRemote      = 9
	exitAttention   = 10
	exitInterrupted = 130
)

// commandError is an error of a command that ran; every other error of cobra
// means that the command line itself was wrong.
type commandError struct{ err error }

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// attentionError means that a command did its work, and that what it shows is
// not well: a post that was not published, a login that does not work.
type attentionError struct{ text string }

func (e *attentionError) Error() string { return e.text }

// stoppedError means that a person stopped waiting; what was asked for goes on.
type stoppedError struct {
	text string
	err  error
}

func (e *stoppedError) Error() string { return e.text }
func (e *stoppedError) Unwrap() error { return e.err }

// noWords refuses words beside the flags, and says where they belong.
func noWords(cure string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("%s does not take %q; %s", cmd.CommandPath(), args[0], cure)
	}
}

// exclusive is how cobra says that flags exclude each other.
var exclusive = regexp.MustCompile(`^if any flags in the group \[([^\]]*)\] are set none of the others can be`)

// usage puts an error of cobra in plain words.
func usage(text string) string {
	m := exclusive.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	return "give only one of --" + strings.Join(strings.Fields(m[1]), ", --")
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	c := &cli{streams: s, registry: all.Registry()}
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// What is wrong with the command line may have kept --json from being read.
	c.json = c.json || slices.Contains(args, "--json")
	code := exitCode(ctx, err)
	c.tell(err, code)
	return code
}

// exitCode sorts errors by what a script can do about them.
func exitCode(ctx context.Context, err error) int {
	if _, ok := errors.AsType[*commandError](err); !ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*attentionError](err); ok {
		return exitAttention
	}
	if _, ok := errors.AsType[*httpapi.UnreachableError](err); ok {
		return exitUnreachable
	}
	if _, ok := errors.AsType[config.Errors](err); ok {
		return exitInvalid
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	code := social.CodeInternal
	if p, ok := errors.AsType[*httpapi.Problem](err); ok {
		code = p.Code
	} else if e, ok := errors.AsType[*social.Error](err); ok {
		code = e.Code
	}
	switch code {
	case social.CodeNotFound:
		return exitNotFound
	case social.CodeInvalid, social.CodeUnsupported:
		return exitInvalid
	case social.CodeConflict:
		return exitConflict
	case social.CodeUnavailable:
		return exitUnavailable
	case social.CodeExhausted:
		return exitExhausted
	case social.CodeRemote:
		return exitRemote
	case social.CodeForbidden, social.CodeInternal:
	}
	return exitFailure
}

// tell writes an error for a person, or with --json for a program.
func (c *cli) tell(err error, code int) {
	text := err.Error()
	if e, ok := errors.AsType[*social.Error](err); ok {
		text = e.Text
		if e.Field != "" {
			text = e.Field + ": " + text
		}
	}
	if code == exitUsage {
		text = usage(text) + "; see smi help"
	}
	if !c.json {
		for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
			fmt.Fprintln(c.err, "smi: "+line) //nolint:errcheck // nobody is left to tell
		}
		return
	}
	v := map[string]any{"exit_code": code, "detail": text}
	if p, ok := errors.AsType[*httpapi.Problem](err); ok {
		v["code"], v["field"], v["detail"], v["errors"] = p.Code, p.Field, p.Detail, p.Errors
	}
	json.NewEncoder(c.err).Encode(map[string]any{"error": v}) //nolint:errcheck // nobody is left to tell
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "smi",
		Short: "Plan, publish and measure posts on social networks",
		Long: "smi is a daemon that publishes what you plan at the planned minute, never twice, and reads the\n" +
			"numbers every night. smi serve starts it; the other commands talk to it over its socket.",
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	f := root.PersistentFlags()
	f.StringVar(&c.config, "config", "", "configuration file (default: $SMI_CONFIG, ~/.config/smi/config.yaml, /etc/smi/config.yaml)")
	f.StringVar(&c.socket, "socket", os.Getenv("SMI_SOCKET"), "the daemon's socket (default: $SMI_SOCKET, else that of the configuration)")
	f.StringVar(&c.workspace, "workspace", "", "name or id of the workspace (default: the first)")
	f.BoolVar(&c.json, "json", false, "write JSON to standard output, and errors as JSON to standard error")
	root.AddCommand(
		c.serveCommand(), c.simCommand(), c.accountsCommand(), c.postCommand(), c.mediaCommand(), c.syncCommand(),
		c.pauseCommand(true), c.pauseCommand(false), c.clockCommand(), c.adoptCommand(), c.backupCommand(), c.restoreCommand(), c.configCommand(), c.keysCommand(), c.doctorCommand(), c.statusCommand(), c.limitsCommand(),
		c.noticesCommand(), c.networksCommand(), c.openapiCommand(), c.versionCommand(), exitCodesTopic(),
	)
	return root
}

// runs wraps the work of a command, so that its errors are told from those of
// the command line.
func runs(fn func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := fn(cmd, args); err != nil {
			return &commandError{err}
		}
		return nil
	}
}

// group is a command that only has others below it. Without one of them, or
// with a wrong one, it says which there are.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(below...)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var names []string
		for _, b := range below {
			names = append(names, b.Name())
		}
		if len(args) == 0 {
			return fmt.Errorf("say what to do: smi %s %s", use, strings.Join(names, "|"))
		}
		return fmt.Errorf("smi %s has no %q; it has %s", use, args[0], strings.Join(names, ", "))
	}
	return cmd
}

// client returns a client of the daemon.
func (c *cli) client() (*httpapi.Client, error) {
	socket := c.socket
	if socket == "" {
		cfg, err := c.load()
		if err != nil {
			return nil, err
		}
		socket = cfg.API.Socket
	}
	return httpapi.NewClient(socket, c.workspace), nil
}

// load reads the configuration that the flags name.
func (c *cli) load() (*config.Config, error) {
	return c.read(config.Find(c.config))
}

// read reads a configuration file. One that is not there is CodeNotFound.
func (c *cli) read(path string) (*config.Config, error) {
	cfg, err := config.Load(path, c.registry)
	if err != nil && path != "" && !exists(path) {
		return nil, social.Errorf(social.CodeNotFound, "", "%s", err.Error())
	}
	return cfg, err
}

// calls wraps the work of a command that needs the daemon.
func (c *cli) calls(fn func(ctx context.Context, api *httpapi.Client, args []string) error) func(*cobra.Command, []string) error {
	return runs(func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		defer api.Close()
		return fn(cmd.Context(), api, args)
	})
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: `The exit codes of smi:

  0    it is done
  1    something went wrong inside smi; the message and the daemon's log say what
  2    the command line is wrong
  3    no daemon answers on the socket
  4    there is no such thing: post, account, file, configuration
  5    refused: the message names what is wrong and the cure
  6    too late, or somebody else was first: nothing was changed
  7    not possible at the moment; try again later
  8    the disk is full or a limit is reached
  9    the network said no; the message says what it said
  10   it is done, and what it shows is not well: a post was not published, a login does not work,
       a reading of numbers is not complete, doctor found something broken
  130  interrupted`}
}

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"smi/config"
	"smi/connectors"
	"smi/internal/httpapi"
	"smi/internal/keyring"
	"smi/internal/netguard"
	"smi/internal/social"
)

func (c *cli) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration file: every mistake with its place and its cure", Args: cobra.MaximumNArgs(1),
		RunE: runs(func(_ *cobra.Command, args []string) error {
			path := config.Find(c.config)
			if len(args) == 1 {
				path = args[0]
			}
			cfg, err := c.read(path)
			if err != nil {
				return err
			}
			if err := c.checkAround(cfg); err != nil {
				return err
			}
			name := path
			if name == "" {
				name = "no file, so the defaults"
			}
			return c.show(map[string]any{"ok": true, "file": path, "data_dir": cfg.DataDir}, func() { c.say("%s: ok", name) })
		}),
	}
	example := &cobra.Command{
		Use: "example", Short: "Write a configuration with every setting, its default and what it does", Args: cobra.NoArgs,
		RunE: runs(func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "%s", config.Example(c.registry))
			return err
		}),
	}
	schema := &cobra.Command{
		Use: "schema", Short: "Write the JSON Schema of the configuration, for editors", Args: cobra.NoArgs,
		RunE: runs(func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "%s", config.Schema(c.registry))
			return err
		}),
	}
	reload := &cobra.Command{
		Use: "reload", Short: "Let the daemon read its configuration anew; a mistake leaves the old one in force", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			r, err := api.Reload(ctx)
			if err != nil {
				return err
			}
			return c.show(r, func() {
				if len(r.Changed)+len(r.Restart) == 0 {
					c.say("nothing has changed")
				}
				for _, s := range r.Changed {
					c.say("in force: %s", s)
				}
				for _, s := range r.Restart {
					c.say("after a restart: %s", s)
				}
			})
		}),
	}
	return group("config", "Check, explain and reload the configuration", check, example, schema, reload)
}

// checkAround looks at what a configuration names: its networks and its key. A
// key that is not there yet is no mistake before the first start.
func (c *cli) checkAround(cfg *config.Config) error {
	nets := &platforms{registry: c.registry, env: func(cfg *config.Config) (connectors.Env, error) {
		guard, err := netguard.New(netguard.Options{AllowPrivate: cfg.AllowPrivate})
		if err != nil {
			return connectors.Env{}, err
		}
		quiet := slog.New(slog.DiscardHandler)
		return connectors.Env{Dial: guard.DialContext, Now: time.Now, Log: quiet, UserAgent: "smi/" + version}, nil
	}}
	if err := nets.use(cfg); err != nil {
		return social.Errorf(social.CodeInvalid, "networks", "%s", err.Error())
	}
	if p := cfg.Public; p.Listen != "" && p.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(p.TLSCert, p.TLSKey); err != nil {
			return social.Errorf(social.CodeInvalid, "public.tls_cert", "the certificate and its key cannot be used: %s", err.Error())
		}
	}
	if os.Getenv(keyring.EnvName) == "" && !exists(cfg.KeyFile) && os.Getenv("CREDENTIALS_DIRECTORY") == "" {
		c.progress("note: there is no key in %s yet; make it with: smi keys init", cfg.KeyFile)
		return nil
	}
	if _, err := loadKey(cfg); err != nil {
		return social.Errorf(social.CodeInvalid, "key_file", "%s", err.Error())
	}
	return nil
}

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"smi/config"
	"smi/internal/httpapi"
)

func (c *cli) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration file: every mistake with its place and its cure", Args: cobra.MaximumNArgs(1),
		RunE: runs(func(_ *cobra.Command, args []string) error {
			path := config.Find(c.config)
			if len(args) == 1 {
				path = args[0]
			}
			cfg, err := config.Load(path, c.registry)
			if err != nil {
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

package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

func (c *cli) doctorCommand() *cobra.Command {
	var full bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the whole installation", Args: cobra.NoArgs,
		Long: "Asks the daemon to check everything: configuration, database, key, disk, clock, logins, files of planned\n" +
			"posts. Where no daemon runs it looks by itself, opens the database for reading only, and says so.",
		RunE: runs(func(cmd *cobra.Command, _ []string) error {
			r, err := c.examine(cmd.Context(), full)
			if err != nil {
				return err
			}
			if err := c.show(r, func() {
				var rows [][]string
				for _, k := range r.Checks {
					rows = append(rows, []string{string(k.Verdict), k.Name, k.Text})
				}
				c.table(rows)
			}); err != nil {
				return err
			}
			if !r.OK {
				return &attentionError{"something is broken; the lines above name the cure"}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&full, "full", false, "read everything, whatever time that takes: all posts of the past, and every byte of the files of planned ones")
	return cmd
}

// examine asks the daemon, or looks without one.
func (c *cli) examine(ctx context.Context, full bool) (app.Report, error) {
	api, err := c.client()
	if err != nil { // the configuration cannot be read
		return c.doctorAlone(ctx, full, err), nil //nolint:nilerr // the report says it
	}
	defer api.Close()
	r, err := api.Doctor(ctx, full)
	if gone, ok := errors.AsType[*httpapi.UnreachableError](err); ok && !errors.Is(err, fs.ErrPermission) && ctx.Err() == nil {
		return c.doctorAlone(ctx, full, gone), nil
	}
	return r, err
}

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the daemon at a glance", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			s, err := api.Status(ctx)
			if err != nil {
				return err
			}
			waiting, err := api.ListPosts(ctx, app.PostQuery{States: []social.DeliveryState{social.Waiting}, Ascending: true, Limit: 5})
			if err != nil {
				return err
			}
			return c.show(s, func() {
				c.say("smi %s on %s, running since %s", s.Version, s.Node, at(s.Started, s.Workspace.Zone))
				for _, n := range s.Nodes {
					if n.Name != s.Node {
						c.say("node %s (%s), %s", n.Name, n.Version, seen(n, s.Workspace.Zone))
					}
				}
				c.say("workspace %s (%s)", s.Workspace.Name, s.Workspace.Zone)
				if s.Quarantine != nil {
					c.say("%s", app.QuarantineText(*s.Quarantine))
				}
				switch {
				case s.Paused:
					c.say("everything is paused")
				case s.Workspace.Paused:
					c.say("the workspace is paused")
				}
				if s.Clock != "" {
					c.say("%s", s.Clock)
				}
				switch {
				case s.NextDue.IsZero():
				case s.NextDue.Before(time.Now()):
					c.say("overdue since %s", at(s.NextDue, s.Workspace.Zone))
				default:
					c.say("next post at %s", at(s.NextDue, s.Workspace.Zone))
				}
				for _, st := range social.DeliveryStates {
					if n := s.Deliveries[st]; n > 0 {
						c.say("  %-12s %d", st, n)
					}
				}
				for _, p := range s.Spend {
					c.say("%s", p.Text)
				}
				if s.Notices != nil && s.Notices.Trouble != "" {
					c.say("%s", oneLine(s.Notices.Trouble))
				}
				for _, p := range waiting.Posts {
					for _, d := range p.Deliveries {
						if d.State == social.Waiting {
							c.say("post %s waits on %s: %s%s", p.ID, d.AccountName, cmp.Or(d.Reason, "no reason is known"), nextTry(d, s.Workspace.Zone))
						}
					}
				}
			})
		}),
	}
}

// seen says how another node is.
func seen(n social.Node, zone string) string {
	if n.Silent {
		return "not heard of since " + at(n.Seen, zone)
	}
	return "running since " + at(n.Since, zone)
}

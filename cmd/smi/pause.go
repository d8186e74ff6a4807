package main

import (
	"context"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
)

// pauseCommand makes smi pause and smi resume.
func (c *cli) pauseCommand(on bool) *cobra.Command {
	use, short := "resume", "Let publishing go on"
	if on {
		use, short = "pause", "Stop publishing (what is on the wire is finished)"
	}
	var in app.PauseInput
	cmd := &cobra.Command{
		Use: use, Short: short, Args: noWords("name an account with --account, or everything with --all"),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			r, err := api.SetPaused(ctx, in, on)
			if err != nil {
				return err
			}
			return c.show(r, func() { c.say("%s", r.Text) })
		}),
	}
	cmd.Flags().StringVar(&in.Account, "account", "", "this account only (default: the workspace)")
	cmd.Flags().BoolVar(&in.All, "all", false, "every workspace")
	cmd.MarkFlagsMutuallyExclusive("account", "all")
	return cmd
}

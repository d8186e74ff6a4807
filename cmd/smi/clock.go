package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
)

func (c *cli) clockCommand() *cobra.Command {
	show := func(s app.ClockState, err error) error {
		if err != nil {
			return err
		}
		return c.show(s, func() {
			c.say("the machine's clock says %s", s.Machine.Format(time.RFC3339))
			if s.Trusted {
				c.say("posts go out by it")
			}
			if s.Text != "" {
				c.say("%s", s.Text)
			}
		})
	}
	cmd := &cobra.Command{
		Use: "clock", Short: "Show the time by which posts go out", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error { return show(api.Clock(ctx)) }),
	}
	cmd.AddCommand(&cobra.Command{
		Use: "confirm", Short: "Say that the clock is right, after it was set", Args: cobra.NoArgs,
		Long: "When the machine's clock was set by more than five minutes, smi publishes nothing until it is set back, two\n" +
			"networks say that it is right, or you do. Then posts go out by it at once; what is late follows the rule for\n" +
			"late posts. Look at the time first: smi clock.",
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error { return show(api.ConfirmClock(ctx)) }),
	})
	return cmd
}

package main

import (
	"context"

	"github.com/spf13/cobra"

	"smi/internal/httpapi"
	"smi/internal/social"
)

func (c *cli) noticesCommand() *cobra.Command {
	var after string
	var limit int
	cmd := &cobra.Command{
		Use: "notices", Short: "Show what people were told, the latest first", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			all, next, err := api.Notices(ctx, after, limit)
			if err != nil {
				return err
			}
			if all == nil {
				all = []social.NoticeRecord{}
			}
			return c.show(map[string]any{"notices": all, "next": next}, func() {
				for _, n := range all {
					c.say("%s %-7s %s", at(n.CreatedAt, "UTC"), n.Severity, oneLine(n.Text))
				}
				if next != "" {
					c.say("more with: --after %s", next)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&after, "after", "", "the next page, as the page before said")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, at most 500")
	return cmd
}

package main

import (
	"context"
	"fmt"

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
				if len(all) == 0 {
					c.progress("nobody was told anything: nothing needs you")
				}
				for _, n := range all {
					c.say("%s %-7s %s", at(n.CreatedAt, "UTC"), n.Severity, oneLine(n.Text)+remedy(n))
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

// remedy is the command with which a person answers a notice.
func remedy(n social.NoticeRecord) string {
	if n.Delivery == 0 {
		return ""
	}
	retry := "smi post retry " + n.Delivery.String()
	switch n.Kind {
	case "delivery_held_late":
		return fmt.Sprintf(" [%s --publish, or %s --skip]", retry, retry)
	case "delivery_needs_human":
		return fmt.Sprintf(" [%s --found ADDRESS, --resend or --drop]", retry)
	case "delivery_failed":
		return fmt.Sprintf(" [to plan it again: %s]", retry)
	}
	return ""
}

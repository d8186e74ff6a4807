package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/notify"
	"smi/internal/social"
)

func (c *cli) noticesCommand() *cobra.Command {
	var after string
	var limit int
	cmd := &cobra.Command{
		Use: "notices", Short: "Show what people were told, the latest first", Args: noWords("smi notices test CHANNEL sends a test"),
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
					c.say("%s %-7s %s", at(n.CreatedAt, "UTC"), n.Severity, oneLine(n.Text)+remedy(n)+sendings(n))
				}
				if next != "" {
					c.say("more with: --after %s", next)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&after, "after", "", "the next page, as the page before said")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, at most 500")
	cmd.AddCommand(&cobra.Command{
		Use: "test CHANNEL", Short: "Send a test by mail, webhook or exec", Args: cobra.ExactArgs(1), ValidArgs: []string{"mail", "webhook", "exec"},
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			out, err := api.TestNotices(ctx, app.NoticeTest{Channel: args[0]})
			if err != nil {
				return err
			}
			return c.show(out, func() { c.say("the test was taken by %s", out.Channel) })
		}),
	})
	return cmd
}

// remedy is the command with which a person answers a notice.
func remedy(n social.NoticeRecord) string {
	if cure := notify.Cure(n); cure != "" {
		return " [" + cure + "]"
	}
	return ""
}

// sendings says where a notice was sent.
func sendings(n social.NoticeRecord) string {
	var parts []string
	for _, s := range n.Sendings {
		if s.SentAt.IsZero() {
			parts = append(parts, fmt.Sprintf("not by %s (%s)", s.Channel, oneLine(s.Error)))
		} else {
			parts = append(parts, fmt.Sprintf("sent by %s at %s", s.Channel, at(s.SentAt, "UTC")))
		}
	}
	if n.Unsent && len(n.Sendings) > 0 {
		parts = append(parts, "it is tried again")
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"smi/internal/httpapi"
)

func (c *cli) limitsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "limits", Short: "Show how the networks' limits stand: what is used up, and who has to wait", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			s, err := api.Status(ctx)
			if err != nil {
				return err
			}
			now, err := api.Limits(ctx)
			if err != nil {
				return err
			}
			return c.show(now, func() {
				if len(now.Budgets) == 0 && len(now.Waits) == 0 {
					c.say("nothing was taken from a limit, and no network asked to wait")
					return
				}
				if len(now.Budgets) > 0 {
					rows := [][]string{{"ACCOUNT", "WHAT", "USED", "OF", "IN", "ANEW AT"}}
					for _, b := range now.Budgets {
						rows = append(rows, []string{
							cmp.Or(b.Account, string(b.Network)+" (the app)"), b.Endpoint, fmt.Sprint(b.Used), fmt.Sprint(b.Usable),
							(time.Duration(b.Window) * time.Second).String(), at(b.Ends, s.Workspace.Zone),
						})
					}
					c.table(rows)
				}
				for _, w := range now.Waits {
					c.say("%s waits until %s%s", cmp.Or(w.Account, string(w.Network)+" (the app)"), at(w.Until, s.Workspace.Zone), doing(w.Endpoint))
				}
			})
		}),
	}
}

// doing names what waits.
func doing(endpoint string) string {
	if endpoint == "" {
		return ""
	}
	return " with " + endpoint
}

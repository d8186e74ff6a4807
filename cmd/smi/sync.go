package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

func (c *cli) syncCommand() *cobra.Command {
	var account string
	var noWait bool
	now := &cobra.Command{
		Use: "now", Short: "Read the numbers of the accounts and their posts now", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			runs, err := api.SyncNow(ctx, account)
			if err != nil {
				return err
			}
			if !noWait {
				if runs, err = c.awaitRuns(ctx, api, runs); err != nil {
					return err
				}
			}
			if err := c.show(map[string]any{"runs": runs}, func() { c.runs(runs) }); err != nil {
				return err
			}
			for _, r := range runs {
				if r.State == "failed" {
					return &attentionError{fmt.Sprintf("%s: %s", r.Name, r.Reason)}
				}
			}
			for _, r := range runs {
				if r.State == "partial" {
					return &attentionError{fmt.Sprintf("%s: not all could be read; smi goes on by itself at %s", r.Name, at(r.Next, "UTC"))}
				}
			}
			return nil
		}),
	}
	now.Flags().StringVar(&account, "account", "", "only this account")
	now.Flags().BoolVar(&noWait, "no-wait", false, "start it and do not wait for its end")
	status := &cobra.Command{
		Use: "status", Short: "Show the latest reading of each account", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			runs, err := api.SyncStatus(ctx)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"runs": runs}, func() { c.runs(runs) })
		}),
	}
	return group("sync", "Read the numbers of posts and accounts", now, status)
}

// awaitRuns waits until runs are over and tells each end on standard error.
func (c *cli) awaitRuns(ctx context.Context, api *httpapi.Client, wanted []app.SyncRun) ([]app.SyncRun, error) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	told := map[social.ID]bool{}
	c.progress("reading the numbers of %d accounts …", len(wanted))
	var ids []social.ID
	for _, w := range wanted {
		ids = append(ids, w.ID)
	}
	for {
		all, err := api.SyncStatus(ctx, ids...)
		if err != nil {
			return nil, err
		}
		over := 0
		for _, r := range all {
			if !r.Over() {
				continue
			}
			over++
			if !told[r.ID] {
				told[r.ID] = true
				c.progress("%s: %s, %d numbers", r.Name, r.State, r.Values)
			}
		}
		if over == len(ids) {
			return all, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *cli) runs(runs []app.SyncRun) {
	rows := [][]string{{"ACCOUNT", "NIGHT", "STATE", "NUMBERS", "ENDED", "NOTE"}}
	for _, r := range runs {
		note := r.Reason
		if !r.Next.IsZero() {
			note = "goes on at " + at(r.Next, "UTC") + ": " + note
		}
		rows = append(rows, []string{r.Name, r.Date, r.State, fmt.Sprint(r.Values), at(r.Finished, "UTC"), note})
	}
	c.table(rows)
}

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"smi/internal/httpapi"
	"smi/internal/social"
)

func (c *cli) mediaCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add FILE...", Short: "Store pictures and videos for later posts", Args: cobra.MinimumNArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			out := []social.Media{}
			for _, path := range args {
				m, err := c.upload(ctx, api, path)
				if err != nil {
					return err
				}
				out = append(out, m)
			}
			return c.show(map[string]any{"media": out}, func() { c.media(out) })
		}),
	}
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "Show stored files, the latest first", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			all, err := api.ListMedia(ctx, limit)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"media": all}, func() { c.media(all) })
		}),
	}
	list.Flags().IntVar(&limit, "limit", 100, "how many, at most 500")
	return group("media", "Store pictures and videos", add, list)
}

func (c *cli) media(all []social.Media) {
	rows := [][]string{{"HASH", "KIND", "TYPE", "SIZE", "PIXELS", "NAME"}}
	for _, m := range all {
		rows = append(rows, []string{m.Hash, string(m.Kind), m.MIME, fmt.Sprintf("%d kB", (m.Bytes+999)/1000), fmt.Sprintf("%dx%d", m.Width, m.Height), clip(m.Name, 40)})
	}
	c.table(rows)
}

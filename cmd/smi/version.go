package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: runs(func(*cobra.Command, []string) error {
			return c.show(map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}, func() {
				c.say("smi %s (%s %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			})
		}),
	}
}

func (c *cli) openapiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Write the OpenAPI description of the daemon's API", Args: cobra.NoArgs,
		RunE: runs(func(*cobra.Command, []string) error {
			b, err := httpapi.New(httpapi.Config{App: app.New(app.Config{}), Version: version}).OpenAPI()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s\n", b)
			return err
		}),
	}
}

func (c *cli) networksCommand() *cobra.Command {
	return &cobra.Command{
		Use: "networks", Short: "Show the networks, what smi can do on each, and their limits", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			all, err := api.Capabilities(ctx)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"networks": all}, func() {
				rows := [][]string{{"NETWORK", "LOGIN", "TEXT", "PICTURES", "VIDEOS", "THREAD"}}
				for _, n := range all {
					l := n.Limits
					rows = append(rows, []string{string(n.Network), strings.Join(n.Ways, ", "), fmt.Sprintf("%d %s", l.Text.Max, l.Text.Unit), fmt.Sprint(l.Image.Max), fmt.Sprint(l.Video.Max), fmt.Sprint(l.Thread)})
				}
				c.table(rows)
			})
		}),
	}
}

package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"smi/connectors"
	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
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
		Use: "networks [NAME]", Short: "Show the networks, or what one of them takes and its own options", Args: cobra.MaximumNArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			all, err := api.Capabilities(ctx)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return c.showNetwork(all, args[0])
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

// decimal writes a size as networks do, in thousands.
func decimal(n int64) string {
	switch {
	case n >= 1e9:
		return strconv.FormatFloat(float64(n/1e8)/10, 'f', -1, 64) + " GB"
	case n >= 1e6:
		return strconv.FormatFloat(float64(n/1e5)/10, 'f', -1, 64) + " MB"
	}
	return fmt.Sprintf("%d kB", n/1e3)
}

// showNetwork shows one of the networks.
func (c *cli) showNetwork(all []app.Capability, name string) error {
	var names []string
	for _, n := range all {
		names = append(names, string(n.Network))
		if string(n.Network) != name {
			continue
		}
		return c.show(n, func() {
			l := n.Limits
			c.say("%s: %d %s of text, %d thread items, %d first comments", n.Title, l.Text.Max, l.Text.Unit, l.Thread, l.Comment)
			rows := [][]string{{"MEDIA", "AT MOST", "EACH", "TYPES"}}
			for _, k := range []social.MediaKind{social.Image, social.GIF, social.Video, social.Document} {
				if m := l.Of(k); m.Support != connectors.No {
					rows = append(rows, []string{string(k), fmt.Sprint(m.Max), decimal(m.Bytes), strings.Join(m.MIME, ", ")})
				}
			}
			if len(rows) > 1 {
				c.table(rows)
			}
			for _, o := range l.Options {
				values := ""
				if len(o.Values) > 0 {
					values = " (" + strings.Join(o.Values, ", ") + ")"
				}
				c.say("--option %s.%s%s: %s", n.Network, o.Key, values, o.Doc)
			}
		})
	}
	return social.Errorf(social.CodeNotFound, "NAME", "there is no network %q; choose among %s", name, strings.Join(names, ", "))
}

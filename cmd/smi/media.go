package main

import (
	"cmp"
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
	var account string
	transcode := &cobra.Command{
		Use: "transcode HASH", Short: "Make another video of a stored one, with ffmpeg", Args: cobra.ExactArgs(1),
		Long: "Makes an MP4 (H.264, AAC) of a stored video or animated GIF, small enough for the network of an account. Posts\n" +
			"on that network then use it by themselves, whenever the original does not fit; its hash can be used as well.\n" +
			"It may take as long as the video, and needs ffmpeg on the machine of the daemon.",
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			m, err := api.TranscodeMedia(ctx, args[0], account)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"media": m}, func() { c.media([]social.Media{m}) })
		}),
	}
	transcode.Flags().StringVar(&account, "account", "", "whose network is to take it (default: a form that nearly every network takes)")
	return group("media", "Store pictures and videos", add, list, transcode)
}

func (c *cli) media(all []social.Media) {
	rows := [][]string{{"HASH", "KIND", "TYPE", "SIZE", "PIXELS", "CODEC", "NAME"}}
	for _, m := range all {
		rows = append(rows, []string{m.Hash, string(m.Kind), m.MIME, fmt.Sprintf("%d kB", (m.Bytes+999)/1000), fmt.Sprintf("%dx%d", m.Width, m.Height), cmp.Or(m.Codec, "-"), clip(m.Name, 40)})
	}
	c.table(rows)
}

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"smi/internal/social"
)

func (c *cli) serveCommand() *cobra.Command {
	var demo demoOptions
	var isDemo bool
	var atMost time.Duration
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the daemon", Args: cobra.NoArgs,
		Long: "Runs the daemon in the foreground until it is told to stop (SIGTERM or Ctrl-C): it then finishes what is\n" +
			"being sent, for 90 seconds at most. SIGHUP reads the configuration anew.\n\n" +
			"With --demo it runs beside a simulated network, with accounts and posts of its own in a data folder of its\n" +
			"own. It needs no configuration, and touches no real network and no real data.",
		RunE: runs(func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if atMost > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, atMost)
				defer cancel()
			}
			if isDemo {
				return c.runDemo(ctx, demo)
			}
			if demo.exitAfterFirst || demo.dir != "" {
				return social.Errorf(social.CodeInvalid, "--demo", "--demo-exit-after-first and --demo-dir are for smi serve --demo")
			}
			d, err := newDaemon(ctx, daemonOptions{Load: c.load, Registry: c.registry, Version: version, Log: c.err})
			if err != nil {
				return err
			}
			defer d.reloadOn(ctx)()
			return d.run(ctx)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&isDemo, "demo", false, "run beside a simulated network, apart from real data")
	f.StringVar(&demo.dir, "demo-dir", "", "with --demo: keep the demo's data in this folder (default: a new one, removed in the end)")
	f.BoolVar(&demo.exitAfterFirst, "demo-exit-after-first", false, "with --demo: stop when the first post is published")
	f.DurationVar(&atMost, "for", 0, "stop by itself after this time, such as 60s")
	return cmd
}

// reloadOn reads the configuration anew at each SIGHUP. The returned function
// ends that.
func (d *daemon) reloadOn(ctx context.Context) func() {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hup:
				d.reload(ctx) //nolint:errcheck // it is in the log
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		cancel()
		<-done
	}
}

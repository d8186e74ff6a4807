package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

// adoptWord is what a person types to adopt an instance.
const adoptWord = "adopt"

func (c *cli) adoptCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "adopt", Short: "Say that this is the live smi, which ends its quarantine",
		Long: "smi is in quarantine when it may be a copy: after smi restore, on another machine, with an older\n" +
			"database than it had. Nothing is sent then. smi adopt says that this smi is the one to publish, and\n" +
			"that no other one does. Before anything is sent, every post that was due since the gap began is looked\n" +
			"up on its network: what is there is taken up, and about the rest you are asked.",
		Args: noWords("it needs no name; add --yes where nobody can be asked"),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			q, err := api.Quarantine(ctx)
			if err != nil {
				return err
			}
			if q.Phase != social.Quarantined {
				return social.Errorf(social.CodeConflict, "", "there is nothing to adopt: %s", app.QuarantineText(q))
			}
			if !yes {
				if err := c.confirmAdopt(q); err != nil {
					return err
				}
			}
			r, err := api.Adopt(ctx)
			if err != nil {
				return err
			}
			return c.show(r, func() { c.say("%s", r.Text) })
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask: no other smi publishes to these accounts")
	return cmd
}

// confirmAdopt says what will happen and waits for the word.
func (c *cli) confirmAdopt(q social.Quarantine) error {
	c.progress("%s", q.Reason)
	c.progress("If another smi still publishes to these accounts, stop here: two would publish everything twice, and their")
	c.progress("logins would end each other. When you adopt this one:")
	c.progress("  - logins are renewed from here; those of the other smi may end")
	c.progress("  - %d posts that were due since %s are looked up on their networks before anything is sent;", q.Gap.Pending, at(q.From, "UTC"))
	c.progress("    what is there is taken up, and about each of the rest you are asked: none of them is sent without your word")
	c.progress("  - posts planned for later go out at their time")
	if !c.terminal() {
		return social.Errorf(social.CodeInvalid, "--yes", "nobody can be asked here; add --yes if no other smi publishes to these accounts")
	}
	fmt.Fprintf(c.err, "Type %s to go on: ", adoptWord) //nolint:errcheck // nobody is left to tell
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != adoptWord {
		return social.Errorf(social.CodeConflict, "", "nothing was changed")
	}
	return nil
}

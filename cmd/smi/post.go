package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

func (c *cli) postCommand() *cobra.Command {
	return group("post", "Plan posts and see what became of them", c.postCreate(), c.postList(), c.postShow(), c.postEdit(), c.postCancel(), c.postRetry())
}

// planFlags are the flags that say when.
type planFlags struct{ plan app.PlanInput }

func (p *planFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.plan.At, "at", "", "planned time, such as 2026-11-24T09:00 in --zone, or with an offset")
	f.StringVar(&p.plan.Zone, "zone", "", "time zone of --at, such as Europe/Berlin (default: the workspace's)")
	f.StringVar(&p.plan.In, "in", "", "planned time from now, such as 10m or 2h30m")
	f.BoolVar(&p.plan.Now, "now", false, "publish as soon as possible")
	cmd.MarkFlagsMutuallyExclusive("at", "in", "now")
}

func (p *planFlags) given() bool { return p.plan.At != "" || p.plan.In != "" || p.plan.Now }

func (c *cli) postCreate() *cobra.Command {
	var in app.PostInput
	var d drafting
	var when planFlags
	var textFor []string
	var file, key, late string
	var wait bool
	var atMost time.Duration
	cmd := &cobra.Command{
		Use: "create", Short: "Plan a post on one or more accounts", Args: noWords("the text of a post goes into --text, in quotes"),
		Long: "Plans a post. --media, --alt, --link and --lang belong to the part begun last: the body (--text), the next\n" +
			"item of a thread (--thread) or a first comment (--comment).",
		Example: `  smi post create --account alice.example.org --text "We are open" --media shop.jpg --alt "The shop" --at 2026-11-24T09:00
  smi post create --account alice --account bob --text "For all" --text-for bob="For bob" --in 10m
  smi post create --account alice --text "1/2" --thread "2/2" --now --wait
  smi post create --file post.yaml`,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			var err error
			if file != "" {
				if len(d.parts) > 0 || len(textFor) > 0 {
					return social.Errorf(social.CodeInvalid, "--file", "the file holds the whole post; leave --text, --thread, --comment and --text-for out")
				}
				from, err := c.readPost(ctx, api, file)
				if err != nil {
					return err
				}
				from.Accounts = append(from.Accounts, in.Accounts...)
				from.Tags = append(from.Tags, in.Tags...)
				from.AllowRepeat = from.AllowRepeat || in.AllowRepeat
				from.CheckOnly = in.CheckOnly
				from.NotAfter = cmp.Or(in.NotAfter, from.NotAfter)
				in = from
			} else if in.Parts, err = d.build(ctx, c, api); err != nil {
				return err
			}
			if when.given() || file == "" {
				in.Plan = when.plan
			}
			in.LatePolicy = social.LatePolicy(cmp.Or(late, string(in.LatePolicy)))
			for _, t := range textFor {
				name, text, ok := strings.Cut(t, "=")
				if !ok {
					return social.Errorf(social.CodeInvalid, "--text-for", "write it as ACCOUNT=TEXT, not %q", t)
				}
				in.Overrides = append(in.Overrides, app.Override{Account: name, Text: &text})
			}
			created, err := api.CreatePost(ctx, in, key)
			if err != nil && file == "" && !c.json {
				return d.byFlags(err)
			}
			if err != nil {
				return err
			}
			return c.created(ctx, api, created, wait && !in.CheckOnly, atMost)
		}),
	}
	f := cmd.Flags()
	f.StringArrayVar(&in.Accounts, "account", nil, "account by id, handle or network/handle (repeat for more)")
	f.Var(word{"text", d.text}, "text", "text of the body")
	f.Var(word{"text", d.part(social.RoleThread)}, "thread", "text of the next item of a thread (repeat for more)")
	f.Var(word{"text", d.part(social.RoleComment)}, "comment", "text of a first comment under the post")
	f.Var(word{"file", d.media}, "media", "picture or video for the part begun last (repeat for more)")
	f.Var(word{"text", d.alt}, "alt", "what the --media before it shows, for people who cannot see it")
	f.Var(word{"url", d.link}, "link", "link card for the part begun last")
	f.Var(word{"lang", d.lang}, "lang", "language of the part begun last, such as en or de")
	f.Var(word{"name=value", d.option}, "option", "a network's own option for the part begun last; smi networks NAME lists them (repeat for more)")
	f.StringArrayVar(&textFor, "text-for", nil, "another text for one account: ACCOUNT=TEXT")
	f.StringArrayVar(&in.Tags, "tag", nil, "tag, for lists and figures (repeat for more)")
	f.StringVar(&late, "late", "", "if more than the grace time late: ask, publish or skip (default: ask)")
	f.StringVar(&in.NotAfter, "not-after", "", "never publish after this time")
	f.BoolVar(&in.AllowRepeat, "allow-repeat", false, "the same text may appear twice on an account within 24 hours")
	f.BoolVar(&in.CheckOnly, "check", false, "say what is wrong and plan nothing")
	f.StringVar(&file, "file", "", "read the post from a YAML or JSON file (- for standard input)")
	f.StringVar(&key, "key", "", "idempotency key: the same key plans once, however often it is sent")
	f.BoolVar(&wait, "wait", false, "wait until it is published or needs a person")
	f.DurationVar(&atMost, "wait-at-most", 24*time.Hour, "how long --wait waits")
	when.register(cmd)
	return cmd
}

// created shows a planned post and, if wanted, waits for its end.
func (c *cli) created(ctx context.Context, api *httpapi.Client, created app.Created, wait bool, atMost time.Duration) error {
	for _, n := range created.Notes {
		c.progress("note: %s", n)
	}
	for _, f := range created.Findings {
		c.progress("note: %s", f)
	}
	if !wait {
		return c.show(created, func() {
			p := created.Post
			if p.ID == 0 {
				c.say("this post could be planned for %s", at(p.Planned.UTC, p.Planned.Zone))
				return
			}
			c.say("planned %s for %s", p.ID, at(p.Planned.UTC, p.Planned.Zone))
			for _, d := range p.Deliveries {
				c.say("  on %s", d.AccountName)
			}
		})
	}
	c.progress("planned %s for %s; waiting …", created.Post.ID, at(created.Post.Planned.UTC, created.Post.Planned.Zone))
	post, err := c.await(ctx, api, created.Post.ID.String(), atMost)
	if err != nil {
		return err
	}
	if err := c.show(post, func() { c.deliveries(post) }); err != nil {
		return err
	}
	return notWell(post)
}

// await waits until a post rests, and tells each change on standard error.
func (c *cli) await(ctx context.Context, api *httpapi.Client, id string, atMost time.Duration) (app.Post, error) {
	end := time.Now().Add(atMost)
	told := map[social.ID]social.DeliveryState{}
	for {
		post, err := api.Post(ctx, id, min(time.Until(end), 20*time.Second))
		if ctx.Err() != nil {
			return post, &stoppedError{fmt.Sprintf("stopped waiting; the post stays planned (%s), see: smi post show %s", id, id), ctx.Err()}
		}
		if err != nil {
			return post, err
		}
		resting := true
		for _, d := range post.Deliveries {
			resting = resting && d.Resting()
			if told[d.ID] != d.State && told[d.ID] != "" && !d.Resting() {
				c.progress("%s: %s %s%s", d.AccountName, d.State, d.Reason, nextTry(d, post.Planned.Zone))
			}
			told[d.ID] = d.State
		}
		if resting || time.Now().After(end) {
			return post, nil
		}
	}
}

// notWell is the error for a post that was waited for and is not published
// everywhere.
func notWell(p app.Post) error {
	for _, d := range p.Deliveries {
		if d.State == social.Published {
			continue
		}
		text := fmt.Sprintf("%s is %s: %s", d.AccountName, d.State, cmp.Or(d.Reason, "not published"))
		if !d.Resting() {
			text = fmt.Sprintf("%s is still %s: %s%s; go on waiting with: smi post show %s --wait", d.AccountName, d.State,
				strings.TrimRight(cmp.Or(d.Reason, "not published yet"), ". "), nextTry(d, p.Planned.Zone), p.ID)
		}
		return &attentionError{text}
	}
	return nil
}

func (c *cli) postList() *cobra.Command {
	var q app.PostQuery
	var states []string
	var from, to, zone string
	cmd := &cobra.Command{
		Use: "list", Short: "Show posts by planned time, the latest first", Args: cobra.NoArgs,
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, _ []string) error {
			for _, s := range states {
				q.States = append(q.States, social.DeliveryState(s))
			}
			for _, b := range []struct {
				flag, text string
				to         *time.Time
			}{{"--from", from, &q.From}, {"--to", to, &q.To}} {
				if b.text == "" {
					continue
				}
				w, err := social.Plan(b.text, cmp.Or(zone, "UTC"))
				if err != nil {
					return social.Errorf(social.CodeInvalid, b.flag, "%s", planText(err))
				}
				*b.to = w.UTC
			}
			list, err := api.ListPosts(ctx, q)
			if err != nil {
				return err
			}
			return c.show(list, func() {
				if len(list.Posts) == 0 {
					c.progress("no posts")
					return
				}
				rows := [][]string{{"ID", "PLANNED", "STATUS", "ACCOUNTS", "TEXT"}}
				for _, p := range list.Posts {
					var names []string
					for _, d := range p.Deliveries {
						names = append(names, d.AccountName)
					}
					text := ""
					if len(p.Parts) > 0 {
						text = p.Parts[0].Text
					}
					rows = append(rows, []string{p.ID.String(), at(p.Planned.UTC, p.Planned.Zone), listed(p), clip(strings.Join(names, ","), 40), clip(text, 50)})
				}
				c.table(rows)
				if list.Next != "" {
					c.say("more with: --after %s", list.Next)
				}
			})
		}),
	}
	f := cmd.Flags()
	f.StringVar(&q.Account, "account", "", "only posts on this account")
	f.StringSliceVar(&states, "state", nil, "only posts with a delivery in this state, such as scheduled, waiting, publishing or attention")
	f.StringVar(&q.Tag, "tag", "", "only posts with this tag")
	f.StringVar(&from, "from", "", "planned then or later")
	f.StringVar(&to, "to", "", "planned before")
	f.StringVar(&zone, "zone", "", "time zone of --from and --to (default: UTC)")
	f.BoolVar(&q.Ascending, "ascending", false, "the earliest first")
	f.StringVar(&q.After, "after", "", "the next page, as the page before said")
	f.IntVar(&q.Limit, "limit", 0, "posts on a page, at most 200 (default: 50)")
	return cmd
}

// planText is the sentence of an error of social.Plan.
func planText(err error) string {
	if e, ok := errors.AsType[*social.Error](err); ok {
		return e.Text
	}
	return err.Error()
}

func (c *cli) postShow() *cobra.Command {
	var wait bool
	var atMost time.Duration
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a post, its deliveries and every attempt with its evidence", Args: cobra.ExactArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			var p app.Post
			var err error
			if wait {
				p, err = c.await(ctx, api, args[0], atMost)
			} else {
				p, err = api.Post(ctx, args[0], 0)
			}
			if err != nil {
				return err
			}
			if err := c.show(p, func() { c.post(p) }); err != nil || !wait {
				return err
			}
			return notWell(p)
		}),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is published or needs a person")
	cmd.Flags().DurationVar(&atMost, "wait-at-most", 24*time.Hour, "how long --wait waits")
	return cmd
}

func (c *cli) postEdit() *cobra.Command {
	var d drafting
	var when planFlags
	var tags, textFor []string
	var allowRepeat bool
	cmd := &cobra.Command{
		Use: "edit ID", Short: "Change text, media, tags or time of what has not been sent", Args: cobra.ExactArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			p, err := api.Post(ctx, args[0], 0)
			if err != nil {
				return err
			}
			in := app.EditInput{Rev: p.Rev, AllowRepeat: allowRepeat}
			if in.Parts, err = d.build(ctx, c, api); err != nil {
				return err
			}
			for _, t := range textFor {
				name, text, ok := strings.Cut(t, "=")
				if !ok {
					return social.Errorf(social.CodeInvalid, "--text-for", "write it as ACCOUNT=TEXT, not %q", t)
				}
				in.Overrides = append(in.Overrides, app.Override{Account: name, Text: &text})
			}
			if when.given() {
				in.Plan = &when.plan
			}
			if len(tags) > 0 {
				in.Tags = &tags
			}
			created, err := api.EditPost(ctx, p.ID.String(), in)
			if err != nil {
				return err
			}
			return c.created(ctx, api, created, false, 0)
		}),
	}
	f := cmd.Flags()
	f.Var(word{"text", d.text}, "text", "text of the body; with it all parts are given anew")
	f.Var(word{"text", d.part(social.RoleThread)}, "thread", "text of the next item of a thread")
	f.Var(word{"text", d.part(social.RoleComment)}, "comment", "text of a first comment")
	f.Var(word{"file", d.media}, "media", "picture or video for the part begun last")
	f.Var(word{"text", d.alt}, "alt", "what the --media before it shows")
	f.Var(word{"url", d.link}, "link", "link card for the part begun last")
	f.Var(word{"lang", d.lang}, "lang", "language of the part begun last")
	f.Var(word{"name=value", d.option}, "option", "a network's own option for the part begun last")
	f.StringArrayVar(&textFor, "text-for", nil, "another text for one account: ACCOUNT=TEXT")
	f.StringArrayVar(&tags, "tag", nil, "tags, instead of the former ones")
	f.BoolVar(&allowRepeat, "allow-repeat", false, "the same text may appear twice on an account within 24 hours")
	when.register(cmd)
	return cmd
}

func (c *cli) postCancel() *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Stop a post, or its delivery on one account, if it has not been sent", Args: cobra.ExactArgs(1),
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			r, err := api.CancelPost(ctx, args[0], account)
			if err != nil {
				return err
			}
			return c.show(r, func() {
				if r.Before > 0 && r.Before == r.Cancelled {
					c.say("this was cancelled before; it will certainly not be published")
					return
				}
				c.say("cancelled %d of %d; they will certainly not be published", r.Cancelled, len(r.Post.Deliveries))
				for _, n := range r.Notes {
					c.say("note: %s", n)
				}
			})
		}),
	}
	cmd.Flags().StringVar(&account, "account", "", "only the delivery on this account")
	return cmd
}

func (c *cli) postRetry() *cobra.Command {
	var in app.Decision
	var when planFlags
	var found string
	var resend, drop, publish, skip bool
	cmd := &cobra.Command{
		Use: "retry ID", Short: "Decide about a delivery that does not go on by itself", Args: cobra.ExactArgs(1),
		Long: "Decides about one delivery:\n\n" +
			"  outcome unknown (needs_human): --found URL, --resend or --drop; look on the network first\n" +
			"  held because it is late (held_late): --publish, --skip, or another time\n" +
			"  failed or skipped: planned again, for now or for --at or --in\n\n" +
			"Without a flag only what failed or was skipped is published again; the others need your word.",
		RunE: c.calls(func(ctx context.Context, api *httpapi.Client, args []string) error {
			switch {
			case found != "":
				in.Answer, in.Ref = "found", found
			case resend:
				in.Answer = "resend"
			case drop:
				in.Answer = "drop"
			case publish:
				in.Answer = "publish"
			case skip:
				in.Answer = "skip"
			case when.given():
				in.Answer, in.Plan = "plan", &when.plan
			}
			p, err := api.Decide(ctx, args[0], in)
			if err != nil {
				return unanswered(err)
			}
			return c.show(p, func() { c.decided(p) })
		}),
	}
	f := cmd.Flags()
	f.StringVar(&in.Account, "account", "", "the delivery on this account")
	f.StringVar(&found, "found", "", "it is there: its address or id on the network")
	f.BoolVar(&resend, "resend", false, "it is not there: send it again")
	f.BoolVar(&drop, "drop", false, "do nothing more about it")
	f.BoolVar(&publish, "publish", false, "publish it now although it is late")
	f.BoolVar(&skip, "skip", false, "skip it")
	f.BoolVar(&in.Force, "force", false, "with --found: take it although its text differs")
	when.register(cmd)
	cmd.MarkFlagsMutuallyExclusive("found", "resend", "drop", "publish", "skip", "at", "in", "now")
	return cmd
}

// unanswered names the flags where a decision lacks its answer.
func unanswered(err error) error {
	p, ok := errors.AsType[*httpapi.Problem](err)
	if !ok || p.Code != social.CodeInvalid || p.Field != "answer" {
		return err
	}
	detail := p.Detail
	if trouble, _, ok := strings.Cut(detail, "; "); ok {
		detail = trouble
	}
	switch {
	case strings.Contains(p.Detail, "resend"):
		p.Detail = detail + "; look there, then give --found URL, --resend or --drop"
	default:
		p.Detail = detail + "; give --publish, --skip, or another time with --at or --in"
	}
	p.Field, p.Errors = "", nil
	return p
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// ProbeRows is what a Prober needs of the store.
type ProbeRows interface {
	UpdateProfile(ctx context.Context, workspace, id social.ID, p social.Profile) error
	Probes(ctx context.Context, now time.Time, limit int) ([]social.Probe, error)
	BeginProbe(ctx context.Context, account social.ID, now time.Time) (bool, error)
	EndProbe(ctx context.Context, a social.Account, said string, told bool, n *scheduler.Notice, now time.Time) error
}

// Prober tries the logins of accounts a day and an hour before their posts, so
// that one that died in silence is known before it is needed.
type Prober struct {
	Rows    ProbeRows
	Clients func(context.Context, social.Account) (*connectors.Client, error)
	Now     func() time.Time
	Log     *slog.Logger
}

// The most logins that are tried at a time, and in one run; the next run is soon.
const (
	probesAtOnce = 4
	probesMost   = 200
	probeTime    = 30 * time.Second
)

// The kinds of notices about logins that were tried.
const (
	noticeLoginDead   = "account_login_dead"
	noticeUnreachable = "account_not_reached"
	noticeLoginWorks  = "account_fine_again"
)

// notReached begins what is kept of a try that no network answered.
const notReached = "not reached: "

// Run tries what is due. One login that does not work keeps no other from it.
func (p *Prober) Run(ctx context.Context) error {
	due, err := p.Rows.Probes(ctx, p.Now(), probesMost)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(probesAtOnce)
	for _, probe := range due {
		g.Go(func() error { return p.try(ctx, probe) })
	}
	return g.Wait()
}

func (p *Prober) try(ctx context.Context, probe social.Probe) error {
	mine, err := p.Rows.BeginProbe(ctx, probe.Account.ID, p.Now())
	if err != nil || !mine {
		return err
	}
	call, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	client, err := p.Clients(call, probe.Account)
	if err == nil {
		var who social.Profile
		if who, err = client.Identity(call); err == nil && len(who.Server) > 0 {
			if err := p.Rows.UpdateProfile(ctx, probe.Account.WorkspaceID, probe.Account.ID, who); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := p.Now()
	said, told, n := verdict(probe, err)
	if err != nil {
		p.Log.Warn("a login was tried before its posts, and does not work", "account", AccountName(probe.Account), "err", err)
	}
	return p.Rows.EndProbe(ctx, probe.Account, said, told, n, now)
}

// verdict says what a try means: what is kept of it, whether people know, and
// what they are told, if anything.
func verdict(p social.Probe, err error) (said string, told bool, n *scheduler.Notice) {
	who := AccountName(p.Account)
	posts := fmt.Sprintf("%d posts are planned for it within a day, the first for", p.Posts)
	if p.Posts == 1 {
		posts = "1 post is planned for it within a day, for"
	}
	posts += " " + p.First.UTC().Format("15:04 UTC on 2 January")
	notice := func(kind, severity, text string) *scheduler.Notice {
		return &scheduler.Notice{Kind: kind, Severity: severity, Account: p.Account.ID, Text: text}
	}
	if err == nil {
		if p.Told {
			n = notice(noticeLoginWorks, "info", fmt.Sprintf("The login of %s works again.", who))
		}
		return "", false, n
	}
	e := connectors.AsError(err)
	said = strings.TrimSuffix(e.Text, ".")
	if said == "" {
		said = "the network said " + string(e.Kind)
	}
	if errors.Is(err, connectors.ErrFrozen) {
		return said, p.Told, nil
	}
	switch e.Kind {
	case connectors.AuthExpired, connectors.Permission, connectors.Permanent:
		if !p.Told || strings.HasPrefix(p.Said, notReached) {
			n = notice(noticeLoginDead, "alarm", fmt.Sprintf("The login of %s does not work: %s. %s. Connect it again before, with: smi accounts reconnect %s", who, said, posts, who))
		}
		return said, true, n
	case connectors.RateLimited: // it answers
		return said, p.Told, nil
	default:
	}
	if p.Told && !strings.HasPrefix(p.Said, notReached) {
		return p.Said, true, nil
	}
	if p.Near && !p.Told {
		n = notice(noticeUnreachable, "warning", fmt.Sprintf("Whether the login of %s works could not be tried: %s. %s. smi tries to publish all the same.", who, said, posts))
	}
	return notReached + said, p.Told || n != nil, n
}

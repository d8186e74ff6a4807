package main

import (
	"context"
	"fmt"
	"time"

	"smi/config"
	"smi/internal/app"
	"smi/internal/netguard"
	"smi/internal/notify"
)

// openTelling makes the sender of notices.
func (d *daemon) openTelling(cfg *config.Config, version string) error {
	plan, err := d.planOf(cfg, version)
	if err != nil {
		return err
	}
	d.notices = notify.New(notify.Config{Outbox: d.store, Node: d.node, Version: version, Now: d.now, Log: d.log, Redact: d.redactor.Text}, plan)
	return nil
}

// planOf makes the channels of a configuration. Their secrets are kept out of
// the log.
func (d *daemon) planOf(cfg *config.Config, version string) (notify.Plan, error) {
	guard, err := netguard.New(netguard.Options{AllowPrivate: cfg.AllowPrivate})
	if err != nil {
		return notify.Plan{}, err
	}
	n := cfg.Notify
	for _, s := range []config.Secret{n.Mail.Password, n.Webhook.URL, n.Webhook.Secret, n.Webhook.OldSecret, cfg.Deadman.URL, cfg.Deadman.FailURL, cfg.Monitor.Token} {
		if !s.Empty() {
			d.redactor.Add(s.Reveal())
		}
	}
	p := notify.Plan{
		Channels: map[string]notify.Channel{},
		Routes:   map[string][]string{notify.Alarm: n.Alarm, notify.Warning: n.Warning, notify.Info: n.Info},
	}
	if m := n.Mail; m.Host != "" {
		p.Channels["mail"] = &notify.Mail{
			Host: m.Host, Port: m.Port, TLS: m.TLS, Username: m.Username, Password: m.Password, From: m.From, To: m.To, Now: d.now,
		}
	}
	if w := n.Webhook; !w.URL.Empty() {
		p.Channels["webhook"] = &notify.Webhook{
			URL: w.URL, Secrets: []config.Secret{w.Secret, w.OldSecret}, Client: notify.Client(guard.DialContext), Now: d.now, Version: version,
		}
	}
	if e := n.Exec; len(e.Command) > 0 {
		p.Channels["exec"] = &notify.Exec{Command: e.Command, Timeout: e.Timeout}
	}
	return p, nil
}

// telling is how people are told, as the app shows and tests it.
type telling struct{ d *daemon }

var _ app.Telling = telling{}

// State implements app.Telling.
func (t telling) State(ctx context.Context) (app.TellingState, error) {
	backlog, err := t.d.store.Backlog(ctx)
	if err != nil {
		return app.TellingState{}, err
	}
	s := app.TellingState{Backlog: backlog, Channels: t.d.notices.Health(), Alarms: t.d.notices.Routes(notify.Alarm)}
	if s.Alarms == nil {
		s.Alarms = []string{}
	}
	s.Trouble = tellingTrouble(s, t.d.now())
	return s, nil
}

// Test implements app.Telling.
func (t telling) Test(ctx context.Context, channel string) error {
	return t.d.notices.Test(ctx, channel)
}

// alarmTime is within how long an alarm is out, or it is said that it is not.
const alarmTime = 2 * time.Minute

// tellingTrouble says what is wrong with telling people, "" if nothing is.
func tellingTrouble(s app.TellingState, now time.Time) string {
	var down []string
	for _, c := range s.Channels {
		if c.State == notify.Down {
			down = append(down, fmt.Sprintf("%s (%s)", c.Channel, c.Error))
		}
	}
	switch {
	case s.Backlog.Alarms > 0 && now.Sub(s.Backlog.OldestAlarm) >= alarmTime:
		text := fmt.Sprintf("NOBODY WAS TOLD: %d alarms since %s could not be sent by any channel; read them with smi notices", s.Backlog.Alarms, s.Backlog.OldestAlarm.UTC().Format(time.RFC3339))
		if len(down) > 0 {
			text += fmt.Sprintf(", and repair %v", down)
		}
		return text
	case len(down) > 0:
		return fmt.Sprintf("notices do not get through by %v; what is meant for it goes by the next channel, if there is one. Try it with smi notices test CHANNEL", down)
	}
	return ""
}

// checkNotices is the question of doctor about them.
func (d *daemon) checkNotices(ctx context.Context) app.CheckResult {
	s, err := telling{d}.State(ctx)
	switch {
	case err != nil:
		return broken("the notices cannot be read: %v", err)
	case s.Trouble != "" && s.Backlog.Alarms > 0:
		return broken("%s", s.Trouble)
	case s.Trouble != "":
		return warn("%s", s.Trouble)
	case len(s.Alarms) == 0:
		return warn("alarms reach nobody who does not look at smi notices; set up notify.mail, notify.webhook or notify.exec")
	}
	return fine("alarms go to %v in this order; %d notices wait to be sent", s.Alarms, s.Backlog.Unsent)
}

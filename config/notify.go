package config

import (
	"net/mail"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"smi/internal/social"
)

// Notify is how people are told when they are not looking.
type Notify struct {
	Alarm   []string `yaml:"alarm" default:"[mail, webhook, exec]" enum:"mail,webhook,exec" doc:"Channels for what needs somebody now, in the order in which they are tried: the first that takes it is enough, the others are for when it does not work. Channels that are not set up below are passed over."`
	Warning []string `yaml:"warning" default:"[mail, webhook, exec]" enum:"mail,webhook,exec" doc:"The same for what should be looked at."`
	Info    []string `yaml:"info" default:"[]" enum:"mail,webhook,exec" doc:"The same for what is good to know."`
	Mail    Mail     `yaml:"mail" doc:"Notices by mail."`
	Webhook Webhook  `yaml:"webhook" doc:"Notices as signed JSON to an address."`
	Exec    Exec     `yaml:"exec" doc:"Notices as JSON to a program on this machine."`
}

// Mail is notices by mail.
type Mail struct {
	Host     string   `yaml:"host" doc:"Mail server that takes mail from smi, such as smtp.example.org. Empty: no mail."`
	Port     int      `yaml:"port" default:"587" min:"1" max:"65535" doc:"Its port: 587 for starttls, 465 for tls, 25 on the own machine."`
	TLS      string   `yaml:"tls" default:"starttls" enum:"starttls,tls,none" doc:"How the connection is encrypted. none only to a server on this machine."`
	Username string   `yaml:"username" doc:"User at the mail server. Empty: it asks for none."`
	Password Secret   `yaml:"password" doc:"Password of the user."`
	From     string   `yaml:"from" doc:"Sender, such as smi@example.org. Needed with host."`
	To       []string `yaml:"to" default:"[]" doc:"Receivers. At least one is needed with host."`
}

// Check refuses what could not be sent, and passwords in the clear.
func (m *Mail) Check() error {
	bad := func(field, format string, args ...any) error {
		return social.Errorf(social.CodeInvalid, field, format, args...)
	}
	if m.Host == "" {
		if m.From != "" || len(m.To) > 0 || m.Username != "" {
			return bad("host", "is missing; name the mail server, or remove the section to send no mail")
		}
		return nil
	}
	if strings.ContainsAny(m.Host, ":/@ ") && hostOf(m.Host) == m.Host {
		return bad("host", "%s is no name of a server; the port has a setting of its own", quoted(m.Host))
	}
	if m.TLS == "none" && !loopback(m.Host) {
		return bad("tls", "without TLS everybody on the way can read the notices; use starttls or tls, or a mail server on this machine")
	}
	if (m.Username == "") != m.Password.Empty() {
		return bad("username", "user and password belong together; give both username and password_file, or none")
	}
	if a, err := mail.ParseAddress(m.From); err != nil || a.Address == "" {
		return bad("from", "expected a mail address such as smi@example.org, got %s", quoted(m.From))
	}
	if len(m.To) == 0 {
		return bad("to", "is empty; name who gets the notices, such as [you@example.org]")
	}
	for _, to := range m.To {
		if _, err := mail.ParseAddress(to); err != nil {
			return bad("to", "expected a mail address such as you@example.org, got %s", quoted(to))
		}
	}
	return nil
}

// Webhook is notices to an address.
type Webhook struct {
	URL       Secret `yaml:"url" doc:"Address that takes the notices by POST, such as https://example.org/hook. It is kept like a secret because such addresses often hold one. Without it there is no webhook. An address on this machine or in a private network must also be in allow_private."`
	Secret    Secret `yaml:"secret" doc:"Signs what is sent (the header Smi-Signature). Needed with url."`
	OldSecret Secret `yaml:"old_secret" doc:"Signs besides, while the receiver is moved from one secret to the next."`
}

// minWebhookSecret is the shortest secret that cannot be guessed.
const minWebhookSecret = 16

// Check wants an address and a secret that deserves its name.
func (w *Webhook) Check() error {
	if w.URL.Empty() {
		if !w.Secret.Empty() || !w.OldSecret.Empty() {
			return social.Errorf(social.CodeInvalid, "url", "is missing; add url_file or url_env, or remove the section to have no webhook")
		}
		return nil
	}
	if err := secretURL(w.URL); err != nil {
		return err
	}
	if len(w.Secret.Reveal()) < minWebhookSecret {
		return social.Errorf(social.CodeInvalid, "secret", "needs %d characters or more, so that nobody can send notices in smi's name; make one with: openssl rand -hex 32", minWebhookSecret)
	}
	return nil
}

// secretURL checks an address without repeating it.
func secretURL(s Secret) error {
	u, err := url.Parse(s.Reveal())
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return social.Errorf(social.CodeInvalid, "url", "what is there is no address such as https://example.org/hook")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return social.Errorf(social.CodeInvalid, "url", "without TLS everybody on the way can read it; the address must begin with https://")
	case u.User != nil:
		return social.Errorf(social.CodeInvalid, "url", "a user and a password in the address are not supported; use one without")
	}
	return nil
}

// Exec is notices to a program.
type Exec struct {
	Command []string      `yaml:"command" default:"[]" doc:"Program with its arguments, such as [/usr/local/bin/page-me, --team, social]. It gets the notice as JSON on its standard input; there is no shell. Empty: none."`
	Timeout time.Duration `yaml:"timeout" default:"10s" min:"1s" max:"19s" doc:"How long the program may take before it is killed and the next channel has its turn."`
}

// Check wants a program by its full path: which one runs must not depend on
// where smi was started.
func (e *Exec) Check() error {
	if len(e.Command) > 0 && !filepath.IsAbs(e.Command[0]) {
		return social.Errorf(social.CodeInvalid, "command", "write the whole path of the program, such as /usr/local/bin/page-me, instead of %s", quoted(e.Command[0]))
	}
	return nil
}

// Deadman tells a watcher outside that all is well.
type Deadman struct {
	URL     Secret        `yaml:"url" doc:"Address of a watcher elsewhere that raises an alarm when it hears nothing for a while. It is asked with GET while smi publishes and can write down what it does, and left alone otherwise. Without it nobody is called."`
	FailURL Secret        `yaml:"fail_url" doc:"Address that is asked instead while something is wrong, for watchers that want to be told. Optional."`
	Every   time.Duration `yaml:"every" default:"1m" min:"10s" max:"1h" doc:"How often."`
}

// Check wants addresses.
func (d *Deadman) Check() error {
	if d.URL.Empty() {
		if !d.FailURL.Empty() {
			return social.Errorf(social.CodeInvalid, "url", "is missing; add url_file or url_env besides the address for failures")
		}
		return nil
	}
	if err := secretURL(d.URL); err != nil {
		return err
	}
	if d.FailURL.Empty() {
		return nil
	}
	if err := secretURL(d.FailURL); err != nil {
		return social.Errorf(social.CodeInvalid, "fail_url", "what is there is no address that can be used; it must be like that of url")
	}
	return nil
}

// Monitor is the door for monitoring.
type Monitor struct {
	Listen string `yaml:"listen" kind:"listen" reload:"restart" doc:"Address on which /healthz, /readyz and /metrics are served, such as 127.0.0.1:9464. Empty: on none."`
	Token  Secret `yaml:"token" reload:"restart" doc:"Who asks must send it: Authorization: Bearer TOKEN. Needed if listen is not an address of this machine alone."`
}

// Check closes the door to strangers.
func (m *Monitor) Check() error {
	if m.Listen == "" || loopback(hostOf(m.Listen)) {
		return nil
	}
	if len(m.Token.Reveal()) < minWebhookSecret {
		return social.Errorf(social.CodeInvalid, "token", "%s can be reached from other machines; add token_file with a token of %d characters or more, or listen on 127.0.0.1", m.Listen, minWebhookSecret)
	}
	return nil
}

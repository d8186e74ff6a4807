package notify

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/wneessen/go-mail"

	"smi/internal/social"
)

// How a mail server is spoken to.
const (
	StartTLS = "starttls" // begins in plain and must go over to TLS
	TLS      = "tls"      // from the first byte
	Plain    = "none"     // never; for a server on this machine
)

// Mail sends messages as text by a mail server.
type Mail struct {
	Host     string
	Port     int
	TLS      string
	Username string
	Password social.Secret
	From     string
	To       []string
	Now      func() time.Time
	// Config is that of TLS; nil means the system's authorities and the host's name.
	Config *tls.Config
}

// Send implements Channel. The server has taken the message when it said so
// after the text.
func (m *Mail) Send(ctx context.Context, msg Message) error {
	out, err := m.compose(msg)
	if err != nil {
		return err
	}
	opts := []mail.Option{mail.WithPort(m.Port), mail.WithTimeout(sendTime), mail.WithDialContextFunc(dialUntil(ctx)), mail.WithoutNoop()}
	config := m.Config
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: m.Host}
	}
	opts = append(opts, mail.WithTLSConfig(config))
	switch m.TLS {
	case TLS:
		opts = append(opts, mail.WithSSL(), mail.WithDialContextFunc(dialTLS(ctx, config)))
	case Plain:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.Username != "" {
		kind := mail.SMTPAuthAutoDiscover
		if m.TLS == Plain {
			kind = mail.SMTPAuthPlainNoEnc // the configuration allows that on this machine only
		}
		opts = append(opts, mail.WithSMTPAuth(kind), mail.WithUsername(m.Username), mail.WithPassword(m.Password.Reveal()))
	}
	c, err := mail.NewClient(m.Host, opts...)
	if err != nil {
		return fmt.Errorf("preparing the mail: %w", err)
	}
	return c.DialAndSendWithContext(ctx, out)
}

// compose writes the mail. What others wrote is one line without control
// characters wherever it could become a header.
func (m *Mail) compose(msg Message) (*mail.Msg, error) {
	out := mail.NewMsg()
	if err := out.From(m.From); err != nil {
		return nil, fmt.Errorf("the sender cannot be used; look at notify.mail.from: %w", err)
	}
	if err := out.To(m.To...); err != nil {
		return nil, fmt.Errorf("a receiver cannot be used; look at notify.mail.to: %w", err)
	}
	out.Subject(oneLine(msg.Title))
	out.SetDateWithValue(m.Now())
	if msg.ID != 0 { // the same message twice can be told from two
		out.SetMessageIDWithValue(fmt.Sprintf("%s.%d@notices.smi", msg.ID, msg.Count))
	} else {
		out.SetMessageID()
	}
	out.SetGenHeader("Auto-Submitted", "auto-generated")
	out.SetGenHeader("X-Smi-Kind", oneLine(msg.Kind))
	out.SetGenHeader("X-Smi-Severity", oneLine(msg.Severity))
	out.SetBodyString(mail.TypeTextPlain, msg.Text+"\n\n-- \nsmi "+msg.Version+" on "+msg.Node+"\n")
	return out, nil
}

// dialUntil opens connections that do not outlive ctx: a server that hangs in
// the middle must not hold a notice up.
func dialUntil(ctx context.Context) mail.DialContextFunc {
	return func(dial context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(dial, network, addr)
		if err != nil {
			return nil, err
		}
		return bound(ctx, conn), nil
	}
}

func dialTLS(ctx context.Context, config *tls.Config) mail.DialContextFunc {
	return func(dial context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(dial, network, addr)
		if err != nil {
			return nil, err
		}
		c := tls.Client(bound(ctx, conn), config)
		if err := c.HandshakeContext(dial); err != nil {
			conn.Close() //nolint:errcheck // the first error is told
			return nil, err
		}
		return c, nil
	}
}

// bounded is a connection that is closed when a context ends.
type bounded struct {
	net.Conn
	stop func() bool
}

func bound(ctx context.Context, conn net.Conn) *bounded {
	return &bounded{conn, context.AfterFunc(ctx, func() { conn.Close() })} //nolint:errcheck // whoever uses it sees it
}

// Close implements net.Conn.
func (b *bounded) Close() error {
	b.stop()
	return b.Conn.Close()
}

package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/internal/social"
)

func message(text string) Message {
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	return NewMessage(Group{Kind: "delivery_failed", Severity: Alarm, Notices: []social.NoticeRecord{
		{ID: 7, Kind: "delivery_failed", Severity: Alarm, Delivery: 9, Text: text, CreatedAt: at},
	}}, "node", "1.2.3")
}

// smtpServer is a mail server that takes mail, or does not.
type smtpServer struct {
	addr string
	cert *tls.Config // nil: it offers no STARTTLS
	// hang, drop and refuse name the command (EHLO, MAIL, RCPT, DATA, end) at which
	// it says nothing any more, closes the connection, or says no.
	hang, drop, refuse string

	mu     sync.Mutex
	mails  []string
	secure bool
	user   string
}

func serveSMTP(t *testing.T, s *smtpServer) *smtpServer {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.talk(t.Context(), conn) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() }) //nolint:errcheck // a test
	return s
}

func (s *smtpServer) talk(ctx context.Context, conn net.Conn) {
	defer func() { conn.Close() }() //nolint:errcheck // a test
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	say := func(line string) { io.WriteString(conn, line+"\r\n") } //nolint:errcheck // a test
	say("220 test")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.TrimSpace(line))
		if i := strings.IndexByte(verb, ' '); i > 0 {
			verb = verb[:i]
		}
		switch verb {
		case s.hang:
			io.Copy(io.Discard, in) //nolint:errcheck // until the other side has enough
			return
		case s.drop:
			return
		case s.refuse:
			say("550 no")
			continue
		}
		switch verb {
		case "EHLO":
			_, secure := conn.(*tls.Conn)
			switch {
			case s.cert != nil && !secure:
				say("250-test\r\n250 STARTTLS")
			default:
				say("250-test\r\n250 AUTH PLAIN")
			}
		case "STARTTLS":
			say("220 go")
			c := tls.Server(conn, s.cert)
			conn, in = c, bufio.NewReader(c)
			s.mu.Lock()
			s.secure = true
			s.mu.Unlock()
		case "AUTH":
			s.mu.Lock()
			s.user = strings.TrimSpace(line)
			s.mu.Unlock()
			say("235 ok")
		case "DATA":
			say("354 go")
			var b strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				b.WriteString(l)
			}
			if s.refuse == "END" {
				say("451 later")
				continue
			}
			s.mu.Lock()
			s.mails = append(s.mails, b.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *smtpServer) mail(t *testing.T) *Mail {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	return &Mail{Host: host, Port: n, TLS: Plain, From: "smi <smi@example.org>", To: []string{"a@example.org", "b@example.org"}, Now: time.Now}
}

// certificate returns the configuration of a TLS server and of who trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	h := httptest.NewTLSServer(nil)
	t.Cleanup(h.Close)
	transport, ok := h.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	client = transport.TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return &tls.Config{Certificates: h.TLS.Certificates, MinVersion: tls.VersionTLS12}, client
}

func TestMail(t *testing.T) {
	t.Parallel()
	server, client := certificate(t)
	s := serveSMTP(t, &smtpServer{cert: server})
	m := s.mail(t)
	m.TLS, m.Config, m.Username, m.Password = StartTLS, client, "smi", social.NewSecret("pass word")
	msg := message("It failed.\r\nBcc: evil@example.org\r\n\r\nbody\u202e")
	msg.Title = "a\r\nBcc: evil@example.org"
	if err := m.Send(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mails) != 1 || !s.secure || !strings.HasPrefix(s.user, "AUTH PLAIN") {
		t.Fatalf("%d mails, TLS %t, user %q", len(s.mails), s.secure, s.user)
	}
	head, body, _ := strings.Cut(s.mails[0], "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if strings.HasPrefix(strings.ToLower(line), "bcc:") {
			t.Errorf("a text made a header of its own: %q", line)
		}
	}
	for _, want := range []string{"Auto-Submitted: auto-generated", "X-Smi-Severity: alarm", "Message-ID: <", "a@example.org"} {
		if !strings.Contains(head, want) {
			t.Errorf("no %q in\n%s", want, head)
		}
	}
	if !strings.Contains(body, "smi post retry") || strings.Contains(body, "\r\nBcc") {
		t.Errorf("body %s", body)
	}
}

func TestMailIsNotSentWithoutTheTLSItShouldHave(t *testing.T) {
	t.Parallel()
	s := serveSMTP(t, &smtpServer{})
	m := s.mail(t)
	m.TLS = StartTLS
	if err := m.Send(t.Context(), message("x")); err == nil || len(s.mails) > 0 {
		t.Errorf("sent without TLS: %v, %d mails", err, len(s.mails))
	}
	server, _ := certificate(t)
	s = serveSMTP(t, &smtpServer{cert: server})
	m = s.mail(t)
	m.TLS = StartTLS
	if err := m.Send(t.Context(), message("x")); err == nil || len(s.mails) > 0 {
		t.Errorf("sent to a server that nobody vouches for: %v, %d mails", err, len(s.mails))
	}
}

func TestMailServersThatFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name               string
		refuse, drop, hang string
	}{
		{name: "refuses the receiver", refuse: "RCPT"},
		{name: "refuses the text", refuse: "END"},
		{name: "drops at DATA", drop: "DATA"},
		{name: "drops at EHLO", drop: "EHLO"},
		{name: "hangs at EHLO", hang: "EHLO"},
		{name: "hangs at DATA", hang: "DATA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serveSMTP(t, &smtpServer{hang: c.hang, drop: c.drop, refuse: c.refuse})
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if c.hang == "" {
				ctx = t.Context()
			}
			if err := s.mail(t).Send(ctx, message("x")); err == nil {
				t.Error("it was said to be sent")
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.mails) > 0 {
				t.Errorf("%d mails", len(s.mails))
			}
		})
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	at := time.Unix(1764028800, 0)
	oldKey, newKey := social.NewSecret("old secret old secret"), social.NewSecret("new secret new secret")
	var head http.Header
	var body []byte
	answer := http.StatusNoContent
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head = r.Header
		body, _ = io.ReadAll(r.Body) //nolint:errcheck // a test
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answer)
	}))
	t.Cleanup(srv.Close)
	w := &Webhook{
		URL: social.NewSecret(srv.URL + "/token-abc"), Secrets: []social.Secret{newKey, oldKey}, Version: "1.2.3",
		Client: Client((&net.Dialer{}).DialContext), Now: func() time.Time { return at },
	}
	if err := w.Send(t.Context(), message("x")); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(head.Get(SignatureHeader), ",")
	if len(got) != 3 || got[0] != "t=1764028800" {
		t.Fatalf("signature %q", got)
	}
	for i, key := range []social.Secret{newKey, oldKey} {
		if want := strings.Split(Sign(at, body, key), ",")[1]; got[i+1] != want {
			t.Errorf("signature %d is %s, want %s", i, got[i+1], want)
		}
	}
	var m Message
	if err := json.Unmarshal(body, &m); err != nil || m.ID != 7 || m.Count != 1 || m.Notices[0].Cure == "" {
		t.Errorf("body %s: %v", body, err)
	}
	for _, answer = range []int{http.StatusTemporaryRedirect, http.StatusInternalServerError, http.StatusForbidden} {
		if err := w.Send(t.Context(), message("x")); !errors.Is(err, errNotTaken) {
			t.Errorf("the answer %d gives %v", answer, err)
		}
	}
	srv.Close()
	if err := w.Send(t.Context(), message("x")); err == nil || strings.Contains(err.Error(), "token-abc") {
		t.Errorf("a server that is gone gives %v", err)
	}
}

// The signature is what a receiver in another language would compute.
func TestSignatureIsStable(t *testing.T) {
	t.Parallel()
	// printf '1764028800.{"id":"x"}' | openssl dgst -sha256 -hmac 0123456789abcdef
	const want = "t=1764028800,v1=fb6998c94b076309fb69abaa8e2150fe70b258187c3ff3e2e8580faf587b7734"
	got := Sign(time.Unix(1764028800, 0), []byte(`{"id":"x"}`), social.NewSecret("0123456789abcdef"))
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWebhookThatHangs(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // a test
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	w := &Webhook{URL: social.NewSecret(srv.URL), Client: Client((&net.Dialer{}).DialContext), Now: time.Now}
	if err := w.Send(ctx, message("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	<-gone
}

func TestExec(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, script string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		return path
	}
	out := filepath.Join(dir, "out")
	e := &Exec{Command: []string{write("ok", `cat > "$1"; env >> "$1"`), out, "; rm -rf $HOME"}, Timeout: time.Minute}
	if err := e.Send(t.Context(), message("it's \"so\"; $(false)")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	first, env, _ := strings.Cut(string(b), "\n")
	var m Message
	if err := json.Unmarshal([]byte(first), &m); err != nil || m.Notices[0].Text != `it's "so"; $(false)` {
		t.Errorf("it got %s: %v", first, err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(env), "\n") {
		switch name, _, _ := strings.Cut(line, "="); name {
		case "PATH", "HOME", "LANG", "TZ", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_":
		default:
			t.Errorf("the program sees %s", name)
		}
	}
	bad := &Exec{Command: []string{write("bad", "echo out of paper >&2; exit 3")}, Timeout: time.Minute}
	if err := bad.Send(t.Context(), message("x")); !errors.Is(err, errNotTaken) || !strings.Contains(err.Error(), "out of paper") {
		t.Errorf("a program that fails gives %v", err)
	}
	hang := &Exec{Command: []string{write("hang", "sleep 600 & sleep 600")}, Timeout: 200 * time.Millisecond}
	if err := hang.Send(t.Context(), message("x")); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("a program that hangs gives %v", err)
	}
	if err := (&Exec{Command: []string{filepath.Join(dir, "none")}, Timeout: time.Minute}).Send(t.Context(), message("x")); err == nil {
		t.Error("a program that is not there took it")
	}
}

package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"smi/internal/social"
)

// Dial opens connections: that of internal/netguard, so that no address in a
// configuration or behind a name leads into the own network.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Client is an HTTP client for addresses that an admin gave: it follows no
// redirect, knows no proxy and reuses no connection.
func Client(dial Dial) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Webhook posts messages as JSON, signed.
type Webhook struct {
	URL social.Secret
	// Secrets sign: one header has a signature for each, so that a receiver that
	// still knows only the old one, or already only the new, accepts it.
	Secrets []social.Secret
	Client  *http.Client
	Now     func() time.Time
	Version string
}

// SignatureHeader holds "t=SECONDS,v1=HEX[,v1=HEX]".
const SignatureHeader = "Smi-Signature"

// Sign returns the signature of a body: HMAC-SHA256 over the time in Unix
// seconds, a dot, and the body.
func Sign(at time.Time, body []byte, secrets ...social.Secret) string {
	t := strconv.FormatInt(at.Unix(), 10)
	parts := []string{"t=" + t}
	for _, s := range secrets {
		if s.Empty() {
			continue
		}
		mac := hmac.New(sha256.New, []byte(s.Reveal()))
		mac.Write([]byte(t + "."))
		mac.Write(body)
		parts = append(parts, "v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(parts, ",")
}

// Send implements Channel.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL.Reveal(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be used; look at notify.webhook.url")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "smi/"+w.Version)
	req.Header.Set(SignatureHeader, Sign(w.Now(), body, w.Secrets...))
	return Ask(w.Client, req)
}

// Ask makes a request and wants a 2xx. Its error does not repeat the address,
// which may hold a secret.
func Ask(c *http.Client, req *http.Request) error {
	resp, err := c.Do(req) //nolint:gosec // the address is the administrator's, and the client's dialer is guarded
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()                               //nolint:errcheck // only read
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) //nolint:errcheck // the status says it all
	switch {
	case resp.StatusCode/100 == 3:
		return fmt.Errorf("%w: it answered %d and wants to send smi elsewhere, which smi does not follow; give the address it means", errNotTaken, resp.StatusCode)
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%w: it answered %d %s", errNotTaken, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}

package realservers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Approve does what a person does with a browser when a program asks to be
// connected: it opens the PDS's authorisation page, signs in with handle and
// password, and gives consent. It returns the address to which the PDS sends the
// browser back, with the code in it, and does not go there.
func Approve(ctx context.Context, authURL, handle, password string) (callback string, err error) {
	at, err := url.Parse(authURL)
	if err != nil {
		return "", fmt.Errorf("reading the address of the authorisation page: %w", err)
	}
	b := &browser{origin: at.Scheme + "://" + at.Host, page: authURL, cookies: map[string]string{}}
	if _, _, err := b.open(ctx, authURL, "cross-site"); err != nil {
		return "", fmt.Errorf("opening the authorisation page: %w", err)
	}
	var in struct{ Account map[string]any }
	err = b.ask(ctx, "/sign-in", map[string]any{"locale": "en", "username": handle, "password": password, "remember": true}, &in)
	if err != nil {
		return "", fmt.Errorf("signing in: %w", err)
	}
	// PDS 0.4 calls the account's id "sub", later ones "did".
	consent := map[string]any{}
	for _, name := range []string{"sub", "did"} {
		if id, ok := in.Account[name].(string); ok {
			consent[name] = id
			break
		}
	}
	if len(consent) == 0 {
		return "", fmt.Errorf("signing in: the answer names no account: %v", in.Account)
	}
	var out struct{ URL string }
	if err := b.ask(ctx, "/consent", consent, &out); err != nil {
		return "", fmt.Errorf("giving consent: %w", err)
	}
	_, to, err := b.open(ctx, out.URL, "same-origin")
	if err != nil {
		return "", fmt.Errorf("following the way back: %w", err)
	}
	if to == "" {
		return "", errors.New("following the way back: the PDS did not redirect")
	}
	return to, nil
}

// browser behaves to the PDS as one: the page's own calls are refused without
// the headers that a browser sends. Cookies are kept by hand, since the PDS
// marks them Secure and a jar would not send those over plain HTTP.
type browser struct {
	origin  string
	page    string
	cookies map[string]string
}

// open goes to a page and returns its status and where it redirects to.
func (b *browser) open(ctx context.Context, to, site string) (status int, location string, err error) {
	header := http.Header{
		"Accept":         {"text/html"},
		"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {site},
	}
	if site == "same-origin" {
		header.Set("Referer", b.page)
	}
	res, body, err := b.send(ctx, http.MethodGet, to, header, nil)
	if err != nil {
		return 0, "", err
	}
	if res.StatusCode >= 400 {
		return res.StatusCode, "", fmt.Errorf("status %d: %.300s", res.StatusCode, body)
	}
	return res.StatusCode, res.Header.Get("Location"), nil
}

// ask makes a call that the page's own script would make.
func (b *browser) ask(ctx context.Context, endpoint string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("writing a request: %w", err)
	}
	res, text, err := b.send(ctx, http.MethodPost, b.origin+"/@atproto/oauth-provider/~api"+endpoint, http.Header{
		"Content-Type": {"application/json"}, "Origin": {b.origin}, "Referer": {b.page},
		"Sec-Fetch-Mode": {"same-origin"}, "Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Site": {"same-origin"},
		"X-Csrf-Token": {b.cookies["csrf-token"]},
	}, body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %.300s", res.StatusCode, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

func (b *browser) send(ctx context.Context, method, to string, header http.Header, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("making a request: %w", err)
	}
	req.Header = header
	req.Header.Set("User-Agent", "smi-test")
	var cookies []string
	for name, value := range b.cookies {
		cookies = append(cookies, name+"="+value)
	}
	if len(cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	c := &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	for _, k := range res.Cookies() {
		b.cookies[k.Name] = k.Value
	}
	return res, text, nil
}

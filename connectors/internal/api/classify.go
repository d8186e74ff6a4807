package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"smi/connectors"
	"smi/internal/obs"
)

// classify turns a complete answer that is no success into an Error: the
// connector's word first, else what the status means everywhere. learn is not
// called.
func (c *Client) classify(k *Call, a Answer) *connectors.Error {
	var e *connectors.Error
	if c.cfg.Classify != nil {
		e = c.cfg.Classify(a)
	}
	if e == nil {
		e = byStatus(c.cfg.Title, a)
	} else {
		own := *e
		e = &own
	}
	if e.Kind == "" {
		e.Kind = connectors.Unknown
	}
	e.Op, e.Status = k.Op, a.Status
	if e.RequestID == "" {
		e.RequestID = a.RequestID()
	}
	if k.Secret {
		// What a token endpoint says may repeat what it was sent.
		e.Text, e.Err = c.secretText(e.Kind, a), nil
		if plain(e.Code) {
			e.Text += " (" + e.Code + ")"
		}
	}
	return e
}

// secretText is what is said of a refusal by an endpoint of secrets: our own
// words for what the connector made of it. There is no content to refuse there.
func (c *Client) secretText(kind connectors.Kind, a Answer) string {
	switch {
	case kind == connectors.AuthExpired:
		return c.cfg.Title + " does not accept the login any more"
	case kind == connectors.Permission:
		return c.cfg.Title + " does not allow this"
	case a.Status == http.StatusBadRequest, a.Status == http.StatusUnprocessableEntity:
		return c.cfg.Title + " refused the request"
	}
	return byStatus(c.cfg.Title, a).Text
}

// plain says whether a code is a word, as codes are, and no token.
func plain(code string) bool {
	if code == "" || len(code) > 40 {
		return false
	}
	for _, r := range code {
		if r != '_' && r != '-' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return true
}

// byStatus is what a status means on networks that are not known better.
func byStatus(title string, a Answer) *connectors.Error {
	e := &connectors.Error{Kind: connectors.Unknown}
	switch s := a.Status; {
	case s == http.StatusUnauthorized:
		e.Kind, e.Text = connectors.AuthExpired, title+" does not accept the login any more"
	case s == http.StatusForbidden:
		e.Kind, e.Text = connectors.Permission, title+" does not allow this"
	case s == http.StatusNotFound, s == http.StatusGone:
		e.Kind, e.Text = connectors.Invalid, title+" does not know what was asked for"
	case s == http.StatusTooManyRequests:
		e.Kind, e.Text = connectors.RateLimited, title+" asked to slow down"
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly:
		e.Kind, e.Text = connectors.Transient, title+" did not take the request in time"
	case s == http.StatusRequestEntityTooLarge:
		e.Kind, e.Text = connectors.Invalid, "this is too large for "+title
	case s == http.StatusBadRequest, s == http.StatusUnprocessableEntity:
		e.Kind, e.Text = connectors.Invalid, title+" refused the content"
	case s >= 300 && s < 400:
		e.Text = title + " sent us to another address, which is not followed"
	case s >= 500:
		e.Kind, e.Text = connectors.Transient, title+" has trouble of its own"
	default:
		e.Text = fmt.Sprintf("%s answered with status %d", title, s)
	}
	return e
}

// check refuses a rule that could hide an effect.
func (r Rule) check() error {
	switch {
	case r.Op == "" || r.Code == "":
		return fmt.Errorf("api: a before-effect rule needs an operation and a code of the network: %+v", r)
	case r.Source == "" || r.Date == "":
		return fmt.Errorf("api: the before-effect rule for %s %s needs its source and date", r.Op, r.Code)
	case r.Status < 400 || r.Status >= 500, r.Status == http.StatusRequestTimeout, r.Status == http.StatusConflict, r.Status == http.StatusTooEarly:
		return fmt.Errorf("api: the before-effect rule for %s %s has status %d, after which the effect may be there", r.Op, r.Code, r.Status)
	}
	switch r.Kind {
	case connectors.Invalid, connectors.AuthExpired, connectors.RateLimited, connectors.Permission, connectors.Permanent, connectors.Transient, connectors.Unsupported:
		return nil
	case connectors.Ambiguous, connectors.Unknown:
	}
	return fmt.Errorf("api: the before-effect rule for %s %s has the kind %q", r.Op, r.Code, r.Kind)
}

// beforeEffect finds the rule of a refusal.
func (c *Client) beforeEffect(op string, status int, code string) (Rule, bool) {
	for _, r := range c.cfg.BeforeEffect {
		if r.Op == op && r.Status == status && r.Code == code {
			return r, true
		}
	}
	return Rule{}, false
}

// clean makes an error fit to be shown and stored: what came from outside is
// redacted by value, and the credentials of this very request as well.
func (c *Client) clean(err error, req *http.Request) error {
	if err == nil {
		return nil
	}
	e := *connectors.AsError(err)
	redact := c.redactor(req)
	e.Text = clip(redact(e.Text), 500)
	e.Code = clip(redact(e.Code), 100)
	e.RequestID = clip(redact(e.RequestID), 100)
	if e.Err != nil {
		e.Err = cleaned{text: clip(redact(e.Err.Error()), 500), err: e.Err}
	}
	return &e
}

func (c *Client) redactor(req *http.Request) func(string) string {
	own := obs.NewRedactor()
	if req != nil {
		for _, name := range []string{"Authorization", "Dpop", "Cookie", "X-Api-Key"} {
			for _, v := range req.Header.Values(name) {
				own.Add(v)
				if _, token, ok := strings.Cut(v, " "); ok {
					own.Add(token)
				}
			}
		}
	}
	return func(s string) string {
		if c.cfg.Env.Redact != nil {
			s = c.cfg.Env.Redact(s)
		}
		return own.Text(s)
	}
}

// cleaned is an error whose text was redacted. errors.Is still sees the cause.
type cleaned struct {
	text string
	err  error
}

func (c cleaned) Error() string { return c.text }

func (c cleaned) Is(target error) bool { return errors.Is(c.err, target) }

// Quoted is what a network said, to be put behind a sentence of ours; "" for
// nothing.
func Quoted(message string) string {
	if message == "" {
		return ""
	}
	return ` ("` + message + `")`
}

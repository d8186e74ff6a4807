package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"smi/connectors"
)

// longest is how long a bucket may be blocked by one answer. Networks have been
// seen to send nonsense (10⁹ seconds, milliseconds as seconds); a day later smi
// asks again.
const longest = 24 * time.Hour

// noWord is how long a bucket is blocked by a 429 that does not say how long.
const noWord = time.Minute

// limiter remembers until when buckets are blocked, in memory and, where there
// is one, in the LimitStore, so that a restart and other nodes respect it too.
type limiter struct {
	env connectors.Env

	mu    sync.Mutex
	until map[string]time.Time
}

func newLimiter(env connectors.Env) *limiter {
	return &limiter{env: env, until: map[string]time.Time{}}
}

// blocked returns until when the latest of these buckets is blocked and which,
// or a zero time.
func (l *limiter) blocked(ctx context.Context, names ...string) (time.Time, string) {
	now := l.env.Now()
	var last time.Time
	var which string
	for _, n := range names {
		l.mu.Lock()
		t := l.until[n]
		if !t.IsZero() && !t.After(now) {
			delete(l.until, n)
		}
		l.mu.Unlock()
		if l.env.Limits != nil {
			// A store that cannot be read blocks nothing: the network will say so again.
			if s, err := l.env.Limits.BlockedUntil(ctx, n); err == nil && s.After(t) {
				t = s
			}
		}
		// A block longer than a day was not made by this code, or the clock moved.
		if t.After(now) && t.After(last) && t.Sub(now) <= longest {
			last, which = t, n
		}
	}
	return last, which
}

// block blocks a bucket. It keeps a later time that is known already.
func (l *limiter) block(ctx context.Context, name string, until time.Time) {
	l.mu.Lock()
	if until.After(l.until[name]) {
		l.until[name] = until
	}
	until = l.until[name]
	l.mu.Unlock()
	if l.env.Limits == nil {
		return
	}
	if err := l.env.Limits.Block(context.WithoutCancel(ctx), name, until); err != nil && l.env.Log != nil {
		l.env.Log.Warn("a rate limit could not be saved; this process respects it, a restart would not", "bucket", name, "err", err)
	}
}

// buckets are the names a call has to ask: the app's, the account's, the
// endpoint's.
func (c *Client) buckets(k *Call) []string {
	out := []string{c.bucket("app", k)}
	if c.cfg.Account != "" {
		out = append(out, c.bucket("account", k))
	}
	if k.Bucket != "" {
		out = append(out, c.bucket("", k))
	}
	return out
}

// bucket is the full name of a bucket: what a connectors.Error calls "app",
// "account" or "endpoint:NAME", or "" for the narrowest the call has.
func (c *Client) bucket(short string, k *Call) string {
	n := string(c.cfg.Network)
	if short == "app" || short == "" && k.Bucket == "" && c.cfg.Account == "" {
		return n + "/app"
	}
	if c.cfg.Account != "" {
		n += "/account/" + c.cfg.Account
	} else {
		n += "/app"
	}
	if short == "account" {
		return n
	}
	if name, ok := strings.CutPrefix(short, "endpoint:"); ok {
		return n + "/" + name
	}
	if k.Bucket != "" {
		return n + "/" + k.Bucket
	}
	return n
}

// short is the opposite of bucket.
func (c *Client) short(full string, k *Call) string {
	switch full {
	case c.bucket("app", k):
		return "app"
	case c.bucket("account", k):
		return "account"
	}
	return "endpoint:" + full[strings.LastIndexByte(full, '/')+1:]
}

// gate refuses a call whose bucket is blocked, without touching the network.
func (c *Client) gate(ctx context.Context, k *Call) error {
	until, name := c.core.limits.blocked(ctx, c.buckets(k)...)
	if until.IsZero() {
		return nil
	}
	wait := until.Sub(c.cfg.Env.Now())
	return &connectors.Error{
		Kind: connectors.RateLimited, Op: k.Op, RetryAfter: wait, Bucket: c.short(name, k),
		Text: c.cfg.Title + " asked to wait until " + until.UTC().Format("2006-01-02 15:04:05") + " UTC",
	}
}

// learn takes from an answer what it says of limits. e is its classification,
// nil for a success; learn fills its RetryAfter and Bucket.
func (c *Client) learn(ctx context.Context, k *Call, a Answer, e *connectors.Error) {
	now := c.cfg.Env.Now()
	after, said := retryAfter(a.Header, now)
	if e != nil && e.RetryAfter > 0 {
		after, said = min(e.RetryAfter, longest), true
	}
	reset, hasReset := resetAfter(a.Header, now)
	limited := e != nil && e.Kind == connectors.RateLimited
	if limited {
		switch {
		case said:
			after = max(after, time.Second)
		case hasReset && reset > 0:
			after, said = reset, true
		default:
			after, said = noWord, true
		}
		name := c.bucket(e.Bucket, k)
		e.Bucket = c.short(name, k)
		c.core.limits.block(ctx, name, now.Add(after))
	}
	if e != nil && said && (limited || e.Kind == connectors.Transient) {
		e.RetryAfter = after
	}
	if limited || !hasReset || reset == 0 {
		return
	}
	if left, ok := number(a.Header, "Ratelimit-Remaining", "X-Ratelimit-Remaining", "X-Rate-Limit-Remaining"); ok && left < int64(max(k.Cost, 1)) {
		c.core.limits.block(ctx, c.bucket("", k), now.Add(reset))
	}
}

// retryAfter reads Retry-After: seconds or a date (RFC 9110, 10.2.3). A date is
// taken relative to the answer's own Date, because the two clocks may differ.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		return seconds(n), true
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		now = d
	}
	return bound(t.Sub(now)), true
}

// resetAfter reads when a limit begins anew. Three shapes are in use: seconds
// since 1970 (Bluesky, X), a date (Mastodon), and seconds from now (the IETF
// drafts).
func resetAfter(h http.Header, now time.Time) (time.Duration, bool) {
	for _, name := range []string{"Ratelimit-Reset", "X-Ratelimit-Reset", "X-Rate-Limit-Reset"} {
		v := strings.TrimSpace(h.Get(name))
		if v == "" {
			continue
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			switch {
			case n >= 1e11: // milliseconds since 1970
				return bound(time.UnixMilli(int64(min(n, 1e15))).Sub(now)), true
			case n >= 1e9: // seconds since 1970: 1e9 is the year 2001
				return bound(time.Unix(int64(n), 0).Sub(now)), true
			default:
				return seconds(n), true
			}
		}
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return bound(t.Sub(now)), true
		}
		if t, err := http.ParseTime(v); err == nil {
			return bound(t.Sub(now)), true
		}
	}
	return 0, false
}

func seconds(n float64) time.Duration {
	if !(n > 0) { // NaN too
		return 0
	}
	if n >= longest.Seconds() {
		return longest
	}
	return time.Duration(n * float64(time.Second))
}

func bound(d time.Duration) time.Duration { return min(max(d, 0), longest) }

func number(h http.Header, names ...string) (int64, bool) {
	for _, n := range names {
		if v, err := strconv.ParseInt(strings.TrimSpace(h.Get(n)), 10, 64); err == nil {
			return v, true
		}
	}
	return 0, false
}

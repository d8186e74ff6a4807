package mastodonsim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// window is one slot of a rate limit. Slots begin at whole multiples of their
// length, not at the first call.
type window struct {
	began time.Time
	used  int
}

// rate is one rate limit.
type rate struct {
	name  string
	limit int
	every time.Duration
}

// The limits of mastodon/mastodon, config/initializers/rack_attack.rb and
// app/lib/rate_limiter.rb (read 2026-07-02).
var (
	rateToken   = rate{"token", 300, 5 * time.Minute}
	rateUser    = rate{"user", 1500, 5 * time.Minute}
	rateNobody  = rate{"nobody", 300, 5 * time.Minute}
	ratePaging  = rate{"paging", 300, 15 * time.Minute}
	rateMedia   = rate{"media", 30, 30 * time.Minute}
	rateDelete  = rate{"delete", 30, 30 * time.Minute}
	ratePublish = rate{"publish", 300, 3 * time.Hour}
)

// limited counts a call and answers it with 429 if it is one too many. account
// is "" for a call of nobody. The headers of every answer speak of the tightest
// limit.
func (s *Sim) limited(w http.ResponseWriter, r *http.Request, account string) bool {
	if s.o.NoLimits {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rates := []rate{rateNobody}
	if account != "" && !s.o.GoToSocial {
		rates = []rate{rateToken, rateUser}
		q := r.URL.Query()
		switch path := r.URL.Path; {
		case r.Method == http.MethodGet && (q.Has("max_id") || q.Has("min_id") || q.Has("since_id") || q.Has("page")):
			rates = append(rates, ratePaging)
		case r.Method == http.MethodPost && (path == "/api/v2/media" || path == "/api/v1/media"):
			rates = append(rates, rateMedia)
		case r.Method == http.MethodDelete && strings.HasPrefix(path, "/api/v1/statuses/"):
			rates = append(rates, rateDelete)
		case r.Method == http.MethodPost && path == "/api/v1/statuses":
			rates = append(rates, ratePublish)
		}
	}
	now, full := s.now(), false
	var tight rate
	left, reset := 0, time.Time{}
	for i, l := range rates {
		name := l.name + " " + account
		began := now.Truncate(l.every)
		win := s.windows[name]
		if win == nil || !win.began.Equal(began) {
			win = &window{began: began}
			s.windows[name] = win
		}
		win.used++
		full = full || win.used > l.limit
		if n := max(l.limit-win.used, 0); i == 0 || n < left {
			tight, left, reset = l, n, began.Add(l.every)
		}
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", strconv.Itoa(tight.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	h.Set("X-RateLimit-Reset", reset.UTC().Format("2006-01-02T15:04:05.000000Z"))
	if s.o.EpochReset {
		h.Set("X-RateLimit-Reset", fmt.Sprint(reset.Unix()))
	}
	if full {
		refuse(w, http.StatusTooManyRequests, "Too many requests")
	}
	return full
}

// Exhaust leaves an account n more calls of a limit ("publish", "media", "token")
// in its present slot.
func (s *Sim) Exhaust(remote, limit string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.own(remote)
	for _, l := range []rate{rateToken, rateUser, ratePaging, rateMedia, rateDelete, ratePublish} {
		if a != nil && l.name == limit {
			s.windows[l.name+" "+a.id] = &window{began: s.now().Truncate(l.every), used: l.limit - n}
		}
	}
}

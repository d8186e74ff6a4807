package jobs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// repeatEvery is how often at most River's log says the same: on a full disk its
// services fail every few seconds.
const repeatEvery = time.Minute

// quiet keeps River's own chatter out of the log: its warnings stay, each once a
// minute.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(quietHandler{log.Handler(), &said{last: map[string]time.Time{}}})
}

type quietHandler struct {
	slog.Handler
	said *said
}

// said is when a message was last logged. River's messages are few: what varies
// is in their attributes.
type said struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (h quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.said.again(r.Message, r.Time) {
		return nil
	}
	return h.Handler.Handle(ctx, r) //nolint:wrapcheck // a handler adds nothing
}

func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(attrs), h.said}
}

func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name), h.said}
}

// again says whether the message was logged less than a minute ago.
func (s *said) again(message string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[message]; ok && now.Sub(last).Abs() < repeatEvery {
		return true
	}
	s.last[message] = now
	return false
}

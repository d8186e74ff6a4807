package obs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Handler returns inner behind the redactor: messages and the values of
// attributes, groups included, are written without the secrets that are known
// at that moment. Values that are neither numbers nor times are looked at as
// %+v and as JSON write them; one that holds a secret is replaced by its
// redacted text.
func Handler(inner slog.Handler, r *Redactor) slog.Handler {
	return &handler{inner: inner, r: r}
}

type handler struct {
	inner slog.Handler
	r     *Redactor
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, rec slog.Record) error {
	out := slog.NewRecord(rec.Time, rec.Level, h.r.Text(rec.Message), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a))
		return true
	})
	return h.inner.Handle(ctx, out)
}

func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(as))
	for i, a := range as {
		out[i] = h.attr(a)
	}
	return &handler{inner: h.inner.WithAttrs(out), r: h.r}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{inner: h.inner.WithGroup(name), r: h.r}
}

func (h *handler) attr(a slog.Attr) slog.Attr {
	a.Key = h.r.Text(a.Key)
	a.Value = h.value(a.Value.Resolve())
	return a
}

func (h *handler) value(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(h.r.Text(v.String()))
	case slog.KindGroup:
		as := v.Group()
		out := make([]slog.Attr, len(as))
		for i, a := range as {
			out[i] = h.attr(a)
		}
		return slog.GroupValue(out...)
	case slog.KindAny:
		var s, alt string
		switch x := v.Any().(type) {
		case nil:
			return v
		case []byte:
			s = string(x)
		case error:
			s = x.Error()
		case fmt.Stringer:
			s = x.String()
		default:
			s = fmt.Sprintf("%+v", x)
		}
		if b, err := json.Marshal(v.Any()); err == nil { // follows pointers that %+v does not
			alt = string(b)
		}
		if clean := h.r.Text(s); clean != s {
			return slog.StringValue(clean)
		}
		if clean := h.r.Text(alt); clean != alt {
			return slog.StringValue(clean)
		}
		return v
	default:
		return v
	}
}

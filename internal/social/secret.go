package social

import (
	"log/slog"
	"unique"
)

// Redacted is what a Secret prints as.
const Redacted = "[redacted]"

// Secret is a value that must not be seen: a token, a password, a client
// secret. Every way of printing it gives Redacted; only Reveal gives the value,
// and Reveal is called where the value leaves for its own network and where it
// is sealed, nowhere else. Two Secrets of the same value are equal by ==.
type Secret struct {
	// A handle and not a string: fmt calls no method on what lies in an unexported
	// field of another struct, and would print the string.
	v unique.Handle[string]
}

// NewSecret wraps a value.
func NewSecret(v string) Secret {
	if v == "" {
		return Secret{}
	}
	return Secret{unique.Make(v)}
}

// Reveal returns the value itself.
func (s Secret) Reveal() string {
	if s.Empty() {
		return ""
	}
	return s.v.Value()
}

// Empty says whether there is no value.
func (s Secret) Empty() bool { return s == Secret{} }

// String, GoString, MarshalText, MarshalJSON and LogValue all hide the value.
func (s Secret) String() string { return Redacted }

// GoString hides the value from %#v.
func (s Secret) GoString() string { return Redacted }

// MarshalText hides the value from text and YAML encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON hides the value from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

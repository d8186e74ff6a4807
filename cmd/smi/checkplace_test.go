package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"smi/internal/app"
)

// TestCallbackVerdict: an address that cannot work is named before a person
// stands at a network's consent page.
func TestCallbackVerdict(t *testing.T) {
	t.Parallel()
	names := map[string]string{"smi.example.org": "203.0.113.5", "inside.example.org": "10.0.0.5", "localhost": "127.0.0.1"}
	lookup := func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if a, ok := names[host]; ok {
			return []netip.Addr{netip.MustParseAddr(a)}, nil
		}
		return nil, errors.New("no such host")
	}
	answers := func(page string, err error) func(context.Context, string) (string, error) {
		return func(context.Context, string) (string, error) { return page, err }
	}
	ours := answers("<title>smi: Not connected</title>", nil)
	for _, tc := range []struct {
		base    string
		ask     func(context.Context, string) (string, error)
		verdict app.Verdict
		want    string
	}{
		{"", ours, app.Fine, "answers"},
		{"", answers("", errors.New("connection refused")), app.Broken, "does not answer: connection refused"},
		{"https://smi.example.org", ours, app.Fine, "answers"},
		{"https://smi.example.org", nil, app.Fine, "looks right"},
		{"https://smi.example.org", answers("", errors.New("timeout")), app.Warning, "cannot be opened from this machine"},
		{"https://smi.example.org", answers("<title>Welcome to nginx!</title>", nil), app.Warning, "not with a page of smi"},
		{"https://inside.example.org", ours, app.Fine, "only browsers there can log in"},
		{"http://smi.example.org", ours, app.Broken, "is not https"},
		{"http://localhost:8080", ours, app.Fine, "answers"},
		{"https://gone.example.org", ours, app.Broken, "no such host"},
		{"https://smi.example.org/?x=1", ours, app.Broken, "more than a host and a path"},
	} {
		got := callbackVerdict(t.Context(), tc.base, func() string { return tc.base + "/oauth/callback" }, lookup, tc.ask)
		if got.Verdict != tc.verdict || !strings.Contains(got.Text, tc.want) {
			t.Errorf("%q: %+v, want %s with %q", tc.base, got, tc.verdict, tc.want)
		}
	}
}

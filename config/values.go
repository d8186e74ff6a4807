package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"smi/internal/social"
)

// Size is a number of bytes, written as 200MiB, 1.5GB or a plain number.
type Size int64

// String writes a size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		n    Size
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s >= u.n && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes it as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Cron is a schedule in the five fields of cron (minute, hour, day of the
// month, month, day of the week) or one of @hourly, @daily, @weekly, @monthly,
// @yearly. It names no zone: whoever uses it says on which wall clock it runs.
type Cron struct {
	Text     string
	Schedule cron.Schedule
}

// String returns the expression as it was written.
func (c Cron) String() string { return c.Text }

// MarshalText returns the expression as it was written.
func (c Cron) MarshalText() ([]byte, error) { return []byte(c.Text), nil }

// Zone is a time zone by its IANA name.
type Zone struct {
	Name     string
	Location *time.Location
}

// String returns the IANA name.
func (z Zone) String() string { return z.Name }

// MarshalText returns the IANA name.
func (z Zone) MarshalText() ([]byte, error) { return []byte(z.Name), nil }

var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

var (
	durationForm = regexp.MustCompile(`^(\d+(\.\d+)?(ms|[smhdw]))+$`)
	durationPart = regexp.MustCompile(`(\d+(?:\.\d+)?)(ms|[smhdw])`)
	sizeForm     = regexp.MustCompile(`^(\d+(?:\.\d+)?) ?([A-Za-z]*)$`)
	envName      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// ParseDuration reads a length of time such as 90s, 15m, 1h30m, 30d or 2w. A
// day is 24 hours. There are no negative ones.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if !durationForm.MatchString(s) {
		if _, err := strconv.ParseFloat(s, 64); err == nil && !strings.HasPrefix(s, "-") {
			return 0, fmt.Errorf("%s has no unit; write %ss, %sm, %sh or %sd", quoted(s), s, s, s, s)
		}
		return 0, fmt.Errorf("expected a duration such as 15m, 1h30m or 30d, got %s", quoted(s))
	}
	var sum float64
	var total time.Duration
	for _, m := range durationPart.FindAllStringSubmatch(s, -1) {
		unit := durationUnits[m[2]]
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, fmt.Errorf("expected a duration such as 15m, 1h30m or 30d, got %s", quoted(s))
		}
		if sum += n * float64(unit); sum > float64(100*365*24*time.Hour) {
			return 0, fmt.Errorf("%s is longer than 100 years", quoted(s))
		}
		total += time.Duration(math.Round(n * float64(unit)))
	}
	return total, nil
}

// formatDuration writes a duration so that ParseDuration gives it again.
func formatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0s"
	case d%day == 0 && d > day:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// ParseSize reads a number of bytes such as 512, 200MiB or 4 GB.
func ParseSize(s string) (Size, error) {
	m := sizeForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("expected a size such as 200MiB or 4GB, got %s", quoted(s))
	}
	unit, ok := sizeUnits[strings.ToLower(m[2])]
	if !ok {
		return 0, fmt.Errorf("%s is not a unit of size; use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", quoted(m[2]))
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*unit >= 1<<60 {
		return 0, fmt.Errorf("%s is too large a size", quoted(s))
	}
	return Size(n * unit), nil
}

// ParseCron reads a schedule. A zone in front and @every are refused: smi runs
// schedules on the wall clock of a workspace, where neither has a meaning.
func ParseCron(s string) (Cron, error) {
	switch {
	case strings.HasPrefix(s, "TZ=") || strings.HasPrefix(s, "CRON_TZ="):
		return Cron{}, errors.New("a schedule runs in the time zone of the workspace; remove the zone in front")
	case strings.HasPrefix(s, "@every"):
		return Cron{}, errors.New(`@every is not a time of day; write the hours, such as "0 */6 * * *"`)
	}
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return Cron{}, fmt.Errorf(`%s is not a schedule: %w; write minute, hour, day, month and weekday (0 is Sunday), such as "30 2 * * *" for half past two each night, or @daily`, quoted(s), err)
	}
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Cron{}, fmt.Errorf("%s never comes: there is no such date", quoted(s))
	}
	return Cron{Text: s, Schedule: schedule}, nil
}

// ParseZone reads an IANA time zone name.
func ParseZone(s string) (Zone, error) {
	loc, err := social.LoadZone(s)
	if err != nil {
		if e, ok := errors.AsType[*social.Error](err); ok {
			return Zone{}, errors.New(e.Text)
		}
		return Zone{}, err
	}
	return Zone{Name: s, Location: loc}, nil
}

// parseURL reads the address of a server: http or https, a host, perhaps a
// path. A slash at the end is taken off.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.Opaque != "" {
		if strings.Contains(s, "@") { // what stands before it may be a password
			return "", errors.New("expected an address such as https://example.org, without a user name or a password")
		}
		return "", fmt.Errorf("expected an address such as https://example.org, got %s", quoted(s))
	}
	if u.User != nil {
		return "", errors.New("an address must not hold a user name or a password; remove what stands before the @")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", errors.New("an address must end before ? and #; remove the rest")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("%s is not a port; it must be between 1 and 65535", quoted(p))
		}
	}
	return strings.TrimRight(s, "/"), nil
}

// hostPortOf is the server that an address names, with its port written out.
func hostPortOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// hostOf is the host of a host:port.
func hostOf(server string) string {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return ""
	}
	return host
}

// loopback says whether a host is this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// parseHostPort reads host:port.
func parseHostPort(s string, zero bool) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if strings.Contains(s, "@") { // what stands before it may be a password
		return "", errors.New("expected a host and a port such as 10.0.0.7:3000, without a user name or a password")
	}
	if err != nil || host == "" || strings.ContainsAny(host, "/ \t") {
		return "", fmt.Errorf("expected a host and a port such as 10.0.0.7:3000, got %s", quoted(s))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || (n == 0 && !zero) {
		return "", fmt.Errorf("%s is not a port; it must be between 1 and 65535", quoted(port))
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(n, 10)), nil
}

// parseServer reads the host:port of a server of which smi is to trust the
// address: a name other than localhost could be made to mean another machine.
func parseServer(s string) (string, error) {
	server, err := parseHostPort(s, false)
	if err != nil {
		return "", err
	}
	host := hostOf(server)
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
		return "", fmt.Errorf("%s is a name, and whoever controls it could point it elsewhere; write the address, such as 10.0.0.7:3000", quoted(host))
	}
	return server, nil
}

// quoted shows what the admin wrote, shortened, on one line.
func quoted(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:37]) + "…"
	}
	return strconv.Quote(s)
}

// yamlText writes a text so that YAML reads it as the same text.
func yamlText(s string) string {
	if plainText.MatchString(s) && !notText[strings.ToLower(s)] {
		return s
	}
	return strconv.Quote(s)
}

// plainText needs no quotes, unless it is in notText.
var plainText = regexp.MustCompile(`^[A-Za-z/]([A-Za-z0-9_./+-]|:[A-Za-z0-9/])*( ([A-Za-z0-9_./+-]|:[A-Za-z0-9/])+)*$`)

var notText = map[string]bool{"true": true, "false": true, "null": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true}

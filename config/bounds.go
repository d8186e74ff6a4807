package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// bounds are the least and the greatest value of a number, a size (in bytes) or
// a duration (in nanoseconds).
func (f field) bounds() (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	switch f.typ.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32:
		hi = 1<<(f.typ.Bits()-1) - 1
		lo = -hi - 1
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		lo, hi = 0, 1<<f.typ.Bits()-1
	}
	if f.kind == kindDuration || f.kind == kindSize {
		lo = 0
	}
	if f.min != "" {
		lo = f.bound(f.min)
	}
	if f.max != "" {
		hi = f.bound(f.max)
	}
	return lo, hi
}

// bound reads a min or max tag; a wrong one is a bug of the program.
func (f field) bound(s string) int64 {
	var n int64
	var err error
	switch f.kind {
	case kindDuration:
		var x time.Duration
		x, err = ParseDuration(s)
		n = int64(x)
	case kindSize:
		var x Size
		x, err = ParseSize(s)
		n = int64(x)
	default:
		n, err = strconv.ParseInt(s, 10, 64)
	}
	if err != nil {
		panic(fmt.Sprintf("the bound %q of %s is wrong: %v", s, f.key, err))
	}
	return n
}

// outside is the mistake of a value that is too small or too large.
func (f field) outside() error {
	lo, hi := f.bounds()
	show := func(n int64) string {
		switch f.kind {
		case kindDuration:
			return formatDuration(time.Duration(n))
		case kindSize:
			return Size(n).String()
		}
		return strconv.FormatInt(n, 10)
	}
	switch {
	case hi == math.MaxInt64:
		return fmt.Errorf("must be at least %s", show(lo))
	case lo == math.MinInt64:
		return fmt.Errorf("must be at most %s", show(hi))
	}
	return fmt.Errorf("must be between %s and %s", show(lo), show(hi))
}

// expects says in words what a field wants, with an example.
func (f field) expects() string {
	switch f.kind {
	case kindBool:
		return "true or false"
	case kindInt:
		return "a whole number such as 4"
	case kindFloat:
		return "a number such as 0.5"
	case kindDuration:
		return "a duration such as 15m"
	case kindSize:
		return "a size such as 200MiB"
	case kindCron:
		return `a schedule such as "30 2 * * *"`
	case kindZone:
		return "a time zone such as Europe/Berlin"
	case kindURL:
		return "an address such as https://example.org"
	case kindHostPort, kindListen:
		return "a host and a port such as 10.0.0.7:3000"
	case kindPath:
		return "a path such as /var/lib/smi"
	case kindSecret:
		return "a secret"
	case kindList:
		return "a list"
	case kindMap, kindSection, kindNetworks:
		return "a section"
	case kindText:
		if len(f.enum) > 0 {
			return oneOf(f.enum)
		}
	}
	return "a text"
}

// otherwise says what a field is when the line is not there.
func (f field) otherwise() string {
	if f.hasDef && f.def != "" {
		return "the default, " + f.def
	}
	return "the default"
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// meant returns the known word nearest to one that was written, in a phrase, or
// "" if none is near.
func meant(word string, known []string, phrase string) string {
	best, least := "", max(1, min(len(word), 9)/3)+1
	for _, k := range known {
		if n := distance(strings.ToLower(word), k); n < least {
			best, least = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(phrase, best)
}

// distance counts the letters to add, drop, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return math.MaxInt
	}
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			change := rows[i-1][j-1]
			if s[i-1] != t[j-1] {
				change++
			}
			n := min(rows[i-1][j]+1, rows[i][j-1]+1, change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				n = min(n, rows[i-2][j-2]+1)
			}
			rows[i][j] = n
		}
	}
	return rows[len(s)][len(t)]
}

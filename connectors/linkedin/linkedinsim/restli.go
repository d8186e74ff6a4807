package linkedinsim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// keys are the segments of a path. A key that holds structure characters must be
// percent-encoded as a whole. The network has been lenient here; the simulator
// is not, because the pages write it so.
func keys(path string) ([]string, error) {
	var out []string
	for seg := range strings.SplitSeq(path, "/") {
		if strings.ContainsAny(seg, ":(),'") {
			return nil, fmt.Errorf("the key %q is not encoded", seg)
		}
		k, err := url.PathUnescape(seg)
		if err != nil || k == "" {
			return nil, fmt.Errorf("the key %q cannot be read", seg)
		}
		out = append(out, k)
	}
	return out, nil
}

// value is one of Rest.li: a text, a list or a record.
type value struct {
	text   string
	list   []value
	record map[string]value
}

// query are the parameters of a request.
type query map[string]value

func parseQuery(raw string) (query, error) {
	q := query{}
	if raw == "" {
		return q, nil
	}
	for pair := range strings.SplitSeq(raw, "&") {
		name, rest, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("the parameter %q has no value", pair)
		}
		if _, twice := q[name]; twice {
			return nil, fmt.Errorf("the parameter %q comes twice", name)
		}
		v, left, err := parseValue(rest)
		if err == nil && left != "" {
			err = fmt.Errorf("%q stands after the value of %q", left, name)
		}
		if err != nil {
			return nil, err
		}
		q[name] = v
	}
	return q, nil
}

// parseValue reads one value in protocol 2.0.0 and returns what follows it.
func parseValue(s string) (value, string, error) {
	switch {
	case strings.HasPrefix(s, "List("):
		v := value{list: []value{}}
		for s = s[len("List("):]; ; s = s[1:] {
			if strings.HasPrefix(s, ")") && len(v.list) == 0 {
				return v, s[1:], nil
			}
			e, rest, err := parseValue(s)
			if err != nil {
				return v, "", err
			}
			v.list = append(v.list, e)
			if s = rest; strings.HasPrefix(s, ")") {
				return v, s[1:], nil
			}
			if !strings.HasPrefix(s, ",") {
				return v, "", errors.New("a list does not end")
			}
		}
	case strings.HasPrefix(s, "("):
		v := value{record: map[string]value{}}
		for s = s[1:]; ; s = s[1:] {
			name, rest, ok := strings.Cut(s, ":")
			if !ok || strings.ContainsAny(name, "(),'") {
				return v, "", errors.New("a record has no names")
			}
			e, rest, err := parseValue(rest)
			if err != nil {
				return v, "", err
			}
			v.record[name] = e
			if s = rest; strings.HasPrefix(s, ")") {
				return v, s[1:], nil
			}
			if !strings.HasPrefix(s, ",") {
				return v, "", errors.New("a record does not end")
			}
		}
	}
	end := strings.IndexAny(s, ",)")
	if end < 0 {
		end = len(s)
	}
	raw := s[:end]
	if raw == "''" {
		return value{}, s[end:], nil
	}
	if raw == "" || strings.ContainsAny(raw, ":('") {
		return value{}, "", fmt.Errorf("the value %q is not encoded", raw)
	}
	text, err := url.PathUnescape(raw)
	return value{text: text}, s[end:], err
}

func (q query) text(name string) string { return q[name].text }

func (q query) list(name string) []string {
	var out []string
	for _, v := range q[name].list {
		out = append(out, v.text)
	}
	return out
}

func (q query) number(name string, other int) int {
	n, err := strconv.Atoi(q[name].text)
	if err != nil || n < 0 {
		return other
	}
	return n
}

// ms reads a time inside a record.
func (v value) ms(name string) (int64, bool) {
	n, err := strconv.ParseInt(v.record[name].text, 10, 64)
	return n, err == nil
}

// body is the body of a request; the kit has read it before.
func body(r *http.Request) []byte {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	return b
}

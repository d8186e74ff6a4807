package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decode reads one JSON value. Fields that out does not know are no error: a
// network adds them any day. Numbers of an any keep all their digits.
func decode(body []byte, out any) error {
	b := bytes.TrimSpace(body)
	switch {
	case len(b) == 0:
		return errors.New("the answer is empty")
	case b[0] == '<':
		return errors.New("the answer is a web page instead of JSON")
	case bytes.Equal(b, []byte("null")):
		return errors.New("the answer is null")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return fmt.Errorf("the answer cannot be read: %w", plainJSON(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the answer goes on after its JSON value")
	}
	if v, ok := out.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("the answer is not complete: %w", err)
		}
	}
	return nil
}

func plainJSON(err error) error {
	var wrong *json.UnmarshalTypeError
	var broken *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		field := wrong.Field
		if field == "" {
			field = "the whole"
		}
		return fmt.Errorf("%s is a JSON %s, not a %s", field, wrong.Value, wrong.Type)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("its JSON is cut off")
	case errors.As(err, &broken):
		return fmt.Errorf("its JSON is broken at byte %d", broken.Offset)
	default:
		return err
	}
}

// clip makes text from the network fit for one line: no control characters, at
// most n bytes.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

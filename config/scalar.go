package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar fills a field that is written on one line.
func (d *decoder) scalar(n *yaml.Node, f field, v reflect.Value, path string) {
	wrong := func(err error) { d.fail(at(n), path, "%s", err) }
	wrongType := func() { d.fail(at(n), path, "expected %s, got %s", f.expects(), describe(n)) }
	text := n.Value
	switch f.kind {
	case kindBool:
		if n.Tag != "!!bool" {
			wrongType()
			return
		}
		v.SetBool(strings.EqualFold(text, "true"))
	case kindInt:
		d.integer(n, f, v, path)
	case kindFloat:
		x, err := strconv.ParseFloat(text, 64)
		if (n.Tag != "!!float" && n.Tag != "!!int") || err != nil || x != x || x-x != 0 {
			wrongType()
			return
		}
		v.SetFloat(x)
	case kindDuration:
		if n.Tag == "!!bool" {
			wrongType()
			return
		}
		x, err := ParseDuration(text)
		if err != nil {
			wrong(err)
			return
		}
		lo, hi := f.bounds()
		if int64(x) < lo || int64(x) > hi {
			wrong(f.outside())
			return
		}
		v.SetInt(int64(x))
	case kindSize:
		x, err := ParseSize(text)
		if err != nil {
			wrong(err)
			return
		}
		lo, hi := f.bounds()
		if int64(x) < lo || int64(x) > hi || v.OverflowInt(int64(x)) {
			wrong(f.outside())
			return
		}
		v.SetInt(int64(x))
	default:
		if n.Tag == "!!bool" {
			d.fail(at(n), path, "expected %s, got %s; if the word is meant, put it into quotes", f.expects(), describe(n))
			return
		}
		if err := d.text(f, v, text); err != nil {
			wrong(err)
			return
		}
		if f.kind == kindURL && v.String() != "" && strings.HasPrefix(v.String(), "http:") {
			d.plain[path] = v.String()
		}
	}
}

func (d *decoder) integer(n *yaml.Node, f field, v reflect.Value, path string) {
	digits := strings.ReplaceAll(n.Value, "_", "")
	bare := strings.TrimLeft(digits, "+-")
	if n.Tag != "!!int" {
		hint := ""
		if _, err := strconv.ParseInt(n.Value, 10, 64); err == nil && n.Tag == "!!str" {
			hint = "; remove the quotes"
		}
		d.fail(at(n), path, "expected %s, got %s%s", f.expects(), describe(n), hint)
		return
	}
	x, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || (len(bare) > 1 && bare[0] == '0') {
		if errors.Is(err, strconv.ErrRange) {
			d.fail(at(n), path, "%s", f.outside())
			return
		}
		d.fail(at(n), path, "write the number with decimal digits, without zeros in front; got %s", quoted(n.Value))
		return
	}
	lo, hi := f.bounds()
	if x < lo || x > hi {
		d.fail(at(n), path, "%s", f.outside())
		return
	}
	switch v.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(x)) //nolint:gosec // the bounds are those of the type
	default:
		v.SetInt(x)
	}
}

// text fills the kinds that are kept as text.
func (d *decoder) text(f field, v reflect.Value, text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("must be one line without control characters")
	}
	if f.typ == typeCron {
		c, err := ParseCron(text)
		if err == nil {
			v.Set(reflect.ValueOf(c))
		}
		return err
	}
	if f.typ == typeZone {
		z, err := ParseZone(text)
		if err == nil {
			v.Set(reflect.ValueOf(z))
		}
		return err
	}
	if text == "" && f.kind != kindText { // "nothing", where the reference says what that means
		v.SetString("")
		if f.required || f.min != "" {
			return errors.New("must not be empty")
		}
		return nil
	}
	var err error
	switch f.kind {
	case kindCron:
		_, err = ParseCron(text)
	case kindZone:
		_, err = ParseZone(text)
	case kindURL:
		text, err = parseURL(text)
	case kindHostPort:
		text, err = parseServer(text)
	case kindListen:
		text, err = parseHostPort(text, true)
	case kindPath:
		text, err = d.path(text)
	case kindText:
		if text == "" && f.min != "" {
			err = errors.New("must not be empty")
		}
		if f.enum != nil && !slices.Contains(f.enum, text) {
			err = fmt.Errorf("expected %s, got %s%s", f.expects(), quoted(text), meant(text, f.enum, "; did you mean %q?"))
		}
	}
	if err == nil {
		v.SetString(text)
	}
	return err
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the size in bytes of the largest configuration file.
const maxFile = 1 << 20

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document reads the one YAML document of a file. An empty file has none.
func document(file string, data []byte) (*yaml.Node, *Error) {
	wrong := func(line, col int, format string, args ...any) *Error {
		return &Error{File: file, Line: line, Col: col, Text: fmt.Sprintf(format, args...)}
	}
	if len(data) > maxFile {
		return nil, wrong(1, 1, "the file is larger than 1MiB; that is no configuration file")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if bad := firstInvalid(data); bad >= 0 {
		line, col := position(data, bad)
		return nil, wrong(line, col, "this is not UTF-8 text; save the file as UTF-8")
	}
	for i, r := range string(data) {
		if (r < ' ' && r != '\t' && r != '\n' && r != '\r') || r == 0x7f {
			line, col := position(data, i)
			return nil, wrong(line, col, "there is a control character here; remove it")
		}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := read(dec, &doc); errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // an empty file is a good one
	} else if err != nil {
		return nil, syntax(file, data, err)
	}
	switch err := read(dec, &second); {
	case errors.Is(err, io.EOF):
		return &doc, nil
	case err != nil:
		return nil, syntax(file, data, err)
	}
	p := at(&second)
	return nil, wrong(p.line, p.col, "a second document starts here; keep one, and remove the line ---")
}

// read is Decode with a panic of the parser made an error.
func read(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("yaml: this cannot be read as YAML")
		}
	}()
	return dec.Decode(n)
}

// syntax says in words what YAML does not allow, and where. The parser tells
// the line only roughly, so it is looked for: the line after the longest
// beginning of the file that can be read.
func syntax(file string, data []byte, err error) *Error {
	m := yamlLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	told, text := 1, err.Error()
	if m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			told = n
		}
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	line := min(told, len(lines))
	for k := min(told+1, len(lines)); k > 0 && k > told-200 && len(data) < 256<<10; k-- {
		if readable(bytes.Join(lines[:k-1], nil)) {
			line = k
			break
		}
	}
	if name, ok := strings.CutPrefix(text, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		if i := bytes.Index(data, []byte("*"+name)); i >= 0 {
			l, c := position(data, i)
			return &Error{File: file, Line: l, Col: c, Text: fmt.Sprintf("there is no &%s for this alias to repeat; write &%s where the value is first given", name, name)}
		}
	}
	row := bytes.TrimRight(lines[max(line, 1)-1], "\r\n")
	indent := len(row) - len(bytes.TrimLeft(row, " \t"))
	if i := bytes.IndexByte(row[:indent], '\t'); i >= 0 {
		return &Error{File: file, Line: max(line, 1), Col: i + 1, Text: "there is a tab in the indentation; YAML wants spaces"}
	}
	return &Error{File: file, Line: max(line, 1), Col: min(indent+1, max(len(row), 1)), Text: inWords(text, row[indent:])}
}

// readable says whether a beginning of a file is YAML.
func readable(data []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		if err := read(dec, &n); errors.Is(err, io.EOF) {
			return true
		} else if err != nil {
			return false
		}
	}
}

// inWords translates the parser's messages.
func inWords(text string, row []byte) string {
	value := row
	if _, after, ok := bytes.Cut(row, []byte(": ")); ok {
		value = bytes.TrimLeft(after, " ")
	}
	switch {
	case bytes.Contains(row, []byte("\t")) && strings.Contains(text, "cannot start any token"):
		return "there is a tab between the words; YAML wants spaces"
	case strings.Contains(text, "cannot start any token") && len(value) > 0:
		r, _ := utf8.DecodeRune(value)
		return fmt.Sprintf("a value cannot start with %c; put it into quotes", r)
	case strings.Contains(text, "mapping values are not allowed"):
		return "there is a colon too many here, or the line is indented too far; put a text with a colon into quotes"
	case strings.Contains(text, "could not find expected ':'"):
		return `a key needs a colon, a space and a value, such as "level: info"`
	case strings.Contains(text, "unexpected end of stream"), strings.Contains(text, "unexpected document indicator"):
		return "a quote is opened here and not closed"
	case strings.Contains(text, "expected ',' or ']'"):
		return "a list is opened with [ here and not closed, or a comma is missing in it"
	case strings.Contains(text, "expected ',' or '}'"):
		return "a section is opened with { here and not closed, or a comma is missing in it"
	case strings.Contains(text, "did not find expected key"),
		strings.Contains(text, "did not find expected '-' indicator"),
		strings.Contains(text, "did not find expected node content"):
		return "this line does not fit to the lines above; look at its indentation"
	case strings.Contains(text, "unknown escape character"):
		return `a backslash in double quotes starts an escape; use single quotes, or write \\`
	}
	return "this is not YAML: " + strings.ReplaceAll(text, "\n", " ")
}

// firstInvalid returns the index of the first byte that is not UTF-8, or -1.
func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// position is the line and the column of a byte, both from 1.
func position(data []byte, i int) (line, col int) {
	before := data[:i]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

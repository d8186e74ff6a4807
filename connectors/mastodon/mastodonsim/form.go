package mastodonsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// form is what a request says, however it says it: in its query, as JSON, as a
// form, or as one with files.
type form struct {
	values map[string][]string // "poll[options][]", "media_ids[]", "status"
	files  map[string]upload
}

type upload struct {
	name, mime string
	bytes      []byte
}

// readForm reads a request.
func readForm(r *http.Request) (form, error) {
	f := form{values: map[string][]string{}, files: map[string]upload{}}
	maps.Copy(f.values, r.URL.Query())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return f, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		return f, nil
	}
	ctype, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return f, errors.New("no content type")
	}
	switch ctype {
	case "application/json":
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			return f, err
		}
		for k, e := range v {
			f.add(k, e)
		}
	case "application/x-www-form-urlencoded":
		q, err := url.ParseQuery(string(body))
		if err != nil {
			return f, err
		}
		for k, v := range q {
			f.values[k] = append(f.values[k], v...)
		}
	case "multipart/form-data":
		return f, f.multipart(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	default:
		return f, fmt.Errorf("content type %q", ctype)
	}
	return f, nil
}

func (f *form) multipart(r *multipart.Reader) error {
	for {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return err
		}
		if p.FileName() != "" {
			f.files[p.FormName()] = upload{p.FileName(), p.Header.Get("Content-Type"), b}
			continue
		}
		f.values[p.FormName()] = append(f.values[p.FormName()], string(b))
	}
}

// add writes a JSON value as a form would.
func (f *form) add(name string, v any) {
	switch x := v.(type) {
	case nil:
	case map[string]any:
		for k, e := range x {
			f.add(name+"["+k+"]", e)
		}
	case []any:
		for _, e := range x {
			f.add(name+"[]", e)
		}
	default:
		f.values[name] = append(f.values[name], fmt.Sprint(x))
	}
}

// get is one value; list all of them, with or without the brackets of a list,
// and with the numbers that some clients put between those.
func (f form) get(name string) string {
	if v := f.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (f form) list(name string) []string {
	out := append(append([]string(nil), f.values[name+"[]"]...), f.values[name]...)
	for i := 0; ; i++ {
		v, ok := f.values[name+"["+strconv.Itoa(i)+"]"]
		if !ok {
			return out
		}
		out = append(out, v...)
	}
}

func (f form) has(name string) bool { return len(f.values[name]) > 0 }

// yes says whether a value means true, as Rails has it.
func (f form) yes(name string) bool {
	switch strings.ToLower(f.get(name)) {
	case "", "0", "f", "false", "off", "no":
		return false
	}
	return true
}

func (f form) number(name string, other int) int {
	if n, err := strconv.Atoi(f.get(name)); err == nil {
		return n
	}
	return other
}

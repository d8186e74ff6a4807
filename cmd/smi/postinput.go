package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
)

// localMedia is a file on this machine that a post uses.
type localMedia struct {
	path, alt string
}

// draftPart is a part as the flags give it.
type draftPart struct {
	role  social.PartRole
	text  string
	link  string
	langs []string
	media []localMedia
	// options are the networks' own.
	options map[string]string
}

// drafting collects the parts of a post from flags, in the order of the command
// line: --media, --alt, --link, --lang and --option belong to the part begun last by
// --text, --thread or --comment.
type drafting struct{ parts []draftPart }

func (d *drafting) last() *draftPart {
	if len(d.parts) == 0 {
		d.parts = append(d.parts, draftPart{role: social.RoleBody})
	}
	return &d.parts[len(d.parts)-1]
}

// word is one flag of a drafting. It implements pflag.Value.
type word struct {
	kind string
	add  func(string) error
}

func (w word) String() string     { return "" }
func (w word) Set(s string) error { return w.add(s) }
func (w word) Type() string       { return w.kind }

func (d *drafting) text(s string) error {
	body := d.last()
	if len(d.parts) > 1 || body.text != "" {
		return errors.New("the body has one text; begin the next part with --thread or --comment")
	}
	body.text = s
	return nil
}

func (d *drafting) part(role social.PartRole) func(string) error {
	return func(s string) error {
		d.last() // the body comes first, if only with a picture
		d.parts = append(d.parts, draftPart{role: role, text: s})
		return nil
	}
}

func (d *drafting) media(s string) error {
	p := d.last()
	p.media = append(p.media, localMedia{path: s})
	return nil
}

func (d *drafting) alt(s string) error {
	p := d.last()
	for i := range p.media {
		if p.media[i].alt == "" {
			p.media[i].alt = s
			return nil
		}
	}
	return errors.New("each --alt describes a --media before it; put it after its file")
}

func (d *drafting) link(s string) error { d.last().link = s; return nil }

func (d *drafting) lang(s string) error {
	p := d.last()
	p.langs = append(p.langs, s)
	return nil
}

func (d *drafting) option(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("write it as NAME=VALUE, such as mastodon.visibility=unlisted; smi networks NAME lists the names")
	}
	p := d.last()
	if _, twice := p.options[name]; twice {
		return fmt.Errorf("%s is there twice for one part", name)
	}
	if p.options == nil {
		p.options = map[string]string{}
	}
	p.options[name] = value
	return nil
}

// build uploads the files and returns the parts.
func (d *drafting) build(ctx context.Context, c *cli, api *httpapi.Client) ([]app.PartInput, error) {
	// Every file is looked at before the first is sent.
	for _, p := range d.parts {
		for _, m := range p.media {
			if err := readable(m.path); err != nil {
				return nil, err
			}
		}
	}
	var out []app.PartInput
	for _, p := range d.parts {
		in := app.PartInput{Role: p.role, Text: p.text, Langs: p.langs, Options: p.options}
		if p.link != "" {
			in.Link = &app.LinkInput{URL: p.link}
		}
		for _, m := range p.media {
			stored, err := c.upload(ctx, api, m.path)
			if err != nil {
				return nil, err
			}
			in.Media = append(in.Media, app.MediaRef{Hash: stored.Hash, Alt: m.alt})
		}
		out = append(out, in)
	}
	return out, nil
}

// readable says in a sentence why a file cannot be used.
func readable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return social.Errorf(social.CodeNotFound, "--media", "there is no file %s; check the path", path)
	case err != nil:
		return social.Errorf(social.CodeInvalid, "--media", "%s cannot be read (%v); check its permissions", path, bare(err))
	case st.IsDir():
		return social.Errorf(social.CodeInvalid, "--media", "%s is a folder; name a file", path)
	}
	return nil
}

// upload sends a file to the daemon and shows how far it is.
func (c *cli) upload(ctx context.Context, api *httpapi.Client, path string) (social.Media, error) {
	if err := readable(path); err != nil {
		return social.Media{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return social.Media{}, social.Errorf(social.CodeInvalid, "--media", "%s cannot be read (%v); check its permissions", path, bare(err))
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return social.Media{}, fmt.Errorf("reading %s: %w", path, err)
	}
	told := int64(-1)
	m, err := api.AddMedia(ctx, f, filepath.Base(path), func(sent int64) {
		if tenth := sent * 10 / max(st.Size(), 1); tenth > told && st.Size() > 1<<20 {
			told = tenth
			c.progress("sending %s: %d %%", path, tenth*10)
		}
	})
	if p, ok := errors.AsType[*httpapi.Problem](err); ok {
		p.Field = path // which of the files
		if rest, ok := strings.CutPrefix(p.Detail, filepath.Base(path)+" "); ok {
			p.Field, p.Detail = "", path+" "+rest
		}
	}
	return m, err
}

// readPost reads a post from YAML or JSON: the fields of the API's PostInput.
// Instead of a stored file's hash a medium may name a file of this machine:
// {file: picture.png, alt: …}, relative to the post's own file.
func (c *cli) readPost(ctx context.Context, api *httpapi.Client, path string) (app.PostInput, error) {
	var in app.PostInput
	var b []byte
	var err error
	dir := "."
	if path == "-" {
		b, err = io.ReadAll(io.LimitReader(c.in, 4<<20))
	} else {
		dir = filepath.Dir(path)
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return in, social.Errorf(social.CodeNotFound, "--file", "%s cannot be read (%v); check the path", path, bare(err))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return in, social.Errorf(social.CodeInvalid, "--file", "%s is not YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := checkPostFile(path, &doc); err != nil {
		return in, err
	}
	var tree map[string]any
	if err := doc.Decode(&tree); err != nil {
		return in, social.Errorf(social.CodeInvalid, "--file", "%s is not YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := c.uploadAll(ctx, api, dir, tree, ""); err != nil {
		return in, err
	}
	if b, err = json.Marshal(tree); err != nil {
		return in, social.Errorf(social.CodeInvalid, "--file", "%s cannot be understood: %v", path, err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, social.Errorf(social.CodeInvalid, "--file", "%s: %s; smi openapi lists the fields of PostInput", path, strings.TrimPrefix(err.Error(), "json: "))
	}
	return in, nil
}

// uploadAll puts stored files in the place of those that a tree names. field is
// where the tree is in the file.
func (c *cli) uploadAll(ctx context.Context, api *httpapi.Client, dir string, v any, field string) error {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["file"].(string); ok {
			if !filepath.IsAbs(name) {
				name = filepath.Join(dir, name)
			}
			m, err := c.upload(ctx, api, name)
			if e, ok := errors.AsType[*social.Error](err); ok {
				return social.Errorf(e.Code, field+".file", "%s", e.Text)
			}
			if err != nil {
				return err
			}
			delete(v, "file")
			v["hash"] = m.Hash
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := c.uploadAll(ctx, api, dir, v[name], strings.TrimPrefix(field+"."+name, ".")); err != nil {
				return err
			}
		}
	case []any:
		for i, below := range v {
			if err := c.uploadAll(ctx, api, dir, below, fmt.Sprintf("%s[%d]", field, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

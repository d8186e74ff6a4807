package blueskysim

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// The limits of app.bsky.feed.post and its embeds (lexicons of
// bluesky-social/atproto, read 2026-08-20).
const (
	maxTextGraphemes = 300
	maxTextBytes     = 3000
	maxLangs         = 3
	maxTags          = 8
	maxTagGraphemes  = 64
	maxTagBytes      = 640
	maxImages        = 4
	maxImageBytes    = 2_000_000
	maxThumbBytes    = 1_000_000
	maxVideoBytes    = 300_000_000
)

var langPattern = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$|^i-[a-z]+$`)

// The reference server's ways of saying no (seen on loopback, 2026-11-23).

func missing(path, key string) error { return fmt.Errorf("Missing required key %q at %s", key, path) }

func wrong(want, path string) error { return fmt.Errorf("Expected %s value type at %s", want, path) }

func tooBig(what string, most, got int, path string) error {
	return fmt.Errorf("%s too big (maximum %d, got %d) at %s", what, most, got, path)
}

// checkPost validates a post.
func checkPost(rec map[string]any) error {
	text, ok := rec["text"].(string)
	if !ok {
		return missing("$.record", "text")
	}
	if len(text) > maxTextBytes {
		return tooBig("string", maxTextBytes, len(text), "$.record.text")
	}
	if n := uniseg.GraphemeClusterCount(text); n > maxTextGraphemes {
		return tooBig("grapheme", maxTextGraphemes, n, "$.record.text")
	}
	at, ok := rec["createdAt"].(string)
	if !ok {
		return missing("$.record", "createdAt")
	}
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
		return fmt.Errorf("Invalid datetime (got %q) at $.record.createdAt", at)
	}
	if v, has := rec["langs"]; has {
		if err := checkStrings("$.record.langs", v, maxLangs, func(path, s string) error {
			if !langPattern.MatchString(s) {
				return fmt.Errorf("Invalid language (got %q) at %s", s, path)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if v, has := rec["tags"]; has {
		if err := checkStrings("$.record.tags", v, maxTags, checkTag); err != nil {
			return err
		}
	}
	if v, has := rec["facets"]; has {
		if err := checkFacets(v, text); err != nil {
			return err
		}
	}
	if v, has := rec["reply"]; has {
		for _, end := range []string{"root", "parent"} {
			if err := checkRef("$.record.reply."+end, object(v)[end]); err != nil {
				return err
			}
		}
	}
	if v, has := rec["embed"]; has {
		return checkEmbed("$.record.embed", object(v), true)
	}
	return nil
}

func checkStrings(path string, v any, most int, each func(path, s string) error) error {
	list, ok := v.([]any)
	if !ok {
		return wrong("array", path)
	}
	if len(list) > most {
		return tooBig("array", most, len(list), path)
	}
	for i, e := range list {
		str, ok := e.(string)
		if !ok {
			return wrong("string", fmt.Sprintf("%s[%d]", path, i))
		}
		if err := each(fmt.Sprintf("%s[%d]", path, i), str); err != nil {
			return err
		}
	}
	return nil
}

func checkTag(path, s string) error {
	if len(s) > maxTagBytes {
		return tooBig("string", maxTagBytes, len(s), path)
	}
	if n := uniseg.GraphemeClusterCount(s); n > maxTagGraphemes {
		return tooBig("grapheme", maxTagGraphemes, n, path)
	}
	return nil
}

// checkFacets is stricter than the network, which does not look whether a range
// lies in the text, falls between characters or overlaps another: a client that
// gets it wrong publishes broken links.
func checkFacets(v any, text string) error {
	list, ok := v.([]any)
	if !ok {
		return wrong("array", "$.record.facets")
	}
	last := 0
	for i, f := range list {
		path := fmt.Sprintf("$.record.facets[%d]", i)
		index := object(object(f)["index"])
		start, ok1 := integer(index["byteStart"])
		end, ok2 := integer(index["byteEnd"])
		if !ok1 || !ok2 || start < 0 {
			return missing(path+".index", "byteStart")
		}
		if start < last || end <= start || end > len(text) {
			return fmt.Errorf("not a range of the text after the facet before it at %s.index", path)
		}
		if !utf8.ValidString(text[start:end]) {
			return fmt.Errorf("the range cuts a character at %s.index", path)
		}
		last = end
		features, ok := object(f)["features"].([]any)
		if !ok || len(features) == 0 {
			return missing(path, "features")
		}
		for j, ft := range features {
			if err := checkFeature(fmt.Sprintf("%s.features[%d]", path, j), object(ft)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkFeature(path string, f map[string]any) error {
	str := func(key string) string { v, _ := f[key].(string); return v }
	switch f["$type"] {
	case "app.bsky.richtext.facet#link":
		if !strings.Contains(str("uri"), ":") {
			return wrong("uri", path+".uri")
		}
	case "app.bsky.richtext.facet#mention":
		if !strings.HasPrefix(str("did"), "did:") {
			return wrong("did", path+".did")
		}
	case "app.bsky.richtext.facet#tag":
		if str("tag") == "" {
			return missing(path, "tag")
		}
		return checkTag(path+".tag", str("tag"))
	default:
		return wrong("union", path)
	}
	return nil
}

func checkRef(path string, v any) error {
	o := object(v)
	uri, _ := o["uri"].(string)
	cid, _ := o["cid"].(string)
	switch {
	case uri == "":
		return missing(path, "uri")
	case cid == "":
		return missing(path, "cid")
	case !strings.HasPrefix(uri, "at://"):
		return wrong("at-uri", path+".uri")
	case !strings.HasPrefix(cid, "baf"):
		return wrong("cid", path+".cid")
	}
	return nil
}

func checkEmbed(path string, e map[string]any, outer bool) error {
	switch e["$type"] {
	case "app.bsky.embed.images":
		list, ok := e["images"].([]any)
		if !ok || len(list) == 0 {
			return missing(path, "images")
		}
		if len(list) > maxImages {
			return tooBig("array", maxImages, len(list), path+".images")
		}
		for i, v := range list {
			p := fmt.Sprintf("%s.images[%d]", path, i)
			if err := checkBlob(p+".image", object(v)["image"], "image/", maxImageBytes); err != nil {
				return err
			}
			if _, ok := object(v)["alt"].(string); !ok {
				return missing(p, "alt")
			}
			if err := checkRatio(p, object(v)); err != nil {
				return err
			}
		}
		return nil
	case "app.bsky.embed.video":
		if err := checkBlob(path+".video", e["video"], "video/mp4", maxVideoBytes); err != nil {
			return err
		}
		return checkRatio(path, e)
	case "app.bsky.embed.external":
		x := object(e["external"])
		for _, key := range []string{"uri", "title", "description"} {
			if _, ok := x[key].(string); !ok {
				return missing(path+".external", key)
			}
		}
		if thumb, has := x["thumb"]; has {
			return checkBlob(path+".external.thumb", thumb, "image/", maxThumbBytes)
		}
		return nil
	case "app.bsky.embed.record":
		return checkRef(path+".record", e["record"])
	case "app.bsky.embed.recordWithMedia":
		if !outer {
			break
		}
		if err := checkEmbed(path+".record", object(e["record"]), false); err != nil {
			return err
		}
		return checkEmbed(path+".media", object(e["media"]), false)
	}
	return wrong("union", path)
}

func checkRatio(path string, e map[string]any) error {
	v, has := e["aspectRatio"]
	if !has {
		return nil
	}
	for _, side := range []string{"width", "height"} {
		if n, ok := integer(object(v)[side]); !ok || n < 1 {
			return fmt.Errorf("integer too small (minimum 1) at %s.aspectRatio.%s", path, side)
		}
	}
	return nil
}

func checkBlob(path string, v any, mime string, most int) error {
	b := object(v)
	link, _ := object(b["ref"])["$link"].(string)
	got, _ := b["mimeType"].(string)
	size, ok := integer(b["size"])
	if b["$type"] != "blob" || link == "" || !ok {
		return wrong("blob", path)
	}
	if !strings.HasPrefix(got, mime) {
		return fmt.Errorf("Expected %q mime type (got %q) at %s", mime, got, path)
	}
	if size > most {
		return tooBig("blob", most, size, path)
	}
	return nil
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func integer(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return int(i), err == nil
}

// blobsIn returns the ids of the blobs that a record refers to.
func blobsIn(raw json.RawMessage) []string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch x := v.(type) {
		case []any:
			for _, e := range x {
				walk(e)
			}
		case map[string]any:
			if x["$type"] == "blob" {
				if link, ok := object(x["ref"])["$link"].(string); ok {
					out = append(out, link)
				}
			}
			for _, e := range x {
				walk(e)
			}
		}
	}
	walk(v)
	return out
}

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

// checkPost validates a post in the words of the reference server.
func checkPost(rec map[string]any) error {
	text, ok := rec["text"].(string)
	if !ok {
		return fmt.Errorf("Record must have the property \"text\"")
	}
	if len(text) > maxTextBytes {
		return fmt.Errorf("Record/text must not be longer than %d characters", maxTextBytes)
	}
	if uniseg.GraphemeClusterCount(text) > maxTextGraphemes {
		return fmt.Errorf("Record/text must not be longer than %d graphemes", maxTextGraphemes)
	}
	at, ok := rec["createdAt"].(string)
	if !ok {
		return fmt.Errorf("Record must have the property \"createdAt\"")
	}
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
		return fmt.Errorf("Record/createdAt must be an valid atproto datetime (both RFC-3339 and ISO-8601)")
	}
	if v, has := rec["langs"]; has {
		if err := checkStrings("Record/langs", v, maxLangs, func(s string) error {
			if !langPattern.MatchString(s) {
				return fmt.Errorf("must be a well-formed BCP 47 language tag")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if v, has := rec["tags"]; has {
		if err := checkStrings("Record/tags", v, maxTags, checkTag); err != nil {
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
			if err := checkRef("Record/reply/"+end, object(v)[end]); err != nil {
				return err
			}
		}
	}
	if v, has := rec["embed"]; has {
		return checkEmbed("Record/embed", object(v), true)
	}
	return nil
}

func checkStrings(path string, v any, most int, each func(string) error) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%s must be an array", path)
	}
	if len(list) > most {
		return fmt.Errorf("%s must not have more than %d elements", path, most)
	}
	for i, e := range list {
		str, ok := e.(string)
		if !ok {
			return fmt.Errorf("%s/%d must be a string", path, i)
		}
		if err := each(str); err != nil {
			return fmt.Errorf("%s/%d %w", path, i, err)
		}
	}
	return nil
}

func checkTag(s string) error {
	if len(s) > maxTagBytes {
		return fmt.Errorf("must not be longer than %d characters", maxTagBytes)
	}
	if uniseg.GraphemeClusterCount(s) > maxTagGraphemes {
		return fmt.Errorf("must not be longer than %d graphemes", maxTagGraphemes)
	}
	return nil
}

// checkFacets is stricter than the network, which does not look whether a range
// lies in the text, falls between characters or overlaps another: a client that
// gets it wrong publishes broken links.
func checkFacets(v any, text string) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("Record/facets must be an array")
	}
	last := 0
	for i, f := range list {
		path := fmt.Sprintf("Record/facets/%d", i)
		index := object(object(f)["index"])
		start, ok1 := integer(index["byteStart"])
		end, ok2 := integer(index["byteEnd"])
		if !ok1 || !ok2 || start < 0 {
			return fmt.Errorf("%s/index must have the property \"byteStart\"", path)
		}
		if start < last || end <= start || end > len(text) {
			return fmt.Errorf("%s/index is not a range of the text after the facet before it", path)
		}
		if !utf8.ValidString(text[start:end]) {
			return fmt.Errorf("%s/index cuts a character", path)
		}
		last = end
		features, ok := object(f)["features"].([]any)
		if !ok || len(features) == 0 {
			return fmt.Errorf("%s must have the property \"features\"", path)
		}
		for j, ft := range features {
			if err := checkFeature(fmt.Sprintf("%s/features/%d", path, j), object(ft)); err != nil {
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
			return fmt.Errorf("%s/uri must be a uri", path)
		}
	case "app.bsky.richtext.facet#mention":
		if !strings.HasPrefix(str("did"), "did:") {
			return fmt.Errorf("%s/did must be a valid did", path)
		}
	case "app.bsky.richtext.facet#tag":
		if err := checkTag(str("tag")); err != nil || str("tag") == "" {
			return fmt.Errorf("%s/tag must be a string", path)
		}
	default:
		return fmt.Errorf("%s must be an object which includes the \"$type\" property", path)
	}
	return nil
}

func checkRef(path string, v any) error {
	o := object(v)
	uri, _ := o["uri"].(string)
	cid, _ := o["cid"].(string)
	if !strings.HasPrefix(uri, "at://") {
		return fmt.Errorf("%s/uri must be a valid at-uri", path)
	}
	if !strings.HasPrefix(cid, "baf") {
		return fmt.Errorf("%s/cid must be a cid string", path)
	}
	return nil
}

func checkEmbed(path string, e map[string]any, outer bool) error {
	switch e["$type"] {
	case "app.bsky.embed.images":
		list, ok := e["images"].([]any)
		if !ok || len(list) == 0 {
			return fmt.Errorf("%s must have the property \"images\"", path)
		}
		if len(list) > maxImages {
			return fmt.Errorf("%s/images must not have more than %d elements", path, maxImages)
		}
		for i, v := range list {
			p := fmt.Sprintf("%s/images/%d", path, i)
			if err := checkBlob(p+"/image", object(v)["image"], "image/", maxImageBytes); err != nil {
				return err
			}
			if _, ok := object(v)["alt"].(string); !ok {
				return fmt.Errorf("%s must have the property \"alt\"", p)
			}
			if err := checkRatio(p, object(v)); err != nil {
				return err
			}
		}
		return nil
	case "app.bsky.embed.video":
		if err := checkBlob(path+"/video", e["video"], "video/mp4", maxVideoBytes); err != nil {
			return err
		}
		return checkRatio(path, e)
	case "app.bsky.embed.external":
		x := object(e["external"])
		for _, key := range []string{"uri", "title", "description"} {
			if _, ok := x[key].(string); !ok {
				return fmt.Errorf("%s/external must have the property %q", path, key)
			}
		}
		if thumb, has := x["thumb"]; has {
			return checkBlob(path+"/external/thumb", thumb, "image/", maxThumbBytes)
		}
		return nil
	case "app.bsky.embed.record":
		return checkRef(path+"/record", e["record"])
	case "app.bsky.embed.recordWithMedia":
		if !outer {
			break
		}
		if err := checkEmbed(path+"/record", object(e["record"]), false); err != nil {
			return err
		}
		return checkEmbed(path+"/media", object(e["media"]), false)
	}
	return fmt.Errorf("%s must be an object which includes the \"$type\" property", path)
}

func checkRatio(path string, e map[string]any) error {
	v, has := e["aspectRatio"]
	if !has {
		return nil
	}
	for _, side := range []string{"width", "height"} {
		if n, ok := integer(object(v)[side]); !ok || n < 1 {
			return fmt.Errorf("%s/aspectRatio/%s can not be less than 1", path, side)
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
		return fmt.Errorf("%s should be a blob ref", path)
	}
	if !strings.HasPrefix(got, mime) {
		return fmt.Errorf("%s has the wrong type: %s", path, got)
	}
	if size > most {
		return fmt.Errorf("%s is too large: the most is %d bytes", path, most)
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

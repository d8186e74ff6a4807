package media

import (
	"bytes"
	"slices"
	"strings"
)

// format is what a file is by its content.
type format string

const (
	formatJPEG format = "image/jpeg"
	formatPNG  format = "image/png"
	formatGIF  format = "image/gif"
	formatWebP format = "image/webp"
	formatMP4  format = "video/mp4"
	formatMOV  format = "video/quicktime"
)

// film says whether it is a video.
func (f format) film() bool { return f == formatMP4 || f == formatMOV }

const takes = "smi takes JPEG, PNG, GIF, WebP, MP4 and QuickTime (MOV)"

// notTaken are the beginnings of files that people try, with what to tell them.
var notTaken = []struct{ magic, what string }{
	{"%PDF", "a PDF document, which is not published as a picture; " + takes},
	{"PK\x03\x04", "an archive; unpack it first. " + takes},
	{"PK\x05\x06", "an archive; unpack it first. " + takes},
	{"\x1f\x8b", "an archive; unpack it first. " + takes},
	{"7z\xbc\xaf\x27\x1c", "an archive; unpack it first. " + takes},
	{"Rar!", "an archive; unpack it first. " + takes},
	{"BZh", "an archive; unpack it first. " + takes},
	{"\xfd7zXZ", "an archive; unpack it first. " + takes},
	{"BM", "a BMP picture; save it as PNG"},
	{"II*\x00", "a TIFF picture; save it as JPEG or PNG"},
	{"MM\x00*", "a TIFF picture; save it as JPEG or PNG"},
	{"8BPS", "a Photoshop file; save it as JPEG or PNG"},
	{"\x1aE\xdf\xa3", "a WebM or Matroska video; save it as MP4"},
	{"MZ", "a program; " + takes},
	{"\x7fELF", "a program; " + takes},
	{"#!", "a script; " + takes},
}

// movie brands of ISO base media files (ISO/IEC 14496-12, mp4ra.org; 2026-11-23).
var (
	mp4Brands  = []string{"isom", "iso2", "iso3", "iso4", "iso5", "iso6", "iso7", "iso8", "iso9", "mp41", "mp42", "avc1", "hvc1", "MSNV", "M4V ", "M4VH", "M4VP", "dash", "mmp4", "3gp4", "3gp5", "3gp6"}
	heifBrands = []string{"heic", "heix", "hevc", "hevx", "mif1", "msf1", "heim", "heis"}
	avifBrands = []string{"avif", "avis"}
)

// sniff says what a file is. Neither its name nor what the sender calls it
// counts.
func sniff(name string, head []byte) (format, error) {
	switch {
	case len(head) == 0:
		return "", refuse("%s is empty", name)
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return formatJPEG, nil
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return formatPNG, nil
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return formatGIF, nil
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return formatWebP, nil
	case len(head) >= 12 && string(head[4:8]) == "ftyp":
		brand := string(head[8:12])
		switch {
		case slices.Contains(mp4Brands, brand):
			return formatMP4, nil
		case brand == "qt  ":
			return formatMOV, nil
		case slices.Contains(heifBrands, brand):
			return "", refuse("%s is a HEIC picture, which smi cannot read; save it as JPEG", name)
		case slices.Contains(avifBrands, brand):
			return "", refuse("%s is an AVIF picture, which smi cannot read; save it as JPEG or PNG", name)
		}
		return "", refuse("%s is a media file of a kind that smi does not know (%.4q); save it as MP4", name, brand)
	}
	for _, n := range notTaken {
		if bytes.HasPrefix(head, []byte(n.magic)) {
			return "", refuse("%s is %s", name, n.what)
		}
	}
	text := strings.ToLower(strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n"))
	switch {
	case strings.HasPrefix(text, "<svg"), strings.HasPrefix(text, "<") && strings.Contains(text, "<svg"):
		return "", refuse("%s is an SVG drawing, which can hold programs and which networks do not take; save it as PNG", name)
	case strings.HasPrefix(text, "<"):
		return "", refuse("%s is a web page or XML, not a picture; %s", name, takes)
	}
	return "", refuse("%s is not a picture or video that smi knows; %s", name, takes)
}

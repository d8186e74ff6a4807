package media

import (
	"bytes"
	"encoding/binary"
	"image"
)

// orientation returns the EXIF orientation of a picture, 1 (upright) if it has
// none.
func orientation(f format, raw []byte) int {
	var exif []byte
	switch f {
	case formatJPEG:
		for _, s := range jpegSegments(raw) {
			if s.marker == 0xe1 && bytes.HasPrefix(s.body, []byte("Exif\x00\x00")) {
				exif = s.body[6:]
				break
			}
		}
	case formatPNG:
		exif = pngChunk(raw, "eXIf")
	case formatWebP:
		exif = bytes.TrimPrefix(webpChunk(raw, "EXIF"), []byte("Exif\x00\x00"))
	case formatGIF, formatMP4, formatMOV:
	}
	return tiffOrientation(exif)
}

// tiffOrientation reads tag 0x0112 of the first directory (TIFF 6.0, Exif 2.3).
func tiffOrientation(b []byte) int {
	if len(b) < 8 {
		return 1
	}
	var o binary.ByteOrder
	switch string(b[:4]) {
	case "II*\x00":
		o = binary.LittleEndian
	case "MM\x00*":
		o = binary.BigEndian
	default:
		return 1
	}
	at := int64(o.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return 1
	}
	n := int64(o.Uint16(b[at:]))
	for i := range n {
		e := at + 2 + 12*i
		if e+12 > int64(len(b)) {
			return 1
		}
		if o.Uint16(b[e:]) == 0x0112 && o.Uint16(b[e+2:]) == 3 {
			if v := int(o.Uint16(b[e+8:])); v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
	}
	return 1
}

type segment struct {
	marker byte
	body   []byte
	whole  []byte // with marker and length
}

// jpegSegments returns the segments before the picture's data.
func jpegSegments(b []byte) []segment {
	var out []segment
	for i := 2; i+4 <= len(b); {
		if b[i] != 0xff {
			return out
		}
		m := b[i+1]
		if m == 0xff { // fill byte
			i++
			continue
		}
		if m == 0xda || m == 0xd9 {
			return out
		}
		n := int(binary.BigEndian.Uint16(b[i+2:]))
		if n < 2 || i+2+n > len(b) {
			return out
		}
		out = append(out, segment{m, b[i+4 : i+2+n], b[i : i+2+n]})
		i += 2 + n
	}
	return out
}

// profileOf returns the segments of the colour profile of a JPEG, ready to be
// written into another one; without it the colours of many phones' pictures
// would change. A profile for four inks does not fit what is written.
func profileOf(img image.Image, raw []byte) []byte {
	if _, inks := img.(*image.CMYK); inks {
		return nil
	}
	var out []byte
	for _, s := range jpegSegments(raw) {
		if s.marker == 0xe2 && bytes.HasPrefix(s.body, []byte("ICC_PROFILE\x00")) {
			out = append(out, s.whole...)
		}
	}
	return out
}

// pngChunk returns the first chunk of a type, nil if there is none before the
// end.
func pngChunk(b []byte, name string) []byte {
	for i := 8; i+12 <= len(b); {
		n := int64(binary.BigEndian.Uint32(b[i:]))
		if int64(i)+12+n > int64(len(b)) {
			return nil
		}
		if string(b[i+4:i+8]) == name {
			return b[i+8 : i+8+int(n) : i+8+int(n)]
		}
		if string(b[i+4:i+8]) == "IEND" {
			return nil
		}
		i += 12 + int(n)
	}
	return nil
}

// webpChunk returns the first chunk of a type of a RIFF file.
func webpChunk(b []byte, name string) []byte {
	for i := 12; i+8 <= len(b); {
		n := int64(binary.LittleEndian.Uint32(b[i+4:]))
		if int64(i)+8+n > int64(len(b)) {
			return nil
		}
		if string(b[i:i+4]) == name {
			return b[i+8 : i+8+int(n)]
		}
		i += 8 + int(n+n%2)
	}
	return nil
}

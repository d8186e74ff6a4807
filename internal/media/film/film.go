// Package film makes large films for tests and measurements: valid to whoever
// looks at their index, and nothing but a pattern inside.
package film

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Read returns an MP4 of so many bytes, 4096 or more, as a stream.
func Read(length int64) io.Reader { return Make("isom", "avc1", length) }

// Make is Read for a film of a brand ("isom", "qt  ") whose picture is encoded in
// a way ("avc1", "hvc1").
func Make(brand, codec string, length int64) io.Reader {
	head := box("ftyp", []byte(brand), be32(0x200), []byte(brand))
	index := moov(codec)
	payload := length - int64(len(head)) - 16 - int64(len(index))
	head = append(append(head, be32(1)...), "mdat"...)
	head = binary.BigEndian.AppendUint64(head, uint64(payload)+16)
	return io.MultiReader(bytes.NewReader(head), io.LimitReader(&pattern{}, payload), bytes.NewReader(index))
}

// moov is the index of a film of a minute, 1280 × 720.
func moov(codec string) []byte {
	const ms = 60_000
	upright := be32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
	entry := append(be32(0, 1, 0, 0, 0, 0, 1280<<16|720, 0x480000, 0x480000, 0), append([]byte{0, 1}, make([]byte, 32)...)...)
	return box("moov",
		box("mvhd", be32(0, 0, 0, 1000, ms, 0x10000), []byte("\x01\x00\x00\x00"), be32(0, 0), upright, be32(0, 0, 0, 0, 0, 0, 2)),
		box("trak",
			box("tkhd", be32(3, 0, 0, 1, 0, ms, 0, 0, 0, 0), upright, be32(1280<<16, 720<<16)),
			box("mdia",
				box("mdhd", be32(0, 0, 0, 1000, ms), []byte("\x55\xc4\x00\x00")),
				box("hdlr", be32(0, 0), []byte("vide"), be32(0, 0, 0), []byte("\x00\x00")),
				box("minf", box("stbl", box("stsd", be32(0, 1), box(codec, append(entry, 0, 24, 0xff, 0xff))),
					box("stts", be32(0, 0)), box("stsc", be32(0, 0)), box("stsz", be32(0, 0, 0)), box("stco", be32(0, 0)))))))
}

// pattern never repeats within a part of an upload.
type pattern struct{ n uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	n := len(b) &^ 7
	if n == 0 {
		clear(b)
		return len(b), nil
	}
	for i := 0; i < n; i += 8 {
		p.n = p.n*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], p.n)
	}
	return n, nil
}

func box(name string, parts ...[]byte) []byte {
	b := append(make([]byte, 4), name...)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func be32(vs ...uint32) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

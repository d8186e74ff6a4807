package media

import (
	"cmp"
	"encoding/binary"
)

// filmOptions make a small MP4 by hand.
type filmOptions struct {
	width, height uint32
	ms            uint32    // length; 0 is not said
	turned        bool      // filmed upright
	sound         bool      // no picture
	place         bool      // with place1 wherever cameras write it
	brand         string    // isom if empty
	codec, audio  string    // sample entries of picture and sound, such as avc1 and mp4a
	journal       []stretch // where a track of timed metadata has its samples
	journalist    string    // handler of that track; meta if empty
	maker         string    // what the camera calls itself in tracks
	more          []byte    // boxes in the index
}

// stretch is a part of a file.
type stretch struct{ at, size int64 }

// trackOf is a track with a table of samples, one in each chunk.
func trackOf(o filmOptions, handler, entry string, where []stretch) []byte {
	sizes, offsets := be32(0, 0, uint32(len(where))), be32(0, uint32(len(where)))
	for _, s := range where {
		sizes, offsets = append(sizes, be32(uint32(s.size))...), append(offsets, be32(uint32(s.at))...)
	}
	var description []byte
	switch handler {
	case "vide":
		name := make([]byte, 32)
		name[0] = byte(copy(name[1:], o.maker))
		description = append(be32(0, 1, 0, 0, 0, 0, o.width<<16|o.height, 0x480000, 0x480000, 0), append([]byte{0, 1}, name...)...)
		description = append(description, 0, 24, 0xff, 0xff)
	case "soun":
		description = be32(0, 1, 0, 0, 2<<16|16, 0, 48000<<16)
	default:
		description = be32(0, 1)
	}
	return boxOf("trak",
		boxOf("tkhd", be32(3, 0, 0, 2, 0, o.ms, 0, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000, o.width<<16, o.height<<16)),
		boxOf("mdia",
			boxOf("mdhd", be32(0, 0, 0, 1000, o.ms), []byte("\x55\xc4\x00\x00")),
			boxOf("hdlr", be32(0, 0), []byte(handler), be32(0, 0, 0), []byte(o.maker+"\x00")),
			boxOf("minf", boxOf("stbl",
				boxOf("stsd", be32(0, 1), boxOf(entry, description)),
				boxOf("stts", be32(0, 1, uint32(len(where)), 10)),
				boxOf("stsc", be32(0, 1, 1, 1, 1)),
				boxOf("stsz", sizes),
				boxOf("stco", offsets)))))
}

func boxOf(name string, parts ...[]byte) []byte {
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

// filmParts returns what stands before the film (given its length) and after.
func filmParts(o filmOptions) (head func(payload int64) []byte, tail []byte) {
	upright := be32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
	if o.turned {
		upright = be32(0, 0x10000, 0, 0xffff0000, 0, 0, 0, 0, 0x40000000)
	}
	handler := "vide"
	if o.sound {
		handler = "soun"
	}
	var udta, meta []byte
	if o.place {
		udta = boxOf("udta", boxOf("\xa9xyz", []byte("\x00\x15\x15\xc7"+place1)))
		meta = boxOf("meta", be32(0), boxOf("hdlr", be32(0, 0), []byte("mdta"), be32(0, 0, 0), []byte{0}), boxOf("keys", be32(0, 1), boxOf("mdta", []byte("com.apple.quicktime.location.ISO6709"))))
	}
	tkhd := boxOf("tkhd", be32(3, 0, 0, 1, 0, o.ms, 0, 0, 0, 0), upright, be32(o.width<<16, o.height<<16))
	mdia := boxOf("mdia",
		boxOf("mdhd", be32(0, 0, 0, 1000, o.ms), []byte("\x55\xc4\x00\x00")),
		boxOf("hdlr", be32(0, 0), []byte(handler), be32(0, 0, 0), []byte("\x00\x00")))
	var more []byte
	if o.codec != "" {
		more = append(more, trackOf(o, "vide", o.codec, nil)...)
	}
	if o.audio != "" {
		more = append(more, trackOf(o, "soun", o.audio, nil)...)
	}
	if o.journal != nil {
		more = append(more, trackOf(o, cmp.Or(o.journalist, "meta"), "gpmd", o.journal)...)
	}
	moov := boxOf("moov",
		boxOf("mvhd", be32(0, 0, 0, 1000, o.ms, 0x10000), []byte("\x01\x00\x00\x00"), be32(0, 0), upright, be32(0, 0, 0, 0, 0, 0, 2)),
		boxOf("trak", tkhd, mdia, udta), more, o.more,
		udta, meta)
	head = func(payload int64) []byte {
		brand := cmp.Or(o.brand, "isom")
		b := boxOf("ftyp", []byte(brand), be32(0x200), []byte(brand+"mp41"))
		b = append(b, be32(1)...)
		b = append(b, "mdat"...)
		return binary.BigEndian.AppendUint64(b, uint64(payload)+16)
	}
	tail = moov
	if o.place {
		tail = append(tail, boxOf("uuid", []byte("0123456789abcdef<x:xmpmeta>"+place1))...)
	}
	return head, tail
}

func film(o filmOptions) []byte {
	o.place = o.place || o.width == 1920
	head, tail := filmParts(o)
	payload := make([]byte, 500)
	return append(append(head(int64(len(payload))), payload...), tail...)
}

package media

import "encoding/binary"

// filmOptions make a small MP4 by hand.
type filmOptions struct {
	width, height uint32
	ms            uint32 // length; 0 is not said
	turned        bool   // filmed upright
	sound         bool   // no picture
	place         bool   // with place1 wherever cameras write it
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
		boxOf("hdlr", be32(0, 0), []byte(handler), be32(0, 0, 0), []byte("x\x00")))
	moov := boxOf("moov",
		boxOf("mvhd", be32(0, 0, 0, 1000, o.ms, 0x10000), []byte("\x01\x00\x00\x00"), be32(0, 0), upright, be32(0, 0, 0, 0, 0, 0, 2)),
		boxOf("trak", tkhd, mdia, udta),
		udta, meta)
	head = func(payload int64) []byte {
		b := boxOf("ftyp", []byte("isom"), be32(0x200), []byte("isommp41"))
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

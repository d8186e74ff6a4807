package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"smi/internal/social"
)

// maxMoov bounds the part of an MP4 that is read into memory: its index. An
// hour of video has one of a few megabytes.
const maxMoov = 48 << 20

// box is a box of an ISO base media file.
type box struct {
	name   string
	at     int64 // of its header
	header int64 // 8 or 16
	size   int64 // with the header
}

// boxAt reads the header of a box that must end before end.
func boxAt(r io.ReaderAt, at, end int64) (box, error) {
	var h [16]byte
	if end-at < 8 {
		return box{}, io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(h[:8], at); err != nil {
		return box{}, err
	}
	b := box{name: string(h[4:8]), at: at, header: 8, size: int64(binary.BigEndian.Uint32(h[:]))}
	switch b.size {
	case 0: // to the end
		b.size = end - at
	case 1:
		if end-at < 16 {
			return b, io.ErrUnexpectedEOF
		}
		if _, err := r.ReadAt(h[8:], at+8); err != nil {
			return b, err
		}
		n := binary.BigEndian.Uint64(h[8:])
		if n > 1<<62 {
			return b, io.ErrUnexpectedEOF
		}
		b.header, b.size = 16, int64(n)
	}
	if b.size < b.header {
		return b, errors.New("a part of it has an impossible size")
	}
	if at+b.size > end {
		return b, io.ErrUnexpectedEOF
	}
	return b, nil
}

// cleanVideo finds out size, length and shape of an MP4 and overwrites, in its
// place, what says where and with what it was taken. The film itself is not
// read.
func cleanVideo(f *os.File, n int64, name string, m *social.Media) error {
	bad := func(err error) error { return refuse("%s is not a readable video: %s", name, reason(err)) }
	var moov *box
	films, top := 0, 0
	for at := int64(0); at < n; {
		b, err := boxAt(f, at, n)
		if err != nil {
			return bad(err)
		}
		if top++; top > 100_000 {
			return bad(errors.New("it has too many parts"))
		}
		switch b.name {
		case "moov":
			if moov != nil {
				return bad(errors.New("it has two indexes"))
			}
			moov = &b
		case "mdat":
			films++
		case "uuid", "meta", "udta":
			if err := blank(f, b); err != nil {
				return fmt.Errorf("cleaning %s: %w", name, err)
			}
		}
		at += b.size
	}
	if moov == nil || films == 0 {
		return bad(errors.New("it holds no film"))
	}
	if moov.size > maxMoov {
		return bad(errors.New("its index is too large"))
	}
	index := make([]byte, moov.size)
	if _, err := f.ReadAt(index, moov.at); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := probe(index, m); err != nil {
		return bad(err)
	}
	changed, err := blankIn(index, moov.header, 0)
	if err != nil {
		return bad(err)
	}
	if changed {
		if _, err := f.WriteAt(index, moov.at); err != nil {
			return fmt.Errorf("cleaning %s: %w", name, err)
		}
	}
	return nil
}

// blank makes a box of the file one of free space, with zeros in it.
func blank(f *os.File, b box) error {
	if _, err := f.WriteAt([]byte("free"), b.at+4); err != nil {
		return err
	}
	zeros := make([]byte, 32<<10)
	for at := b.at + b.header; at < b.at+b.size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), b.at+b.size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// blankIn does the same to the boxes of people's data in the index: location
// and device are in udta and meta of the film and of its tracks. Sizes do not
// change, so no offset does.
func blankIn(b []byte, from int64, depth int) (changed bool, err error) {
	r := bytes.NewReader(b)
	for at := from; at < int64(len(b)); {
		x, err := boxAt(r, at, int64(len(b)))
		if err != nil {
			return changed, err
		}
		switch x.name {
		case "udta", "meta", "uuid":
			copy(b[x.at+4:], "free")
			clear(b[x.at+x.header : x.at+x.size])
			changed = true
		case "trak":
			if depth > 0 {
				break
			}
			c, err := blankIn(b[x.at:x.at+x.size], x.header, depth+1)
			if err != nil {
				return changed, err
			}
			changed = changed || c
		}
		at += x.size
	}
	return changed, nil
}

// probe reads length and shape from the index.
func probe(index []byte, m *social.Media) (err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder's bug must not end the program
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
	}()
	decoded, err := mp4.DecodeBox(0, bytes.NewReader(index))
	if err != nil {
		return err
	}
	moov, ok := decoded.(*mp4.MoovBox)
	if !ok || moov.Mvhd == nil || moov.Mvhd.Timescale == 0 {
		return errors.New("its index cannot be read")
	}
	units := moov.Mvhd.Duration
	if units == 0 && moov.Mvex != nil && moov.Mvex.Mehd != nil {
		units = uint64(moov.Mvex.Mehd.FragmentDuration)
	}
	seconds := float64(units) / float64(moov.Mvhd.Timescale)
	if units == 0 || seconds > 24*60*60 {
		return errors.New("it does not say how long it is; save it as an ordinary MP4")
	}
	m.Duration = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	for i, t := range moov.Traks {
		if t.Tkhd == nil || t.Mdia == nil || t.Mdia.Hdlr == nil || t.Mdia.Hdlr.HandlerType != "vide" {
			continue
		}
		m.Width, m.Height = int(uint32(t.Tkhd.Width)>>16), int(uint32(t.Tkhd.Height)>>16)
		if quarterTurned(index, i) {
			m.Width, m.Height = m.Height, m.Width
		}
		if m.Width > 0 && m.Height > 0 {
			return nil
		}
	}
	return errors.New("it has no picture, only sound")
}

// quarterTurned says whether the n-th track is shown turned by 90 or 270
// degrees, as phones film upright: the matrix of its header has zeros where a
// picture that lies has its scale.
func quarterTurned(index []byte, n int) bool {
	trak := child(index, "trak", n)
	tkhd := child(trak, "tkhd", 0)
	if len(tkhd) < 8+4 {
		return false
	}
	at := 8 + 40 // version 0
	if tkhd[8] == 1 {
		at = 8 + 52
	}
	if len(tkhd) < at+36 {
		return false
	}
	a, b := binary.BigEndian.Uint32(tkhd[at:]), binary.BigEndian.Uint32(tkhd[at+4:])
	return a == 0 && b != 0
}

// child returns the n-th box of a name inside a box.
func child(b []byte, name string, n int) []byte {
	r := bytes.NewReader(b)
	outer, err := boxAt(r, 0, int64(len(b)))
	if err != nil {
		return nil
	}
	for at := outer.header; at < int64(len(b)); {
		x, err := boxAt(r, at, int64(len(b)))
		if err != nil {
			return nil
		}
		if x.name == name {
			if n == 0 {
				return b[x.at : x.at+x.size]
			}
			n--
		}
		at += x.size
	}
	return nil
}

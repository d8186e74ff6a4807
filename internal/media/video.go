package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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

// cleanVideo finds out size, length, shape and codecs of an MP4 or QuickTime
// film and overwrites, in its place, what says where and with what it was taken.
// The film itself is not read.
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
	changed, err := blankIn(index, moov.header, 0)
	if err != nil {
		return bad(err)
	}
	journal, err := probe(index, m)
	if err != nil {
		return bad(err)
	}
	for _, r := range journal {
		if r.at < 0 || r.size < 0 || r.at > n-r.size {
			return bad(errors.New("its track of recorded data lies outside of it"))
		}
		if err := zero(f, r.at, r.size); err != nil {
			return fmt.Errorf("cleaning %s: %w", name, err)
		}
	}
	if blankTracks(index) || changed {
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
	return zero(f, b.at+b.header, b.size-b.header)
}

func zero(f *os.File, at, n int64) error {
	zeros := make([]byte, 32<<10)
	for end := at + n; at < end; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at); err != nil {
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

// stretch is a part of a file.
type stretch struct{ at, size int64 }

// probe reads length, shape and codecs from the index, and where the film holds
// what was recorded beside it: cameras write a journal of places (GoPro's GPMF,
// Apple's mebx, Google's CAMM) as a track of timed metadata.
func probe(index []byte, m *social.Media) (journal []stretch, err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder's bug must not end the program
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
	}()
	m.Codec, m.Sound = codecs(index)
	decoded, err := mp4.DecodeBox(0, bytes.NewReader(withoutDescriptions(index, m.MIME)))
	if err != nil {
		return nil, err
	}
	moov, ok := decoded.(*mp4.MoovBox)
	if !ok || moov.Mvhd == nil || moov.Mvhd.Timescale == 0 {
		return nil, errors.New("its index cannot be read")
	}
	units := moov.Mvhd.Duration
	if units == 0 && moov.Mvex != nil && moov.Mvex.Mehd != nil {
		units = uint64(moov.Mvex.Mehd.FragmentDuration)
	}
	seconds := float64(units) / float64(moov.Mvhd.Timescale)
	if units == 0 || seconds > 24*60*60 {
		return nil, errors.New("it does not say how long it is; save it as an ordinary MP4")
	}
	m.Duration = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	for i, t := range moov.Traks {
		if t.Tkhd == nil || t.Mdia == nil || t.Mdia.Hdlr == nil {
			continue
		}
		switch {
		case t.Mdia.Hdlr.HandlerType == handlerJournal:
			if moov.Mvex != nil {
				return nil, errors.New("it holds a journal of places in fragments, which smi cannot take out; save it as an ordinary MP4 without it")
			}
			parts, err := stretches(t)
			if err != nil {
				return nil, err
			}
			journal = append(journal, parts...)
		case t.Mdia.Hdlr.HandlerType == handlerPicture && m.Width == 0:
			w, h := int(uint32(t.Tkhd.Width)>>16), int(uint32(t.Tkhd.Height)>>16)
			if quarterTurned(index, i) {
				w, h = h, w
			}
			if w > 0 && h > 0 {
				m.Width, m.Height = w, h
			}
		}
	}
	if m.Width == 0 {
		return nil, errors.New("it has no picture, only sound")
	}
	return journal, nil
}

// What a track holds, by its handler (ISO/IEC 14496-12, mp4ra.org; 2026-11-25).
const (
	handlerPicture = "vide"
	handlerSound   = "soun"
	handlerJournal = "meta"
)

// stretches are where the samples of a track lie.
func stretches(t *mp4.TrakBox) ([]stretch, error) {
	if t.Mdia.Minf == nil || t.Mdia.Minf.Stbl == nil {
		return nil, nil
	}
	b := t.Mdia.Minf.Stbl
	if b.Stsz == nil || b.Stsz.GetNrSamples() == 0 {
		return nil, nil
	}
	if b.Stsc == nil || b.Stco == nil && b.Co64 == nil {
		return nil, errors.New("its track of recorded data cannot be read")
	}
	ranges, err := t.GetRangesForSampleInterval(1, b.Stsz.GetNrSamples())
	if err != nil {
		return nil, err
	}
	out := make([]stretch, len(ranges))
	for i, r := range ranges {
		if r.Offset > 1<<62 || r.Size > 1<<62 {
			return nil, errors.New("its track of recorded data cannot be read")
		}
		out[i] = stretch{int64(r.Offset), int64(r.Size)}
	}
	return out, nil
}

// blankTracks makes free space of the tracks of timed metadata.
func blankTracks(index []byte) (changed bool) {
	for i := 0; ; i++ {
		trak := child(index, "trak", i)
		if trak == nil {
			return changed
		}
		if handlerOf(trak) == handlerJournal {
			copy(trak[4:], "free")
			clear(trak[8:])
			changed = true
			i-- // it is no track any more
		}
	}
}

func handlerOf(trak []byte) string {
	hdlr := child(child(trak, "mdia", 0), "hdlr", 0)
	if len(hdlr) < 20 {
		return ""
	}
	return string(hdlr[16:20])
}

// withoutDescriptions hides the descriptions of samples of a QuickTime film from
// the decoder of MP4, which has its own form of them.
func withoutDescriptions(index []byte, mime string) []byte {
	if format(mime) != formatMOV {
		return index
	}
	out := bytes.Clone(index)
	for i := 0; ; i++ {
		trak := child(out, "trak", i)
		if trak == nil {
			return out
		}
		if stsd := child(child(child(child(trak, "mdia", 0), "minf", 0), "stbl", 0), "stsd", 0); stsd != nil {
			copy(stsd[4:], "free")
		}
	}
}

// codecs names how picture and sound of a film are encoded, from the first track
// of each; "" where it is not said.
func codecs(index []byte) (picture, sound string) {
	for i := 0; ; i++ {
		trak := child(index, "trak", i)
		if trak == nil {
			return picture, sound
		}
		stsd := child(child(child(child(trak, "mdia", 0), "minf", 0), "stbl", 0), "stsd", 0)
		if len(stsd) < 24 {
			continue
		}
		name := codecName(string(stsd[20:24]))
		switch handlerOf(trak) {
		case handlerPicture:
			if picture == "" {
				picture = name
			}
		case handlerSound:
			if sound == "" {
				sound = name
			}
		}
	}
}

// codecNames are the names under which people know the sample entries of films
// (mp4ra.org, Apple's QuickTime File Format; 2026-11-25).
var codecNames = map[string]string{
	"avc1": "h264", "avc2": "h264", "avc3": "h264", "avc4": "h264",
	"hvc1": "hevc", "hev1": "hevc", "dvh1": "hevc", "dvhe": "hevc",
	"av01": "av1", "vp08": "vp8", "vp09": "vp9", "mp4v": "mpeg4", "s263": "h263", "h263": "h263", "jpeg": "mjpeg", "mjpa": "mjpeg",
	"apch": "prores", "apcn": "prores", "apcs": "prores", "apco": "prores", "ap4h": "prores", "ap4x": "prores",
	"mp4a": "aac", "ac-3": "ac3", "ec-3": "eac3", "Opus": "opus", "fLaC": "flac", "alac": "alac", ".mp3": "mp3", "samr": "amr", "sawb": "amr",
	"sowt": "pcm", "twos": "pcm", "lpcm": "pcm", "raw ": "pcm", "in24": "pcm", "in32": "pcm", "fl32": "pcm", "ipcm": "pcm", "ulaw": "pcm", "alaw": "pcm",
}

func codecName(entry string) string {
	if n, ok := codecNames[entry]; ok {
		return n
	}
	return strings.ToLower(strings.Map(func(r rune) rune { // whatever stands there is shown to people
		if r < '!' || r > '~' {
			return -1
		}
		return r
	}, entry))
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

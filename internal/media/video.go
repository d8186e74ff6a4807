package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
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

// The bounds of what is looked at in a film: boxes of the file, boxes of the index,
// and tracks, each of which is looked for from the beginning.
const (
	maxBoxes  = 2_000_000
	maxParts  = 10_000
	maxTracks = 100
)

// cleanVideo finds out size, length, shape and codecs of an MP4 or QuickTime
// film and, unless everything is to stay, overwrites in its place what says where
// and with what it was taken. The film itself is not read.
func cleanVideo(ctx context.Context, f *os.File, n int64, name string, m *social.Media, asIs bool) error {
	bad := func(err error) error { return refuse("%s is not a readable video: %s", name, reason(err)) }
	var moov *box
	w := &wiper{ctx: ctx, f: f, left: maxBoxes}
	films := 0
	for at := int64(0); at < n; {
		b, err := w.boxAt(at, n)
		if err != nil {
			return w.verdict(err, bad)
		}
		switch {
		case b.name == "moov":
			if moov != nil {
				return bad(errors.New("it has two indexes"))
			}
			moov = &b
		case b.name == "mdat":
			films++
		case asIs:
		case b.name == "moof":
			err = w.fragment(b)
		case !slices.Contains(keptBoxes["file"], b.name):
			err = w.blank(b)
		}
		if err != nil {
			return w.verdict(err, bad)
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
	if err := countParts(index); err != nil {
		return bad(err)
	}
	if err := probe(index, m); err != nil {
		return bad(err)
	}
	if asIs {
		return nil
	}
	if err := blankIn(index, moov.header, "moov"); err != nil {
		return bad(err)
	}
	if err := w.journals(index, n); err != nil {
		return w.verdict(err, bad)
	}
	if _, err := f.WriteAt(index, moov.at); err != nil {
		return fmt.Errorf("cleaning %s: %w", name, err)
	}
	return nil
}

// keptBoxes are those of a film, of its index and of a track that say how it is
// shown; all others are somebody's own, and cameras write places into many of
// them: udta, meta, uuid, but also free, skip and gps (ISO/IEC 14496-12, mp4ra.org,
// Apple's QuickTime File Format; 2026-11-25).
var keptBoxes = map[string][]string{
	"file": {"ftyp", "styp", "sidx", "ssix", "mfra", "pdin", "wide"},
	"moov": {"mvhd", "mvex", "iods"},
	"trak": {"tkhd", "edts", "tref", "load", "tapt", "clip", "matt", "imap", "trgr"},
}

// personal are the boxes that have nothing to say anywhere else.
var personal = []string{"udta", "meta", "uuid"}

// inside is which box of a box is looked into, too.
var inside = map[string]string{"moov": "trak", "trak": "mdia", "mdia": "minf", "minf": "stbl", "moof": "traf"}

func stays(in, name string) bool {
	if kept, ok := keptBoxes[in]; ok {
		return slices.Contains(kept, name)
	}
	return !slices.Contains(personal, name)
}

// wiper overwrites parts of a file.
type wiper struct {
	ctx   context.Context //nolint:containedctx // lives as long as one file is looked at
	f     *os.File
	left  int // boxes that may still be looked at
	zeros []byte
}

// boxAt is the function of that name for the file.
func (w *wiper) boxAt(at, end int64) (box, error) {
	if w.left--; w.left < 0 {
		return box{}, errors.New("it has too many parts")
	}
	if w.left%1024 == 0 && w.ctx.Err() != nil {
		return box{}, w.ctx.Err()
	}
	return boxAt(w.f, at, end)
}

// verdict tells what is wrong with a film from what is wrong with the disk, and
// from a caller who gave up.
func (w *wiper) verdict(err error, bad func(error) error) error {
	if w.ctx.Err() != nil {
		return w.ctx.Err()
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cleaning a video: %w", err)
	}
	return bad(err)
}

// blank makes a box of the file one of free space, with zeros in it.
func (w *wiper) blank(b box) error {
	if _, err := w.f.WriteAt([]byte("free"), b.at+4); err != nil {
		return err
	}
	return w.zero(b.at+b.header, b.size-b.header)
}

func (w *wiper) zero(at, n int64) error {
	if w.zeros == nil {
		w.zeros = make([]byte, 32<<10)
	}
	for end := at + n; at < end; at += int64(len(w.zeros)) {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if _, err := w.f.WriteAt(w.zeros[:min(int64(len(w.zeros)), end-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// fragment blanks what is personal in a box of the file, and in those inside.
func (w *wiper) fragment(outer box) error {
	end := outer.at + outer.size
	for at := outer.at + outer.header; at < end; {
		b, err := w.boxAt(at, end)
		switch {
		case err != nil:
		case b.name == inside[outer.name]:
			err = w.fragment(b)
		case !stays(outer.name, b.name):
			err = w.blank(b)
		}
		if err != nil {
			return err
		}
		at += b.size
	}
	return nil
}

// blankIn does the same to the index. Sizes do not change, so no offset does.
func blankIn(b []byte, from int64, in string) error {
	r := bytes.NewReader(b)
	for at := from; at < int64(len(b)); {
		x, err := boxAt(r, at, int64(len(b)))
		if err != nil {
			return err
		}
		switch {
		case x.name == inside[in]:
			if err := blankIn(b[x.at:x.at+x.size], x.header, x.name); err != nil {
				return err
			}
		case !stays(in, x.name):
			copy(b[x.at+4:], "free")
			clear(b[x.at+x.header : x.at+x.size])
		}
		at += x.size
	}
	return nil
}

// journals overwrites what the film holds beside picture and sound, and makes
// free space of its tracks: cameras write a journal of places (GoPro's GPMF,
// Apple's mebx, Google's CAMM, Sony's rtmd), drones one as subtitles. Of the other
// tracks goes who made their encoder.
func (w *wiper) journals(index []byte, n int64) error {
	left := n // they cannot be more than the file
	for i := 0; ; {
		trak := child(index, "trak", i)
		if trak == nil {
			return nil
		}
		if slices.Contains(keptTracks, handlerOf(trak)) {
			nameless(trak)
			i++
			continue
		}
		if child(index, "mvex", 0) != nil {
			return errors.New("it holds subtitles or a journal of places in fragments, which smi cannot take out; save it as an ordinary MP4 without them")
		}
		if err := w.samples(trak, n, &left); err != nil {
			return err
		}
		copy(trak[4:], "free") // now the next one is the i-th
		clear(trak[8:])
	}
}

// keptTracks are the handlers of what is seen and heard, of time codes, closed
// captions and what helps to send it (ISO/IEC 14496-12, mp4ra.org; 2026-11-25).
var keptTracks = []string{handlerPicture, handlerSound, "tmcd", "clcp", "hint", "auxv"}

const (
	handlerPicture = "vide"
	handlerSound   = "soun"
)

// nameless takes the names out of a track: of its handler, and of what encoded
// its picture, which is often the camera.
func nameless(trak []byte) {
	mdia := child(trak, "mdia", 0)
	if hdlr := child(mdia, "hdlr", 0); len(hdlr) > 20 {
		clear(hdlr[20:])
	}
	if handlerOf(trak) != handlerPicture {
		return
	}
	if stsd := child(child(child(mdia, "minf", 0), "stbl", 0), "stsd", 0); len(stsd) >= 16+86 {
		clear(stsd[16+20 : 16+24]) // who
		clear(stsd[16+50 : 16+82]) // and what
	}
}

// samples overwrites those of a track. Each byte of a film belongs to one sample
// at most, so all together are no longer than it.
func (w *wiper) samples(trak []byte, n int64, left *int64) error {
	unreadable, outside := errors.New("its track of recorded data cannot be read"), errors.New("its track of recorded data lies outside of it")
	stbl := child(child(child(trak, "mdia", 0), "minf", 0), "stbl", 0)
	offsets, wide := child(stbl, "stco", 0), 4
	if offsets == nil {
		offsets, wide = child(stbl, "co64", 0), 8
	}
	chunks, ok := entries(offsets, 12, wide)
	if !ok {
		return unreadable
	}
	if chunks == 0 {
		return nil
	}
	sizes, runs := child(stbl, "stsz", 0), child(stbl, "stsc", 0)
	changes, ok := entries(runs, 12, 12)
	if !ok || len(sizes) < 20 {
		return unreadable
	}
	one, count := int64(binary.BigEndian.Uint32(sizes[12:])), int64(binary.BigEndian.Uint32(sizes[16:]))
	if one == 0 && count > int64(len(sizes)-20)/4 {
		return unreadable
	}
	next, each := 0, int64(0)
	for chunk := range chunks {
		for next < changes && int64(binary.BigEndian.Uint32(runs[16+12*next:])) <= int64(chunk)+1 {
			each = int64(binary.BigEndian.Uint32(runs[16+12*next+4:]))
			next++
		}
		take := min(each, count)
		if one > 0 && take > *left/one {
			return outside
		}
		size := one * take
		if one == 0 {
			for range take {
				size += int64(binary.BigEndian.Uint32(sizes[20:]))
				sizes = sizes[4:]
			}
		}
		count -= take
		at := int64(binary.BigEndian.Uint32(offsets[16+wide*chunk:]))
		if wide == 8 {
			at = int64(binary.BigEndian.Uint64(offsets[16+8*chunk:]) & (1<<62 - 1))
		}
		if *left -= size; *left < 0 || at > n-size {
			return outside
		}
		if err := w.zero(at, size); err != nil {
			return err
		}
	}
	if count > 0 {
		return unreadable
	}
	return nil
}

// entries is how many entries of a width the table of a box has, of which the
// number stands at a place; false if it has fewer than it says.
func entries(b []byte, at, width int) (int, bool) {
	if b == nil {
		return 0, true
	}
	if len(b) < at+4 {
		return 0, false
	}
	n := int64(binary.BigEndian.Uint32(b[at:]))
	return int(n), n <= int64(len(b)-at-4)/int64(width)
}

// countParts refuses an index in which it would take long to find anything.
func countParts(index []byte) error {
	r := bytes.NewReader(index)
	x, err := boxAt(r, 0, int64(len(index)))
	if err != nil {
		return err
	}
	parts, tracks := 0, 0
	for at := x.header; at < int64(len(index)); at += x.size {
		if x, err = boxAt(r, at, int64(len(index))); err != nil {
			return err
		}
		if x.name == "trak" {
			tracks++
		}
		if parts++; parts > maxParts || tracks > maxTracks {
			return errors.New("its index has too many parts")
		}
	}
	return nil
}

// probe reads length, shape and codecs from the index.
func probe(index []byte, m *social.Media) (err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder's bug must not end the program
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
	}()
	m.Codec, m.Sound = codecs(index)
	decoded, err := mp4.DecodeBox(0, bytes.NewReader(reduced(index)))
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
		if t.Tkhd == nil || t.Mdia == nil || t.Mdia.Hdlr == nil || t.Mdia.Hdlr.HandlerType != handlerPicture {
			continue
		}
		w, h := int(uint32(t.Tkhd.Width)>>16), int(uint32(t.Tkhd.Height)>>16)
		if quarterTurned(index, i) {
			w, h = h, w
		}
		if w > 0 && h > 0 {
			m.Width, m.Height = w, h
			return nil
		}
	}
	return errors.New("it has no picture, only sound")
}

// shown is what the decoder gets to see of some boxes. Of tables it believes how
// long they say they are, which can be more than there is memory, and boxes in
// boxes it follows as deep as they go. The descriptions of samples have a form of
// their own in QuickTime.
var shown = map[string][]string{"moov": {"mvhd", "mvex", "trak"}, "mvex": {"mehd"}, "trak": {"tkhd", "mdia"}, "mdia": {"hdlr"}}

// reduced is a box with what is shown of it.
func reduced(b []byte) []byte {
	r := bytes.NewReader(b)
	outer, err := boxAt(r, 0, int64(len(b)))
	if err != nil {
		return nil
	}
	out := append(make([]byte, 4), outer.name...)
	if names, ok := shown[outer.name]; !ok {
		out = append(out, b[outer.header:]...)
	} else {
		for at := outer.header; at < int64(len(b)); {
			x, err := boxAt(r, at, int64(len(b)))
			if err != nil {
				return nil
			}
			if slices.Contains(names, x.name) {
				out = append(out, reduced(b[x.at:x.at+x.size])...)
			}
			at += x.size
		}
	}
	binary.BigEndian.PutUint32(out, uint32(len(out))) //nolint:gosec // as long as the index at most
	return out
}

func handlerOf(trak []byte) string {
	hdlr := child(child(trak, "mdia", 0), "hdlr", 0)
	if len(hdlr) < 20 {
		return ""
	}
	return string(hdlr[16:20])
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

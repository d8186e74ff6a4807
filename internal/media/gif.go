package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"smi/internal/social"
)

// cleanGIF copies the blocks that make the picture and leaves out comments and
// the data of applications. Frames are counted before one is decoded.
func (s *Store) cleanGIF(raw []byte, out io.Writer, name string, m *social.Media) error {
	var b bytes.Buffer
	g, err := gifBlocks(raw, &b, s.limits.Frames)
	if errors.Is(err, errTooManyFrames) {
		return refuse("%s has more than %d frames; make it shorter or save it as MP4", name, s.limits.Frames)
	}
	if err != nil {
		return refuse("%s is not a readable image: %s", name, reason(err))
	}
	if g.pixels > maxGIFPixels {
		return refuse("%s has %d frames of up to %d × %d pixels, which is too much; save it as MP4", name, g.frames, g.width, g.height)
	}
	if _, err := decodePicture(formatGIF, b.Bytes()); err != nil {
		return refuse("%s is not a readable image: %s", name, reason(err))
	}
	m.Kind, m.MIME, m.Width, m.Height = social.Image, string(formatGIF), g.width, g.height
	if g.frames > 1 {
		m.Kind, m.Duration = social.GIF, g.duration
	}
	if !s.asIs {
		raw = b.Bytes()
	}
	if _, err := out.Write(raw); err != nil {
		return fmt.Errorf("saving %s: %w", name, err)
	}
	return nil
}

var errTooManyFrames = errors.New("too many frames")

// gifBlocks walks the blocks of a GIF (GIF89a specification, 1990) and writes
// those that are kept to out.
func gifBlocks(b []byte, out *bytes.Buffer, maxFrames int) (g gifInfo, err error) {
	cut := io.ErrUnexpectedEOF
	if len(b) < 13 {
		return g, cut
	}
	g.width, g.height = int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))
	i := 13 + colours(b[10])
	if i > len(b) {
		return g, cut
	}
	out.Write(b[:i])
	blocks := func(at int) (int, error) { // skips sub-blocks
		for {
			if at >= len(b) {
				return 0, cut
			}
			n := int(b[at])
			at += 1 + n
			if n == 0 {
				return at, nil
			}
		}
	}
	for {
		if i >= len(b) {
			return g, cut
		}
		start := i
		switch b[i] {
		case 0x3b: // the end; what follows is not part of the picture
			if g.frames == 0 {
				return g, errors.New("it has no frames")
			}
			out.WriteByte(0x3b)
			return g, nil
		case 0x21: // an extension
			if i+3 > len(b) {
				return g, cut
			}
			label := b[i+1]
			if i, err = blocks(i + 2); err != nil {
				return g, err
			}
			body := b[start:i]
			switch {
			case label == 0xf9: // how long a frame is shown
				if len(body) >= 8 && body[2] == 4 {
					g.duration += centiseconds(binary.LittleEndian.Uint16(body[4:]))
					out.Write(append(body[:7:7], 0))
				}
			case label == 0xff && len(body) >= 19 && body[2] == 11 && body[14] == 3 && (string(body[3:14]) == "NETSCAPE2.0" || string(body[3:14]) == "ANIMEXTS1.0"):
				out.Write(append(body[:18:18], 0)) // how often it repeats
			}
		case 0x2c: // a frame
			if i+11 > len(b) {
				return g, cut
			}
			g.frames++
			if g.frames > maxFrames {
				return g, errTooManyFrames
			}
			g.pixels += int64(binary.LittleEndian.Uint16(b[i+5:])) * int64(binary.LittleEndian.Uint16(b[i+7:]))
			if i, err = blocks(i + 11 + colours(b[i+9])); err != nil {
				return g, err
			}
			out.Write(b[start:i])
		default:
			return g, fmt.Errorf("it has an unknown block %#x", b[i])
		}
	}
}

// colours is the length of the colour table that a flags byte announces.
func colours(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

type gifInfo struct {
	width, height, frames int
	pixels                int64 // of all frames together
	duration              time.Duration
}

func centiseconds(n uint16) time.Duration { return time.Duration(n) * 10 * time.Millisecond }

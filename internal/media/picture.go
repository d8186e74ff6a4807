package media

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/webp"

	"smi/internal/social"
)

// importQuality is the JPEG quality of pictures as they are stored: losses are
// hard to see, and networks encode anew anyway.
const importQuality = 92

// cleanPicture reads a picture, turns it upright and writes it anew without
// anything but its pixels (and its colour profile, for JPEG). If everything is to
// stay, it is written as it came, unless it is a WebP, which few networks take.
func (s *Store) cleanPicture(f format, in io.ReadSeeker, out io.Writer, name string, m *social.Media) error {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := s.bounds(f, raw, name); err != nil {
		return err
	}
	if f == formatGIF {
		return s.cleanGIF(raw, out, name, m)
	}
	if f == formatPNG && pngChunk(raw, "acTL") != nil {
		return refuse("%s is an animated PNG, which networks show as one still picture; save it as GIF or MP4", name)
	}
	img, err := decodePicture(f, raw)
	if err != nil {
		return refuse("%s is not a readable image: %s", name, reason(err))
	}
	turned := orientation(f, raw)
	if s.asIs && f != formatWebP {
		m.Kind, m.MIME, m.Width, m.Height = social.Image, string(f), img.Bounds().Dx(), img.Bounds().Dy()
		if turned >= 5 {
			m.Width, m.Height = m.Height, m.Width
		}
		_, err := out.Write(raw)
		return err
	}
	img = upright(img, turned)
	m.Kind, m.Width, m.Height = social.Image, img.Bounds().Dx(), img.Bounds().Dy()
	switch {
	case f == formatJPEG:
		m.MIME = string(formatJPEG)
		return encodeJPEG(out, img, importQuality, profileOf(img, raw))
	case f == formatWebP && opaque(img):
		m.MIME = string(formatJPEG)
		return encodeJPEG(out, img, importQuality, nil)
	default:
		m.MIME = string(formatPNG)
		return png.Encode(out, img)
	}
}

// bounds reads only the header and refuses what would take too much memory.
func (s *Store) bounds(f format, raw []byte, name string) error {
	c, err := configOf(f, raw)
	if err != nil {
		return refuse("%s is not a readable image: %s", name, reason(err))
	}
	if c.Width <= 0 || c.Height <= 0 {
		return refuse("%s is not a readable image: it has no size", name)
	}
	if int64(c.Width)*int64(c.Height) > s.limits.Pixels {
		return refuse("%s has %d × %d pixels; at most %d million are taken. Make it smaller", name, c.Width, c.Height, s.limits.Pixels/1_000_000)
	}
	return nil
}

func configOf(f format, raw []byte) (image.Config, error) {
	r := bytes.NewReader(raw)
	switch f {
	case formatJPEG:
		return jpeg.DecodeConfig(r)
	case formatPNG:
		return png.DecodeConfig(r)
	case formatGIF:
		return gif.DecodeConfig(r)
	case formatWebP:
		return webp.DecodeConfig(r)
	case formatMP4, formatMOV:
	}
	return image.Config{}, errors.New("no picture")
}

func decodePicture(f format, raw []byte) (img image.Image, err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder's bug must not end the program
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
	}()
	r := bytes.NewReader(raw)
	switch f {
	case formatJPEG:
		return jpeg.Decode(r)
	case formatPNG:
		return png.Decode(r)
	case formatGIF:
		return gif.Decode(r)
	case formatWebP:
		return webp.Decode(r)
	case formatMP4, formatMOV:
	}
	return nil, errors.New("no picture")
}

// reason says in a person's words why a decoder failed.
func reason(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return cutOff
	}
	text := err.Error()
	// The decoders have no error values for this.
	for _, sign := range []string{"short Huffman data", "not enough pixel data", "not enough image data", "unexpected EOF"} {
		if strings.Contains(text, sign) {
			return cutOff
		}
	}
	return text
}

const cutOff = "it is cut off; copy or export it again"

func opaque(img image.Image) bool {
	o, ok := img.(interface{ Opaque() bool })
	return ok && o.Opaque()
}

// encodeJPEG writes a JPEG; what is transparent becomes white. profile is
// written as it is, after the first marker.
func encodeJPEG(w io.Writer, img image.Image, quality int, profile []byte) error {
	if !opaque(img) {
		flat := image.NewRGBA(img.Bounds())
		draw.Draw(flat, flat.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(flat, flat.Bounds(), img, img.Bounds().Min, draw.Over)
		img = flat
	}
	if len(profile) == 0 {
		return jpeg.Encode(w, img, &jpeg.Options{Quality: quality})
	}
	return jpeg.Encode(&afterMarker{w: w, insert: profile}, img, &jpeg.Options{Quality: quality})
}

// afterMarker writes insert after the first two bytes.
type afterMarker struct {
	w      io.Writer
	insert []byte
	n      int
}

func (a *afterMarker) Write(p []byte) (int, error) {
	written := 0
	if a.n < 2 {
		k := min(2-a.n, len(p))
		n, err := a.w.Write(p[:k])
		a.n += n
		if err != nil || a.n < 2 {
			return n, err
		}
		if _, err := a.w.Write(a.insert); err != nil {
			return n, err
		}
		written, p = n, p[k:]
	}
	n, err := a.w.Write(p)
	return written + n, err
}

// upright turns an image as its EXIF orientation (1 to 8) says.
func upright(img image.Image, o int) image.Image {
	if o < 2 || o > 8 {
		return img
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	src := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.Draw(src, src.Bounds(), img, b.Min, draw.Src)
	dw, dh := w, h
	if o >= 5 {
		dw, dh = h, w
	}
	dst := image.NewNRGBA(image.Rect(0, 0, dw, dh))
	for y := range dh {
		for x := range dw {
			sx, sy := x, y
			switch o {
			case 2:
				sx = w - 1 - x
			case 3:
				sx, sy = w-1-x, h-1-y
			case 4:
				sy = h - 1 - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, h-1-x
			case 7:
				sx, sy = w-1-y, h-1-x
			case 8:
				sx, sy = w-1-y, x
			}
			copy(dst.Pix[y*dst.Stride+4*x:][:4], src.Pix[sy*src.Stride+4*sx:][:4])
		}
	}
	return dst
}

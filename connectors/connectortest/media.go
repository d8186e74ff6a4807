package connectortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"testing"
	"time"

	"smi/internal/social"
)

var mediaKinds = []social.MediaKind{social.Image, social.GIF, social.Video, social.Document}

// files is a media source in memory.
type files map[string][]byte

func (f files) Open(ctx context.Context, hash string) (io.ReadSeekCloser, error) {
	b, ok := f[hash]
	if !ok {
		return nil, fmt.Errorf("there is no file %s", hash)
	}
	return readCloser{bytes.NewReader(b)}, ctx.Err()
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// medium makes a file of exactly this size and the medium it is.
func (c *check) medium(kind social.MediaKind, mime string, size int64) social.Media {
	c.Helper()
	mk := c.h.Media
	if mk == nil {
		mk = MediaBytes
	}
	b := mk(c.T, kind, mime, size)
	sum := sha256.Sum256(b)
	h := hex.EncodeToString(sum[:])
	c.files[h] = b
	m := social.Media{Hash: h, Kind: kind, MIME: mime, Bytes: int64(len(b)), Width: 64, Height: 64}
	if kind == social.Video {
		m.Duration = max(time.Second, c.r.about.Limits.Of(kind).MinDuration)
	}
	return m
}

// MediaBytes makes a file of exactly size bytes that begins as its type does. A
// picture of 64 × 64 points can be decoded; a video or document is a header
// with padding.
func MediaBytes(t testing.TB, _ social.MediaKind, mime string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	img := image.NewPaletted(image.Rect(0, 0, 64, 64), color.Palette{color.White, color.Black})
	var err error
	switch mime {
	case "image/png":
		err = png.Encode(&b, img)
		if room := size - int64(b.Len()) - 12; err == nil && room >= 0 {
			return padPNG(b.Bytes(), room)
		}
	case "image/jpeg":
		err = jpeg.Encode(&b, img, nil)
	case "image/gif":
		still := *img
		err = gif.EncodeAll(&b, &gif.GIF{Image: []*image.Paletted{img, &still}, Delay: []int{10, 10}})
	case "video/mp4", "video/quicktime":
		b.Write([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"))
		if room := size - int64(b.Len()); room >= 8 {
			box := make([]byte, room)
			binary.BigEndian.PutUint32(box, uint32(room)) //nolint:gosec // the suite makes no file of 4 GiB
			copy(box[4:], "free")
			b.Write(box)
		}
	case "application/pdf":
		b.WriteString("%PDF-1.4\n")
	}
	if err != nil {
		t.Fatalf("making a file of type %s: %v", mime, err)
	}
	if int64(b.Len()) > size {
		t.Fatalf("a file of type %s cannot be made of %d bytes", mime, size)
	}
	b.Write(make([]byte, size-int64(b.Len())))
	return b.Bytes()
}

// padPNG puts a private chunk with room bytes before the last chunk, IEND.
func padPNG(b []byte, room int64) []byte {
	body := append([]byte("smIp"), make([]byte, room)...)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(room)) //nolint:gosec // see MediaBytes
	chunk = append(chunk, body...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(body))
	end := len(b) - 12
	return append(append(append([]byte(nil), b[:end]...), chunk...), b[end:]...)
}

package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/internal/social"
)

// memoryIndex is an Index without a database.
type memoryIndex struct {
	mu      sync.Mutex
	files   map[string]social.Media
	derived map[string]string
}

func (x *memoryIndex) SaveMedia(_ context.Context, _ social.ID, m social.Media) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.files[m.Hash]; !ok {
		x.files[m.Hash] = m
	}
	return nil
}

func (x *memoryIndex) SaveDerived(_ context.Context, from, rule string, m social.Media) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.files[m.Hash], x.derived[from+rule] = m, m.Hash
	return nil
}

func (x *memoryIndex) Derived(_ context.Context, from, rule string) (social.Media, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m, ok := x.files[x.derived[from+rule]]
	return m, ok, nil
}

func (x *memoryIndex) MediaOf(_ context.Context, _ social.ID, hash string) (social.Media, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m, ok := x.files[hash]
	return m, ok, nil
}

func (x *memoryIndex) MediaList(context.Context, social.ID, int) ([]social.Media, error) {
	return nil, nil
}

func newStore(t testing.TB, l Limits) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "media")
	s, err := Open(Options{Dir: dir, Index: &memoryIndex{files: map[string]social.Media{}, derived: map[string]string{}}, Limits: l, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

func (s *Store) imported(t testing.TB, name string, b []byte) social.Media {
	t.Helper()
	m, err := s.Import(t.Context(), 1, name, bytes.NewReader(b))
	if err != nil {
		t.Fatalf("importing %s: %v", name, err)
	}
	return m
}

func (s *Store) bytes(t testing.TB, hash string) []byte {
	t.Helper()
	f, err := s.Open(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picture has four coloured corners: red, green / blue, white.
func picture(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{255, 0, 0, 255}
			switch {
			case x >= w/2 && y >= h/2:
				c = color.NRGBA{255, 255, 255, 255}
			case x >= w/2:
				c = color.NRGBA{0, 255, 0, 255}
			case y >= h/2:
				c = color.NRGBA{0, 0, 255, 255}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

// noise cannot be compressed.
func noise(w, h int, alpha bool) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	n := uint32(1)
	for i := range img.Pix {
		n = n*1664525 + 1013904223
		img.Pix[i] = byte(n >> 24)
		if i%4 == 3 && !alpha {
			img.Pix[i] = 255
		}
	}
	return img
}

func corners(img image.Image) string {
	b := img.Bounds()
	var out strings.Builder
	for _, p := range []image.Point{{b.Min.X + 2, b.Min.Y + 2}, {b.Max.X - 3, b.Min.Y + 2}, {b.Min.X + 2, b.Max.Y - 3}, {b.Max.X - 3, b.Max.Y - 3}} {
		r, g, bl, _ := img.At(p.X, p.Y).RGBA()
		switch {
		case r > 0xc000 && g > 0xc000 && bl > 0xc000:
			out.WriteByte('w')
		case r > g && r > bl:
			out.WriteByte('r')
		case g > r && g > bl:
			out.WriteByte('g')
		default:
			out.WriteByte('b')
		}
	}
	return out.String()
}

func asJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// jpegSegment makes a segment; afterSOI puts segments where cameras do.
func jpegSegment(marker byte, body string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(body)+2))
	return append(b, body...)
}

func afterSOI(j []byte, segs ...[]byte) []byte {
	out := append([]byte(nil), j[:2]...)
	for _, s := range segs {
		out = append(out, s...)
	}
	return append(out, j[2:]...)
}

const place1 = "GPS-52.5200N-13.4050E"

// exif is a TIFF block with an orientation and a GPS directory that holds
// place1.
func exif(o binary.AppendByteOrder, orientation uint16) string {
	b := []byte("II*\x00")
	if o.String() == "BigEndian" {
		b = []byte("MM\x00*")
	}
	b = o.AppendUint32(b, 8)
	b = o.AppendUint16(b, 2)
	entry := func(tag, typ uint16, n uint32, v uint32, short bool) {
		b = o.AppendUint16(b, tag)
		b = o.AppendUint16(b, typ)
		b = o.AppendUint32(b, n)
		if short {
			b = o.AppendUint16(b, uint16(v))
			b = append(b, 0, 0)
		} else {
			b = o.AppendUint32(b, v)
		}
	}
	entry(0x0112, 3, 1, uint32(orientation), true)
	entry(0x8825, 4, 1, 38, false) // GPS directory
	b = o.AppendUint32(b, 0)
	b = o.AppendUint16(b, 1)
	entry(0x001b, 7, uint32(len(place1)), 56, false)
	b = o.AppendUint32(b, 0)
	return string(b) + place1
}

func TestEXIFIsRemovedAndOrientationApplied(t *testing.T) {
	t.Parallel()
	want := map[uint16]string{ // corners as people see them, from rg/bw
		1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "brwg", 7: "wgbr", 8: "gwrb",
		0: "rgbw", 9: "rgbw",
	}
	plain := asJPEG(t, picture(64, 32))
	for o, corner := range want {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			s, _ := newStore(t, Limits{})
			raw := afterSOI(plain, jpegSegment(0xe1, "Exif\x00\x00"+exif(order, o)), jpegSegment(0xe1, "http://ns.adobe.com/xap/1.0/\x00"+place1), jpegSegment(0xed, "Photoshop 3.0\x00"+place1), jpegSegment(0xfe, "comment "+place1))
			raw = append(raw, "<?php "+place1+"<script>alert(1)</script>"...)
			if !bytes.Contains(raw, []byte(place1)) {
				t.Fatal("the picture to import has no place: the test proves nothing")
			}
			m := s.imported(t, "photo.jpg", raw)
			b := s.bytes(t, m.Hash)
			if bytes.Contains(b, []byte(place1)) || bytes.Contains(b, []byte("Exif")) || bytes.Contains(b, []byte("script")) {
				t.Errorf("orientation %d: what must go is still there", o)
			}
			img, err := jpeg.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if got := corners(img); got != corner {
				t.Errorf("orientation %d %v: corners %s, want %s", o, order, got, corner)
			}
			w, h := 64, 32
			if o >= 5 && o <= 8 {
				w, h = 32, 64
			}
			if m.Width != w || m.Height != h || m.Kind != social.Image || m.MIME != "image/jpeg" || m.Bytes != int64(len(b)) {
				t.Errorf("orientation %d: %+v, want %d × %d", o, m, w, h)
			}
		}
	}
}

// TestGIFBlocks: of the blocks that are kept nothing stays but what they are for.
func TestGIFBlocks(t *testing.T) {
	t.Parallel()
	raw := gifOf(t, 3)
	at := bytes.Index(raw, []byte("NETSCAPE2.0"))
	if at < 0 || raw[at+15] != 0 && raw[at+11] != 3 {
		t.Fatal("the GIF does not repeat")
	}
	hidden := append([]byte{byte(len(place1))}, place1...)
	loud := slices.Concat(raw[:at+15], hidden, raw[at+15:])
	frame := bytes.Index(loud, []byte{0x21, 0xf9, 4})
	loud = slices.Concat(loud[:frame+7], hidden, loud[frame+7:])
	s, _ := newStore(t, Limits{})
	m := s.imported(t, "moving.gif", loud)
	got := s.bytes(t, m.Hash)
	if bytes.Contains(got, []byte(place1)) {
		t.Error("the place is still in the file")
	}
	if g, err := gif.DecodeAll(bytes.NewReader(got)); err != nil || len(g.Image) != 3 || g.LoopCount != 0 || g.Delay[0] != 7 {
		t.Errorf("the stored GIF has changed: %v", err)
	}
}

func TestColourProfileStays(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, Limits{})
	profile := "ICC_PROFILE\x00\x01\x01" + strings.Repeat("p3", 300)
	m := s.imported(t, "p3.jpg", afterSOI(asJPEG(t, noise(900, 900, false)), jpegSegment(0xe2, profile), jpegSegment(0xe2, "MPF\x00"+place1)))
	small, err := s.Fit(t.Context(), m, FitRule{MaxSide: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{m.Hash, small.Hash} {
		b := s.bytes(t, hash)
		if !bytes.Contains(b, []byte(profile)) || bytes.Contains(b, []byte(place1)) {
			t.Error("the profile is gone, or something else stayed")
		}
		if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
			t.Error(err)
		}
	}
}

func pngWith(raw []byte, name string, body []byte) []byte {
	c := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	c = append(append(c, name...), body...)
	c = binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
	const afterIHDR = 8 + 25
	return append(append(append([]byte(nil), raw[:afterIHDR]...), c...), raw[afterIHDR:]...)
}

func gifOf(t testing.TB, frames int) []byte {
	t.Helper()
	g := &gif.GIF{}
	for i := range frames {
		p := image.NewPaletted(image.Rect(0, 0, 20, 10), color.Palette{color.Black, color.White, color.RGBA{255, 0, 0, 255}})
		p.SetColorIndex(i%20, i%10, 1)
		g.Image, g.Delay = append(g.Image, p), append(g.Delay, 7)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gifWithComment puts a comment and an XMP block before the trailer, and
// rubbish after it.
func gifWithComment(raw []byte) []byte {
	out := append([]byte(nil), raw[:len(raw)-1]...)
	out = append(out, 0x21, 0xfe, byte(len(place1)))
	out = append(out, place1...)
	out = append(out, 0, 0x21, 0xff, 11)
	out = append(out, "XMP DataXMP"...)
	out = append(out, byte(len(place1)))
	out = append(out, place1...)
	return append(out, append([]byte{0, 0x3b}, "<html>"+place1...)...)
}

func TestWhatIsTaken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		raw  []byte
		want social.Media // without hash and bytes
	}{
		{"photo.jpg", asJPEG(t, picture(40, 30)), social.Media{Kind: social.Image, MIME: "image/jpeg", Width: 40, Height: 30}},
		{"really a jpeg.png", asJPEG(t, picture(40, 30)), social.Media{Kind: social.Image, MIME: "image/jpeg", Width: 40, Height: 30}},
		{"drawing.png", asPNG(t, picture(40, 30)), social.Media{Kind: social.Image, MIME: "image/png", Width: 40, Height: 30}},
		{"turned.png", pngWith(asPNG(t, picture(40, 30)), "eXIf", []byte(exif(binary.BigEndian, 6))), social.Media{Kind: social.Image, MIME: "image/png", Width: 30, Height: 40}},
		{"still.gif", gifOf(t, 1), social.Media{Kind: social.Image, MIME: "image/gif", Width: 20, Height: 10}},
		{"moving.gif", gifWithComment(gifOf(t, 5)), social.Media{Kind: social.GIF, MIME: "image/gif", Width: 20, Height: 10, Duration: 350 * time.Millisecond}},
		{"picture.webp", webpOf(8, 4, color.NRGBA{200, 10, 10, 255}), social.Media{Kind: social.Image, MIME: "image/jpeg", Width: 8, Height: 4}},
		{"transparent.webp", webpOf(8, 4, color.NRGBA{200, 10, 10, 100}), social.Media{Kind: social.Image, MIME: "image/png", Width: 8, Height: 4}},
		{"film.mp4", film(filmOptions{width: 1920, height: 1080, ms: 61_500}), social.Media{Kind: social.Video, MIME: "video/mp4", Width: 1920, Height: 1080, Duration: 61500 * time.Millisecond}},
		{"upright.mp4", film(filmOptions{width: 1920, height: 1080, ms: 1000, turned: true}), social.Media{Kind: social.Video, MIME: "video/mp4", Width: 1080, Height: 1920, Duration: time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, dir := newStore(t, Limits{})
			m := s.imported(t, tt.name, tt.raw)
			b := s.bytes(t, m.Hash)
			tt.want.Hash, tt.want.Bytes, tt.want.Name = m.Hash, int64(len(b)), tt.name
			if m != tt.want {
				t.Errorf("got %+v\nwant %+v", m, tt.want)
			}
			if bytes.Contains(b, []byte(place1)) {
				t.Error("the place is still in the file")
			}
			again := s.imported(t, tt.name, tt.raw)
			if again != m {
				t.Errorf("the second time it is %+v", again)
			}
			if rest := files(t, dir); len(rest) != 1 || rest[0] != filepath.Join(m.Hash[:2], m.Hash[2:4], m.Hash) {
				t.Errorf("files: %v", rest)
			}
			if _, err := s.Get(t.Context(), 1, m.Hash); err != nil {
				t.Error(err)
			}
			switch m.Kind {
			case social.GIF, social.Image:
				if _, _, err := image.Decode(bytes.NewReader(b)); err != nil {
					t.Errorf("what was stored cannot be read: %v", err)
				}
			}
			if m.Kind == social.GIF {
				g, err := gif.DecodeAll(bytes.NewReader(b))
				if err != nil || len(g.Image) != 5 || g.LoopCount != 0 || g.Delay[0] != 7 {
					t.Errorf("the stored GIF has changed: %v", err)
				}
			}
		})
	}
}

// files lists all files below dir and checks their rights.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the rights %v", p, info.Mode())
		}
		rel, err := filepath.Rel(dir, p)
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	photo, drawing := asJPEG(t, noise(100, 100, false)), asPNG(t, noise(100, 100, false))
	bomb := append([]byte(nil), drawing...)
	binary.BigEndian.PutUint32(bomb[16:], 250_000)
	binary.BigEndian.PutUint32(bomb[20:], 200_000)
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	tests := []struct {
		name string
		raw  []byte
		want string
	}{
		{"empty.jpg", nil, "empty.jpg is empty"},
		{"bomb.png", bomb, "bomb.png has 250000 × 200000 pixels; at most 100 million are taken"},
		{"cut.jpg", photo[:len(photo)/2], "cut.jpg is not a readable image: it is cut off"},
		{"cut.png", drawing[:len(drawing)/2], "cut.png is not a readable image: it is cut off"},
		{"header.jpg", photo[:10], "header.jpg is not a readable image"},
		{"cut.gif", gifOf(t, 3)[:60], "cut.gif is not a readable image"},
		{"long.gif", gifOf(t, 11), "long.gif has more than 10 frames"},
		{"moving.png", pngWith(drawing, "acTL", make([]byte, 8)), "animated PNG"},
		{"x.svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`), "an SVG drawing"},
		{"x.jpg", []byte("\ufeff <?xml version='1.0'?><!-- --><svg/>"), "an SVG drawing"},
		{"x.html", []byte("\n<!DOCTYPE html><script>"), "a web page"},
		{"x.pdf", []byte("%PDF-1.7"), "a PDF document"},
		{"x.zip", []byte("PK\x03\x04rest"), "an archive"},
		{"x.gz", []byte("\x1f\x8b\x08"), "an archive"},
		{"x.txt", []byte("hello"), "not a picture or video that smi knows"},
		{"x.exe", []byte("MZ\x90"), "a program"},
		{"x.heic", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), "a HEIC picture"},
		{"x.avif", []byte("\x00\x00\x00\x18ftypavif\x00\x00\x00\x00"), "an AVIF picture"},
		{"cut.mov", []byte("\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  "), "holds no film"},
		{"x.webm", []byte("\x1aE\xdf\xa3"), "WebM"},
		{"large.jpg", append(photo, make([]byte, 2<<20)...), "large.jpg is larger than 2 MiB"},
		{"cut.mp4", film(filmOptions{width: 16, height: 9, ms: 5})[:600], "cut.mp4 is not a readable video"},
		{"sound.mp4", film(filmOptions{ms: 5, sound: true}), "only sound"},
		{"no length.mp4", film(filmOptions{width: 16, height: 9}), "how long"},
		{"no index.mp4", []byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x08mdat"), "holds no film"},
		{"huge box.mp4", []byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x01moov\x7f\xff\xff\xff\xff\xff\xff\xff"), "not a readable video"},
		{"huge index.mp4", []byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\xff\xff\xff\xffmoov"), "not a readable video"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, dir := newStore(t, Limits{ImageBytes: 2 << 20, Frames: 10})
			_, err := s.Import(t.Context(), 1, tt.name, bytes.NewReader(tt.raw))
			var e *social.Error
			if !errors.As(err, &e) || e.Code != social.CodeInvalid || !strings.Contains(e.Text, tt.want) || !strings.HasPrefix(e.Text, tt.name) {
				t.Errorf("%v, want a refusal with %q", err, tt.want)
			}
			if rest := files(t, dir); len(rest) != 0 {
				t.Errorf("files are left: %v", rest)
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"photo.jpg":                   "photo.jpg",
		"../../etc/passwd":            "passwd",
		`C:\Users\me\photo.jpg`:       "photo.jpg",
		"/":                           "the file",
		"..":                          "the file",
		"":                            "the file",
		"a\x00b\nc.jpg":               "abc.jpg",
		"\u202egpj.exe":               "gpj.exe",
		"Straße 7.jpg":                "Straße 7.jpg",
		"bad\xffutf8":                 "badutf8",
		strings.Repeat("ä", 200):      strings.Repeat("ä", 60),
		"trailing/":                   "the file",
		"dir/sub\\..\\x.png":          "x.png",
		"  spaces  ":                  "spaces",
		"file:///etc/shadow%00.jpg":   "shadow%00.jpg",
		strings.Repeat("a", 120) + "": strings.Repeat("a", 120),
	} {
		if got := cleanName(in); got != want {
			t.Errorf("cleanName(%q) = %q, want %q", in, got, want)
		}
	}
	s, dir := newStore(t, Limits{})
	m := s.imported(t, "../../../evil.jpg", asJPEG(t, picture(8, 8)))
	if m.Name != "evil.jpg" || len(files(t, dir)) != 1 || len(files(t, filepath.Dir(dir))) != 1 {
		t.Errorf("%+v and files %v", m, files(t, filepath.Dir(dir)))
	}
}

func TestOpenTakesOnlyHashes(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t, Limits{})
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"", "..", "../secret", "../../secret", "tmp", strings.Repeat("A", 64), strings.Repeat("g", 64), "aa/../../secret" + strings.Repeat("a", 49)} {
		if f, err := s.Open(t.Context(), h); err == nil {
			f.Close()
			t.Errorf("%q was opened", h)
		} else if social.CodeOf(err) != social.CodeInvalid {
			t.Errorf("%q: %v", h, err)
		}
	}
	if _, err := s.Open(t.Context(), strings.Repeat("a", 64)); social.CodeOf(err) != social.CodeNotFound {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := s.Get(t.Context(), 1, strings.Repeat("a", 64)); social.CodeOf(err) != social.CodeNotFound {
		t.Errorf("a file that is not known: %v", err)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	jpegs, both := []string{"image/jpeg"}, []string{"image/jpeg", "image/png"}
	tests := []struct {
		name string
		raw  []byte
		rule FitRule
		mime string
		same bool
	}{
		{"fits", asJPEG(t, picture(100, 100)), FitRule{MaxBytes: 2_000_000, MaxSide: 2000, MIME: both}, "image/jpeg", true},
		{"too many pixels", asJPEG(t, noise(2500, 1000, false)), FitRule{MaxBytes: 2_000_000, MaxSide: 2000, MIME: both}, "image/jpeg", false},
		{"too many bytes", asJPEG(t, noise(2000, 1500, false)), FitRule{MaxBytes: 2_000_000, MaxSide: 2000, MIME: both}, "image/jpeg", false},
		{"many too many bytes", asJPEG(t, noise(2000, 1500, false)), FitRule{MaxBytes: 100_000, MaxSide: 0, MIME: both}, "image/jpeg", false},
		{"PNG where only JPEG is taken", asPNG(t, picture(50, 50)), FitRule{MaxBytes: 0, MaxSide: 0, MIME: jpegs}, "image/jpeg", false},
		{"transparent, where only JPEG is taken", asPNG(t, noise(50, 50, true)), FitRule{MaxBytes: 0, MaxSide: 0, MIME: jpegs}, "image/jpeg", false},
		{"transparent and too large stays PNG", asPNG(t, noise(400, 400, true)), FitRule{MaxBytes: 0, MaxSide: 300, MIME: both}, "image/png", false},
		{"opaque PNG that is too large becomes JPEG", asPNG(t, noise(600, 600, false)), FitRule{MaxBytes: 100_000, MaxSide: 0, MIME: both}, "image/jpeg", false},
		{"only PNG is taken", asPNG(t, noise(600, 600, false)), FitRule{MaxBytes: 500_000, MaxSide: 0, MIME: []string{"image/png"}}, "image/png", false},
		{"a still GIF where it is not taken", gifOf(t, 1), FitRule{MaxBytes: 0, MaxSide: 0, MIME: both}, "image/jpeg", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, dir := newStore(t, Limits{})
			m := s.imported(t, "photo", tt.raw)
			m.Alt = "a photo"
			got, err := s.Fit(t.Context(), m, tt.rule)
			if err != nil {
				t.Fatal(err)
			}
			if tt.same {
				if got != m {
					t.Errorf("it was changed: %+v", got)
				}
				return
			}
			b := s.bytes(t, got.Hash)
			img, kind, err := image.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			w, h := img.Bounds().Dx(), img.Bounds().Dy()
			if got.MIME != tt.mime || "image/"+kind != tt.mime || got.Width != w || got.Height != h || got.Bytes != int64(len(b)) || got.Alt != "a photo" || got.Name != "photo" || got.Kind != social.Image {
				t.Errorf("it says %+v, it is %s of %d × %d and %d bytes", got, kind, w, h, len(b))
			}
			if tt.rule.MaxBytes > 0 && int64(len(b)) > tt.rule.MaxBytes || tt.rule.MaxSide > 0 && max(w, h) > tt.rule.MaxSide {
				t.Errorf("%d bytes, %d × %d do not follow %+v", len(b), w, h, tt.rule)
			}
			if r := float64(w) / float64(h) / (float64(m.Width) / float64(m.Height)); r < 0.98 || r > 1.02 {
				t.Errorf("%d × %d became %d × %d", m.Width, m.Height, w, h)
			}
			before := len(files(t, dir)) - 1
			if err := os.Remove(filepath.Join(dir, m.Hash[:2], m.Hash[2:4], m.Hash)); err != nil { // the copy is not made again
				t.Fatal(err)
			}
			again, err := s.Fit(t.Context(), m, tt.rule)
			if err != nil || again != got || len(files(t, dir)) != before {
				t.Errorf("the second time: %+v, %v", again, err)
			}
		})
	}
}

func TestFitRefuses(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, Limits{})
	moving := s.imported(t, "moving.gif", gifOf(t, 4))
	video := s.imported(t, "film.mp4", film(filmOptions{width: 1920, height: 1080, ms: 1000}))
	photo := s.imported(t, "photo.jpg", asJPEG(t, noise(600, 600, false)))
	for _, tt := range []struct {
		m    social.Media
		rule FitRule
		want string
	}{
		{moving, FitRule{MaxBytes: 10}, "moving.gif is an animated GIF of"},
		{moving, FitRule{MIME: []string{"video/mp4"}}, "use video/mp4"},
		{moving, FitRule{MaxSide: 5}, "20 × 10 pixels"},
		{video, FitRule{MaxBytes: 10}, "Make it shorter or smaller"},
		{photo, FitRule{MaxBytes: 100}, "photo.jpg cannot be made to fit 100 bytes"},
		{photo, FitRule{MIME: []string{"image/avif"}}, "cannot be made to fit"},
	} {
		_, err := s.Fit(t.Context(), tt.m, tt.rule)
		var e *social.Error
		if !errors.As(err, &e) || e.Code != social.CodeInvalid || e.Field != "media" || !strings.Contains(e.Text, tt.want) {
			t.Errorf("%s %+v: %v, want %q", tt.m.Name, tt.rule, err, tt.want)
		}
	}
	if got, err := s.Fit(t.Context(), video, FitRule{MaxSide: 100}); err != nil || got != video {
		t.Errorf("a video's side is not for us to judge: %v", err)
	}
}

// TestVideoIsNotReadIntoMemory: 64 MiB go through with a few of memory.
func TestVideoIsNotReadIntoMemory(t *testing.T) { //nolint:paralleltest // measures memory
	s, _ := newStore(t, Limits{})
	head, tail := filmParts(filmOptions{width: 1280, height: 720, ms: 60_000, place: true})
	const payload = 64 << 20
	r := io.MultiReader(bytes.NewReader(head(payload)), io.LimitReader(zeros{}, payload), bytes.NewReader(tail))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := s.Import(t.Context(), 1, "film.mp4", r)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if m.Bytes < payload || m.Duration != time.Minute {
		t.Errorf("%+v", m)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("importing %d MiB took %d KiB of memory", m.Bytes>>20, used>>10)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestImportGivenUp(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	head, _ := filmParts(filmOptions{width: 16, height: 9, ms: 5})
	r := io.MultiReader(bytes.NewReader(head(1<<40)), readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if _, err := s.Import(ctx, 1, "endless.mp4", r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the caller gave up", err)
	}
	broken := errors.New("the line broke")
	r = io.MultiReader(bytes.NewReader(head(1<<20)), readerFunc(func([]byte) (int, error) { return 0, broken }))
	if _, err := s.Import(t.Context(), 1, "broken.mp4", r); !errors.Is(err, broken) {
		t.Errorf("%v, want the broken line", err)
	}
	if rest := files(t, dir); len(rest) != 0 {
		t.Errorf("files are left: %v", rest)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestStartSweepsOldLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour} {
		p := filepath.Join(dir, "tmp", name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Options{Dir: dir, Index: &memoryIndex{}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := fmt.Sprint(files(t, dir)); got != "[tmp/young]" {
		t.Errorf("left: %s", got)
	}
}

// webpOf makes a lossless WebP of one colour by hand (VP8L specification: five
// prefix codes of one symbol each, so that no pixel needs a bit).
func webpOf(w, h int, c color.NRGBA) []byte {
	var bits []byte
	n := 0
	put := func(v uint32, k int) {
		for i := range k {
			if n%8 == 0 {
				bits = append(bits, 0)
			}
			bits[n/8] |= byte(v>>i&1) << (n % 8)
			n++
		}
	}
	put(0x2f, 8)
	put(uint32(w-1), 14)
	put(uint32(h-1), 14)
	put(1, 1) // alpha is used
	put(0, 3) // version
	put(0, 3) // no transform, no colour cache, no meta codes
	for _, v := range []uint8{c.G, c.R, c.B, c.A} {
		put(0b101, 3)
		put(uint32(v), 8)
	}
	put(0b001, 3)
	put(0, 1)
	put(0, 16)
	body := append([]byte("WEBPVP8L"), binary.LittleEndian.AppendUint32(nil, uint32(len(bits)))...)
	body = append(body, bits...)
	if len(bits)%2 == 1 {
		body = append(body, 0)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func FuzzImport(f *testing.F) {
	f.Add(asJPEG(f, picture(8, 8)))
	f.Add(asPNG(f, picture(8, 8)))
	f.Add(gifWithComment(gifOf(f, 3)))
	f.Add(webpOf(8, 4, color.NRGBA{1, 2, 3, 4}))
	f.Add(film(filmOptions{width: 16, height: 9, ms: 5, turned: true, place: true}))
	f.Add(film(filmOptions{ms: 5, sound: true}))
	f.Add(film(filmOptions{brand: "qt  ", width: 16, height: 9, ms: 5, codec: "apch", audio: "lpcm", place: true}))
	f.Add(film(filmOptions{width: 16, height: 9, ms: 5, codec: "avc1", journal: []stretch{{60, 10}, {90, 10}}}))
	f.Add([]byte("<svg"))
	s, _ := newStore(f, Limits{ImageBytes: 1 << 20, VideoBytes: 1 << 20, Pixels: 1_000_000, Frames: 50})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := s.Import(t.Context(), 1, "x", bytes.NewReader(b))
		var e *social.Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Errorf("an error without a sentence: %v", err)
		case err == nil && (m.Bytes == 0 || len(m.Hash) != 64 || m.Width <= 0 || m.Height <= 0):
			t.Errorf("taken as %+v", m)
		}
	})
}

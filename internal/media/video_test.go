package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image/color"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/internal/social"
)

func TestCodecs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		o                  filmOptions
		mime, codec, sound string
	}{
		{filmOptions{codec: "avc1", audio: "mp4a"}, "video/mp4", "h264", "aac"},
		{filmOptions{codec: "hvc1"}, "video/mp4", "hevc", ""},
		{filmOptions{codec: "av01", audio: "Opus"}, "video/mp4", "av1", "opus"},
		{filmOptions{codec: "wxyz"}, "video/mp4", "wxyz", ""},
		{filmOptions{}, "video/mp4", "", ""},
		{filmOptions{brand: "qt  ", codec: "apch", audio: "lpcm"}, "video/quicktime", "prores", "pcm"},
		{filmOptions{brand: "qt  ", codec: "hvc1", audio: "mp4a", turned: true}, "video/quicktime", "hevc", "aac"},
	}
	s, _ := newStore(t, Limits{})
	for _, tt := range tests {
		tt.o.width, tt.o.height, tt.o.ms = 640, 360, 2500
		m := s.imported(t, "film", film(tt.o))
		if m.Kind != social.Video || m.MIME != tt.mime || m.Codec != tt.codec || m.Sound != tt.sound || m.Duration != 2500*time.Millisecond {
			t.Errorf("%+v: %+v", tt.o, m)
		}
		if want := [2]int{640, 360}; !tt.o.turned && [2]int{m.Width, m.Height} != want || tt.o.turned && [2]int{m.Width, m.Height} != [2]int{360, 640} {
			t.Errorf("%+v: %d × %d", tt.o, m.Width, m.Height)
		}
	}
}

// TestJournalOfPlacesIsRemoved: what a camera recorded beside the film is in
// neither the index nor the film.
func TestJournalOfPlacesIsRemoved(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"isom meta", "qt   meta", "isom camm", "isom text", "isom sbtl", "qt   nrtm"} {
		brand := kind[:4]
		o := filmOptions{brand: brand, journalist: kind[5:], width: 640, height: 360, ms: 1000, codec: "avc1"}
		head, _ := filmParts(o)
		start := int64(len(head(0)))
		o.journal = []stretch{{start + 100, int64(len(place1))}, {start + 300, int64(len(place1))}}
		_, tail := filmParts(o)
		payload := bytes.Repeat([]byte{7}, 500)
		copy(payload[100:], place1)
		copy(payload[300:], place1)
		s, _ := newStore(t, Limits{})
		m := s.imported(t, "ride.mp4", append(append(head(500), payload...), tail...))
		got := s.bytes(t, m.Hash)
		if bytes.Contains(got, []byte(place1)) || bytes.Contains(got, []byte("gpmd")) {
			t.Errorf("%s: the places are still there", brand)
		}
		want := bytes.Clone(payload)
		clear(want[100 : 100+len(place1)])
		clear(want[300 : 300+len(place1)])
		if !bytes.Equal(got[start:start+500], want) {
			t.Errorf("%s: the film itself was changed", brand)
		}
		if m.Codec != "h264" || m.Width != 640 {
			t.Errorf("%s: %+v", brand, m)
		}
		again := s.imported(t, "ride.mp4", got)
		if again.Hash != m.Hash {
			t.Errorf("%s: what is clean was changed again", brand)
		}
	}
	s, dir := newStore(t, Limits{})
	for name, where := range map[string]stretch{"behind": {1 << 20, 10}, "too long": {30, 1 << 30}} {
		_, err := s.Import(t.Context(), 1, "x.mp4", bytes.NewReader(film(filmOptions{width: 8, height: 8, ms: 10, journal: []stretch{where}})))
		if social.CodeOf(err) != social.CodeInvalid {
			t.Errorf("a journal %s: %v", name, err)
		}
	}
	if rest := files(t, dir); len(rest) != 0 {
		t.Errorf("files are left: %v", rest)
	}
}

// TestPlacesElsewhere: no box is kept that says nothing about how a film is shown.
func TestPlacesElsewhere(t *testing.T) {
	t.Parallel()
	o := filmOptions{width: 640, height: 360, ms: 1000, codec: "avc1", audio: "mp4a", maker: "camera-77"}
	personal := func(name string) []byte { return boxOf(name, []byte("\x00\x00\x00\x00"+place1)) }
	o.more = slices.Concat(personal("gps "), personal("free"), personal("skip"), personal("udta"),
		boxOf("trak", personal("udta"), personal("meta"), personal("free"), personal("gps "),
			boxOf("mdia", personal("udta"), boxOf("hdlr", be32(0, 0), []byte("soun"), be32(0, 0, 0), []byte{0}), boxOf("minf", personal("meta"), boxOf("stbl", personal("uuid"))))))
	head, tail := filmParts(o)
	raw := slices.Concat(head(500), make([]byte, 500), personal("free"), personal("skip"), personal("frea"), personal("sefd"), tail,
		boxOf("moof", boxOf("mfhd", be32(0, 1)), personal("udta"), boxOf("traf", boxOf("tfhd", be32(0, 1)), personal("uuid"), personal("meta"))), personal("uuid"))
	s, _ := newStore(t, Limits{})
	m := s.imported(t, "film.mp4", raw)
	got := s.bytes(t, m.Hash)
	for _, is := range []string{place1, "camera-77"} {
		if at := bytes.Index(got, []byte(is)); at >= 0 {
			t.Errorf("%s is still there, after %q", is, got[max(0, at-12):at])
		}
	}
	if len(got) != len(raw) || m.Width != 640 || m.Codec != "h264" || m.Sound != "aac" {
		t.Errorf("%d bytes became %d: %+v", len(raw), len(got), m)
	}
	for _, kept := range []string{"moof", "traf", "tfhd", "mdat", "stbl", "stsd", "avc1", "mp4a"} {
		if !bytes.Contains(got, []byte(kept)) {
			t.Errorf("%s is gone", kept)
		}
	}
	o = filmOptions{width: 640, height: 360, ms: 1000, journal: []stretch{{60, 10}}, more: boxOf("mvex", boxOf("trex", be32(0, 1, 1, 0, 0, 0)))}
	if _, err := s.Import(t.Context(), 1, "x.mp4", bytes.NewReader(film(o))); social.CodeOf(err) != social.CodeInvalid || !strings.Contains(err.Error(), "in fragments") {
		t.Errorf("a journal in fragments: %v", err)
	}
}

// TestLyingIndex: what an index says of its tables and boxes costs neither memory
// nor time.
func TestLyingIndex(t *testing.T) { //nolint:paralleltest // measures memory
	const all = 0xffffffff
	table := func(name string, words ...uint32) []byte { return boxOf(name, be32(words...)) }
	track := func(handler string, tables ...[]byte) []byte {
		return boxOf("trak", boxOf("mdia", boxOf("hdlr", be32(0, 0), []byte(handler), be32(0, 0, 0), []byte{0}), boxOf("minf", boxOf("stbl", tables...))))
	}
	deep := []byte{}
	for range 300_000 { // written from the inside would be quadratic
		deep = append(deep, 0, 0, 0, 0, 't', 'r', 'a', 'k')
	}
	for at := 0; at < len(deep); at += 8 {
		binary.BigEndian.PutUint32(deep[at:], uint32(len(deep)-at))
	}
	offsets := append(be32(0, 100_000), bytes.Repeat(be32(0), 100_000)...)
	tests := []struct {
		name string
		more []byte
		want string // "": it is taken
	}{
		{"sizes that are not there", track("vide", table("stsz", 0, 0, all), table("stco", 0, all), table("stts", 0, all), table("ctts", 0, all), table("co64", 0, all)), ""},
		{"of a journal, too", track("meta", table("stsz", 0, 0, all), table("stsc", 0, 1, 1, all, 1), table("stco", 0, 1, 0)), "cannot be read"},
		{"offsets that are not there", track("meta", table("stsz", 0, 0, 0), table("stsc", 0, 0), table("stco", 0, all)), "cannot be read"},
		{"wide ones", track("meta", table("stsz", 0, 0, 0), table("stsc", 0, 0), table("co64", 0, all)), "cannot be read"},
		{"runs that are not there", track("meta", table("stsz", 0, 0, 0), table("stsc", 0, all), table("stco", 0, 1, 0)), "cannot be read"},
		{"one size for endless samples", track("meta", table("stsz", 0, all, all), table("stsc", 0, 1, 1, all, 1), table("stco", 0, 1, 0)), "lies outside"},
		{"the whole film again and again", track("meta", table("stsz", 0, 500, all), table("stsc", 0, 1, 1, 1, 1), boxOf("stco", offsets)), "lies outside"},
		{"boxes in boxes", deep, ""},
		{"tracks without end", bytes.Repeat(boxOf("trak"), 500_000), "too many parts"},
		{"parts without end", bytes.Repeat(boxOf("free"), 500_000), "too many parts"},
	}
	for _, tt := range tests { //nolint:paralleltest // measures memory
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t, Limits{})
			raw := film(filmOptions{width: 640, height: 360, ms: 1000, more: tt.more})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			_, err := s.Import(t.Context(), 1, "film.mp4", bytes.NewReader(raw))
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			if tt.want == "" && err != nil || tt.want != "" && (social.CodeOf(err) != social.CodeInvalid || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 || took > 20*time.Second {
				t.Errorf("a file of %d KiB took %d MiB and %v", len(raw)>>10, used>>20, took)
			}
		})
	}
	s, _ := newStore(t, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	parts := bytes.Repeat(boxOf("wide"), 3000)
	head, tail := filmParts(filmOptions{width: 640, height: 360, ms: 1000})
	r := io.MultiReader(bytes.NewReader(head(10)), bytes.NewReader(make([]byte, 10)), bytes.NewReader(parts), bytes.NewReader(tail), readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }))
	if _, err := s.Import(ctx, 1, "film.mp4", r); !errors.Is(err, context.Canceled) {
		t.Errorf("given up while it is looked at: %v", err)
	}
}

// TestAsIs: who wants to keep everything does, but for the copies that smi makes.
func TestAsIs(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{Dir: t.TempDir(), Index: &memoryIndex{files: map[string]social.Media{}, derived: map[string]string{}}, Now: time.Now, AsIs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	photo := afterSOI(asJPEG(t, picture(64, 32)), jpegSegment(0xe1, "Exif\x00\x00"+exif(binary.BigEndian, 6)))
	for name, raw := range map[string][]byte{
		"photo.jpg": photo, "drawing.png": pngWith(asPNG(t, picture(64, 32)), "eXIf", []byte(exif(binary.LittleEndian, 8))),
		"moving.gif": gifWithComment(gifOf(t, 3)), "film.mp4": film(filmOptions{width: 640, height: 360, ms: 1000, place: true, journal: []stretch{{60, 10}}}),
	} {
		m := s.imported(t, name, raw)
		if !bytes.Equal(s.bytes(t, m.Hash), raw) || m.Bytes != int64(len(raw)) {
			t.Errorf("%s was changed", name)
		}
		if m.Kind == social.Image && (m.Width != 32 || m.Height != 64) {
			t.Errorf("%s is shown with %d × %d", name, m.Width, m.Height)
		}
	}
	if m := s.imported(t, "picture.webp", webpOf(8, 4, color.NRGBA{200, 10, 10, 255})); m.MIME != "image/jpeg" {
		t.Errorf("a WebP became %+v", m)
	}
	small, err := s.Fit(t.Context(), s.imported(t, "photo.jpg", photo), FitRule{MaxSide: 32})
	if err != nil {
		t.Fatal(err)
	}
	b := s.bytes(t, small.Hash)
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(place1)) || small.Width != 16 || small.Height != 32 || corners(img) != "brwg" {
		t.Errorf("its copy is %+v with the corners %s", small, corners(img))
	}
	for _, raw := range [][]byte{photo[:len(photo)/2], append([]byte("GIF89a"), 1, 2)} { // still nothing that cannot be read
		if _, err := s.Import(t.Context(), 1, "x", bytes.NewReader(raw)); social.CodeOf(err) != social.CodeInvalid {
			t.Errorf("%v", err)
		}
	}
}

// TestWhichRuleFails: the sentence names the rule and the cure that there is.
func TestWhichRuleFails(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, Limits{})
	able, _ := newStore(t, Limits{})
	able.transcoder = &Transcoder{Program: "/bin/false"}
	hevc := s.imported(t, "film.mov", film(filmOptions{brand: "qt  ", width: 640, height: 360, ms: 1000, codec: "hvc1"}))
	photo := s.imported(t, "photo.jpg", asJPEG(t, picture(40, 20)))
	for _, tt := range []struct {
		s    *Store
		m    social.Media
		rule FitRule
		want []string
	}{
		{s, hevc, FitRule{MIME: []string{"video/mp4"}}, []string{"type video/quicktime", "use video/mp4", "install ffmpeg"}},
		{able, hevc, FitRule{MIME: []string{"video/mp4"}}, []string{"smi media transcode " + hevc.Hash[:12] + " --account"}},
		{able, hevc, FitRule{Codecs: []string{"h264"}}, []string{"encoded as hevc", "use h264", "smi media transcode"}},
		{s, hevc, FitRule{MIME: []string{"video/webm"}}, []string{"use video/webm"}},
		{s, photo, FitRule{MaxSide: 10, AsIs: true}, []string{"a picture of 40 × 20 pixels; at most 10", "media.refit"}},
	} {
		_, err := tt.s.Fit(t.Context(), tt.m, tt.rule)
		for _, want := range tt.want {
			if social.CodeOf(err) != social.CodeInvalid || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", tt.rule, err, want)
			}
		}
		if tt.rule.MIME != nil && tt.rule.MIME[0] == "video/webm" && strings.Contains(err.Error(), "ffmpeg") {
			t.Errorf("a cure that does not help: %v", err)
		}
	}
	if got, err := s.Fit(t.Context(), hevc, FitRule{Codecs: []string{"hevc"}}); err != nil || got != hevc {
		t.Errorf("what fits: %v", err)
	}
}

// standIn is a program that is run instead of ffmpeg.
func standIn(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTranscoding: the program is shut in, its result is what is taken from then
// on, and what it leaves goes away.
func TestTranscoding(t *testing.T) {
	t.Parallel()
	made := filepath.Join(t.TempDir(), "made.mp4")
	if err := os.WriteFile(made, film(filmOptions{width: 320, height: 180, ms: 1000, codec: "avc1", audio: "mp4a", place: true}), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(t.TempDir(), "seen")
	inBoth(t, func(t *testing.T, h *house) {
		seen := seen + "-" + filepath.Base(t.Name())
		h.transcoder = &Transcoder{Program: standIn(t, `echo "$@" >`+seen+`; /usr/bin/env >>`+seen+`; /bin/ls >>`+seen+`; /bin/cp `+made+` out`)}
		m := h.imported(t, "film.mov", film(filmOptions{brand: "qt  ", width: 640, height: 360, ms: 1000, codec: "hvc1"}))
		rule := FitRule{MaxBytes: 1 << 20, MaxSide: 321, MIME: []string{"video/mp4"}, Codecs: []string{"h264"}}
		if _, err := h.Fit(t.Context(), m, rule); social.CodeOf(err) != social.CodeInvalid {
			t.Errorf("before: %v", err)
		}
		got, err := h.Transcode(t.Context(), m, rule)
		if err != nil {
			t.Fatal(err)
		}
		if got.MIME != "video/mp4" || got.Codec != "h264" || got.Sound != "aac" || got.Width != 320 || got.Name != "film.mov" {
			t.Errorf("%+v", got)
		}
		if fit, err := h.Fit(t.Context(), m, rule); err != nil || fit != got {
			t.Errorf("after: %+v, %v", fit, err)
		}
		if bytes.Contains(h.bytes(t, got.Hash), []byte(place1)) {
			t.Error("what the program wrote was not cleaned")
		}
		text, err := os.ReadFile(seen)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"-protocol_whitelist file,pipe", "-f mov -i file:in", "min(320,iw)", "-maxrate 7589519 ", "-map_metadata -1", "\nin\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("it saw no %q:\n%s", want, text)
			}
		}
		if strings.Contains(string(text), "PATH=/") && strings.Contains(string(text), os.Getenv("PATH")) {
			t.Errorf("it saw our environment:\n%s", text)
		}
		if left, err := os.ReadDir(filepath.Join(h.dir, tmpDir)); err != nil || len(left) != 0 {
			t.Errorf("left: %v %v", left, err)
		}
		side := FitRule{MaxSide: 320} // all that is wrong is its size
		if same, err := h.Fit(t.Context(), m, side); err != nil || same != m {
			t.Errorf("a video that is only too large: %+v, %v", same, err)
		}
		if _, err := h.Transcode(t.Context(), m, side); err != nil {
			t.Error(err)
		}
		if fit, err := h.Fit(t.Context(), m, side); err != nil || fit != got {
			t.Errorf("the smaller copy: %+v, %v", fit, err)
		}
		h.transcoder = nil // it is not made twice
		if again, err := h.Transcode(t.Context(), m, rule); social.CodeOf(err) != social.CodeUnsupported {
			t.Errorf("without a program: %+v, %v", again, err)
		}
	})
}

func TestTranscodingFails(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t, Limits{})
	m := s.imported(t, "film.mp4", film(filmOptions{width: 640, height: 360, ms: 60_000, codec: "hvc1"}))
	photo := s.imported(t, "photo.jpg", asJPEG(t, picture(40, 20)))
	before := len(files(t, dir))
	large := filepath.Join(t.TempDir(), "large.mp4")
	if err := os.WriteFile(large, film(filmOptions{width: 640, height: 360, ms: 60_000, codec: "avc1"}), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		m    social.Media
		rule FitRule
		t    *Transcoder
		code social.Code
		want string
	}{
		{"no program", m, FitRule{}, nil, social.CodeUnsupported, "apt-get install ffmpeg"},
		{"a picture", photo, FitRule{}, nil, social.CodeInvalid, "is no video"},
		{"another container", m, FitRule{MIME: []string{"video/webm"}}, &Transcoder{}, social.CodeUnsupported, "only MP4"},
		{"it says why", m, FitRule{}, &Transcoder{Program: standIn(t, "echo first >&2; printf 'the \\033[31mreason\\n' >&2; exit 3")}, social.CodeInvalid, "ffmpeg says: the  [31mreason"},
		{"it hangs", m, FitRule{}, &Transcoder{Program: standIn(t, "/bin/sleep 1000 & wait"), Time: 50 * time.Millisecond}, social.CodeInvalid, "took longer than 50ms"},
		{"too long for the bytes", m, FitRule{MaxBytes: 1 << 20}, &Transcoder{Program: "/bin/false"}, social.CodeInvalid, "lasts 1m0s, too long"},
		{"still too large", m, FitRule{MaxSide: 100, MIME: []string{"video/mp4"}, Codecs: []string{"h264", "vp9"}, MaxBytes: 5 << 20}, &Transcoder{Program: standIn(t, "/bin/cp "+large+" out; /usr/bin/head -c 6000000 /dev/zero | /usr/bin/tr '\\0' x > pad; printf '\\000\\133\\215\\210free' > box; /bin/cat box pad >> out")}, social.CodeInvalid, "at most 5 MiB"},
		{"nothing made", m, FitRule{}, &Transcoder{Program: standIn(t, "exit 0")}, social.CodeInternal, ""},
		{"nonsense made", m, FitRule{}, &Transcoder{Program: standIn(t, "echo nonsense > out")}, social.CodeInvalid, "not a readable video"},
		{"a way out", m, FitRule{}, &Transcoder{Program: standIn(t, "/bin/ln -s /etc/passwd out")}, social.CodeInternal, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { //nolint:paralleltest // one store
			s.transcoder = tt.t
			begin := time.Now()
			defer func() {
				if took := time.Since(begin); took > 4*time.Second {
					t.Errorf("it took %v: what the program began was not ended with it", took)
				}
			}()
			_, err := s.Transcode(t.Context(), tt.m, tt.rule)
			if err == nil || tt.code != social.CodeInternal && social.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s with %q", err, tt.code, tt.want)
			}
			if now := files(t, dir); len(now) != before {
				t.Errorf("left: %v", now)
			}
		})
	}
}

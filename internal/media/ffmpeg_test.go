package media

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"smi/internal/social"
)

// TestFFmpeg: the real program makes what the rule asks for, of films and of
// GIFs, and follows nothing that a file tells it.
func TestFFmpeg(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "source.mov")
	out, err := exec.CommandContext(t.Context(), program, "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=641x480:rate=10", "-f", "lavfi", "-i", "sine=duration=1",
		"-shortest", "-c:v", "mpeg4", "-c:a", "pcm_s16le", "-metadata", "location="+place1, "-metadata", "make=camera-77", source).CombinedOutput()
	if err != nil {
		t.Fatalf("making a film: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	s, store := newStore(t, Limits{})
	s.transcoder = &Transcoder{Program: program}
	m := s.imported(t, "source.mov", raw)
	if m.MIME != "video/quicktime" || m.Codec != "mpeg4" || m.Sound != "pcm" || m.Width != 641 || m.Height != 480 {
		t.Errorf("%+v", m)
	}
	if b := s.bytes(t, m.Hash); bytes.Contains(b, []byte(place1)) || bytes.Contains(b, []byte("camera-77")) {
		t.Error("place or camera are still there")
	}
	got, err := s.Transcode(t.Context(), m, FitRule{MaxBytes: 200_000, MaxSide: 320, MIME: []string{"video/mp4"}, Codecs: []string{"h264"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.MIME != "video/mp4" || got.Codec != "h264" || got.Sound != "aac" || got.Width != 320 || got.Height != 240 || got.Bytes > 200_000 || got.Duration != m.Duration && got.Duration.Milliseconds()/200 != m.Duration.Milliseconds()/200 {
		t.Errorf("%+v", got)
	}
	moving := s.imported(t, "moving.gif", gifOf(t, 4))
	if got, err := s.Transcode(t.Context(), moving, FitRule{}); err != nil || got.Kind != social.Video || got.Codec != "h264" || got.Width != 20 {
		t.Errorf("of a GIF: %+v, %v", got, err)
	}

	// A list of other files is not read, whoever it calls.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Close()
		}
	}()
	for name, list := range map[string]string{
		"playlist": "#EXTM3U\n#EXTINF:1,\nhttp://" + l.Addr().String() + "/x.ts\n",
		"concat":   "ffconcat version 1.0\nfile '" + source + "'\n",
	} {
		work := t.TempDir()
		if err := os.WriteFile(filepath.Join(work, "in"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		args, err := arguments(m, FitRule{}, 1, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.transcoder.run(t.Context(), work, args); err == nil {
			t.Errorf("a %s was taken", name)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("it called %d times", asked.Load())
	}
	if n := len(files(t, store)); n != 4 {
		t.Errorf("%d files", n)
	}
}

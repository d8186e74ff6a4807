package media

import (
	"strings"
	"testing"
	"time"

	"smi/internal/social"
)

// TestProgramIsConfined: a program that is fed a film made to fill the memory is
// ended before smi is.
func TestProgramIsConfined(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, Limits{})
	m := s.imported(t, "film.mov", film(filmOptions{brand: "qt  ", width: 640, height: 360, ms: 1000, codec: "hvc1"}))
	s.transcoder = &Transcoder{Time: 30 * time.Second, Program: standIn(t, `
until /bin/grep -q 'Max address space *8589934592' /proc/$$/limits; do :; done
/bin/grep -q '^1000$' /proc/$$/oom_score_adj || { echo "it is not the first to go" >&2; exit 1; }
/bin/grep -q 'Max core file size *0  *0 ' /proc/$$/limits || { echo "it may leave its memory" >&2; exit 1; }
echo confined >&2; exit 1`)}
	if _, err := s.Transcode(t.Context(), m, FitRule{}); social.CodeOf(err) != social.CodeInvalid || !strings.HasSuffix(err.Error(), "ffmpeg says: confined") {
		t.Error(err)
	}
}

package twitter_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

func isAppend(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/append") }

// appended counts the pieces that were sent.
func (s *scene) appended() int {
	n := 0
	for _, r := range s.sim.Kit.Requests.All() {
		if strings.HasSuffix(r.Path, "/append") {
			n++
		}
	}
	return n
}

// video is a post with a video of 3,500 bytes, in pieces of 1,000.
func (s *scene) video() *connectors.Job {
	s.cfg.SegmentBytes = 1000
	return s.job(social.Part{Text: "a film", Media: []social.Media{s.medium(social.Video, "video/mp4", 3500)}}, "")
}

// TestVideoGoesOnAfterRestart: a video that was interrupted goes on with the
// piece that is missing, in pieces as before, whatever the settings say by then.
func TestVideoGoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{MediaPolls: 2})
	j := s.video()
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Match: isAppend, Nth: 3, Do: simkit.Status(http.StatusServiceUnavailable, map[string]string{"Retry-After": "30"}, "")})
	_, err := s.client().Prepare(s.Context(), j)
	s.wantKind("a piece that does not get there", err, connectors.Transient)
	if s.appended() != 3 || len(s.sim.Pieces(s.sim.LastMedia())) != 2 {
		t.Fatalf("%d pieces were sent", s.appended())
	}
	s.cfg.SegmentBytes = 700
	p, err := s.prepare(j)
	s.must(err)
	if s.appended() != 5 || p.Class != connectors.Unkeyed || p.RequestHash == "" || p.Expires.IsZero() {
		t.Errorf("%d pieces were sent in all, want 5; the preparation is %+v", s.appended(), p)
	}
	var want []string
	for piece := range slices.Chunk(s.files[j.Part.Media[0].Hash], 1000) {
		sum := sha256.Sum256(piece)
		want = append(want, hex.EncodeToString(sum[:]))
	}
	if got := s.sim.Pieces(s.sim.LastMedia()); !slices.Equal(got, want) {
		t.Errorf("the pieces are %v, want %v", got, want)
	}
	if n := s.sim.Kit.Requests.Count(http.MethodPost, "/2/media/upload/initialize"); n != 1 {
		t.Errorf("the video was announced %d times", n)
	}
	if n := len(s.calls("/2/media/upload")); n != 2 {
		t.Errorf("X was asked %d times how far it is, want 2", n)
	}
	r, err := s.commit(s.client(), j)
	s.must(err)
	if posts := s.posts(); len(posts) != 1 || posts[0].ID != r.RemoteID || len(posts[0].Media) != 1 {
		t.Errorf("the posts are %+v", posts)
	}
}

// TestVideoRefused: what X says of a file is told, and a second try sends it
// again instead of asking after the one that failed.
func TestVideoRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{MediaPolls: 1})
	j := s.video()
	s.sim.FailMedia("Unsupported video format")
	_, err := s.prepare(j)
	e := s.wantKind("a video that X cannot use", err, connectors.Invalid)
	if e.Field != "media[0]" || !strings.Contains(e.Text, "Unsupported video format") {
		t.Errorf("the error is %+v", e)
	}
	s.sim.FailMedia("")
	if _, err := s.publish(j); err != nil {
		t.Errorf("the second try: %v", err)
	}
	if n := s.sim.Kit.Requests.Count(http.MethodPost, "/2/media/upload/initialize"); n != 2 {
		t.Errorf("the video was announced %d times, want twice", n)
	}
}

// TestForgottenUploadGoesUpAnew: an upload that X does not know any more begins
// again, once; a file that is refused each time is a refusal.
func TestForgottenUploadGoesUpAnew(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	j := s.video()
	forget := simkit.Then(func(*http.Request) { s.sim.ForgetMedia() }, simkit.Status(http.StatusServiceUnavailable, map[string]string{"Retry-After": "30"}, ""))
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Match: isAppend, Nth: 3, Do: forget})
	_, err := s.prepare(j)
	s.wantKind("an interrupted upload", err, connectors.Transient)
	_, err = s.prepare(j)
	s.wantKind("an upload that X has forgotten", err, connectors.Transient)
	if _, err := s.publish(j); err != nil {
		t.Errorf("the upload anew: %v", err)
	}

	j = s.video()
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Match: isAppend, Do: simkit.Status(http.StatusBadRequest, nil, `{"title":"Invalid Request","detail":"no","type":"https://api.twitter.com/2/problems/invalid-request"}`)})
	_, err = s.prepare(j)
	s.wantKind("the first refusal", err, connectors.Transient)
	_, err = s.prepare(j)
	s.wantKind("the second refusal", err, connectors.Invalid)
}

// TestForgottenMediaIsUploadedForTheNextAttempt: X keeps a file for a day; a post
// that is refused because of that goes out with the file sent again.
func TestForgottenMediaIsUploadedForTheNextAttempt(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	j := s.job(social.Part{Text: "a picture", Media: []social.Media{s.medium(social.Image, "image/png", 900)}}, "")
	_, err := s.prepare(j)
	s.must(err)
	s.sim.ForgetMedia()
	_, err = s.commit(s.client(), j)
	s.wantKind("a post with a forgotten picture", err, connectors.Transient)
	j.Attempt = 2
	if _, err := s.publish(j); err != nil || len(s.posts()) != 1 {
		t.Errorf("the second attempt: %v, %d posts", err, len(s.posts()))
	}
}

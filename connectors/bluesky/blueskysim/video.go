package blueskysim

import (
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
)

// videoJob is a video on its way through the video service.
type videoJob struct {
	id, did string
	polls   int // looks so far
	failure string
	cid     string
	bytes   int64
}

func (s *Sim) videoRoutes() {
	s.mux.HandleFunc("POST /xrpc/app.bsky.video.uploadVideo", s.uploadVideo)
	s.mux.HandleFunc("GET /xrpc/app.bsky.video.getJobStatus", s.getJobStatus)
}

// uploadVideo takes a video with a service token for uploadBlob. The same bytes
// give the same job.
func (s *Sim) uploadVideo(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, readErr := io.Copy(sum, io.LimitReader(r.Body, maxVideoBytes+1))
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t := s.tokens[v]
	switch {
	case t == nil || t.kind != kindService || !s.now().Before(t.expires) || t.did != r.URL.Query().Get("did"):
		refuse(w, http.StatusUnauthorized, "AuthenticationRequired", "bad service token")
		return
	case t.lxm != "com.atproto.repo.uploadBlob":
		refuse(w, http.StatusUnauthorized, "AuthenticationRequired", "bad lexicon method in service token")
		return
	case readErr != nil || n == 0:
		send(w, nil, invalid("request aborted"))
		return
	case n > maxVideoBytes:
		refuse(w, http.StatusRequestEntityTooLarge, "VideoTooLarge", "the video is too large")
		return
	case r.Header.Get("Content-Type") != "video/mp4":
		refuse(w, http.StatusBadRequest, "UnsupportedContentType", "only video/mp4")
		return
	case !s.accounts[t.did].email:
		refuse(w, http.StatusForbidden, "UploadForbidden", "confirm your e-mail address first")
		return
	}
	raw := sum.Sum(nil)
	id := b64(raw)[:22]
	if j := s.jobs[t.did+id]; j != nil && j.done(s.o.VideoPolls) && j.failure == "" {
		out := s.status(j)
		out["error"], out["message"] = "already_exists", "Video already processed"
		answer(w, http.StatusConflict, out)
		return
	}
	j := &videoJob{id: id, did: t.did, failure: s.videoErr, cid: cidFrom(codecRaw, raw), bytes: n}
	s.jobs[t.did+id] = j
	answer(w, http.StatusOK, map[string]any{"jobStatus": s.status(j)})
}

func (s *Sim) getJobStatus(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j.id == r.URL.Query().Get("jobId") {
			j.polls++
			answer(w, http.StatusOK, map[string]any{"jobStatus": s.status(j)})
			return
		}
	}
	refuse(w, http.StatusBadRequest, "JobNotFound", "job not found")
}

func (j *videoJob) done(polls int) bool { return j.polls > polls }

// status is a job as the service shows it. A finished one has put its blob into
// the account's server. The caller holds s.mu.
func (s *Sim) status(j *videoJob) map[string]any {
	out := map[string]any{"jobId": j.id, "did": j.did}
	switch {
	case !j.done(s.o.VideoPolls):
		out["state"], out["progress"] = "JOB_STATE_ENCODING", j.polls*10
	case j.failure != "":
		out["state"], out["failureCode"], out["error"] = "JOB_STATE_FAILED", j.failure, j.failure
		out["message"] = "the video could not be processed"
	default:
		out["state"] = "JOB_STATE_COMPLETED"
		out["blob"] = s.accounts[j.did].keep("video/mp4", j.bytes, j.cid, s.now())
	}
	return out
}

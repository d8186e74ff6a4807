package mastodon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

var _ connectors.Finder = (*conn)(nil)

// quiet is how long after the last moment for its first byte a commit may still
// be under way or in work: a minute in which smi writes and waits, half a minute
// in which the system goes on to deliver what was written, and a minute in which
// the server works on it. A server writes a key down after its post
// (app/services/post_status_service.rb, read 2026-07-02): two requests with one
// key at the very same time may both make a post, so a repeated one waits until
// the first has certainly been dealt with or lost.
const quiet = 150 * time.Second

// clocks is how far the server's clock may differ from ours.
const clocks = 10 * time.Minute

// Find looks through the account's own posts. Where they do not show the post,
// and its key is surely known to the server if it was ever used, the same bytes
// may be sent once more: the key makes the server answer with the post that it
// made, if it made one. Everywhere else "not seen" proves nothing.
func (c *conn) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	none := connectors.Finding{}
	var d draft
	if len(j.State) > 0 {
		if err := json.Unmarshal(j.State, &d); err != nil {
			return none, &connectors.Error{Kind: connectors.Unsupported, Op: "find", Text: "what was kept of the prepared post cannot be read", Err: err}
		}
	}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	armed := j.ArmedAt
	if armed.IsZero() {
		armed = j.Planned
	}
	s, err := r.look(ctx, j, armed)
	if err != nil {
		return none, err
	}
	switch {
	case len(s.candidates) > 0:
		return connectors.Finding{Kind: connectors.FoundCandidates, Candidates: s.candidates}, nil
	case s.complete && !j.Now.Before(armed.Add(sendTime+quiet)) && r.relies(&d, j.Now):
		return connectors.Finding{Kind: connectors.FoundHandleGood}, nil
	}
	return connectors.Finding{Kind: connectors.FoundNothing}, nil
}

// relies says whether the server surely knows the draft's key, if it was ever
// used. Its software is asked as it is now: it may have changed since.
func (r *remote) relies(d *draft, now time.Time) bool {
	return d.Key != "" && r.c.p.keyed(r.software) && d.young(now, r.c.p.cfg.KeyWindow)
}

// sighting is what the account's own posts show of a part.
type sighting struct {
	candidates []connectors.Candidate
	complete   bool // all posts since then were seen, and of each that is like it what was written
}

// How much is looked through: posts of an account, and of those the ones whose
// own text is asked for.
const (
	lookPages   = 5
	lookSources = 10
)

// likeness is how alike a text must be to be shown to a person.
const likeness = 0.9

// look searches the account's posts since a time for the part of a job: the very
// same one, and those that are very like it.
func (r *remote) look(ctx context.Context, j *connectors.Job, since time.Time) (sighting, error) {
	var out sighting
	since = since.Add(-clocks)
	parent := ""
	if j.Parent != nil {
		var err error
		if parent, err = r.statusID(j.Parent.RemoteID); err != nil {
			return out, err
		}
	}
	cursor, sources, seen := "", lookSources, map[string]bool{}
	for range lookPages {
		page, next, _, err := r.page(ctx, cursor)
		if err != nil {
			return out, err
		}
		older := 0
		for i := range page {
			s := &page[i]
			if s.CreatedAt.Before(since) {
				older++
				continue
			}
			if seen[s.ID] || s.InReplyTo != parent || s.Account.ID != "" && s.Account.ID != r.id() || !sameMedia(j.Part.Media, s.Media) {
				continue
			}
			seen[s.ID] = true // pages may overlap
			k, ok, err := r.compare(ctx, j, s, &sources)
			if err != nil {
				return out, err
			}
			if ok {
				out.candidates = append(out.candidates, k)
			}
		}
		switch {
		case older > 0 && older == len(page), next == "" && len(page) == 0:
			out.complete = sources >= 0
			return out, nil
		case next == "": // a link may be left out, or lead back: only an empty page is the end
			next = page[len(page)-1].ID
		}
		cursor = next
	}
	return out, nil
}

// compare says whether a post is the part of a job or very like it. What a post
// shows may differ from what was written (a mention loses its server), so where
// it is not the same the server is asked what was written.
func (r *remote) compare(ctx context.Context, j *connectors.Job, s *status, sources *int) (connectors.Candidate, bool, error) {
	none := connectors.Candidate{}
	text, kinds := s.text(), social.Kinds(j.Part.Media)
	parent := ""
	if j.Parent != nil {
		parent = j.Parent.RemoteID
	}
	fingerprint := func() string { return connectors.FingerprintOf(r.c.known(), parent, text, kinds) }
	alike := social.Similarity(text, j.Part.Text)
	ask := fingerprint() != j.Fingerprint && alike >= 0.4
	if ask {
		*sources-- // below 0: one was not asked for
	}
	if ask && *sources >= 0 {
		var src source
		_, err := r.get(ctx, "source", pathStatuses+"/"+url.PathEscape(s.ID)+"/source", nil, &src)
		switch {
		case err == nil:
			text, alike = src.Text, social.Similarity(src.Text, j.Part.Text)
		case connectors.AsError(err).Status == http.StatusNotFound, isGone(err): // deleted meanwhile, or a server without it
		default:
			return none, false, err
		}
	}
	fp := fingerprint()
	if fp != j.Fingerprint && alike < likeness {
		return none, false, nil
	}
	rec, err := s.receipt()
	return connectors.Candidate{
		Receipt: rec, Fingerprint: fp, Excerpt: excerpt(text), Similarity: alike, SameMedia: true, At: s.CreatedAt.UTC(),
	}, true, err
}

// sameMedia says whether files may be what a post shows: a server makes a
// soundless video of a GIF, and calls a soundless video one.
func sameMedia(ours []social.Media, theirs []attachment) bool {
	may := map[string][]social.MediaKind{
		"image": {social.Image, social.GIF},
		"gifv":  {social.GIF, social.Video, social.Image},
		"video": {social.Video, social.GIF},
	}
	if len(ours) != len(theirs) {
		return false
	}
	for i, a := range theirs {
		if kinds, ok := may[a.Type]; ok && !slices.Contains(kinds, ours[i].Kind) {
			return false
		}
	}
	return true
}

// excerpt is the beginning of a text.
func excerpt(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

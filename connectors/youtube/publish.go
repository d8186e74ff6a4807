package youtube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	youtube "google.golang.org/api/youtube/v3"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.CommitDialer = (*conn)(nil)
	_ connectors.Finder       = (*conn)(nil)
)

// draft is what is kept of a part between its first Prepare and its end.
type draft struct {
	// Hash and Size are those of the file the upload is for.
	Hash string `json:"hash"`
	Size int64  `json:"size"`
	// Session is the address of the upload session, encrypted; Offset how many bytes
	// the server said it has.
	Session string    `json:"session,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Offset  int64     `json:"offset,omitempty"`
	// VideoID is the video, once all of it is there.
	VideoID  string    `json:"video_id,omitempty"`
	Uploaded time.Time `json:"uploaded,omitzero"`
	// What follows the upload, each done once; LeftOut says what could not be done.
	Thumbnail bool     `json:"thumbnail,omitempty"`
	Captions  bool     `json:"captions,omitempty"`
	Playlist  bool     `json:"playlist,omitempty"`
	LeftOut   []string `json:"left_out,omitempty"`
	// Request is the body of the commit, byte for byte. Once it is here nothing of
	// the part changes any more: an earlier attempt may have sent it.
	Request   string    `json:"request,omitempty"`
	Privacy   string    `json:"privacy,omitempty"` // what the commit makes of it
	PublishAt time.Time `json:"publish_at,omitzero"`
	Short     bool      `json:"short,omitempty"`
}

// videoState is what a receipt keeps.
type videoState struct {
	LeftOut []string `json:"left_out,omitempty"` // thumbnail, captions or playlist that could not be done
}

const (
	// lag is how long after an upload a video may be missing from answers.
	lag = 5 * time.Minute
	// look and longLook bound the time between two looks at the processing: each
	// costs a unit of the quota, and what takes long is looked at less often.
	look     = 15 * time.Second
	longLook = time.Minute
	// lead is how long before the planned time the processing is waited for no
	// longer: the video can be public before it is finished, in a lower quality.
	lead = 90 * time.Second
	// doubts is the attempt from which on a video that stays private is not tried
	// again without a person.
	doubts = 5
)

// Prepare uploads the video as a private one, adds thumbnail, captions and
// playlist, waits for the processing while there is time, and fixes the bytes
// of the commit.
func (c *conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	none := connectors.Preparation{}
	d := &draft{}
	if len(j.State) > 0 {
		if err := json.Unmarshal(j.State, d); err != nil {
			return none, &connectors.Error{Kind: connectors.Unknown, Op: "prepare", Text: "what was kept of the prepared video cannot be read", Err: err}
		}
	}
	if err := c.sayable(j); err != nil {
		return none, err
	}
	again := func(after time.Duration) (connectors.Preparation, error) {
		state, err := json.Marshal(d)
		return connectors.Preparation{State: state, Again: after}, err
	}
	if d.VideoID == "" {
		wait, err := c.upload(ctx, j, d)
		if err != nil {
			return none, err
		}
		if wait > 0 {
			return again(wait)
		}
	}
	if d.Request == "" {
		wait, err := c.finish(ctx, j, d)
		if err != nil {
			return none, unseen(err)
		}
		if wait > 0 {
			return again(wait)
		}
	}
	state, err := json.Marshal(d)
	if err != nil {
		return none, fmt.Errorf("keeping the prepared video: %w", err)
	}
	return connectors.Preparation{State: state, Class: connectors.Keyed, RequestHash: connectors.RequestHash([]byte(d.Request))}, nil
}

// sayable refuses what the network cannot be told. Check has refused it before;
// without this it would be lost in silence where nobody asked Check.
func (c *conn) sayable(j *connectors.Job) error {
	k := checker{part: j.Part, cfg: &c.p.cfg, about: &c.p.about}
	k.shape()
	for _, bad := range social.Refusals(k.Found) {
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: bad.Field, Text: bad.Text}
	}
	if j.Step > 0 || j.Kind == social.KindReply {
		return &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "smi publishes videos on YouTube, no comments yet"}
	}
	if at, err := time.Parse(time.RFC3339, j.Part.Options[optionPublishAt]); err == nil && at.Before(j.Planned) {
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: "options." + optionPublishAt, Text: "the time at which YouTube publishes is before the time at which smi hands the video over"}
	}
	return nil
}

// save keeps the draft, where somebody keeps it.
func (c *conn) save(ctx context.Context, j *connectors.Job, d *draft) error {
	if j.Save == nil {
		return nil
	}
	state, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keeping the state of the upload: %w", err)
	}
	var expires time.Time
	if d.VideoID == "" {
		expires = d.Started.Add(sessionLife)
	}
	return j.Save(ctx, state, expires)
}

func (c *conn) warn(ctx context.Context, j *connectors.Job, text string, attrs ...slog.Attr) {
	if c.p.env.Log != nil {
		c.p.env.Log.LogAttrs(ctx, slog.LevelWarn, text, append(attrs, slog.String("network", string(Network)), slog.String("account", c.account.RemoteID), slog.String("delivery", j.Delivery.String()))...) //nolint:sloglint // the callers' texts are constants
	}
}

// describe is the video as it is told to the network when its upload begins.
func (c *conn) describe(p *social.Part) *youtube.Video {
	o := p.Options
	v := &youtube.Video{
		Snippet: &youtube.VideoSnippet{Title: titleFor(p), Description: p.Text, Tags: splitTags(o[optionTags]), CategoryId: c.p.cfg.Category},
		Status: &youtube.VideoStatus{
			PrivacyStatus: private, SelfDeclaredMadeForKids: c.forKids(p), ContainsSyntheticMedia: o[optionSynthetic] == yes,
			ForceSendFields: []string{"SelfDeclaredMadeForKids", "ContainsSyntheticMedia"},
		},
	}
	if o[optionCategory] != "" {
		v.Snippet.CategoryId = o[optionCategory]
	}
	if len(p.Langs) > 0 {
		v.Snippet.DefaultLanguage, v.Snippet.DefaultAudioLanguage = p.Langs[0], p.Langs[0]
	}
	return v
}

func (c *conn) forKids(p *social.Part) bool {
	k := checker{part: p, cfg: &c.p.cfg}
	return k.forKids() == yes
}

// video reads one video of the channel, nil if it is not there.
func (c *conn) video(ctx context.Context, id string, parts ...string) (*video, error) {
	var list videoList
	_, err := c.ask(ctx, api.Call{Op: "videos.list", Out: &list}, func(ctx context.Context) error {
		_, err := c.p.data.Videos.List(parts).Id(id).Context(ctx).Do()
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if list.Items[i].ID == id {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// finish does what comes between the upload and the commit. It returns a time
// after which it is to be called again.
func (c *conn) finish(ctx context.Context, j *connectors.Job, d *draft) (time.Duration, error) {
	v, err := c.video(ctx, d.VideoID, "status", "processingDetails")
	if err != nil {
		return 0, err
	}
	left := j.Planned.Add(-lead).Sub(j.Now)
	if v == nil {
		if c.p.env.Now().Sub(d.Uploaded) < lag {
			return 5 * time.Second, nil
		}
		return 0, &connectors.Error{Kind: connectors.Invalid, Op: "videos.list", Field: "media[0]", Text: "the uploaded video is not on YouTube any more; somebody removed it there"}
	}
	if err := v.refused(); err != nil {
		return 0, err
	}
	if v.busy() && left > 0 {
		age := c.p.env.Now().Sub(d.Uploaded)
		return min(max(look, age/4), longLook, left), nil
	}
	if err := c.extras(ctx, j, d); err != nil {
		return 0, err
	}
	return 0, c.fix(j, d, v)
}

// busy says whether the network is still working on the video.
func (v *video) busy() bool {
	return v.Status.Upload == "uploaded" && (v.Processing.Status == "processing" || v.Processing.Status == "")
}

// refused says that the network will not show the video.
func (v *video) refused() error {
	e := &connectors.Error{Kind: connectors.Invalid, Op: "videos.list", Field: "media[0]"}
	switch v.Status.Upload {
	case "failed":
		e.Code, e.Text = v.Status.Failure, "YouTube cannot read the video"+reason(v.Status.Failure)
	case "rejected":
		e.Code, e.Text = v.Status.Rejection, "YouTube has refused the video"+reason(v.Status.Rejection)
	case "deleted":
		e.Text = "the uploaded video was deleted on YouTube"
	default:
		return nil
	}
	return e
}

func reason(word string) string {
	if word == "" {
		return ""
	}
	return " (" + clean(word) + ")"
}

// fix writes the commit down: the whole status, since what is left out of it
// goes back to its default (YouTube Data API, "Videos: update", parameter part,
// read 2026-11).
func (c *conn) fix(j *connectors.Job, d *draft, v *video) error {
	o := j.Part.Options
	st := &youtube.VideoStatus{
		PrivacyStatus: public, SelfDeclaredMadeForKids: c.forKids(j.Part), ContainsSyntheticMedia: o[optionSynthetic] == yes,
		ForceSendFields: []string{"SelfDeclaredMadeForKids", "ContainsSyntheticMedia"},
	}
	if v.Status.License != nil {
		st.License = *v.Status.License
	}
	if v.Status.Embeddable != nil {
		st.Embeddable = *v.Status.Embeddable
		st.ForceSendFields = append(st.ForceSendFields, "Embeddable")
	}
	if v.Status.PublicStats != nil {
		st.PublicStatsViewable = *v.Status.PublicStats
		st.ForceSendFields = append(st.ForceSendFields, "PublicStatsViewable")
	}
	if v.Status.Synthetic != nil && o[optionSynthetic] == "" { // its owner may have said it by hand
		st.ContainsSyntheticMedia = *v.Status.Synthetic
	}
	if o[optionPrivacy] == unlisted {
		st.PrivacyStatus = unlisted
	}
	d.Privacy = st.PrivacyStatus
	if at, err := time.Parse(time.RFC3339, o[optionPublishAt]); err == nil {
		d.PublishAt = at.UTC()
		st.PrivacyStatus, st.PublishAt = private, d.PublishAt.Format(time.RFC3339)
	}
	d.Short = isShort(j.Part.Media[0])
	body, err := json.Marshal(&youtube.Video{Id: d.VideoID, Status: st})
	if err != nil {
		return fmt.Errorf("writing the change as JSON: %w", err)
	}
	d.Request = string(body)
	return nil
}

// DialCommit opens the connection of the commit.
func (c *conn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	h, err := c.client()
	if err != nil {
		return nil, err
	}
	return h.DialCommit(ctx, c.p.cfg.API)
}

// kept reads the draft of a prepared part.
func kept(j *connectors.Job) (draft, error) {
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil {
		return d, err
	}
	if d.VideoID == "" || d.Request == "" {
		return d, fmt.Errorf("the upload is not finished")
	}
	return d, nil
}

// Commit makes the video public, or hands it to YouTube's own schedule: the
// bytes that were fixed in Prepare, for the video that was uploaded there.
func (c *conn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	none := connectors.Receipt{}
	d, err := kept(j)
	if err != nil {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opPublish, Text: "the video was not prepared", Err: err}
	}
	h, err := c.client()
	if err != nil {
		return none, err
	}
	var out changed
	x := &exchange{http: h, commit: true, fixed: []byte(d.Request), call: api.Call{Op: opPublish, Out: &out, Bucket: opPublish, Cost: 50}}
	err = x.run(ctx, func(ctx context.Context) error {
		_, err := c.p.data.Videos.Update([]string{"status"}, &youtube.Video{Id: d.VideoID}).Context(ctx).Do()
		return err
	})
	if err != nil {
		return none, err
	}
	if out.ID != d.VideoID || !d.holds(out.Status) {
		text := "YouTube took the change and says that the video is still " + cmp.Or(out.Status.Privacy, "what it was")
		if out.Status.Privacy == private {
			text += "; it may lock the uploads of apps that Google has not audited"
		}
		return none, &connectors.Error{Kind: connectors.Ambiguous, Op: opPublish, Status: x.answer.Status, Text: text}
	}
	if err := (&video{Status: out.Status}).refused(); err != nil { // public in name, and nobody can see it
		e := *connectors.AsError(err)
		e.Kind, e.Op, e.Status = connectors.Ambiguous, opPublish, x.answer.Status
		return none, &e
	}
	return c.receipt(&d, c.p.env.Now())
}

// changed is the answer of videos.update.
type changed struct {
	ID     string      `json:"id"`
	Status videoStatus `json:"status"`
}

// Validate asks for the id.
func (v *changed) Validate() error {
	if v.ID == "" {
		return fmt.Errorf("id is missing")
	}
	return nil
}

// holds says whether a video is what the commit makes of it. One that others can
// see in another way than planned is published all the same: nothing but the
// commit made it so.
func (d *draft) holds(s videoStatus) bool {
	if s.Privacy == public || s.Privacy == unlisted {
		return true
	}
	at, err := time.Parse(time.RFC3339, s.PublishAt)
	return !d.PublishAt.IsZero() && err == nil && at.Equal(d.PublishAt)
}

// receipt is what is known of the published video.
func (c *conn) receipt(d *draft, at time.Time) (connectors.Receipt, error) {
	if !d.PublishAt.IsZero() {
		at = d.PublishAt
	}
	r := connectors.Receipt{RemoteID: d.VideoID, URL: c.p.link(d.VideoID, d.Short), PublishedAt: at}
	if len(d.LeftOut) == 0 {
		return r, nil
	}
	var err error
	r.State, err = json.Marshal(videoState{d.LeftOut})
	return r, err
}

// link is the page of a video. A Short has one of its own; the other would lead
// there as well.
func (p *Platform) link(id string, short bool) string {
	if short {
		return strings.TrimSuffix(p.cfg.WebURL, "/") + "/shorts/" + id
	}
	return strings.TrimSuffix(p.cfg.WebURL, "/") + "/watch?v=" + id
}

// Find asks the video what it is. Private means that no commit has taken effect,
// and the same one may be sent again: a video becomes public once, however often
// it is asked for. (An owner who made it private again by hand in the moments
// after a lost answer is overruled.) A video that is gone says nothing: it may
// have been public before it was removed, so a person decides.
func (c *conn) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	d, err := kept(j)
	if err != nil {
		return connectors.Finding{}, &connectors.Error{Kind: connectors.Unsupported, Op: "find", Text: "the id of the video was not kept; it cannot be looked up", Err: err}
	}
	v, err := c.video(ctx, d.VideoID, "snippet", "status")
	switch {
	case err != nil:
		return connectors.Finding{}, err
	case v == nil, v.refused() != nil: // whatever it is called, nobody can see it: a person decides
		return connectors.Finding{Kind: connectors.FoundNothing}, nil
	case d.holds(v.Status):
		r, err := c.receipt(&d, v.at(c.p.env.Now()))
		return connectors.Finding{Kind: connectors.FoundPublished, Receipt: r}, err
	case v.Status.Privacy != private, // not said: no proof of anything
		j.Attempt >= doubts, // it will not become public: a person decides
		!d.PublishAt.IsZero() && !c.p.env.Now().Before(d.PublishAt): // it was public, perhaps
		return connectors.Finding{Kind: connectors.FoundNothing}, nil
	}
	return connectors.Finding{Kind: connectors.FoundHandleGood}, nil
}

// at is when the video became public, or other.
func (v *video) at(other time.Time) time.Time {
	t, err := time.Parse(time.RFC3339, v.Snippet.PublishedAt)
	if err != nil {
		return other
	}
	return t.UTC()
}

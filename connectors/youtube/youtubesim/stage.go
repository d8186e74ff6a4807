package youtubesim

import "strings"

// stage is what a test has changed behind everybody's back.
type stage struct {
	hidden      []string // counts that are left out
	withheld    []string // scopes that are not granted
	unlisted    []string // videos that batchGetStats leaves out
	loop        bool     // page tokens lead back
	noise       bool     // unknown fields everywhere
	noChannel   bool     // the account has no channel
	uploadLimit bool     // the channel has uploaded enough today
}

// Withhold lets people grant everything but these scopes.
func (s *Sim) Withhold(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.withheld = scopes
}

// Hide leaves a count ("likeCount", "subscriberCount") out of all answers.
func (s *Sim) Hide(count string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.hidden = append(s.stage.hidden, count)
}

// Omit lets batchGetStats leave a video out that is there.
func (s *Sim) Omit(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.unlisted = append(s.stage.unlisted, id)
}

// Loop lets the page tokens of playlists lead back.
func (s *Sim) Loop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.loop = true
}

// Noise adds fields that nobody knows to every JSON object of every answer.
func (s *Sim) Noise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.noise = true
}

// NoChannel lets the Google account have no channel.
func (s *Sim) NoChannel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.noChannel = true
}

// UploadLimit lets the channel have uploaded enough today.
func (s *Sim) UploadLimit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.uploadLimit = true
}

// Write is the owner of a channel who uploads a public video by hand. It returns
// its id.
func (s *Sim) Write(channel, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &video{channel: channel, made: s.now(), counts: map[string]int64{"viewCount": 0, "likeCount": 0, "commentCount": 0}}
	v.ID, v.Captions = s.unique("video")[:11], map[string]string{}
	v.serial = s.serial
	title, _, _ := strings.Cut(text, "\n")
	v.Title, v.Text, v.Category, v.Privacy = title, text, "22", "private"
	v.Embeddable, v.PublicStats, v.License = true, true, "youtube"
	s.videos[v.ID] = v
	s.made = append(s.made, v.ID)
	s.publish(v, "public", "")
	return v.ID
}

// Remove takes a video off the network.
func (s *Sim) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.videos, id)
}

// SetPrivacy is the owner who changes by hand who can see a video.
func (s *Sim) SetPrivacy(id, privacy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish(s.videos[id], privacy, "")
}

// SetEmbeddable is the owner who changes by hand whether others may embed a
// video.
func (s *Sim) SetEmbeddable(id string, may bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.videos[id].Embeddable = may
}

// Fail lets the processing of a video fail for this reason.
func (s *Sim) Fail(id, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.videos[id].failure = reason
}

// Reject lets the network refuse a video for this reason.
func (s *Sim) Reject(id, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.videos[id].rejection = reason
}

// SetCount sets a count of a video.
func (s *Sim) SetCount(id, name string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.videos[id].counts[name] = n
}

// SetSubscribers sets the subscribers of a channel.
func (s *Sim) SetSubscribers(channel string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[channel].subscribers = n
}

// SetDay sets what Analytics knows of a day of a channel.
func (s *Sim) SetDay(channel, day string, values map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[channel].days[day] = values
}

// SetTotals sets what Analytics knows of a video.
func (s *Sim) SetTotals(id string, values map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.videos[id].totals = values
}

// AddPlaylist makes a playlist of a channel.
func (s *Sim) AddPlaylist(channel, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.playlists[id] = &playlist{id: id, channel: channel}
}

// Playlist returns the videos of a playlist in order.
func (s *Sim) Playlist(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.playlists[id].items...)
}

// Tear keeps only the first n bytes of the next piece of an upload and cuts the
// connection.
func (s *Sim) Tear(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tear = n
}

// Forget ends all upload sessions.
func (s *Sim) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

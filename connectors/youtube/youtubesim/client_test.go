package youtubesim_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	youtube "google.golang.org/api/youtube/v3"
	analytics "google.golang.org/api/youtubeanalytics/v2"

	"smi/connectors/internal/simkit"
	"smi/connectors/youtube/youtubesim"
)

// TestOfficialClient drives the simulator with Google's own client, over its own
// transport and with its own uploads: what it understands, it understands.
func TestOfficialClient(t *testing.T) {
	now := time.Now().UTC()
	sim := youtubesim.New(youtubesim.Options{Polls: 1})
	channel := sim.AddChannel("Alice's films", "@alice")
	srv := simkit.ServePlain(t, sim)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, plain)

	// Joining, with the client's own OAuth.
	verifier := oauth2.GenerateVerifier()
	conf := oauth2.Config{
		ClientID: youtubesim.ClientID, ClientSecret: youtubesim.ClientSecret, RedirectURL: "http://127.0.0.1:8080/callback",
		Endpoint: oauth2.Endpoint{AuthURL: srv.URL + "/o/oauth2/v2/auth", TokenURL: srv.URL + "/token", AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   []string{youtube.YoutubeUploadScope, youtube.YoutubeForceSslScope, youtube.YoutubeReadonlyScope, analytics.YtAnalyticsReadonlyScope},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, conf.AuthCodeURL("s", oauth2.AccessTypeOffline, oauth2.ApprovalForce, oauth2.SetAuthURLParam("prompt", "consent"), oauth2.S256ChallengeOption(verifier)), nil)
	must(t, err)
	res, err := (&http.Client{Transport: plain.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	must(t, err)
	res.Body.Close()
	back, err := url.Parse(res.Header.Get("Location"))
	must(t, err)
	tok, err := conf.Exchange(ctx, back.Query().Get("code"), oauth2.VerifierOption(verifier))
	must(t, err)
	if tok.RefreshToken == "" {
		t.Fatal("no refresh token")
	}
	sim.ExpireAccess(channel)
	tok.Expiry = time.Now().Add(-time.Hour) // the client refreshes by itself
	client := conf.Client(ctx, tok)
	yt, err := youtube.NewService(ctx, option.WithHTTPClient(client), option.WithEndpoint(srv.URL+"/"))
	must(t, err)
	an, err := analytics.NewService(ctx, option.WithHTTPClient(client), option.WithEndpoint(srv.URL+"/"))
	must(t, err)

	me, err := yt.Channels.List([]string{"snippet", "contentDetails", "statistics"}).Mine(true).Do()
	must(t, err)
	if len(me.Items) != 1 || me.Items[0].Id != channel || me.Items[0].Snippet.CustomUrl != "@alice" {
		t.Fatalf("the channel is %+v", me.Items)
	}

	// Its own resumable upload, in pieces whose total it does not know.
	film := bytes.Repeat([]byte("a film in many parts, "), 50_000)
	v, err := yt.Videos.Insert([]string{"snippet", "status"}, &youtube.Video{
		Snippet: &youtube.VideoSnippet{Title: "A film", Description: "About it", Tags: []string{"one", "two words"}, CategoryId: "22"},
		Status:  &youtube.VideoStatus{PrivacyStatus: "private", SelfDeclaredMadeForKids: false, ForceSendFields: []string{"SelfDeclaredMadeForKids"}},
	}).Media(bytes.NewReader(film), googleapi.ChunkSize(256<<10), googleapi.ContentType("video/mp4")).Context(ctx).Do()
	must(t, err)
	sum := sha256.Sum256(film)
	if got := sim.Videos(channel); len(got) != 1 || got[0].ID != v.Id || got[0].MediaHash != hex.EncodeToString(sum[:]) || got[0].Bytes != int64(len(film)) {
		t.Fatalf("on the network: %+v", got)
	}
	if n := sim.Kit.Requests.Count(http.MethodPost, "/upload/youtube/v3/videos"); n != 1+5 {
		t.Errorf("the upload took %d requests", n)
	}
	l, err := yt.Videos.List([]string{"status", "processingDetails"}).Id(v.Id).Do()
	must(t, err)
	if l.Items[0].Status.UploadStatus != "uploaded" || l.Items[0].ProcessingDetails.ProcessingStatus != "processing" {
		t.Errorf("at first: %+v", l.Items[0].Status)
	}

	var picture bytes.Buffer
	must(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 16, 9))))
	_, err = yt.Thumbnails.Set(v.Id).Media(&picture).Context(ctx).Do()
	must(t, err)
	_, err = yt.Captions.Insert([]string{"snippet"}, &youtube.Caption{Snippet: &youtube.CaptionSnippet{VideoId: v.Id, Language: "en", Name: ""}}).Media(strings.NewReader("1\n00:00:00,000 --> 00:00:01,000\nHi\n"), googleapi.ContentType("application/octet-stream")).Do()
	must(t, err)
	caps, err := yt.Captions.List([]string{"snippet"}, v.Id).Do()
	must(t, err)
	if len(caps.Items) != 1 || caps.Items[0].Snippet.Language != "en" {
		t.Errorf("the captions are %+v", caps.Items)
	}
	sim.AddPlaylist(channel, "PLfilms")
	_, err = yt.PlaylistItems.Insert([]string{"snippet"}, &youtube.PlaylistItem{Snippet: &youtube.PlaylistItemSnippet{PlaylistId: "PLfilms", ResourceId: &youtube.ResourceId{Kind: "youtube#video", VideoId: v.Id}}}).Do()
	must(t, err)

	if n := len(sim.Posts(channel)); n != 0 {
		t.Errorf("%d videos are public before anybody made one so", n)
	}
	up, err := yt.Videos.Update([]string{"status"}, &youtube.Video{Id: v.Id, Status: &youtube.VideoStatus{PrivacyStatus: "public"}}).Do()
	must(t, err)
	if posts := sim.Posts(channel); up.Status.PrivacyStatus != "public" || len(posts) != 1 || posts[0].ID != v.Id {
		t.Errorf("after the update: %+v, %+v", up.Status, posts)
	}

	sim.SetCount(v.Id, "viewCount", 1<<53+1)
	stats, err := yt.Videos.BatchGetStats().Part("id", "statistics").Id(v.Id, "nobody").Do()
	must(t, err)
	if len(stats.Items) != 1 || stats.Items[0].Statistics.ViewCount != 1<<53+1 {
		t.Errorf("the counts are %+v", stats.Items)
	}
	page, err := yt.PlaylistItems.List([]string{"snippet", "contentDetails"}).PlaylistId(me.Items[0].ContentDetails.RelatedPlaylists.Uploads).Do()
	must(t, err)
	if len(page.Items) != 1 || page.Items[0].ContentDetails.VideoId != v.Id {
		t.Errorf("the uploads are %+v", page.Items)
	}
	day := now.Format(time.DateOnly)
	sim.SetDay(channel, day, map[string]any{"views": 12, "likes": 3})
	rep, err := an.Reports.Query().Ids("channel==MINE").StartDate(day).EndDate(day).Metrics("views,likes").Dimensions("day").Do()
	must(t, err)
	if len(rep.Rows) != 1 || rep.Rows[0][0] != day || rep.Rows[0][1] != 12.0 || rep.ColumnHeaders[2].Name != "likes" {
		t.Errorf("the report is %+v", rep)
	}

	// What is refused, the client understands as well.
	var ge *googleapi.Error
	_, err = yt.Videos.Update([]string{"status"}, &youtube.Video{Id: "nobody", Status: &youtube.VideoStatus{PrivacyStatus: "public"}}).Do()
	if !errors.As(err, &ge) || ge.Code != 404 || ge.Errors[0].Reason != "videoNotFound" {
		t.Errorf("an unknown video: %v", err)
	}
	_, err = an.Reports.Query().Ids("channel==MINE").StartDate(day).EndDate(day).Metrics("happiness").Dimensions("day").Do()
	if !errors.As(err, &ge) || ge.Code != 400 {
		t.Errorf("an unknown metric: %v", err)
	}
	must(t, yt.Videos.Delete(v.Id).Do())
	if n := len(sim.Videos(channel)); n != 0 {
		t.Errorf("%d videos are left", n)
	}
	sim.Revoke(channel)
	_, err = yt.Channels.List([]string{"id"}).Mine(true).Do()
	if !errors.As(err, &ge) || ge.Code != 401 {
		t.Errorf("after the access was taken away: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuotas: the day of a quota is a Pacific one, and uploads have their own.
func TestQuotas(t *testing.T) {
	now := time.Date(2026, 11, 26, 7, 59, 0, 0, time.UTC) // one minute before midnight there
	sim := youtubesim.New(youtubesim.Options{Units: 2, Now: func() time.Time { return now }})
	sim.AddChannel("a", "@a")
	srv := simkit.ServePlain(t, sim)
	token := login(t, srv.URL)
	get := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/youtube/v3/channels?part=id&mine=true", nil)
		must(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(r)
		must(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	var got []int
	for range 3 {
		got = append(got, get())
	}
	now = now.Add(2 * time.Minute)
	got = append(got, get())
	if want := [4]int{200, 200, 403, 200}; [4]int(got) != want {
		t.Errorf("the answers are %v, want %v", got, want)
	}
	http.DefaultClient.CloseIdleConnections()
}

func login(t *testing.T, base string) string {
	t.Helper()
	conf := oauth2.Config{
		ClientID: youtubesim.ClientID, ClientSecret: youtubesim.ClientSecret, RedirectURL: "http://127.0.0.1:8080/callback", Scopes: []string{youtube.YoutubeReadonlyScope},
		Endpoint: oauth2.Endpoint{AuthURL: base + "/o/oauth2/v2/auth", TokenURL: base + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, conf.AuthCodeURL("s"), nil)
	must(t, err)
	res, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	must(t, err)
	res.Body.Close()
	back, err := res.Location()
	must(t, err)
	tok, err := conf.Exchange(t.Context(), back.Query().Get("code"))
	must(t, err)
	return tok.AccessToken
}

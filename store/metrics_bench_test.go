package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// BenchmarkSaveNumbers stores what a page of a night's reading says: six metrics
// of each of 100 posts. The values of the day are set anew each time.
func BenchmarkSaveNumbers(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Path: filepath.Join(b.TempDir(), "smi.db"), BallastBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() }) //nolint:errcheck // the benchmark is over
	d := storetest.Seed(b, s)
	a := d.Account(d.Workspace().ID)
	var page connectors.Page
	r := social.Reading{Raw: []social.RawAnswer{{Op: "getPosts", At: benchNow, Body: make([]byte, 32<<10)}}}
	for i := range 100 {
		id := fmt.Sprint("post-", i)
		page.Posts = append(page.Posts, connectors.RemotePost{Receipt: connectors.Receipt{RemoteID: id, PublishedAt: benchNow}, Text: id})
		for _, m := range []social.Metric{social.Views, social.Likes, social.Comments, social.Shares, social.Quotes, social.Saves} {
			r.Observations = append(r.Observations, social.Observation{
				Subject: social.OfPost, RemoteID: id, Metric: m, Value: int64(i), Window: social.Lifetime, At: benchNow, Name: "their_" + string(m),
			})
		}
	}
	if err := s.SavePosts(b.Context(), scheduler.SyncRun{}, a, page); err != nil {
		b.Fatal(err)
	}
	values := 0
	for b.Loop() {
		n, err := s.SaveNumbers(b.Context(), scheduler.SyncRun{}, a, r)
		if err != nil || n != len(r.Observations) {
			b.Fatalf("%d values set, %v", n, err)
		}
		values += n
	}
	b.ReportMetric(float64(values)/b.Elapsed().Seconds(), "values/s")
}

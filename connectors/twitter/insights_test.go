package twitter_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

// TestPrivateNumbersFor30Days: clicks are asked for while X tells them, and the
// public numbers come for ever.
func TestPrivateNumbersFor30Days(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	var rs []connectors.Receipt
	add := func(name string, age time.Duration, known bool) string {
		id := s.sim.Write(s.account.RemoteID, name)
		s.sim.Age(id, age)
		s.sim.SetCounts(id, twittersim.Counts{Views: 100, Likes: 7, Clicks: 3})
		r := connectors.Receipt{RemoteID: id}
		if known {
			r.PublishedAt = s.Now().Add(-age)
		}
		rs = append(rs, r)
		return id
	}
	young := add("young", 29*24*time.Hour, true)
	old := add("old", 31*24*time.Hour, true)
	unsaid := add("old, and nobody says so", 40*24*time.Hour, false)
	gone := add("gone", time.Hour, true)
	s.sim.Remove(gone)
	rd, err := s.client().PostInsights(s.Context(), rs)
	s.must(err)
	got := map[string]map[social.Metric]int64{}
	for _, o := range rd.Observations {
		if got[o.RemoteID] == nil {
			got[o.RemoteID] = map[social.Metric]int64{}
		}
		if _, twice := got[o.RemoteID][o.Metric]; twice {
			t.Errorf("%s of %s comes twice", o.Metric, o.RemoteID)
		}
		got[o.RemoteID][o.Metric] = o.Value
		if o.Window != social.Lifetime || o.Raw >= len(rd.Raw) {
			t.Errorf("the observation is %+v", o)
		}
	}
	for id, clicks := range map[string]bool{young: true, old: false, unsaid: false} {
		n := got[id]
		if v, ok := n[social.Clicks]; ok != clicks || clicks && v != 3 {
			t.Errorf("the clicks of %s are %d, %v", id, v, ok)
		}
		if n[social.Views] != 100 || n[social.Likes] != 7 {
			t.Errorf("the numbers of %s are %v", id, n)
		}
		if v, ok := n[social.Comments]; !ok || v != 0 {
			t.Errorf("the answers of %s are %d, %v: X said zero", id, v, ok)
		}
	}
	if !slices.Equal(rd.Gone, []string{gone}) {
		t.Errorf("gone are %v, want %s", rd.Gone, gone)
	}
	calls := s.calls("/2/tweets")
	if len(calls) != 2 {
		t.Fatalf("there were %d calls, want 2", len(calls))
	}
	for i, private := range []bool{true, false} {
		q := calls[i].Query
		if strings.Contains(q.Get("tweet.fields"), "non_public_metrics") != private || strings.Contains(q.Get("ids"), old) == private {
			t.Errorf("call %d asks %v", i, q)
		}
	}
}

// TestUnknownSpellingIsAnError: where X gives no field by the names that smi
// knows, nothing is taken for an empty timeline or for a post without numbers.
func TestUnknownSpellingIsAnError(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"auto", "legacy"} {
		s := newScene(t, "2", twittersim.Options{Renamed: true, OldOnly: dialect == "auto"})
		s.cfg.FieldsDialect = dialect
		id := s.sim.Write(s.account.RemoteID, "here")
		c := s.client()
		_, err := c.List(s.Context(), time.Time{}, "")
		e := s.wantKind("listing", err, connectors.Unknown)
		if !strings.Contains(e.Text, "twitter.fields_dialect") {
			t.Errorf("the error is %+v", e)
		}
		_, err = c.Find(s.Context(), &connectors.Job{Part: &social.Part{Text: "here"}, ArmedAt: s.Now()})
		s.wantKind("looking", err, connectors.Unknown)
		_, err = c.PostInsights(s.Context(), []connectors.Receipt{{RemoteID: id}})
		s.wantKind("numbers", err, connectors.Unknown)
		_, err = c.Get(s.Context(), id)
		s.wantKind("reading one", err, connectors.Unknown)
	}
}

// TestWhatIsNotPossibleIsSaid: each gate of X is there with its reason.
func TestWhatIsNotPossibleIsSaid(t *testing.T) {
	t.Parallel()
	both(t, twittersim.Options{}, func(s *scene) {
		want := []string{"answering others", "quoting", "liking and following", "mentions of strangers", "reach", "scheduling by the network"}
		if s.cfg.API == "1.1" {
			want = append(want, "media and polls")
		}
		missing := s.platform().Describe().Missing
		for _, what := range want {
			if !slices.ContainsFunc(missing, func(m connectors.Missing) bool { return m.What == what && m.Why != "" }) {
				s.Errorf("%q is not among what is not possible", what)
			}
		}
	})
}

package linkedin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// shareStatistics are the numbers of an organisation's posts. They are organic
// and cover the last twelve months ("Organization share statistics", read
// 2026-08-22).
type shareStatistics struct {
	Elements []shareElement `json:"elements"`
}

type shareElement struct {
	Share string      `json:"share"`
	UGC   string      `json:"ugcPost"`
	Range timeRange   `json:"timeRange"`
	Total shareTotals `json:"totalShareStatistics"`
}

type timeRange struct {
	Start *number `json:"start"`
	End   *number `json:"end"`
}

// shareTotals leaves out engagement, which is a ratio of the others.
type shareTotals struct {
	Impressions *number `json:"impressionCount"`
	Unique      *number `json:"uniqueImpressionsCount"`
	Clicks      *number `json:"clickCount"`
	Likes       *number `json:"likeCount"`
	Comments    *number `json:"commentCount"`
	Shares      *number `json:"shareCount"`
}

// Validate asks for the list, which may be empty.
func (s shareStatistics) Validate() error {
	if s.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// value is a number by our name and the network's.
type value struct {
	metric social.Metric
	name   string
	v      *number
}

func (t shareTotals) values() []value {
	return []value{
		{social.Views, "impressionCount", t.Impressions},
		{social.Reach, "uniqueImpressionsCount", t.Unique},
		{social.Clicks, "clickCount", t.Clicks},
		{social.Likes, "likeCount", t.Likes},
		{social.Comments, "commentCount", t.Comments},
		{social.Shares, "shareCount", t.Shares},
	}
}

// zero are the totals of a post that the network leaves out because nothing
// happened to it.
func zero() shareTotals {
	n := new(number)
	return shareTotals{n, n, n, n, n, n}
}

// reader puts a reading together.
type reader struct {
	c   *conn
	out social.Reading
}

// kept keeps an answer, from which the observations that follow came.
func (r *reader) kept(op string, a api.Answer) { r.out.Raw = append(r.out.Raw, r.c.raw(op, a)) }

// note makes an observation of what the network said. It says likes below zero
// for a day on which more were taken back than given; that is no amount, and is
// left to the answer that is kept.
func (r *reader) note(s social.Subject, id string, w social.Window, day time.Time, vs ...value) {
	for _, v := range vs {
		if v.v == nil || *v.v < 0 {
			continue
		}
		r.out.Observations = append(r.out.Observations, social.Observation{
			Subject: s, RemoteID: id, Metric: v.metric, Value: int64(*v.v), Window: w, Day: day, At: r.c.p.env.Now(), Name: v.name, Raw: len(r.out.Raw) - 1,
		})
	}
}

// shareOf sorts posts by the parameter in which their statistics are asked for.
var shareOf = []struct{ prefix, param string }{{"urn:li:share:", "shares"}, {"urn:li:ugcPost:", "ugcPosts"}}

// PostInsights reads the numbers of posts, as running totals. One that the
// network leaves out is asked for: it is gone, or nothing happened to it yet.
func (o *organization) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	r := &reader{c: &o.conn}
	for _, kind := range shareOf {
		var ids []string
		for _, rec := range rs {
			if strings.HasPrefix(rec.RemoteID, kind.prefix) && !slices.Contains(ids, rec.RemoteID) {
				ids = append(ids, rec.RemoteID)
			}
		}
		for some := range slices.Chunk(ids, batch) {
			if err := o.shareNumbers(ctx, r, some, kind.param); err != nil {
				return r.out, err
			}
		}
	}
	for _, rec := range rs {
		if bytes.Contains(rec.State, []byte(`"video"`)) && strings.HasPrefix(rec.RemoteID, "urn:li:ugcPost:") && !slices.Contains(r.out.Gone, rec.RemoteID) {
			if err := o.videoNumbers(ctx, r, rec.RemoteID); err != nil {
				return r.out, err
			}
		}
	}
	return r.out, nil
}

// statisticsPage is how many elements an answer of the statistics may hold: the
// paging that comes with it says ten where nothing was asked for ("Organization
// share statistics", read 2026-08-22). Whether it cuts is not said.
const statisticsPage = 10

// shareNumbers reads the numbers of posts of one kind. What a long answer does
// not have is asked for again: it may have been cut, and a post that is left out
// is taken for one to which nothing happened.
func (o *organization) shareNumbers(ctx context.Context, r *reader, ids []string, param string) error {
	for left := ids; len(left) > 0; {
		var got shareStatistics
		a, err := o.get(ctx, "shareStatistics", "/rest/organizationalEntityShareStatistics",
			"q=organizationalEntity&organizationalEntity="+enc(o.account.RemoteID)+"&"+param+"="+list(left), &got)
		if err != nil {
			return err
		}
		r.kept("organizationalEntityShareStatistics", a)
		seen := map[string]bool{}
		for _, e := range got.Elements {
			id := cmp.Or(e.Share, e.UGC)
			if seen[id] || !slices.Contains(left, id) {
				continue
			}
			seen[id] = true
			r.note(social.OfPost, id, social.Lifetime, time.Time{}, e.Total.values()...)
		}
		left = slices.DeleteFunc(slices.Clone(left), func(id string) bool { return seen[id] })
		if len(left) > 0 && (len(got.Elements) < statisticsPage || len(seen) == 0) {
			return o.leftOut(ctx, r, left)
		}
	}
	return nil
}

// leftOut asks for posts that have no statistics. Gone is only what the network
// says is not there; of one that it leaves out here as well nothing is known.
func (o *organization) leftOut(ctx context.Context, r *reader, ids []string) error {
	var got postsByID
	a, err := o.http.Do(ctx, api.Call{Op: "posts.batch", URL: o.url("/rest/posts", "ids="+list(ids)), Header: o.headers("BATCH_GET"), Out: &got, Bucket: "posts.batch"})
	if err != nil {
		return err
	}
	r.kept("posts", a)
	for _, id := range ids {
		p, there := got.Results[id]
		switch {
		case got.Errors[id].Status == http.StatusNotFound, got.Statuses[id] == http.StatusNotFound:
			r.out.Gone = append(r.out.Gone, id)
		case there && p.at().After(o.p.env.Now().AddDate(-1, 0, 0)): // older ones are not counted any more
			r.note(social.OfPost, id, social.Lifetime, time.Time{}, zero().values()...)
		}
	}
	return nil
}

// videoStatistics are those of a video ("Video analytics", read 2026-08-22).
type videoStatistics struct {
	Elements []struct {
		Entity string  `json:"entity"`
		Value  *number `json:"value"`
	} `json:"elements"`
}

// Validate asks for the list, which may be empty.
func (v videoStatistics) Validate() error {
	if v.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// videoNumbers reads for how long a video was watched, in milliseconds. What the
// answer looks like was seen in examples only: one that cannot be read, and a
// refusal, cost this number and not those of the other posts.
func (o *organization) videoNumbers(ctx context.Context, r *reader, id string) error {
	var got videoStatistics
	a, err := o.get(ctx, "videoAnalytics", "/rest/videoAnalytics", "q=entity&entity="+enc(id)+"&type=TIME_WATCHED&aggregation=ALL", &got)
	if err != nil {
		return r.without(ctx, "TIME_WATCHED", id, err)
	}
	r.kept("videoAnalytics", a)
	for i, e := range got.Elements {
		if i == 0 && (e.Entity == "" || e.Entity == id) {
			r.note(social.OfPost, id, social.Lifetime, time.Time{}, value{social.WatchMS, "TIME_WATCHED", e.Value})
		}
	}
	return nil
}

// without goes on without a number that is not to be had, and says so in the
// log. What passes, and what a new login would cure, stays an error.
func (r *reader) without(ctx context.Context, name, id string, err error) error {
	switch connectors.KindOf(err) { //nolint:exhaustive // all others pass or are cured
	case connectors.Invalid, connectors.Permission, connectors.Unknown:
		if log := r.c.p.env.Log; log != nil && !isStatus(err, http.StatusNotFound) {
			log.WarnContext(ctx, "LinkedIn does not give a number of a post; it is left out", "number", name, "post", id, "err", err)
		}
		return nil
	}
	return err
}

// followerStatistics are the followers won each day.
type followerStatistics struct {
	Elements []struct {
		Range timeRange `json:"timeRange"`
		Gains struct {
			Organic *number `json:"organicFollowerGain"`
			Paid    *number `json:"paidFollowerGain"`
		} `json:"followerGains"`
	} `json:"elements"`
}

// Validate asks for the list, which may be empty.
func (f followerStatistics) Validate() error {
	if f.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// networkSize is how many follow a page.
type networkSize struct {
	Size *number `json:"firstDegreeSize"`
}

// dayMS is a day in milliseconds.
const dayMS = 24 * 60 * 60 * 1000

// intervals asks for the days from the first to before end.
func intervals(from, end time.Time) string {
	return fmt.Sprintf("timeIntervals=(timeRange:(start:%d,end:%d),timeGranularityType:DAY)", from.UnixMilli(), end.UnixMilli())
}

// day is the day a range is of; false if it is not one day.
func (t timeRange) day() (time.Time, bool) {
	if t.Start == nil || t.End == nil || *t.End-*t.Start > dayMS {
		return time.Time{}, false
	}
	return t.Start.at().Truncate(24 * time.Hour), true
}

// AccountInsights reads the followers as they are now, and the numbers of each
// day: the posts' together, and the followers won, which LinkedIn knows up to
// two days ago. Days are in UTC.
func (o *organization) AccountInsights(ctx context.Context, from, to time.Time) (social.Reading, error) {
	r := &reader{c: &o.conn}
	id := o.account.RemoteID
	var size networkSize
	a, err := o.get(ctx, "networkSizes", "/rest/networkSizes/"+enc(id), "edgeType=COMPANY_FOLLOWED_BY_MEMBER", &size)
	if err != nil {
		return r.out, err
	}
	r.kept("networkSizes", a)
	r.note(social.OfAccount, id, social.Instant, time.Time{}, value{social.Followers, "firstDegreeSize", size.Size})

	today := o.p.env.Now().UTC().Truncate(24 * time.Hour)
	from, end := from.UTC().Truncate(24*time.Hour), to.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	if oldest := today.AddDate(-1, 0, 1); from.Before(oldest) {
		from = oldest
	}
	q := "q=organizationalEntity&organizationalEntity=" + enc(id) + "&"
	if end = earlier(end, today); from.Before(end) { // a day that is not over has no amount yet
		var got shareStatistics
		a, err := o.get(ctx, "shareStatistics", "/rest/organizationalEntityShareStatistics", q+intervals(from, end), &got)
		if err != nil {
			return r.out, err
		}
		r.kept("organizationalEntityShareStatistics", a)
		for day, e := range daily(got.Elements, func(e shareElement) timeRange { return e.Range }) {
			r.note(social.OfAccount, id, social.Day, day, e.Total.values()...)
		}
	}
	if end = earlier(end, today.AddDate(0, 0, -1)); from.Before(end) {
		var got followerStatistics
		a, err := o.get(ctx, "followerStatistics", "/rest/organizationalEntityFollowerStatistics", q+intervals(from, end), &got)
		if err != nil {
			return r.out, err
		}
		r.kept("organizationalEntityFollowerStatistics", a)
		seen := map[time.Time]bool{}
		for _, e := range got.Elements {
			day, ok := e.Range.day()
			if !ok || seen[day] || e.Gains.Organic == nil || e.Gains.Paid == nil {
				continue
			}
			seen[day] = true
			sum := *e.Gains.Organic + *e.Gains.Paid
			r.note(social.OfAccount, id, social.Day, day, value{social.Gained, "organicFollowerGain+paidFollowerGain", &sum})
		}
	}
	return r.out, nil
}

// daily walks through elements of one day each, the first of each day.
func daily[T any](all []T, rangeOf func(T) timeRange) func(yield func(time.Time, T) bool) {
	return func(yield func(time.Time, T) bool) {
		seen := map[time.Time]bool{}
		for _, e := range all {
			day, ok := rangeOf(e).day()
			if !ok || seen[day] {
				continue
			}
			seen[day] = true
			if !yield(day, e) {
				return
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// socialMetadata are the reactions and comments of any post.
type socialMetadata struct {
	Reactions map[string]struct {
		Count *number `json:"count"`
	} `json:"reactionSummaries"`
	Comments struct {
		Count *number `json:"count"`
	} `json:"commentSummary"`
	raw social.RawAnswer
}

// PostInsights reads the reactions and comments of a member's posts. What is
// counted here was found to be less than half of what LinkedIn's own export says
// (23 posts, 2026-07-27), so that the names of these numbers say where they are
// from.
func (m *countedMember) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	r := &reader{c: &m.conn}
	for _, rec := range rs {
		if commentForm.MatchString(rec.RemoteID) {
			continue
		}
		got, err := m.metadata(ctx, rec.RemoteID)
		if isStatus(err, http.StatusNotFound) {
			r.out.Gone = append(r.out.Gone, rec.RemoteID)
			continue
		}
		if err != nil {
			return r.out, err
		}
		r.out.Raw = append(r.out.Raw, got.raw)
		var likes *number
		if got.Reactions != nil {
			likes = new(number)
			for _, k := range got.Reactions {
				if k.Count != nil {
					*likes += *k.Count
				}
			}
		}
		r.note(social.OfPost, rec.RemoteID, social.Lifetime, time.Time{},
			value{social.Likes, "socialMetadata.reactionSummaries", likes}, value{social.Comments, "socialMetadata.commentSummary", got.Comments.Count})
	}
	return r.out, nil
}

// memberStatistics are the numbers of a member's posts, one kind an answer
// ("Member post statistics", read 2026-08-22).
type memberStatistics struct {
	Elements []struct {
		Count *number `json:"count"`
	} `json:"elements"`
}

// Validate asks for the list, which may be empty.
func (s memberStatistics) Validate() error {
	if s.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

// memberQueries are the numbers that are asked for, and since which version
// there are.
var memberQueries = []struct {
	metric social.Metric
	name   string
	since  string
}{
	{social.Views, "IMPRESSION", ""},
	{social.Reach, "MEMBERS_REACHED", ""},
	{social.Likes, "REACTION", ""},
	{social.Comments, "COMMENT", ""},
	{social.Shares, "RESHARE", ""},
	{social.Saves, "POST_SAVE", "202604"},
	{social.Clicks, "LINK_CLICKS", "202604"},
}

// PostInsights reads the numbers of a member's posts, one call for each number:
// totals, because the numbers of a day are refused for most of them.
//
// To a post that is gone LinkedIn answers 404, and so it does to an app that may
// not read statistics at all (seen 2026-07-26). What was answered for another
// post, the post itself and the member's followers tell which it is.
func (m *analysedMember) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	r := &reader{c: &m.conn}
	var unknown []string
	var refusal error
	for _, rec := range rs {
		entity, ok := entityOf(rec.RemoteID)
		if !ok {
			continue
		}
		err := m.statistics(ctx, r, rec, entity)
		switch {
		case isStatus(err, http.StatusNotFound):
			unknown, refusal = append(unknown, rec.RemoteID), err
		case err != nil:
			return r.out, err
		}
	}
	granted := len(r.out.Raw) > 0
	for _, id := range unknown {
		_, err := m.metadata(ctx, id)
		switch {
		case isStatus(err, http.StatusNotFound):
			r.out.Gone = append(r.out.Gone, id)
		case err != nil && !isStatus(err, http.StatusForbidden):
			return r.out, err
		case granted: // it has no numbers; why, LinkedIn does not say
		case err == nil || !m.granted(ctx):
			return r.out, notGranted(refusal)
		default:
			granted = true
		}
	}
	return r.out, nil
}

// statistics reads the numbers of one post.
func (m *analysedMember) statistics(ctx context.Context, r *reader, rec connectors.Receipt, entity string) error {
	note := func(resource string, metric social.Metric, name string) error {
		var got memberStatistics
		a, err := m.get(ctx, resource, "/rest/"+resource, "q=entity&entity="+entity+"&queryType="+name+"&aggregation=TOTAL", &got)
		if err != nil {
			return err
		}
		r.kept(resource+" "+name, a)
		if len(got.Elements) > 0 {
			r.note(social.OfPost, rec.RemoteID, social.Lifetime, time.Time{}, value{metric, name, got.Elements[0].Count})
		}
		return nil
	}
	for _, q := range memberQueries {
		if m.p.cfg.Version < q.since {
			continue
		}
		err := note("memberCreatorPostAnalytics", q.metric, q.name)
		if err != nil && q.since != "" {
			err = r.without(ctx, q.name, rec.RemoteID, err)
		}
		if err != nil {
			return err
		}
	}
	if !bytes.Contains(rec.State, []byte(`"video"`)) {
		return nil
	}
	// "Member video statistics", read 2026-11-25; in milliseconds.
	if err := note("memberCreatorVideoAnalytics", social.WatchMS, "VIDEO_WATCH_TIME"); err != nil {
		return r.without(ctx, "VIDEO_WATCH_TIME", rec.RemoteID, err)
	}
	return nil
}

// granted says whether the app may read statistics of members at all.
func (m *analysedMember) granted(ctx context.Context) bool {
	var got memberFollowers
	_, err := m.followers(ctx, &got)
	return err == nil
}

// entityOf is how the statistics name a post.
func entityOf(urn string) (string, bool) {
	switch {
	case strings.HasPrefix(urn, "urn:li:share:"):
		return "(share:" + enc(urn) + ")", true
	case strings.HasPrefix(urn, "urn:li:ugcPost:"):
		return "(ugc:" + enc(urn) + ")", true
	}
	return "", false
}

// notGranted says of a 404 of the statistics what it means.
func notGranted(err error) error {
	e := *connectors.AsError(err)
	e.Kind = connectors.Permission
	e.Text = "LinkedIn gives the statistics of members to apps of the Standard tier with r_member_postAnalytics and r_member_profileAnalytics only; ask for the upgrade in the developer portal, or set linkedin.member_numbers to none"
	return &e
}

// memberFollowers is how many follow a member.
type memberFollowers struct {
	Elements []struct {
		Count *number `json:"memberFollowersCount"`
	} `json:"elements"`
}

// Validate asks for the list, which may be empty.
func (f memberFollowers) Validate() error {
	if f.Elements == nil {
		return errors.New("elements is missing")
	}
	return nil
}

func (m *analysedMember) followers(ctx context.Context, got *memberFollowers) (api.Answer, error) {
	return m.get(ctx, "memberFollowersCount", "/rest/memberFollowersCount", "q=me", got)
}

// AccountInsights reads how many follow the member now.
func (m *analysedMember) AccountInsights(ctx context.Context, _, _ time.Time) (social.Reading, error) {
	r := &reader{c: &m.conn}
	var got memberFollowers
	a, err := m.followers(ctx, &got)
	if isStatus(err, http.StatusNotFound) {
		return r.out, notGranted(err)
	}
	if err != nil {
		return r.out, err
	}
	r.kept("memberFollowersCount", a)
	if len(got.Elements) > 0 {
		r.note(social.OfAccount, m.account.RemoteID, social.Instant, time.Time{}, value{social.Followers, "memberFollowersCount", got.Elements[0].Count})
	}
	return r.out, nil
}

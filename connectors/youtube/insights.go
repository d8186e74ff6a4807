package youtube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	analytics "google.golang.org/api/youtubeanalytics/v2"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.PostInsights    = (*conn)(nil)
	_ connectors.AccountInsights = (*conn)(nil)
)

// postBatch is how many videos one call takes (YouTube Data API, "Videos: list"
// and "Videos: batchGetStats", read 2026-11).
const postBatch = 50

// PostInsights reads the counts of videos as they are now, and, where Analytics
// is on, their shares and watch time so far, which are two to three days late.
// A video that the counts do not list is looked for before it is called gone.
func (c *conn) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	var out social.Reading
	for batch := range slices.Chunk(rs, postBatch) {
		var ids []string
		for _, r := range batch {
			if id, err := videoID(r.RemoteID); err == nil && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			continue
		}
		seen, err := c.counts(ctx, ids, &out)
		if err != nil {
			return out, err
		}
		var missing []string
		for _, id := range ids {
			if !seen[id] {
				missing = append(missing, id)
			}
		}
		if len(missing) > 0 {
			if err := c.gone(ctx, missing, &out); err != nil {
				return out, err
			}
		}
		if err := c.totals(ctx, ids, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// counts reads views, likes and comments. A count that the owner hides is left
// out by the network and has no value here.
func (c *conn) counts(ctx context.Context, ids []string, out *social.Reading) (map[string]bool, error) {
	var list videoList
	op := "videos.list"
	call := func(ctx context.Context) error {
		_, err := c.p.data.Videos.List([]string{"statistics"}).Id(ids...).Context(ctx).Do()
		return err
	}
	if c.p.cfg.BatchStats {
		op = opStats
		call = func(ctx context.Context) error {
			_, err := c.p.data.Videos.BatchGetStats().Part("id", "statistics").Id(ids...).Context(ctx).Do()
			return err
		}
	}
	k := api.Call{Op: op, Out: &list}
	if op == opStats {
		k.Bucket = op
	}
	a, err := c.ask(ctx, k, call)
	if err != nil {
		return nil, err
	}
	at := c.p.env.Now()
	out.Raw = append(out.Raw, social.RawAnswer{Op: op, APIVersion: "v3", At: at, Body: a.Body})
	seen := map[string]bool{}
	for _, v := range list.Items {
		if seen[v.ID] || !slices.Contains(ids, v.ID) {
			continue
		}
		seen[v.ID] = true
		for _, n := range []struct {
			metric social.Metric
			name   string
			value  *count
		}{
			{social.Views, "viewCount", v.Statistics.Views},
			{social.Likes, "likeCount", v.Statistics.Likes},
			{social.Comments, "commentCount", v.Statistics.Comments},
		} {
			if n.value != nil {
				out.Observations = append(out.Observations, social.Observation{
					Subject: social.OfPost, RemoteID: v.ID, Metric: n.metric, Value: int64(*n.value), Window: social.Lifetime, At: at, Name: n.name, Raw: len(out.Raw) - 1,
				})
			}
		}
	}
	return seen, nil
}

// gone asks the owner's own list for videos that the counts did not show.
func (c *conn) gone(ctx context.Context, ids []string, out *social.Reading) error {
	var list videoList
	_, err := c.ask(ctx, api.Call{Op: "videos.list", Out: &list}, func(ctx context.Context) error {
		_, err := c.p.data.Videos.List([]string{"id"}).Id(ids...).Context(ctx).Do()
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(list.Items, func(v video) bool { return v.ID == id }) {
			out.Gone = append(out.Gone, id)
		}
	}
	return nil
}

// measure is a metric of the Analytics API.
type measure struct {
	name   string
	metric social.Metric
	times  int64 // to our unit
}

// dayMeasures are read per day of the channel, totalMeasures per video since its
// beginning (YouTube Analytics API, "Metrics", read 2026-11). The views of videos
// are asked for to sort by: reports of videos must be sorted by a metric of
// theirs, the largest first, and say how many rows they may have. The Data API
// counts views of today.
var (
	dayMeasures = []measure{
		{"views", social.Views, 1},
		{"likes", social.Likes, 1},
		{"comments", social.Comments, 1},
		{"shares", social.Shares, 1},
		{"subscribersGained", social.Gained, 1},
		{"estimatedMinutesWatched", social.WatchMS, 60_000},
	}
	totalMeasures = []measure{{"views", "", 1}, {"shares", social.Shares, 1}, {"subscribersGained", social.Gained, 1}, {"estimatedMinutesWatched", social.WatchMS, 60_000}}
)

func names(ms []measure) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.name)
	}
	return strings.Join(out, ",")
}

// reportRows is the most rows of a report of videos (YouTube Analytics API,
// "Channel reports", Top videos, read 2026-11).
const reportRows = 200

// firstDay is before every video (YouTube began in 2005).
const firstDay = "2005-01-01"

// totals reads what only Analytics knows of videos.
func (c *conn) totals(ctx context.Context, ids []string, out *social.Reading) error {
	today := c.p.env.Now().In(c.p.zone).Format(time.DateOnly)
	rows, err := c.query(ctx, out, totalMeasures, "video", func(q *analytics.ReportsQueryCall) *analytics.ReportsQueryCall {
		return q.StartDate(firstDay).EndDate(today).Dimensions("video").Filters("video==" + strings.Join(ids, ",")).Sort("-views").MaxResults(reportRows)
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !slices.Contains(ids, r.key) {
			continue
		}
		for i, m := range totalMeasures {
			if r.values[i] != nil && m.metric != "" {
				out.Observations = append(out.Observations, social.Observation{
					Subject: social.OfPost, RemoteID: r.key, Metric: m.metric, Value: *r.values[i], Window: social.Lifetime, At: c.p.env.Now(), Name: m.name, Raw: len(out.Raw) - 1,
				})
			}
		}
	}
	return nil
}

// AccountInsights reads subscribers and videos as they are now, and the amounts
// of each day from Analytics. Its days are Pacific ones and come two to three
// days late; one that is not there yet has no value.
func (c *conn) AccountInsights(ctx context.Context, from, to time.Time) (social.Reading, error) {
	var out social.Reading
	ch, counts, a, err := c.channel(ctx, "statistics")
	if err != nil {
		return out, err
	}
	if ch.Id != c.account.RemoteID && c.account.RemoteID != "" {
		return out, &connectors.Error{Kind: connectors.Permanent, Op: "channels.list", Text: "the login belongs to another channel"}
	}
	at := c.p.env.Now()
	out.Raw = []social.RawAnswer{{Op: "channels.list", APIVersion: "v3", At: at, Body: a.Body}}
	if counts.Hidden {
		counts.Subscribers = nil
	}
	for _, n := range []struct {
		metric social.Metric
		name   string
		value  *count
	}{
		{social.Followers, "subscriberCount", counts.Subscribers}, // rounded down to three digits
		{social.Posts, "videoCount", counts.Videos},
	} {
		if n.value != nil {
			out.Observations = append(out.Observations, social.Observation{
				Subject: social.OfAccount, RemoteID: ch.Id, Metric: n.metric, Value: int64(*n.value), Window: social.Instant, At: at, Name: n.name,
			})
		}
	}
	if from.IsZero() || to.Before(from) {
		return out, nil
	}
	rows, err := c.query(ctx, &out, dayMeasures, "day", func(q *analytics.ReportsQueryCall) *analytics.ReportsQueryCall {
		return q.StartDate(from.Format(time.DateOnly)).EndDate(to.Format(time.DateOnly)).Dimensions("day").Sort("day")
	})
	if err != nil {
		return out, err
	}
	for _, r := range rows {
		day, err := time.Parse(time.DateOnly, r.key)
		if err != nil || day.Before(from) || day.After(to) {
			continue
		}
		for i, m := range dayMeasures {
			if r.values[i] != nil {
				out.Observations = append(out.Observations, social.Observation{
					Subject: social.OfAccount, RemoteID: ch.Id, Metric: m.metric, Value: *r.values[i], Window: social.Day, Day: day, At: at, Name: m.name, Raw: len(out.Raw) - 1,
				})
			}
		}
	}
	return out, nil
}

// row is one line of a report: its dimension and the measures in the order they
// were asked for, nil where there is none.
type row struct {
	key    string
	values []*int64
}

// query asks the Analytics API. A login without its right, a project in which it
// is not switched on, and a channel of which it does not support the question
// have no numbers from there; that stops nothing else.
func (c *conn) query(ctx context.Context, out *social.Reading, ms []measure, dimension string, how func(*analytics.ReportsQueryCall) *analytics.ReportsQueryCall) ([]row, error) {
	if !c.p.cfg.AnalyticsData {
		return nil, nil
	}
	var rep report
	a, err := c.ask(ctx, api.Call{Op: opReports, Bucket: opReports, Out: &rep}, func(ctx context.Context) error {
		_, err := how(c.p.reports.Reports.Query().Ids("channel==MINE").Metrics(names(ms))).Context(ctx).Do()
		return err
	})
	if kind := connectors.KindOf(err); kind == connectors.Permission || kind == connectors.Invalid {
		if c.p.env.Log != nil {
			c.p.env.Log.LogAttrs(ctx, slog.LevelWarn, "YouTube Analytics does not answer for this channel; its numbers are unknown",
				slog.String("network", string(Network)), slog.String("account", c.account.RemoteID), slog.String("err", err.Error()))
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := rep.read(ms, dimension)
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.Unknown, Op: opReports, Status: a.Status, Text: "YouTube Analytics answered in a way smi does not understand", Err: err}
	}
	out.Raw = append(out.Raw, social.RawAnswer{Op: opReports, APIVersion: "v2", At: c.p.env.Now(), Body: a.Body})
	return rows, nil
}

// read finds the columns by their names.
func (r *report) read(ms []measure, dimension string) ([]row, error) {
	column := func(name string) int {
		for i, c := range r.Columns {
			if c.Name == name {
				return i
			}
		}
		return -1
	}
	key := column(dimension)
	if key < 0 && len(r.Rows) > 0 {
		return nil, fmt.Errorf("there is no column %q", dimension)
	}
	var out []row
	seen := map[string]bool{}
	for n, line := range r.Rows {
		v := row{values: make([]*int64, len(ms))}
		if err := json.Unmarshal(line[key], &v.key); err != nil {
			return nil, fmt.Errorf("rows[%d][%d] is no string", n, key)
		}
		if seen[v.key] {
			continue
		}
		seen[v.key] = true
		for i, m := range ms {
			at := column(m.name)
			if at < 0 || string(line[at]) == "null" {
				continue
			}
			x, err := whole(string(line[at]))
			if err != nil {
				return nil, fmt.Errorf("rows[%d][%d] (%s) is no whole number", n, at, m.name)
			}
			x *= m.times
			v.values[i] = &x
		}
		out = append(out, v)
	}
	return out, nil
}

// whole reads an amount. Some come with a fraction of zeros.
func whole(s string) (int64, error) {
	digits, fraction, _ := strings.Cut(s, ".")
	if strings.Trim(fraction, "0") != "" {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && n < 0 || n > 1<<46 { // minutes become milliseconds
		return 0, strconv.ErrRange
	}
	return n, err
}

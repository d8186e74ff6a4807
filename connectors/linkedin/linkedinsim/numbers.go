package linkedinsim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Counts are the numbers of a post, or of an organisation's posts on a day.
type Counts struct{ Impressions, Unique, Clicks, Likes, Comments, Shares, Saves, Sends, WatchMS int64 }

// numbers answers the resources of statistics; false if res is none.
func (s *Sim) numbers(c *call, res string) bool {
	switch res {
	case "organizationalEntityShareStatistics":
		s.shareStatistics(c)
	case "organizationalEntityFollowerStatistics":
		s.followerStatistics(c)
	case "networkSizes":
		s.networkSize(c)
	case "videoAnalytics":
		s.videoAnalytics(c)
	case "memberCreatorPostAnalytics":
		s.memberPosts(c)
	case "memberCreatorVideoAnalytics":
		s.memberVideos(c)
	case "memberFollowersCount":
		s.memberFollowers(c)
	default:
		return false
	}
	return true
}

// without takes out what is hidden.
func (s *Sim) without(m map[string]any) map[string]any {
	for _, name := range s.stage.hidden {
		delete(m, name)
	}
	return m
}

// measures refuses numbers of an organisation that the token may not read.
func (s *Sim) measures(c *call) (string, bool) {
	org := c.query.text("organizationalEntity")
	if c.query.text("q") != "organizationalEntity" || !strings.HasPrefix(org, "urn:li:organization:") {
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "q and organizationalEntity are required", "")
		return "", false
	}
	if !c.allows("rw_organization_admin", "r_organization_social") {
		return "", false
	}
	if s.roles[org][c.t.member] == "" {
		refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "no role in "+org, "")
		return "", false
	}
	return org, true
}

func totals(n Counts) map[string]any {
	rate := 0.0
	if n.Impressions > 0 {
		rate = float64(n.Clicks+n.Likes+n.Comments+n.Shares) / float64(n.Impressions)
	}
	return map[string]any{
		"impressionCount": n.Impressions, "uniqueImpressionsCount": n.Unique, "clickCount": n.Clicks, "likeCount": n.Likes,
		"commentCount": n.Comments, "shareCount": n.Shares, "engagement": rate,
	}
}

// days are those of timeIntervals, oldest first.
func days(c *call) ([]time.Time, bool) {
	v := c.query["timeIntervals"]
	start, ok := v.record["timeRange"].ms("start")
	end, ok2 := v.record["timeRange"].ms("end")
	if !ok || !ok2 || end <= start || v.record["timeGranularityType"].text != "DAY" {
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "timeIntervals cannot be read", "")
		return nil, false
	}
	var out []time.Time
	for at := time.UnixMilli(start).UTC().Truncate(24 * time.Hour); at.UnixMilli() < end; at = at.AddDate(0, 0, 1) {
		out = append(out, at)
	}
	return out, true
}

func ofDay(at time.Time) map[string]any {
	return map[string]any{"start": at.UnixMilli(), "end": at.AddDate(0, 0, 1).UnixMilli()}
}

func (s *Sim) shareStatistics(c *call) {
	org, ok := s.measures(c)
	if !ok {
		return
	}
	_, timed := c.query["timeIntervals"]
	shares, posts := c.query.list("shares"), c.query.list("ugcPosts")
	out := []any{}
	switch {
	case timed && (shares != nil || posts != nil):
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "timeIntervals and posts do not combine", "")
		return
	case timed:
		all, ok := days(c)
		if !ok {
			return
		}
		for _, at := range all {
			if n, has := s.days[org][at.Format(time.DateOnly)]; has {
				out = append(out, map[string]any{"organizationalEntity": org, "timeRange": ofDay(at), "totalShareStatistics": s.without(totals(n))})
			}
		}
	default:
		for _, id := range append(shares, posts...) {
			p := s.find(id)
			kind := "share"
			if strings.HasPrefix(id, "urn:li:ugcPost:") {
				kind = "ugcPost"
			}
			if slices.Contains(shares, id) != (kind == "share") {
				refuse(c.w, http.StatusBadRequest, "INVALID_URN_TYPE", "a post of another kind", "")
				return
			}
			if p == nil || p.urn != id || p.author != org || s.counts[id] == (Counts{}) {
				continue // nothing happened to it
			}
			out = append(out, map[string]any{"organizationalEntity": org, kind: id, "totalShareStatistics": s.without(totals(s.counts[id]))})
		}
	}
	if !timed {
		// Whether the network cuts its answer where the paging says so is not known;
		// here it does.
		answer(c.w, http.StatusOK, page(c, out))
		return
	}
	answer(c.w, http.StatusOK, map[string]any{"elements": out, "paging": map[string]any{"start": 0, "count": 10, "links": []any{}}})
}

func (s *Sim) followerStatistics(c *call) {
	org, ok := s.measures(c)
	if !ok {
		return
	}
	all, ok := days(c)
	if !ok {
		return
	}
	out := []any{}
	newest := s.now().Truncate(24*time.Hour).AddDate(0, 0, -2)
	for _, at := range all {
		if at.After(newest) {
			refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "the time range must end two days ago", "")
			return
		}
		if n, has := s.gains[org][at.Format(time.DateOnly)]; has {
			out = append(out, map[string]any{
				"organizationalEntity": org, "timeRange": ofDay(at),
				"followerGains": s.without(map[string]any{"organicFollowerGain": n, "paidFollowerGain": 0}),
			})
		}
	}
	answer(c.w, http.StatusOK, map[string]any{"elements": out, "paging": map[string]any{"start": 0, "count": 10, "links": []any{}}})
}

func (s *Sim) networkSize(c *call) {
	if len(c.path) != 2 || c.query.text("edgeType") != "COMPANY_FOLLOWED_BY_MEMBER" {
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "edgeType is unknown", "")
		return
	}
	if c.allows("rw_organization_admin", "r_organization_admin", "r_organization_social") {
		answer(c.w, http.StatusOK, s.without(map[string]any{"firstDegreeSize": s.follow[c.path[1]]}))
	}
}

func (s *Sim) videoAnalytics(c *call) {
	if !c.allows("r_organization_social") {
		return
	}
	id := c.query.text("entity")
	p := s.find(id)
	switch {
	case !strings.HasPrefix(id, "urn:li:ugcPost:"):
		refuse(c.w, http.StatusBadRequest, "INVALID_URN_TYPE", "entity must be a ugcPost", "")
	case p == nil || p.urn != id:
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "no such post", "")
	case c.query.text("type") != "TIME_WATCHED":
		answer(c.w, http.StatusOK, map[string]any{"elements": []any{}})
	default:
		answer(c.w, http.StatusOK, map[string]any{"elements": []any{map[string]any{"entity": id, "statisticsType": "TIME_WATCHED", "value": s.counts[id].WatchMS}}})
	}
}

// memberPosts are the statistics of a member's own posts.
func (s *Sim) memberPosts(c *call) {
	if s.o.DevTier {
		refuse(c.w, http.StatusNotFound, "RESOURCE_NOT_FOUND", "No virtual resource found", "")
		return
	}
	if !c.allows("r_member_postAnalytics") {
		return
	}
	kind, since := c.query.text("queryType"), map[string]string{"POST_SAVE": "202604", "POST_SEND": "202604", "LINK_CLICKS": "202604"}
	version := c.r.Header.Get("LinkedIn-Version")
	entity := c.query["entity"].record
	id := entity["share"].text + entity["ugc"].text
	p := s.find(id)
	n := s.counts[id]
	value, known := map[string]int64{
		"IMPRESSION": n.Impressions, "MEMBERS_REACHED": n.Unique, "REACTION": n.Likes, "COMMENT": n.Comments, "RESHARE": n.Shares,
		"POST_SAVE": n.Saves, "POST_SEND": n.Sends, "LINK_CLICKS": n.Clicks,
	}[kind]
	daily := c.query.text("aggregation") == "DAILY" && slices.Contains([]string{"IMPRESSION", "MEMBERS_REACHED", "LINK_CLICKS"}, kind)
	switch {
	case c.query.text("q") != "entity", !known, version < since[kind], daily:
		refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "this combination is not supported", "")
		return
	case p == nil || p.urn != id || p.author != personURN(c.t.member):
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "no such post", "")
		return
	}
	var metric any = kind
	if version < "202605" {
		metric = map[string]string{"com.linkedin.adsexternalapi.memberanalytics.v1.CreatorPostAnalyticsMetricTypeV1": kind}
	}
	out := []any{map[string]any{"count": value, "metricType": metric, "targetEntity": map[string]string{"share": id}}}
	if slices.Contains(s.stage.hidden, kind) {
		out = []any{}
	}
	answer(c.w, http.StatusOK, map[string]any{"elements": out})
}

// memberVideos are the statistics of a member's own videos.
func (s *Sim) memberVideos(c *call) {
	if s.o.DevTier {
		refuse(c.w, http.StatusNotFound, "RESOURCE_NOT_FOUND", "No virtual resource found", "")
		return
	}
	if !c.allows("r_member_postAnalytics") {
		return
	}
	id := c.query["entity"].record["ugc"].text
	p := s.find(id)
	switch {
	case c.query.text("q") != "entity", c.query.text("queryType") != "VIDEO_WATCH_TIME", c.query.text("aggregation") != "TOTAL", id == "":
		refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "this combination is not supported", "")
	case p == nil || p.urn != id || p.author != personURN(c.t.member):
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "no such post", "")
	default:
		answer(c.w, http.StatusOK, map[string]any{"elements": []any{map[string]any{
			"count": s.counts[id].WatchMS, "metricType": "VIDEO_WATCH_TIME", "targetEntity": map[string]string{"ugc": id},
		}}})
	}
}

func (s *Sim) memberFollowers(c *call) {
	if s.o.DevTier {
		refuse(c.w, http.StatusNotFound, "RESOURCE_NOT_FOUND", "No virtual resource found", "")
		return
	}
	if c.allows("r_member_profileAnalytics") {
		answer(c.w, http.StatusOK, map[string]any{"elements": []any{s.without(map[string]any{"memberFollowersCount": s.follow[personURN(c.t.member)]})}})
	}
}

// metadata are the reactions and comments of any post.
func (s *Sim) metadata(c *call) {
	may := slices.Contains(c.t.scopes, "w_member_social_feed") || slices.Contains(c.t.scopes, "r_organization_social")
	if s.o.NoMetadata || !may {
		refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "Not enough permissions to access: socialMetadata.GET", "")
		return
	}
	p := s.find(c.path[1])
	if p == nil {
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "Could not find entity", "")
		return
	}
	n := s.counts[p.urn]
	comments := n.Comments
	for _, r := range s.replies {
		if r.of == p && !r.deleted {
			comments++
		}
	}
	answer(c.w, http.StatusOK, s.without(map[string]any{
		"entity": p.urn, "commentsState": "OPEN", "reactionSummaries": map[string]any{"LIKE": map[string]any{"reactionType": "LIKE", "count": n.Likes}},
		"commentSummary": map[string]any{"count": comments, "topLevelCount": comments},
	}))
}

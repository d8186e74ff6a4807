package social

import "time"

// Metric is smi's own name of a number a network reports. The catalogue below
// says what each means; connectors map names and know no more.
type Metric string

// The metrics. All are counts or milliseconds; ratios are made on read.
const (
	Views        Metric = "views"        // times shown or played, as the network counts them
	Reach        Metric = "reach"        // different people who saw it: never added up
	Participants Metric = "participants" // different people who took part: never added up, never guessed
	Likes        Metric = "likes"        // all reactions
	Comments     Metric = "comments"     // comments and replies
	Shares       Metric = "shares"       // reposts
	Quotes       Metric = "quotes"       // shares with words of their own; part of shares in the figures
	Saves        Metric = "saves"        // bookmarks
	Clicks       Metric = "clicks"       // on links
	WatchMS      Metric = "watch_ms"     // time watched, in milliseconds
	Followers    Metric = "followers"    // of an account, at a time
	Following    Metric = "following"    // accounts it follows, at a time
	Posts        Metric = "posts"        // posts the account has, at a time
	Gained       Metric = "gained"       // followers won in a time: of an account by the day
)

// MetricInfo says what a metric is.
type MetricInfo struct {
	Metric  Metric
	Level   Subject // what it is said of
	Also    Subject // a second level, or ""
	Unit    string  // "count" or "ms"
	Adds    bool    // may be added over posts
	Meaning string
}

// Catalogue lists every metric smi knows, in the order of the constants.
var Catalogue = []MetricInfo{
	{Views, OfPost, OfAccount, "count", true, "times shown or played"},
	{Reach, OfPost, OfAccount, "count", false, "different people who saw it"},
	{Participants, OfPost, OfAccount, "count", false, "different people who took part"},
	{Likes, OfPost, OfAccount, "count", true, "likes and other reactions"},
	{Comments, OfPost, OfAccount, "count", true, "comments and replies"},
	{Shares, OfPost, OfAccount, "count", true, "shares and reposts"},
	{Quotes, OfPost, "", "count", true, "shares with words of their own"},
	{Saves, OfPost, OfAccount, "count", true, "saves and bookmarks"},
	{Clicks, OfPost, OfAccount, "count", true, "clicks on links"},
	{WatchMS, OfPost, OfAccount, "ms", true, "time watched"},
	{Followers, OfAccount, "", "count", false, "followers"},
	{Following, OfAccount, "", "count", false, "accounts followed"},
	{Posts, OfAccount, "", "count", false, "posts on the account"},
	{Gained, OfAccount, OfPost, "count", true, "followers won"},
}

// MetricByName finds a metric in the catalogue.
func MetricByName(m Metric) (MetricInfo, bool) {
	for _, i := range Catalogue {
		if i.Metric == m {
			return i, true
		}
	}
	return MetricInfo{}, false
}

// Subject is what an observation is about.
type Subject string

// The subjects.
const (
	OfPost    Subject = "post"
	OfAccount Subject = "account"
)

// Window is the time a value covers.
type Window string

// The windows.
const (
	Lifetime Window = "lifetime" // running total since the beginning, as read at the time
	Day      Window = "day"      // the amount of one day of the network
	Instant  Window = "instant"  // a level at the time of reading (followers)
)

// Observation is one number as a network said it. Absent is not zero: what a
// network did not say has no observation.
type Observation struct {
	Subject  Subject
	RemoteID string // of the post; of the account when Subject is OfAccount
	Metric   Metric
	Value    int64
	Window   Window
	Day      time.Time // for Window Day: midnight UTC of the date, which is in the network's own zone; zero otherwise
	At       time.Time // when it was read
	Name     string    // the network's own metric name
	Raw      int       // index into Reading.Raw of the answer it came from
}

// RawAnswer is what the network said, kept compressed so that a figure can be
// traced back and computed again. It holds no token.
type RawAnswer struct {
	Op         string // "getPosts"
	APIVersion string
	At         time.Time
	Body       []byte
}

// Reading is a batch of observations with the answers they came from. Gone
// lists the remote ids of posts that the network no longer has.
type Reading struct {
	Observations []Observation
	Raw          []RawAnswer
	Gone         []string
}

// DateOf returns the day number (days since 1970-01-01) of an instant in a zone.
func DateOf(at time.Time, loc *time.Location) int {
	y, m, d := at.In(loc).Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// DayStart returns midnight UTC of the date of a day number.
func DayStart(day int) time.Time { return time.Unix(int64(day)*86400, 0).UTC() }

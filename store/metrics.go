package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/insights"
	"smi/internal/social"
	"smi/scheduler"
)

// postMetrics and accountMetrics are the metrics that have a column of their
// own, in the order of the statements below.
var (
	postMetrics = []social.Metric{
		social.Views, social.Reach, social.Participants, social.Likes, social.Comments, social.Shares,
		social.Quotes, social.Saves, social.Clicks, social.WatchMS,
	}
	accountMetrics = append([]social.Metric{social.Followers, social.Following, social.Posts}, postMetrics...)
)

// upsertDay builds the statement that sets the known metrics of a day's row and
// leaves alone what the network did not say this time.
func upsertDay(table, keys string, columns []social.Metric) string {
	keyCount := strings.Count(keys, ",") + 1
	var names, places, sets []string
	for i, m := range columns {
		names = append(names, string(m))
		places = append(places, fmt.Sprintf("$%d", keyCount+i+1))
		sets = append(sets, fmt.Sprintf("%[1]s = COALESCE(excluded.%[1]s, %[2]s.%[1]s)", m, table))
	}
	var keyPlaces []string
	for i := range keyCount {
		keyPlaces = append(keyPlaces, fmt.Sprintf("$%d", i+1))
	}
	n := keyCount + len(columns)
	return fmt.Sprintf(`INSERT INTO %[1]s (%[2]s, %[3]s, extra, raw_id, fetched_at) VALUES (%[4]s, %[5]s, $%[6]d, $%[7]d, $%[8]d)
ON CONFLICT (%[2]s) DO UPDATE SET %[9]s,
  extra = CASE WHEN excluded.extra = '' THEN %[1]s.extra ELSE excluded.extra END, raw_id = excluded.raw_id, fetched_at = excluded.fetched_at`,
		table, keys, strings.Join(names, ", "), strings.Join(keyPlaces, ", "), strings.Join(places, ", "), n+1, n+2, n+3, strings.Join(sets, ", "))
}

var (
	upsertPostDay    = upsertDay("post_day", "account_id, day, post_id, amount", postMetrics)
	upsertAccountDay = upsertDay("account_day", "account_id, day, source", accountMetrics)
)

// metricArgs returns the columns' values (NULL for the unknown) and the rest as
// JSON.
func metricArgs(columns []social.Metric, n insights.Numbers) ([]any, string, error) {
	args := make([]any, len(columns))
	own := make(map[social.Metric]bool, len(columns))
	for i, m := range columns {
		own[m] = true
		if v, ok := n[m]; ok {
			args[i] = v
		}
	}
	extra := insights.Numbers{}
	for m, v := range n {
		if !own[m] {
			extra[m] = v
		}
	}
	if len(extra) == 0 {
		return args, "", nil
	}
	b, err := json.Marshal(extra)
	return args, string(b), err
}

// scanMetrics is the inverse of metricArgs: dest for the columns and extra.
type scanMetrics struct {
	columns []social.Metric
	values  []sql.NullInt64
	extra   string
}

func newScanMetrics(columns []social.Metric) *scanMetrics {
	return &scanMetrics{columns: columns, values: make([]sql.NullInt64, len(columns))}
}

func (s *scanMetrics) dest() []any {
	out := make([]any, 0, len(s.values)+1)
	for i := range s.values {
		out = append(out, &s.values[i])
	}
	return append(out, &s.extra)
}

func (s *scanMetrics) numbers() (insights.Numbers, error) {
	n := insights.Numbers{}
	if s.extra != "" {
		if err := json.Unmarshal([]byte(s.extra), &n); err != nil {
			return nil, fmt.Errorf("reading rare metrics: %w", err)
		}
	}
	for i, v := range s.values {
		if v.Valid {
			n[s.columns[i]] = v.Int64
		}
	}
	return n, nil
}

func metricList(columns []social.Metric, prefix string) string {
	var out []string
	for _, m := range columns {
		out = append(out, prefix+string(m))
	}
	return strings.Join(append(out, prefix+"extra"), ", ")
}

// dayRow is one row to be set.
type dayRow struct {
	post   social.ID // 0: of the account
	day    int
	amount bool
	raw    int
	n      insights.Numbers
}

// gather turns observations into rows. ids are the posts' rows by remote id.
func gather(r social.Reading, zone *time.Location, ids map[string]social.ID) []*dayRow {
	type key struct {
		post   social.ID
		day    int
		amount bool
	}
	rows := map[key]*dayRow{}
	var order []*dayRow
	for _, o := range r.Observations {
		k := key{day: social.DateOf(o.At, zone), amount: o.Window == social.Day}
		if o.Window == social.Day {
			k.day = social.DateOf(o.Day, time.UTC)
		}
		if o.Subject == social.OfPost {
			if k.post = ids[o.RemoteID]; k.post == 0 {
				continue // a post nobody asked for
			}
		}
		row := rows[k]
		if row == nil {
			row = &dayRow{post: k.post, day: k.day, amount: k.amount, n: insights.Numbers{}}
			rows[k] = row
			order = append(order, row)
		}
		row.n[o.Metric], row.raw = o.Value, o.Raw
	}
	return order
}

// SaveNumbers implements scheduler.Archive.
func (s *Store) SaveNumbers(ctx context.Context, run scheduler.SyncRun, a social.Account, r social.Reading) (int, error) {
	zone, err := social.LoadZone(a.DayZone)
	if err != nil {
		zone = time.UTC
	}
	values := 0
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		values = 0
		raws, err := s.saveRaw(ctx, tx, run, a, r)
		if err != nil {
			return err
		}
		ids, err := s.remoteIDs(ctx, tx, a.ID, r)
		if err != nil {
			return err
		}
		for _, row := range gather(r, zone, ids) {
			var raw social.ID
			if row.raw >= 0 && row.raw < len(raws) {
				raw = raws[row.raw]
			}
			columns, query, keys := postMetrics, upsertPostDay, []any{int64(a.ID), row.day, int64(row.post), row.amount}
			if row.post == 0 {
				columns, query, keys = accountMetrics, upsertAccountDay, []any{int64(a.ID), row.day, "network"}
			}
			args, extra, err := metricArgs(columns, row.n)
			if err != nil {
				return err
			}
			args = append(append(keys, args...), extra, int64(raw), millis(s.now()))
			if _, err := s.run(ctx, tx, query, args...); err != nil {
				return err
			}
			values += len(row.n)
		}
		for _, gone := range r.Gone {
			if _, err := tx.ExecContext(ctx, `UPDATE remote_post SET gone_at = $1 WHERE account_id = $2 AND remote_id = $3 AND gone_at = 0`,
				millis(s.now()), int64(a.ID), gone); err != nil {
				return err
			}
		}
		return saveCursor(ctx, tx, run, values)
	})
	if err != nil {
		return 0, fmt.Errorf("saving numbers of %s: %w", a.Handle, err)
	}
	return values, nil
}

// maxRaw is how much is kept of one answer. Connectors read no more than 1 MiB
// of one; this is for one that does.
const maxRaw = 4 << 20

// saveRaw keeps the answers, compressed, with the names the network used.
func (s *Store) saveRaw(ctx context.Context, tx *sql.Tx, run scheduler.SyncRun, a social.Account, r social.Reading) ([]social.ID, error) {
	type source struct {
		Name   string        `json:"name"`
		Window social.Window `json:"window"`
	}
	names := make([]map[social.Metric]source, len(r.Raw))
	for _, o := range r.Observations {
		if o.Raw < 0 || o.Raw >= len(names) {
			return nil, fmt.Errorf("an observation of %s refers to answer %d of %d", o.Metric, o.Raw, len(names))
		}
		if names[o.Raw] == nil {
			names[o.Raw] = map[social.Metric]source{}
		}
		names[o.Raw][o.Metric] = source{o.Name, o.Window}
	}
	ids := make([]social.ID, len(r.Raw))
	for i, raw := range r.Raw {
		ids[i] = s.ids.New(s.now())
		namesJSON, err := json.Marshal(names[i])
		if err != nil {
			return nil, err
		}
		var body bytes.Buffer
		z := gzip.NewWriter(&body)
		if _, err := z.Write(raw.Body[:min(len(raw.Body), maxRaw)]); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO raw_answer (id, account_id, run_id, op, api_version, at, names, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			int64(ids[i]), int64(a.ID), int64(run.ID), raw.Op, raw.APIVersion, millis(raw.At), string(namesJSON), body.Bytes()); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// remoteIDs returns the rows of the posts that a reading speaks of.
func (s *Store) remoteIDs(ctx context.Context, tx *sql.Tx, account social.ID, r social.Reading) (map[string]social.ID, error) {
	ids := map[string]social.ID{}
	for _, o := range r.Observations {
		if o.Subject != social.OfPost {
			continue
		}
		if _, known := ids[o.RemoteID]; known {
			continue
		}
		var id int64
		err := s.runRow(ctx, tx, `SELECT id FROM remote_post WHERE account_id = $1 AND remote_id = $2`, int64(account), o.RemoteID).Scan(&id)
		if err != nil && err != sql.ErrNoRows { //nolint:errorlint // database/sql returns it bare
			return nil, err
		}
		ids[o.RemoteID] = social.ID(id)
	}
	return ids, nil
}

func saveCursor(ctx context.Context, tx *sql.Tx, run scheduler.SyncRun, values int) error {
	if run.ID == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE sync_run SET step = $1, cursor = $2, values_set = values_set + $3 WHERE id = $4`, run.Step, run.Cursor, values, int64(run.ID))
	return err
}

// SavePosts implements scheduler.Archive. A post that a listing showed before
// its attempt was decided becomes the delivery's when it comes again. What a
// listing says less of (the state that replies need) is not forgotten.
func (s *Store) SavePosts(ctx context.Context, run scheduler.SyncRun, a social.Account, p connectors.Page) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := s.saveRaw(ctx, tx, run, a, social.Reading{Raw: p.Raw}); err != nil {
			return err
		}
		for _, post := range p.Posts {
			receipt, err := json.Marshal(post.Receipt)
			if err != nil {
				return err
			}
			if _, err := s.run(ctx, tx, `INSERT INTO remote_post (id, account_id, remote_id, delivery_id, step, parent_ref, url, excerpt, kind, receipt, published_at, first_seen)
SELECT $1, $2, $3, COALESCE((SELECT delivery_id FROM attempt WHERE account_id = $2 AND remote_id = $3 AND state IN ('ok','adopted')), 0),
  COALESCE((SELECT step FROM attempt WHERE account_id = $2 AND remote_id = $3 AND state IN ('ok','adopted')), 0), $4, $5, $6, $7, $8, $9, $10
WHERE true ON CONFLICT (account_id, remote_id) DO UPDATE SET url = excluded.url, gone_at = 0,
  receipt = CASE WHEN $11 OR remote_post.receipt NOT LIKE '%"state":%' THEN excluded.receipt ELSE remote_post.receipt END,
  delivery_id = CASE WHEN remote_post.delivery_id = 0 THEN excluded.delivery_id ELSE remote_post.delivery_id END,
  step = CASE WHEN remote_post.delivery_id = 0 THEN excluded.step ELSE remote_post.step END`,
				int64(s.ids.New(s.now())), int64(a.ID), post.Receipt.RemoteID, post.Parent, post.Receipt.URL, clipText(post.Text), kindOf(post.Media),
				string(receipt), millis(post.Receipt.PublishedAt), millis(s.now()), len(post.Receipt.State) > 0); err != nil {
				return err
			}
		}
		return saveCursor(ctx, tx, run, 0)
	})
	if err != nil {
		return fmt.Errorf("saving posts of %s: %w", a.Handle, err)
	}
	return nil
}

func clipText(text string) string {
	if r := []rune(text); len(r) > 120 {
		return string(r[:119]) + "…"
	}
	return text
}

func kindOf(media []social.MediaKind) string {
	if len(media) == 0 {
		return "text"
	}
	for _, m := range media[1:] {
		if m != media[0] {
			return "mixed"
		}
	}
	return string(media[0])
}

// PostsToRead implements scheduler.Archive. Posts that smi published are in it
// even where the network has no listing.
func (s *Store) PostsToRead(ctx context.Context, account social.ID, since time.Time, after social.ID, limit int) ([]scheduler.KnownPost, error) {
	if after == 0 {
		if err := s.adoptOwn(ctx, account, since); err != nil {
			return nil, err
		}
	}
	rows, err := s.read().QueryContext(ctx, `SELECT id, receipt FROM remote_post WHERE account_id = $1 AND published_at >= $2 AND gone_at = 0 AND id > $3 ORDER BY id LIMIT $4`,
		int64(account), millis(since), int64(after), limit)
	if err != nil {
		return nil, fmt.Errorf("finding posts to read: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []scheduler.KnownPost
	for rows.Next() {
		var k scheduler.KnownPost
		var receipt string
		if err := rows.Scan((*int64)(&k.ID), &receipt); err != nil {
			return nil, fmt.Errorf("finding posts to read: %w", err)
		}
		if err := json.Unmarshal([]byte(receipt), &k.Receipt); err != nil {
			return nil, fmt.Errorf("reading the receipt of post %s: %w", k.ID, err)
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

// adoptOwn puts what smi published since a time among the account's posts.
func (s *Store) adoptOwn(ctx context.Context, account social.ID, since time.Time) error {
	type own struct {
		delivery                       int64
		step                           int
		remote, receipt, excerpt, kind string
		at                             int64
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT a.delivery_id, a.step, a.remote_id, a.receipt, d.parts, a.decided_at
FROM attempt a JOIN delivery d ON d.id = a.delivery_id
WHERE a.account_id = $1 AND a.state IN ('ok','adopted') AND a.armed_at >= $2
  AND NOT EXISTS (SELECT 1 FROM remote_post r WHERE r.account_id = a.account_id AND r.remote_id = a.remote_id AND r.delivery_id <> 0)`, int64(account), millis(since))
		if err != nil {
			return err
		}
		var found []own
		for rows.Next() {
			var o own
			var parts string
			if err := rows.Scan(&o.delivery, &o.step, &o.remote, &o.receipt, &parts, &o.at); err != nil {
				rows.Close() //nolint:errcheck // the first error is told
				return err
			}
			var ps []social.Part
			if err := json.Unmarshal([]byte(parts), &ps); err != nil {
				rows.Close() //nolint:errcheck // the first error is told
				return err
			}
			if o.step < len(ps) {
				o.excerpt, o.kind = clipText(ps[o.step].Text), kindOf(social.Kinds(ps[o.step].Media))
			}
			found = append(found, o)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil { //nolint:sqlclosecheck // closed before the next query of the transaction
			return err
		}
		for _, o := range found {
			var r connectors.Receipt
			if err := json.Unmarshal([]byte(o.receipt), &r); err != nil {
				return err
			}
			at := millis(r.PublishedAt)
			if at == 0 {
				at = o.at
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO remote_post (id, account_id, remote_id, delivery_id, step, url, excerpt, kind, receipt, published_at, first_seen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (account_id, remote_id) DO UPDATE SET delivery_id = excluded.delivery_id, step = excluded.step WHERE remote_post.delivery_id = 0`,
				int64(s.ids.New(s.now())), int64(account), o.remote, o.delivery, o.step, r.URL, o.excerpt, o.kind, o.receipt, at, millis(s.now())); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("adding published posts: %w", err)
	}
	return nil
}

// DayTotals implements scheduler.Archive.
func (s *Store) DayTotals(ctx context.Context, account social.ID, day int) ([]insights.Totals, map[social.ID]insights.Totals, time.Time, error) {
	today, err := s.totals(ctx, `SELECT p.post_id, r.published_at, p.fetched_at, `+metricList(postMetrics, "p.")+`
FROM post_day p JOIN remote_post r ON r.id = p.post_id WHERE p.account_id = $1 AND p.day = $2 AND p.amount = FALSE ORDER BY p.post_id`, int64(account), day)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	earlier, err := s.totals(ctx, `SELECT p.post_id, r.published_at, p.fetched_at, `+metricList(postMetrics, "p.")+`
FROM post_day p JOIN remote_post r ON r.id = p.post_id WHERE p.account_id = $1 AND p.amount = FALSE
  AND p.day = (SELECT max(q.day) FROM post_day q WHERE q.account_id = p.account_id AND q.post_id = p.post_id AND q.amount = FALSE AND q.day < $2)
  AND p.post_id IN (SELECT t.post_id FROM post_day t WHERE t.account_id = $1 AND t.day = $2 AND t.amount = FALSE)`, int64(account), day)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	before := map[social.ID]insights.Totals{}
	for _, t := range earlier {
		before[t.Post] = t
	}
	for _, t := range today {
		b, had := before[t.Post]
		if !had {
			continue
		}
		if err := s.olderMetrics(ctx, account, day, t, b); err != nil {
			return nil, nil, time.Time{}, err
		}
	}
	last, err := s.lastRead(ctx, account, day)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	return today, before, last, nil
}

// olderMetrics completes the last totals of a post before a day: a metric that
// the network left out then was known earlier, and what came since is not lost.
func (s *Store) olderMetrics(ctx context.Context, account social.ID, day int, today, before insights.Totals) error {
	missing := map[social.Metric]bool{}
	for m := range today.Numbers {
		if _, known := before.Numbers[m]; !known {
			missing[m] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	older, err := s.totals(ctx, `SELECT p.post_id, 0, p.fetched_at, `+metricList(postMetrics, "p.")+`
FROM post_day p WHERE p.account_id = $1 AND p.post_id = $2 AND p.amount = FALSE AND p.day < $3 ORDER BY p.day DESC`, int64(account), int64(today.Post), day)
	if err != nil {
		return err
	}
	for _, o := range older {
		for m := range missing {
			if v, known := o.Numbers[m]; known {
				before.Numbers[m] = v
				delete(missing, m)
			}
		}
	}
	return nil
}

// lastRead is when the last complete reading of an account began that was over
// before a day; zero if there was none.
func (s *Store) lastRead(ctx context.Context, account social.ID, day int) (time.Time, error) {
	var name string
	if err := s.read().QueryRowContext(ctx, `SELECT day_zone FROM account WHERE id = $1`, int64(account)).Scan(&name); err != nil {
		return time.Time{}, fmt.Errorf("reading the account's day zone: %w", err)
	}
	zone, err := social.LoadZone(name)
	if err != nil {
		zone = time.UTC
	}
	y, m, d := social.DayStart(day).Date()
	var last int64
	if err := s.read().QueryRowContext(ctx, `SELECT COALESCE(max(started_at), 0) FROM sync_run WHERE account_id = $1 AND state = 'done' AND finished_at <= $2`,
		int64(account), millis(social.AtWall(y, m, d, 0, 0, 0, zone))).Scan(&last); err != nil {
		return time.Time{}, fmt.Errorf("finding the last reading: %w", err)
	}
	return fromMillis(last), nil
}

func (s *Store) totals(ctx context.Context, query string, args ...any) ([]insights.Totals, error) {
	rows, err := s.read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading totals: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []insights.Totals
	for rows.Next() {
		var t insights.Totals
		var published, read int64
		m := newScanMetrics(postMetrics)
		if err := rows.Scan(append([]any{(*int64)(&t.Post), &published, &read}, m.dest()...)...); err != nil {
			return nil, fmt.Errorf("reading totals: %w", err)
		}
		t.Published, t.Read = fromMillis(published), fromMillis(read)
		if t.Numbers, err = m.numbers(); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// SaveDay implements scheduler.Archive.
func (s *Store) SaveDay(ctx context.Context, account social.ID, day int, amounts insights.Numbers, now time.Time) error {
	args, extra, err := metricArgs(accountMetrics, amounts)
	if err != nil {
		return fmt.Errorf("saving the day's amounts: %w", err)
	}
	args = append(append([]any{int64(account), day, "posts"}, args...), extra, 0, millis(now))
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, upsertAccountDay, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("saving the day's amounts: %w", err)
	}
	return nil
}

// PostNumbers are the latest totals of a published part.
type PostNumbers struct {
	Delivery social.ID
	Step     int
	URL      string
	Read     time.Time
	Gone     bool
	Numbers  insights.Numbers
}

// NumbersOfPost returns the latest totals of the parts of a post's deliveries.
// What was never read is not in it.
func (s *Store) NumbersOfPost(ctx context.Context, workspace, post social.ID) ([]PostNumbers, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT r.delivery_id, r.step, r.url, r.gone_at <> 0, p.fetched_at, `+metricList(postMetrics, "p.")+`
FROM remote_post r JOIN delivery d ON d.id = r.delivery_id
JOIN post_day p ON p.account_id = r.account_id AND p.post_id = r.id AND p.amount = FALSE
WHERE d.workspace_id = $1 AND d.post_id = $2
  AND p.day = (SELECT max(q.day) FROM post_day q WHERE q.account_id = r.account_id AND q.post_id = r.id AND q.amount = FALSE)
ORDER BY r.delivery_id, r.step`, int64(workspace), int64(post))
	if err != nil {
		return nil, fmt.Errorf("reading a post's numbers: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []PostNumbers
	for rows.Next() {
		var n PostNumbers
		var read int64
		m := newScanMetrics(postMetrics)
		if err := rows.Scan(append([]any{(*int64)(&n.Delivery), &n.Step, &n.URL, &n.Gone, &read}, m.dest()...)...); err != nil {
			return nil, fmt.Errorf("reading a post's numbers: %w", err)
		}
		n.Read = fromMillis(read)
		if n.Numbers, err = m.numbers(); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// AccountDay is an account's numbers of one day.
type AccountDay struct {
	Day     time.Time // midnight UTC of the date, which is in the account's day zone
	Source  string    // "network" or "posts"
	Read    time.Time
	Numbers insights.Numbers
}

// NumbersOfAccount returns an account's days from and to, both included.
func (s *Store) NumbersOfAccount(ctx context.Context, account social.ID, from, to int) ([]AccountDay, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT day, source, fetched_at, `+metricList(accountMetrics, "")+`
FROM account_day WHERE account_id = $1 AND day >= $2 AND day <= $3 ORDER BY day, source`, int64(account), from, to)
	if err != nil {
		return nil, fmt.Errorf("reading an account's numbers: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []AccountDay
	for rows.Next() {
		var d AccountDay
		var day int
		var read int64
		m := newScanMetrics(accountMetrics)
		if err := rows.Scan(append([]any{&day, &d.Source, &read}, m.dest()...)...); err != nil {
			return nil, fmt.Errorf("reading an account's numbers: %w", err)
		}
		d.Day, d.Read = social.DayStart(day), fromMillis(read)
		if d.Numbers, err = m.numbers(); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// RawAnswer returns what the network said when a value was read.
func (s *Store) RawAnswer(ctx context.Context, id social.ID) (social.RawAnswer, error) {
	var r social.RawAnswer
	var at int64
	var body []byte
	err := s.read().QueryRowContext(ctx, `SELECT op, api_version, at, body FROM raw_answer WHERE id = $1`, int64(id)).Scan(&r.Op, &r.APIVersion, &at, &body)
	if err != nil {
		return r, fmt.Errorf("reading answer %s: %w", id, err)
	}
	r.At = fromMillis(at)
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return r, fmt.Errorf("unpacking answer %s: %w", id, err)
	}
	if r.Body, err = io.ReadAll(z); err != nil {
		return r, fmt.Errorf("unpacking answer %s: %w", id, err)
	}
	return r, nil
}

// PruneRaw deletes the raw answers read before a time, some thousand at a call,
// and returns how many.
func (s *Store) PruneRaw(ctx context.Context, before time.Time) (int64, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM raw_answer WHERE id IN (SELECT id FROM raw_answer WHERE at < $1 LIMIT 2000)`, millis(before))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("deleting old answers: %w", err)
	}
	return n, nil
}

package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"smi/internal/social"
)

// CreatePost stores a post with its deliveries, tags and audit row in one
// transaction. It fills the ids, times and hashes in and returns what is
// stored. Deliveries come with account, parts, planned time, late rules, state
// and NextAt; those of an approved post are approved as they are.
//
// With a key in once, a repetition returns the post of the first call and true,
// and the same key with another request is refused with CodeConflict.
func (s *Store) CreatePost(ctx context.Context, p social.PlannedPost, actor string, once social.Once) (social.PlannedPost, bool, error) {
	var id social.ID
	var replayed bool
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		id, replayed, err = s.createPost(ctx, tx, p, actor, once)
		return err
	})
	if err != nil {
		return p, false, fmt.Errorf("storing the post: %w", err)
	}
	out, err := s.Post(ctx, p.Post.WorkspaceID, id)
	return out, replayed, err
}

type onceAnswer struct {
	Post social.ID `json:"post"`
}

func (s *Store) createPost(ctx context.Context, tx *sql.Tx, p social.PlannedPost, actor string, once social.Once) (social.ID, bool, error) {
	now := s.now()
	ms := millis(now)
	id := s.ids.New(now)
	if once.Key != "" {
		body, err := json.Marshal(onceAnswer{Post: id})
		if err != nil {
			return 0, false, err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO idempotency (key, actor, request_hash, response, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT DO NOTHING`, once.Key, once.Actor, once.RequestHash, string(body), ms)
		if err != nil {
			return 0, false, fmt.Errorf("keeping the key: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return 0, false, err
		} else if n == 0 {
			post, err := s.recall(ctx, tx, once)
			return post, true, err
		}
	}
	parts, err := json.Marshal(p.Post.Parts)
	if err != nil {
		return 0, false, err
	}
	pl := p.Post.Planned
	if _, err := tx.ExecContext(ctx, `INSERT INTO post (id, workspace_id, state, rev, parts, planned_local, planned_zone, planned_utc, tzdata, created_at, updated_at)
		VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $9)`, int64(id), int64(p.Post.WorkspaceID), string(p.Post.State), string(parts),
		pl.Local, pl.Zone, millis(pl.UTC), tzdataName, ms); err != nil {
		return 0, false, err
	}
	if err := s.setTags(ctx, tx, p.Post.WorkspaceID, id, p.Post.Tags); err != nil {
		return 0, false, err
	}
	for _, d := range p.Deliveries {
		if err := s.insertDelivery(ctx, tx, p.Post, id, d, ms); err != nil {
			return 0, false, err
		}
	}
	return id, false, s.note(ctx, tx, auditEntry{
		Workspace: p.Post.WorkspaceID, Actor: actor, Action: "post.create", Subject: id.String(),
		Detail: map[string]any{"deliveries": len(p.Deliveries), "planned": pl.UTC},
	})
}

// tzdataName says by which rules the planned time was turned into an instant:
// those built into the program.
const tzdataName = "go"

// recall returns the post that a key made before.
func (s *Store) recall(ctx context.Context, q queryer, once social.Once) (social.ID, error) {
	var hash, body string
	if err := q.QueryRowContext(ctx, `SELECT request_hash, response FROM idempotency WHERE actor = $1 AND key = $2`, once.Actor, once.Key).
		Scan(&hash, &body); err != nil {
		return 0, fmt.Errorf("reading the key: %w", err)
	}
	if hash != once.RequestHash {
		return 0, social.Errorf(social.CodeInvalid, "Idempotency-Key", "this key was used for another request; use a new key for each thing you want")
	}
	var a onceAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return 0, fmt.Errorf("reading the key's answer: %w", err)
	}
	return a.Post, nil
}

// Recall returns the post that an earlier request with this key made, and
// whether there is one. The same key with another request is refused.
func (s *Store) Recall(ctx context.Context, workspace social.ID, once social.Once) (social.PlannedPost, bool, error) {
	id, err := s.recall(ctx, s.read(), once)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return social.PlannedPost{}, false, nil
	case err != nil:
		return social.PlannedPost{}, false, err
	}
	p, err := s.Post(ctx, workspace, id)
	return p, err == nil, err
}

// insertDelivery stores one delivery of a new post or a new occurrence.
func (s *Store) insertDelivery(ctx context.Context, tx *sql.Tx, p social.Post, post social.ID, d social.Delivery, ms int64) error {
	// The account is checked here as well as in the use case: a stranger's id
	// must not become a delivery (and SQLite checks the foreign key only).
	var network string
	err := tx.QueryRowContext(ctx, `SELECT network FROM account WHERE workspace_id = $1 AND id = $2 AND status <> 'removed'`,
		int64(p.WorkspaceID), int64(d.AccountID)).Scan(&network)
	if err := accountErr(err, d.AccountID); err != nil {
		return err
	}
	parts, err := json.Marshal(d.Parts)
	if err != nil {
		return err
	}
	hash := social.ContentHash(d.Parts)
	approved := ""
	if p.State == social.PostApproved {
		approved = hash
	}
	if d.Kind == "" {
		d.Kind = social.KindPost
	}
	if d.LatePolicy == "" {
		d.LatePolicy = social.LateAsk
	}
	if d.State == "" {
		d.State = social.Scheduled
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO delivery (id, workspace_id, post_id, account_id, occurrence, kind, parent_ref, parts, content_hash, approved_hash,
		planned_utc, not_after, late_policy, allow_repeat, state, reason, next_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)`,
		int64(s.ids.New(s.now())), int64(p.WorkspaceID), int64(post), int64(d.AccountID), d.Occurrence, string(d.Kind), d.ParentRef, string(parts),
		hash, approved, millis(d.PlannedAt), millis(d.NotAfter), string(d.LatePolicy), d.AllowRepeat, string(d.State), d.Reason, millis(d.NextAt), ms)
	return err
}

// setTags makes the tags of a post these, in the order given and without
// repetition (in any case).
func (s *Store) setTags(ctx context.Context, tx *sql.Tx, workspace, post social.ID, tags []string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM post_tag WHERE post_id = $1`, int64(post)); err != nil {
		return err
	}
	for _, t := range tags {
		t = strings.ToLower(strings.TrimSpace(t))
		if t == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO tag (id, workspace_id, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			int64(s.ids.New(s.now())), int64(workspace), t); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO post_tag (post_id, tag_id) SELECT $1, id FROM tag WHERE workspace_id = $2 AND name = $3
			ON CONFLICT DO NOTHING`, int64(post), int64(workspace), t); err != nil {
			return err
		}
	}
	return nil
}

const postColumns = `id, workspace_id, state, rev, parts, planned_local, planned_zone, planned_utc, created_at, updated_at`

func scanPost(row interface{ Scan(...any) error }) (social.Post, error) {
	var p social.Post
	var parts string
	var planned, created, updated int64
	if err := row.Scan((*int64)(&p.ID), (*int64)(&p.WorkspaceID), &p.State, &p.Rev, &parts, &p.Planned.Local, &p.Planned.Zone,
		&planned, &created, &updated); err != nil {
		return p, err
	}
	p.Planned.UTC, p.CreatedAt, p.UpdatedAt = fromMillis(planned), fromMillis(created), fromMillis(updated)
	if err := json.Unmarshal([]byte(parts), &p.Parts); err != nil {
		return p, fmt.Errorf("reading the parts of post %s: %w", p.ID, err)
	}
	return p, nil
}

// Post returns one post of a workspace with its deliveries and tags.
func (s *Store) Post(ctx context.Context, workspace, id social.ID) (social.PlannedPost, error) {
	p, err := scanPost(s.read().QueryRowContext(ctx, `SELECT `+postColumns+` FROM post WHERE workspace_id = $1 AND id = $2`, int64(workspace), int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return social.PlannedPost{}, social.Errorf(social.CodeNotFound, "post", "there is no post %s; smi post list shows them", id)
	}
	if err != nil {
		return social.PlannedPost{}, fmt.Errorf("reading post %s: %w", id, err)
	}
	out := []social.PlannedPost{{Post: p}}
	err = s.fill(ctx, workspace, out)
	return out[0], err
}

// PostOfDelivery returns the post that a delivery belongs to.
func (s *Store) PostOfDelivery(ctx context.Context, workspace, delivery social.ID) (social.PlannedPost, error) {
	var post social.ID
	err := s.read().QueryRowContext(ctx, `SELECT post_id FROM delivery WHERE workspace_id = $1 AND id = $2`, int64(workspace), int64(delivery)).
		Scan((*int64)(&post))
	if errors.Is(err, sql.ErrNoRows) {
		return social.PlannedPost{}, social.Errorf(social.CodeNotFound, "delivery", "there is no post or delivery %s; smi post list shows them", delivery)
	}
	if err != nil {
		return social.PlannedPost{}, fmt.Errorf("reading delivery %s: %w", delivery, err)
	}
	return s.Post(ctx, workspace, post)
}

// Posts returns a page of a workspace's posts by planned time.
func (s *Store) Posts(ctx context.Context, workspace social.ID, f social.PostFilter) (social.PostPage, error) {
	var page social.PostPage
	limit := f.Limit
	if limit == 0 {
		limit = 50
	}
	limit = min(max(limit, 1), 200)
	q := query{}
	q.and(`workspace_id = %s`, int64(workspace))
	if !f.From.IsZero() {
		q.and(`planned_utc >= %s`, millis(f.From))
	}
	if !f.To.IsZero() {
		q.and(`planned_utc < %s`, millis(f.To))
	}
	if f.Account != 0 || len(f.States) > 0 {
		in := query{args: q.args}
		in.and(`d.workspace_id = %s`, int64(workspace))
		if f.Account != 0 {
			in.and(`d.account_id = %s`, int64(f.Account))
		}
		if len(f.States) > 0 {
			var states []any
			for _, st := range f.States {
				states = append(states, string(st))
			}
			in.and(`d.state IN (`+strings.Repeat(`%s, `, len(states)-1)+`%s)`, states...)
		}
		q.where = append(q.where, `id IN (SELECT d.post_id FROM delivery d WHERE `+strings.Join(in.where, ` AND `)+`)`)
		q.args = in.args
	}
	if f.Tag != "" {
		q.and(`id IN (SELECT pt.post_id FROM post_tag pt JOIN tag t ON t.id = pt.tag_id WHERE t.workspace_id = %s AND t.name = %s)`,
			int64(workspace), strings.ToLower(f.Tag))
	}
	order, compare := `DESC`, `<`
	if f.Ascending {
		order, compare = `ASC`, `>`
	}
	if f.After != "" {
		at, id, err := readCursor(f.After)
		if err != nil {
			return page, err
		}
		q.and(`(planned_utc `+compare+` %s OR planned_utc = %s AND id `+compare+` %s)`, at, at, id)
	}
	q.args = append(q.args, limit+1)
	rows, err := s.read().QueryContext(ctx, `SELECT `+postColumns+` FROM post WHERE `+strings.Join(q.where, ` AND `)+
		fmt.Sprintf(` ORDER BY planned_utc %s, id %s LIMIT $%d`, order, order, len(q.args)), q.args...)
	if err != nil {
		return page, fmt.Errorf("listing posts: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		p, err := scanPost(rows)
		if err != nil {
			return page, err
		}
		if len(page.Posts) == limit {
			last := page.Posts[limit-1].Post
			page.Next = writeCursor(millis(last.Planned.UTC), int64(last.ID))
			break
		}
		page.Posts = append(page.Posts, social.PlannedPost{Post: p})
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return page, fmt.Errorf("listing posts: %w", err)
	}
	return page, s.fill(ctx, workspace, page.Posts)
}

// query builds a WHERE with numbered placeholders.
type query struct {
	where []string
	args  []any
}

// and adds a condition in which each %s stands for the next argument.
func (q *query) and(cond string, args ...any) {
	var names []any
	for _, a := range args {
		q.args = append(q.args, a)
		names = append(names, fmt.Sprintf("$%d", len(q.args)))
	}
	q.where = append(q.where, fmt.Sprintf(cond, names...))
}

func writeCursor(at, id int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", at, id))
}

func readCursor(c string) (at, id int64, err error) {
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d.%d", &at, &id)
	}
	if err != nil {
		return 0, 0, social.Errorf(social.CodeInvalid, "after", "%q is no place in a list; use the \"next\" of the page before", c)
	}
	return at, id, nil
}

// fill reads the deliveries and tags of posts.
func (s *Store) fill(ctx context.Context, workspace social.ID, posts []social.PlannedPost) error {
	if len(posts) == 0 {
		return nil
	}
	at := map[social.ID]int{}
	var ids []any
	for i, p := range posts {
		at[p.Post.ID] = i
		ids = append(ids, int64(p.Post.ID))
	}
	q := query{}
	q.and(`workspace_id = %s`, int64(workspace))
	q.and(`post_id IN (`+strings.Repeat(`%s, `, len(ids)-1)+`%s)`, ids...)
	ds, err := s.deliveries(ctx, strings.Join(q.where, ` AND `)+` ORDER BY post_id, account_id, occurrence`, q.args...)
	if err != nil {
		return err
	}
	for _, d := range ds {
		i := at[d.PostID]
		posts[i].Deliveries = append(posts[i].Deliveries, d)
	}
	q = query{}
	q.and(`pt.post_id IN (`+strings.Repeat(`%s, `, len(ids)-1)+`%s)`, ids...)
	rows, err := s.read().QueryContext(ctx, `SELECT pt.post_id, t.name FROM post_tag pt JOIN tag t ON t.id = pt.tag_id WHERE `+q.where[0]+` ORDER BY t.name`, q.args...)
	if err != nil {
		return fmt.Errorf("reading tags: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var id social.ID
		var name string
		if err := rows.Scan((*int64)(&id), &name); err != nil {
			return fmt.Errorf("reading tags: %w", err)
		}
		i := at[id]
		posts[i].Post.Tags = append(posts[i].Post.Tags, name)
	}
	return rows.Err()
}

func (s *Store) deliveries(ctx context.Context, where string, args ...any) ([]social.Delivery, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+ledgerColumns+` FROM delivery WHERE `+where, args...)
	out, err := collect(rows, err, scanDelivery)
	if err != nil {
		return nil, fmt.Errorf("reading deliveries: %w", err)
	}
	return out, nil
}

// NearDeliveries returns the deliveries of an account that are planned or were
// published between from and to (both included) and are or may still be public:
// what a new text is compared with.
func (s *Store) NearDeliveries(ctx context.Context, workspace, account social.ID, from, to time.Time) ([]social.Delivery, error) {
	return s.deliveries(ctx, `workspace_id = $1 AND account_id = $2 AND planned_utc BETWEEN $3 AND $4
		AND state NOT IN ('failed','cancelled','skipped') ORDER BY planned_utc, id`, int64(workspace), int64(account), millis(from), millis(to))
}

// EditPost replaces parts, planned time and tags of a post and of those
// deliveries that are given, as compare-and-set: a delivery that changed since
// (other Ver) or that cannot be changed any more (being sent, published …)
// makes the whole edit fail with CodeConflict. The edited deliveries start
// again from their first part; none of them may have published one.
func (s *Store) EditPost(ctx context.Context, p social.PlannedPost, actor string) (social.PlannedPost, error) {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		ms := millis(s.now())
		parts, err := json.Marshal(p.Post.Parts)
		if err != nil {
			return err
		}
		pl := p.Post.Planned
		res, err := tx.ExecContext(ctx, `UPDATE post SET parts = $1, planned_local = $2, planned_zone = $3, planned_utc = $4, tzdata = $5, rev = rev + 1,
			updated_at = $6 WHERE workspace_id = $7 AND id = $8 AND rev = $9`, string(parts), pl.Local, pl.Zone, millis(pl.UTC), tzdataName, ms,
			int64(p.Post.WorkspaceID), int64(p.Post.ID), p.Post.Rev)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return social.Errorf(social.CodeConflict, "post", "somebody else changed this post meanwhile; look at it again")
		}
		if err := s.setTags(ctx, tx, p.Post.WorkspaceID, p.Post.ID, p.Post.Tags); err != nil {
			return err
		}
		for _, d := range p.Deliveries {
			if err := editDelivery(ctx, tx, p.Post, d, ms); err != nil {
				return err
			}
		}
		return s.note(ctx, tx, auditEntry{
			Workspace: p.Post.WorkspaceID, Actor: actor, Action: "post.edit", Subject: p.Post.ID.String(),
			Detail: map[string]any{"deliveries": len(p.Deliveries), "planned": pl.UTC},
		})
	})
	if err != nil {
		return p, fmt.Errorf("changing post %s: %w", p.Post.ID, err)
	}
	return s.Post(ctx, p.Post.WorkspaceID, p.Post.ID)
}

func editDelivery(ctx context.Context, tx *sql.Tx, p social.Post, d social.Delivery, ms int64) error {
	parts, err := json.Marshal(d.Parts)
	if err != nil {
		return err
	}
	hash := social.ContentHash(d.Parts)
	approved := ""
	if p.State == social.PostApproved {
		approved = hash
	}
	res, err := tx.ExecContext(ctx, `UPDATE delivery SET parts = $1, content_hash = $2, approved_hash = $3, planned_utc = $4, not_after = $5,
		late_policy = $6, allow_repeat = $7, reason = CASE WHEN state = 'blocked' THEN reason ELSE '' END, tries = 0,
		next_at = CASE WHEN state = 'blocked' THEN 0 ELSE CAST($8 AS BIGINT) END, state = CASE WHEN state = 'blocked' THEN 'blocked' ELSE 'scheduled' END,
		`+takeAway+`, updated_at = $9 WHERE workspace_id = $10 AND id = $11 AND ver = $12 AND step = 0 AND state IN `+sqlStoppable+`
			AND NOT EXISTS (SELECT 1 FROM gap_delivery WHERE delivery_id = $11 AND decided_at = 0)`,
		string(parts), hash, approved, millis(d.PlannedAt), millis(d.NotAfter), string(d.LatePolicy), d.AllowRepeat, millis(d.NextAt), ms,
		int64(d.WorkspaceID), int64(d.ID), d.Ver)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return social.Errorf(social.CodeConflict, "post", "delivery %s is being sent or was changed meanwhile, so nothing was changed; look at the post again", d.ID)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM checkpoint WHERE delivery_id = $1`, int64(d.ID)); err != nil {
		return err
	}
	return nil
}

// CountDeliveries returns how many deliveries of a workspace are in each state,
// and the planned time of the next one to be published (zero if none waits).
func (s *Store) CountDeliveries(ctx context.Context, workspace social.ID) (map[social.DeliveryState]int, time.Time, error) {
	out := map[social.DeliveryState]int{}
	rows, err := s.read().QueryContext(ctx, `SELECT state, COUNT(*), MIN(planned_utc) FROM delivery WHERE workspace_id = $1 GROUP BY state`, int64(workspace))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("counting deliveries: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var next int64
	for rows.Next() {
		var st social.DeliveryState
		var n int
		var first int64
		if err := rows.Scan(&st, &n, &first); err != nil {
			return nil, time.Time{}, fmt.Errorf("counting deliveries: %w", err)
		}
		out[st] = n
		switch st {
		case social.Scheduled, social.Claimed, social.Ready, social.Waiting:
			if next == 0 || first < next {
				next = first
			}
		}
	}
	return out, fromMillis(next), rows.Err()
}

// Notices returns what people were told, the latest first. after is the id of
// the last notice of the page before, 0 for the first page.
func (s *Store) Notices(ctx context.Context, workspace, after social.ID, limit int) ([]social.NoticeRecord, error) {
	if after == 0 {
		after = 1<<63 - 1
	}
	if limit == 0 {
		limit = 50
	}
	limit = min(max(limit, 1), 500)
	rows, err := s.read().QueryContext(ctx, `SELECT id, kind, severity, delivery_id, account_id, text, created_at, sent_at FROM outbox
		WHERE (workspace_id = $1 OR workspace_id = 0) AND id < $2 ORDER BY id DESC LIMIT $3`, int64(workspace), int64(after), limit)
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (social.NoticeRecord, error) {
		var n social.NoticeRecord
		var created, sent int64
		err := row.Scan((*int64)(&n.ID), &n.Kind, &n.Severity, (*int64)(&n.Delivery), (*int64)(&n.Account), &n.Text, &created, &sent)
		n.CreatedAt, n.Unsent = fromMillis(created), sent == 0
		return n, err
	})
	if err == nil {
		err = s.sendings(ctx, out)
	}
	if err != nil {
		return nil, fmt.Errorf("listing notices: %w", err)
	}
	return out, nil
}

// PurgeKeys forgets idempotency keys older than a time. They are kept for seven
// days at least.
func (s *Store) PurgeKeys(ctx context.Context, before time.Time) (int, error) {
	if limit := s.now().Add(-7 * 24 * time.Hour); before.After(limit) {
		before = limit
	}
	var n int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE created_at < $1`, millis(before))
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	})
	return int(n), err
}

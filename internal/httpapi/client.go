package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"smi/internal/app"
	"smi/internal/social"
)

// Client speaks to the daemon over its socket. Its errors are *Problem where
// the daemon answered, *UnreachableError where it did not.
type Client struct {
	socket    string
	workspace string
	http      *http.Client
}

// NewClient returns a client of the daemon on a socket. workspace is a name or
// id, "" for the first.
func NewClient(socket, workspace string) *Client {
	return &Client{socket: socket, workspace: workspace, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 5 * time.Second}
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close gives the connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UnreachableError means that no daemon answered on the socket.
type UnreachableError struct {
	Socket string
	Err    error
}

func (e *UnreachableError) Unwrap() error { return e.Err }

func (e *UnreachableError) Error() string {
	switch {
	case errors.Is(e.Err, fs.ErrPermission):
		return fmt.Sprintf("the daemon's socket %s belongs to another user; run this command as the user that runs smi serve", e.Socket)
	case errors.Is(e.Err, fs.ErrNotExist), errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no daemon listens on %s; start one with: smi serve (or name its socket with --socket)", e.Socket)
	}
	return fmt.Sprintf("the daemon on %s went away before it answered; see its log, and start it with: smi serve", e.Socket)
}

// Call makes a request with a JSON body (nil for none) and reads the answer into
// out (nil to leave it).
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, in, out any, header ...string) error {
	var r io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		r = bytes.NewReader(b)
		header = append(header, "Content-Type", "application/json")
	}
	return c.send(ctx, method, path, query, r, out, header...)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, r io.Reader, out any, header ...string) error {
	u := "http://smi" + base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, r)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if c.workspace != "" {
		req.Header.Set(WorkspaceHeader, c.workspace)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &UnreachableError{Socket: c.socket, Err: err}
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode >= http.StatusBadRequest {
		p := newProblem(codeOf(resp.StatusCode), "", "the daemon answered "+resp.Status)
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err == nil && json.Valid(b) {
			*p = Problem{}
			if err := json.Unmarshal(b, p); err != nil {
				return fmt.Errorf("reading the daemon's answer: %w", err)
			}
		}
		return p
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &UnreachableError{Socket: c.socket, Err: err}
	}
	return nil
}

func account(name string) string { return "/accounts/" + url.PathEscape(name) }

func waiting(d time.Duration) url.Values {
	if d <= 0 {
		return nil
	}
	return url.Values{"wait": {strconv.Itoa(min(max(int(d/time.Second), 1), 300))}}
}

// Status calls GET /status.
func (c *Client) Status(ctx context.Context) (out app.Status, err error) {
	return out, c.Call(ctx, http.MethodGet, "/status", nil, nil, &out)
}

// Doctor calls GET /doctor.
func (c *Client) Doctor(ctx context.Context, full bool) (out app.Report, err error) {
	q := url.Values{}
	if full {
		q.Set("full", "true")
	}
	return out, c.Call(ctx, http.MethodGet, "/doctor", q, nil, &out)
}

// Capabilities calls GET /capabilities.
func (c *Client) Capabilities(ctx context.Context) ([]app.Capability, error) {
	var out capabilityList
	err := c.Call(ctx, http.MethodGet, "/capabilities", nil, nil, &out)
	return out.Networks, err
}

// Accounts calls GET /accounts.
func (c *Client) Accounts(ctx context.Context, removed bool) ([]app.Account, error) {
	var out accountList
	err := c.Call(ctx, http.MethodGet, "/accounts", url.Values{"removed": {strconv.FormatBool(removed)}}, nil, &out)
	return out.Accounts, err
}

// CheckAccount calls POST /accounts/{account}/check.
func (c *Client) CheckAccount(ctx context.Context, name string) (out app.AccountCheck, err error) {
	return out, c.Call(ctx, http.MethodPost, account(name)+"/check", nil, nil, &out)
}

// RemoveAccount calls DELETE /accounts/{account}.
func (c *Client) RemoveAccount(ctx context.Context, name string, force bool) (out app.Removal, err error) {
	return out, c.Call(ctx, http.MethodDelete, account(name), url.Values{"force": {strconv.FormatBool(force)}}, nil, &out)
}

// StartConnect calls POST /connections.
func (c *Client) StartConnect(ctx context.Context, in app.ConnectRequest) (out app.Connection, err error) {
	return out, c.Call(ctx, http.MethodPost, "/connections", nil, in, &out)
}

// Connection calls GET /connections/{id}.
func (c *Client) Connection(ctx context.Context, id string, wait time.Duration) (out app.Connection, err error) {
	return out, c.Call(ctx, http.MethodGet, "/connections/"+url.PathEscape(id), waiting(wait), nil, &out)
}

// FinishForm calls POST /connections/{id}/form.
func (c *Client) FinishForm(ctx context.Context, id string, fields map[string]social.Secret) (out app.Connection, err error) {
	in := formInput{Fields: map[string]string{}}
	for k, v := range fields {
		in.Fields[k] = v.Reveal() // on its way to the daemon, over a socket of the same user
	}
	return out, c.Call(ctx, http.MethodPost, "/connections/"+url.PathEscape(id)+"/form", nil, in, &out)
}

// CreatePost calls POST /posts. key may be "".
func (c *Client) CreatePost(ctx context.Context, in app.PostInput, key string) (out app.Created, err error) {
	var header []string
	if key != "" {
		header = []string{"Idempotency-Key", key}
	}
	return out, c.Call(ctx, http.MethodPost, "/posts", nil, in, &out, header...)
}

// ListPosts calls GET /posts.
func (c *Client) ListPosts(ctx context.Context, q app.PostQuery) (out app.PostList, err error) {
	v := url.Values{}
	set := func(k, s string) {
		if s != "" {
			v.Set(k, s)
		}
	}
	set("account", q.Account)
	set("tag", q.Tag)
	set("after", q.After)
	var states []string
	for _, s := range q.States {
		states = append(states, string(s))
	}
	set("state", strings.Join(states, ","))
	if !q.From.IsZero() {
		set("from", q.From.Format(time.RFC3339))
	}
	if !q.To.IsZero() {
		set("to", q.To.Format(time.RFC3339))
	}
	if q.Ascending {
		set("ascending", "true")
	}
	if q.Limit > 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	return out, c.Call(ctx, http.MethodGet, "/posts", v, nil, &out)
}

// Post calls GET /posts/{id}. With wait it returns when the post rests or the
// time is over.
func (c *Client) Post(ctx context.Context, id string, wait time.Duration) (out app.Post, err error) {
	return out, c.Call(ctx, http.MethodGet, "/posts/"+url.PathEscape(id), waiting(wait), nil, &out)
}

// EditPost calls PATCH /posts/{id}.
func (c *Client) EditPost(ctx context.Context, id string, in app.EditInput) (out app.Created, err error) {
	return out, c.Call(ctx, http.MethodPatch, "/posts/"+url.PathEscape(id), nil, in, &out)
}

// CancelPost calls POST /posts/{id}/cancel.
func (c *Client) CancelPost(ctx context.Context, id, account string) (out app.CancelResult, err error) {
	return out, c.Call(ctx, http.MethodPost, "/posts/"+url.PathEscape(id)+"/cancel", nil, cancelInput{Account: account}, &out)
}

// Decide calls POST /posts/{id}/decide.
func (c *Client) Decide(ctx context.Context, id string, in app.Decision) (out app.Post, err error) {
	return out, c.Call(ctx, http.MethodPost, "/posts/"+url.PathEscape(id)+"/decide", nil, in, &out)
}

// AddMedia calls POST /media. progress, which may be nil, is told how many bytes
// were sent.
func (c *Client) AddMedia(ctx context.Context, r io.Reader, name string, progress func(sent int64)) (out social.Media, err error) {
	return out, c.send(ctx, http.MethodPost, "/media", url.Values{"name": {name}}, &counting{r: r, tell: progress}, &out, "Content-Type", "application/octet-stream")
}

// counting tells how much of a reader was read.
type counting struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.tell != nil {
		c.tell(c.n)
	}
	return n, err
}

// ListMedia calls GET /media.
func (c *Client) ListMedia(ctx context.Context, limit int) ([]social.Media, error) {
	var out mediaList
	err := c.Call(ctx, http.MethodGet, "/media", url.Values{"limit": {strconv.Itoa(limit)}}, nil, &out)
	return out.Media, err
}

// TranscodeMedia calls POST /media/{hash}/transcode. account may be empty.
func (c *Client) TranscodeMedia(ctx context.Context, hash, account string) (out social.Media, err error) {
	return out, c.Call(ctx, http.MethodPost, "/media/"+url.PathEscape(hash)+"/transcode", nil, transcodeInput{Account: account}, &out)
}

// SyncNow calls POST /sync.
func (c *Client) SyncNow(ctx context.Context, account string) ([]app.SyncRun, error) {
	var out syncList
	err := c.Call(ctx, http.MethodPost, "/sync", nil, syncInput{Account: account}, &out)
	return out.Runs, err
}

// SyncStatus calls GET /sync: the latest run of each account, or these runs.
func (c *Client) SyncStatus(ctx context.Context, runs ...social.ID) ([]app.SyncRun, error) {
	var ids []string
	for _, id := range runs {
		ids = append(ids, id.String())
	}
	var q url.Values
	if len(ids) > 0 {
		q = url.Values{"run": {strings.Join(ids, ",")}}
	}
	var out syncList
	err := c.Call(ctx, http.MethodGet, "/sync", q, nil, &out)
	return out.Runs, err
}

// SetPaused calls POST /pause or POST /resume.
func (c *Client) SetPaused(ctx context.Context, in app.PauseInput, on bool) (out app.PauseResult, err error) {
	path := "/resume"
	if on {
		path = "/pause"
	}
	return out, c.Call(ctx, http.MethodPost, path, nil, in, &out)
}

// Backup calls POST /backups.
func (c *Client) Backup(ctx context.Context, in app.BackupInput) (out app.Backup, err error) {
	return out, c.Call(ctx, http.MethodPost, "/backups", nil, in, &out)
}

// ListBackups calls GET /backups.
func (c *Client) ListBackups(ctx context.Context, to string) (out app.BackupList, err error) {
	var q url.Values
	if to != "" {
		q = url.Values{"to": {to}}
	}
	return out, c.Call(ctx, http.MethodGet, "/backups", q, nil, &out)
}

// Quarantine calls GET /quarantine.
func (c *Client) Quarantine(ctx context.Context) (out social.Quarantine, err error) {
	return out, c.Call(ctx, http.MethodGet, "/quarantine", nil, nil, &out)
}

// Adopt calls POST /adopt.
func (c *Client) Adopt(ctx context.Context) (out app.Adoption, err error) {
	return out, c.Call(ctx, http.MethodPost, "/adopt", nil, app.AdoptInput{Confirm: true}, &out)
}

// Limits calls GET /limits.
func (c *Client) Limits(ctx context.Context) (out app.LimitsNow, err error) {
	return out, c.Call(ctx, http.MethodGet, "/limits", nil, nil, &out)
}

// Clock calls GET /clock.
func (c *Client) Clock(ctx context.Context) (out app.ClockState, err error) {
	return out, c.Call(ctx, http.MethodGet, "/clock", nil, nil, &out)
}

// ConfirmClock calls POST /clock/confirm.
func (c *Client) ConfirmClock(ctx context.Context) (out app.ClockState, err error) {
	return out, c.Call(ctx, http.MethodPost, "/clock/confirm", nil, nil, &out)
}

// Notices calls GET /notices.
func (c *Client) Notices(ctx context.Context, after string, limit int) (out []social.NoticeRecord, next string, err error) {
	v := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		v.Set("after", after)
	}
	var l noticeList
	err = c.Call(ctx, http.MethodGet, "/notices", v, nil, &l)
	return l.Notices, l.Next, err
}

// TestNotices calls POST /notices/test.
func (c *Client) TestNotices(ctx context.Context, in app.NoticeTest) (out app.NoticeTest, err error) {
	return out, c.Call(ctx, http.MethodPost, "/notices/test", nil, in, &out)
}

// Reload calls POST /config/reload.
func (c *Client) Reload(ctx context.Context) (out ReloadResult, err error) {
	return out, c.Call(ctx, http.MethodPost, "/config/reload", nil, nil, &out)
}

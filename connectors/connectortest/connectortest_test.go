package connectortest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/fake"
	"smi/connectors/fake/faketest"
	"smi/internal/social"
)

// every is all that the fake's connection can do, so that a mutant changes one
// thing and keeps the rest.
type every interface {
	connectors.Conn
	connectors.Publisher
	connectors.CommitDialer
	connectors.Finder
	connectors.Confirmer
	connectors.Getter
	connectors.Deleter
	connectors.Lister
	connectors.PostInsights
	connectors.AccountInsights
}

// joins is all that the fake's platform can do.
type joins interface {
	connectors.Platform
	connectors.OAuth
	connectors.FormLogin
	connectors.AccountLister
	connectors.Revoker
}

// sick is a platform whose connections have a fault of character.
type sick struct {
	joins
	dial     func(every, connectors.Credentials) connectors.Conn
	describe func(connectors.Description) connectors.Description
	refresh  func(joins, context.Context, connectors.Grant) (connectors.Grant, error)
}

func (s sick) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	conn, err := s.joins.Dial(a, c)
	if err != nil || s.dial == nil {
		return conn, err
	}
	return s.dial(conn.(every), c), nil
}

func (s sick) Describe() connectors.Description {
	d := s.joins.Describe()
	if s.describe != nil {
		d = s.describe(d)
	}
	return d
}

func (s sick) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	if s.refresh != nil {
		return s.refresh(s.joins, ctx, g)
	}
	return s.joins.Refresh(ctx, g)
}

// conn is a connection of which a mutant replaces single verbs.
type conn struct {
	every
	prepare func(context.Context, *connectors.Job) (connectors.Preparation, error)
	commit  func(context.Context, *connectors.Job) (connectors.Receipt, error)
	check   func(*social.Part) []social.Problem
	find    func(context.Context, *connectors.Job) (connectors.Finding, error)
	who     func(context.Context) (social.Profile, error)
	list    func(context.Context, time.Time, string) (connectors.Page, error)
	posts   func(context.Context, []connectors.Receipt) (social.Reading, error)
	remove  func(context.Context, connectors.Receipt) error
}

func (c conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	if c.prepare != nil {
		return c.prepare(ctx, j)
	}
	return c.every.Prepare(ctx, j)
}

func (c conn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	if c.commit != nil {
		return c.commit(ctx, j)
	}
	return c.every.Commit(ctx, j)
}

func (c conn) Check(p *social.Part) []social.Problem {
	if c.check != nil {
		return c.check(p)
	}
	return c.every.Check(p)
}

func (c conn) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	if c.find != nil {
		return c.find(ctx, j)
	}
	return c.every.Find(ctx, j)
}

func (c conn) Identity(ctx context.Context) (social.Profile, error) {
	if c.who != nil {
		return c.who(ctx)
	}
	return c.every.Identity(ctx)
}

func (c conn) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	if c.list != nil {
		return c.list(ctx, since, cursor)
	}
	return c.every.List(ctx, since, cursor)
}

func (c conn) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	if c.posts != nil {
		return c.posts(ctx, rs)
	}
	return c.every.PostInsights(ctx, rs)
}

func (c conn) Delete(ctx context.Context, r connectors.Receipt) error {
	if c.remove != nil {
		return c.remove(ctx, r)
	}
	return c.every.Delete(ctx, r)
}

// ownShot is a permission that nobody gave.
func ownShot() *connectors.Shot {
	return connectors.NewShot(666, time.Now().Add(time.Minute), nil, time.Now)
}

type mutant struct {
	why    string
	caught string // a subtest that must fail, as a regular expression
	sick   sick
	opts   fake.Options
}

var mutants = map[string]mutant{
	"healthy": {why: "the control: it must pass"},
	"publishes in Prepare": {
		why:    "visible before its minute",
		caught: `publishing/prepare_is_invisible`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, prepare: func(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
				p, err := e.Prepare(ctx, j)
				if err == nil && p.Again == 0 {
					own := *j
					own.State = p.State
					e.Commit(connectors.WithShot(ctx, ownShot()), &own) //nolint:errcheck // that is the crime
				}
				return p, err
			}}
		}},
	},
	"repeats the commit": {
		why:    "published twice when the answer was lost",
		caught: `wire/commit/cut_after_acting`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, commit: func(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
				r, err := e.Commit(ctx, j)
				if connectors.KindOf(err) == connectors.Ambiguous {
					return e.Commit(connectors.WithShot(ctx, ownShot()), j)
				}
				return r, err
			}}
		}},
	},
	"commits twice": {
		why:    "two posts where one was asked for",
		caught: `publishing/once`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, commit: func(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
				if _, err := connectors.ShotFrom(ctx); err == nil {
					e.Commit(connectors.WithShot(ctx, ownShot()), j) //nolint:errcheck // that is the crime
				}
				return e.Commit(ctx, j)
			}}
		}},
	},
	"commits without a shot": {
		why:    "published with nothing written down",
		caught: `publishing/no_shot`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, commit: func(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
				if _, err := connectors.ShotFrom(ctx); err != nil {
					ctx = connectors.WithShot(ctx, ownShot())
				}
				return e.Commit(ctx, j)
			}}
		}},
	},
	"forgets its key": {
		why:    "a new handle behind the scheduler's back: two posts",
		caught: `publishing/keyed_twice`,
		opts:   fake.Options{Class: connectors.Keyed},
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, commit: func(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
				if _, err := connectors.ShotFrom(ctx); err != nil || len(j.State) == 0 {
					return e.Commit(ctx, j)
				}
				own := *j
				own.State = nil
				p, err := e.Prepare(ctx, &own)
				if err != nil {
					return connectors.Receipt{}, err
				}
				own.State = p.State
				return e.Commit(ctx, &own)
			}}
		}},
	},
	"swallows the doubt": {
		why:    "Transient after bytes were written, with a shot of its own so that nobody can see them",
		caught: `wire/commit/`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, commit: func(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
				if _, err := connectors.ShotFrom(ctx); err != nil {
					return connectors.Receipt{}, err
				}
				r, err := e.Commit(connectors.WithShot(ctx, ownShot()), j)
				if connectors.KindOf(err) == connectors.Ambiguous {
					err = &connectors.Error{Kind: connectors.Transient, Op: "commit", Text: "try again"}
				}
				return r, err
			}}
		}},
	},
	"calls a 5xx a refusal": {
		why:    "posts have been live behind a 504",
		caught: `wire/commit/status_504`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, commit: func(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
				r, err := e.Commit(ctx, j)
				if k := connectors.AsError(err); k != nil && k.Status >= 500 {
					err = &connectors.Error{Kind: connectors.Invalid, Op: "commit", Text: "refused", Status: k.Status}
				}
				return r, err
			}}
		}},
	},
	"leaks the token in an error": {
		why:    "tokens on screens",
		caught: `manners/secrets`,
		sick: sick{dial: func(e every, c connectors.Credentials) connectors.Conn {
			return conn{every: e, who: func(ctx context.Context) (social.Profile, error) {
				p, err := e.Identity(ctx)
				if err != nil {
					g, _ := c.Grant(ctx)
					err = &connectors.Error{Kind: connectors.KindOf(err), Op: "identity", Text: "refused", Err: fmt.Errorf("with header Authorization: Bearer %s", g.Access.Reveal())}
				}
				return p, err
			}}
		}},
	},
	"keeps the token in the state": {
		why:    "the state is stored unsealed",
		caught: `manners/secrets`,
		sick: sick{dial: func(e every, c connectors.Credentials) connectors.Conn {
			return conn{every: e, prepare: func(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
				p, err := e.Prepare(ctx, j)
				if err == nil && p.Again == 0 {
					var st map[string]any
					if err := json.Unmarshal(p.State, &st); err != nil {
						return p, err
					}
					g, _ := c.Grant(ctx)
					st["token"] = g.Access.Reveal()
					p.State, _ = json.Marshal(st)
				}
				return p, err
			}}
		}},
	},
	"Check is silent": {
		why:    "the author finds out at nine in the morning",
		caught: `limits/text_latin`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, check: func(*social.Part) []social.Problem { return nil }}
		}},
	},
	"Check is too strict": {
		why:    "what the network takes cannot be planned",
		caught: `limits/text_latin`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, check: func(p *social.Part) []social.Problem {
				if len(p.Text) >= 300 {
					return []social.Problem{{Field: "text", Text: "too long", Severity: social.Refused}}
				}
				return e.Check(p)
			}}
		}},
	},
	"counts bytes": {
		why:    "300 letters of Vietnamese are more bytes than 300",
		caught: `limits/text_cjk`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, check: func(p *social.Part) []social.Problem {
				if len(p.Text) > 300 {
					return []social.Problem{{Field: "text", Text: "too long", Severity: social.Refused}}
				}
				return e.Check(p)
			}}
		}},
	},
	"promises more than the network takes": {
		why:    "limits are data, and these are wrong",
		caught: `limits/text_latin`,
		sick: sick{describe: func(d connectors.Description) connectors.Description {
			d.Limits.Text.Max = 500
			return d
		}},
	},
	"ignores its context": {
		why:    "a stop of the daemon would wait for ever",
		caught: `wire/list/slow_headers`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, list: func(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
				return e.List(context.WithoutCancel(ctx), since, cursor)
			}}
		}},
	},
	"leaves a goroutine": {
		why:    "a leak of memory in a daemon that runs for months",
		caught: `manners/goroutines`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, who: func(ctx context.Context) (social.Profile, error) {
				go func() { <-make(chan struct{}) }()
				return e.Identity(ctx)
			}}
		}},
	},
	"finds nothing": {
		why:    "every lost answer would go to a person",
		caught: `wire/commit/cut_after_acting`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, find: func(context.Context, *connectors.Job) (connectors.Finding, error) {
				return connectors.Finding{Kind: connectors.FoundNothing}, nil
			}}
		}},
	},
	"finds anything": {
		why:    "somebody else's post would be adopted as ours",
		caught: `publishing/find_other`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, find: func(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
				f, err := e.Find(ctx, j)
				for i := range f.Candidates {
					f.Candidates[i].Fingerprint = j.Fingerprint
				}
				return f, err
			}}
		}},
	},
	"makes up zeros": {
		why:    "a wrong number",
		caught: `insights/missing_metric`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, posts: func(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
				rd, err := e.PostInsights(ctx, rs)
				likes := map[string]bool{}
				for _, o := range rd.Observations {
					likes[o.RemoteID] = likes[o.RemoteID] || o.Metric == social.Likes
				}
				for id, has := range likes {
					if !has {
						rd.Observations = append(rd.Observations, social.Observation{Subject: social.OfPost, RemoteID: id, Metric: social.Likes, Window: social.Lifetime, At: time.Now(), Name: "none"})
					}
				}
				return rd, err
			}}
		}},
	},
	"forgets the gone": {
		why:    "a deleted post keeps its last numbers for ever",
		caught: `insights/deleted_meanwhile`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, posts: func(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
				rd, err := e.PostInsights(ctx, rs)
				rd.Gone = nil
				return rd, err
			}}
		}},
	},
	"loses the last page": {
		why:    "posts without numbers, unseen",
		caught: `insights/pages`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, list: func(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
				p, err := e.List(ctx, since, cursor)
				p.Next = ""
				return p, err
			}}
		}},
	},
	"goes round in circles": {
		why:    "a sync that runs all night",
		caught: `insights/looping_cursor`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, list: func(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
				p, err := e.List(ctx, since, cursor)
				if connectors.KindOf(err) == connectors.Transient && cursor != "" && ctx.Err() == nil {
					return connectors.Page{Next: cursor}, nil
				}
				return p, err
			}}
		}},
	},
	"minds deleting what is gone": {
		why:    "a delete that is repeated after a lost answer fails for ever",
		caught: `publishing/delete`,
		sick: sick{dial: func(e every, _ connectors.Credentials) connectors.Conn {
			return conn{every: e, remove: func(ctx context.Context, r connectors.Receipt) error {
				if _, err := e.Get(ctx, r.RemoteID); err != nil {
					return err
				}
				return e.Delete(ctx, r)
			}}
		}},
	},
	"calls an outage a dead grant": {
		why:    "people would be sent to log in again for a 503",
		caught: `wire/refresh/status_503`,
		sick: sick{refresh: func(j joins, ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
			fresh, err := j.Refresh(ctx, g)
			if err != nil {
				err = &connectors.Error{Kind: connectors.AuthExpired, Op: "refresh", Text: "connect again", Status: connectors.AsError(err).Status}
			}
			return fresh, err
		}},
	},
	"does not rotate": {
		why:    "the stored refresh token would be the dead one",
		caught: `joining/refresh`,
		opts:   fake.Options{Rotates: true},
		sick: sick{refresh: func(j joins, ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
			fresh, err := j.Refresh(ctx, g)
			fresh.Refresh = g.Refresh
			return fresh, err
		}},
	},
}

const mutantEnv = "SMI_MUTANT"

// TestMutant runs the suite on the mutant named in the environment. It is run
// by TestSuiteBites in a process of its own; alone it runs the healthy one.
func TestMutant(t *testing.T) {
	name := os.Getenv(mutantEnv)
	if name == "" {
		name = "healthy"
	}
	m, ok := mutants[name]
	if !ok {
		t.Fatalf("there is no mutant %q", name)
	}
	connectortest.Run(t, func(t testing.TB) *connectortest.Harness {
		h := faketest.Open(t, m.opts)
		well := h.New
		h.New = func(env connectors.Env) (connectors.Platform, error) {
			p, err := well(env)
			s := m.sick
			s.joins = p.(joins)
			return s, err
		}
		return h
	})
}

// TestSuiteBites: a suite that a broken connector passes is worth nothing.
func TestSuiteBites(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := filepath.Join(t.TempDir(), "table")
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestMutant$", "-test.v", "-test.timeout=120s")
			cmd.Env = append(os.Environ(), mutantEnv+"="+name, connectortest.TableEnv+"="+table)
			if m.caught != "" { // a failure is awaited, so a slow machine does no harm
				cmd.Env = append(cmd.Env, connectortest.PatienceEnv+"=1s")
			}
			out, err := cmd.CombinedOutput()
			failed := regexp.MustCompile(`(?m)^ *--- FAIL: TestMutant/(\S+)`).FindAllStringSubmatch(string(out), -1)
			var names []string
			for _, f := range failed {
				names = append(names, f[1])
			}
			results := readTable(t, table)
			if m.caught == "" {
				if err != nil {
					t.Fatalf("a healthy connector fails %v:\n%s", names, out)
				}
				for _, r := range results {
					if r.Passed == 0 || r.Failed != 0 {
						t.Errorf("the table says of a healthy connector: %+v", r)
					}
				}
				return
			}
			if err == nil {
				t.Fatalf("the suite passes the mutant %q (%s)", name, m.why)
			}
			if !regexp.MustCompile(m.caught).MatchString(strings.Join(names, "\n")) {
				t.Errorf("it was caught by %v, and not by %s", names, m.caught)
			}
			t.Logf("%s: caught by %v", m.why, names)
			suite, _, _ := strings.Cut(m.caught, "/")
			for _, r := range results {
				if r.Suite == suite && r.Failed == 0 {
					t.Errorf("the table counts no failure in %s", suite)
				}
			}
		})
	}
}

func readTable(t *testing.T, path string) []connectortest.Result {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("the suite wrote no table: %v", err)
	}
	defer f.Close()
	var out []connectortest.Result
	for s := bufio.NewScanner(f); s.Scan(); {
		var r connectortest.Result
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if len(out) != len(connectortest.Suites) {
		t.Fatalf("the table has %d rows, want %d", len(out), len(connectortest.Suites))
	}
	return out
}

package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"smi/internal/app"
	"smi/internal/social"
)

const (
	base      = "/api/v1"
	mediaPath = base + "/media"
	backups   = base + "/backups"
)

// nothing is the input of operations without one.
type nothing struct{}

type body[T any] struct{ Body T }

// add registers a typed handler. Whatever it returns as an error becomes a
// Problem; what callers must not see goes to the log.
func add[I, O any](a *API, op huma.Operation, fn func(context.Context, app.Actor, *I) (O, error)) {
	op.Path = base + op.Path
	op.MaxBodyBytes = maxBody
	op.BodyReadTimeout = bodyTime
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*body[O], error) {
		actor, err := a.actor(ctx)
		var out O
		if err == nil {
			out, err = fn(ctx, actor, in)
		}
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		return &body[O]{out}, nil
	})
}

// fail logs what the caller is not told and returns what they are.
func (a *API) fail(ctx context.Context, op string, err error) *Problem {
	p, log := problemOf(err)
	if log && ctx.Err() == nil {
		a.cfg.Log.Error("a request failed", "op", op, "err", err)
	}
	return p
}

// The bodies of lists.
type (
	accountList struct {
		Accounts []app.Account `json:"accounts"`
	}
	transcodeInput struct {
		Account string `json:"account,omitempty" doc:"whose network is to take it; empty: a form that nearly every network takes"`
	}
	mediaList struct {
		Media []social.Media `json:"media"`
	}
	noticeList struct {
		Notices []social.NoticeRecord `json:"notices"`
		Next    string                `json:"next,omitempty" doc:"give it as after to get the next page"`
	}
	syncList struct {
		Runs []app.SyncRun `json:"runs"`
	}
	capabilityList struct {
		Networks []app.Capability `json:"networks"`
	}
	formInput struct {
		Fields map[string]string `json:"fields" doc:"what was typed in, by the names of the connection's fields"`
	}
	cancelInput struct {
		Account string `json:"account,omitempty" doc:"only the delivery on this account"`
	}
	syncInput struct {
		Account string `json:"account,omitempty" doc:"only this account"`
	}
)

// KeyHeader makes a request repeatable. It is exported, as the parameters below
// are, because huma looks into exported fields only.
type KeyHeader struct {
	Key string `header:"Idempotency-Key" doc:"the same key with the same request is answered with the first result; kept for 7 days at least" maxLength:"200"`
}

func (a *API) routes() {
	ap := a.cfg.App
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary}
	}
	post := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: path, Summary: summary}
	}
	created := func(o huma.Operation) huma.Operation { o.DefaultStatus = http.StatusCreated; return o }

	add(a, get("status", "/status", "The daemon at a glance"), func(ctx context.Context, who app.Actor, _ *nothing) (app.Status, error) {
		return ap.Status(ctx, who)
	})
	add(a, get("doctor", "/doctor", "Checks of the whole installation"), func(ctx context.Context, who app.Actor, in *struct {
		Full bool `query:"full" doc:"read everything: all posts of the past, and every byte of the files of planned ones"`
	},
	) (app.Report, error) {
		return ap.Doctor(ctx, who, in.Full)
	})
	add(a, get("capabilities", "/capabilities", "The networks, what smi can do on each, and their limits"), func(ctx context.Context, who app.Actor, _ *nothing) (capabilityList, error) {
		out, err := ap.Capabilities(ctx, who)
		return capabilityList{out}, err
	})

	add(a, get("accounts-list", "/accounts", "The connected accounts"), func(ctx context.Context, who app.Actor, in *struct {
		Removed bool `query:"removed" doc:"removed ones too"`
	},
	) (accountList, error) {
		out, err := ap.ListAccounts(ctx, who, in.Removed)
		return accountList{out}, err
	})
	add(a, get("accounts-get", "/accounts/{account}", "One account"), func(ctx context.Context, who app.Actor, in *AccountPath) (app.Account, error) {
		return ap.GetAccount(ctx, who, in.Account)
	})
	add(a, post("accounts-check", "/accounts/{account}/check", "Ask the network whether the login works"), func(ctx context.Context, who app.Actor, in *AccountPath) (app.AccountCheck, error) {
		return ap.CheckAccount(ctx, who, in.Account)
	})
	add(a, huma.Operation{OperationID: "accounts-remove", Method: http.MethodDelete, Path: "/accounts/{account}", Summary: "Disconnect an account and destroy its login", DefaultStatus: http.StatusOK},
		func(ctx context.Context, who app.Actor, in *struct {
			AccountPath
			Force bool `query:"force" doc:"although posts wait for it: they are cancelled"`
		},
		) (app.Removal, error) {
			return ap.RemoveAccount(ctx, who, in.Account, in.Force)
		})

	add(a, created(post("connections-start", "/connections", "Begin to connect an account")), func(ctx context.Context, who app.Actor, in *body[app.ConnectRequest]) (app.Connection, error) {
		return ap.StartConnect(ctx, who, in.Body)
	})
	add(a, get("connections-get", "/connections/{id}", "A login under way"), func(ctx context.Context, who app.Actor, in *struct {
		IDPath
		WaitQuery
	},
	) (app.Connection, error) {
		ctx, cancel := in.bound(ctx)
		defer cancel()
		return ap.GetConnection(ctx, who, in.ID, in.Wait > 0)
	})
	add(a, post("connections-form", "/connections/{id}/form", "Finish a login by what a person typed in"), func(ctx context.Context, who app.Actor, in *struct {
		IDPath
		Body formInput
	},
	) (app.Connection, error) {
		values := map[string]social.Secret{}
		for k, v := range in.Body.Fields {
			values[k] = social.NewSecret(v)
		}
		return ap.FinishForm(ctx, who, in.ID, values)
	})

	a.postRoutes()

	add(a, get("media-list", "/media", "Stored files, the latest first"), func(ctx context.Context, who app.Actor, in *struct {
		Limit int `query:"limit" minimum:"1" maximum:"500" default:"100"`
	},
	) (mediaList, error) {
		out, err := ap.ListMedia(ctx, who, in.Limit)
		return mediaList{out}, err
	})
	a.upload()
	add(a, post("media-transcode", "/media/{hash}/transcode", "Make another video of a stored one, which takes long"), func(ctx context.Context, who app.Actor, in *struct {
		Hash string `path:"hash" doc:"of the file, or its first twelve characters or more"`
		Body transcodeInput
	},
	) (social.Media, error) {
		return ap.TranscodeMedia(ctx, who, in.Hash, in.Body.Account)
	})

	add(a, created(post("sync-now", "/sync", "Read the numbers now")), func(ctx context.Context, who app.Actor, in *body[syncInput]) (syncList, error) {
		out, err := ap.SyncNow(ctx, who, in.Body.Account)
		return syncList{out}, err
	})
	add(a, get("sync-status", "/sync", "The latest reading of each account, or certain readings"), func(ctx context.Context, who app.Actor, in *struct {
		Run []string `query:"run" doc:"ids of readings" maxItems:"500"`
	},
	) (syncList, error) {
		var ids []social.ID
		for _, s := range in.Run {
			id, err := social.ParseID(s)
			if err != nil {
				return syncList{}, social.Errorf(social.CodeInvalid, "run", "%s", err.Error())
			}
			ids = append(ids, id)
		}
		out, err := ap.SyncStatus(ctx, who, ids...)
		return syncList{out}, err
	})
	add(a, post("pause", "/pause", "Stop publishing"), func(ctx context.Context, who app.Actor, in *body[app.PauseInput]) (app.PauseResult, error) {
		return ap.SetPaused(ctx, who, in.Body, true)
	})
	add(a, post("resume", "/resume", "Let publishing go on"), func(ctx context.Context, who app.Actor, in *body[app.PauseInput]) (app.PauseResult, error) {
		return ap.SetPaused(ctx, who, in.Body, false)
	})
	add(a, created(post("backups-make", "/backups", "Make a backup now, and prove it")), func(ctx context.Context, who app.Actor, in *body[app.BackupInput]) (app.Backup, error) {
		return ap.Backup(ctx, who, in.Body)
	})
	add(a, get("backups-list", "/backups", "The backups in a place, the newest first"), func(ctx context.Context, who app.Actor, in *struct {
		To string `query:"to" doc:"without it the place of the configuration"`
	},
	) (app.BackupList, error) {
		return ap.ListBackups(ctx, who, in.To)
	})
	add(a, get("quarantine", "/quarantine", "The quarantine that is open, or else the last one"), func(ctx context.Context, who app.Actor, _ *nothing) (social.Quarantine, error) {
		return ap.Quarantine(ctx, who)
	})
	add(a, post("adopt", "/adopt", "Say that this is the live instance, which ends its quarantine"), func(ctx context.Context, who app.Actor, in *body[app.AdoptInput]) (app.Adoption, error) {
		return ap.Adopt(ctx, who, in.Body)
	})
	add(a, get("limits", "/limits", "How the networks' limits stand: what is used up, and who has to wait"), func(ctx context.Context, who app.Actor, _ *nothing) (app.LimitsNow, error) {
		return ap.LimitsNow(ctx, who)
	})
	add(a, get("clock", "/clock", "The time by which posts go out"), func(ctx context.Context, who app.Actor, _ *nothing) (app.ClockState, error) {
		return ap.ClockState(ctx, who)
	})
	add(a, post("clock-confirm", "/clock/confirm", "Say that the machine's clock is right"), func(ctx context.Context, who app.Actor, _ *nothing) (app.ClockState, error) {
		return ap.ConfirmClock(ctx, who)
	})
	add(a, get("notices", "/notices", "What people were told, the latest first"), func(ctx context.Context, who app.Actor, in *struct {
		After string `query:"after"`
		Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	},
	) (noticeList, error) {
		out, err := ap.ListNotices(ctx, who, in.After, in.Limit)
		l := noticeList{Notices: out}
		if len(out) == in.Limit {
			l.Next = out[len(out)-1].ID.String()
		}
		return l, err
	})
	add(a, post("notices-test", "/notices/test", "Send a test by a channel of notices"), func(ctx context.Context, who app.Actor, in *body[app.NoticeTest]) (app.NoticeTest, error) {
		return ap.TestNotices(ctx, who, in.Body)
	})
	add(a, post("config-reload", "/config/reload", "Load the configuration anew; an error leaves the old one in force"), func(ctx context.Context, who app.Actor, _ *nothing) (ReloadResult, error) {
		if a.cfg.Reload == nil {
			return ReloadResult{}, social.Errorf(social.CodeUnsupported, "", "this daemon cannot reload its configuration; restart it")
		}
		return a.cfg.Reload(ctx)
	})
}

func (a *API) postRoutes() {
	ap := a.cfg.App
	add(a, huma.Operation{OperationID: "posts-create", Method: http.MethodPost, Path: "/posts", Summary: "Plan a post", DefaultStatus: http.StatusCreated},
		func(ctx context.Context, who app.Actor, in *struct {
			KeyHeader
			Body app.PostInput
		},
		) (app.Created, error) {
			return ap.CreatePost(ctx, who, in.Body, in.Key)
		})
	add(a, huma.Operation{OperationID: "posts-list", Method: http.MethodGet, Path: "/posts", Summary: "Posts by planned time, the latest first"}, func(ctx context.Context, who app.Actor, in *struct {
		Account   string                 `query:"account"`
		State     []social.DeliveryState `query:"state" doc:"posts with a delivery in one of these states; attention stands for needs_human, held_late and blocked, publishing for claimed, ready, armed and ambiguous"`
		Tag       string                 `query:"tag"`
		From      time.Time              `query:"from" doc:"planned then or later"`
		To        time.Time              `query:"to" doc:"planned before"`
		Ascending bool                   `query:"ascending"`
		After     string                 `query:"after" doc:"next of the page before"`
		Limit     int                    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	},
	) (app.PostList, error) {
		return ap.ListPosts(ctx, who, app.PostQuery{
			Account: in.Account, States: in.State, Tag: in.Tag, From: in.From, To: in.To,
			Ascending: in.Ascending, After: in.After, Limit: in.Limit,
		})
	})
	add(a, huma.Operation{OperationID: "posts-get", Method: http.MethodGet, Path: "/posts/{id}", Summary: "One post with all attempts and their evidence"}, func(ctx context.Context, who app.Actor, in *struct {
		IDPath
		WaitQuery
	},
	) (app.Post, error) {
		if in.Wait == 0 {
			return ap.GetPost(ctx, who, in.ID)
		}
		ctx, cancel := in.bound(ctx)
		defer cancel()
		return ap.WaitPost(ctx, who, in.ID)
	})
	add(a, huma.Operation{OperationID: "posts-edit", Method: http.MethodPatch, Path: "/posts/{id}", Summary: "Change what has not been sent"}, func(ctx context.Context, who app.Actor, in *struct {
		IDPath
		Body app.EditInput
	},
	) (app.Created, error) {
		return ap.EditPost(ctx, who, in.ID, in.Body)
	})
	add(a, huma.Operation{OperationID: "posts-cancel", Method: http.MethodPost, Path: "/posts/{id}/cancel", Summary: "Stop what has not been sent"}, func(ctx context.Context, who app.Actor, in *struct {
		IDPath
		Body cancelInput
	},
	) (app.CancelResult, error) {
		return ap.CancelPost(ctx, who, in.ID, in.Body.Account)
	})
	add(a, huma.Operation{OperationID: "posts-decide", Method: http.MethodPost, Path: "/posts/{id}/decide", Summary: "Say what shall become of a delivery that does not go on by itself"}, func(ctx context.Context, who app.Actor, in *struct {
		IDPath
		Body app.Decision
	},
	) (app.Post, error) {
		return ap.Decide(ctx, who, in.ID, in.Body)
	})
}

// IDPath names what is meant by its id.
type IDPath struct {
	ID string `path:"id"`
}

// AccountPath names an account.
type AccountPath struct {
	Account string `path:"account" doc:"id, handle or network/handle"`
}

// WaitQuery makes a request a long poll.
type WaitQuery struct {
	Wait int `query:"wait" minimum:"0" maximum:"300" doc:"seconds to wait for the end"`
}

func (w WaitQuery) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(w.Wait)*time.Second)
}

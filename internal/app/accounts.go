package app

import (
	"context"
	"fmt"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Account is an account as it is shown, with what is known of its login.
type Account struct {
	ID           social.ID            `json:"id"`
	Network      social.Network       `json:"network"`
	Handle       string               `json:"handle"`
	Name         string               `json:"name" doc:"network/handle, unique among the connected accounts"`
	Title        string               `json:"title,omitempty" doc:"the display name on the network"`
	RemoteID     string               `json:"remote_id"`
	URL          string               `json:"url,omitempty"`
	App          string               `json:"app,omitempty"`
	Status       social.AccountStatus `json:"status" enum:"connected,needs_reconnect,disabled,removed"`
	StatusReason string               `json:"status_reason,omitempty"`
	Paused       bool                 `json:"paused"`
	Login        *LoginState          `json:"login,omitempty"`
	CreatedAt    time.Time            `json:"created_at"`
}

func (a *App) showAccount(ctx context.Context, acc social.Account) Account {
	out := Account{
		ID: acc.ID, Network: acc.Network, Handle: acc.Handle, Name: AccountName(acc), Title: acc.Name, RemoteID: acc.RemoteID,
		URL: acc.URL, App: acc.App, Status: acc.Status, StatusReason: acc.StatusReason, Paused: acc.Paused, CreatedAt: acc.CreatedAt,
	}
	if acc.Status != social.AccountRemoved {
		if st, err := a.Logins.State(ctx, acc.ID); err == nil {
			out.Login = &st
		}
	}
	return out
}

// ListAccounts returns the accounts of the actor's workspace.
func (a *App) ListAccounts(ctx context.Context, actor Actor, removed bool) ([]Account, error) {
	if err := a.may(actor, Read); err != nil {
		return nil, err
	}
	all, err := a.Accounts.Accounts(ctx, actor.Workspace, removed)
	if err != nil {
		return nil, err
	}
	out := []Account{}
	for _, acc := range all {
		out = append(out, a.showAccount(ctx, acc))
	}
	return out, nil
}

// GetAccount returns one account by id, handle or network/handle.
func (a *App) GetAccount(ctx context.Context, actor Actor, name string) (Account, error) {
	acc, err := a.FindAccount(ctx, actor, "account", name)
	if err != nil {
		return Account{}, err
	}
	return a.showAccount(ctx, acc), nil
}

// AccountCheck is the answer of a health probe.
type AccountCheck struct {
	Account Account       `json:"account"`
	OK      bool          `json:"ok"`
	Unknown bool          `json:"unknown,omitempty" doc:"the network could not be asked, so nothing is known of the login: try again later"`
	Text    string        `json:"text" doc:"what the network said, in a sentence"`
	Took    time.Duration `json:"took_ns"`
}

// CheckAccount asks the network who we are: the cheapest signed call. It keeps
// what the network says of the account now. A refused login is shown as such;
// whether it is dead is decided by internal/credentials, which every such call
// goes through.
func (a *App) CheckAccount(ctx context.Context, actor Actor, name string) (AccountCheck, error) {
	if err := a.may(actor, Operate); err != nil {
		return AccountCheck{}, err
	}
	acc, err := a.FindAccount(ctx, actor, "account", name)
	if err != nil {
		return AccountCheck{}, err
	}
	begin := a.Now()
	client, err := a.Clients(ctx, acc)
	var p social.Profile
	if err == nil {
		p, err = client.Identity(ctx)
	}
	out := AccountCheck{OK: err == nil, Took: a.Now().Sub(begin)}
	if err != nil {
		e := connectors.AsError(err)
		out.Text, out.Unknown = e.Text, e.Kind == connectors.Transient || e.Kind == connectors.RateLimited
	} else {
		out.Text = "the network answers and the login works"
		if p.Handle != acc.Handle || p.Name != acc.Name || p.URL != acc.URL || p.AvatarURL != acc.AvatarURL || len(p.Server) > 0 {
			if err := a.Accounts.UpdateProfile(ctx, actor.Workspace, acc.ID, p); err != nil {
				return out, err
			}
		}
	}
	if err == nil && acc.Status == social.AccountConnected {
		// What blocked its posts (a permission, say) may have been put right.
		freed, err := a.Accounts.FreeBlocked(ctx, acc.ID)
		if err != nil {
			return out, err
		}
		if freed > 0 {
			out.Text += fmt.Sprintf("; posts that were blocked are tried again: %d", freed)
			a.Wake()
		}
	}
	// The call may have found the login dead: show the account as it is now.
	acc, err = a.Accounts.Account(ctx, actor.Workspace, acc.ID)
	if err != nil {
		return out, err
	}
	out.Account = a.showAccount(ctx, acc)
	return out, nil
}

// Removal says what removing an account did.
type Removal struct {
	Account   Account `json:"account"`
	Cancelled int     `json:"cancelled" doc:"posts that were waiting and are cancelled"`
	Revoked   bool    `json:"revoked" doc:"the network was told to forget the login"`
	Note      string  `json:"note,omitempty"`
}

// RemoveAccount disconnects an account: cancels what waits (with force),
// destroys the secrets, and ends the login at the network. The network's
// failure to do so does not keep the account: it is said in the Note.
func (a *App) RemoveAccount(ctx context.Context, actor Actor, name string, force bool) (Removal, error) {
	if err := a.may(actor, Operate); err != nil {
		return Removal{}, err
	}
	acc, err := a.FindAccount(ctx, actor, "account", name)
	if err != nil {
		return Removal{}, err
	}
	grant, grantErr := a.Logins.Grant(ctx, acc.ID)
	out := Removal{}
	if out.Cancelled, err = a.Accounts.RemoveAccount(ctx, actor.Workspace, acc.ID, force, actor.String()); err != nil {
		return out, err
	}
	if err := a.Logins.Destroy(ctx, acc.ID); err != nil {
		// The account is removed already; the sweep destroys what is left.
		a.Log.Error("destroying the secrets of a removed account", "account", acc.ID, "err", err)
		out.Note = "its login will be destroyed by the next clean-up"
	}
	if p, err := a.Networks.Platform(acc.Network, acc.App); err == nil && grantErr == nil {
		if q, err := a.Changes.Quarantine(ctx); err != nil || q.Phase == social.Quarantined {
			// Its login may be that of the live instance.
			out.Note = "the network was not told to forget the login, because this may be a copy of the live smi"
		} else if r := connectors.JoinOf(p).Revoke; r != nil {
			if err := r.Revoke(ctx, grant); err != nil {
				out.Note = "the network could not be told to forget the login; end it there by hand: " + connectors.AsError(err).Text
			} else {
				out.Revoked = true
			}
		}
	}
	acc.Status = social.AccountRemoved
	out.Account = a.showAccount(ctx, acc)
	a.Wake()
	return out, nil
}

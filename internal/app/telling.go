package app

import (
	"context"

	"smi/internal/notify"
	"smi/internal/social"
)

// Telling is how people are told outside of smi.
type Telling interface {
	State(ctx context.Context) (TellingState, error)
	// Test sends a message by a channel.
	Test(ctx context.Context, channel string) error
}

// TellingState is how the channels are.
type TellingState struct {
	Trouble  string               `json:"trouble,omitempty" doc:"what is wrong with telling people, in one sentence"`
	Alarms   []string             `json:"alarms" doc:"the channels that alarms go to, in the order in which they are tried"`
	Channels []notify.Health      `json:"channels"`
	Backlog  social.NoticeBacklog `json:"backlog" doc:"what was not sent yet"`
}

// NoticeTest asks for a test of a channel.
type NoticeTest struct {
	Channel string `json:"channel" doc:"mail, webhook or exec"`
}

// TestNotices sends a test by a channel of notices.
func (a *App) TestNotices(ctx context.Context, actor Actor, in NoticeTest) (NoticeTest, error) {
	if err := a.may(actor, Operate); err != nil {
		return in, err
	}
	if a.Telling == nil {
		return in, social.Errorf(social.CodeUnsupported, "", "this smi sends no notices")
	}
	return in, a.Telling.Test(ctx, in.Channel)
}

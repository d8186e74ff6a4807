package app

import (
	"context"
	"time"

	"smi/internal/social"
)

// Clock is the time by which posts go out, which may come into doubt.
type Clock interface {
	State() ClockState
	// Confirm says that the machine's clock is right.
	Confirm(ctx context.Context, actor string) error
}

// ClockState is what is known of the time.
type ClockState struct {
	Now     time.Time `json:"now" doc:"the time by which posts go out"`
	Machine time.Time `json:"machine" doc:"what the clock of the machine says"`
	Trusted bool      `json:"trusted" doc:"posts go out by it"`
	Text    string    `json:"text,omitempty" doc:"what is wrong, and the cure"`
}

// ClockState returns what is known of the time.
func (a *App) ClockState(_ context.Context, actor Actor) (ClockState, error) {
	if err := a.may(actor, Read); err != nil {
		return ClockState{}, err
	}
	if a.Clock == nil {
		return ClockState{Now: a.Now().UTC(), Machine: a.Now().UTC(), Trusted: true}, nil
	}
	return a.Clock.State(), nil
}

// ConfirmClock says that the machine's clock is right although it was set. Posts
// go on by it at once; what is late follows the rule for late posts.
func (a *App) ConfirmClock(ctx context.Context, actor Actor) (ClockState, error) {
	if err := a.may(actor, Operate); err != nil {
		return ClockState{}, err
	}
	if a.Clock == nil {
		return ClockState{}, social.Errorf(social.CodeConflict, "", "the clock is not in doubt; there is nothing to confirm")
	}
	if err := a.Clock.Confirm(ctx, actor.String()); err != nil {
		return ClockState{}, err
	}
	a.Wake()
	return a.Clock.State(), nil
}

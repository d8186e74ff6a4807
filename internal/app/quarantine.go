package app

import (
	"context"
	"fmt"

	"smi/internal/social"
)

// AdoptInput says that this is the live instance.
type AdoptInput struct {
	Confirm bool `json:"confirm" doc:"must be true: no other smi publishes to these accounts any more"`
}

// Adoption is the answer to an adoption.
type Adoption struct {
	Quarantine social.Quarantine `json:"quarantine"`
	Text       string            `json:"text"`
}

// Quarantine returns the quarantine that is open, or else the last one; a zero
// one if there never was any.
func (a *App) Quarantine(ctx context.Context, actor Actor) (social.Quarantine, error) {
	if err := a.may(actor, Read); err != nil {
		return social.Quarantine{}, err
	}
	return a.Changes.Quarantine(ctx)
}

// Adopt says that this instance is the one that publishes. What is left of the
// gap is looked up first, and then the quarantine ends by itself.
func (a *App) Adopt(ctx context.Context, actor Actor, in AdoptInput) (Adoption, error) {
	if err := a.may(actor, Operate); err != nil {
		return Adoption{}, err
	}
	if !in.Confirm {
		return Adoption{}, social.Errorf(social.CodeInvalid, "confirm", "say true, when no other smi publishes to these accounts any more")
	}
	q, err := a.Changes.Adopt(ctx, actor.String())
	if err != nil {
		return Adoption{}, err
	}
	a.Wake()
	return Adoption{Quarantine: q, Text: QuarantineText(q)}, nil
}

// QuarantineText is one sentence on where a quarantine is.
func QuarantineText(q social.Quarantine) string {
	const day = "2006-01-02 15:04 UTC"
	g := q.Gap
	switch {
	case q.ID == 0:
		return "not in quarantine"
	case q.Phase == social.Quarantined:
		return fmt.Sprintf("IN QUARANTINE since %s, nothing is sent: %s %d of %d posts due since %s were found on the networks so far. If this is the smi that is to publish, and no other does, run smi adopt",
			q.Since.UTC().Format(day), q.Reason, g.Adopted, g.Adopted+g.Pending+g.Asked+g.Missing+g.Unlooked+g.Released, q.From.UTC().Format(day))
	case q.Phase == social.Adopting && q.Stops:
		return fmt.Sprintf("leaving the quarantine: nothing is sent until the %d posts left of the gap were looked up", g.Pending)
	case q.Phase == social.Adopting:
		return fmt.Sprintf("publishing, except %d posts that are looked up first: %s", g.Pending, q.Reason)
	}
	return fmt.Sprintf("the last quarantine ended at %s: %d posts were found on the networks, about %d a person is asked", q.EndedAt.UTC().Format(day), g.Adopted, g.Asked+g.Missing+g.Unlooked)
}

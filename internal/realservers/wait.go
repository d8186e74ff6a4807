package realservers

import (
	"context"
	"fmt"
	"time"
)

// Until asks ok each `every` until it says true, and fails with ok's last error
// when ctx ends first.
func Until(ctx context.Context, every time.Duration, ok func(context.Context) (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := ok(ctx)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%w; the last answer was: %w", ctx.Err(), err)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

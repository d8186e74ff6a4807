package simulate

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// dice makes the choices of a story. What is chosen depends on the seed and on
// the name of the choice alone, never on what was chosen before.
type dice uint64

// draw is a number of any size for a choice.
func (d dice) draw(choice ...any) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, uint64(d), choice)
	x := h.Sum64()
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// n is a number in [0, n).
func (d dice) n(n int, choice ...any) int { return int(d.draw(choice...) % uint64(n)) }

// chance says yes with a probability.
func (d dice) chance(p float64, choice ...any) bool {
	return float64(d.draw(choice...)>>11)/(1<<53) < p
}

// between is a time in [from, to), to the nanosecond: two choices hardly ever
// fall together.
func (d dice) between(from, to time.Duration, choice ...any) time.Duration {
	return from + time.Duration(d.draw(choice...)%uint64(to-from))
}

// source is for code that wants a source of its own.
func (d dice) source(choice ...any) *rand.Rand {
	return rand.New(rand.NewPCG(d.draw(choice...), 1)) //nolint:gosec // a story must be repeatable
}

// pick is one of a list.
func pick[T any](d dice, list []T, choice ...any) T { return list[d.n(len(list), choice...)] }

package model

import (
	"fmt"
	"slices"
	"strings"
)

// Result is what a search found.
type Result struct {
	States, Edges int
	Cut           int // states at which a place for another attempt was missing
	Broken        map[promise][]string
	Stuck         []string // how to get to a state from which smi comes to no rest by itself
	Reached       map[string]int
}

// graph is a search under way. States are numbered as they are found.
type graph struct {
	m      *machine
	states []state
	at     map[state]int32
	from   []int32 // the state from which one was found
	after  []int32 // where the successors of one begin in to
	to     []int32 // those that smi, the network or time lead to
	rests  []bool
	symm   bool
}

// Search visits every state. until, if not "", ends it as soon as that promise
// is broken. Without it, Stuck and Reached are filled in.
func Search(set Setting, v Variant, until promise) Result {
	g := &graph{m: &machine{Setting: set, Variant: v, v: newVerdicts()}, at: map[state]int32{}, symm: until == "" && set.Nodes == 2}
	r := Result{Broken: map[promise][]string{}, Reached: map[string]int{}}
	first := state{tasks: [2]task{{pc: idle}, {pc: idle}}}
	if set.Nodes == 1 {
		first.tasks[1] = task{}
	}
	g.add(first, -1)
	broken := func(p promise, trace func() []string) {
		if _, known := r.Broken[p]; p != "" && !known {
			r.Broken[p] = trace()
		}
	}
	for i := 0; i < len(g.states); i++ {
		s := g.states[i]
		g.after = append(g.after, int32(len(g.to)))
		if p := g.m.broken(&s); p != "" {
			broken(p, func() []string { return g.trace(int32(i)) })
			g.rests[i] = true
			continue
		}
		g.m.emit = func(st step, t state) {
			r.Edges++
			if st.broken != "" {
				broken(st.broken, func() []string { return append(g.trace(int32(i)), st.say()) })
			}
			n := g.add(t, int32(i))
			if !st.person {
				g.to = append(g.to, n)
			}
		}
		if !g.m.next(&s) {
			r.Cut++
			g.rests[i] = true
		}
		if _, found := r.Broken[until]; found {
			break
		}
	}
	r.States = len(g.states)
	if until == "" {
		g.liveness(&r)
		for i := range g.states {
			for _, what := range reached(&g.states[i]) {
				r.Reached[what]++
			}
		}
	}
	return r
}

// add returns the number of a state.
func (g *graph) add(s state, from int32) int32 {
	if g.symm {
		s = s.mirror()
	}
	if n, known := g.at[s]; known {
		return n
	}
	n := int32(len(g.states))
	g.at[s] = n
	g.states = append(g.states, s)
	g.from = append(g.from, from)
	g.rests = append(g.rests, s.rests())
	return n
}

// trace says how to get to a state.
func (g *graph) trace(n int32) []string {
	var out []string
	emit := g.m.emit
	defer func() { g.m.emit = emit }()
	for ; g.from[n] >= 0; n = g.from[n] {
		var said string
		g.m.emit = func(st step, t state) {
			if g.symm {
				t = t.mirror()
			}
			if said == "" && t == g.states[n] {
				said = st.say()
			}
		}
		g.m.next(&g.states[g.from[n]])
		out = append(out, said)
	}
	slices.Reverse(out)
	return out
}

func (st step) say() string {
	if st.node > 0 {
		return fmt.Sprintf("node %d %s", st.node, st.what)
	}
	return st.what
}

// liveness finds states from which smi cannot come to rest without a person.
func (g *graph) liveness(r *Result) {
	good := slices.Clone(g.rests)
	for again := true; again; {
		again = false
		for i := len(g.states) - 1; i >= 0; i-- {
			if good[i] {
				continue
			}
			end := int32(len(g.to))
			if i+1 < len(g.after) {
				end = g.after[i+1]
			}
			for _, n := range g.to[g.after[i]:end] {
				if good[n] {
					good[i], again = true, true
					break
				}
			}
		}
	}
	for i, ok := range good {
		if !ok {
			r.Stuck = append(g.trace(int32(i)), g.states[i].String())
			return
		}
	}
}

func (s *state) String() string {
	return fmt.Sprintf("%s %+v", stateNames[s.st], *s)
}

// reached names what a state shows to be possible.
func reached(s *state) []string {
	out := []string{string(stateNames[s.st])}
	if s.st != published {
		return out
	}
	if s.crashed {
		out = append(out, "published after a kill")
	}
	if s.has(adopted) {
		out = append(out, "published by adoption")
	}
	if s.again > 0 {
		out = append(out, "published after a person said to send it again")
	}
	if s.has(absent) && s.has(done) {
		out = append(out, "published by its handle a second time")
	}
	return out
}

// Trace is a list of steps as text.
func Trace(steps []string) string { return "\n    " + strings.Join(steps, "\n    ") }

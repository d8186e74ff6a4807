package main

import (
	"errors"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	t.Parallel()
	sim, kills := part{name: "simulate", says: []string{"simulate"}}, part{name: "kills", says: []string{"kills"}}
	const good = "=== RUN   TestX\n    x_test.go:12: prove: simulate deliveries=1000 kills=20 powercuts=5 twice=0 lost=0 false=0 seeds=1-250\n" +
		"prove: simulate deliveries=1000 kills=30 powercuts=6 twice=0 lost=0 false=0 seeds=251-500\nok  \tsmi/internal/simulate\n"
	const killed = "prove: kills runs=2 deliveries=24 kills=7 twice=0 lost=0 false=0\n"
	for _, c := range []struct {
		name      string
		sim, kill string
		err       error
		line      string
		problems  []string
	}{
		{"all is well", good, killed, nil, "2024 simulated deliveries, 57 kills, 11 power cuts: 0 published twice, 0 lost, 0 false statuses (seeds 1–500)", nil},
		{"a part says nothing", good, "ok\n", nil, "2000 simulated", []string{`kills: there is no line that begins with "prove: kills"`}},
		{"a part fails", good, killed, errors.New("exit status 1"), "2024 simulated", []string{"kills: exit status 1"}},
		{"something is lost", good, strings.Replace(killed, "lost=0", "lost=1", 1), nil, "0 published twice, 1 lost", []string{"kills: lost=1 in"}},
		{"something is there twice", strings.Replace(good, "twice=0", "twice=2", 1), killed, nil, "2 published twice", []string{"simulate: twice=2 in"}},
		{"no number", good, strings.Replace(killed, "false=0", "false=none", 1), nil, "", []string{"kills: false=none is no number"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tally := newTally()
			tally.take(sim, []byte(c.sim), nil)
			tally.take(kills, []byte(c.kill), c.err)
			line, problems := tally.finish()
			if !strings.Contains(line, c.line) {
				t.Errorf("line %q, want %q", line, c.line)
			}
			if len(problems) != len(c.problems) {
				t.Fatalf("problems %q, want %q", problems, c.problems)
			}
			for i, want := range c.problems {
				if !strings.Contains(problems[i], want) {
					t.Errorf("problem %q, want %q", problems[i], want)
				}
			}
		})
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	if got, err := choose("kills,disk"); err != nil || len(got) != 2 || got[0].name != "kills" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := choose("nothing"); err == nil || !strings.Contains(err.Error(), "choose among") {
		t.Errorf("an unknown part: %v", err)
	}
}

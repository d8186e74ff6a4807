package model

import (
	"testing"

	"smi/connectors"
)

// settings are the worlds in which the protocol must keep its promises. Each
// leaves something out, or the search would not end.
var settings = []struct {
	Setting
	long bool // left out with -short
}{
	{Setting{Name: "no key, one node, everything", Class: connectors.Unkeyed, Nodes: 1, Alone: true, Cancel: true, Edit: true, Pause: true, Late: true, Block: true, People: true}, true},
	{Setting{Name: "no key, two nodes", Class: connectors.Unkeyed, Nodes: 2, Cancel: true, People: true}, false},
	{Setting{Name: "no key, two nodes, edits and pauses", Class: connectors.Unkeyed, Nodes: 2, Edit: true, Pause: true, People: true}, true},
	{Setting{Name: "no key, a network slower than it says", Class: connectors.Unkeyed, Nodes: 2, Cancel: true, Liar: true}, false},
	{Setting{Name: "a key, one node", Class: connectors.Keyed, Nodes: 1, Alone: true, Cancel: true, People: true}, false},
	{Setting{Name: "a key, one node, late and blocked", Class: connectors.Keyed, Nodes: 1, Alone: true, Cancel: true, Late: true, Block: true}, true},
	{Setting{Name: "a key, one node, edits", Class: connectors.Keyed, Nodes: 1, Alone: true, Edit: true}, true},
	{Setting{Name: "no key, two nodes, people who look before they answer", Class: connectors.Unkeyed, Nodes: 2, Cancel: true, People: true, Truthful: true}, true},
	{Setting{Name: "a key, one node, people who look before they answer", Class: connectors.Keyed, Nodes: 1, Alone: true, Cancel: true, People: true, Truthful: true}, false},
	{Setting{Name: "a key, two nodes", Class: connectors.Keyed, Nodes: 2, Cancel: true, People: true}, true},
}

// TestProtocol visits every state of every setting: no promise is broken, and
// from each state smi comes to rest by itself.
func TestProtocol(t *testing.T) {
	reached, states := map[string]int{}, 0
	for _, set := range settings {
		if set.long && testing.Short() {
			continue
		}
		r := Search(set.Setting, Variant{}, "")
		t.Logf("%-42s %8d states, %9d edges, %d without a place for another attempt", set.Name, r.States, r.Edges, r.Cut)
		states += r.States
		for p, trace := range r.Broken {
			t.Errorf("%s: %s:%s", set.Name, p, Trace(trace))
		}
		if r.Stuck != nil {
			t.Errorf("%s: smi comes to no rest by itself:%s", set.Name, Trace(r.Stuck))
		}
		for what, n := range r.Reached {
			reached[what] += n
		}
	}
	t.Logf("prove: model states=%d", states)
	// A search that reaches nothing proves nothing.
	for _, what := range []string{
		"published after a kill", "published by adoption", "published after a person said to send it again",
		"published by its handle a second time", "cancelled", "needs_human", "failed", "blocked",
	} {
		if reached[what] == 0 {
			t.Errorf("the search never came to: %s", what)
		}
	}
}

// TestVariants leaves one rule out at a time: the search must notice.
func TestVariants(t *testing.T) {
	unkeyed := Setting{Class: connectors.Unkeyed, Nodes: 2, Cancel: true}
	keyed := Setting{Class: connectors.Keyed, Nodes: 2, Cancel: true}
	alone := Setting{Class: connectors.Unkeyed, Nodes: 1, Alone: true, Cancel: true}
	liar := unkeyed
	liar.Liar = true
	truthful := alone
	truthful.People, truthful.Truthful = true, true
	paused, edited := alone, alone
	paused.Pause, edited.Edit = true, true
	for _, tt := range []struct {
		Variant
		set    Setting
		breaks promise
	}{
		{Variant{Name: "no intent before the call", NoIntent: true}, unkeyed, promiseOnce},
		{Variant{Name: "no intent before the call, as it is noticed first", NoIntent: true}, unkeyed, promiseIntent},
		{Variant{Name: "retry after an unclear answer", RetryUnclear: true}, alone, promiseOnce},
		{Variant{Name: "an unclear answer is stored as failed", FailUnclear: true}, alone, promiseOver},
		{Variant{Name: "a takeover sends an armed one again", TakeoverSends: true}, unkeyed, promiseOnce},
		{Variant{Name: "rescue after the lease, as job queues do", RescueByLease: true}, unkeyed, promiseOnce},
		{Variant{Name: "cancelling succeeds while it is armed", CancelArmed: true}, alone, promiseCancel},
		{Variant{Name: "a look counts before the settle time", NoSettle: true}, keyed, promiseOnce},
		{Variant{Name: "not found is sent again, and the network is slower than it says", SendsNotFound: true}, liar, promiseOnce},
		{Variant{Name: "the epoch is not looked at", NoFence: true}, unkeyed, promiseEpoch},
		{Variant{Name: "no time to send by", NoSendBy: true}, keyed, promiseCancel},
		{Variant{Name: "a takeover says not sent", NotSentByOther: true}, unkeyed, promiseOnce},
		{Variant{Name: "a takeover says not sent, as it is noticed first", NotSentByOther: true}, unkeyed, promiseNotSent},
		{Variant{Name: "a restart says not sent", RestartNotSent: true}, alone, promiseOnce},
		{Variant{Name: "a handle's early word counts once time has passed", DoubtIsForgot: true}, keyed, promiseCancel},
		{Variant{Name: "a refusal counts while an earlier request may take effect", NoRefusalDoubt: true}, keyed, promiseOver},
		{Variant{Name: "arming does not look at the pause", PauseIgnored: true}, paused, promisePause},
		{Variant{Name: "arming does not look at the approval", StaleContent: true}, edited, promiseApproved},
		{Variant{Name: "an answer that it is not there counts while it may still appear", EarlyAnswer: true}, truthful, promiseOnce},
		{Variant{Name: "the same, and it is dropped", EarlyAnswer: true}, truthful, promiseOver},
	} {
		r := Search(tt.set, tt.Variant, tt.breaks)
		trace, found := r.Broken[tt.breaks]
		if !found {
			t.Errorf("%s: not noticed in %d states; want %s", tt.Name, r.States, tt.breaks)
			continue
		}
		t.Logf("%s: after %d states, %s:%s", tt.Name, r.States, tt.breaks, Trace(trace))
	}
}

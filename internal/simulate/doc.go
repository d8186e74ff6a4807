// Package simulate runs the whole publishing of smi against simulated networks,
// a disk and machines that fail, in the time of a bubble: the real scheduler, the
// real store on real SQLite, the real renewal of logins, and the connectors with
// their real HTTP stack over connections in memory.
//
// A seed is a story: accounts, posts, people who cancel, edit, pause and answer,
// requests that go wrong, processes that are killed, power that fails. The same
// seed is the same story, request by request. When it is over the oracle
// compares what smi says with what the networks hold.
//
// Nothing is drawn from a stream of random numbers, because the order in which
// goroutines come to it would change the story: every choice is a hash of the
// seed and of what is chosen for (see dice).
package simulate

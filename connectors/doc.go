// Package connectors is the contract between smi and the social networks.
//
// There are two levels. A Platform is a network as the admin configured it (its
// app credentials, its base URL). A Conn is one account on it, with its token.
// Both are small; everything a network may or may not be able to do is an
// optional interface (Publisher, Finder, PostInsights …) that a Conn also
// implements. Nobody outside this package asserts these interfaces or wraps a
// Conn: callers hold a Client, a concrete type with a method for every verb,
// which answers Unsupported where the network cannot.
//
// # What a connector promises
//
// A connector translates. It keeps no state between calls, starts no goroutine
// that outlives a call, reads no clock (the time is in the Job and in Env.Now)
// and never decides whether to try again: it says in an Error what kind of
// failure it was, and the scheduler decides.
//
// The one call that makes something public is Commit. It may be made only with
// a Shot in its context: the permission, written down durably before, to write
// once. The HTTP stack under connectors/internal/api refuses a commit without
// one, writes at most once over a transport that cannot re-send, and reports as
// Ambiguous whatever it cannot prove.
//
// # Adding a network
//
// One folder beside this file, with the files every connector has, one line in
// connectors/all, and a test that runs connectortest. See docs/add-a-network.md.
package connectors

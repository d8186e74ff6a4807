// Package connectortest is the conformance suite: a connector is finished when
// Run passes on it. The suite knows the contract and nothing of any network. A
// connector's own test opens a Harness, its platform in front of a simulated
// network, and calls Run; it is 20 to 40 lines long.
//
// The suites are describe, limits, joining, publishing, wire, insights and
// manners. Each is made of checks, a named subtest with the reason it is there.
// Every check opens a fresh Harness.
//
// A check is left out in two ways, both counted and printed. "Not applicable"
// is found out by the suite: the connection has no such verb. A skip is written
// down by the connector's test in Harness.Skip, with its reason. A hook of the
// Harness that is missing without a skip is a failure.
//
// Run must not be called from a parallel test: manners looks for goroutines
// that are left behind.
package connectortest

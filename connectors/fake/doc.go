// Package fake is a network in memory with every verb of the contract, for the
// tests of whatever stands above a connector. It passes connectortest, so what
// is proved on it is proved of the contract.
//
// It starts no goroutine, reads no clock but Options.Now, and waits only on
// timers with a context, so it runs inside testing/synctest. The same script
// gives the same run: ids and tokens are counted, nothing is random.
//
// A Network is the server and the connector at once. What a test does behind
// the connector's back (scripting faults, reading the truth, the owner posting
// by hand) goes through Network and Account; everything else goes through
// connectors.Client as it does in the daemon.
//
// Sharing one Network between two connectors.Client values, or between two
// daemons of a test, is meant: the truth is one.
package fake

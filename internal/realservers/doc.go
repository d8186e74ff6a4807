// Package realservers starts the real Bluesky server software on this machine for
// tests: a directory of identities (PLC), a personal data server (PDS) and an
// AppView, with PostgreSQL and Redis behind them. Everything listens on 127.0.0.1
// and is gone when the test ends.
//
// The daemon under test reaches the PDS only over a Wire, on which a test can
// hold or cut an answer after the server has acted. The test itself looks behind
// the wire, at what the server really has. Approve signs in on the PDS's own pages
// in place of a person.
//
// Nothing in here uses smi's own connectors: what they wrote is judged by code
// that shares nothing with them.
//
// Only `make test-real` starts the servers (tests with the build tag real); what
// needs no server is tested by `make test` as well.
package realservers

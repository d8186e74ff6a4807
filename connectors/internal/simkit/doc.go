// Package simkit is what the simulators of networks are made of: scripted
// faults around a handler, a journal of what really happened, a log of the
// requests that came, and ways to serve a handler on loopback or in memory.
//
// A simulator holds the truth. A test asks the journal what became public, not
// the client what it believes.
//
//	kit := simkit.New(simkit.Options{Seed: 1})
//	srv := simkit.Serve(t, kit.Handler(sim))        // loopback, TLS
//	kit.Script.Add(simkit.Fault{Path: "/xrpc/com.atproto.repo.createRecord", Nth: 1, Do: simkit.CutAfter()})
//	… use srv.URL, srv.Dial, srv.RootCAs …
//	if n := kit.Journal.Count("createRecord"); n != 1 { … }
//
// Simulators ship in the program (smi sim, serve --demo), so this package does
// not import testing.
package simkit

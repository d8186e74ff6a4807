// Package model searches every state that the publish protocol can reach: one
// part of one delivery, one or two nodes, a network that is late and forgets to
// answer, people who cancel, edit and decide, and a kill at every step. It is
// the protocol as scheduler and store carry it out, action by action; what an
// outcome means is asked of scheduler.Decide itself, with every situation it
// can be in, so that the two cannot drift apart.
//
// A Setting says which part of the world takes part, a Variant which rule of the
// protocol is left out. The protocol must keep its promises in every state of
// every setting; each variant must break one. Only tests use it.
package model

// Package scheduler publishes what is planned at the planned minute: at most
// once, in order, and never silently late.
//
// A delivery waits in the ledger's due index; no goroutine and no queue entry
// waits for it. One dispatcher sleeps until the earliest due time, claims what
// is due and hands it to a lane: accounts run beside each other, the posts of
// one account one after the other.
//
// The life of one part, which this package and nothing else walks through:
//
//	prepare   up to fifteen minutes early: uploads, containers, the final bytes.
//	          Repeatable, invisible, saved after each step.
//	dial      a connection of its own, shortly before the minute.
//	arm       one durable transaction writes the attempt down and checks every
//	          gate: cancelled, edited, paused, budgets, the same text already
//	          there. A unique index allows one open attempt.
//	write     once. The transport cannot send twice, and refuses after SendBy.
//	record    the outcome, as Decide judges it.
//
// Whatever is not proven is ambiguous: it may have happened. Then the network
// is asked (Finder) on a schedule, and if that settles nothing, a person is.
// The scheduler never sends an unkeyed commit a second time by itself.
//
// A process that dies in the middle leaves a row that says how far it came. Who
// claims the row next goes on from there: prepared work continues, an armed
// attempt becomes ambiguous and is looked for.
package scheduler

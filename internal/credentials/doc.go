// Package credentials keeps the logins of accounts alive and lends them.
//
// A grant is sealed by internal/keyring before the store sees it, so the
// database holds nothing that can be used. Grants are counted per account: each
// new one is a generation, and the row, the sealed bytes and account.token_gen
// agree on it.
//
// A refresh is not idempotent where a network rotates refresh tokens: a second
// use of an old one kills the login, and an answer that is lost takes the new
// one with it. So:
//
//   - one refresher at a time, over all nodes: a lease in the row, and a
//     compare-and-set on the generation and on the epoch;
//   - the row says "refreshing" durably before the first byte is sent, so that a
//     crash is known to have been in the middle of a refresh;
//   - a new grant is stored before it is used; if it cannot be stored it is kept
//     in memory, used, and stored again and again until that works;
//   - a network that cannot be reached never disconnects an account. Only the
//     network's own word does, said twice, a minute apart;
//   - when an answer was lost, people hear so at once, while the old access
//     token still works; the old refresh token is tried once more as late as
//     that is safe.
//
// The states of a row:
//
//	connected ──due──▶ refreshing ──new grant stored──▶ connected (next generation)
//	refreshing ──nothing was written, 429, refused by a broken app──▶ as it was, later again
//	refreshing ──answer lost, crash──▶ refresh_unknown ──▶ refreshing …
//	refreshing ──refused twice──▶ needs_reconnect ──a person logs in──▶ connected
//	any ──Remove──▶ removed, without secrets
//
// The package has no timer of its own for what is due: a periodic job calls Due
// and Refresh. Only grants that could not be stored are tried again by a
// goroutine.
package credentials

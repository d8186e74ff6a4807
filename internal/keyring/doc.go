// Package keyring seals what must not be readable in a stolen database.
//
// The key is a Tink keyset (AES-256-GCM) that lives outside the data directory:
// whoever has the database, its backup or its write-ahead log has no key, and
// whoever has the key alone has no data. Load reads it from exactly one place
// and refuses one that others could read; Init makes one.
//
// Everything sealed is bound to where it belongs (see Context): a sealed value
// that is copied to another row, another column, another instance or kept from
// an older generation does not open. Each sealed value begins with the id of
// its key, so that a keyset may hold several and values can be sealed again
// under a new one, row by row (see KeyID and Keyring.ID).
//
// Nothing in this package logs, and no error of it holds a part of a key.
package keyring

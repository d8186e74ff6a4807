// Package store is the memory of smi: one SQLite file, written by one
// connection and read by a few. It speaks hand-written SQL that SQLite and
// PostgreSQL both understand; what must differ is in dialect.go.
//
// Every change goes through one writer, which puts the changes that wait at the
// same time into one transaction (see write). A change that was acknowledged
// survives a power cut: the database runs with synchronous=FULL.
//
// Times are stored as UTC milliseconds, 0 for none. Ids are made by smi.
package store

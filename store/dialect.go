package store

import (
	"errors"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is what differs between databases. Everything else is one SQL.
type dialect struct {
	Name       string        // "sqlite"; also the folder of its migrations
	Goose      goose.Dialect // for the migrations' own table
	SkipLocked string        // at the end of a SELECT whose rows will be claimed
	// IsUnique says whether err is a broken unique index or primary key.
	IsUnique func(err error) bool
	// IsRetryable says whether the transaction failed only because of others.
	IsRetryable func(err error) bool
	// IsFull says whether there was no room to write.
	IsFull func(err error) bool
	// IsBroken says whether the storage failed in a way after which what is on
	// the disk is not known: an I/O error, a failed fsync, a damaged file.
	IsBroken func(err error) bool
}

var sqliteDialect = dialect{
	Name:  "sqlite",
	Goose: goose.DialectSQLite3,
	IsUnique: func(err error) bool {
		return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE || sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	},
	IsRetryable: func(err error) bool {
		c := sqliteCode(err) & 0xff
		return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
	},
	IsFull: func(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_FULL },
	IsBroken: func(err error) bool {
		switch sqliteCode(err) & 0xff {
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return true
		}
		return false
	},
}

// sqliteCode returns the extended result code of err, 0 if it is not SQLite's.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

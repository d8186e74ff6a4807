package store

import (
	"io/fs"
	"slices"
	"testing"
)

// TestMigrationsOfBoth: a migration of one database has its counterpart for the
// other, under the same name.
func TestMigrationsOfBoth(t *testing.T) {
	t.Parallel()
	names := map[string][]string{}
	for _, d := range []string{sqliteDialect.Name, postgresDialect.Name} {
		files, err := fs.ReadDir(migrations, "migrations/"+d)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			names[d] = append(names[d], f.Name())
		}
	}
	if a, b := names[sqliteDialect.Name], names[postgresDialect.Name]; len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("the migrations are %v and %v, want the same", a, b)
	}
}

package store_test

import (
	"context"
	"testing"
	"time"

	"smi/internal/pgtest"
	"smi/store"
	"smi/store/storetest"
)

// filled returns the address of a database of its own with our tables in it.
func filled(t testing.TB) string {
	t.Helper()
	return pgtest.Shared(t).Filled(t, "store", func(url string) error {
		s, err := store.Open(context.Background(), store.Options{URL: url})
		if err != nil {
			return err
		}
		return s.Close()
	})
}

// openPostgres returns an empty store on a database of its own.
func openPostgres(t testing.TB) *store.Store {
	t.Helper()
	url := filled(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Connections: 8, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openPostgres)
}

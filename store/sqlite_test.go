package store_test

import (
	"path/filepath"
	"testing"

	"smi/store"
	"smi/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) *store.Store {
		t.Helper()
		s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "smi.db"), BallastBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

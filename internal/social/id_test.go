package social

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestIDsGrow: whatever the clock does, an id is larger than those before it,
// positive, and given once.
func TestIDsGrow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var g IDs
		now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		last := ID(0)
		for range 50 {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "step")))
			id := g.New(now)
			if id <= last {
				t.Fatalf("%d came after %d", id, last)
			}
			last = id
		}
	})
	var g IDs
	if id := g.New(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)); id <= 0 {
		t.Errorf("a clock before 2024 gives the id %d", id)
	}
	if id := g.New(time.Date(2093, 1, 1, 0, 0, 0, 0, time.UTC)); id <= 0 {
		t.Errorf("the year 2093 gives the id %d", id)
	}
}

func TestIDsAtOnce(t *testing.T) {
	t.Parallel()
	var g IDs
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	seen := map[ID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			last := ID(0)
			for range 1000 {
				id := g.New(now)
				if id <= last {
					t.Errorf("%d came after %d", id, last)
					return
				}
				last = id
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 8000 {
		t.Errorf("8000 ids, %d different ones", len(seen))
	}
}

// TestIDText: 13 characters, sorted as the numbers are, there and back, in every
// way an id is written.
func TestIDText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := ID(rapid.Int64Range(1, 1<<63-1).Draw(t, "a"))
		b := ID(rapid.Int64Range(1, 1<<63-1).Draw(t, "b"))
		if len(a.String()) != 13 || (a < b) != (a.String() < b.String()) {
			t.Fatalf("%d and %d are %s and %s", a, b, a, b)
		}
		for _, s := range []string{a.String(), strings.ToUpper(a.String())} {
			if got, err := ParseID(s); err != nil || got != a {
				t.Fatalf("%d as %s came back as %d, %v", a, s, got, err)
			}
		}
		for _, misread := range []string{strings.ReplaceAll(a.String(), "0", "o"), strings.ReplaceAll(a.String(), "1", "l"), strings.ReplaceAll(a.String(), "1", "I")} {
			if got, err := ParseID(misread); err != nil || got != a {
				t.Fatalf("%d misread as %s came back as %d, %v", a, misread, got, err)
			}
		}
		j, err := json.Marshal(map[ID]ID{a: b})
		if err != nil {
			t.Fatal(err)
		}
		var back map[ID]ID
		if err := json.Unmarshal(j, &back); err != nil || back[a] != b {
			t.Fatalf("%s came back as %v, %v", j, back, err)
		}
	})
}

// TestParseID: a text is the id of one number or of none.
func TestParseID(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "0", "0000000000000", "zzzzzzzzzzzzz", "g000000000001", "8000000000000", "000000000000u", "000000000000 ", "00000000000001", "000000000000é", "-000000000001"} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("%q is taken for %d (%s)", bad, id, id)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[0-9a-hjkmnp-tv-z]{13}`).Draw(t, "s")
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Fatalf("%q is the id %d, which is %q", s, id, id)
		}
	})
}

func TestIDZeroAndJSON(t *testing.T) {
	t.Parallel()
	if b, err := json.Marshal(ID(0)); err != nil || string(b) != `""` {
		t.Errorf("the zero id is %s, %v", b, err)
	}
	id := ID(7)
	if err := json.Unmarshal([]byte(`""`), &id); err != nil || id != 0 {
		t.Errorf("the empty text is %d, %v", id, err)
	}
	for _, bad := range []string{`7`, `"7"`, `null7`, `{}`, `"!!!!!!!!!!!!!"`} {
		id := ID(7)
		if err := json.Unmarshal([]byte(bad), &id); err == nil || id != 7 {
			t.Errorf("%s became %d, %v", bad, id, err)
		}
	}
}

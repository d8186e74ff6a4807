package social

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ID names a row of ours. It is a positive 63-bit number: 41 bits of
// milliseconds since 2024-01-01 and 22 random bits, so ids sort by age, need no
// database to be made, and cannot be guessed one from the next. The zero ID is
// no id. In JSON and for people an ID is 13 characters of base32 (JavaScript
// cannot hold 63 bits).
type ID int64

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's, no i l o u

var idEpoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// IDs makes new IDs. The zero value is ready; it is safe for concurrent use.
type IDs struct {
	mu   sync.Mutex
	last int64
}

// New returns an ID that is larger than every ID this generator returned before.
func (g *IDs) New(now time.Time) ID {
	var b [4]byte
	rand.Read(b[:])                       //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
	ms := max(now.UnixMilli()-idEpoch, 1) // a clock before 2024 is wrong, but ids stay positive and growing
	n := ms<<22 | int64(binary.LittleEndian.Uint32(b[:])&(1<<22-1))
	g.mu.Lock()
	defer g.mu.Unlock()
	if n <= g.last {
		n = g.last + 1 + n&0xff
	}
	g.last = n
	return ID(n)
}

// String is the form people and programs outside see. The zero ID is "".
func (id ID) String() string {
	if id == 0 {
		return ""
	}
	var b [13]byte
	n := uint64(id)
	for i := 12; i >= 0; i-- {
		b[i] = idAlphabet[n&31]
		n >>= 5
	}
	return string(b[:])
}

// ParseID reads the form String writes. It forgives upper case and the letters
// that are easily misread (o for 0, i and l for 1).
func ParseID(s string) (ID, error) {
	if len(s) != 13 {
		return 0, fmt.Errorf("%q is not an id: an id has 13 characters", s)
	}
	var n uint64
	for at, c := range strings.ToLower(s) {
		switch c {
		case 'o':
			c = '0'
		case 'i', 'l':
			c = '1'
		}
		i := strings.IndexRune(idAlphabet, c)
		if i < 0 {
			return 0, fmt.Errorf("%q is not an id: it has the character %q", s, c)
		}
		if at == 0 && i > 7 { // 13 characters have room for 65 bits, an id has 63
			return 0, fmt.Errorf("%q is not an id: it begins with %q", s, c)
		}
		n = n<<5 | uint64(i)
	}
	if n == 0 || n > 1<<63-1 {
		return 0, fmt.Errorf("%q is not an id", s)
	}
	return ID(n), nil
}

// MarshalJSON writes the 13 characters.
func (id ID) MarshalJSON() ([]byte, error) { return json.Marshal(id.String()) }

// UnmarshalJSON reads the 13 characters, or "" for the zero ID.
func (id *ID) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("an id is a string of 13 characters: %w", err)
	}
	return id.UnmarshalText([]byte(s))
}

// MarshalText writes the 13 characters.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the 13 characters, or "" for the zero ID.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = 0
		return nil
	}
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyring seals and opens. It is safe for concurrent use, and printing it shows
// the id of its primary key and nothing else.
type Keyring struct {
	aead    tink.AEAD
	primary string // id of the primary key
	root    []byte // the primary key's bytes, for Subkey
	source  string // where it was read from, for messages
	warning string
}

// Context says where a sealed value belongs. All of it is bound into the value:
// Open with any other Context fails.
type Context struct {
	Instance   string // id of the installation
	Table      string
	Row        string // primary key of the row
	Column     string
	Generation int64 // grows with each new value of the same row
}

// bytes is the associated data. Every field is preceded by its length, so that
// no two Contexts give the same bytes.
func (c Context) bytes() []byte {
	var b []byte
	for _, s := range []string{"smi sealed 1", c.Instance, c.Table, c.Row, c.Column} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(c.Generation))
}

// ErrOpen is returned by Open. It does not say which of its reasons it was,
// because the cipher does not know.
var ErrOpen = errors.New("the sealed value does not open: it was sealed with another key, belongs to another row, or was changed")

// Seal encrypts a value with the primary key for the place c. Two calls with
// the same value give different bytes.
func (k *Keyring) Seal(c Context, plain []byte) ([]byte, error) {
	if c.Instance == "" || c.Table == "" || c.Row == "" || c.Column == "" {
		return nil, fmt.Errorf("sealing a value needs instance, table, row and column; got %q, %q, %q, %q", c.Instance, c.Table, c.Row, c.Column)
	}
	sealed, err := k.aead.Encrypt(plain, c.bytes())
	if err != nil {
		return nil, errors.New("sealing a value failed in the cipher")
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same place. It returns ErrOpen if it
// cannot.
func (k *Keyring) Open(c Context, sealed []byte) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, c.bytes())
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// ID is the id of the primary key, with which Seal works. It is not secret and
// is kept beside each sealed value.
func (k *Keyring) ID() string { return k.primary }

// KeyID reads the id of the key a value was sealed with from its first bytes,
// "" if it was not sealed by a Keyring.
func KeyID(sealed []byte) string {
	if len(sealed) < 5 || sealed[0] != 1 { // Tink's own prefix: 1, then the id
		return ""
	}
	return keyID(binary.BigEndian.Uint32(sealed[1:5]))
}

func keyID(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// Source says where the key was read from: a path, or the name of the
// environment variable.
func (k *Keyring) Source() string { return k.source }

// Warning is one sentence if the place of the key is allowed but unwise, ""
// otherwise. The caller logs it.
func (k *Keyring) Warning() string { return k.warning }

// Subkey derives 32 bytes for one purpose ("sessions", "oauth state"). A value
// made with the subkey of one label is worthless under every other. Subkeys
// change when another key becomes the primary one: use them for what may be
// lost then, and Seal for what may not.
func (k *Keyring) Subkey(label string) []byte {
	b, err := hkdf.Key(sha256.New, k.root, nil, "smi subkey 1\x00"+label, 32)
	if err != nil { // only for more than 8160 bytes
		panic(err)
	}
	return b
}

// Fingerprint recognises the primary key without giving anything of it away:
// 16 hex digits, the same on every node that has the key.
func (k *Keyring) Fingerprint() string { return hex.EncodeToString(k.Subkey("fingerprint")[:8]) }

// parse makes a Keyring of a keyset in JSON. The cause of a failure is left out
// of the error: parsers quote what they could not read.
func parse(b []byte, source string) (*Keyring, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fmt.Errorf("the key in %s is empty; make one with: smi keys init", source)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("the key in %s cannot be understood: it must be a keyset as written by: smi keys init", source)
	}
	k := &Keyring{source: source}
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("the key in %s cannot be understood: it must be a keyset as written by: smi keys init", source)
		}
		key, ok := e.Key().(*aesgcm.Key)
		if !ok {
			return nil, fmt.Errorf("the key in %s has a key (id %d) of another kind; only AES-256-GCM is used", source, e.KeyID())
		}
		p, ok := key.Parameters().(*aesgcm.Parameters)
		if !ok || p.KeySizeInBytes() != 32 || p.Variant() != aesgcm.VariantTink {
			return nil, fmt.Errorf("the key in %s has a key (id %d) of another kind; only AES-256-GCM with Tink's prefix is used", source, e.KeyID())
		}
		raw := key.KeyBytes().Data(insecuresecretdataaccess.Token{})
		if weak(raw) {
			return nil, fmt.Errorf("the key in %s (id %d) is not random; make one with: smi keys init", source, e.KeyID())
		}
		if e.IsPrimary() {
			k.root, k.primary = raw, keyID(e.KeyID())
		}
	}
	if k.primary == "" {
		return nil, fmt.Errorf("the key in %s has no primary key; make one with: smi keys init", source)
	}
	if k.aead, err = aead.New(h); err != nil {
		return nil, fmt.Errorf("the key in %s cannot be used: it must be a keyset as written by: smi keys init", source)
	}
	return k, nil
}

// weak recognises keys somebody typed or zeroed: 32 random bytes have fewer
// than 16 different values less than once in 10^15.
func weak(key []byte) bool {
	seen := map[byte]bool{}
	for _, b := range key {
		seen[b] = true
	}
	return len(seen) < 16
}

// String, GoString, Format, LogValue, MarshalText and MarshalJSON all show the
// id of the primary key only.
func (k *Keyring) String() string { return "keyring with primary key " + k.primary }

// GoString hides the keys from %#v.
func (k *Keyring) GoString() string { return k.String() }

// Format hides the keys from every verb; without it %+v would print the fields.
func (k *Keyring) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue hides the keys from slog.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText hides the keys from encoders.
func (k *Keyring) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

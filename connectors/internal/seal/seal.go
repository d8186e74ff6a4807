// Package seal hides addresses that need no login (of an upload, of a session)
// in the state that a connector keeps. The key is made from a secret that lies
// elsewhere: a copy of the database alone does not open them, and after the
// secret has changed they are unreadable, so that an upload begins again.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"smi/internal/social"
)

// Box seals and opens. Make it with New.
type Box struct{ aead cipher.AEAD }

// New returns the box of a secret, for one purpose: boxes of other purposes
// cannot open what it sealed. An empty secret hides nothing.
func New(secret social.Secret, purpose string) (Box, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, purpose, 32)
	if err != nil {
		return Box{}, fmt.Errorf("making a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return Box{}, fmt.Errorf("making a key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return Box{aead}, err
}

// Seal returns the sealed text.
func (b Box) Seal(text string) string {
	nonce := make([]byte, b.aead.NonceSize())
	rand.Read(nonce) //nolint:errcheck // never fails
	return base64.RawURLEncoding.EncodeToString(b.aead.Seal(nonce, nonce, []byte(text), nil))
}

// Open returns what was sealed; false if it cannot be read any more.
func (b Box) Open(sealed string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < b.aead.NonceSize() {
		return "", false
	}
	n := b.aead.NonceSize()
	plain, err := b.aead.Open(nil, raw[:n], raw[n:], nil)
	return string(plain), err == nil
}

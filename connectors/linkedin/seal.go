package linkedin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// The address to which a piece of a video goes lets whoever has it write there,
// without a login. It is kept encrypted with a key made from the app's secret,
// which is in no database: a copy of the database alone does not open it, and
// after the secret was changed an upload begins again.

func (c *Config) box() (cipher.AEAD, error) {
	if c.ClientSecret.Empty() {
		return nil, errors.New("linkedin.client_secret is not set")
	}
	key, err := hkdf.Key(sha256.New, []byte(c.ClientSecret.Reveal()), nil, "smi linkedin upload address", 32)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return cipher.NewGCM(block)
}

func (c *Config) seal(address string) (string, error) {
	box, err := c.box()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, box.NonceSize())
	rand.Read(nonce) //nolint:errcheck // never fails
	return base64.RawURLEncoding.EncodeToString(box.Seal(nonce, nonce, []byte(address), nil)), nil
}

// unseal returns an address; false if it cannot be read any more.
func (c *Config) unseal(sealed string) (string, bool) {
	box, err := c.box()
	if err != nil {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < box.NonceSize() {
		return "", false
	}
	plain, err := box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], nil)
	return string(plain), err == nil
}

package keyring

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
)

// Meta is where the check value is kept: the table of single values in the
// database.
type Meta interface {
	// Meta returns a value, "" if there is none.
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
}

// metaCheck is the key of the check value. The value is the id of the key, a
// colon, and checkText sealed.
const (
	metaCheck = "keyring_check"
	checkText = "this database belongs to this key"
)

// Check makes sure at start that the key is the one the data of this instance
// was sealed with, before anything is opened or sealed. The first time it
// leaves a sealed value for the later ones.
func (k *Keyring) Check(ctx context.Context, m Meta, instance string) error {
	at := Context{Instance: instance, Table: "meta", Row: metaCheck, Column: "value"}
	v, err := m.Meta(ctx, metaCheck)
	if err != nil {
		return fmt.Errorf("reading the check value of the key: %w", err)
	}
	if v == "" {
		sealed, err := k.Seal(at, []byte(checkText))
		if err != nil {
			return err
		}
		if err := m.SetMeta(ctx, metaCheck, k.primary+":"+base64.StdEncoding.EncodeToString(sealed)); err != nil {
			return fmt.Errorf("storing the check value of the key: %w", err)
		}
		return nil
	}
	id, b64, _ := strings.Cut(v, ":")
	sealed, err := base64.StdEncoding.DecodeString(b64)
	if err == nil {
		var plain []byte
		if plain, err = k.Open(at, sealed); err == nil && string(plain) == checkText {
			return nil
		}
	}
	return fmt.Errorf("the key in %s (key id %s) is not the one this data was sealed with (key id %s); put the right key file in its place, without it the connected accounts cannot be used", k.source, k.primary, id)
}

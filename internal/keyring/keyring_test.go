package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

var here = Context{Instance: "i1", Table: "grant_row", Row: "r1", Column: "sealed", Generation: 3}

func newKey(t *testing.T) *Keyring {
	t.Helper()
	k, err := Init(filepath.Join(t.TempDir(), "keys", "smi.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedValuesOpenOnlyWhereTheyBelong(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	sealed, err := k.Seal(here, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Open(here, sealed); err != nil || string(got) != "secret" {
		t.Fatalf("Open = %q, %v", got, err)
	}
	again, _ := k.Seal(here, []byte("secret"))
	if bytes.Equal(sealed, again) {
		t.Error("two seals of one value are equal")
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the sealed bytes hold the value")
	}
	if KeyID(sealed) != k.ID() || k.ID() == "" {
		t.Errorf("key id of the sealed value %q, of the keyring %q", KeyID(sealed), k.ID())
	}
	for name, c := range map[string]Context{
		"other instance":   {"i2", "grant_row", "r1", "sealed", 3},
		"other table":      {"i1", "other", "r1", "sealed", 3},
		"other row":        {"i1", "grant_row", "r2", "sealed", 3},
		"other column":     {"i1", "grant_row", "r1", "prev", 3},
		"older generation": {"i1", "grant_row", "r1", "sealed", 2},
		"shifted borders":  {"i1g", "rant_row", "r1", "sealed", 3},
		"shifted borders2": {"i1", "grant_rowr", "1", "sealed", 3},
	} {
		if got, err := k.Open(c, sealed); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: opened as %q, %v", name, got, err)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := k.Open(here, changed); !errors.Is(err, ErrOpen) {
			t.Fatalf("opened with byte %d changed: %v", i, err)
		}
	}
	if _, err := newKey(t).Open(here, sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("another key opened it: %v", err)
	}
	if _, err := k.Seal(Context{Table: "t", Row: "r", Column: "c"}, nil); err == nil {
		t.Error("sealed without an instance")
	}
}

func TestSubkeysAreDifferent(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	seen := map[string]string{}
	for _, label := range []string{"", "sessions", "csrf", "oauth state", "invites", "webhook signatures", "audit", "backups", "fingerprint"} {
		sub := k.Subkey(label)
		if len(sub) != 32 || !bytes.Equal(sub, k.Subkey(label)) {
			t.Errorf("%q: %d bytes, or not the same twice", label, len(sub))
		}
		if bytes.Equal(sub, k.root) {
			t.Errorf("%q is the key itself", label)
		}
		for _, s := range [][]byte{sub, other.Subkey(label)} {
			if was, ok := seen[string(s)]; ok {
				t.Errorf("the subkeys of %q and %q are equal", label, was)
			}
			seen[string(s)] = label
		}
	}
	if k.Fingerprint() == other.Fingerprint() || len(k.Fingerprint()) != 16 {
		t.Errorf("fingerprints %q and %q", k.Fingerprint(), other.Fingerprint())
	}
}

// TestSeveralKeys: a keyset with a new primary key still opens what the old one
// sealed, and the old one alone does not open what the new one sealed.
func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	m := keyset.NewManager()
	id1, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetPrimary(id1); err != nil {
		t.Fatal(err)
	}
	load := func() *Keyring {
		h, err := m.Handle()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
			t.Fatal(err)
		}
		k, err := parse(b.Bytes(), "test")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	old := load()
	before, _ := old.Seal(here, []byte("x"))
	id2, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetPrimary(id2); err != nil {
		t.Fatal(err)
	}
	both := load()
	after, _ := both.Seal(here, []byte("y"))
	if KeyID(before) != fmt.Sprint(id1) || KeyID(after) != fmt.Sprint(id2) || both.ID() != fmt.Sprint(id2) {
		t.Errorf("key ids %s and %s, primary %s; want %d and %d", KeyID(before), KeyID(after), both.ID(), id1, id2)
	}
	if got, err := both.Open(here, before); err != nil || string(got) != "x" {
		t.Errorf("the old value: %q, %v", got, err)
	}
	if _, err := old.Open(here, after); !errors.Is(err, ErrOpen) {
		t.Errorf("the old keyset opened the new value: %v", err)
	}
	if got := KeyID([]byte("no")); got != "" {
		t.Errorf("KeyID of nonsense = %q", got)
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	raw := fmt.Sprint(k.root)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "k", k, "wrapped", struct{ K *Keyring }{k})
	js, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := struct{ k *Keyring }{k}
	for _, s := range []string{
		fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %q %x %d", k, k, k, k, k, k, k), fmt.Sprintf("%+v", wrapped), log.String(), string(js),
		fmt.Sprintf("%v", []*Keyring{k}),
	} {
		if strings.Contains(s, raw) || strings.Contains(s, string(k.root)) || strings.Contains(s, fmt.Sprintf("%x", k.root)) ||
			strings.Contains(s, base64.StdEncoding.EncodeToString(k.root)) || strings.Contains(s, raw[1:40]) {
			t.Errorf("the key is in %q", s)
		}
	}
	if got := fmt.Sprintf("%+v", k); got != "keyring with primary key "+k.ID() {
		t.Errorf("%%+v = %q", got)
	}
}

// meta is a table meta in memory.
type meta map[string]string

func (m meta) Meta(_ context.Context, key string) (string, error) { return m[key], nil }
func (m meta) SetMeta(_ context.Context, key, value string) error { m[key] = value; return nil }

func TestAnotherKeyIsRecognised(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	right, err := Init(filepath.Join(dir, "right"), "")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := Init(filepath.Join(dir, "wrong"), "")
	if err != nil {
		t.Fatal(err)
	}
	m := meta{}
	for range 2 {
		if err := right.Check(t.Context(), m, "i1"); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(m[metaCheck], right.ID()+":") {
		t.Errorf("the check value does not name its key: %q", m[metaCheck])
	}
	kept := m[metaCheck]
	want := fmt.Sprintf("the key in %s (key id %s) is not the one this data was sealed with (key id %s); put the right key file in its place, without it the connected accounts cannot be used",
		filepath.Join(dir, "wrong"), wrong.ID(), right.ID())
	if err := wrong.Check(t.Context(), m, "i1"); err == nil || err.Error() != want {
		t.Errorf("Check with another key:\n got %v\nwant %s", err, want)
	}
	if m[metaCheck] != kept {
		t.Error("a wrong key replaced the check value")
	}
	if err := right.Check(t.Context(), m, "i2"); err == nil {
		t.Error("the check value of another instance was accepted")
	}
	if err := right.Check(t.Context(), meta{metaCheck: "garbage"}, "i1"); err == nil {
		t.Error("a garbled check value was accepted")
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "etc", "smi", "key.json")
	k, err := Init(path, filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Join(dir, "etc"): 0o700} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", p, st.Mode(), err, want)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(path, ""); err == nil || err.Error() != path+" exists already and is left as it is: what was sealed with a key is lost without it" {
		t.Errorf("a second Init: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a second Init changed the key")
	}
	loaded, err := Load(Options{File: path, DataDir: filepath.Join(dir, "data"), Getenv: noEnv})
	if err != nil {
		t.Fatal(err)
	}
	if loaded.ID() != k.ID() || loaded.Fingerprint() != k.Fingerprint() || loaded.Source() != path || loaded.Warning() != "" {
		t.Errorf("loaded %v from %q with warning %q, made %v", loaded, loaded.Source(), loaded.Warning(), k)
	}
	data := filepath.Join(dir, "data")
	if _, err := Init(filepath.Join(data, "sub", "k"), data); err == nil || !strings.Contains(err.Error(), "would be inside "+data) {
		t.Errorf("Init inside the data directory: %v", err)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the refused Init made a folder")
	}
	if _, err := Init("", ""); err == nil {
		t.Error("Init without a path")
	}
}

func noEnv(string) string { return "" }

func TestLoadSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	creds := filepath.Join(dir, "creds")
	file := filepath.Join(dir, "key")
	made, err := Init(file, "")
	if err != nil {
		t.Fatal(err)
	}
	cred, err := Init(filepath.Join(creds, CredentialName), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(creds, CredentialName), 0o440); err != nil { // as systemd's ACL shows
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := base64.StdEncoding.EncodeToString(b)
	for _, c := range []struct {
		name, file, creds, env string
		id                     string
		warning, err           string
	}{
		{name: "file", file: file, id: made.ID()},
		{name: "credential", creds: creds, id: cred.ID()},
		{name: "credentials directory without ours", file: file, creds: dir, id: made.ID()},
		{
			name: "environment", env: env, id: made.ID(),
			warning: "the key is in the environment variable SMI_KEK, which child processes inherit and other programs of the same user can read; better put it into a file",
		},
		{name: "none", err: "there is no key: make one with: smi keys init FILE (outside the data directory), and name the file in the configuration"},
		{name: "file and credential", file: file, creds: creds, err: "the key is given 2 times, by the file " + file + " and the credential " + creds + "/smi-kek; leave one of them"},
		{name: "file and environment", file: file, env: env, err: "the key is given 2 times, by the file " + file + " and the environment variable SMI_KEK; leave one of them"},
		{name: "all", file: file, creds: creds, env: env, err: "the key is given 3 times, by the file " + file + " and the credential " + creds + "/smi-kek and the environment variable SMI_KEK; leave one of them"},
		{name: "environment that is no base64", env: "%%%", err: "the key in SMI_KEK cannot be understood: it must be the base64 of a keyset file as written by: smi keys init"},
		{name: "environment that is no keyset", env: "aGVsbG8=", err: "the key in SMI_KEK cannot be understood: it must be a keyset as written by: smi keys init"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			vars := map[string]string{"CREDENTIALS_DIRECTORY": c.creds, EnvName: c.env}
			k, err := Load(Options{File: c.file, DataDir: filepath.Join(dir, "data"), Getenv: func(n string) string { return vars[n] }})
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got %v\nwant %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.ID() != c.id || k.Warning() != c.warning {
				t.Errorf("key %s with warning %q; want %s, %q", k.ID(), k.Warning(), c.id, c.warning)
			}
		})
	}
}

func TestLoadRefusesBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, backups := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	good := filepath.Join(dir, "good")
	if _, err := Init(good, ""); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, b []byte, mode os.FileMode) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	weakKey := func() []byte {
		h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		if err != nil {
			t.Fatal(err)
		}
		ks := insecurecleartextkeyset.KeysetMaterial(h)
		ks.Key[0].KeyData.Value = append([]byte{0x1a, 32}, make([]byte, 32)...)
		var b bytes.Buffer
		if err := keyset.NewJSONWriter(&b).Write(ks); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}()
	otherKind := func() []byte {
		h, err := keyset.NewHandle(aead.ChaCha20Poly1305KeyTemplate())
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}()
	if err := os.Symlink(data, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	inData := put(filepath.Join(data, "sub", "key"), key, 0o600)
	inBackups := put(filepath.Join(backups, "key"), key, 0o600)
	for _, c := range []struct{ name, file, err string }{
		{"missing", missing, "there is no key in " + missing + "; if this is a new installation make one with: smi keys init " + missing},
		{"in the data directory", inData, "the key " + inData + " is inside " + data + ", where a stolen copy or a backup would contain it; move it elsewhere"},
		{"in the data directory by a link", filepath.Join(dir, "link", "sub", "key"), "the key " + filepath.Join(dir, "link", "sub", "key") + " is inside " + data + ", where a stolen copy or a backup would contain it; move it elsewhere"},
		{"in the backups", inBackups, "the key " + inBackups + " is inside " + backups + ", where a stolen copy or a backup would contain it; move it elsewhere"},
		{"readable by all", put(filepath.Join(dir, "m644"), key, 0o644), "the key " + dir + "/m644 can be read or changed by others (mode 0644); run: chmod 600 " + dir + "/m644"},
		{"readable by the group", put(filepath.Join(dir, "m640"), key, 0o640), "the key " + dir + "/m640 can be read or changed by others (mode 0640); run: chmod 600 " + dir + "/m640"},
		{"writable by others", put(filepath.Join(dir, "m602"), key, 0o602), "the key " + dir + "/m602 can be read or changed by others (mode 0602); run: chmod 600 " + dir + "/m602"},
		{"empty", put(filepath.Join(dir, "empty"), []byte("\n"), 0o600), "the key in " + dir + "/empty is empty; make one with: smi keys init"},
		{"garbage", put(filepath.Join(dir, "garbage"), []byte("SECRETGARBAGE"), 0o600), "the key in " + dir + "/garbage cannot be understood: it must be a keyset as written by: smi keys init"},
		{"half a file", put(filepath.Join(dir, "half"), key[:len(key)/2], 0o600), "the key in " + dir + "/half cannot be understood: it must be a keyset as written by: smi keys init"},
		{"a folder", backups, "the key " + backups + " is inside " + backups + ", where a stolen copy or a backup would contain it; move it elsewhere"},
		{"another folder", t.TempDir(), " is not a file"},
		{"another kind of key", put(filepath.Join(dir, "kind"), otherKind, 0o600), "has a key (id "},
		{"zeros", put(filepath.Join(dir, "zeros"), weakKey, 0o600), "is not random; make one with: smi keys init"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(Options{File: c.file, DataDir: data, NotIn: []string{backups}, Getenv: noEnv})
			if err == nil || err.Error() != c.err && !(strings.HasPrefix(c.err, " is") || strings.HasPrefix(c.err, "is") || strings.HasPrefix(c.err, "has")) || !strings.Contains(err.Error(), c.err) {
				t.Fatalf("got  %v\nwant %s", err, c.err)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Error("the message quotes the file")
			}
		})
	}
}

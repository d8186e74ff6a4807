package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// The places a key may be in besides the file of the configuration.
const (
	CredentialName = "smi-kek" // in $CREDENTIALS_DIRECTORY, see systemd.exec(5), LoadCredential=
	EnvName        = "SMI_KEK" // the keyset in base64
)

// maxKeyset is far more than a keyset of a hundred keys.
const maxKeyset = 1 << 20

// Options says where to look for the key.
type Options struct {
	File    string                  // path from the configuration or the command line; "" if none was given
	DataDir string                  // the key may not be below it
	NotIn   []string                // further directories the key may not be below (backups)
	Getenv  func(key string) string // os.Getenv if nil
}

// Load reads the key from the one place that has one. Two places are refused,
// because it would be luck which key is used; none is refused with the way to
// make one. Every error is one sentence for the admin.
func Load(o Options) (*Keyring, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	cred := ""
	if dir := getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		p := filepath.Join(dir, CredentialName)
		if _, err := os.Lstat(p); err == nil {
			cred = p
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the key %s cannot be read: %w", p, bare(err))
		}
	}
	env := getenv(EnvName)
	var found []string
	for _, s := range []struct{ set, name string }{{o.File, "the file " + o.File}, {cred, "the credential " + cred}, {env, "the environment variable " + EnvName}} {
		if s.set != "" {
			found = append(found, s.name)
		}
	}
	switch {
	case len(found) == 0:
		return nil, errors.New("there is no key: make one with: smi keys init FILE (outside the data directory), and name the file in the configuration")
	case len(found) > 1:
		return nil, fmt.Errorf("the key is given %d times, by %s; leave one of them", len(found), strings.Join(found, " and "))
	case o.File != "":
		return o.readFile(o.File, 0o077)
	case cred != "":
		// systemd lets the service read it by an ACL, which stat shows as a group
		// permission; its directory is closed to all others.
		return o.readFile(cred, 0o027)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(env))
	if err != nil {
		return nil, fmt.Errorf("the key in %s cannot be understood: it must be the base64 of a keyset file as written by: smi keys init", EnvName)
	}
	k, err := parse(b, EnvName)
	if err != nil {
		return nil, err
	}
	k.warning = fmt.Sprintf("the key is in the environment variable %s, which child processes inherit and other programs of the same user can read; better put it into a file", EnvName)
	return k, nil
}

// readFile reads a key from a file none of whose permission bits in deny is set.
func (o Options) readFile(path string, deny fs.FileMode) (*Keyring, error) {
	for _, dir := range append([]string{o.DataDir}, o.NotIn...) {
		if dir != "" && below(path, dir) {
			return nil, fmt.Errorf("the key %s is inside %s, where a stolen copy or a backup would contain it; move it elsewhere", path, dir)
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key in %s; if this is a new installation make one with: smi keys init %s", path, path)
	}
	if err != nil {
		return nil, fmt.Errorf("the key %s cannot be read: %w", path, bare(err))
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the key %s cannot be read: %w", path, bare(err))
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("the key %s is not a file", path)
	}
	if m := st.Mode().Perm(); m&deny != 0 {
		return nil, fmt.Errorf("the key %s can be read or changed by others (mode %04o); run: chmod 600 %s", path, m, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyset))
	if err != nil {
		return nil, fmt.Errorf("the key %s cannot be read: %w", path, bare(err))
	}
	return parse(b, path)
}

// Init makes a new key in path, which must not exist, readable by its owner
// only, and returns it. A folder that has to be made is closed to others too.
// It refuses a path below dataDir ("" for none known).
func Init(path, dataDir string) (*Keyring, error) {
	if path == "" {
		return nil, errors.New("say where the key shall be: smi keys init FILE, outside the data directory")
	}
	if dataDir != "" && below(path, dataDir) {
		return nil, fmt.Errorf("the key %s would be inside %s, where a stolen copy or a backup would contain it; choose another place", path, dataDir)
	}
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, errors.New("making a key failed")
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return nil, errors.New("writing a key down failed")
	}
	b.WriteByte('\n')
	k, err := parse(b.Bytes(), path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s exists already and is left as it is: what was sealed with a key is lost without it", path)
	}
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", path, bare(err))
	}
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(path) //nolint:errcheck // it was never used
		return nil, fmt.Errorf("writing the key %s: %w", path, bare(err))
	}
	return k, nil
}

// syncDir makes a new name in a directory survive a power cut. The key must be
// there as long as anything that was sealed with it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only read
	return d.Sync()
}

// below says whether path is in dir or deeper, after following links. What does
// not exist yet is compared by its nearest folder that does.
func below(path, dir string) bool {
	rel, err := filepath.Rel(resolve(dir), resolve(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func resolve(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		p = abs
	}
	rest := ""
	for at := p; ; at = filepath.Dir(at) {
		if target, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(target, rest)
		}
		if at == filepath.Dir(at) {
			return p
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// bare takes the path out of a file error; the sentence around it has it.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

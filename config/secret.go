package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"smi/internal/social"
)

// Secret is a value that must not be seen. It prints as [redacted].
type Secret = social.Secret

// maxSecret is the size in bytes of the largest secret file.
const maxSecret = 64 << 10

// secret reads a secret from where the file says it is. Messages do not repeat
// what stands there: it may be the secret itself, pasted into the wrong place.
func (d *decoder) secret(e entry, v reflect.Value, path string, f field) {
	full := join(path, e.name)
	n := resolve(e.value)
	if !d.spend(n) || !d.tagged(n, full) {
		return
	}
	asFile := e.name == f.key+"_file"
	if n.Kind != yaml.ScalarNode || n.Tag == "!!bool" || strings.TrimSpace(n.Value) == "" {
		if asFile {
			d.fail(at(n), full, "expected the path of a file that holds the secret, such as /etc/smi/secret")
		} else {
			d.fail(at(n), full, "expected the name of an environment variable that holds the secret, such as SMI_SECRET")
		}
		return
	}
	var value string
	var err error
	if asFile {
		value, err = d.secretFile(n.Value)
	} else {
		value, err = d.secretEnv(n.Value)
	}
	if err != nil {
		d.fail(at(n), full, "%s", err)
		return
	}
	v.Set(reflect.ValueOf(social.NewSecret(value)))
	d.sources[join(path, f.key)] = e.name + ": " + yamlText(n.Value)
}

func (d *decoder) secretEnv(name string) (string, error) {
	if !envName.MatchString(name) {
		return "", errors.New("expected the name of an environment variable (letters, digits and _), not the secret itself")
	}
	value, ok := d.getenv(name)
	switch {
	case !ok:
		return "", errors.New("the environment variable named here is not set; set it where smi is started")
	case strings.TrimSpace(value) == "":
		return "", errors.New("the environment variable named here is empty; set it where smi is started")
	}
	return value, nil
}

// secretFile reads a file that must be there, small, and closed to the other
// users of the machine. The folders where container engines put secrets are
// exempt from the last: their modes are the engine's.
func (d *decoder) secretFile(name string) (string, error) {
	path, err := d.path(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errors.New("the file named here does not exist; make it, with the secret inside and readable for smi only (chmod 600)")
	case errors.Is(err, fs.ErrPermission):
		return "", errors.New("the file named here cannot be read; make it readable for the user that runs smi")
	case err != nil:
		return "", errors.New("the file named here cannot be read; give the path of a file that holds the secret")
	case !info.Mode().IsRegular():
		return "", errors.New("what is named here is not a file; give the path of a file that holds the secret")
	case info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" && !mounted(path):
		return "", fmt.Errorf("every user of this machine can open %s; run chmod 600 on it", quotedPath(path))
	case info.Size() > maxSecret:
		return "", errors.New("the file named here is larger than 64KiB; that is no secret")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", errors.New("the file named here cannot be read; make it readable for the user that runs smi")
	}
	defer f.Close() //nolint:errcheck // only read
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", errors.New("reading the file named here failed; look at its disk")
	}
	value := strings.TrimRight(string(raw), "\r\n")
	switch {
	case strings.TrimSpace(value) == "":
		return "", errors.New("the file named here is empty; write the secret into it")
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "", errors.New("the file named here is not text; write the secret into it and nothing else")
	}
	return value, nil
}

// mounted says whether a container engine put a file there.
func mounted(path string) bool {
	return strings.HasPrefix(path, "/run/secrets/") || strings.HasPrefix(path, "/var/run/secrets/")
}

func quotedPath(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		return "the file named here"
	}
	return path
}

// path makes a path absolute: ~ is the home directory, and a relative one
// starts where the configuration file is.
func (d *decoder) path(name string) (string, error) {
	if name == "~" || strings.HasPrefix(name, "~/") {
		home, ok := d.getenv("HOME")
		if !ok || home == "" {
			return "", errors.New("~ stands for $HOME, which is not set; write the whole path")
		}
		return filepath.Join(home, strings.TrimPrefix(name, "~")), nil
	}
	if strings.HasPrefix(name, "~") {
		return "", errors.New("only ~/ is known, not the home of another user; write the whole path")
	}
	if strings.ContainsRune(name, '$') {
		return "", errors.New("variables are not replaced in paths; write the whole path")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(d.dir, name)
	}
	return filepath.Clean(name), nil
}

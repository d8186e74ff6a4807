package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is the name of the mark beside the database.
const FileName = "smi.mark"

// resolved is a folder without links, as it is told apart from others.
func resolved(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return dir
}

// ReadFile reads the mark in a file.
func ReadFile(path string) Found {
	f := Found{Path: path}
	b, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Missing = true
	case err != nil:
		f.Err = err
	default:
		if err := json.Unmarshal(b, &f.Mark); err != nil {
			f.Err = fmt.Errorf("reading the mark in %s: %w", path, err)
		}
	}
	return f
}

// WriteFile writes a mark into a file, whole or not at all, and onto the disk.
func WriteFile(path string, m Mark) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the mark: %w", err)
		}
	}()
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // named by the configuration
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // nothing was written
	return dir.Sync()
}

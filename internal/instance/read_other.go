//go:build !linux

package instance

// Read reads the facts of this machine. Here only the name and the data folder
// are known.
func Read(name, dir, _ string) (Facts, string) {
	return Facts{Name: name, Path: resolved(dir)}, ""
}

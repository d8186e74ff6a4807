// Command gen writes the files that are made from the settings' declarations:
// config.example.yaml, docs/configuration.md and docs/config.schema.json. It is
// run in the top folder: go run ./config/gen.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"smi/config"
	"smi/connectors"
	"smi/connectors/all"
)

// networks are those whose settings are in the files.
func networks() *connectors.Registry { return all.Registry() }

// files are the made files by path from the top folder.
func files() map[string][]byte {
	r := networks()
	return map[string][]byte{
		"config.example.yaml":     config.Example(r),
		"docs/configuration.md":   config.Docs(r),
		"docs/config.schema.json": config.Schema(r),
	}
}

func main() {
	for path, data := range files() {
		if err := write(path, data); err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

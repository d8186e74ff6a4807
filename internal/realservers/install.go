package realservers

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"smi/internal/pgtest"
)

// What is installed and started. package-lock.json pins every package by its
// hash and names no address: npm asks the registry it is set up with.
var (
	//go:embed node/package.json
	packageJSON []byte
	//go:embed node/package-lock.json
	packageLock []byte
	//go:embed node/.npmrc
	npmrc []byte
	//go:embed node/loopback.cjs
	loopbackJS []byte
	//go:embed node/network.cjs
	networkJS []byte
)

// installNode returns a folder that holds the Node packages of the servers and
// our scripts: 360 MiB, in two to four minutes.
func installNode(ctx context.Context, logf func(string, ...any)) (string, error) {
	return InstallNPM(ctx, logf, "smi-realservers", packageJSON, packageLock, map[string][]byte{"loopback.cjs": loopbackJS, "network.cjs": networkJS})
}

// InstallNPM returns a folder that holds the Node packages of a package.json and
// its lock, and scripts beside them. The packages are installed once for each
// version of the lock, under $SMI_REALSERVERS_CACHE, or else under name in the
// user's cache.
func InstallNPM(ctx context.Context, logf func(string, ...any), name string, manifest, lock []byte, scripts map[string][]byte) (string, error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is missing; install Node.js 20 or newer with npm", tool)
		}
	}
	base := os.Getenv("SMI_REALSERVERS_CACHE")
	if base == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("looking for a cache folder; set SMI_REALSERVERS_CACHE: %w", err)
		}
		base = filepath.Join(cache, name)
	}
	sum := sha256.Sum256(slices.Concat(manifest, lock, npmrc))
	dir := filepath.Join(base, hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	unlock, err := pgtest.LockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	files := map[string][]byte{"package.json": manifest, "package-lock.json": lock, ".npmrc": npmrc}
	maps.Copy(files, scripts)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	logf("installing Node packages into %s (a few minutes, once)", dir)
	// The scripts that packages run when installed build better-sqlite3 with the
	// C compiler where no built one can be had.
	cmd := exec.CommandContext(ctx, "npm", "ci", "--foreground-scripts")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), nodeHeaders(ctx)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("installing Node packages: %w\n%s", err, tail(out, 60))
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		return "", fmt.Errorf("noting that the packages are installed: %w", err)
	}
	return dir, nil
}

// nodeHeaders tells node-gyp to take the headers that came with Node, where
// they did, rather than to fetch them.
func nodeHeaders(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "node", "-p", "process.execPath").Output()
	if err != nil {
		return nil
	}
	exe, err := filepath.EvalSymlinks(strings.TrimSpace(string(out)))
	if err != nil {
		return nil
	}
	prefix := filepath.Dir(filepath.Dir(exe))
	if _, err := os.Stat(filepath.Join(prefix, "include", "node", "node.h")); err != nil {
		return nil
	}
	return []string{"npm_config_nodedir=" + prefix, "npm_package_config_node_gyp_nodedir=" + prefix}
}

// tail returns the last n lines.
func tail(text []byte, n int) string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

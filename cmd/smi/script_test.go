package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"smi/internal/httpapi"
	"smi/internal/media/film"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"smi": func() { os.Exit(Main()) }})
}

// TestScripts drives the command as people do, beside a simulated network with
// the accounts alice.test and bob.test. Each script has its own network and its
// own folder, with a configuration and a key in it. Its own words:
//
//	run CODE ARGS…     runs smi and wants that exit code; a refusal must be one sentence
//	up [ARGS…]         starts the daemon and waits until it answers
//	down               stops it as an admin does; kill9 as a power cut does
//	let VAR PATH       takes a value out of the JSON that smi printed last
//	picture FILE W H   draws a PNG
//	browse URL         opens an address as a browser would and prints the page it ends at
//	cut                ends the network: nothing of it can be reached any more
//	posts HANDLE N     wants N posts to be public on the network
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			s, err := startSimulator(context.Background(), "127.0.0.1:0", "alice.test", "bob.test")
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if err := s.serve(ctx); err != nil {
					t.Error(err)
				}
			}()
			cut := func() {
				cancel()
				<-ended
			}
			e.Defer(cut)
			e.Values["sim"], e.Values["cut"] = s, cut
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "xdg"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("SMI_CONFIG", filepath.Join(e.WorkDir, "config.yaml"))
			e.Setenv("LONG", strings.Repeat("too long ", 40))
			e.Setenv("SIM", s.url())
			base := "data_dir: data\nkey_file: key/smi.keyset\nworkspace: {name: Main, zone: Europe/Berlin}\nlog: {level: debug}\n" + s.config()
			e.Setenv("BASE", base)
			return errors.Join(
				os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), []byte(base), 0o600),
				os.WriteFile(filepath.Join(e.WorkDir, "secret"), []byte(simPassword+"\n"), 0o600),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run": scriptSmi, "up": scriptUp, "down": scriptDown, "kill9": scriptKill, "let": scriptLet, "picture": scriptPicture, "film": scriptFilm, "posts": scriptPosts, "base": scriptBase, "browse": scriptBrowse, "cut": scriptCut,
		},
	})
}

// code runs smi and returns its exit code.
func code(ts *testscript.TestScript, args []string) int {
	err := ts.Exec("smi", args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

func scriptSmi(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := code(ts, args[1:])
	if got != want {
		ts.Fatalf("smi %s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
	if got == exitOK {
		return
	}
	last := ""
	for line := range strings.SplitSeq(strings.TrimSpace(ts.ReadFile("stderr")), "\n") {
		last = line
	}
	switch {
	case strings.Contains(last, "goroutine ") || strings.Contains(last, "%!"):
		ts.Fatalf("not a sentence: %s", last)
	case !strings.HasPrefix(last, "smi: ") && !strings.HasPrefix(last, `{"error":`):
		ts.Fatalf("the last line is not smi's sentence: %q", last)
	}
}

// scriptUp starts the daemon in the background and waits until it answers.
func scriptUp(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("smi", append([]string{"serve"}, args...)...)
	cmd.Path, _ = exec.LookPath(filepath.Join(binDir(ts), "smi"))
	cmd.Dir = ts.Getenv("WORK")
	for _, k := range []string{"HOME", "PATH", "TMPDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "SMI_CONFIG", "WORK"} {
		cmd.Env = append(cmd.Env, k+"="+ts.Getenv(k))
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, log: &log, gone: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.gone)
	}()
	processes(ts)["daemon"] = p
	ts.Defer(func() {
		p.end(os.Kill, ts)
		ts.Logf("the daemon's log:\n%s", log.String())
	})
	api := httpapi.NewClient(filepath.Join(ts.Getenv("WORK"), "data", "smi.sock"), "")
	defer api.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := api.Status(ctx); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-p.gone:
			ts.Fatalf("the daemon ended: %v\n%s", p.err, log.String())
		case <-ctx.Done():
			ts.Fatalf("the daemon does not answer:\n%s", log.String())
		}
	}
}

func binDir(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "smi")); err == nil {
			return dir
		}
	}
	ts.Fatalf("smi is not in the script's path")
	return ""
}

type process struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer
	gone chan struct{}
	err  error
}

func (p *process) end(sig os.Signal, ts *testscript.TestScript) {
	select {
	case <-p.gone:
		return
	default:
	}
	ts.Check(p.cmd.Process.Signal(sig))
	t := time.NewTimer(30 * time.Second)
	defer t.Stop()
	select {
	case <-p.gone:
	case <-t.C:
		p.cmd.Process.Kill() //nolint:errcheck // it is over
		<-p.gone
		ts.Fatalf("the daemon did not stop within 30 s")
	}
}

func processes(ts *testscript.TestScript) map[string]*process {
	// One daemon a script at a time: the map lives with the simulator.
	s, ok := ts.Value("sim").(*simulator)
	if !ok {
		ts.Fatalf("no simulator")
	}
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.by == nil {
		running.by = map[*simulator]map[string]*process{}
	}
	if running.by[s] == nil {
		running.by[s] = map[string]*process{}
	}
	return running.by[s]
}

func scriptDown(ts *testscript.TestScript, _ bool, _ []string) {
	p := processes(ts)["daemon"]
	p.end(os.Interrupt, ts)
	if p.err != nil {
		ts.Fatalf("the daemon ended with %v", p.err)
	}
}

func scriptKill(ts *testscript.TestScript, _ bool, _ []string) {
	processes(ts)["daemon"].end(os.Kill, ts)
}

// scriptLet takes a value out of JSON: let ID post.deliveries.0.id
func scriptLet(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for key := range strings.SplitSeq(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(x) {
				ts.Fatalf("there is no %s in %v", key, x)
			}
			v = x[i]
		default:
			ts.Fatalf("there is no %s in %v", key, x)
		}
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func scriptPicture(ts *testscript.TestScript, _ bool, args []string) {
	w, err := strconv.Atoi(args[1])
	ts.Check(err)
	h, err := strconv.Atoi(args[2])
	ts.Check(err)
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w {
		img.SetRGBA(i, i%h, color.RGBA{uint8(len(args[0]) * 7), uint8(i), 90, 255})
	}
	var b bytes.Buffer
	ts.Check(png.Encode(&b, img))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

// scriptFilm makes a small video: film FILE BRAND CODEC
func scriptFilm(ts *testscript.TestScript, _ bool, args []string) {
	b, err := io.ReadAll(film.Make(args[1], args[2], 8<<10))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

func scriptPosts(ts *testscript.TestScript, _ bool, args []string) {
	s, ok := ts.Value("sim").(*simulator)
	if !ok {
		ts.Fatalf("no simulator")
	}
	for did, h := range s.names {
		if h != args[0] {
			continue
		}
		if n := len(s.Posts(did)); strconv.Itoa(n) != args[1] {
			ts.Fatalf("%s has %d public posts, want %s", h, n, args[1])
		}
		return
	}
	ts.Fatalf("the network has no %s", args[0])
}

func scriptCut(ts *testscript.TestScript, _ bool, _ []string) {
	cut, ok := ts.Value("cut").(func())
	if !ok {
		ts.Fatalf("no network to cut")
	}
	cut()
}

// scriptBase writes the script's configuration anew, with more lines at its end:
// base FILE LINE…
func scriptBase(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.Getenv("BASE")
	for _, line := range args[1:] {
		text += line + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// scriptBrowse is the person at the browser: the simulated network agrees at
// once and sends them back to smi.
func scriptBrowse(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], http.NoBody)
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close() //nolint:errcheck // it was read
	page, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n%s", resp.Request.URL, resp.Status, page) //nolint:errcheck // into memory
}

package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Exec runs a program with the message as JSON on its standard input. There is
// no shell: the arguments are those of the configuration and nothing else.
type Exec struct {
	Command []string
	Timeout time.Duration
}

// passed are the variables of the environment that the program sees. The others
// may be secrets.
var passed = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR"}

// Send implements Channel. The program has taken the message if it ends with 0.
func (e *Exec) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	call, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	cmd := exec.CommandContext(call, e.Command[0], e.Command[1:]...) //nolint:gosec // the admin's own program
	cmd.Stdin = bytes.NewReader(append(body, '\n'))
	cmd.Env = []string{}
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = time.Second // its children may keep the pipes open
	ownGroup(cmd)
	err = cmd.Run()
	if call.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s did not end within %s and was killed", e.Command[0], e.Timeout)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		text := oneLine(string(said.b))
		if text == "" {
			text = "it said nothing"
		}
		return fmt.Errorf("%w: %s ended with %s (%s)", errNotTaken, e.Command[0], exit.ProcessState, short(text, 150))
	}
	if err != nil {
		return fmt.Errorf("running the program: %w", err)
	}
	return nil
}

// tail keeps the last bytes written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - 1024; over > 0 {
		t.b = t.b[over:]
	}
	return len(p), nil
}

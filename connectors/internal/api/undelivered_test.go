package api

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
)

// TestNothingArrivesAfterGivingUp: a server that reads only when the answer was
// given up gets no whole request any more. The system would have held it ready
// for as long as the server likes, and the post would be there after smi had
// looked for it.
func TestNothingArrivesAfterGivingUp(t *testing.T) {
	t.Parallel()
	givenUp, got := make(chan struct{}), make(chan error, 1)
	srv := newRawServer(t, func(conn rawConn) {
		<-givenUp
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			_, err = io.Copy(io.Discard, req.Body)
		}
		got <- err
	})
	r := rigOver(t, simkit.New(simkit.Options{}), srv.server, nil)
	_, ev, err := r.shoot(t, Call{
		Op: "publish", URL: srv.server.URL + "/publish", JSON: map[string]string{"text": strings.Repeat("a", 256<<10)},
		HeaderTimeout: 100 * time.Millisecond, Timeout: 5 * time.Second,
	})
	close(givenUp)
	if connectors.KindOf(err) != connectors.Ambiguous || ev.Bytes < 256<<10 {
		t.Fatalf("the commit ended with %v and %d bytes, want all of them and an outcome that nobody knows", err, ev.Bytes)
	}
	if err := <-got; err == nil {
		t.Error("the whole request arrived after its answer had been given up")
	}
}

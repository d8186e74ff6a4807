package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// badAnswer is an answer that came but breaks the rules of HTTP or our limits.
type badAnswer struct{ error }

func (b badAnswer) Unwrap() error { return b.error }

// readAnswer reads one complete answer. headerDone is called when its header
// has been read.
func readAnswer(conn io.Reader, req *http.Request, limit int64, headerDone func()) (Answer, error) {
	in := &meter{r: conn, left: MaxHeader}
	br := bufio.NewReader(in)
	var resp *http.Response
	for seen := 0; ; seen++ {
		var err error
		resp, err = http.ReadResponse(br, req) //nolint:bodyclose // closed below; a 1xx has none
		if err != nil {
			return Answer{}, fmt.Errorf("reading the answer: %w", in.explain(err))
		}
		if resp.StatusCode >= 200 {
			break
		}
		if resp.StatusCode == http.StatusSwitchingProtocols || seen >= interim {
			return Answer{}, badAnswer{fmt.Errorf("%d answers of status %d and none that is final", seen+1, resp.StatusCode)}
		}
	}
	defer resp.Body.Close() //nolint:errcheck // was read
	headerDone()
	if resp.ContentLength > limit {
		return Answer{}, badAnswer{fmt.Errorf("the answer has %d bytes; at most %d are read", resp.ContentLength, limit)}
	}
	in.left = 2*limit + MaxHeader // chunks have headers of their own
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", in.explain(err))
	}
	if int64(len(body)) > limit {
		return Answer{}, badAnswer{fmt.Errorf("the answer is longer than %d bytes", limit)}
	}
	if br.Buffered() > 0 {
		return Answer{}, badAnswer{errors.New("the answer is followed by something that was not asked for")}
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// meter bounds how many bytes are read.
type meter struct {
	r    io.Reader
	left int64
	over bool
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		m.over = true
		return 0, errors.New("the limit of bytes is reached")
	}
	if int64(len(p)) > m.left {
		p = p[:m.left]
	}
	n, err := m.r.Read(p)
	m.left -= int64(n)
	return n, err
}

func (m *meter) explain(err error) error {
	if m.over {
		return badAnswer{errors.New("the answer is longer than its limit")}
	}
	return err
}

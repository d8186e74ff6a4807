package simkit

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhichRequestIsMet(t *testing.T) {
	t.Parallel()
	get := func(m, p string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), m, "http://sim.test"+p, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	nothing := Status(200, nil, "")
	s := new(Script).Add(
		Fault{Name: "second post", Method: "POST", Path: "/a", Nth: 2, Do: nothing},
		Fault{Name: "from the third on, twice", Path: "/b/*", Nth: 3, Times: 2, Do: nothing},
		Fault{Name: "any with x", Match: func(r *http.Request) bool { return r.URL.Query().Has("x") }, Do: nothing},
	)
	tests := []struct{ method, path, fault string }{
		{"POST", "/a", ""},
		{"GET", "/a", ""},
		{"POST", "/a", "second post"},
		{"POST", "/a", ""},
		{"GET", "/b/1", ""},
		{"GET", "/b/2", ""},
		{"GET", "/b", ""},
		{"GET", "/b/3", "from the third on, twice"},
		{"GET", "/b/3", "from the third on, twice"},
		{"GET", "/b/3", ""},
		{"GET", "/c?x=1", "any with x"},
		{"GET", "/c?x=1", "any with x"},
	}
	for i, tt := range tests {
		got := ""
		if f := s.match(get(tt.method, tt.path)); f != nil {
			got = f.Name
		}
		if got != tt.fault {
			t.Errorf("request %d, %s %s: fault %q, want %q", i, tt.method, tt.path, got, tt.fault)
		}
	}
	if n := s.Happened("any with x"); n != 2 {
		t.Errorf("it happened %d times", n)
	}
	s.Clear()
	if s.match(get("GET", "/c?x=1")) != nil {
		t.Error("a cleared script still has faults")
	}
}

// sim acts on every POST.
func sim(k *Kit) http.Handler {
	return k.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.Journal.Add(Effect{Op: "post", Hash: BodyHash(r)})
		b, _ := io.ReadAll(r.Body)
		w.Write(append([]byte("got "), b...)) //nolint:errcheck // a test
	}))
}

// TestActions checks what each action does: whether the simulator acted, and
// what the client saw.
func TestActions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		do     Action
		acts   int
		status int // 0: no answer
		body   string
		short  bool // the body breaks off
	}{
		{"none", nil, 1, 200, "got hello", false},
		{"Status", Status(418, nil, "{}"), 0, 418, "{}", false},
		{"ActThenStatus", ActThenStatus(504, nil, "late"), 1, 504, "late", false},
		{"HTML", HTML(502), 0, 502, htmlPage, false},
		{"ActThenHTML", ActThenHTML(502), 1, 502, htmlPage, false},
		{"CutBefore", CutBefore(), 0, 0, "", false},
		{"CutAfter", CutAfter(), 1, 0, "", false},
		{"ResetBefore", ResetBefore(), 0, 0, "", false},
		{"ResetAfter", ResetAfter(), 1, 0, "", false},
		{"Truncate", Truncate(3), 1, 200, "got", true},
		{"Double", Double(), 1, 200, "got hello", false},
		{"Delay", Delay(time.Millisecond), 1, 200, "got hello", false},
		{"ActThenDelay", ActThenDelay(time.Millisecond), 1, 200, "got hello", false},
		{"Park", Park(time.Millisecond), 1, 200, "got hello", false},
		{"Slow", Slow(50, time.Microsecond), 1, 200, "got hello", false},
		{"Huge", Huge(6), 1, 200, `"aaaaa`, false},
		{"Raw", Raw(false, "HTTP/1.1 299 X\r\nContent-Length: 2\r\n\r\nhi"), 0, 299, "hi", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := New(Options{})
			srv := Serve(t, sim(k))
			if tt.do != nil {
				k.Script.Add(Fault{Name: tt.name, Do: tt.do})
			}
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
			defer tr.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/x?access_token=tt", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer tt")
			status, body, short := 0, "", false
			if resp, err := tr.RoundTrip(req); err == nil {
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				status, body, short = resp.StatusCode, string(b), err != nil
			}
			if status != tt.status || body != tt.body || short != tt.short {
				t.Errorf("the client saw %d %q short=%v, want %d %q short=%v", status, body, short, tt.status, tt.body, tt.short)
			}
			if n := k.Journal.Count("post"); n != tt.acts {
				t.Errorf("the simulator acted %d times, want %d", n, tt.acts)
			}
			all := k.Requests.All()
			if len(all) != 1 || all[0].Auth != "Bearer "+Fingerprint("tt") || all[0].Query.Get("access_token") != Fingerprint("tt") || all[0].Bytes != 5 {
				t.Errorf("request log %+v", all)
			}
		})
	}
}

// TestParkActsAfterTheClientLeft: the post appears although nobody waits.
func TestParkActsAfterTheClientLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(Options{})
		srv := ServePipe(t, sim(k), false, "")
		k.Script.Add(Fault{Do: Park(45 * time.Second)})
		cl := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: srv.Dial}}
		began := time.Now()
		resp, err := cl.Post(srv.URL, "text/plain", strings.NewReader("hello")) //nolint:noctx // the client has a timeout
		if err == nil {
			resp.Body.Close()
			t.Error("there was an answer")
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("the client waited %v", d)
		}
		<-k.Journal.Reached("post", 1)
		if d := time.Since(began); d != 45*time.Second {
			t.Errorf("it appeared after %v, want 45 s", d)
		}
		srv.Close()
	})
}

func TestSameSeedSameNumbers(t *testing.T) {
	t.Parallel()
	a, b, c := New(Options{Seed: 1}).Rand, New(Options{Seed: 1}).Rand, New(Options{Seed: 2}).Rand
	same := true
	for range 10 {
		x, y, z := a.Uint64(), b.Uint64(), c.Uint64()
		if x != y {
			t.Fatal("the same seed gave other numbers")
		}
		same = same && x == z
	}
	if same {
		t.Error("another seed gave the same numbers")
	}
}

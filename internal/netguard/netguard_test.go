package netguard

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	d, err := New(Options{AllowPrivate: []string{"127.0.0.1:2583", "10.1.0.0/16", "fd00::7", "[::1]:99", "localhost:77"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		addr string
		ok   bool
	}{
		{"93.184.215.14:443", true},
		{"93.184.215.14:8443", true},
		{"[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443", true},
		{"127.0.0.1:2583", true},
		{"127.0.0.1:2584", false},
		{"127.0.0.2:2583", false},
		{"[::ffff:127.0.0.1]:2583", true},
		{"[::ffff:127.0.0.1]:80", false},
		{"[::1]:99", true},
		{"127.0.0.1:77", true},
		{"[::1]:77", true},
		{"127.0.0.1:78", false},
		{"127.0.0.2:77", false},
		{"10.2.2.3:77", false},
		{"[::1]:98", false},
		{"10.1.2.3:80", true},
		{"[::ffff:10.1.2.3]:80", true},
		{"10.2.2.3:80", false},
		{"[fd00::7]:80", true},
		{"[fd00::8]:80", false},
		{"0.0.0.0:80", false},
		{"[::]:80", false},
		{"169.254.169.254:80", false},
		{"[::ffff:169.254.169.254]:80", false},
		{"[64:ff9b::a9fe:a9fe]:80", false},
		{"[64:ff9b:1::a9fe:a9fe]:80", false},
		{"[2002:a9fe:a9fe::1]:80", false},
		{"172.16.0.1:80", false},
		{"172.31.255.255:80", false},
		{"172.32.0.1:80", true},
		{"192.168.1.1:80", false},
		{"100.64.0.1:80", false},
		{"198.18.0.1:80", false},
		{"224.0.0.1:80", false},
		{"255.255.255.255:80", false},
		{"[fe80::1]:80", false},
		{"[fe80::1%1]:80", false},
		{"[ff02::1]:80", false},
		{"[fec0::1]:80", false},
	}
	for _, tt := range tests {
		err := d.Check(netip.MustParseAddrPort(tt.addr))
		if (err == nil) != tt.ok {
			t.Errorf("Check(%s) = %v, want allowed=%v", tt.addr, err, tt.ok)
		}
		if err != nil {
			if _, is := Refused(err); !is {
				t.Errorf("Check(%s) = %v, which is no refusal", tt.addr, err)
			}
		}
	}
}

func TestAllowListIsChecked(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "localhost", "localhost:0", "localhost:http", "localhost.example:80", "server.example:80", "0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.1:0", "10.0.0.1:http", "*"} {
		_, err := New(Options{AllowPrivate: []string{"10.0.0.1", bad}})
		if err == nil || !strings.Contains(err.Error(), "allow_private[1]") {
			t.Errorf("New with %q: %v, want an error that names allow_private[1]", bad, err)
		}
	}
}

// listen accepts on loopback and counts.
func listen(t *testing.T) (addr string, accepted *atomic.Int64) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String(), accepted
}

func TestLoopbackIsRefusedUnlessListed(t *testing.T) {
	t.Parallel()
	addr, accepted := listen(t)
	_, port, _ := net.SplitHostPort(addr)
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{addr, "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "[::1%lo]:" + port} {
		c, err := d.DialContext(t.Context(), "tcp", a)
		if err == nil {
			c.Close()
			t.Errorf("%s was dialled", a)
			continue
		}
		if _, is := Refused(err); !is {
			t.Errorf("%s: %v, which is no refusal", a, err)
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Fatalf("%d connections came in, want none", n)
	}
	listed, err := New(Options{AllowPrivate: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := listed.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("listed address: %v", err)
	}
	c.Close()
	if _, err := listed.DialContext(t.Context(), "udp", addr); err == nil {
		t.Error("UDP was dialled")
	}
}

// TestRebinding dials a name whose server gives loopback when it is asked for
// the connection: what counts is the address that is dialled, not what an
// earlier look-up said.
func TestRebinding(t *testing.T) {
	t.Parallel()
	addr, accepted := listen(t)
	_, port, _ := net.SplitHostPort(addr)
	var asked atomic.Int64
	d, err := New(Options{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go answerDNS(there, func() [4]byte { asked.Add(1); return [4]byte{127, 0, 0, 1} })
		return here, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.DialContext(t.Context(), "tcp4", "rebind.example:"+port)
	if _, is := Refused(err); !is {
		t.Errorf("a name that resolves to loopback: %v, want a refusal", err)
	}
	if asked.Load() == 0 {
		t.Error("the resolver was not asked: the test proves nothing")
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections came in, want none", n)
	}
}

// answerDNS answers one connection's questions in the form of DNS over TCP.
func answerDNS(c net.Conn, ip func() [4]byte) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := readFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := readFull(c, q); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(q) != nil || len(m.Questions) == 0 {
			return
		}
		m.Response, m.Additionals = true, nil
		if m.Questions[0].Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 0},
				Body:   &dnsmessage.AResource{A: ip()},
			}}
		}
		b, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}

func readFull(c net.Conn, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := c.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Package netguard opens connections to the outside and to nowhere else. A
// name that somebody else controls (an instance's host, a link, a webhook's
// target) may resolve to this machine or its neighbours; netguard looks at the
// address that is really dialled, after resolution, so a name that changes its
// mind between two look-ups changes nothing.
package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// Options make a Dialer.
type Options struct {
	// AllowPrivate lists what may be dialled although it is private: an address
	// with its port ("127.0.0.1:2583", "[::1]:2583"), an address for all its ports
	// ("10.0.0.7"), or a network ("10.1.0.0/16"). "localhost:2583" is 127.0.0.1:2583
	// and [::1]:2583. Other names are refused: they would be looked up by whoever
	// controls them.
	AllowPrivate []string
	// Timeout of one connection attempt; 0 means 10 s.
	Timeout time.Duration
	// Resolver looks names up; nil means the system's.
	Resolver *net.Resolver
}

// Dialer opens TCP connections to public addresses and to those on its list.
// It is safe for concurrent use. It knows no proxy: HTTP_PROXY and its like are
// not read.
type Dialer struct {
	d     net.Dialer
	guard *ssrf.Guardian
	pairs map[netip.AddrPort]bool
	nets  []netip.Prefix
}

// New returns a dialer, or an error that names the entry that is wrong.
func New(o Options) (*Dialer, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	d := &Dialer{
		guard: ssrf.New(ssrf.WithAnyPort(), ssrf.WithNetworks("tcp4", "tcp6"), ssrf.WithDeniedV6Prefixes(nat64...)),
		pairs: map[netip.AddrPort]bool{},
	}
	for i, s := range o.AllowPrivate {
		if err := d.allow(s); err != nil {
			return nil, fmt.Errorf("allow_private[%d]: %w", i, err)
		}
	}
	d.d = net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second, Resolver: o.Resolver, Control: d.control}
	return d, nil
}

// nat64 are prefixes by which a gateway would reach IPv4 addresses, private
// ones included (RFC 6052, RFC 8215).
var nat64 = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48")}

func (d *Dialer) allow(s string) error {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Bits() == 0 {
			return fmt.Errorf("%q allows every address; name the network that is meant", s)
		}
		d.nets = append(d.nets, p.Masked())
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		d.nets = append(d.nets, netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		d.pairs[netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())] = true
		return nil
	}
	if host, port, err := net.SplitHostPort(s); err == nil && strings.EqualFold(host, "localhost") {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n != 0 {
			d.pairs[netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n))] = true
			d.pairs[netip.AddrPortFrom(netip.IPv6Loopback(), uint16(n))] = true
			return nil
		}
	}
	return fmt.Errorf("%q is no address, address:port or network; write for example 127.0.0.1:2583 or 10.1.0.0/16", s)
}

// RefusedError is a connection that was not opened because of where it goes.
type RefusedError struct {
	Address string // address and port
	Reason  error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is a private or special address, which smi does not call; list it in allow_private if it should", e.Address)
}

func (e *RefusedError) Unwrap() error { return e.Reason }

// PrivateAddress is the address that was refused.
func (e *RefusedError) PrivateAddress() string { return e.Address }

// DialContext opens a TCP connection to host:port. It fits connectors.Env.Dial.
// An address that is refused gives an error with a *RefusedError in its chain.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("dialling %s: only TCP is dialled", network)
	}
	if strings.ContainsRune(addr, '%') { // a zone is link-local by nature
		return nil, &RefusedError{Address: addr, Reason: ssrf.ErrProhibitedIP}
	}
	return d.d.DialContext(ctx, network, addr)
}

// Check says whether an address that is already known could be dialled.
func (d *Dialer) Check(ap netip.AddrPort) error {
	network := "tcp4"
	if ap.Addr().Is6() && !ap.Addr().Is4In6() {
		network = "tcp6"
	}
	return d.control(network, ap.String(), nil)
}

// control runs after resolution and before connect, once per address tried.
func (d *Dialer) control(network, address string, c syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &RefusedError{Address: address, Reason: err}
	}
	// ::ffff:169.254.169.254 reaches the IPv4 address: judge that.
	ap = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	if d.pairs[ap] {
		return nil
	}
	for _, p := range d.nets {
		if p.Contains(ap.Addr()) {
			return nil
		}
	}
	if ap.Addr().Is4() {
		network = "tcp4"
	}
	if err := d.guard.Safe(network, net.JoinHostPort(ap.Addr().String(), strconv.Itoa(int(ap.Port()))), c); err != nil {
		return &RefusedError{Address: ap.String(), Reason: err}
	}
	return nil
}

// Refused returns the refusal in err's chain, if there is one.
func Refused(err error) (*RefusedError, bool) { return errors.AsType[*RefusedError](err) }

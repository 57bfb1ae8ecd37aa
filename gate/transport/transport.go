// Package transport carries a payout request to a gate over HTTP/1.1, once, and knows to
// the byte whether anything of it has left: that is what a double payment hangs on, and
// what net/http does not tell. docs/explanation/transport.md says why it exists, what it never does,
// and how it is tested.
//
// It never sends a request a second time, by itself or over another connection; never
// follows a redirect; never sends over a connection on which anything has come since the
// last answer. HTTP/2 is left out on purpose, as pipelining is: one cut of one connection
// would put all requests under way in doubt.
package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// Transport carries requests over HTTP/1.1 on kept connections, with no goroutine of its
// own. Messages are the standard library's, but for an answer in its plainest form, which
// is read where it lies. It is safe for concurrent use.
type Transport struct {
	TLSClientConfig *tls.Config
	Proxy           func(*http.Request) (*url.URL, error) // nil: none
	DialContext     func(ctx context.Context, network, address string) (net.Conn, error)

	keep    int // idle connections
	proxied NetHTTP
	mu      sync.Mutex
	idle    map[string][]*connection // by scheme and host, the last used last
}

// The limits of a connection. An answer may have as many bytes of headers.
const (
	idleFor          = 30 * time.Second
	handshakeTimeout = 10 * time.Second
	maxHeader        = 64 << 10
	maxInformational = 5 // answers 1xx before the real one
)

// New is the transport for a gate: TLS 1.2 or later, connections kept
// for as many workers as there are, no compression (a small answer must stay
// small), and proxies from the environment.
func New(workers int) *Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	t := &Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		Proxy:           http.ProxyFromEnvironment,
		DialContext:     dialer.DialContext,
		keep:            workers + 1,
		idle:            map[string][]*connection{},
	}
	t.proxied = NetHTTP{&http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return t.Proxy(r) },
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return t.DialContext(ctx, network, address)
		},
		TLSClientConfig:        t.TLSClientConfig, // with one of its own, net/http speaks HTTP/1.1 only
		MaxIdleConns:           t.keep,
		MaxIdleConnsPerHost:    t.keep,
		IdleConnTimeout:        idleFor,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		TLSHandshakeTimeout:    handshakeTimeout,
	}}
	return t
}

// connection is one that answers come back on in order.
type connection struct {
	net.Conn
	bare    net.Conn    // the same below TLS
	records *tlsRecords // between the two; nil: no TLS
	probe   probe
	place   string // in the transport's map
	in      *bufio.Reader
	out     []byte           // the message that was sent last
	limit   io.LimitedReader // of one answer; in reads through it
	since   time.Time        // it is idle
}

// Post sends one body to a target, at most once, and reads the whole answer. It blocks
// until then, at most for the target's timeout, and gives up when ctx is cancelled.
// mayLeave is asked directly before the first byte, on a connection that is there; dialled
// says that it is new, and with its error nothing is sent; nil: always. Unless sent is
// true, surely nothing has left; an error with sent leaves the request in doubt.
func (t *Transport) Post(ctx context.Context, to *Target, body []byte, mayLeave func(dialled bool) error) (res Response, sent bool, err error) {
	if t.Proxy != nil {
		proxy, err := t.Proxy(to.asked)
		if err != nil {
			return Response{}, false, err
		}
		if proxy != nil {
			return t.proxied.Post(ctx, to, body, mayLeave)
		}
	}
	deadline := time.Now().Add(to.timeout)
	c, err := t.connect(ctx, to, deadline)
	if err != nil {
		return Response{}, false, err
	}
	if err := ask(mayLeave, c.since.IsZero()); err != nil {
		_ = c.Close()
		return Response{}, false, err
	}
	// Dangerous from here on: whatever goes wrong, the request may have left.
	unbroken := func() bool { return true }
	if ctx.Done() != nil {
		unbroken = context.AfterFunc(ctx, func() { _ = c.bare.Close() })
	}
	var whole bool
	res, whole, err = c.exchange(to, body, deadline)
	if !unbroken() || err != nil || !whole || !c.reusable() {
		_ = c.Close() // it is done with
	} else {
		t.put(c)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return res, true, err
}

// ask asks whether the first byte of a request may be written now. Dangerous to move away
// from the write: what it knows is true for a moment.
func ask(mayLeave func(dialled bool) error, dialled bool) error {
	if mayLeave == nil {
		return nil
	}
	return mayLeave(dialled)
}

// exchange writes a request and reads its answer; whole says that the connection
// is good for another.
func (c *connection) exchange(to *Target, body []byte, deadline time.Time) (res Response, whole bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return res, false, err
	}
	c.out = to.message(c.out[:0], body)
	if _, err := c.Write(c.out); err != nil {
		return res, false, err
	}
	c.limit.N = maxHeader
	if _, err := c.in.Peek(1); err != nil {
		return res, false, c.tooMuch(err)
	}
	here, err := c.in.Peek(c.in.Buffered())
	if err != nil {
		return res, false, err
	}
	if res, n, ok := parsePlainResponse(here); ok {
		_, err := c.in.Discard(n)
		return res, err == nil && c.in.Buffered() == 0, err
	}
	return c.answer()
}

// answer reads one in any form.
func (c *connection) answer() (Response, bool, error) {
	var res *http.Response
	for informational := 0; ; informational++ {
		var err error
		if res, err = http.ReadResponse(c.in, posted); err != nil { //nolint:bodyclose // Close would read on; what is left goes with the connection
			return Response{}, false, c.tooMuch(err)
		}
		if res.StatusCode/100 != 1 {
			break
		}
		if informational >= maxInformational || res.StatusCode == http.StatusSwitchingProtocols {
			return Response{}, false, fmt.Errorf("HTTP status %d instead of an answer", res.StatusCode)
		}
	}
	c.limit.N += MaxAnswer + 1
	answer, err := readResponse(res)
	return answer, err == nil && !res.Close && c.in.Buffered() == 0, c.tooMuch(err)
}

// posted says what an answer is one to.
var posted = &http.Request{Method: http.MethodPost}

// reusable makes a connection ready to be kept, and reports whether it is: nothing may
// have come behind the answer, neither bytes nor a goodbye. TLS may hold either.
func (c *connection) reusable() bool {
	if c.records != nil {
		// A read that may not wait handles what is there.
		if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
			return false
		}
		c.limit.N = 1
		if _, err := c.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) || !c.records.between() {
			return false
		}
	}
	return c.SetDeadline(time.Time{}) == nil
}

// tooMuch names the limit that cut an answer off.
func (c *connection) tooMuch(err error) error {
	if err != nil && c.limit.N <= 0 {
		return errTooLarge
	}
	return err
}

// connect returns a connection that is alive, a kept one if there is one.
func (t *Transport) connect(ctx context.Context, to *Target, deadline time.Time) (*connection, error) {
	for c := t.take(to.place); c != nil; c = t.take(to.place) {
		if time.Since(c.since) < idleFor && c.probe.isAlive() {
			return c, nil
		}
		_ = c.Close()
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	plain, err := t.DialContext(ctx, "tcp", to.address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: plain, bare: plain, place: to.place}
	if c.probe, err = newProbe(plain); err == nil && to.url.Scheme == "https" {
		err = t.handshake(ctx, c, to.url.Hostname())
	}
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	c.limit.R = c.Conn
	c.in = bufio.NewReader(&c.limit)
	return c, nil
}

func (t *Transport) handshake(ctx context.Context, c *connection, host string) error {
	cfg := t.TLSClientConfig.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = []string{"http/1.1"}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c.records = newTLSRecords(c.bare)
	over := tls.Client(c.records, cfg)
	c.Conn = over
	return over.HandshakeContext(ctx)
}

// take removes the connection that was used last from those that are kept.
func (t *Transport) take(place string) *connection {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.idle[place]
	if len(kept) == 0 {
		return nil
	}
	c := kept[len(kept)-1]
	t.idle[place] = kept[:len(kept)-1]
	return c
}

func (t *Transport) put(c *connection) {
	c.since = time.Now()
	t.mu.Lock()
	kept := t.idle[c.place]
	if len(kept) < t.keep {
		t.idle[c.place], c = append(kept, c), nil
	}
	t.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// CloseIdleConnections closes the connections that are kept.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	all := t.idle
	t.idle = map[string][]*connection{}
	t.mu.Unlock()
	for _, kept := range all {
		for _, c := range kept {
			_ = c.Close()
		}
	}
	t.proxied.CloseIdleConnections()
}

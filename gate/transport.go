package gate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// Transport is an http.RoundTripper for a gate: HTTP/1.1 over kept connections,
// with the standard library's reader and writer of messages, and no goroutine of
// its own. It sends a request once, over a connection that was found alive, or
// not at all, and never by itself again. It tells httptrace's GotConn right before the
// first byte leaves: an error without that word means that nothing was sent.
//
// HTTP/2 is left out on purpose, as pipelining is: one cut of one connection would
// put all requests under way in doubt. net/http's own transport hands each
// request to two other goroutines, which costs half of its throughput; it carries
// what goes through a proxy.
type Transport struct {
	TLSClientConfig *tls.Config
	Proxy           func(*http.Request) (*url.URL, error) // nil: none
	DialContext     func(ctx context.Context, network, address string) (net.Conn, error)

	keep    int // idle connections
	proxied *http.Transport
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

// NewTransport is the transport for a gate: TLS 1.2 or later, connections kept
// for as many workers as there are, no compression (a small answer must stay
// small), and proxies from the environment.
func NewTransport(workers int) *Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	t := &Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		Proxy:           http.ProxyFromEnvironment,
		DialContext:     dialer.DialContext,
		keep:            workers + 1,
		idle:            map[string][]*connection{},
	}
	t.proxied = &http.Transport{
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
	}
	return t
}

// connection is one that answers come back on in order.
type connection struct {
	net.Conn
	place string // in the transport's map
	in    *bufio.Reader
	out   *bufio.Writer
	limit io.LimitedReader // of one answer; in reads through it
	since time.Time        // it is idle
}

// RoundTrip sends one request and reads the whole answer, up to a bound that is
// above maxAnswer. The context's deadline is the connection's; when the context
// is cancelled the connection is cut.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.Proxy != nil {
		proxy, err := t.Proxy(req)
		if err != nil {
			return nil, errors.Join(err, closeBody(req))
		}
		if proxy != nil {
			return t.proxied.RoundTrip(req)
		}
	}
	ctx := req.Context()
	c, err := t.connect(ctx, req.URL)
	if err != nil {
		return nil, errors.Join(err, closeBody(req))
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn})
	}
	// Dangerous from here on: whatever goes wrong, the request may have left.
	uncut := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	res, whole, err := c.exchange(req)
	if !uncut() || err != nil || !whole || res.Close {
		_ = c.Close() // it is done with
	} else {
		t.put(c)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return res, err
}

func closeBody(req *http.Request) error {
	if req.Body == nil {
		return nil
	}
	return req.Body.Close()
}

// exchange writes a request and reads its answer; whole says that nothing of it
// is left on the connection.
func (c *connection) exchange(req *http.Request) (res *http.Response, whole bool, err error) {
	if deadline, ok := req.Context().Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, false, errors.Join(err, closeBody(req))
		}
	}
	if err := req.Write(c.out); err != nil {
		return nil, false, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, false, err
	}
	c.limit.N = maxHeader
	for informational := 0; ; informational++ {
		if res, err = http.ReadResponse(c.in, req); err != nil {
			return nil, false, c.tooMuch(err)
		}
		if res.StatusCode/100 != 1 {
			break
		}
		if informational >= maxInformational || res.StatusCode == http.StatusSwitchingProtocols {
			return nil, false, fmt.Errorf("HTTP status %d instead of an answer", res.StatusCode)
		}
	}
	c.limit.N += maxAnswer + 1
	var body bytes.Buffer
	_, err = body.ReadFrom(io.LimitReader(res.Body, maxAnswer+1))
	whole = err == nil && body.Len() <= maxAnswer && c.in.Buffered() == 0
	err = c.tooMuch(err)
	res.Body = io.NopCloser(&answerBody{body, err})
	return res, whole, nil
}

// tooMuch names the limit that cut an answer off.
func (c *connection) tooMuch(err error) error {
	if err != nil && c.limit.N <= 0 {
		return errTooLarge
	}
	return err
}

// answerBody is what was read of a body, and what went wrong after it.
type answerBody struct {
	bytes.Buffer
	err error
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.Buffer.Read(p)
	if errors.Is(err, io.EOF) && b.err != nil {
		err = b.err
	}
	return n, err
}

// connect returns a connection that is alive, a kept one if there is one.
func (t *Transport) connect(ctx context.Context, to *url.URL) (*connection, error) {
	place := to.Scheme + "://" + to.Host
	for c := t.take(place); c != nil; c = t.take(place) {
		if time.Since(c.since) < idleFor && alive(c.Conn) {
			return c, nil
		}
		_ = c.Close()
	}
	address := to.Host
	if to.Port() == "" {
		address = net.JoinHostPort(to.Hostname(), map[string]string{"http": "80", "https": "443"}[to.Scheme])
	}
	plain, err := t.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: plain, place: place}
	if to.Scheme == "https" {
		if c.Conn, err = t.handshake(ctx, plain, to.Hostname()); err != nil {
			_ = plain.Close()
			return nil, err
		}
	}
	c.limit.R = c.Conn
	c.in, c.out = bufio.NewReader(&c.limit), bufio.NewWriter(c.Conn)
	return c, nil
}

func (t *Transport) handshake(ctx context.Context, plain net.Conn, host string) (net.Conn, error) {
	cfg := t.TLSClientConfig.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = []string{"http/1.1"}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c := tls.Client(plain, cfg)
	return c, c.HandshakeContext(ctx)
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

// bare is the connection below TLS.
func bare(c net.Conn) net.Conn {
	if over, ok := c.(*tls.Conn); ok {
		return over.NetConn()
	}
	return c
}

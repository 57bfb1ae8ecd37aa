package transport

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// NetHTTP carries requests over one of net/http's transports: what goes through a proxy,
// and what tests compare Transport with.
type NetHTTP struct{ By http.RoundTripper }

// Post is Transport's.
func (n NetHTTP) Post(ctx context.Context, to *Target, body []byte, mayLeave func(dialled bool) error) (Response, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, to.timeout)
	defer cancel()
	q := question{mayLeave: mayLeave}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: q.ask})
	res, err := n.By.RoundTrip(to.request(ctx, io.NopCloser(bytes.NewReader(body)), len(body)))
	if err != nil {
		sent, refused := q.answered()
		if refused != nil {
			err = refused
		}
		return Response{}, sent, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := readResponse(res)
	return answer, true, err
}

// CloseIdleConnections closes the connections that are kept.
func (n NetHTTP) CloseIdleConnections() {
	if t, ok := n.By.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// question asks whether a request may leave once net/http has a connection for it, the
// last moment that it tells of. Where it may not, the connection is closed, so that
// nothing can be written to it.
type question struct {
	mayLeave func(dialled bool) error

	mu      sync.Mutex
	allowed bool
	refused error
}

func (q *question) ask(c httptrace.GotConnInfo) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refused == nil {
		q.refused = ask(q.mayLeave, !c.Reused)
	}
	if q.refused != nil {
		_ = c.Conn.Close()
		return
	}
	q.allowed = true
}

// answered reports whether anything may have left, and why a connection was not used.
func (q *question) answered() (sent bool, refused error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.allowed, q.refused
}

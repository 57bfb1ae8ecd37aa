package gate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"masspay/payout"
)

// Poster carries requests to a gate. A Transport is one.
type Poster interface {
	// Post sends one body to a target, at most once, and reads the whole answer.
	// It blocks until then, at most for the target's timeout, and gives up when
	// ctx is cancelled. Unless sent is true, surely nothing has left; an error
	// after that leaves the request in doubt.
	Post(ctx context.Context, to *Target, body []byte) (res Response, sent bool, err error)
}

// allowKey finds, in the context of a payout request, what must be asked directly
// before its first byte.
type allowKey struct{}

// allowed asks whether the first byte of a request may be written now. Dangerous to
// move away from the write: what it knows is true for a moment.
func allowed(ctx context.Context, dialled bool) error {
	if allow, ok := ctx.Value(allowKey{}).(func(bool) error); ok {
		return allow(dialled)
	}
	return nil
}

// Target is where bodies are posted to, made ready once for all of them.
type Target struct {
	url     *url.URL
	header  http.Header
	timeout time.Duration // from dialling to the last byte of the answer

	place      string        // among the kept connections
	address    string        // to dial
	asked      *http.Request // for the proxy's sake
	head, tail []byte        // of a request, around its length and in front of its body
}

// NewTarget makes a target ready. It refuses a URL that no request can be made for.
func NewTarget(to *url.URL, header http.Header, timeout time.Duration) (*Target, error) {
	t := &Target{url: to, header: header, timeout: timeout, place: to.Scheme + "://" + to.Host, address: to.Host}
	if to.Port() == "" {
		t.address = net.JoinHostPort(to.Hostname(), payout.DefaultPort(to.Scheme))
	}
	t.asked = t.request(context.Background(), []byte("{"))
	var b bytes.Buffer
	if err := t.asked.Write(&b); err != nil {
		return nil, err
	}
	const length = "Content-Length: "
	head, tail, ok := bytes.Cut(bytes.TrimSuffix(b.Bytes(), []byte("{")), []byte(length+"1\r\n"))
	if !ok {
		return nil, fmt.Errorf("no request can be made for %s", to)
	}
	t.head, t.tail = slices.Concat(head, []byte(length)), slices.Concat([]byte("\r\n"), tail)
	return t, nil
}

// message appends a request.
func (t *Target) message(b, body []byte) []byte {
	b = strconv.AppendInt(append(b, t.head...), int64(len(body)), 10)
	return append(append(b, t.tail...), body...)
}

// request is what net/http is given to send.
//
// Dangerous to make with http.NewRequest: it sets GetBody, with which net/http may
// send the request again by itself when a kept connection dies, unseen by us.
// That is a second POST.
func (t *Target) request(ctx context.Context, body []byte) *http.Request {
	return (&http.Request{
		Method: http.MethodPost, URL: t.url, Host: t.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: t.header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}).WithContext(ctx)
}

// Response is an answer read whole: of its header, what somebody reads.
type Response struct {
	Status      int
	ContentType string
	RetryAfter  string
	Body        string
}

// newResponse reads an answer's body, up to maxAnswer. Its error comes with what
// was read.
func newResponse(res *http.Response) (Response, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && b.Len() > maxAnswer {
		err = errTooLarge
	}
	return Response{
		Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), RetryAfter: res.Header.Get("Retry-After"), Body: b.String(),
	}, err
}

// carried is a Poster over one of net/http.
type carried struct{ by http.RoundTripper }

func (c carried) Post(ctx context.Context, to *Target, body []byte) (Response, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, to.timeout)
	defer cancel()
	if err := allowed(ctx, true); err != nil {
		return Response{}, false, err
	}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	res, err := c.by.RoundTrip(to.request(ctx, body))
	if err != nil {
		return Response{}, connected.Load(), err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := newResponse(res)
	return answer, true, err
}

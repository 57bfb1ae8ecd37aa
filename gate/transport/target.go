package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/payout"
)

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
	t.asked = t.request(context.Background(), io.NopCloser(strings.NewReader("{")), 1)
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
func (t *Target) request(ctx context.Context, body io.ReadCloser, length int) *http.Request {
	return (&http.Request{
		Method: http.MethodPost, URL: t.url, Host: t.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: t.header,
		Body: body, ContentLength: int64(length),
	}).WithContext(ctx)
}

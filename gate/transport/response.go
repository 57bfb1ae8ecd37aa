package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Response is an answer read whole: of its header, only what is used.
type Response struct {
	Status      int
	ContentType string
	RetryAfter  string
	Body        string
}

// MaxAnswer bounds what is read of an answer's body, in bytes; real ones have some
// kilobytes.
const MaxAnswer = 1 << 20

var errTooLarge = errors.New("answer is larger than 1 MiB")

// readResponse reads an answer's body, up to MaxAnswer. Its error comes with what was
// read.
func readResponse(res *http.Response) (Response, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(io.LimitReader(res.Body, MaxAnswer+1))
	if err == nil && b.Len() > MaxAnswer {
		err = errTooLarge
	}
	return Response{
		Status: res.StatusCode, ContentType: res.Header.Get("Content-Type"), RetryAfter: res.Header.Get("Retry-After"), Body: b.String(),
	}, err
}

package transport

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A usual answer is read where it lies.
func TestParsePlain(t *testing.T) {
	t.Parallel()
	const more = "HTTP/1.1 "
	for _, text := range []string{
		accepted,
		"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nRETRY-AFTER: 3\r\nconnection: Keep-Alive\r\nDate: Wed, 25 Nov 2026 21:28:15 GMT\r\n\r\n",
		"HTTP/1.1 422 \r\nContent-Type:application/problem+json; charset=utf-8\r\nContent-Length:  2 \r\n\r\n{}",
	} {
		res, n, ok := parsePlainResponse([]byte(text + more))
		require.True(t, ok, text)
		require.Equal(t, len(text), n)
		require.Equal(t, byNetHTTP(t, text), res)
	}
}

// What could be read in two ways, or is not all here, is not read at all.
func TestParsePlainRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"another version":           {"HTTP/1.1", "HTTP/1.0"},
		"an early hint":             {"200", "103"},
		"no content":                {"200 OK", "204 No Content"},
		"not modified":              {"200 OK", "304 Not Modified"},
		"four digits":               {"200", "2000"},
		"a status in words":         {"200", "2xx"},
		"it closes":                 {"\r\n\r\n", "\r\nConnection: close\r\n\r\n"},
		"two words on connections":  {"\r\n\r\n", "\r\nConnection: keep-alive, close\r\n\r\n"},
		"chunks":                    {"\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"a trailer":                 {"\r\n\r\n", "\r\nTrailer: Retry-After\r\n\r\n"},
		"another protocol":          {"\r\n\r\n", "\r\nUpgrade: h2c\r\n\r\n"},
		"two lengths":               {"\r\n\r\n", "\r\nContent-Length: 20\r\n\r\n"},
		"two types":                 {"\r\n\r\n", "\r\nContent-Type: text/html\r\n\r\n"},
		"two pauses":                {"\r\n\r\n", "\r\nRetry-After: 1\r\nRetry-After: 2\r\n\r\n"},
		"a longer body":             {": 20", ": 21"},
		"a length in hex":           {": 20", ": 0x14"},
		"a negative length":         {": 20", ": -1"},
		"no length":                 {"Content-Length: 20", "Content-Type2: 20"},
		"an empty length":           {": 20\r", ": \r"},
		"a length that has no end":  {": 20", ": 99999999999999999999"},
		"a length above the limit":  {": 20", ": 1048577"},
		"a space before the colon":  {"Content-Length:", "Content-Length :"},
		"a folded line":             {"Content-Length", " Content-Length"},
		"a line without a colon":    {"\r\n\r\n", "\r\nnonsense\r\n\r\n"},
		"a line without a name":     {"\r\n\r\n", "\r\n: nonsense\r\n\r\n"},
		"an end of line of its own": {"\r\nContent-Length", "\nContent-Length"},
		"a control character":       {"application/json", "application/json\x00"},
		"no end of the header":      {"\r\n\r\n", "\r\n"},
	} {
		text := strings.Replace(accepted, change[0], change[1], 1)
		require.NotEqual(t, accepted, text, name)
		_, _, ok := parsePlainResponse([]byte(text))
		require.False(t, ok, name)
	}
}

func byNetHTTP(t *testing.T, text string) Response {
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), posted)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.False(t, res.Close)
	got, err := readResponse(res)
	require.NoError(t, err)
	return got
}

// Whatever an answer is: what is read where it lies, net/http reads as well, to
// the same byte.
func FuzzParsePlain(f *testing.F) {
	for _, s := range []string{
		accepted, accepted + accepted, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Type: text/html\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, n, ok := parsePlainResponse(b)
		if !ok {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		res, err := http.ReadResponse(in, posted)
		require.NoError(t, err)
		require.False(t, res.Close)
		require.Empty(t, res.TransferEncoding)
		want, err := readResponse(res)
		require.NoError(t, err)
		require.Equal(t, want, got)
		rest, err := io.ReadAll(in)
		require.NoError(t, err)
		require.Equal(t, len(b)-n, len(rest))
	})
}

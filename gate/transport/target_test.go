package transport

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A request is what net/http would send, byte for byte.
func TestTargetsMessage(t *testing.T) {
	t.Parallel()
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"masspay/1"}, "X-Length": {"Content-Length: 1"}}
	for _, at := range []string{"https://gate.example/v2/payment/sbp-p2p/payout", "http://127.0.0.1:8080/a%20b/c?d=e", "http://[::1]:80/", "https://пример.example/x"} {
		to, err := url.Parse(at)
		require.NoError(t, err)
		target, err := NewTarget(to, header, time.Second)
		require.NoError(t, err)
		for _, body := range []string{"{}", string(bytes.Repeat([]byte("x"), 12_345))} {
			var want bytes.Buffer
			require.NoError(t, target.request(t.Context(), io.NopCloser(strings.NewReader(body)), len(body)).Write(&want))
			require.Equal(t, want.String(), string(target.message(nil, []byte(body))))
		}
	}
	for at, address := range map[string]string{"https://gate.example/x": "gate.example:443", "http://gate.example": "gate.example:80", "https://[::1]:8443": "[::1]:8443"} {
		to, err := url.Parse(at)
		require.NoError(t, err)
		target, err := NewTarget(to, header, time.Second)
		require.NoError(t, err)
		require.Equal(t, address, target.address)
	}
	_, err := NewTarget(&url.URL{Scheme: "https", Host: "gate.example", RawQuery: "a\nb"}, header, time.Second)
	require.Error(t, err)
}

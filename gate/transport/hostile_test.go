package transport

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rawServer accepts connections, reads a request, and lets answer do the rest.
func rawServer(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				answer(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// forever writes until the other side has had enough.
func forever(c net.Conn, what string) {
	for b := []byte(strings.Repeat(what, 1+64<<10/len(what))); ; {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// bomb is a gigabyte of zeros, as a megabyte of gzip.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.CopyN(w, zeros{}, 1<<20)
	require.NoError(t, errors.Join(err, w.Close()))
	return bytes.Repeat(b.Bytes(), 1<<10) // a file of gzip may have many parts
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Whatever a gate does to us, the answer is in doubt, it comes within the
// timeout, and memory stays small. One after the other, to see whose memory it is.
func TestHostileAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	zipped := bomb(t)
	for _, tt := range []struct {
		name   string
		answer func(net.Conn)
	}{
		{"a body without end", func(c net.Conn) { _, _ = io.WriteString(c, ok+"\r\n{\"status\":\"success\",\"x\":\""); forever(c, "x") }},
		{"a body of a gigabyte, announced", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 1073741824\r\n\r\n"); forever(c, " ") }},
		{"chunks without end", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			forever(c, "10\r\n"+strings.Repeat(" ", 16)+"\r\n")
		}},
		{"a chunk's extension without end", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n1;"); forever(c, "x") }},
		{"headers without end", func(c net.Conn) { _, _ = io.WriteString(c, ok); forever(c, "X-Header: x\r\n") }},
		{"a header line without end", func(c net.Conn) { _, _ = io.WriteString(c, ok+"X-Header: "); forever(c, "x") }},
		{"early hints without end", func(c net.Conn) { forever(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }},
		{"a status line without end", func(c net.Conn) { forever(c, "HTTP/1.1 ") }},
		{"nonsense", func(c net.Conn) { forever(c, "\x00\xff\x13") }},
		{"a gzip bomb", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Encoding: gzip\r\n\r\n")
			_, _ = c.Write(zipped)
		}},
		{"deep nesting", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"\r\n{\"status\":\"success\",\"x\":"+strings.Repeat("[", 900_000))
		}},
		{"one byte at a time", func(c net.Conn) {
			for _, b := range []byte(ok + "\r\n{\"status\":\"success\"}" + strings.Repeat(" ", 1_000)) {
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // this is what it does
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		}},
		{"half an answer, then silence", func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Length: 100\r\n\r\n{\"status\":\"success\"")
			_, _ = io.Copy(io.Discard, c)
		}},
		{"a shorter body than announced", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 100\r\n\r\n{\"status\":\"success\"}") }},
	} {
		overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
			p, to := make(nil), target(t, rawServer(t, tt.answer), time.Second)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			res, sent, err := p.Post(t.Context(), to, []byte("{}"), nil)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			require.True(t, sent, tt.name)
			require.True(t, err != nil || !json.Valid([]byte(res.Body)), "%s: %+v", tt.name, res.Status)
			require.LessOrEqual(t, len(res.Body), MaxAnswer+1)
			require.Less(t, took, 10*time.Second, tt.name)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(96<<20), "%s: all that was ever allocated meanwhile, the other side's as well", tt.name)
		})
	}
}

// certificate makes one that is wrong in some way.
func certificate(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// A certificate that is not right keeps every byte of a payout at home.
func TestWrongCertificates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*x509.Certificate)
		right  bool
	}{
		{"right", func(*x509.Certificate) {}, true},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, false},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, false},
		{"another host's", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} }, false},
		{"not for servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
				cert, pool := certificate(t, tt.change)
				reached := 0
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					reached++
					succeed(w, r)
				}))
				s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
				s.Config.ErrorLog = nil
				s.StartTLS()
				defer s.Close()
				_, sent, err := post(t, make(pool), s.URL)
				require.Equal(t, tt.right, err == nil, "%v", err)
				require.Equal(t, tt.right, sent)
				if !tt.right {
					require.Zero(t, reached)
					require.ErrorContains(t, err, "certificate")
				}
			})
		})
	}
}

// A gate that accepts connections and never speaks TLS, and names that lead
// nowhere or take too long to be found.
func TestNoConnectionIsSurelyUnsent(t *testing.T) {
	t.Parallel()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	dns := func(fail error) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			if fail == nil {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, fail
		}
	}
	for name, tt := range map[string]struct {
		base string
		dial func(context.Context, string, string) (net.Conn, error)
	}{
		"a handshake that hangs":     {base: "https://" + silent.Addr().String()},
		"a name that no one has":     {"https://gate.example", dns(&net.DNSError{Err: "no such host", Name: "gate.example", IsNotFound: true})},
		"a name server that is slow": {"https://gate.example", dns(nil)},
		"a network that is away":     {"https://gate.example", dns(&net.OpError{Op: "dial", Err: errors.New("network is unreachable")})},
	} {
		t.Run(name, func(t *testing.T) {
			own := New(1)
			if tt.dial != nil {
				own.DialContext = tt.dial
			}
			for _, p := range []poster{own, own.proxied} {
				_, sent, err := p.Post(t.Context(), target(t, tt.base, 300*time.Millisecond), []byte("{}"), nil)
				require.Error(t, err)
				require.False(t, sent)
			}
		})
	}
}

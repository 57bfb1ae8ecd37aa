package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const accepted = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"status\":\"success\"}"

// listener accepts connections and has each served.
func listener(t *testing.T, serve func(net.Conn)) (base string, conns *atomic.Int64) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	conns = &atomic.Int64{}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(c)
			})
		}
	})
	return "http://" + l.Addr().String(), conns
}

// converse lets talk answer each request of a connection, as long as it returns
// true.
func converse(c net.Conn, talk func(request int) bool) {
	r := bufio.NewReader(c)
	for n := 1; ; n++ {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if !talk(n) {
			return
		}
	}
}

// talker is a gate that answers what talk says.
func talker(t *testing.T, talk func(conn net.Conn, request int) bool) (base string, conns *atomic.Int64) {
	t.Helper()
	return listener(t, func(c net.Conn) { converse(c, func(n int) bool { return talk(c, n) }) })
}

// poster is what the suite looks at: Transport, and net/http's for a comparison.
type poster interface {
	Post(ctx context.Context, to *Target, body []byte, mayLeave func(dialled bool) error) (Response, bool, error)
	CloseIdleConnections()
}

// overBoth runs a test over both posters, whose connections trust a pool of
// certificates; nil: the system's.
func overBoth(t *testing.T, test func(t *testing.T, make func(*x509.CertPool) poster)) {
	t.Helper()
	for name, make := range posters() {
		t.Run(name, func(t *testing.T) {
			test(t, func(trusted *x509.CertPool) poster {
				p := make(trusted)
				t.Cleanup(p.CloseIdleConnections)
				return p
			})
		})
	}
}

func posters() map[string]func(*x509.CertPool) poster {
	return map[string]func(*x509.CertPool) poster{
		"own": func(trusted *x509.CertPool) poster {
			t := New(4)
			t.TLSClientConfig.RootCAs = trusted
			return t
		},
		"net.http": func(trusted *x509.CertPool) poster {
			t := New(4)
			t.TLSClientConfig.RootCAs = trusted
			return t.proxied
		},
	}
}

const testTimeout = 5 * time.Second

func target(t testing.TB, base string, timeout time.Duration) *Target {
	t.Helper()
	at, err := url.Parse(base + "/v2/payment/sbp-p2p/payout")
	require.NoError(t, err)
	to, err := NewTarget(at, http.Header{"Content-Type": {"application/json"}, "User-Agent": {"masspay/test"}}, timeout)
	require.NoError(t, err)
	return to
}

// post sends one body; nothing keeps it from leaving.
func post(t testing.TB, p poster, base string) (Response, bool, error) {
	t.Helper()
	return p.Post(t.Context(), target(t, base, testTimeout), []byte(`{"general":{}}`), nil)
}

// requireAnswer posts one body, which must be answered with a status.
func requireAnswer(t testing.TB, p poster, base string, status int) {
	t.Helper()
	res, sent, err := post(t, p, base)
	require.NoError(t, err)
	require.True(t, sent)
	require.Equal(t, status, res.Status)
}

// Connections are kept, also after refusals and after the gate's own trouble.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	answers := []string{
		accepted,
		"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n",
		"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + accepted,
		accepted,
	}
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		base, conns := talker(t, func(c net.Conn, n int) bool { _, err := io.WriteString(c, answers[n-1]); return err == nil })
		p := make(nil)
		for _, status := range []int{200, 400, 500, 429, 200, 200} {
			requireAnswer(t, p, base, status)
		}
		require.EqualValues(t, 1, conns.Load())
	})
}

// A kept connection that the gate has closed meanwhile, or on which it sent what
// no one asked for, carries no payout: it would be in doubt, or get the answer to
// another.
func TestADeadConnectionCarriesNothing(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{
		"closed":               "",
		"an unexpected answer": accepted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan struct{}, 2)
			base, conns := talker(t, func(c net.Conn, _ int) bool {
				_, _ = io.WriteString(c, accepted)
				<-done
				_, _ = io.WriteString(c, after)
				if after == "" {
					_ = c.Close()
				}
				done <- struct{}{}
				return after != ""
			})
			p := New(4)
			defer p.CloseIdleConnections()
			requireAnswer(t, p, base, 200)
			done <- struct{}{}
			require.Eventually(t, func() bool {
				return len(p.idle[base]) == 1 && !p.idle[base][0].probe.isAlive()
			}, 5*time.Second, time.Millisecond)
			done <- struct{}{}
			requireAnswer(t, p, base, 200)
			require.EqualValues(t, 2, conns.Load())
		})
	}
}

// What is left over of an answer is not the answer to the next request.
func TestLeftoversAreNotAnAnswer(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{
		"plain": accepted, "not plain": strings.Replace(accepted, "\r\n\r\n", "\r\nConnection: x\r\n\r\n", 1),
	} {
		base, conns := talker(t, func(c net.Conn, _ int) bool {
			_, err := io.WriteString(c, first+strings.Replace(accepted, "200 OK", "400 No", 1))
			return err == nil
		})
		p := New(4)
		defer p.CloseIdleConnections()
		for range 3 {
			requireAnswer(t, p, base, 200)
		}
		require.EqualValues(t, 3, conns.Load(), name)
	}
}

// packet holds back what TLS writes, so that it leaves in one piece.
type packet struct {
	net.Conn
	held []byte
	hold bool
}

func (p *packet) Write(b []byte) (int, error) {
	if !p.hold {
		return p.Conn.Write(b)
	}
	p.held = append(p.held, b...)
	return len(b), nil
}

// Nothing that comes behind an answer is the answer to the next request, wherever
// TLS holds it, and no connection that said goodbye carries another payout.
func TestNothingIsLeftInTLS(t *testing.T) {
	t.Parallel()
	const stale = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{\"status\":\"error\",\"code\":\"2609\"}"
	padded := strings.Replace(accepted, "\r\n\r\n", "\r\nX: "+strings.Repeat("y", 4096-len(accepted)-len("\r\nX: "))+"\r\n\r\n", 1)
	require.Len(t, padded, 4096, "the size of a reader's buffer")
	for name, tt := range map[string]struct {
		talk  func(*packet, *tls.Conn)
		conns int
	}{
		"nothing": {func(_ *packet, c *tls.Conn) { _, _ = io.WriteString(c, accepted) }, 1},
		"a record in the same packet": {func(p *packet, c *tls.Conn) {
			p.hold = true
			_, _ = io.WriteString(c, accepted)
			_, _ = io.WriteString(c, stale)
			_, _ = p.Conn.Write(p.held)
		}, 2},
		"the beginning of a record": {func(p *packet, c *tls.Conn) {
			p.hold = true
			_, _ = io.WriteString(c, accepted)
			_, _ = io.WriteString(c, stale)
			_, _ = p.Conn.Write(p.held[:len(p.held)-10])
		}, 2},
		"the beginning of a record's header": {func(p *packet, c *tls.Conn) {
			p.hold = true
			_, _ = io.WriteString(c, accepted)
			_, _ = p.Conn.Write(append(p.held, 0x17, 0x03))
		}, 2},
		"the rest of a long record": {func(_ *packet, c *tls.Conn) { _, _ = io.WriteString(c, padded+stale) }, 2},
		"a goodbye": {func(p *packet, c *tls.Conn) {
			p.hold = true
			_, _ = io.WriteString(c, accepted)
			_ = c.CloseWrite() // and TLS writes no more
			_ = p.SetWriteDeadline(time.Time{})
			_, _ = p.Conn.Write(p.held)
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert, pool := certificate(t, func(*x509.Certificate) {})
			var first sync.Once
			base, conns := listener(t, func(conn net.Conn) {
				p := &packet{Conn: conn}
				c := tls.Server(p, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true})
				converse(c, func(int) bool {
					talk := func(_ *packet, c *tls.Conn) { _, _ = io.WriteString(c, accepted) }
					first.Do(func() { talk = tt.talk })
					talk(p, c)
					p.hold = false
					return true
				})
			})
			p := New(1)
			defer p.CloseIdleConnections()
			p.TLSClientConfig.RootCAs = pool
			for range 3 {
				requireAnswer(t, p, strings.Replace(base, "http:", "https:", 1), 200)
			}
			require.EqualValues(t, tt.conns, conns.Load())
		})
	}
}

// A connection is kept for longer than its last request might have taken.
func TestAKeptConnectionHasNoDeadline(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		base, conns := talker(t, func(c net.Conn, _ int) bool { _, err := io.WriteString(c, accepted); return err == nil })
		p, to := make(nil), target(t, base, 300*time.Millisecond)
		for range 2 {
			_, _, err := p.Post(t.Context(), to, []byte("{}"), nil)
			require.NoError(t, err)
			<-time.After(350 * time.Millisecond)
		}
		require.EqualValues(t, 1, conns.Load())
	})
}

// A connection that dies under a request leaves it in doubt, and the request is
// not sent again by anybody.
func TestACutRequestIsNotRepeated(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		var requests atomic.Int64
		base, _ := talker(t, func(c net.Conn, n int) bool {
			requests.Add(1)
			if n == 1 {
				_, _ = io.WriteString(c, accepted)
			}
			return n == 1
		})
		p := make(nil)
		requireAnswer(t, p, base, 200)
		_, sent, err := post(t, p, base)
		require.Error(t, err)
		require.True(t, sent)
		require.EqualValues(t, 2, requests.Load())
	})
}

// A redirect is an answer like any other, and is not followed.
func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		var requests atomic.Int64
		base, _ := talker(t, func(c net.Conn, _ int) bool {
			requests.Add(1)
			_, err := io.WriteString(c, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")
			return err == nil
		})
		requireAnswer(t, make(nil), base, 307)
		require.EqualValues(t, 1, requests.Load())
	})
}

// began counts the reads that brought something.
type began struct {
	net.Conn
	n *atomic.Int64
}

func (b began) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if n > 0 {
		b.n.Add(1)
	}
	return n, err
}

// Whether a request may leave is asked once it has its connection, directly before its
// first byte; with an error nothing leaves, and the next request is none the worse.
func TestAskedBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		var requests, begun atomic.Int64
		base, conns := listener(t, func(c net.Conn) {
			converse(began{c, &begun}, func(int) bool {
				requests.Add(1)
				_, err := io.WriteString(c, accepted)
				return err == nil
			})
		})
		p, to := make(nil), target(t, base, testTimeout)
		no := errors.New("this process was fenced")
		asked := []bool{}
		try := func(answer error) (bool, error) {
			_, sent, err := p.Post(t.Context(), to, []byte(`{"general":{}}`), func(dialled bool) error {
				asked = append(asked, dialled)
				return answer
			})
			return sent, err
		}
		sent, err := try(no)
		require.ErrorIs(t, err, no)
		require.False(t, sent)
		require.EqualValues(t, 0, requests.Load())
		sent, err = try(nil)
		require.NoError(t, err)
		require.True(t, sent)
		sent, err = try(no)
		require.ErrorIs(t, err, no)
		require.False(t, sent)
		require.EqualValues(t, 1, requests.Load())
		_, err = try(nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, requests.Load())
		require.Equal(t, []bool{true, true, false, true}, asked, "the third one had the connection of the second")
		require.EqualValues(t, 3, conns.Load())
		require.EqualValues(t, 2, begun.Load(), "not a byte of the others came")
		_, sent, err = p.Post(t.Context(), target(t, "http://127.0.0.1:1", testTimeout), []byte("{}"), func(bool) error {
			t.Error("there is no connection")
			return nil
		})
		require.Error(t, err)
		require.False(t, sent)
	})
}

// What a gate says in front of an answer does not go on for ever.
func TestHintsEnd(t *testing.T) {
	t.Parallel()
	base, _ := talker(t, func(c net.Conn, _ int) bool {
		_, _ = io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInformational+1)+accepted)
		return true
	})
	p := New(4)
	defer p.CloseIdleConnections()
	_, sent, err := post(t, p, base)
	require.Error(t, err)
	require.True(t, sent)
}

// A request whose context ends is cut: polls are, payouts are sent without one that can.
func TestCancelledRequestsAreCut(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		ctx, cancel := context.WithCancel(t.Context())
		base, _ := talker(t, func(c net.Conn, _ int) bool { cancel(); _, _ = c.Read([]byte{0}); return false })
		start := time.Now()
		_, sent, err := make(nil).Post(ctx, target(t, base, testTimeout), []byte("{}"), nil)
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, sent)
		require.Less(t, time.Since(start), testTimeout-time.Second)
	})
}

// Through a proxy, TLS is spoken with the gate and with no one else; what goes
// wrong before that is not sent.
func TestProxy(t *testing.T) {
	t.Parallel()
	gate := httptest.NewTLSServer(http.HandlerFunc(succeed))
	defer gate.Close()
	var asked atomic.Pointer[string]
	refuse := atomic.Bool{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(&r.Method)
		if refuse.Load() {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	through := func(trusted bool) *Transport {
		transport := New(1)
		transport.Proxy = http.ProxyURL(at)
		if trusted {
			transport.TLSClientConfig.RootCAs = gate.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		}
		return transport
	}
	requireAnswer(t, through(true), gate.URL, 200)
	require.Equal(t, http.MethodConnect, *asked.Load())
	_, sent, err := post(t, through(false), gate.URL)
	require.False(t, sent)
	require.ErrorContains(t, err, "certificate")
	fenced := errors.New("fenced")
	_, sent, err = through(true).Post(t.Context(), target(t, gate.URL, testTimeout), []byte("{}"), func(bool) error { return fenced })
	require.ErrorIs(t, err, fenced)
	require.False(t, sent)
	refuse.Store(true)
	_, sent, err = post(t, through(true), gate.URL)
	require.Error(t, err)
	require.False(t, sent)
	broken := through(true)
	broken.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("HTTPS_PROXY is no URL") }
	_, sent, err = post(t, broken, gate.URL)
	require.ErrorContains(t, err, "HTTPS_PROXY")
	require.False(t, sent)
}

func succeed(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status":"success"}`)
}

// One cut of one HTTP/2 connection would put all requests under way in doubt.
func TestHTTP2IsNotSpoken(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, make func(*x509.CertPool) poster) {
		var proto string
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			proto = r.Proto
			succeed(w, r)
		}))
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		s.StartTLS()
		defer s.Close()
		requireAnswer(t, make(s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs), s.URL, 200)
		require.Equal(t, "HTTP/1.1", proto)
	})
}

func TestTLSIsRecent(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, tls.VersionTLS12, New(4).TLSClientConfig.MinVersion)
	require.True(t, New(4).proxied.By.(*http.Transport).DisableCompression)
}

// Ways to a gate over TLS, 64 requests at a time, the gate on the same cores.
func BenchmarkTransports(b *testing.B) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(succeed))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	trusted := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	for name, make := range map[string]func() poster{
		"masspay": func() poster {
			t := New(64)
			t.TLSClientConfig.RootCAs = trusted.RootCAs
			return t
		},
		"net.http, HTTP 1.1": func() poster {
			return NetHTTP{&http.Transport{TLSClientConfig: trusted.Clone(), MaxIdleConnsPerHost: 64}}
		},
		"net.http, HTTP 2": func() poster {
			return NetHTTP{&http.Transport{TLSClientConfig: trusted.Clone(), ForceAttemptHTTP2: true}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			p, to, body := make(), target(b, s.URL, testTimeout), []byte(strings.Repeat("x", 500))
			defer p.CloseIdleConnections()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if res, _, err := p.Post(b.Context(), to, body, nil); err != nil || res.Status != http.StatusOK {
						b.Errorf("%+v, %v", res, err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

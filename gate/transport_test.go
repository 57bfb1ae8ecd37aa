package gate

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

func clientFor(t *testing.T, base string, transport Poster) *Client {
	c, err := NewClient(Options{BaseURL: base, Keys: keys{}, Limiter: &open{}, Timeout: 5 * time.Second, Transport: transport})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
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
	base, conns := talker(t, func(c net.Conn, n int) bool { _, err := io.WriteString(c, answers[n-1]); return err == nil })
	c := clientFor(t, base, nil)
	for i, want := range []Outcome{Accepted, InDoubt, InDoubt, Unsent, Accepted, Accepted} {
		a := c.Send(t.Context(), testDraft(t), time.Second)
		require.Equal(t, want, a.Outcome, "answer %d: %+v", i, a)
		require.True(t, a.Sent)
	}
	require.EqualValues(t, 1, conns.Load())
}

// A kept connection that the gate has closed meanwhile, or on which it sent what
// nobody asked for, carries no payout: it would be in doubt, or get the answer to
// another.
func TestADeadConnectionCarriesNothing(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{
		"closed":                      "",
		"an answer that nobody asked": accepted,
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
			c := clientFor(t, base, nil)
			require.Equal(t, Accepted, c.Send(t.Context(), testDraft(t), time.Second).Outcome)
			done <- struct{}{}
			require.Eventually(t, func() bool {
				kept := c.poster.(*Transport).idle
				return len(kept[base]) == 1 && !kept[base][0].pulse.beats()
			}, 5*time.Second, time.Millisecond)
			done <- struct{}{}
			a := c.Send(t.Context(), testDraft(t), time.Second)
			require.Equal(t, Accepted, a.Outcome, "%+v", a)
			require.EqualValues(t, 2, conns.Load())
		})
	}
}

// What is left over of an answer is not the answer to the next request.
func TestLeftoversAreNotAnAnswer(t *testing.T) {
	t.Parallel()
	base, conns := talker(t, func(c net.Conn, _ int) bool {
		_, err := io.WriteString(c, accepted+strings.Replace(accepted, "success", "failure", 1))
		return err == nil
	})
	c := clientFor(t, base, nil)
	for range 3 {
		require.Equal(t, Accepted, c.Send(t.Context(), testDraft(t), time.Second).Outcome)
	}
	require.EqualValues(t, 3, conns.Load())
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
			transport := NewTransport(1)
			transport.TLSClientConfig.RootCAs = pool
			c := clientFor(t, strings.Replace(base, "http:", "https:", 1), transport)
			for range 3 {
				a := c.Send(t.Context(), testDraft(t), time.Second)
				require.Equal(t, Accepted, a.Outcome, "%+v", a)
			}
			require.EqualValues(t, tt.conns, conns.Load())
		})
	}
}

// A connection is kept for longer than its last request might have taken.
func TestAKeptConnectionHasNoDeadline(t *testing.T) {
	t.Parallel()
	base, conns := talker(t, func(c net.Conn, _ int) bool { _, err := io.WriteString(c, accepted); return err == nil })
	c, err := NewClient(Options{BaseURL: base, Keys: keys{}, Limiter: &open{}, Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, Accepted, c.Send(t.Context(), testDraft(t), time.Second).Outcome)
	<-time.After(350 * time.Millisecond)
	require.Equal(t, Accepted, c.Send(t.Context(), testDraft(t), time.Second).Outcome)
	require.EqualValues(t, 1, conns.Load())
}

// A connection that dies under a request leaves it in doubt, and the request is
// not sent again by anybody.
func TestACutRequestIsNotRepeated(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	base, _ := talker(t, func(c net.Conn, n int) bool {
		requests.Add(1)
		if n == 1 {
			_, _ = io.WriteString(c, accepted)
		}
		return n == 1
	})
	c := clientFor(t, base, nil)
	require.Equal(t, Accepted, c.Send(t.Context(), testDraft(t), time.Second).Outcome)
	a := c.Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, InDoubt, a.Outcome, "%+v", a)
	require.True(t, a.Sent)
	require.EqualValues(t, 2, requests.Load())
}

// What a gate says in front of an answer does not go on for ever.
func TestHintsEnd(t *testing.T) {
	t.Parallel()
	base, _ := talker(t, func(c net.Conn, _ int) bool {
		_, _ = io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInformational+1)+accepted)
		return true
	})
	require.Equal(t, InDoubt, clientFor(t, base, nil).Send(t.Context(), testDraft(t), time.Second).Outcome)
}

// A question that nobody waits for any more is cut; a payout is not.
func TestCancelledQuestionsAreCut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	base, _ := talker(t, func(c net.Conn, _ int) bool { cancel(); _, _ = c.Read(make([]byte, 1)); return false })
	c := clientFor(t, base, nil)
	start := time.Now()
	_, err := c.Status(ctx, testDraft(t).Key, time.Second)
	require.Error(t, err)
	require.Less(t, time.Since(start), 4*time.Second)
}

// Through a proxy, TLS is spoken with the gate and with nobody else; what goes
// wrong before that is surely unsent.
func TestProxy(t *testing.T) {
	t.Parallel()
	gate := httptest.NewTLSServer(answers(200, js, `{"status":"success"}`))
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
		transport := NewTransport(1)
		transport.Proxy = http.ProxyURL(at)
		if trusted {
			transport.TLSClientConfig.RootCAs = gate.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		}
		return transport
	}
	c := clientFor(t, gate.URL, through(true))
	require.Equal(t, Accepted, c.Send(t.Context(), testDraft(t), time.Second).Outcome)
	require.Equal(t, http.MethodConnect, *asked.Load())
	a := clientFor(t, gate.URL, through(false)).Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, Unsent, a.Outcome, "%+v", a)
	require.Contains(t, a.Message, "certificate")
	refuse.Store(true)
	a = clientFor(t, gate.URL, through(true)).Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, Unsent, a.Outcome, "%+v", a)
	require.False(t, a.Sent)
	broken := through(true)
	broken.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("HTTPS_PROXY is no URL") }
	a = clientFor(t, gate.URL, broken).Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, Unsent, a.Outcome, "%+v", a)
	require.Contains(t, a.Message, "HTTPS_PROXY")
}

// One cut of one HTTP/2 connection would put all requests under way in doubt.
func TestHTTP2IsNotSpoken(t *testing.T) {
	t.Parallel()
	var proto string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		answers(200, js, `{"status":"success"}`)(w, r)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	transport := NewTransport(1)
	transport.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	require.Equal(t, Accepted, clientFor(t, s.URL, transport).Send(t.Context(), testDraft(t), time.Second).Outcome)
	require.Equal(t, "HTTP/1.1", proto)
}

// A payout signed, sent over loopback and its answer read; the gate answers with
// the same bytes each time and makes nothing.
func BenchmarkSend(b *testing.B) {
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		said := []byte(accepted)
		for buf := make([]byte, 64<<10); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(said); err != nil {
				return
			}
		}
	}()
	c, err := NewClient(Options{BaseURL: "http://" + l.Addr().String(), Keys: keys{}, Limiter: &open{}, Timeout: 5 * time.Second})
	require.NoError(b, err)
	defer c.Close()
	d := testDraft(b)
	b.ReportAllocs()
	for b.Loop() {
		if a := c.Send(b.Context(), d, time.Second); a.Outcome != Accepted {
			b.Fatalf("%+v", a)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// Ways to a gate over TLS, 64 requests at a time, the gate on the same cores.
func BenchmarkTransports(b *testing.B) {
	s := httptest.NewUnstartedServer(answers(200, js, `{"status":"success"}`))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	trusted := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	for name, poster := range map[string]func() Poster{
		"masspay": func() Poster {
			t := NewTransport(64)
			t.TLSClientConfig.RootCAs = trusted.RootCAs
			return t
		},
		"net.http, HTTP 1.1": func() Poster {
			return carried{&http.Transport{TLSClientConfig: trusted.Clone(), MaxIdleConnsPerHost: 64}}
		},
		"net.http, HTTP 2": func() Poster {
			return carried{&http.Transport{TLSClientConfig: trusted.Clone(), ForceAttemptHTTP2: true}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := NewClient(Options{BaseURL: s.URL, Keys: keys{}, Limiter: &open{}, Timeout: 5 * time.Second, Transport: poster()})
			require.NoError(b, err)
			defer c.Close()
			d := testDraft(b)
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := c.Send(b.Context(), d, time.Second); a.Outcome != Accepted {
						b.Errorf("%+v", a)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

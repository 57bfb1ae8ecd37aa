package gate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate/transport"
	"masspay/payout"
)

// open is a limiter that lets everything go and notes what it was told.
type open struct {
	mu     sync.Mutex
	waits  int
	paused time.Time
	refuse error
}

func (l *open) Wait(context.Context, time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits++
	return l.refuse
}

func (l *open) Pause(_ context.Context, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = until
	return nil
}

type pausedUntil struct{ at time.Time }

func (e pausedUntil) Error() string          { return "paused" }
func (e pausedUntil) PausedUntil() time.Time { return e.at }

var testColumns = []string{
	"operation_type", "general.project_id", "method", "general.payment_id", "payment.amount", "payment.currency",
	"account.number", "account.bank_code", "customer.id", "customer.ip_address", "customer.first_name", "customer.last_name", "customer.email",
}

var testCells = []string{
	"payout", "1234", "sbp-p2p", "p1", "100000", "KGS", "996555123456", "mbank", "c-1", "198.51.100.47", "Айбек", `A"sa\nov`, "a@example.com",
}

func testDraft(t testing.TB) Draft {
	c, err := NewComposer("sbp-p2p", testColumns)
	require.NoError(t, err)
	return c.Draft(payout.Key{ProjectID: 1234, PaymentID: "p1"}, testCells)
}

func benchDraft(b *testing.B) Draft { return testDraft(b) }

// server answers with fn and counts what reaches it.
func server(t *testing.T, fn http.HandlerFunc) (*Client, *open, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		fn(w, r)
	}))
	t.Cleanup(s.Close)
	l := &open{}
	c, err := NewClient(Options{BaseURL: s.URL, Keys: keys{}, Limiter: l, Timeout: time.Second, Version: "test"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, l, &n
}

func answers(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const js = "application/json"

func TestSendClassifies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    Answer
	}{
		{"accepted", answers(200, js, `{"status":"success","request_id":"r1","project_id":1234,"payment_id":"p1"}`), Answer{Kind: payout.Accepted, Reported: payout.Reported{RequestID: "r1"}}},
		{"accepted, charset", answers(200, js+"; charset=utf-8", `{"status":"success","request_id":"r1","project_id":"1234"}`), Answer{Kind: payout.Accepted, Reported: payout.Reported{RequestID: "r1"}}},
		{"about another payment", answers(200, js, `{"status":"success","payment_id":"p2"}`), Answer{Kind: payout.Doubtful}},
		{"about another project", answers(200, js, `{"status":"success","project_id":9}`), Answer{Kind: payout.Doubtful}},
		{"success as HTML", answers(200, "text/html", `{"status":"success"}`), Answer{Kind: payout.Doubtful}},
		{"broken JSON", answers(200, js, `{"status":"succ`), Answer{Kind: payout.Doubtful}},
		{"two outcomes in one body", answers(200, js, `{"status":"error","status":"success"}`), Answer{Kind: payout.Doubtful}},
		{"empty 200", answers(200, js, ``), Answer{Kind: payout.Doubtful}},
		{"200 with an unlisted status", answers(200, js, `{"status":"queued"}`), Answer{Kind: payout.Doubtful}},
		{"200 error", answers(200, js, `{"status":"error","code":"2004"}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "2004"}}},
		{"200 error about another payment", answers(200, js, `{"status":"error","code":"2004","payment_id":"p2"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "2004"}}},
		{"200 error with a request_id", answers(200, js, `{"status":"error","code":"20101","request_id":"r1"}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "20101"}}},
		{"400 with a request_id and an undocumented code", answers(400, js, `{"status":"error","code":"77777","request_id":"r1"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "77777"}}},
		{"success and an error", answers(200, js, `{"status":"success","code":"2004"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "2004"}}},
		{"success and a list of errors", answers(200, js, `{"status":"success","code":"0","errors":[{"code":"2004"}]}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "0"}}},
		{"success with code 0", answers(200, js, `{"status":"success","code":"0","request_id":"r1"}`), Answer{Kind: payout.Accepted, Reported: payout.Reported{Code: "0", RequestID: "r1"}}},
		{"success on a line of 400", answers(400, js, `{"status":"success","request_id":"r1","project_id":1234,"payment_id":"p1"}`), Answer{Kind: payout.Accepted, Reported: payout.Reported{RequestID: "r1"}}},
		{"success on a line of 500", answers(500, js, `{"status":"success","request_id":"r1","project_id":1234,"payment_id":"p1"}`), Answer{Kind: payout.Accepted, Reported: payout.Reported{RequestID: "r1"}}},
		{"success on a line of 403", answers(403, js, `{"status":"success","request_id":"r1","project_id":1234,"payment_id":"p1"}`), Answer{Kind: payout.Accepted, Reported: payout.Reported{RequestID: "r1"}}},
		{"success of another on a line of 400", answers(400, js, `{"status":"success","project_id":1234,"payment_id":"p2"}`), Answer{Kind: payout.Doubtful}},
		{"refusal on a line of 409", answers(409, js, `{"status":"error","code":"2609"}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "2609"}}},
		{"forbidden, with a code of the configuration", answers(403, js, `{"status":"error","code":"3123"}`), Answer{Kind: payout.Unsent, Stop: true, Reported: payout.Reported{Code: "3123"}}},
		{"forbidden, with an undocumented code", answers(403, js, `{"status":"error","code":"77777"}`), Answer{Kind: payout.Doubtful, Stop: true, Reported: payout.Reported{Code: "77777"}}},
		{"forbidden, by a filter that speaks JSON", answers(403, js, `{"message":"forbidden"}`), Answer{Kind: payout.Doubtful, Stop: true}},
		{"exists, as 1434", answers(400, js, `{"status":"error","code":"1434"}`), Answer{Kind: payout.Taken, Reported: payout.Reported{Code: "1434"}}},
		{"exists, as 3613", answers(404, js, `{"status":"error","code":"3613"}`), Answer{Kind: payout.Taken, Reported: payout.Reported{Code: "3613"}}},
		{"exists", answers(400, js, `{"status":"error","code":"3041"}`), Answer{Kind: payout.Taken, Reported: payout.Reported{Code: "3041"}}},
		{"exists, as a number", answers(400, js, `{"status":"error","code":3041}`), Answer{Kind: payout.Taken, Reported: payout.Reported{Code: "3041"}}},
		{"exists, with 200", answers(200, js, `{"status":"error","code":"3041"}`), Answer{Kind: payout.Taken, Reported: payout.Reported{Code: "3041"}}},
		{"parameter missing", answers(400, js, `{"status":"error","errors":[{"code":2004,"message":"m","field":"f"}]}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "2004"}}},
		{"row to fix", answers(422, js, `{"status":"error","code":"2609"}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "2609"}}},
		{"limit", answers(400, js, `{"status":"error","code":"20101"}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "20101"}}},
		{"fraud", answers(400, js, `{"status":"error","code":"1401"}`), Answer{Kind: payout.Refused, Reported: payout.Reported{Code: "1401"}}},
		{"signature", answers(400, js, `{"status":"error","code":"3261"}`), Answer{Kind: payout.Unsent, Stop: true, Reported: payout.Reported{Code: "3261"}}},
		{"no money", answers(400, js, `{"status":"error","code":"504"}`), Answer{Kind: payout.Unsent, NoMoney: true, Reported: payout.Reported{Code: "504"}}},
		{"temporary", answers(400, js, `{"status":"error","code":"601"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "601"}}},
		{"wait", answers(400, js, `{"status":"error","code":"9999"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "9999"}}},
		{"check", answers(400, js, `{"status":"error","code":"20801"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "20801"}}},
		{"an undocumented code", answers(400, js, `{"status":"error","code":"77777"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "77777"}}},
		{"400 without a code", answers(400, js, `{}`), Answer{Kind: payout.Doubtful}},
		{"400 as HTML", answers(400, "text/html", `<html>`), Answer{Kind: payout.Doubtful}},
		{"forbidden", answers(403, "text/html", `<html>`), Answer{Kind: payout.Doubtful, Stop: true}},
		{"wrong project", answers(404, js, `{"status":"error","code":"3023"}`), Answer{Kind: payout.Unsent, Stop: true, Reported: payout.Reported{Code: "3023"}}},
		{"404 of some proxy", answers(404, "text/html", `not found`), Answer{Kind: payout.Doubtful, Stop: true}},
		{"500 that sounds final", answers(500, js, `{"status":"error","code":"2004"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "2004"}}},
		{"502", answers(502, "text/html", `bad gateway`), Answer{Kind: payout.Doubtful}},
		{"503 with 3041", answers(503, js, `{"status":"error","code":"3041"}`), Answer{Kind: payout.Doubtful, Reported: payout.Reported{Code: "3041"}}},
		{"201", answers(201, js, `{"status":"success"}`), Answer{Kind: payout.Doubtful}},
		{"too large", answers(200, js, `{"status":"success","x":"`+strings.Repeat("x", transport.MaxAnswer)+`"}`), Answer{Kind: payout.Doubtful}},
		{"429", answers(429, "text/plain", ``), Answer{Kind: payout.Unsent, Retry: time.Second}},
		{"429 that refuses the configuration", answers(429, js, `{"status":"error","code":"3261"}`), Answer{Kind: payout.Unsent, Retry: time.Second, Reported: payout.Reported{Code: "3261"}}},
		{"429 with success", answers(429, js, `{"status":"success","request_id":"r1","project_id":1234,"payment_id":"p1"}`), Answer{Kind: payout.Accepted, Retry: time.Second, Reported: payout.Reported{RequestID: "r1"}}},
		{"429 with 3041", answers(429, js, `{"status":"error","code":"3041"}`), Answer{Kind: payout.Taken, Retry: time.Second, Reported: payout.Reported{Code: "3041"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, l, n := server(t, tt.handler)
			a := c.Send(t.Context(), testDraft(t), time.Second)
			require.Equal(t, tt.want.Kind, a.Kind, "%+v", a)
			require.Equal(t, tt.want.Stop, a.Stop)
			require.Equal(t, tt.want.NoMoney, a.NoMoney)
			require.Equal(t, tt.want.Code, a.Code)
			require.Equal(t, tt.want.RequestID, a.RequestID)
			require.Equal(t, tt.want.Retry, a.Retry)
			require.True(t, a.Sent)
			require.EqualValues(t, 1, n.Load(), "one request")
			require.Equal(t, 1, l.waits, "through the limiter")
			if a.Kind != payout.Accepted {
				require.NotEmpty(t, a.Message)
			}
		})
	}
}

func TestSendNeverRepeatsOrFollows(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"cut before the answer": func(w http.ResponseWriter, _ *http.Request) { hijack(w) },
		"cut after the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			hijack(w)
		},
		"307": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"hang": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, n := server(t, handler)
			a := c.Send(t.Context(), testDraft(t), time.Second)
			require.Equal(t, payout.Doubtful, a.Kind, "%+v", a)
			require.True(t, a.Sent)
			require.EqualValues(t, 1, n.Load())
		})
	}
}

func hijack(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// A kept connection that dies under a request is where net/http repeats a
// request by itself, if it may.
func TestSendOnADeadKeptConnectionIsNotRepeated(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	c, _, n := server(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if served.Add(1)%2 == 1 {
			answers(200, js, `{"status":"success"}`)(w, r)
			return
		}
		hijack(w)
	})
	calls := 0
	for range 20 {
		c.Send(t.Context(), testDraft(t), time.Second)
		calls++
	}
	require.EqualValues(t, calls, n.Load(), "as many requests as calls")
}

func TestSendKeepsConnections(t *testing.T) {
	t.Parallel()
	addresses := map[string]bool{}
	var mu sync.Mutex
	c, _, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		addresses[r.RemoteAddr] = true
		mu.Unlock()
		answers(500, js, `{"status":"error"}`)(w, r)
	})
	for range 20 {
		c.Send(t.Context(), testDraft(t), time.Second)
	}
	require.Len(t, addresses, 1, "one connection, also after errors")
}

func TestSendSurelyUnsent(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := closed.Addr().String()
	require.NoError(t, closed.Close())
	plainHTTP := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plainHTTP.Close)
	badTLS := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(badTLS.Close)
	for name, base := range map[string]string{
		"refused": "http://" + address, "no such host": "http://gate.invalid", "no TLS there": strings.Replace(plainHTTP.URL, "http:", "https:", 1),
		"unknown certificate": badTLS.URL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := NewClient(Options{BaseURL: base, Keys: keys{}, Limiter: &open{}, Timeout: 2 * time.Second})
			require.NoError(t, err)
			a := c.Send(t.Context(), testDraft(t), time.Second)
			require.Equal(t, payout.Unsent, a.Kind, "%+v", a)
			require.False(t, a.Sent)
			require.NotEmpty(t, a.Message)
		})
	}
}

func TestSendLimiterGivesUp(t *testing.T) {
	t.Parallel()
	c, l, n := server(t, answers(200, js, `{}`))
	at := time.Now().Add(time.Hour)
	l.refuse = pausedUntil{at}
	a := c.Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, payout.Unsent, a.Kind)
	require.Equal(t, at, a.Paused)
	l.refuse = context.Canceled
	a = c.Send(t.Context(), testDraft(t), time.Second)
	require.True(t, a.Cancelled)
	require.Zero(t, n.Load(), "nothing left")
}

func TestSend429PausesEverybody(t *testing.T) {
	t.Parallel()
	c, l, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	before := time.Now()
	a := c.Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, 7*time.Second, a.Retry)
	require.WithinRange(t, l.paused, before.Add(7*time.Second), time.Now().Add(7*time.Second))
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": time.Second, "0": time.Second, "-5": time.Second, "3": 3 * time.Second, "999999999": time.Hour, "soon": time.Second,
		"Sun, 22 Nov 2026 02:01:00 GMT": time.Minute, "Sun, 22 Nov 2026 01:00:00 GMT": time.Second,
	} {
		require.Equal(t, want, retryAfter(v, now), v)
	}
}

func TestSendUnknownProject(t *testing.T) {
	t.Parallel()
	c, _, n := server(t, answers(200, js, `{}`))
	d := testDraft(t)
	d.Key.ProjectID = 9
	a := c.Send(t.Context(), d, time.Second)
	require.True(t, a.Stop)
	require.Equal(t, payout.Unsent, a.Kind)
	require.Zero(t, n.Load())
}

func TestSendTheRequestItself(t *testing.T) {
	t.Parallel()
	var path, contentType, idempotency string
	var sent []byte
	c, _, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		path, contentType, idempotency = r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key")
		sent, _ = io.ReadAll(r.Body)
		answers(200, js, `{"status":"success"}`)(w, r)
	})
	c.Send(t.Context(), testDraft(t), time.Second)
	require.Equal(t, "/v2/payment/sbp-p2p/payout", path)
	require.Equal(t, js, contentType)
	require.Empty(t, idempotency, "the header makes net/http repeat")
	var got map[string]map[string]any
	d := json.NewDecoder(strings.NewReader(string(sent)))
	d.UseNumber()
	require.NoError(t, d.Decode(&got))
	require.Equal(t, json.Number("100000"), got["payment"]["amount"])
	require.Equal(t, json.Number("1234"), got["general"]["project_id"])
	require.Equal(t, "996555123456", got["account"]["number"])
	require.Equal(t, `A"sa\nov`, got["customer"]["last_name"])
	require.True(t, strings.HasSuffix(string(sent), `"}}`), "the signature is last: %s", sent)
	canonical, err := Canonical(sent)
	require.NoError(t, err)
	require.Equal(t, NewSecret("secret").Sign(canonical), got["general"]["signature"])
}

func statusBody(change map[string]any) string {
	b := body(change)
	if op, ok := b["operation"]; ok {
		b["operations"] = []any{map[string]any{"id": 1, "status": "processing", "code": "9999"}, op}
		delete(b, "operation")
	}
	return string(signedWith("secret", b))
}

func TestStatus(t *testing.T) {
	t.Parallel()
	key := payout.Key{ProjectID: 1234, PaymentID: "p1"}
	c, l, _ := server(t, answers(200, js, statusBody(nil)))
	n, err := c.Status(t.Context(), key, time.Second)
	require.NoError(t, err)
	require.Equal(t, "success", n.Status)
	require.Equal(t, "1234567890123456", n.OperationID, "the last operation explains")
	require.Equal(t, 1, l.waits, "polls pass the limiter too")
	n, err = c.StatusByRequest(t.Context(), 1234, "r-1", time.Second)
	require.NoError(t, err)
	require.Equal(t, "p1", n.Key.PaymentID)
}

func TestStatusNotSeenOnlyInThePlainForm(t *testing.T) {
	t.Parallel()
	key := payout.Key{ProjectID: 1234, PaymentID: "p1"}
	unsigned := string(mustJSON(body(nil)))
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		notSeen bool
	}{
		{"plain", answers(200, js, `{"status":"error","code":"3061","message":"Transaction not found"}`), true},
		{"plain, as a number", answers(200, js, `{"status":"error","code":3061}`), true},
		{"of another payment", answers(200, js, `{"status":"error","code":"3061","payment_id":"p2"}`), false},
		{"3062", answers(200, js, `{"status":"error","code":"3062"}`), false},
		{"404 with 3061", answers(404, js, `{"status":"error","code":"3061"}`), false},
		{"400 with 3061", answers(400, js, `{"status":"error","code":"3061"}`), false},
		{"500 with 3061", answers(500, js, `{"status":"error","code":"3061"}`), false},
		{"HTML", answers(200, "text/html", `{"status":"error","code":"3061"}`), false},
		{"3061 of a payment", answers(200, js, statusBody(map[string]any{"payment.status": "error", "operation": nil, "errors": []any{map[string]any{"code": "3061"}}})), false},
		{"unsigned", answers(200, js, unsigned), false},
		{"another payment", answers(200, js, statusBody(map[string]any{"payment.id": "p2"})), false},
		{"doubled name", answers(200, js, `{"status":"success","status":"error","code":"3061"}`), false},
		{"empty", answers(200, js, ``), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _, _ := server(t, tt.handler)
			n, err := c.Status(t.Context(), key, time.Second)
			require.Equal(t, tt.notSeen, errors.Is(err, ErrNotSeen), "%v", err)
			if err == nil {
				require.NotEqual(t, payout.NotSeen, n.Event(payout.FromStatus, "", time.Now()).Kind)
			}
		})
	}
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever repeats requests below us (net/http does, when a kept connection
// dies) needs GetBody or one of two headers; it must find none of them.
func TestSendCannotBeRepeatedByATransport(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	c, err := NewClient(Options{BaseURL: "https://gate.example", Keys: keys{}, Limiter: &open{}, Transport: transport.NetHTTP{By: roundTrip(func(r *http.Request) (*http.Response, error) {
		seen = r
		return nil, errors.New("stop here")
	})}})
	require.NoError(t, err)
	c.Send(t.Context(), testDraft(t), time.Second)
	require.Nil(t, seen.GetBody)
	require.NotContains(t, seen.Header, "Idempotency-Key")
	require.NotContains(t, seen.Header, "X-Idempotency-Key")
}

// What may not be sent is asked directly before the first byte, on every way to the
// gate; then nothing leaves, and the answer says why.
func TestAFencedProcessSendsNothing(t *testing.T) {
	t.Parallel()
	for name, poster := range map[string]func() Poster{
		"own":      func() Poster { return transport.New(1) },
		"net/http": func() Poster { return transport.NetHTTP{By: &http.Transport{DisableKeepAlives: true}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var read atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				read.Add(1)
				answers(200, js, `{"status":"success"}`)(w, r)
			}))
			t.Cleanup(s.Close)
			gone := errors.New("its lock file is gone")
			var fenced atomic.Bool
			var dialled []bool
			c, err := NewClient(Options{BaseURL: s.URL, Keys: keys{}, Limiter: &open{}, Timeout: time.Second, Transport: poster(),
				MaySend: func(_ context.Context, d bool) error {
					dialled = append(dialled, d)
					if fenced.Load() {
						return gone
					}
					return nil
				}})
			require.NoError(t, err)
			t.Cleanup(c.Close)
			a := c.Send(t.Context(), testDraft(t), time.Second)
			require.Equal(t, payout.Accepted, a.Kind)
			fenced.Store(true)
			a = c.Send(t.Context(), testDraft(t), time.Second)
			require.Equal(t, payout.Unsent, a.Kind)
			require.True(t, a.Fenced)
			require.False(t, a.Sent)
			require.Contains(t, a.Message, gone.Error())
			require.EqualValues(t, 1, read.Load())
			require.True(t, dialled[0])
			require.Equal(t, name != "own", dialled[1], "the second on a kept connection")
			_, err = c.Status(t.Context(), payout.Key{ProjectID: 1234, PaymentID: "p1"}, time.Second)
			require.Error(t, err)
			require.EqualValues(t, 2, read.Load(), "a poll moves no money")
		})
	}
}

// Whatever a gate answers: only the documented forms say that nothing happened,
// and only the plain one that it never saw the id.
func FuzzAnswer(f *testing.F) {
	for _, status := range []int{200, 202, 302, 400, 403, 404, 422, 429, 500, 502} {
		for _, text := range []string{
			`{"status":"success","request_id":"r","project_id":1234,"payment_id":"p1"}`, `{"status":"error","code":"3061","message":"not found"}`,
			`{"status":"error","code":"2609","errors":[{"field":"a","code":"2609"}]}`, `{"code":504}`, `{"status":"succ`, `<html>`, ``, `[]`, `null`,
			`{"status":"success","status":"error"}`, `{"payment":{"id":"p1","status":"success"},"project_id":1234,"signature":"x"}`,
		} {
			f.Add(status, "application/json", text)
		}
	}
	f.Add(200, "text/html", "<html>")
	f.Add(200, "application/problem+json; charset=utf-8", `{"status":"error","code":"3061"}`)
	key := payout.Key{ProjectID: 1234, PaymentID: "p1"}
	f.Fuzz(func(t *testing.T, status int, media, text string) {
		res := transport.Response{Status: status, ContentType: media, Body: text}
		a := classify(res, key)
		switch a.Kind {
		case payout.Accepted:
			require.True(t, json.Valid([]byte(text)))
			require.Contains(t, text, "success")
			if status != http.StatusOK {
				require.Contains(t, text, key.PaymentID)
			}
		case payout.Refused:
			require.Less(t, status, 500)
			require.NotEqual(t, http.StatusTooManyRequests, status)
			require.NotEmpty(t, a.Code)
		case payout.Unsent:
			require.Less(t, status, 500)
			require.True(t, status == http.StatusTooManyRequests || a.Stop || a.NoMoney)
			require.True(t, status == http.StatusTooManyRequests || documented(a.Code))
		case payout.Taken:
			require.Equal(t, GroupDuplicate, GroupOf(a.Code))
			require.Less(t, status, 500)
		}
		require.LessOrEqual(t, len([]rune(a.Message)), 2*payout.MaxText+2)
		_, err := parseStatus(res, key, keys{})
		if errors.Is(err, ErrNotSeen) {
			require.Equal(t, http.StatusOK, status)
			require.Contains(t, text, "3061")
		}
	})
}

// A refusal that says two things says nothing, but that an id is taken.
func TestRefusalsThatContradictThemselves(t *testing.T) {
	t.Parallel()
	key := payout.Key{ProjectID: 1234, PaymentID: "p"}
	for body, want := range map[string]payout.Kind{
		`{"status":"error","code":"2426","message":"bad","errors":[{"code":"2426"},{"code":"2609"}]}`:                  payout.Refused,
		`{"status":"error","code":"2426","message":"bad","errors":[{"code":"3041","message":"exists"}]}`:               payout.Taken,
		`{"status":"error","errors":[{"code":"2426","message":"x"},{"code":"3041","message":"exists"}]}`:               payout.Taken,
		`{"status":"error","errors":[{"code":"2426","message":"x"},{"code":"undocumented"}]}`:                          payout.Doubtful,
		`{"status":"error","errors":[{"code":"undocumented"},{"code":"2426","message":"x"}]}`:                          payout.Doubtful,
		`{"status":"error","code":"2426","message":"bad","payment":{"id":"p","status":"processing"}}`:                  payout.Doubtful,
		`{"status":"success","payment_id":"p","project_id":1234,"payment":{"id":"other","status":"decline"}}`:          payout.Doubtful,
		`{"status":"success","payment_id":"p","project_id":1234,"request_id":"r","payment":{"id":"p","status":"new"}}`: payout.Accepted,
	} {
		a := classify(transport.Response{Status: 400, ContentType: "application/json", Body: body}, key)
		require.Equal(t, want, a.Kind, body)
		require.False(t, a.Stop, body)
	}
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
		said := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"status\":\"success\"}")
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
		if a := c.Send(b.Context(), d, time.Second); a.Kind != payout.Accepted {
			b.Fatalf("%+v", a)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type keys struct{}

func (keys) Signing(p uint32) (gate.Secret, bool) { return gate.NewSecret("secret"), p == 1234 }
func (keys) Accepted(p uint32) []gate.Secret {
	if p != 1234 {
		return nil
	}
	return []gate.Secret{gate.NewSecret("secret")}
}

// applier notes what is applied, and can refuse, wait, or choke on one id.
type applier struct {
	mu      sync.Mutex
	events  []payout.Event
	commits int
	err     error
	poison  string
	hold    chan struct{}
	flags   payout.Flags // of every payout
}

func (a *applier) Apply(_ context.Context, events ...payout.Event) ([]store.Change, error) {
	if a.hold != nil {
		<-a.hold
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.commits++
	if a.err != nil {
		return nil, a.err
	}
	for _, e := range events {
		if a.poison != "" && e.Key.PaymentID == a.poison {
			return nil, errors.New("damaged record")
		}
	}
	a.events = append(a.events, events...)
	changes := make([]store.Change, len(events))
	for i := range changes {
		changes[i].Before.Flags, changes[i].Before.Amount.Currency = a.flags, "KGS"
	}
	return changes, nil
}

func (a *applier) seen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.events)
}

func serveCallbacks(t *testing.T, a *applier, change func(*Callbacks)) (*httptest.Server, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	var mu sync.Mutex
	c := &Callbacks{Keys: keys{}, Committer: NewCommitter(a), Log: slog.New(slog.NewJSONHandler(lockedWriter{&mu, &log}, nil))}
	if change != nil {
		change(c)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Committer.Run(ctx) })
	s := httptest.NewServer(c)
	t.Cleanup(func() { s.Close(); stop(); wg.Wait(); http.DefaultClient.CloseIdleConnections() })
	return s, &log
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func signed(id string) string {
	body := map[string]any{
		"project_id": 1234, "payment": map[string]any{"id": id, "type": "payout", "status": "success", "sum": map[string]any{"amount": 5, "currency": "KGS"}},
		"account": map[string]any{"number": "996555123456"}, "customer": map[string]any{"id": "c-1"},
	}
	unsigned, _ := json.Marshal(body)
	canonical, _ := gate.Canonical(unsigned)
	body["signature"] = gate.NewSecret("secret").Sign(canonical)
	b, _ := json.Marshal(body)
	return string(b)
}

func post(t *testing.T, url, body string, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		want       int
		stored     int
	}{
		{"signed", signed("p1"), 200, 1},
		{"unsigned", strings.Replace(signed("p1"), `"signature"`, `"signed"`, 1), 403, 0},
		{"changed", strings.Replace(signed("p1"), "success", "decline", 1), 403, 0},
		{"another project", strings.Replace(signed("p1"), "1234", "1235", 1), 403, 0},
		{"not JSON", "status=success", 400, 0},
		{"empty", "", 400, 0},
		{"too large", signed("p1") + strings.Repeat(" ", maxCallback), 400, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &applier{}
			s, log := serveCallbacks(t, a, nil)
			require.Equal(t, tt.want, post(t, s.URL, tt.body))
			require.Equal(t, tt.stored, a.seen())
			s.Close()
			require.NotContains(t, log.String(), "996555123456")
		})
	}
}

func TestOnlyPosts(t *testing.T) {
	t.Parallel()
	s, _ := serveCallbacks(t, &applier{}, nil)
	res, err := http.Get(s.URL)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
}

func TestAStoreThatCannotWriteIsNot200(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("no space left on device"), store.ErrBusy} {
		s, _ := serveCallbacks(t, &applier{err: err}, nil)
		require.Equal(t, 500, post(t, s.URL, signed("p1")))
	}
}

// oneRow is the row of every payout, or the reason why it cannot be read.
type oneRow struct {
	customer string
	err      error
}

func (r oneRow) Row(context.Context, payout.Payout) (columns, cells []string, err error) {
	return []string{"customer.id"}, []string{r.customer}, r.err
}

// Where the payment may be somebody else's, the gate's word is not taken before
// it was compared with the row: nobody must ever read what was not compared.
func TestAPaymentInQuestionIsComparedFirst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		rows   oneRow
		flags  payout.Flags
		want   int
		taken  int // events that could change anything
		theirs bool
	}{
		{"in question, and another customer's", oneRow{customer: "c-2"}, payout.WasDoubted, 200, 1, true},
		{"in question, and ours", oneRow{customer: "c-1"}, payout.WasDoubted, 200, 1, false},
		{"in question, and the row cannot be read", oneRow{err: store.ErrBusy}, payout.WasDoubted, 500, 0, false},
		{"not in question", oneRow{err: store.ErrBusy}, 0, 200, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &applier{flags: tt.flags}
			s, _ := serveCallbacks(t, a, func(c *Callbacks) { c.Rows = tt.rows })
			require.Equal(t, tt.want, post(t, s.URL, signed("p1")))
			taken := 0
			for _, e := range a.events {
				require.True(t, e.Maybe || tt.flags != 0, "the first word may be taken only if it is not in question")
				if !e.Maybe || tt.flags == 0 {
					taken++
					require.Equal(t, tt.theirs, e.Theirs)
				}
			}
			require.Equal(t, tt.taken, taken)
		})
	}
}

// 200 comes after the commit, never before.
func TestTheAnswerWaitsForTheCommit(t *testing.T) {
	t.Parallel()
	a := &applier{hold: make(chan struct{})}
	s, _ := serveCallbacks(t, a, nil)
	answered := make(chan int, 1)
	go func() { answered <- post(t, s.URL, signed("p1")) }()
	select {
	case code := <-answered:
		t.Fatalf("answered %d before the commit", code)
	case <-time.After(100 * time.Millisecond):
	}
	close(a.hold)
	require.Equal(t, 200, <-answered)
}

func TestManyCallbacksShareACommit(t *testing.T) {
	t.Parallel()
	a := &applier{hold: make(chan struct{})}
	s, _ := serveCallbacks(t, a, nil)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if code := post(t, s.URL, signed(fmt.Sprint("p", i))); code != 200 {
				t.Errorf("answered %d", code)
			}
		})
	}
	time.AfterFunc(200*time.Millisecond, func() { close(a.hold) })
	wg.Wait()
	require.Equal(t, 40, a.seen())
	require.Less(t, a.commits, 20)
}

func TestOneBadRecordKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	a := &applier{poison: "bad", hold: make(chan struct{})}
	s, _ := serveCallbacks(t, a, nil)
	codes := make(chan int, 3)
	for _, id := range []string{"p1", "bad", "p2"} {
		go func() { codes <- post(t, s.URL, signed(id)) }()
	}
	time.AfterFunc(100*time.Millisecond, func() { close(a.hold) })
	got := map[int]int{}
	for range 3 {
		got[<-codes]++
	}
	require.Equal(t, map[int]int{200: 2, 500: 1}, got)
}

func TestSources(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	for _, tt := range []struct {
		name      string
		allow     []netip.Prefix
		proxies   []netip.Prefix
		forwarded []string
		want      int
	}{
		{"all are allowed", nil, nil, nil, 200},
		{"allowed", []netip.Prefix{prefix("127.0.0.0/8")}, nil, nil, 200},
		{"not allowed", []netip.Prefix{prefix("203.0.113.0/24")}, nil, nil, 403},
		{"a header of one's own", []netip.Prefix{prefix("203.0.113.0/24")}, nil, []string{"203.0.113.7"}, 403},
		{"behind a trusted proxy", []netip.Prefix{prefix("203.0.113.0/24")}, []netip.Prefix{prefix("127.0.0.1/32")}, []string{"203.0.113.7"}, 200},
		{"behind two", []netip.Prefix{prefix("203.0.113.0/24")}, []netip.Prefix{prefix("127.0.0.1/32"), prefix("10.0.0.0/8")}, []string{"203.0.113.7, 10.1.1.1"}, 200},
		{"a forged hop before the real one", []netip.Prefix{prefix("203.0.113.0/24")}, []netip.Prefix{prefix("127.0.0.1/32")}, []string{"203.0.113.7, 198.51.100.9"}, 403},
		{"a forged header before the proxy's", []netip.Prefix{prefix("203.0.113.0/24")}, []netip.Prefix{prefix("127.0.0.1/32")}, []string{"203.0.113.7", "198.51.100.9"}, 403},
		{"nonsense", []netip.Prefix{prefix("203.0.113.0/24")}, []netip.Prefix{prefix("127.0.0.1/32")}, []string{"nonsense"}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := serveCallbacks(t, &applier{}, func(c *Callbacks) { c.Allow, c.Proxies = tt.allow, tt.proxies })
			var header []string
			for _, f := range tt.forwarded {
				header = append(header, "X-Forwarded-For", f)
			}
			require.Equal(t, tt.want, post(t, s.URL, signed("p1"), header...))
		})
	}
}

func TestOpenSaysThatThePortIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	_, err = Open(t.Context(), l.Addr().String(), http.NotFoundHandler())
	require.Error(t, err)
}

// A callback under way is answered before the server goes.
func TestServeShutsDownInOrder(t *testing.T) {
	t.Parallel()
	a := &applier{hold: make(chan struct{})}
	c := &Callbacks{Keys: keys{}, Committer: NewCommitter(a), Log: slog.New(slog.DiscardHandler)}
	committing, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Committer.Run(committing) })
	s, err := Open(t.Context(), "127.0.0.1:0", c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, s) }()
	answered := make(chan int, 1)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		res, err := client.Post("http://"+s.Addr().String(), "application/json", strings.NewReader(signed("p1")))
		if err != nil {
			answered <- 0
			return
		}
		_ = res.Body.Close()
		answered <- res.StatusCode
	}()
	a.hold <- struct{}{} // the commit has begun
	cancel()
	close(a.hold)
	require.Equal(t, 200, <-answered)
	require.NoError(t, <-done)
	stop()
	wg.Wait()
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	var broken error
	h := (&Admin{Ready: func(context.Context) error { return broken }}).Handler()
	get := func(path string) int {
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r.Code
	}
	require.Equal(t, 200, get("/healthz"))
	require.Equal(t, 200, get("/readyz"))
	broken = store.ErrMissing
	require.Equal(t, 200, get("/healthz"))
	require.Equal(t, 503, get("/readyz"))
	require.Equal(t, 404, get("/"))
}

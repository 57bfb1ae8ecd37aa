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
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
	"masspay/store/storetest"
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
	return changes, nil
}

func (a *applier) seen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.events)
}

func serveCallbacks(t *testing.T, a store.Applier, change func(*Callbacks)) (*httptest.Server, *bytes.Buffer) {
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
	return sign(body)
}

// sign makes a signed callback of a body.
func sign(body map[string]any) string {
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
		{"another project", strings.Replace(signed("p1"), `"project_id":1234`, `"project_id":1235`, 1), 403, 0},
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

// What is sent to another path is not taken, and the log names the right one; a slash
// behind the path is none.
func TestOtherPaths(t *testing.T) {
	t.Parallel()
	a := &applier{}
	var log bytes.Buffer
	c := &Callbacks{Keys: keys{}, Committer: NewCommitter(a), Log: slog.New(slog.NewJSONHandler(&log, nil))}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.Committer.Run(ctx) })
	defer func() { stop(); wg.Wait() }()
	mux := c.Mux("/callbacks")
	ask := func(method, path string) int {
		r := httptest.NewRecorder()
		mux.ServeHTTP(r, httptest.NewRequest(method, path, strings.NewReader(signed("p"))))
		return r.Code
	}
	require.Equal(t, 200, ask(http.MethodPost, "/callbacks"))
	require.Equal(t, 200, ask(http.MethodPost, "/callbacks/"))
	require.Equal(t, 2, a.seen())
	require.Equal(t, 404, ask(http.MethodPost, "/callback"))
	require.Contains(t, log.String(), `"path":"/callback","right":"/callbacks"`)
	require.Equal(t, 404, ask(http.MethodPost, "/callbacks/x"))
	log.Reset()
	require.Equal(t, 404, ask(http.MethodGet, "/favicon.ico"))
	require.Empty(t, log.String())
	for range 100 {
		ask(http.MethodPost, "/flood")
	}
	require.LessOrEqual(t, strings.Count(log.String(), "/flood"), 2*maxRefusalLines)
	require.Equal(t, 2, a.seen())
}

func TestAStoreThatCannotWriteIsNot200(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("no space left on device"), store.ErrBusy} {
		s, _ := serveCallbacks(t, &applier{err: err}, nil)
		require.Equal(t, 500, post(t, s.URL, signed("p1")))
	}
}

// What a callback says is compared with the row in the commit that takes it: another's
// payment sets no outcome, and a body that can be read in two ways only brings a poll
// forward.
func TestCallbacksAreComparedWithTheRow(t *testing.T) {
	t.Parallel()
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	db, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	b := storetest.Load(t, db, "a", storetest.Rows("a", 4))
	storetest.Claim(t, db, b, 2)
	s, log := serveCallbacks(t, db, nil)
	get := func(id string) *payout.Payout {
		r, err := db.Get(t.Context(), payout.Key{ProjectID: 1234, PaymentID: id})
		require.NoError(t, err)
		return &r.Payout
	}
	report := func(id, customer string, minor int, description string) string {
		return sign(map[string]any{
			"project_id": 1234,
			"payment":    map[string]any{"id": id, "type": "payout", "status": "success", "description": description, "sum": map[string]any{"amount": minor, "currency": "KGS"}},
			"customer":   map[string]any{"id": customer},
			"operation": map[string]any{
				"id": 47, "type": "payout", "status": "success", "code": "0", "created_date": time.Now().UTC().Format("2006-01-02T15:04:05-0700"),
			},
		})
	}
	// Being sent: the customer differs.
	require.Equal(t, 200, post(t, s.URL, report("a-000000", "c-other", 1000, "")))
	require.Equal(t, payout.StateSending, get("a-000000").State)
	require.Equal(t, payout.FieldCustomer, get("a-000000").Field)
	// Being sent, and nothing differs.
	require.Equal(t, 200, post(t, s.URL, report("a-000001", "c-a-000001", 1001, "")))
	require.Equal(t, payout.StatePaid, get("a-000001").State)
	// Never sent: nothing is said of the customer.
	require.Equal(t, 200, post(t, s.URL, report("a-000002", "", 1002, "")))
	require.Equal(t, payout.StateNew, get("a-000002").State)
	require.True(t, get("a-000002").NeedsCheck())
	// Regrouped.
	require.Equal(t, 200, post(t, s.URL, report("a-000003", "c-a-000003", 1003, "x;payment:status:success")))
	require.Equal(t, payout.StateNew, get("a-000003").State)
	require.False(t, get("a-000003").NeedsCheck())
	require.Contains(t, log.String(), "read in two ways")
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
		close(a.hold) // or the server does not end
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

func TestOneBadRecordDoesNotFailTheOthers(t *testing.T) {
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

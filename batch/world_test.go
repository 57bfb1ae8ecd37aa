package batch_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"masspay/batch"
	"masspay/batch/payfile"
	"masspay/batch/result"
	"masspay/gate"
	"masspay/gate/gatesim"
	"masspay/gate/transport"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
	"masspay/store/storetest"
	"masspay/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "secret-of-1234"

// keys are those of project 1234.
type keys struct{}

func (keys) Signing(p uint32) (gate.Secret, bool) { return gate.NewSecret(secret), p == 1234 }
func (keys) Accepted(p uint32) []gate.Secret {
	if p != 1234 {
		return nil
	}
	return []gate.Secret{gate.NewSecret(secret)}
}

// world is everything around a batch: a store, a gate with real HTTP, and a
// server for its callbacks.
type world struct {
	t     *testing.T
	o     bolt.Options
	s     *bolt.Store
	sim   *gatesim.Sim
	api   *httptest.Server
	log   syncBuffer
	rate  float64
	tweak func(*batch.Runner)

	maySend func(ctx context.Context, dialled bool) error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const (
	statusAfter = 150 * time.Millisecond
	quietPeriod = 4 * time.Second
	timeout     = time.Second
)

func newWorld(t *testing.T, cfg gatesim.Config) *world {
	t.Helper()
	w := &world{t: t, rate: 10_000}
	w.o = bolt.Options{
		Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey(),
		Rules: payout.Rules{StatusAfter: statusAfter, QuietPeriod: quietPeriod},
	}
	require.NoError(t, bolt.Create(t.Context(), w.o))
	w.s = w.open()
	rows := w.open()
	committer := web.NewCommitter(rows)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { committer.Run(ctx) })
	callbacks := httptest.NewServer(&web.Callbacks{Keys: keys{}, Committer: committer, Log: slog.New(slog.NewJSONHandler(&w.log, nil))})
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	cfg.Projects, cfg.Callback, cfg.Transport = map[uint32]string{1234: secret}, callbacks.URL, transport
	w.sim = gatesim.New(cfg)
	w.api = httptest.NewServer(w.sim)
	require.NoError(t, w.s.Prove(t.Context(), w.api.URL)) // what an unproven gate gets has tests of its own
	t.Cleanup(func() {
		w.sim.Close()
		w.api.CloseClientConnections()
		w.api.Close()
		transport.CloseIdleConnections()
		callbacks.Close()
		stop()
		wg.Wait()
	})
	return w
}

// open opens the store as another process would.
func (w *world) open() *bolt.Store {
	s, err := bolt.Open(w.t.Context(), w.o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// client makes a gate client with a limiter of its own on the shared file.
func (w *world) client() *gate.Client {
	l, err := w.s.Limiter(w.rate, 1)
	require.NoError(w.t, err)
	c, err := gate.NewClient(gate.Options{BaseURL: w.api.URL, Keys: keys{}, Limiter: l, Timeout: timeout, Transport: transport.New(32), MaySend: w.maySend})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { c.Close(); _ = l.Close() })
	return c
}

func (w *world) runner(s store.Store) *batch.Runner {
	r := &batch.Runner{
		Store: s, Gate: w.client(), Rate: w.rate, Workers: 32, Timeout: timeout, Attempts: 5, MaxRefusals: 20,
		StatusAfter: statusAfter, Wait: time.Minute, Notify: func(text string) { _, _ = fmt.Fprintln(&w.log, text) },
	}
	if w.tweak != nil {
		w.tweak(r)
	}
	return r
}

func project1234(p uint32) bool { return p == 1234 }

func input(t *testing.T, name, text string) *payfile.Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	in, err := payfile.Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.Close() })
	return in
}

// load checks and loads a file.
func (w *world) load(text string) store.Batch {
	w.t.Helper()
	in := input(w.t, "payouts.csv", text)
	k, err := (&payfile.Checker{Store: w.s, Projects: project1234}).Check(w.t.Context(), in)
	require.NoError(w.t, err)
	l, err := k.Load(w.t.Context(), w.s, in, nil)
	require.NoError(w.t, err)
	return l.Batch
}

func (w *world) run(b store.Batch) batch.Ending {
	w.t.Helper()
	out, err := w.runner(w.s).Run(w.t.Context(), b.ID)
	require.NoError(w.t, err)
	return out
}

const header = "operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email\n"

// line is a row whose destination ends in two digits, which say what the
// simulator makes of it.
func line(id string, minor int, suffix int) string {
	return fmt.Sprintf("payout;1234;sbp-p2p;%s;%d;KGS;9965551234%02d;mbank;c-%s;198.51.100.7;Aibek;Asanov;aibek@example.com\n", id, minor, suffix, id)
}

// file is n rows, every one paid in the end.
func file(prefix string, n int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		b.WriteString(line(fmt.Sprintf("%s-%05d", prefix, i), 1000+i, 20+i%80))
	}
	return b.String()
}

// result reads a batch's result by column.
func (w *world) result(b store.Batch) []map[string]string {
	w.t.Helper()
	var first, second bytes.Buffer
	_, err := result.Report{}.To(w.t.Context(), w.s, b, &first)
	require.NoError(w.t, err)
	_, err = result.Report{}.To(w.t.Context(), w.s, b, &second)
	require.NoError(w.t, err)
	require.Equal(w.t, first.String(), second.String(), "same store, same report")
	return parse(w.t, &first)
}

func parse(t *testing.T, r io.Reader) []map[string]string {
	c := csv.NewReader(r)
	c.Comma = ';'
	all, err := c.ReadAll()
	require.NoError(t, err)
	rows := make([]map[string]string, 0, len(all))
	for _, record := range all[1:] {
		m := map[string]string{}
		for i, name := range all[0] {
			m[name] = record[i]
		}
		rows = append(rows, m)
	}
	return rows
}

// check is the standard check of the world, which ends every test: the ledger,
// the store, the result and the logs tell one story.
func (w *world) check(b store.Batch, text string) {
	w.t.Helper()
	judge(w.t, w.s, b, text, w.sim.Ledger())
	storetest.Check(w.t, w.s)
	keepsSecrets(w.t, w.o.Path, w.log.String())
}

// judge writes a batch's result twice and holds it against the ledger.
func judge(t testing.TB, s store.Store, b store.Batch, text string, ledger []gatesim.Entry) gatesim.Judgement {
	t.Helper()
	var first, again bytes.Buffer
	_, err := result.Report{}.To(context.Background(), s, b, &first)
	require.NoError(t, err)
	_, err = result.Report{}.To(context.Background(), s, b, &again)
	require.NoError(t, err)
	require.Equal(t, first.String(), again.String(), "same store, same report")
	j := gatesim.Judge(ledger, []byte(text), first.Bytes(), ';')
	require.Empty(t, j.Faults)
	return j
}

// keepsSecrets looks through the logs and every file of the store for what must
// not be there in the clear.
func keepsSecrets(t testing.TB, path, log string) {
	t.Helper()
	paths, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	texts := map[string][]byte{"the log": []byte(log)}
	for _, p := range paths {
		f, err := os.Open(p)
		require.NoError(t, err)
		texts[p], err = io.ReadAll(f)
		require.NoError(t, errors.Join(err, f.Close()))
	}
	for name, text := range texts {
		for _, leak := range []string{secret, "99655512342", "asanov", "aibek@"} {
			require.False(t, bytes.Contains(bytes.ToLower(text), []byte(leak)), "%s has %q in the clear", name, leak)
		}
	}
}

// explainOpen logs the history of every payout that is open.
func (w *world) explainOpen() {
	w.t.Helper()
	f := store.Filter{Events: true, States: []payout.State{payout.StateNew, payout.StateSending, payout.StateUnknown, payout.StateAccepted}}
	for r, err := range w.s.List(w.t.Context(), f) {
		require.NoError(w.t, err)
		w.t.Logf("open: %+v", r.Payout)
		for _, e := range r.Events {
			w.t.Logf("  %+v", e)
		}
		for _, h := range w.sim.History() {
			if h.Key == r.Key {
				w.t.Logf("  gate: %+v", h)
			}
		}
	}
}

func states(rows []map[string]string) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[r["result.state"]]++
	}
	return n
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

package metrics_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"masspay/metrics"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
	"masspay/store/storetest"
)

func open(t *testing.T) (s store.Store, again func() store.Store) {
	t.Helper()
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	again = func() store.Store {
		s, err := bolt.Open(t.Context(), o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	return again(), again
}

var options = metrics.Options{
	Version: "1.2.3", Size: func() (uint64, uint64, error) { return 4096, 1 << 30, nil },
	Callbacks: func() map[string]int64 { return map[string]int64{"changed": 3, "bad_signature": 1} },
}

// text is what a monitoring system reads.
func text(t *testing.T, s store.Store) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "masspay.prom")
	require.NoError(t, metrics.WriteFile(path, metrics.New(s, options)))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm())
	return string(b)
}

// The figures are those of the store: the same in every process, and after a restart.
func TestFigures(t *testing.T) {
	t.Parallel()
	s, again := open(t)
	at := time.Unix(1_800_000_000, 0).UTC()
	run := func(command string, exit int, at time.Time) {
		n, err := s.BeginRun(t.Context(), store.Run{Command: command, At: at})
		require.NoError(t, err)
		if exit >= 0 {
			require.NoError(t, s.EndRun(t.Context(), n, store.RunEnd{At: at.Add(time.Minute), ExitCode: exit}))
		}
	}
	b := storetest.Load(t, s, "a", storetest.Rows("a", 4))
	for i, c := range storetest.Claim(t, s, b, 3) {
		e := payout.Event{Key: c.Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", At: at, Took: 200 * time.Millisecond}
		if i == 2 {
			e.Kind = payout.Doubtful
		}
		storetest.Apply(t, s, e)
		if i == 0 {
			storetest.Apply(t, s, payout.Event{Key: c.Key, Kind: payout.Final, Source: payout.FromCallback, At: at.Add(time.Second), Outcome: payout.StateReturned, Reported: payout.Reported{Amount: c.Amount}})
		}
	}
	require.NoError(t, s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByPerson, Reason: "r", By: "p", At: at}))
	run("run --batch", 4, at)
	run("run", 10, at.Add(time.Hour))
	run("resolve --as seen payment_47", 0, at)
	run("serve", -1, at)
	c := storetest.Claim(t, s, storetest.Load(t, s, "q", storetest.Rows("q", 1)), 1)[0]
	storetest.Apply(t, s, payout.Event{Key: c.Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", At: at, Took: 200 * time.Millisecond, Reported: payout.Reported{Status: "awaiting clarification"}})
	l, err := s.Limiter(5, 1)
	require.NoError(t, err)
	until := time.Now().Add(time.Minute).Round(time.Second)
	require.NoError(t, l.Pause(t.Context(), until))
	require.NoError(t, l.Close())
	run("backup", 0, at)
	got := text(t, s)
	require.Regexp(t, `masspay_gate_paused_until_timestamp_seconds 1\.[0-9]+e\+09\n`, got)
	for _, want := range []string{
		`masspay_payouts{state="new"} 1`, `masspay_payouts{state="accepted"} 2`, `masspay_payouts{state="unknown"} 1`, `masspay_payouts{state="returned"} 1`, `masspay_payouts{state="paid"} 0`,
		`masspay_gate_answers_total{answer="accepted",request="payout"} 3`, `masspay_gate_answers_total{answer="in_doubt",request="payout"} 1`,
		`masspay_gate_answer_seconds_bucket{request="payout",le="0.1"} 0`, `masspay_gate_answer_seconds_bucket{request="payout",le="0.25"} 4`, `masspay_gate_answer_seconds_sum{request="payout"} 0.8`,
		`masspay_outcomes_total{result="returned"} 1`, `masspay_exceptions_open 2`, `masspay_clarifications_open 1`, `masspay_clarification_deadline_timestamp_seconds 1.8000018e+09`, `masspay_last_backup_timestamp_seconds 1.80000006e+09`, `masspay_batches_held 1`,
		`masspay_runs_total{command="run",exit_code="4"} 1`, `masspay_runs_total{command="run",exit_code="10"} 1`, `masspay_runs_total{command="resolve",exit_code="0"} 1`,
		`masspay_last_exit_code{command="run"} 10`, `masspay_last_success_timestamp_seconds{command="run"} 1.80000006e+09`, `masspay_last_end_timestamp_seconds{command="run"} 1.80000366e+09`,
		`masspay_store_bytes 4096`, `masspay_callbacks_total{result="bad_signature"} 1`, `masspay_build_info{version="1.2.3"} 1`, `masspay_store_readable 1`,
	} {
		require.Contains(t, got, want+"\n")
	}
	require.NotContains(t, got, `last_end_timestamp_seconds{command="serve"}`)
	process := prometheus.NewRegistry()
	counting := metrics.NewProcess()
	require.NoError(t, process.Register(counting))
	counting.Asked("/", 200)
	holdPage(t, metrics.New(s, options), process)
	require.NotContains(t, got, "payment_47", "no label is a payment")
	require.Equal(t, got, text(t, again()), "another process says the same")
	problems, err := testutil.GatherAndLint(metrics.New(s, options))
	require.NoError(t, err)
	require.Empty(t, problems)
}

// A run that went on when it was last looked at is counted once, when it ends.
func TestRunsAreCountedOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	now := time.Now()
	c := metrics.NewCollector(s, options)
	count := func() int { return testutil.CollectAndCount(c, "masspay_runs_total") }
	n, err := s.BeginRun(t.Context(), store.Run{Command: "run", At: now})
	require.NoError(t, err)
	require.Zero(t, count())
	later, err := s.BeginRun(t.Context(), store.Run{Command: "run", At: now})
	require.NoError(t, err)
	require.NoError(t, s.EndRun(t.Context(), later, store.RunEnd{At: now, ExitCode: 0}))
	c.Forget()
	require.Equal(t, 1, count())
	require.NoError(t, s.EndRun(t.Context(), n, store.RunEnd{At: now, ExitCode: 3}))
	for range 3 {
		c.Forget()
		require.Equal(t, 2, count())
	}
	require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`# HELP masspay_runs_total Commands that ended.
# TYPE masspay_runs_total counter
masspay_runs_total{command="run",exit_code="0"} 1
masspay_runs_total{command="run",exit_code="3"} 1
`), "masspay_runs_total"))
}

type unreadable struct{ store.Store }

func (unreadable) Totals(context.Context) (store.Totals, error) {
	return store.Totals{}, errors.New("no disk")
}

// A store that cannot be read is told, and nothing else is made up.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	got := text(t, unreadable{s})
	require.Contains(t, got, "masspay_store_readable 0\n")
	require.NotContains(t, got, "masspay_payouts")
	require.Error(t, metrics.WriteFile(filepath.Join(t.TempDir(), "nowhere", "x.prom"), metrics.New(s, options)))
}

// The alerts fire when they must, and do not when they must not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no promtool: install prometheus")
		}
		t.Skip("NO PROMTOOL: the alerts are not tried; install prometheus")
	}
	c := exec.CommandContext(t.Context(), promtool, "test", "rules", "masspay.test.yml")
	c.Dir = "../samples/prometheus"
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	tests, err := os.ReadFile("../samples/prometheus/masspay.test.yml")
	require.NoError(t, err)
	rules, err := os.ReadFile("../samples/prometheus/masspay.rules.yml")
	require.NoError(t, err)
	for line := range strings.Lines(string(rules)) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); is {
			require.Contains(t, string(tests), "alertname: "+name+", exp_alerts: []", "%s is not held against silence", name)
			require.Contains(t, string(tests), "alertname: "+name+"\n        exp_alerts:", "%s is not seen to fire", name)
		}
	}
}

// What one process counts itself is there with the rest, and well named.
func TestProcess(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	p := metrics.NewProcess()
	p.CallbackTook(20 * time.Millisecond)
	p.Waited(time.Millisecond, false)
	p.Waited(11*time.Second, true)
	p.Asked("/batches/{id}", 200)
	o := options
	o.Process = p
	g := metrics.New(s, o)
	problems, err := testutil.GatherAndLint(g)
	require.NoError(t, err)
	require.Empty(t, problems)
	path := filepath.Join(t.TempDir(), "masspay.prom")
	require.NoError(t, metrics.WriteFile(path, g))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, want := range []string{
		`masspay_callback_seconds_bucket{le="0.025"} 1`, `masspay_callback_seconds_bucket{le="0.01"} 0`, `masspay_store_wait_seconds_count 2`, `masspay_store_wait_seconds_bucket{le="10"} 1`,
		`masspay_store_busy_total 1`, `masspay_http_requests_total{code="200",page="/batches/{id}"} 1`,
	} {
		require.Contains(t, string(b), want+"\n")
	}
}

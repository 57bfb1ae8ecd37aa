package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch/result"
	"masspay/gate/gatesim"
	"masspay/store/postgres/pgtest"
)

// night is a folder in which the real program runs against a simulator that
// pays every POST.
type night struct {
	t       *testing.T
	folder  string
	store   string          // path
	cluster *pgtest.Cluster // that the store is in a database of; nil: it is a file
	sim     *gatesim.Sim
	said    lockedBuffer // what all its commands printed to stderr
	pings   int          // requests that the gate had seen before the night began

	strange bool // the gate tells of other payments and of strange words, which leaves rows for a person
}

// lockedBuffer is written by several commands at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNight(t *testing.T, rate int, cfg gatesim.Config) *night {
	t.Helper()
	n := newNightOn(t, "masspay.db", rate, cfg)
	require.Equal(t, 0, n.masspay("init"))
	for try := 0; n.masspay("ping") != 0; try++ { // the gate misbehaves from the beginning
		require.Less(t, try, 50)
	}
	n.pings = n.sim.Stats().Requests
	return n
}

// requests is how many the gate has seen since the night began.
func (n *night) requests() int { return n.sim.Stats().Requests - n.pings }

// newNightOn has its store elsewhere, and makes none yet.
func newNightOn(t *testing.T, store string, rate int, cfg gatesim.Config) *night {
	t.Helper()
	cfg.Projects = map[uint32]string{1234: "secret"}
	cfg.PayEvery = true
	n := &night{t: t, folder: t.TempDir(), store: store, sim: gatesim.New(cfg)}
	server := httptest.NewServer(n.sim)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.said.String())
		}
		n.sim.Close()
		server.CloseClientConnections()
		server.Close()
	})
	require.NoError(t, prepare(n.folder, server.URL))
	// With controls on that nothing of a night is over: whatever dies, dies with them.
	controls := "limits:\n  hours: [\"00:00-24:00\"]\n  methods: [sbp-p2p]\n  rules: [{currency: KGS, least: 0.01, payout: 1000000.00, file: 100000000.00, day: 1000000000.00, payee_day: 1000000000.00}]\n"
	config := controls + strings.NewReplacer("rate: 1000", fmt.Sprint("rate: ", rate), "path: masspay.db", "path: "+store+"\n  filesystem: any").Replace(fmt.Sprintf(testConfig, server.URL))
	require.NoError(t, os.WriteFile(filepath.Join(n.folder, "masspay.yaml"), []byte(config), 0o600))
	return n
}

func (n *night) file(name string, rows int) {
	var b strings.Builder
	b.WriteString("operation_type;general.project_id;method;general.payment_id;payment.amount;payment.currency;account.number;account.bank_code;customer.id;customer.ip_address;customer.first_name;customer.last_name;customer.email\n")
	for i := range rows {
		_, _ = fmt.Fprintf(&b, "payout;1234;sbp-p2p;k-%04d;%d;KGS;9965551234%02d;mbank;c-%d;198.51.100.7;Aibek;Asanov;aibek@example.com\n", i, 1000+i, 20+i%80, i)
	}
	require.NoError(n.t, os.WriteFile(filepath.Join(n.folder, name), []byte(b.String()), 0o600))
}

func (n *night) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(n.t.Context(), "masspay", args...)
	cmd.Dir = n.folder
	cmd.Stderr = &n.said
	return cmd
}

// masspay runs the program to its end and returns its exit code.
func (n *night) masspay(args ...string) int {
	n.t.Helper()
	err := n.command(args...).Run()
	if err == nil {
		return 0
	}
	n.tell("masspay %v: %v", args, err)
	var exit *exec.ExitError
	require.ErrorAs(n.t, err, &exit)
	return exit.ExitCode()
}

// tell adds to the story, which is printed when the test fails.
func (n *night) tell(format string, args ...any) { _, _ = fmt.Fprintf(&n.said, format+"\n", args...) }

// after waits until the gate has seen so many requests.
func (n *night) after(requests int) {
	require.Eventually(n.t, func() bool { return n.requests() >= requests }, 30*time.Second, time.Millisecond)
}

func (n *night) check(name, output string) {
	n.t.Helper()
	st := n.sim.Stats()
	require.Zero(n.t, st.Doubles, "paid twice")
	require.Zero(n.t, st.OtherBody)
	text := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(n.folder, name))
		require.NoError(n.t, err)
		return b
	}
	require.Empty(n.t, gatesim.Judge(n.sim.Ledger(), text(name), text(output), ';').Faults)
	require.Equal(n.t, 0, n.masspay("doctor"))
	n.keepsSecrets()
	read := func(name string) [][]string {
		r := csv.NewReader(bytes.NewReader(text(name)))
		r.Comma = ';'
		rows, err := r.ReadAll()
		require.NoError(n.t, err)
		return rows[1:]
	}
	in, out := read(name), read(output)
	require.Len(n.t, out, len(in))
	require.Len(n.t, n.sim.Ledger(), len(in))
	for i := range in {
		require.Equal(n.t, in[i], out[i][:len(in[i])])
		words := []string{result.StatePaid}
		if n.strange {
			words = append(words, result.StateCheck) // the judge has seen that there is something to check
		}
		require.Contains(n.t, words, out[i][len(in[i])], "row %d: %v", i+1, out[i])
	}
}

// keepsSecrets looks through everything that the program wrote, but for the
// results, for what must not be there in the clear.
func (n *night) keepsSecrets() {
	n.t.Helper()
	store := n.store
	if !filepath.IsAbs(store) {
		store = filepath.Join(n.folder, store)
	}
	texts, paths := map[string][]byte{}, []string(nil)
	if n.cluster != nil {
		texts = n.cluster.Files()
	} else {
		var err error
		paths, err = filepath.Glob(store + "*")
		require.NoError(n.t, err)
	}
	require.NotEmpty(n.t, len(paths)+len(texts))
	texts["what was printed"] = []byte(n.said.String())
	for _, p := range paths {
		b, err := os.ReadFile(p)
		require.NoError(n.t, err)
		texts[p] = b
	}
	for name, text := range texts {
		for _, leak := range []string{"99655512342", "99655512343", "asanov", "aibek@"} {
			require.False(n.t, bytes.Contains(bytes.ToLower(text), []byte(leak)), "%s has %q in the clear", name, leak)
		}
	}
}

// kill -9 in the middle of run, again and again, then run to the end: the same
// end as without it.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	n := newNight(t, 100, gatesim.Config{OutcomeAfter: 20 * time.Millisecond, StatusLag: 200 * time.Millisecond})
	n.file("payouts.csv", 150)
	for i := range 5 {
		cmd := n.command("run", "payouts.csv", "-o", "result.csv")
		require.NoError(t, cmd.Start())
		n.after(10 + 20*i)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	require.Less(t, n.sim.Stats().Payouts, 150, "it was killed in the middle")
	logged, err := n.command("log").Output()
	require.NoError(t, err)
	require.Equal(t, 5, strings.Count(string(logged), "ended without a word: its process is gone"), "%s", logged)
	require.Equal(t, 0, n.masspay("run", "payouts.csv", "-o", "result.csv"))
	n.check("payouts.csv", "result.csv")
}

// Ctrl-C: claiming stops, what is in flight is recorded, exit 130, and a result.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		n := newNight(t, 50, gatesim.Config{OutcomeAfter: 20 * time.Millisecond})
		n.file("payouts.csv", 60)
		cmd := n.command("run", "payouts.csv", "-o", "result.csv")
		var said bytes.Buffer
		cmd.Stderr = &said
		require.NoError(t, cmd.Start())
		n.after(5)
		require.NoError(t, cmd.Process.Signal(signal))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, exitInterrupted, exit.ExitCode(), said.String())
		require.Contains(t, said.String(), "masspay: interrupted;")
		require.FileExists(t, filepath.Join(n.folder, "result.csv"))
		require.Equal(t, 0, n.masspay("run", "payouts.csv", "-o", "result.csv"))
		n.check("payouts.csv", "result.csv")
	}
}

// Who is told to ignore a hangup, as nohup does, goes on; a reader of standard error
// that left ends nothing.
func TestWhatEndsNothing(t *testing.T) {
	t.Parallel()
	n := newNight(t, 50, gatesim.Config{OutcomeAfter: 20 * time.Millisecond})
	n.file("payouts.csv", 40)
	run := n.command("run", "payouts.csv", "-o", "result.csv")
	read, write, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, read.Close())
	cmd := exec.Command("sh", append([]string{"-c", `trap "" HUP; exec "$0" "$@"`}, run.Args...)...)
	cmd.Path, cmd.Dir, cmd.Env, cmd.Stderr = "/bin/sh", run.Dir, run.Env, write
	require.NoError(t, cmd.Start())
	require.NoError(t, write.Close())
	n.after(5)
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	require.NoError(t, cmd.Wait())
	n.check("payouts.csv", "result.csv")
}

// A run that is suspended with Ctrl-Z does not block others at the store.
func TestSuspendedByHand(t *testing.T) {
	t.Parallel()
	n := newNight(t, 100, gatesim.Config{OutcomeAfter: 20 * time.Millisecond})
	n.file("payouts.csv", 80)
	cmd := n.command("run", "payouts.csv", "-o", "result.csv")
	require.NoError(t, cmd.Start())
	stat := fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)
	if _, err := os.Stat(stat); err != nil {
		t.Skip("no /proc here")
	}
	n.after(10)
	for range 5 {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTSTP))
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(stat)
			return err == nil && strings.Contains(string(b), ") T ")
		}, time.Minute, time.Millisecond, "it is suspended")
		require.Equal(t, 0, n.masspay("status"))
		require.NoError(t, cmd.Process.Signal(syscall.SIGCONT))
	}
	require.NoError(t, cmd.Wait())
	n.check("payouts.csv", "result.csv")
}

// Cron overlap: three processes with one file.
func TestThreeProcessesOnOneFile(t *testing.T) {
	t.Parallel()
	n := newNight(t, 100, gatesim.Config{OutcomeAfter: 20 * time.Millisecond, StatusLag: 100 * time.Millisecond})
	n.file("payouts.csv", 120)
	codes := make(chan int, 3)
	for i := range 3 {
		go func() { codes <- n.masspay("run", "payouts.csv", "-o", fmt.Sprint("result", i, ".csv")) }()
	}
	for range 3 {
		require.Equal(t, 0, <-codes)
	}
	for i := range 3 {
		n.check("payouts.csv", fmt.Sprint("result", i, ".csv"))
	}
}

// The result could not be written: known before anything is sent.
func TestAResultThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	n := newNight(t, 100, gatesim.Config{})
	n.file("payouts.csv", 3)
	require.NoError(t, os.Symlink("masspay.db", filepath.Join(n.folder, "link.csv")))
	for output, want := range map[string]string{
		"nowhere/result.csv": "the result could not be written", ".": "is a folder",
		"masspay.db": "would write over", "link.csv": "would write over", "masspay.db.marker": "would write over", "store.key": "would write over",
		"masspay.yaml": "would write over", "1234.secret": "would write over", "./payouts.csv": "would write over",
	} {
		cmd := n.command("run", "payouts.csv", "-o", output)
		cmd.Stderr = nil
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, output)
		require.Equal(t, exitConfig, exit.ExitCode(), output)
		require.Contains(t, string(out), want, output)
		require.Contains(t, string(out), "nothing was sent", output)
		require.Contains(t, string(out), "hint: ", output)
	}
	require.Zero(t, n.requests())
}

func TestAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	n := newNight(t, 100, gatesim.Config{})
	l, err := gatesim.Listen("127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	cmd := n.command("serve")
	cmd.Env = append(os.Environ(), "MASSPAY_CALLBACKS_LISTEN="+l.Addr().String())
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitConfig, exit.ExitCode())
	require.Contains(t, string(out), "address already in use")
	require.Contains(t, string(out), "hint: another process listens there")
}

// A second Ctrl-C leaves at once, as safe as any crash: what was under way is in
// doubt, and the next run asks.
func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, tt := range []struct {
			second time.Duration
			leaves bool
		}{
			{200 * time.Millisecond, false}, // timeout(1) sends two: they are one
			{sameSignal + 200*time.Millisecond, true},
		} {
			n := newNight(t, 100, gatesim.Config{
				OutcomeAfter: 20 * time.Millisecond, HangFor: time.Minute, Rates: map[gatesim.Fault]float64{gatesim.HangAfter: 0.5},
			})
			n.file("payouts.csv", 20)
			cmd := n.command("run", "payouts.csv", "-o", "result.csv")
			require.NoError(t, cmd.Start())
			n.after(10)
			require.NoError(t, cmd.Process.Signal(signal))
			// The first one is heard when claiming has stopped; the requests that hang
			// keep the process alive for the two seconds of their timeout.
			time.AfterFunc(tt.second, func() { _ = cmd.Process.Signal(signal) })
			_ = cmd.Wait()
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if tt.leaves {
				require.True(t, status.Signaled() && status.Signal() == signal, "it left at once, without the result: %v", cmd.ProcessState)
				require.NoFileExists(t, filepath.Join(n.folder, "result.csv"))
			} else {
				require.Equal(t, exitInterrupted, status.ExitStatus(), "%v", cmd.ProcessState)
				require.FileExists(t, filepath.Join(n.folder, "result.csv"))
			}
			for try := 0; n.masspay("run", "payouts.csv", "-o", "result.csv", "--wait", "20s") != 0; try++ {
				require.Less(t, try, 5)
			}
			n.check("payouts.csv", "result.csv")
		}
	}
}

// The disk with the store goes away in the middle: the run ends, says so, and
// sends nothing more; when the disk is back, the next one goes on.
func TestAStoreThatVanishes(t *testing.T) {
	t.Parallel()
	n := newNight(t, 30, gatesim.Config{OutcomeAfter: 20 * time.Millisecond})
	n.file("payouts.csv", 60)
	cmd := n.command("run", "payouts.csv", "-o", "result.csv", "--wait", "5s")
	require.NoError(t, cmd.Start())
	n.after(10)
	store, away := filepath.Join(n.folder, "masspay.db"), filepath.Join(n.folder, "away.db")
	require.NoError(t, os.Rename(store, away))
	_ = cmd.Wait()
	require.NotEqual(t, 0, cmd.ProcessState.ExitCode())
	require.NoFileExists(t, store, "no one makes a new one")
	require.Less(t, n.sim.Stats().Payouts, 60)
	require.Contains(t, n.said.String(), "there is no store")
	require.Regexp(t, `this run has sent \d+ requests`, n.said.String())
	sent := n.sim.Stats().Requests
	require.Equal(t, exitConfig, n.masspay("run", "payouts.csv", "-o", "result.csv"))
	require.Equal(t, sent, n.sim.Stats().Requests)
	require.NoError(t, os.Rename(away, store))
	for try := 0; n.masspay("run", "payouts.csv", "-o", "result.csv", "--wait", "20s") != 0; try++ {
		require.Less(t, try, 5)
	}
	n.check("payouts.csv", "result.csv")
}

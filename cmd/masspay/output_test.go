package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"masspay/batch/result"
	"masspay/gate/gatesim"
	"masspay/payout"
	"masspay/store"
)

// desk is a folder with a batch that was paid, and a command that is about to
// write its result.
type desk struct {
	t      *testing.T
	folder string
	s      store.Store
	b      store.Batch
	o      *output
	stdout bytes.Buffer
	said   bytes.Buffer
}

func newDesk(t *testing.T, rows int) *desk {
	t.Helper()
	n := newNight(t, 1000, gatesim.Config{OutcomeAfter: time.Millisecond})
	n.file("payouts.csv", rows)
	require.Equal(t, 0, n.masspay("run", "payouts.csv", "-o", "first.csv"))
	d := &desk{t: t, folder: n.folder}
	a := &app{configFlag: d.path("masspay.yaml"), w: world{stdout: &d.stdout, stderr: &d.said}}
	c, s, err := a.open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	for b, err := range s.Batches(t.Context()) {
		require.NoError(t, err)
		d.b = b
	}
	d.s, d.o = s, a.output(c, outputFlags{name: d.path("results/tonight.csv")})
	require.NoError(t, os.Mkdir(d.path("results"), 0o700))
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.folder, name) }

func (d *desk) put(name, text string) {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(d.path(name), []byte(text), 0o600))
}

func (d *desk) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	require.NoError(d.t, err)
	return string(b)
}

// names are those of a folder, hidden ones too.
func (d *desk) names(folder string) []string {
	d.t.Helper()
	entries, err := os.ReadDir(d.path(folder))
	require.NoError(d.t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// The file changes between the first send and the end: the result is written
// beside it, and nothing is lost.
func TestANightIsNeverLeftWithoutItsResult(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	whole := d.read("first.csv")
	payroll := "tomorrow;payroll\n1;2\n"
	for _, tt := range []struct {
		name, before string
		force        bool
		meanwhile    func(path string)
		want         string // where the result is
		left         map[string]string
		says         string
	}{
		{
			name: "nothing happens", want: "results/tonight.csv",
		},
		{
			name: "an older result", before: whole, want: "results/tonight.csv",
		},
		{
			name: "another result", before: whole, want: "results/tonight.csv",
			meanwhile: func(string) { d.put("results/tonight.csv", "result.state\npaid\n") },
		},
		{
			name: "tomorrow's payroll in place of nothing", want: "results/tonight.masspay-2.csv",
			meanwhile: func(string) { d.put("results/tonight.csv", payroll) },
			left:      map[string]string{"results/tonight.csv": payroll}, says: "--force replaces",
		},
		{
			name: "tomorrow's payroll in place of a result", before: whole, want: "results/tonight.masspay-3.csv",
			meanwhile: func(string) {
				d.put("results/tonight.csv", payroll)
				d.put("results/tonight.masspay-2.csv", "mine")
			},
			left: map[string]string{"results/tonight.csv": payroll, "results/tonight.masspay-2.csv": "mine"}, says: "not a result of masspay, which was not replaced",
		},
		{
			name: "a loaded file, with --force", force: true, before: payroll, want: "results/tonight.masspay-2.csv",
			meanwhile: func(string) { d.put("results/tonight.csv", d.read("payouts.csv")) },
			says:      "the input of batch",
		},
		{
			name: "the same foreign file, with --force", force: true, before: payroll, want: "results/tonight.csv",
		},
		{
			name: "a folder", want: "results/tonight.masspay-2.csv",
			meanwhile: func(path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
			left:      map[string]string{}, says: "is a directory",
		},
		{
			name: "a link to the payroll", want: "results/tonight.masspay-2.csv",
			meanwhile: func(path string) {
				d.put("results/payroll.csv", payroll)
				require.NoError(t, os.Symlink("payroll.csv", path))
			},
			left: map[string]string{"results/payroll.csv": payroll}, says: "not a result",
		},
		{
			name: "a link to the store", want: "results/tonight.masspay-2.csv",
			meanwhile: func(path string) { require.NoError(t, os.Symlink("../masspay.db", path)) }, says: "masspay.db, which was not replaced",
		},
		{
			name: "a link to itself", want: "results/tonight.masspay-2.csv",
			meanwhile: func(path string) { require.NoError(t, os.Symlink("tonight.csv", path)) }, says: "too many levels",
		},
		{
			name: "a pipe that no one reads", want: "results/tonight.masspay-2.csv",
			meanwhile: func(path string) { require.NoError(t, unix.Mkfifo(path, 0o600)) }, says: "the pipe has no reader",
		},
		{
			name: "the folder is gone", want: "tonight.masspay-2.csv",
			meanwhile: func(path string) { require.NoError(t, os.RemoveAll(filepath.Dir(path))) }, says: "no such file",
		},
		{
			name: "the folder is a file", want: "tonight.masspay-2.csv",
			meanwhile: func(path string) {
				require.NoError(t, os.RemoveAll(filepath.Dir(path)))
				d.put("results", payroll)
			},
			left: map[string]string{"results": payroll}, says: "not a directory",
		},
	} {
		// One after the other: they share the desk.
		require.NoError(t, os.RemoveAll(d.path("results")))
		require.NoError(t, os.Mkdir(d.path("results"), 0o700))
		if tt.before != "" {
			d.put("results/tonight.csv", tt.before)
		}
		d.said.Reset()
		o := d.o.app.output(d.o.config, outputFlags{name: d.o.name, force: tt.force}, d.path("payouts.csv"))
		require.NoError(t, o.check(t.Context(), d.s), tt.name)
		if tt.meanwhile != nil {
			tt.meanwhile(o.name)
		}
		interrupted, cancel := context.WithCancel(t.Context())
		cancel() // no patience with a pipe
		w, err := o.write(t.Context(), interrupted, d.s, d.b)
		require.NoError(t, err, tt.name)
		o.tell(w, d.b)
		require.Equal(t, 3, w.Rows, tt.name)
		if tt.says == "" {
			require.NoError(t, w.elsewhere, tt.name)
			require.Equal(t, o.name, w.path, tt.name)
			require.Equal(t, whole, d.read(tt.want), tt.name)
			require.Empty(t, d.said.String(), tt.name)
			continue
		}
		require.Equal(t, d.path(tt.want), w.path, tt.name)
		require.Equal(t, whole, d.read(tt.want), tt.name)
		for name, text := range tt.left {
			require.Equal(t, text, d.read(name), tt.name)
		}
		said := d.said.String()
		require.Contains(t, said, "the result was not written to "+o.name, tt.name)
		require.Contains(t, said, "the whole result is in "+w.path, tt.name)
		require.Contains(t, said, tt.says, tt.name)
		require.Contains(t, said, "hint: masspay report "+d.b.Short(), tt.name)
		require.NoError(t, os.Remove(w.path))
		for _, name := range d.names(".") {
			require.NotContains(t, name, ".tmp", tt.name)
		}
	}
	require.Equal(t, d.read("first.csv"), whole)
}

func TestReportReplacesTheOldOneWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	old := "result.state\npaid\n"
	d.put("results/tonight.csv", old)
	require.NoError(t, os.Chmod(d.o.name, 0o640))
	require.NoError(t, d.o.check(t.Context(), d.s))
	wrong := d.b
	wrong.Totals = []payout.Amount{{Minor: 1, Currency: "KGS"}}
	_, err := d.o.write(t.Context(), t.Context(), d.s, wrong)
	require.ErrorIs(t, err, result.ErrMismatch)
	require.Equal(t, old, d.read("results/tonight.csv"))
	require.Equal(t, []string{"tonight.csv"}, d.names("results"), "no temporary file is left")
	w, err := d.o.write(t.Context(), t.Context(), d.s, d.b)
	require.NoError(t, err)
	require.NoError(t, w.elsewhere)
	st, err := os.Stat(d.o.name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), st.Mode().Perm(), "an existing file keeps its mode")
	require.Equal(t, d.read("first.csv"), d.read("results/tonight.csv"))
	require.Equal(t, []string{"tonight.csv"}, d.names("results"))
}

// A file that was read before the first send is not read again, but is looked
// up again: it may have been loaded meanwhile.
func TestAFileThatWasLoadedMeanwhile(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.put("results/tonight.csv", d.read("payouts.csv"))
	o := d.o.app.output(d.o.config, outputFlags{name: d.o.name, force: true})
	require.NoError(t, o.check(t.Context(), notYetLoaded{d.s}))
	err := o.loaded(d.b)
	require.ErrorContains(t, err, "would write over the input of batch")
	require.Equal(t, exitConfig, explain(err).code)
	w, err := o.write(t.Context(), t.Context(), d.s, d.b)
	require.NoError(t, err)
	require.Error(t, w.elsewhere)
	require.Equal(t, d.read("payouts.csv"), d.read("results/tonight.csv"))
}

// notYetLoaded is a store before the file was loaded.
type notYetLoaded struct{ store.Store }

func (notYetLoaded) Batch(context.Context, string) (store.Batch, error) {
	return store.Batch{}, store.ErrNoBatch
}

// A result that was loaded as a payroll is an input.
func TestAResultThatWasLoaded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.put("results/tonight.csv", d.read("first.csv"))
	err := d.o.check(t.Context(), everythingLoaded{d.s, d.b})
	require.ErrorContains(t, err, "the input of batch")
}

// everythingLoaded is a store that knows every file.
type everythingLoaded struct {
	store.Store
	b store.Batch
}

func (s everythingLoaded) Batch(context.Context, string) (store.Batch, error) { return s.b, nil }

// Ctrl-C while a pipe has no reader: the result is written to a file beside it.
func TestInterruptedWhileNobodyReadsThePipe(t *testing.T) {
	t.Parallel()
	n := newNight(t, 1000, gatesim.Config{OutcomeAfter: time.Millisecond})
	n.file("payouts.csv", 3)
	require.NoError(t, unix.Mkfifo(filepath.Join(n.folder, "pipe.csv"), 0o600))
	cmd := n.command("run", "payouts.csv", "-o", "pipe.csv", "--json")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(n.said.String(), "waiting for a reader of the pipe pipe.csv") }, 30*time.Second, time.Millisecond)
	require.Equal(t, 3, n.sim.Stats().Payouts, "everything was sent before")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
	n.check("payouts.csv", "pipe.masspay-2.csv")
	require.Contains(t, n.said.String(), "the whole result is in pipe.masspay-2.csv")
	require.Contains(t, stdout.String(), `"result": "pipe.masspay-2.csv"`)
	require.Contains(t, stdout.String(), `"exit_code": 130`)
}

// Tomorrow's payroll is put where tonight's result was to go: whoever takes it
// for the result is told by the exit code.
func TestAPayrollInTheResultsPlace(t *testing.T) {
	t.Parallel()
	n := newNight(t, 1000, gatesim.Config{OutcomeAfter: time.Second})
	n.file("payouts.csv", 3)
	payroll := filepath.Join(n.folder, "result.csv")
	cmd := n.command("run", "payouts.csv", "-o", "result.csv", "--json")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	require.NoError(t, cmd.Start())
	n.after(1)
	require.NoError(t, os.WriteFile(payroll, []byte("tomorrow's payroll"), 0o600))
	require.Error(t, cmd.Wait())
	require.Equal(t, exitUnexpected, cmd.ProcessState.ExitCode())
	require.Contains(t, stdout.String(), `"result": "result.masspay-2.csv"`)
	require.Contains(t, n.said.String(), "the result was not written to result.csv: it is a file that is not a result of masspay, which was not replaced")
	n.check("payouts.csv", "result.masspay-2.csv")
	b, err := os.ReadFile(payroll)
	require.NoError(t, err)
	require.Equal(t, "tomorrow's payroll", string(b))

	// The hint works.
	hint := n.said.String()[strings.LastIndex(n.said.String(), "hint: masspay report "):]
	require.Equal(t, 0, n.masspay(strings.Fields(hint)[2:7]...), hint)
	n.check("payouts.csv", "result.csv")
}

// A reader that has gone, or that reads no further, does not keep the result.
func TestAPipeThatIsNotReadToTheEnd(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1000) // more than a pipe holds
	require.NoError(t, unix.Mkfifo(d.o.name, 0o600))
	require.NoError(t, d.o.check(t.Context(), d.s))
	reader, err := os.OpenFile(d.o.name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	w, err := d.o.write(t.Context(), interrupted, d.s, d.b)
	require.NoError(t, err)
	require.ErrorContains(t, w.elsewhere, "was not read to the end")
	require.Equal(t, d.read("first.csv"), d.read("results/tonight.masspay-2.csv"))

	done := make(chan error, 1)
	go func() {
		_, err := reader.Read(make([]byte, 1)) // what the first attempt left
		done <- err
	}()
	require.NoError(t, <-done)
	require.NoError(t, reader.Close())
	go func() {
		reader, err := os.Open(d.o.name)
		if err == nil {
			_, err = reader.Read(make([]byte, 10))
			_ = reader.Close()
		}
		done <- err
	}()
	w, err = d.o.write(t.Context(), t.Context(), d.s, d.b)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.ErrorContains(t, w.elsewhere, "broken pipe")
	require.Equal(t, d.read("first.csv"), d.read("results/tonight.masspay-3.csv"))
}

// A draft is swept when no one holds it, and never before.
func TestSweep(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	held, err := newDraft(folder, "result.csv")
	require.NoError(t, err)
	require.Regexp(t, `/\.result\.csv\.masspay-\d+\.tmp$`, held.Name())
	st, err := held.Stat()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	left := filepath.Join(folder, ".yesterday.csv.masspay-1.tmp")
	require.NoError(t, os.WriteFile(left, nil, 0o400))
	precious := filepath.Join(folder, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("mine"), 0o600))
	link := filepath.Join(folder, ".link.csv.masspay-2.tmp")
	require.NoError(t, os.Symlink("precious", link))
	other, err := newDraft(folder, strings.Repeat("ü", 127))
	require.NoError(t, err)
	require.NoFileExists(t, left)
	require.FileExists(t, held.Name())
	require.FileExists(t, precious)
	_, err = os.Lstat(link)
	require.NoError(t, err, "what is no file is not ours")

	require.NoError(t, held.place(filepath.Join(folder, "result.csv"), 0o640))
	require.NoFileExists(t, held.Name())
	require.ErrorIs(t, other.place(precious, 0o640), os.ErrExist)
	other.discard()
	require.NoFileExists(t, other.Name())
	held.discard()
	require.FileExists(t, filepath.Join(folder, "result.csv"), "a result is not discarded")

	d, err := newDraft(folder, "flat.csv")
	require.NoError(t, err)
	require.ErrorIs(t, d.placeWithoutLinks(precious), os.ErrExist)
	require.NoError(t, d.placeWithoutLinks(filepath.Join(folder, "flat.csv")))
	require.FileExists(t, filepath.Join(folder, "flat.csv"))
	d.discard()
}

func TestIsResult(t *testing.T) {
	t.Parallel()
	utf16of := func(s string, big bool) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune("\ufeff" + s)) {
			if big {
				u = u>>8 | u<<8
			}
			b.Write([]byte{byte(u), byte(u >> 8)})
		}
		return b.String()
	}
	quoted := func(comma rune, cells ...string) string {
		var b strings.Builder
		w := csv.NewWriter(&b)
		w.Comma = comma
		require.NoError(t, w.Write(cells))
		w.Flush()
		return b.String()
	}
	header := "method;general.payment_id;result.state;result.note\r\nsbp;\"a\n"
	for _, tt := range []struct {
		name, head string
		want       bool
	}{
		{"as written", header, true},
		{"BOM", "\ufeff" + header, true},
		{"commas", strings.ReplaceAll(header, ";", ","), true},
		{"tabs", strings.ReplaceAll(header, ";", "\t"), true},
		{"bars", strings.ReplaceAll(header, ";", "|"), true},
		{"quotes", "\ufeff\"method\",\"result.state\"\n", true},
		{"a header over two lines", quoted(';', "a\nb;c", "result.state"), true},
		{"sep=", "sep=,\r\n" + strings.ReplaceAll(header, ";", ","), true},
		{"sep= in quotes", "\"sep=;\"\n" + header, true},
		{"sep= of its own", "\ufeffSEP=:\n" + strings.ReplaceAll(header, ";", ":"), true},
		{"UTF-16 LE", utf16of(strings.ReplaceAll(header, ";", "\t"), false), true},
		{"UTF-16 BE", utf16of(header, true), true},
		{"UTF-16 with sep=", utf16of("sep=;\r\n"+header, false), true},
		{"cut in a character", utf16of(header, false)[:len(utf16of(header, false))-1], true},
		{"first column", "result.state\n", true},
		{"no end of line", "a;result.state", true},
		{"nothing", "", false},
		{"a payroll", "method;general.payment_id\nsbp;a\n", false},
		{"in a row", "method;note\nsbp;result.state\n", false},
		{"part of a cell", "method;old.result.state\n", false},
		{"part of a cell, behind", "method;result.states\n", false},
		{"within quotes", "method;\"a;result.state;b\"\n", false},
		{"binary", "PK\x03\x04\x00\xff;\n", false},
		{"sep= alone", "sep=", false},
		{"half a BOM", "\xff\xfe\x00", false},
		{"sep= of nonsense", "sep=\r\n;", false},
	} {
		require.Equal(t, tt.want, isResult([]byte(tt.head)), tt.name)
	}
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"out.csv": "out.csv", "/srv/2026-11-26.csv": "/srv/2026-11-26.csv", "my file.csv": "'my file.csv'", "it's": `'it'\''s'`, "": "''", "a;b": "'a;b'",
	} {
		require.Equal(t, want, shellWord(in))
	}
}

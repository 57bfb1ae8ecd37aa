package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch/payfile"
	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/seal"
)

// tampered is a store whose lines somebody has changed who has its key.
type tampered struct {
	store.Store
	change func([]store.Line) []store.Line
}

func (s tampered) Lines(ctx context.Context, batch string) iter.Seq2[store.Line, error] {
	return func(yield func(store.Line, error) bool) {
		var all []store.Line
		for l, err := range s.Store.Lines(ctx, batch) {
			if err != nil {
				yield(l, err)
				return
			}
			all = append(all, l)
		}
		for _, l := range s.change(all) {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// What lies in the store is not what was released, once any cell, line or total of it is
// another one.
func TestTheStoreIsNotWhatWasReleased(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	o := bolt.Options{Path: filepath.Join(folder, "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	in, err := payfile.Open("../../samples/kyrgyzstan.csv", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, in.Close()) }()
	k, err := (&payfile.Checker{Store: s, Projects: func(uint32) bool { return true }, Content: true}).Check(t.Context(), in)
	require.NoError(t, err)
	l, err := k.Load(t.Context(), s, in, nil)
	require.NoError(t, err)
	signed := &payout.Statement{Role: payout.Releases, Content: k.Content, Person: "bob", At: time.Now()}
	content := func(b store.Batch, change func([]store.Line) []store.Line) payout.Content {
		c, err := payfile.ContentOf(t.Context(), tampered{s, change}, b)
		require.NoError(t, err)
		return c
	}
	require.True(t, signed.About(content(l.Batch, func(all []store.Line) []store.Line { return all })))
	columns := l.Batch.Columns
	for column := range columns {
		for _, row := range []int{0, 25, 49} {
			if columns[column] == "operation_type" {
				continue // it is not sent: the path says it
			}
			require.False(t, signed.About(content(l.Batch, func(all []store.Line) []store.Line {
				line := &all[row]
				line.Cells[column] += "1"
				switch columns[column] { // as whoever changes the row would change its payout
				case "general.project_id":
					line.Payout.Key.ProjectID = 12341
				case "general.payment_id":
					line.Payout.Key.PaymentID += "1"
				case "method":
					line.Payout.Method = "card"
				case "payment.amount":
					line.Payout.Amount.Minor = line.Payout.Amount.Minor*10 + 1
				}
				return all
			})), "row %d, %s", row, columns[column])
		}
	}
	for name, change := range map[string]func([]store.Line) []store.Line{
		"swapped":  func(all []store.Line) []store.Line { all[3], all[4] = all[4], all[3]; return all },
		"dropped":  func(all []store.Line) []store.Line { return all[1:] },
		"added":    func(all []store.Line) []store.Line { return append(all, all[0]) },
		"left out": func(all []store.Line) []store.Line { all[7].Skip = "x"; return all },
		"another sum": func(all []store.Line) []store.Line {
			all[7].Payout.Amount.Minor++
			return all
		},
	} {
		require.False(t, signed.About(content(l.Batch, change)), name)
	}
	other := l.Batch
	other.ID = strings.Repeat("0", 64)
	c := k.Content
	c.File = [32]byte{}
	require.False(t, signed.About(c))
	other = l.Batch
	other.Rows--
	require.False(t, signed.About(content(other, func(all []store.Line) []store.Line { return all })))
}

// Approvals are looked for beside the file, and nowhere else.
func TestApprovalsBeside(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	write("pay.csv", "x")
	write("pay.csv.bob.approval", "one")
	write("pay.csv.bob.approval.sig", "sig")
	write("pay.csv.eve.approval", "no signature")
	write("pay2.csv.bob.approval", "of another file")
	write("pay.csv.huge.approval", strings.Repeat("x", maxApprovalSize+1))
	all, err := approvalsBeside(filepath.Join(folder, "pay.csv"))
	require.NoError(t, err)
	require.Equal(t, []store.Approval{
		{Name: "pay.csv.bob.approval", Statement: []byte("one"), Signature: []byte("sig")},
		{Name: "pay.csv.eve.approval", Statement: []byte("no signature")},
		{Name: "pay.csv.huge.approval"},
	}, all)
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "pay.csv.pipe.approval"), 0o600))
	all, err = approvalsBeside(filepath.Join(folder, "pay.csv"))
	require.NoError(t, err, "a pipe is not waited for")
	require.Len(t, all, 4)
	for i := range maxApprovals {
		write(fmt.Sprintf("pay.csv.%d.approval", i), "junk")
	}
	_, err = approvalsBeside(filepath.Join(folder, "pay.csv"))
	require.ErrorContains(t, err, "there are more than 100 files")
	all, err = approvalsBeside("-")
	require.NoError(t, err)
	require.Empty(t, all)
}

// What is in doubt may turn out to be unsent, and is sent by the same run: it is held against
// limits and approvals like what is not sent yet.
func TestSendable(t *testing.T) {
	t.Parallel()
	for _, state := range payout.States {
		b := store.Batch{Rows: 2, Counts: []store.Count{{State: state, N: 2}}}
		want := 0
		if state == payout.StateNew || state == payout.StateSending || state == payout.StateUnknown {
			want = 2
		}
		require.Equal(t, want, sendable(b), "%v", state)
	}

	// A batch of which all is in doubt, and nothing was released.
	folder := t.TempDir()
	signers := filepath.Join(folder, "signers")
	text, err := os.ReadFile("../../samples/approvals/signers")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(signers, text, 0o600))
	c := defaultConfig()
	c.Approval = approvalConfig{SignersFile: signers, Rules: []approvalRuleConfig{{UpTo: "500000.00KGS", Signers: 1}}}
	o := bolt.Options{Path: filepath.Join(folder, "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	in, err := payfile.Open("../../samples/kyrgyzstan.csv", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, in.Close()) }()
	k, err := (&payfile.Checker{Store: s, Projects: func(uint32) bool { return true }}).Check(t.Context(), in)
	require.NoError(t, err)
	l, err := k.Load(t.Context(), s, in, nil)
	require.NoError(t, err)
	b := l.Batch
	b.Counts = []store.Count{{State: payout.StateUnknown, N: 50}}
	a := &app{w: world{stderr: io.Discard, stdout: io.Discard}}
	var f *failure
	require.ErrorAs(t, a.mayStillBeSent(t.Context(), &c, s, b, ""), &f)
	require.Equal(t, exitHeld, f.code)
	w := &worker{c: &c, s: s, log: slog.New(slog.DiscardHandler), looked: map[string]looked{}}
	allowed, err := w.allowed(t.Context(), b)
	require.NoError(t, err)
	require.False(t, allowed)

	// What somebody signs later, beside the file, is kept with the batch, and counts for
	// every machine.
	path := filepath.Join(folder, "kyrgyzstan.csv")
	for _, name := range []string{"kyrgyzstan.csv", "approvals/kyrgyzstan.csv.bob@example.com.approval", "approvals/kyrgyzstan.csv.bob@example.com.approval.sig"} {
		text, err := os.ReadFile(filepath.Join("../../samples", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, filepath.Base(name)), text, 0o600))
	}
	require.NoError(t, os.WriteFile(path+".eve@example.com.approval", []byte("masspay release 1"), 0o600))
	require.NoError(t, a.mayStillBeSent(t.Context(), &c, s, b, path))
	kept, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Len(t, kept.Approvals, 1, "only what counts")
	b.Approvals = kept.Approvals
	allowed, err = w.allowed(t.Context(), b)
	require.NoError(t, err)
	require.True(t, allowed)
	b.Counts[0].State = payout.StateAccepted
	require.NoError(t, a.mayStillBeSent(t.Context(), &c, s, b, ""))
}

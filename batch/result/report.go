// Package result writes what became of a batch: every row of the input in order, with
// its outcome, in the words that finance reads. It is made from the store alone, and asks
// no gate.
package result

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"masspay/payout"
	"masspay/store"
)

// Report says how a result is written. The zero value writes a whole one.
type Report struct {
	Rules payout.Rules // as the store has them
	Sent  *Sent        // what a run sent, for the summary; nil: no run asks

	// States and Actions choose rows by result.state and result.action; empty: all. What
	// they leave is a selection and no result: rows are missing.
	States, Actions []string
}

// Selects reports whether rows may be left out.
func (r Report) Selects() bool { return len(r.States)+len(r.Actions) > 0 }

// Write writes the result of a batch to f, an empty file that is open for
// reading and writing: every input row in order, with its outcome. Without an
// error the file has been read back: it has the rows, cells and sums that were
// loaded. With one it is not worth keeping; ErrMismatch is about the file, any
// other error about the store or the disk. The result is made from the store
// alone. Write neither syncs nor closes the file: giving it its name, and
// deciding what it may replace, is left to the caller.
func (r Report) Write(ctx context.Context, s store.Store, b store.Batch, f *os.File) (sum Summary, err error) {
	back := newFollower(f)
	var read reading
	var reader errgroup.Group
	reader.Go(func() (err error) {
		read, err = readBack(back, b)
		return err
	})
	sum, cells, err := r.write(ctx, s, b, back)
	back.finish(err)
	if unread := reader.Wait(); err == nil {
		err = unread
	}
	if err == nil {
		err = read.compare(b, r, sum, cells)
	}
	if err != nil {
		return sum, fmt.Errorf("result of batch %s: %w", b.Short(), err)
	}
	return sum, nil
}

// To writes the result of a batch to a stream, after it was checked as Write checks
// it.
func (r Report) To(ctx context.Context, s store.Store, b store.Batch, w io.Writer) (Summary, error) {
	f, err := os.CreateTemp("", "masspay-*.csv")
	if err != nil {
		return Summary{}, err
	}
	defer func() { _ = f.Close() }()
	if err := os.Remove(f.Name()); err != nil {
		return Summary{}, err
	}
	sum, err := r.Write(ctx, s, b, f)
	if err != nil {
		return sum, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return sum, err
	}
	_, err = io.Copy(w, f)
	return sum, err
}

// byteOrderMark begins a result whose input began with one.
const byteOrderMark = "\ufeff"

// write writes the rows and returns a digest of the input's cells.
func (r Report) write(ctx context.Context, s store.Store, b store.Batch, f io.Writer) (sum Summary, digest []byte, err error) {
	lines, err := r.liner(ctx, s, b)
	if err != nil {
		return sum, nil, err
	}
	out := bufio.NewWriterSize(f, 256<<10)
	if b.BOM {
		_, _ = out.WriteString(byteOrderMark) // its error comes with the flush
	}
	w := csv.NewWriter(out)
	w.Comma = []rune(b.Delimiter)[0]
	record := append(slices.Clone(b.Columns), Columns()...)
	if err := w.Write(record); err != nil {
		return sum, nil, err
	}
	cells := newCellHash()
	var l Line
	for in, err := range s.Lines(ctx, b.ID) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return sum, nil, err
		}
		l.Line = in
		blocked, err := lines.judge(ctx, &l)
		if err != nil {
			return sum, nil, err
		}
		word := StateOfLine(&l.Line)
		if !r.takes(word, l.Action) {
			continue
		}
		cells.row(l.Cells)
		record = AppendCells(append(record[:0], l.Cells...), &l)
		if err := w.Write(record); err != nil {
			return sum, nil, err
		}
		if blocked {
			sum.Blocked++
		}
		if l.Skip != "" {
			sum.Add(StateSkipped, 1, payout.Amount{})
		} else {
			sum.Payout(&l.Payout, l.Action, r.Sent)
		}
	}
	slices.SortFunc(sum.Earlier, func(a, b Earlier) int { return b.Last.Compare(a.Last) })
	w.Flush()
	return sum, cells.h.Sum(nil), errors.Join(w.Error(), out.Flush())
}

// liner makes a batch's lines: what is to be done about a row and what is odd about it,
// other payouts of the same row included.
type liner struct {
	store    store.Store
	batch    store.Batch
	notes    Notes
	families func(payout.Key) bool
}

func (r Report) liner(ctx context.Context, s store.Store, b store.Batch) (*liner, error) {
	names, err := store.Names(ctx, s)
	if err != nil {
		return nil, err
	}
	families, err := s.Families(ctx)
	return &liner{store: s, batch: b, notes: Notes{Batch: b.Number, Names: names, Rules: r.Rules}, families: families}, err
}

// judge fills in what is to be done about a row; blocked says that it waits for another
// payout of the row.
func (n *liner) judge(ctx context.Context, l *Line) (blocked bool, err error) {
	l.Action, l.Note = ActionOfLine(&l.Line), n.notes.Of(l.Line)
	if l.Skip != "" {
		return false, nil
	}
	p := &l.Payout
	again, note, err := paidAgain(ctx, n.store, n.families, &l.Line)
	if err != nil {
		return false, err
	}
	if again != "" {
		l.Action, l.Note = again, note
	}
	if p.State == payout.StateNew && mayWait(n.families, p.Key) {
		blocker, err := n.store.RetryBlocker(ctx, p.Key, p.Amount, payout.Payee(n.batch.Columns, l.Cells))
		if err != nil {
			return false, err
		}
		if blocked = blocker.Same; blocked {
			l.Note += "; it would pay a second time what " + blocker.By.Key.PaymentID + " pays, which is " + DescribeState(blocker.By)
		}
	}
	if paidAfterAll(*p) {
		ids, err := instead(ctx, n.store, l.Line, n.batch.Columns)
		if err != nil {
			return blocked, err
		}
		if len(ids) > 0 {
			l.Note += "; perhaps paid instead: " + strings.Join(ids, ", ")
		}
	}
	return blocked, nil
}

// takes reports whether a row with these words is written.
func (r Report) takes(word, action string) bool {
	return (len(r.States) == 0 || slices.Contains(r.States, word)) && (len(r.Actions) == 0 || slices.Contains(r.Actions, action))
}

package batch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// resultColumns follow the columns of the input.
var resultColumns = []string{
	"result.state", "result.gate_status", "result.code", "result.message", "result.action",
	"result.amount", "result.currency", "result.arrived", "result.operation_id", "result.provider_payment_id",
	"result.request_id", "result.attempts", "result.first_sent_at", "result.settled_at", "result.note",
}

// ResultColumns are the columns that a result has behind those of the input.
func ResultColumns() []string { return slices.Clone(resultColumns) }

// Reporting says how a result is written. The zero value writes a whole one.
type Reporting struct {
	Rules payout.Rules // as the store has them
	Sent  *Sent        // what a run sent, for the summary; nil: no run asks

	// States and Actions choose rows by result.state and result.action; empty: all. What
	// they leave is a selection and no result: rows are missing.
	States, Actions []string
}

// Selects reports whether rows may be left out.
func (r Reporting) Selects() bool { return len(r.States)+len(r.Actions) > 0 }

func (r Reporting) takes(word, action string) bool {
	return (len(r.States) == 0 || slices.Contains(r.States, word)) && (len(r.Actions) == 0 || slices.Contains(r.Actions, action))
}

// Report writes the result of a batch to f, an empty file that is open for
// reading and writing: every input row in order, with its outcome. Without an
// error the file has been read back: it has the rows, cells and sums that were
// loaded. With one it is not worth keeping; ErrUnlike is about the file, any
// other error about the store or the disk. The result is made from the store
// alone. Report neither syncs nor closes the file: giving it its name, and
// deciding what it may replace, is left to the caller.
func (r Reporting) Report(ctx context.Context, s store.Store, b store.Batch, f *os.File) (sum Summary, err error) {
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

// To writes the result of a batch to a stream, after it was checked as Report checks
// it.
func (r Reporting) To(ctx context.Context, s store.Store, b store.Batch, w io.Writer) (Summary, error) {
	f, err := os.CreateTemp("", "masspay-*.csv")
	if err != nil {
		return Summary{}, err
	}
	defer func() { _ = f.Close() }()
	if err := os.Remove(f.Name()); err != nil {
		return Summary{}, err
	}
	sum, err := r.Report(ctx, s, b, f)
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
func (r Reporting) write(ctx context.Context, s store.Store, b store.Batch, f io.Writer) (sum Summary, digest []byte, err error) {
	batches, err := names(ctx, s)
	if err != nil {
		return sum, nil, err
	}
	notes := Notes{Batch: b.Number, Names: batches, Rules: r.Rules}
	out := bufio.NewWriterSize(f, 256<<10)
	if b.BOM {
		_, _ = out.WriteString(byteOrderMark) // its error comes with the flush
	}
	w := csv.NewWriter(out)
	w.Comma = []rune(b.Delimiter)[0]
	if err := w.Write(append(b.Columns[:len(b.Columns):len(b.Columns)], resultColumns...)); err != nil {
		return sum, nil, err
	}
	families, err := s.Families(ctx)
	if err != nil {
		return sum, nil, err
	}
	cells := newCellHash()
	record := make([]string, 0, len(b.Columns)+len(resultColumns))
	for l, err := range s.Lines(ctx, b.ID) {
		if err != nil {
			return sum, nil, err
		}
		if err := ctx.Err(); err != nil {
			return sum, nil, err
		}
		word, act := wordsOfLine(&l)
		again, paid, err := paidAgain(ctx, s, families, &l)
		if err != nil {
			return sum, nil, err
		}
		if again != "" {
			act = again
		}
		if !r.takes(word, act) {
			continue
		}
		cells.row(l.Cells)
		record = appendResult(append(record[:0], l.Cells...), l, notes)
		if again != "" {
			record[len(b.Columns)+slices.Index(resultColumns, "result.action")] = act
			record[len(record)-1] = paid
		}
		if l.Skip == "" && l.Payout.State == payout.StateNew && mayWait(s, families, l.Payout.Key) {
			bar, err := s.RetryBar(ctx, l.Payout.Key, l.Payout.Amount, payout.Payee(b.Columns, l.Cells))
			if err != nil {
				return sum, nil, err
			}
			if bar.Same {
				sum.Barred++
				record[len(record)-1] += "; it would pay once more what " + bar.By.Key.PaymentID + " pays, which is " + stateInWords(bar.By)
			}
		}
		if l.Skip == "" && unpaidAfterAll(l.Payout) {
			ids, err := instead(ctx, s, l, b.Columns)
			if err != nil {
				return sum, nil, err
			}
			if len(ids) > 0 {
				record[len(record)-1] += "; perhaps paid instead: " + strings.Join(ids, ", ")
			}
		}
		if err := w.Write(record); err != nil {
			return sum, nil, err
		}
		if l.Skip != "" {
			sum.Add(WordSkipped, 1, payout.Amount{})
		} else {
			sum.payout(&l.Payout, act, r.Sent)
		}
	}
	slices.SortFunc(sum.Earlier, func(a, b Earlier) int { return b.Last.Compare(a.Last) })
	w.Flush()
	return sum, cells.h.Sum(nil), errors.Join(w.Error(), out.Flush())
}

// mayWait reports whether a row may have to wait for another payout of it.
func mayWait(s store.Store, families map[payout.Digest]bool, key payout.Key) bool {
	_, _, retry := payout.RetryOf(key.PaymentID)
	return retry || len(families) > 0 && families[s.DigestID(key)]
}

// paidAgain is the action of a refused or returned row that another payout of it pays, or
// may pay, and its note; both are empty where there is none.
func paidAgain(ctx context.Context, s store.Store, families map[payout.Digest]bool, l *store.Line) (act, note string, err error) {
	p := &l.Payout
	refused := p.State == payout.StateDeclined || p.State == payout.StateRejected || p.State == payout.StateReturned
	if l.Skip != "" || !refused || p.NeedsCheck() || len(families) == 0 ||
		!families[s.DigestID(payout.Key{ProjectID: p.Key.ProjectID, PaymentID: payout.FirstOf(p.Key.PaymentID)})] {
		return "", "", nil
	}
	family, err := s.Family(ctx, p.Key)
	for _, q := range family {
		id := q.Key.PaymentID
		switch {
		case q.Key == p.Key:
		case q.State == payout.StatePaid && !q.NeedsCheck():
			return ActNothing, "paid as " + id, err
		case q.State.Open() && !q.NeedsCheck():
			act, note = ActWait, "to be paid as "+id+", which is "+stateInWords(q)
		case q.NeedsCheck() || q.State == payout.StatePartial:
			act, note = ActCheck, "to be paid as "+id+", which is "+stateInWords(q)
		}
	}
	return act, note, err
}

// PaidAgain says whether another payout of a row pays it, as the result does.
func PaidAgain(ctx context.Context, s store.Store, p *payout.Payout) (act, note string, err error) {
	families, err := s.Families(ctx)
	if err != nil {
		return "", "", err
	}
	return paidAgain(ctx, s, families, &store.Line{Payout: *p})
}

// wordsOfLine are result.state and result.action of a row.
func wordsOfLine(l *store.Line) (word, action string) {
	if l.Skip != "" {
		return WordSkipped, ActFix
	}
	return Word(l.Payout), Action(l.Payout)
}

// names maps the numbers of batches to what people call them.
func names(ctx context.Context, s interface {
	Batches(ctx context.Context) iter.Seq2[store.Batch, error]
}) (map[uint32]string, error) {
	m := map[uint32]string{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		m[b.Number] = b.Short()
	}
	return m, nil
}

// appendResult appends the cells of resultColumns.
func appendResult(record []string, l store.Line, notes Notes) []string {
	p := l.Payout
	if l.Skip != "" {
		return append(record, WordSkipped, "", "", "", ActFix, "", "", "0", "", "", "", "0", "", "", notes.Of(l))
	}
	amount := ""
	if p.Got != (payout.Amount{}) {
		amount = strconv.FormatInt(p.Got.Minor, 10)
		if p.Got.Minor < 0 {
			amount = "?" // the gate wrote something that is no whole number
		}
	}
	arrived := ""
	if a, known := Arrived(&p); known {
		arrived = strconv.FormatInt(a.Minor, 10)
	}
	return append(record,
		Word(p), harmless(p.GateStatus), harmless(p.Code), harmless(p.Message), Action(p),
		amount, harmless(p.Got.Currency), arrived, harmless(p.Operation), harmless(p.Provider), harmless(p.Request),
		strconv.Itoa(p.Tries), stamp(p.FirstSent), stamp(p.SettledAt), notes.Of(l),
	)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// harmless keeps a spreadsheet from running a text of the gate as a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// cellHash is a digest of cells in order, with their borders.
type cellHash struct {
	h   hash.Hash
	buf []byte
}

func newCellHash() *cellHash { return &cellHash{h: sha256.New()} }

func (c *cellHash) row(cells []string) {
	c.buf = c.buf[:0]
	for _, s := range cells {
		if strings.IndexByte(s, '\r') >= 0 {
			s = strings.ReplaceAll(s, "\r\n", "\n") // as every CSV reader does inside quotes
		}
		c.buf = binary.AppendUvarint(c.buf, uint64(len(s)))
		c.buf = append(c.buf, s...)
	}
	c.h.Write(c.buf)
}

// ErrUnlike says that a written result is not like what was loaded. The file
// was thrown away; the store is as it was.
var ErrUnlike = errors.New("the written result is not like what was loaded")

// reading is what a result was found to hold when it was read back.
type reading struct {
	rows  int
	sums  map[string]int64
	cells []byte // digest
}

// readBack reads a result.
func readBack(f io.Reader, b store.Batch) (got reading, err error) {
	text := bufio.NewReaderSize(f, 256<<10)
	if mark, err := text.Peek(len(byteOrderMark)); b.BOM && err == nil && string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark)) // it was just seen
	}
	r := csv.NewReader(text)
	r.Comma = []rune(b.Delimiter)[0]
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return got, fmt.Errorf("%w: %w", ErrUnlike, err)
	}
	amount, currency, state := slices.Index(header, gate.ColAmount), slices.Index(header, gate.ColCurrency), len(b.Columns)
	cells := newCellHash()
	got.sums = map[string]int64{}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			got.cells = cells.h.Sum(nil)
			return got, nil
		}
		if err != nil {
			return got, fmt.Errorf("%w: %w", ErrUnlike, err)
		}
		got.rows++
		cells.row(record[:len(b.Columns)])
		if record[state] == WordSkipped {
			continue
		}
		minor, err := payout.ParseMinor(record[amount])
		if err != nil {
			return got, fmt.Errorf("%w: row %d: %w", ErrUnlike, got.rows, err)
		}
		sum, known := got.sums[record[currency]]
		if !known {
			got.sums[strings.Clone(record[currency])] = minor
			continue
		}
		got.sums[record[currency]] = sum + minor
	}
}

// compare holds what was read back against the batch: the rows, their cells in
// order, and the sums by currency. A selection is held against what was written.
func (got reading) compare(b store.Batch, r Reporting, sum Summary, cells []byte) error {
	rows, loaded := b.Rows, map[string]int64{}
	for _, a := range b.Totals {
		loaded[a.Currency] = a.Minor
	}
	if r.Selects() {
		rows, loaded = sum.Rows, map[string]int64{}
		for _, s := range sum.ByWord {
			for currency, p := range s.Money {
				loaded[currency] += p.Minor
			}
		}
	}
	switch {
	case got.rows != rows:
		return fmt.Errorf("%w: %d rows, want %d", ErrUnlike, got.rows, rows)
	case !maps.Equal(got.sums, loaded):
		return fmt.Errorf("%w: other sums", ErrUnlike)
	case !bytes.Equal(got.cells, cells):
		return fmt.Errorf("%w: other cells", ErrUnlike)
	}
	return nil
}

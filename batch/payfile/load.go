package payfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"masspay/store"
)

// ErrChanged says that a file is not what was checked: it is still
// written. Nothing was loaded or sent.
var ErrChanged = errors.New("the file changed while it was read")

// Load reads a checked file a second time, into the store: all of it or
// nothing. Another file by now, it returns ErrChanged. A file that was loaded
// before, under whatever name, is store.ErrLoaded. What it may not be allowed is asked when
// all its rows are in.
func (k *Checked) Load(ctx context.Context, s store.Store, in *Input, approvals []store.Approval, allow ...store.Allowance) (store.Loaded, error) {
	var series *store.Series
	if k.sidecar != nil {
		series = k.sidecar.Series
	}
	l, err := s.Load(ctx, store.Batch{
		ID: k.ID, Series: series, Name: k.Name, Columns: k.Columns, Delimiter: string(k.Delimiter), BOM: k.BOM,
		Skipped: k.Skipped, Totals: k.Totals, Size: k.size, Approvals: approvals, Held: k.Held,
	}, k.rows(in), allow...)
	var passed *store.SeriesError
	if errors.As(err, &passed) {
		err = &FileError{Name: k.Name, Problems: []Problem{seriesProblem(err, k.sidecar.Name)}, Count: 1}
	}
	return l, err
}

// LoadedAs returns the whole batch that a file was loaded as, or store.ErrNoBatch. It reads
// the file only if a batch of its size is there: of a new file, Check makes the SHA-256.
func LoadedAs(ctx context.Context, s store.Store, in *Input) (store.Batch, error) {
	size := in.Size()
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return store.Batch{}, err
		}
		if b.Size != 0 && b.Size != size {
			continue
		}
		id, err := in.ID()
		if err != nil {
			return store.Batch{}, err
		}
		return s.Batch(ctx, id)
	}
	return store.Batch{}, store.ErrNoBatch
}

// loading is a row on its way into the store.
type loading struct {
	store.Row
	wrong bool // it has a problem of its own
}

// rows streams the file's rows as the store takes them. The last thing it
// yields is an error if the bytes were not those that were checked.
func (k *Checked) rows(in *Input) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		cut, err := in.cut()
		if err != nil {
			yield(store.Row{}, changed(err))
			return
		}
		newWorker := func() func(piece) ([]loading, error) {
			rules := newRules(cut.columns, k.projects, &problems{}, &warnings{}) // both are left unread
			return func(p piece) ([]loading, error) { return load(&cut.header, rules, p) }
		}
		number := 0
		for rows, err := range inOrder(context.Background(), cut.pieces(context.Background()), newWorker) {
			if err != nil {
				yield(store.Row{}, changed(err))
				return
			}
			for _, r := range rows {
				row, keep, err := k.asChecked(number, r)
				number++
				if (keep || err != nil) && !yield(row, err) || err != nil {
					return
				}
			}
		}
		if cut.sum() != k.ID {
			yield(store.Row{}, ErrChanged)
		}
	}
}

// asChecked is a row as it was checked, by its number from 0. It is not kept where it was
// empty at the end of the file.
func (k *Checked) asChecked(number int, r loading) (row store.Row, keep bool, err error) {
	switch skip := k.skip[number]; {
	case number >= k.Rows: // behind the end, as it was checked
		if !emptyCells(r.Cells) {
			return row, false, fmt.Errorf("%w: line %d", ErrChanged, r.Line)
		}
		return row, false, nil
	case skip != "":
		return store.Row{Line: r.Line, Cells: r.Cells, Skip: skip}, true, nil
	case r.wrong:
		return row, false, fmt.Errorf("%w: line %d", ErrChanged, r.Line)
	}
	return r.Row, true, nil
}

// load makes rows of a piece.
func load(h *header, rules *rules, p piece) (out []loading, err error) {
	rows, err := h.rows(p)
	if err != nil {
		return nil, err
	}
	out = make([]loading, 0, bytes.Count(p.text, []byte{'\n'})+1)
	arena := make([]byte, 0, 4*len(p.text)) // canonical strings name their fields
	for in := range rows {
		if in.bad != nil {
			return nil, in.bad
		}
		r := loading{Row: store.Row{Line: in.line, Cells: in.cells}}
		d, ok := rules.check(in)
		if r.wrong = !ok; ok {
			begin := len(arena)
			arena = d.canonical(arena)
			r.Key, r.Method, r.Amount, r.Masked, r.Canonical = d.key, d.method, d.amount, d.masked, arena[begin:len(arena):len(arena)]
		}
		out = append(out, r)
	}
	return out, nil
}

// changed turns a problem that the check did not find into ErrChanged.
func changed(err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return fmt.Errorf("%w: %w", ErrChanged, p)
	}
	return err
}

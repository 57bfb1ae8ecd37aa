package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"masspay/store"
)

// ErrChanged says that a file is not what was checked: somebody is still
// writing it. Nothing was loaded or sent.
var ErrChanged = errors.New("the file changed while it was read")

// Load reads a checked file a second time, into the store: all of it or
// nothing. Another file by now, it returns ErrChanged. A file that was loaded
// before, under whatever name, is store.ErrLoaded.
func (k *Checked) Load(ctx context.Context, s store.Store, in *Input) (store.Loaded, error) {
	return s.Load(ctx, store.Batch{
		ID: k.ID, Name: k.Name, Columns: k.Columns, Delimiter: string(k.Delimiter), BOM: k.BOM,
		Skipped: k.Skipped, Totals: k.Totals,
	}, k.rows(s, in))
}

// rows streams the file's rows as the store takes them. The last thing it
// yields is an error if the bytes were not those that were checked.
func (k *Checked) rows(s store.Store, in *Input) iter.Seq2[store.Row, error] {
	if k.clean {
		return k.cleanRows(s, in)
	}
	return k.anyRows(s, in)
}

// cleanRows reads the rows of a file that had nothing wrong with it, on all cores.
// They are not checked again: if the file is the same, it is right.
func (k *Checked) cleanRows(s store.Store, in *Input) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		c := in.chunks(len(k.Columns), k.Delimiter)
		hire := func() func(chunk) ([]store.Row, error) {
			rules := newRules(k.Columns, k.projects, &problems{}, &warnings{})
			var buf []byte
			return func(ch chunk) (rows []store.Row, err error) {
				rows = make([]store.Row, 0, bytes.Count(ch.text, []byte{'\n'})+1)
				cells := make([]string, 0, cap(rows)*len(k.Columns))
				err = c.rows(ch, func(in row) error {
					start := len(cells)
					cells = append(cells, in.cells...)
					in.cells = cells[start:len(cells):len(cells)]
					d, ok := rules.checked(in)
					if !ok {
						return fmt.Errorf("%w: line %d", ErrChanged, in.line)
					}
					buf = d.canonical(buf[:0])
					rows = append(rows, d.row(s, buf))
					return nil
				})
				return rows, err
			}
		}
		for rows, err := range inOrder(context.Background(), c.all(context.Background()), hire) {
			if errors.Is(err, errUnclean) {
				err = ErrChanged
			}
			if err != nil {
				yield(store.Row{}, err)
				return
			}
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		}
		if c.sum() != k.ID {
			yield(store.Row{}, ErrChanged)
		}
	}
}

// row is a draft as the store takes it, with its canonical string.
func (d draft) row(s store.Store, canonical []byte) store.Row {
	return store.Row{
		Line: d.line, Cells: d.cells, Key: d.key, Method: d.method, Amount: d.amount, Masked: d.masked,
		Content: s.DigestContent(d.method, canonical),
	}
}

// anyRows reads the rows of any file, one by one, and checks them again.
func (k *Checked) anyRows(s store.Store, in *Input) iter.Seq2[store.Row, error] {
	return func(yield func(store.Row, error) bool) {
		t, err := openTable(in)
		if err == nil {
			err = t.open()
		}
		if err != nil {
			yield(store.Row{}, changed(err))
			return
		}
		found := &problems{}
		rules := newRules(t.columns, k.projects, found, &warnings{})
		var buf []byte
		for number := 0; ; number++ {
			r, err := t.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				yield(store.Row{}, changed(err))
				return
			}
			out := store.Row{Line: r.line, Cells: r.cells, Skip: k.skip[number]}
			if out.Skip == "" {
				d, ok := rules.check(r)
				if !ok {
					yield(store.Row{}, fmt.Errorf("%w: line %d", ErrChanged, r.line))
					return
				}
				buf = d.canonical(buf[:0])
				out = d.row(s, buf)
			}
			if !yield(out, nil) {
				return
			}
		}
		if err := t.text.rest(); err != nil {
			yield(store.Row{}, err)
			return
		}
		if t.text.sum() != k.ID {
			yield(store.Row{}, ErrChanged)
		}
	}
}

// changed turns a problem that the check did not find into ErrChanged.
func changed(err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return fmt.Errorf("%w: %w", ErrChanged, p)
	}
	return err
}

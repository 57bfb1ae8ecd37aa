package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"sync"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// Lines streams the rows of a batch; see store.Store.
func (s *Store) Lines(ctx context.Context, batch string) iter.Seq2[store.Line, error] {
	return func(yield func(store.Line, error) bool) {
		header, err := s.header(ctx, batch)
		if err != nil {
			yield(store.Line{}, err)
			return
		}
		// The next burst is read while this one is looked at.
		type read struct {
			lines []store.Line
			err   error
		}
		ctx, stop := context.WithCancel(ctx)
		ahead := make(chan read)
		var reader sync.WaitGroup
		defer reader.Wait()
		defer stop()
		reader.Go(func() {
			defer close(ahead)
			for index := 0; index < header.Rows; {
				burst, err := s.lineBurst(ctx, header, index)
				select {
				case ahead <- read{burst, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
				index += len(burst)
			}
		})
		given := 0
		for r := range ahead {
			if r.err != nil {
				yield(store.Line{}, r.err)
				return
			}
			for _, l := range r.lines {
				if !yield(l, nil) {
					return
				}
				given++
			}
		}
		if given < header.Rows {
			yield(store.Line{}, ctx.Err())
		}
	}
}

// inTurn finds keys that mostly follow each other without a search for each.
type inTurn struct {
	*bbolt.Cursor
	begun bool
}

func (c *inTurn) look(key []byte) []byte {
	if c.begun {
		if k, v := c.Next(); bytes.Equal(k, key) {
			return v
		}
	}
	c.begun = true
	return seek(c.Cursor, key)
}

// rows reads rows of a batch one after the other, within a transaction.
type rows struct {
	tx      *bbolt.Tx
	header  store.Batch
	index   int // of the next one
	lines   *bbolt.Cursor
	k, v    []byte
	payouts inTurn
	key     [8]byte
}

func newRows(tx *bbolt.Tx, header store.Batch, index int) *rows {
	r := &rows{tx: tx, header: header, index: index, lines: tx.Bucket(bucketLines).Cursor(), payouts: inTurn{Cursor: tx.Bucket(bucketPayouts).Cursor()}}
	r.k, r.v = r.lines.Seek(append32(r.key[:0], header.Number, uint32(index)))
	return r
}

// next is a row without cells, which come sealed, and live as long as the transaction.
func (r *rows) next() (row store.Line, sealed []byte, err error) {
	if string(r.k) != string(append32(r.key[:0], r.header.Number, uint32(r.index))) {
		return row, nil, fmt.Errorf("%w: row %d of batch %s is missing", store.ErrDamaged, r.index+1, r.header.Short())
	}
	l, err := decodeLine(r.k, r.v)
	if err != nil {
		return row, nil, err
	}
	row = store.Line{Index: r.index, Line: int(l.line), Skip: l.skip}
	if l.payout != 0 {
		key := binary.BigEndian.AppendUint64(r.key[:0], l.payout)
		rec, err := recordOf(r.tx, key, r.payouts.look(key))
		if err != nil {
			return row, nil, err
		}
		row.Payout = rec.Payout
	}
	r.k, r.v = r.lines.Next()
	r.index++
	return row, l.sealed, nil
}

// Page shows some rows in one turn; see store.Store.
func (s *Store) Page(ctx context.Context, q store.PageQuery) (page store.Page, err error) {
	q = q.Bounded()
	header, err := s.header(ctx, q.Batch)
	if err != nil {
		return page, err
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		page = store.Page{Next: -1}
		rows := newRows(tx, header, q.From)
		for rows.index < header.Rows {
			row, _, err := rows.next()
			if err != nil {
				return err
			}
			if !page.Add(&q, &row) && rows.index < header.Rows {
				page.Next = rows.index
				break
			}
		}
		return nil
	})
	return page, err
}

// lineBurst reads rows from index on. They are opened after the turn is over.
func (s *Store) lineBurst(ctx context.Context, header store.Batch, index int) ([]store.Line, error) {
	out := make([]store.Line, 0, min(burstLines, header.Rows-index))
	sealed := make([][]byte, 0, cap(out))
	var copies []byte // of what is sealed
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		rows := newRows(tx, header, index)
		for range cap(out) {
			row, cells, err := rows.next()
			if err != nil {
				return err
			}
			out = append(out, row)
			if copies == nil {
				copies = make([]byte, 0, cap(out)*(len(cells)+16)) // most rows are about as long
			}
			start := len(copies)
			copies = append(copies, cells...)
			sealed = append(sealed, copies[start:len(copies):len(copies)])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Cells, err = s.sealer.Open(sealed[i], out[i].Payout.Key, header.Number, uint32(out[i].Index))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

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

// lineBurst reads rows from index on. They are opened after the turn is over.
func (s *Store) lineBurst(ctx context.Context, header store.Batch, index int) ([]store.Line, error) {
	out := make([]store.Line, 0, min(burstLines, header.Rows-index))
	sealed := make([][]byte, 0, cap(out))
	var copies []byte // of what is sealed
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		var place, number [8]byte
		payouts := inTurn{Cursor: tx.Bucket(bucketPayouts).Cursor()}
		lines := tx.Bucket(bucketLines).Cursor()
		k, v := lines.Seek(append32(place[:0], header.Number, uint32(index)))
		for range cap(out) {
			if string(k) != string(append32(place[:0], header.Number, uint32(index+len(out)))) {
				return fmt.Errorf("%w: row %d of batch %s is missing", store.ErrDamaged, index+len(out)+1, header.Short())
			}
			l, err := decodeLine(k, v)
			if err != nil {
				return err
			}
			row := store.Line{Index: index + len(out), Line: int(l.line), Skip: l.skip}
			if l.payout != 0 {
				key := binary.BigEndian.AppendUint64(number[:0], l.payout)
				r, err := recordOf(tx, key, payouts.look(key))
				if err != nil {
					return err
				}
				row.Payout = r.Payout
			}
			out = append(out, row)
			if copies == nil {
				copies = make([]byte, 0, cap(out)*(len(l.sealed)+16)) // most rows are about as long
			}
			start := len(copies)
			copies = append(copies, l.sealed...)
			sealed = append(sealed, copies[start:len(copies):len(copies)])
			k, v = lines.Next()
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

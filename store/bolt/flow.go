package bolt

import (
	"context"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"masspay/store"
	"masspay/store/codec"
)

func flowKey(k store.FlowKey) []byte { return append32(nil, k.Batch, k.Minute) }

// allKey is that of what is counted over all batches.
var allKey = []byte("all")

// flushFlows writes what was counted.
func (w *writer) flushFlows() error {
	b := w.tx.Bucket(bucketFlows)
	for key, more := range w.counting.Flows {
		k := flowKey(key)
		numbers, err := decodeNumbers(k, b.Get(k))
		if err != nil {
			return err
		}
		flow := store.FlowOf(numbers)
		flow.Plus(more)
		if err := b.Put(k, encodeNumbers(k, flow[:])); err != nil {
			return err
		}
	}
	w.counting.Flows = nil
	if w.counting.Totals == (store.Totals{}) {
		return nil
	}
	totals, err := readTotals(w.tx)
	if err != nil {
		return err
	}
	totals.Plus(&w.counting.Totals)
	w.counting.Totals = store.Totals{}
	return b.Put(allKey, encodeNumbers(allKey, totals.Numbers()))
}

func readTotals(tx *bbolt.Tx) (totals store.Totals, err error) {
	numbers, err := decodeNumbers(allKey, tx.Bucket(bucketFlows).Get(allKey))
	return store.TotalsOf(numbers), err
}

func encodeNumbers(key []byte, numbers []int64) []byte {
	e := codec.NewEncoder()
	for _, n := range numbers {
		e.Int(n)
	}
	return e.Sum(key)
}

func decodeNumbers(key, value []byte) (numbers []int64, err error) {
	if value == nil {
		return nil, nil
	}
	d := codec.NewDecoder(key, value, codec.RecordVersion)
	for d.Left() > 0 && !d.Bad {
		numbers = append(numbers, d.Int())
	}
	return numbers, d.Done("what was counted under", key)
}

// Totals are over all time; see store.Store.
func (s *Store) Totals(ctx context.Context) (totals store.Totals, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		totals, err = readTotals(tx)
		return err
	})
	return totals, err
}

// Minutes are what passed for a batch; see store.Store.
func (s *Store) Minutes(ctx context.Context, batch string) (all []store.Minute, err error) {
	header, err := s.header(ctx, batch)
	if err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		all, err = minutesOf(tx, header.Number)
		return err
	})
	return all, err
}

func minutesOf(tx *bbolt.Tx, batch uint32) (all []store.Minute, err error) {
	c := tx.Bucket(bucketFlows).Cursor()
	for k, v := c.Seek(be32(batch)); len(k) == 8 && binary.BigEndian.Uint32(k) == batch; k, v = c.Next() {
		numbers, err := decodeNumbers(k, v)
		if err != nil {
			return nil, err
		}
		key := store.FlowKey{Batch: batch, Minute: binary.BigEndian.Uint32(k[4:])}
		all = append(all, store.Minute{At: key.At(), Flow: store.FlowOf(numbers)})
	}
	return all, nil
}

// countFlows counts what is kept of payouts that an older masspay has not counted as it went.
func (s *Store) countFlows(tx *bbolt.Tx) error {
	w := s.writer(tx)
	c := tx.Bucket(bucketPayouts).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r, err := recordOf(tx, k, v)
		if err != nil {
			return err
		}
		full, err := r.Full(true)
		if err != nil {
			return err
		}
		w.counting.CountKept(&full)
	}
	return w.flushFlows()
}

// flows holds what was counted as it went against what is there.
func (x *examining) flows() {
	totals, err := readTotals(x.tx)
	if err != nil {
		x.Add("%v", err)
		return
	}
	if totals.States != x.states {
		x.Add("the counts of payouts by state are not what counting gives")
	}
	var sum store.Flow
	x.each(bucketFlows, func(k, v []byte) {
		if len(k) != 8 {
			return
		}
		numbers, err := decodeNumbers(k, v)
		if err != nil {
			x.Add("%v", err)
			return
		}
		flow := store.FlowOf(numbers)
		sum.Plus(&flow)
	})
	if what := totals.Lacks(&sum); what != "" {
		x.Add("%s", what)
	}
}

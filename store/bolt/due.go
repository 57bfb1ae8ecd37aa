package bolt

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// Tick is a moment on the machine's own clock; see store.Store. All processes of an
// embedded store are on one machine.
func (s *Store) Tick() payout.Tick { return clock.Tick() }

// Due hands out payouts whose poll is due; see store.Store.
func (s *Store) Due(ctx context.Context, d store.Due) ([]payout.History, error) {
	w, err := s.want(ctx, store.Filter{Batch: d.Batch, Gate: d.Gate, Limit: d.N})
	if err != nil {
		return nil, err
	}
	now := s.o.now()
	// A lease that were longer than any wait would look as if the clock had been set back.
	until := now.Add(min(d.Lease, s.o.Rules.LongestPollInterval()))
	var due []uint64
	for from := []byte{}; from != nil && len(due) < d.N; {
		var some []uint64
		if some, from, err = s.scanDue(ctx, w, now, from); err != nil {
			return nil, err
		}
		due = append(due, some...)
	}
	if len(due) == 0 {
		return nil, nil
	}
	var out []payout.History
	err = s.update(ctx, func(tx *bbolt.Tx) error {
		out = nil
		each := s.writer(tx)
		for _, n := range due[:min(len(due), d.N)] {
			r, err := each.get(n)
			if err != nil {
				return err
			}
			// Another process may have taken it since it was found.
			if r.PollAt.IsZero() || s.notDue(r.PollAt, now) || !w.has(r.Payout) {
				continue
			}
			before := r.Payout
			r.PollAt = until.Truncate(time.Microsecond)
			if err := each.reindex(&before, &r.Payout); err != nil {
				return err
			}
			if err := each.put(&r); err != nil {
				return err
			}
			out = append(out, payout.History{Payout: r.Payout})
		}
		return each.flush()
	})
	return out, err
}

// notDue reports whether a poll comes later. What is due later than it can be was written
// before the clock was set back, and is due now.
func (s *Store) notDue(at, now time.Time) bool {
	return at.After(now) && !at.After(now.Add(s.o.Rules.LongestPollInterval()))
}

// scanDue reads one burst of open payouts in the order in which they are due. It returns
// where to go on, nil at the end.
func (s *Store) scanDue(ctx context.Context, w wanted, now time.Time, from []byte) (due []uint64, next []byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		due, next = nil, nil
		c := tx.Bucket(bucketDue).Cursor()
		read := 0
		for k, _ := c.Seek(from); len(k) == 16; k, _ = c.Next() {
			if s.notDue(time.UnixMicro(int64(binary.BigEndian.Uint64(k))), now) {
				impossible := now.Add(s.o.Rules.LongestPollInterval())
				if k, _ = c.Seek(dueKey(impossible.Add(time.Microsecond), 0)); len(k) != 16 {
					return nil
				}
			}
			if read++; burstIsFull(w.Filter, read, len(due)) {
				next = slices.Clone(k)
				return nil
			}
			rec, err := full(tx, binary.BigEndian.Uint64(k[8:]), false)
			if err != nil {
				return err
			}
			if w.has(rec.Payout) {
				due = append(due, rec.Number)
			}
		}
		return nil
	})
	return due, next, err
}

// NextDue is the earliest PollAt; see store.Store.
func (s *Store) NextDue(ctx context.Context) (at time.Time, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		if k, _ := tx.Bucket(bucketDue).Cursor().First(); len(k) == 16 {
			at = time.UnixMicro(int64(binary.BigEndian.Uint64(k))).UTC()
		}
		return nil
	})
	return at, err
}

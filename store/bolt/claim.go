package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// Claim takes payouts for this process; see store.Store.
func (s *Store) Claim(ctx context.Context, c store.Claim) (out store.Claims, err error) {
	owner, err := s.becomeOwner()
	if err != nil {
		return out, err
	}
	header, err := s.header(ctx, c.Batch)
	if err != nil {
		return out, err
	}
	scan := &claimScan{c: c, header: header, owner: owner, from: be32(header.Number), skip: map[payout.Key]bool{}}
	for _, k := range c.Skip {
		scan.skip[k] = true
	}
	for {
		claimed, more, err := s.claimBurst(ctx, scan)
		if err != nil {
			return store.Claims{}, err
		}
		out.Blocked = append(out.Blocked, scan.blocked...)
		if len(claimed) > 0 || !more {
			out.Payouts = claimed
			return out, nil
		}
	}
}

// claimBurst scans one burst's worth of rows; more says that the scan has not
// reached the end of the batch.
func (s *Store) claimBurst(ctx context.Context, scan *claimScan) (out []store.Claimed, more bool, err error) {
	err = s.burst(ctx, func(db *bbolt.DB) error {
		var generation uint64
		copied := false
		begun := *scan
		if scan.c.AskFirst && !s.asking {
			if err := s.settle(db); err != nil {
				return err
			}
		}
		err := s.write(db, func(tx *bbolt.Tx) error {
			*scan = begun
			epoch, since, err := s.refuseCopies(tx, scan.c.AskFirst)
			if err != nil {
				return err
			}
			w := s.writer(tx)
			scan.w, scan.lines = w, tx.Bucket(bucketLines).Cursor()
			scan.epoch, scan.copied, scan.now = epoch, since, s.o.now()
			copied = epoch != 0
			scan.out, scan.blocked, scan.wrote, scan.read = nil, nil, false, 0
			if more, err = scan.run(); err != nil {
				return err
			}
			out = scan.out
			if len(scan.out) > 0 {
				if err := s.register(tx, scan.owner); err != nil {
					return err
				}
			}
			if scan.wrote {
				err := changeMeta(tx, func(m *meta) {
					m.generation++
					m.claimed, generation = scan.now, m.generation
				})
				if err != nil {
					return err
				}
			}
			return w.flush()
		})
		if err != nil {
			return err
		}
		// Dangerous inside the transaction: an epoch that was rolled back has not
		// begun, and payouts would be handed out unasked.
		s.asking = s.asking || scan.c.AskFirst
		if generation == 0 {
			return nil
		}
		// The store's number first, the marker after it: a crash between leaves
		// the marker behind, which is harmless; the other way round would make
		// this store look like a copy.
		if err := s.mark(generation, copied); err != nil {
			return errors.Join(err, s.write(db, func(tx *bbolt.Tx) error { return s.release(tx, out) }))
		}
		if !s.marked {
			s.marked = syncFile(s.o.marker()) == nil // the next claim tries again
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return out, more, nil
}

// release gives claims back of which nothing was sent.
func (s *Store) release(tx *bbolt.Tx, claimed []store.Claimed) error {
	w := s.writer(tx)
	for _, c := range claimed {
		_, err := w.applyByKey(payout.Event{Key: c.Key, Kind: payout.Released, Source: payout.FromRun, At: s.o.now(), Tick: clock.Tick(), Attempt: c.Attempt})
		if err != nil {
			return err
		}
	}
	return w.flush()
}

// claimScan walks a batch's rows for payouts to claim.
type claimScan struct {
	c      store.Claim
	header store.Batch
	owner  uint64
	from   []byte // where in the freed rows to go on; nil: they are through
	skip   map[payout.Key]bool

	w       *writer
	lines   *bbolt.Cursor
	epoch   uint64    // not 0: the store is a restored copy
	copied  time.Time // of the last claim that the copy knows of
	now     time.Time
	out     []store.Claimed
	blocked []store.Blocked
	wrote   bool
	read    int // rows looked at in this burst
}

func (s *claimScan) run() (more bool, err error) {
	p, err := s.w.batch(s.header.Number)
	if err != nil || p == nil {
		return false, errors.Join(err, errIf(p == nil, store.ErrNoBatch))
	}
	if p.hold.Bars(s.c) {
		return false, &store.HeldError{Hold: *p.hold}
	}
	if more, err = s.freed(); more || err != nil {
		return more, err
	}
	for ; len(s.out) < s.c.N && int(p.cursor) < s.header.Rows; s.read++ {
		if s.read >= burstReads {
			return true, nil
		}
		at := p.cursor
		p.cursor++
		keep, err := s.take(at)
		if err != nil {
			return false, err
		}
		if keep {
			if err := s.w.tx.Bucket(bucketFreed).Put(s.w.place(s.header.Number, at), nil); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// freed claims the rows that became New again behind the cursor; more says that
// the burst ended before they did.
func (s *claimScan) freed() (more bool, err error) {
	bucket := s.w.tx.Bucket(bucketFreed)
	prefix := be32(s.header.Number)
	for ; s.from != nil && len(s.out) < s.c.N; s.read++ {
		if s.read >= burstReads {
			return true, nil
		}
		// A new cursor each time: the bucket changes on the way.
		k, _ := bucket.Cursor().Seek(s.from)
		if len(k) != 8 || string(k[:4]) != string(prefix) {
			s.from = nil
			break
		}
		key := append([]byte(nil), k...)
		keep, err := s.take(binary.BigEndian.Uint32(key[4:]))
		if err != nil {
			return false, err
		}
		if !keep {
			if err := bucket.Delete(key); err != nil {
				return false, err
			}
		}
		s.from = append(key, 0) //nolint:gocritic // the key's successor; key is done with
	}
	return false, nil
}

// take claims the payout of one row if it is New. It reports whether the row
// must be looked at again, because the caller skipped it for now.
func (s *claimScan) take(index uint32) (keep bool, err error) {
	key := s.w.place(s.header.Number, index)
	v := seek(s.lines, key)
	if v == nil {
		return false, fmt.Errorf("%w: row %d of batch %s is missing", store.ErrDamaged, index+1, s.header.Short())
	}
	l, err := decodeLine(key, v)
	if err != nil || l.payout == 0 {
		return false, err
	}
	r, err := s.w.get(l.payout)
	if err != nil || r.State != payout.StateNew || r.OfAnother() {
		return false, err
	}
	if !r.Claimable(s.w.s.o.Rules, s.c.Host) || s.skip[r.Key] {
		return true, nil
	}
	e := payout.Event{Key: r.Key, Source: payout.FromRun, At: s.now, Host: s.c.Host}
	if s.epoch != 0 && r.Epoch != s.epoch {
		e.Kind, e.Source, e.Epoch, e.Tick, e.Since = payout.Suspected, payout.FromStore, s.epoch, clock.Tick(), s.copied
	} else {
		e.Kind, e.Attempt, e.Owner, e.Batch = payout.Claimed, r.Attempt+1, s.owner, s.header.Number
	}
	cells, err := s.w.s.sealer.Open(l.sealed, r.Key, s.header.Number, index)
	if err != nil {
		return false, err
	}
	if e.Kind == payout.Claimed {
		blocker, err := s.w.retryBlocker(r.Key, r.Amount, payout.Payee(s.header.Columns, cells))
		if err != nil {
			return false, err
		}
		if blocker.Same {
			s.blocked = append(s.blocked, store.Blocked{Key: r.Key, By: blocker.By})
			return true, nil
		}
	}
	change, err := s.w.apply(&r, &e)
	if err != nil {
		return false, err
	}
	s.wrote = true
	if e.Kind == payout.Claimed {
		if s.out == nil {
			s.out = make([]store.Claimed, 0, min(s.c.N, burstReads))
		}
		s.out = append(s.out, store.Claimed{Payout: change.After, Columns: s.header.Columns, Cells: cells})
	}
	return false, nil
}

func errIf(cond bool, err error) error {
	if cond {
		return err
	}
	return nil
}

package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store/clock"
)

// Recover makes Unknown what dead processes were sending; see store.Store.
func (s *Store) Recover(ctx context.Context) (int, error) {
	idle := false
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		k, _ := tx.Bucket(bucketClaims).Cursor().First()
		last, _ := tx.Bucket(bucketClaims).Cursor().Last()
		mine := be64(s.owner)
		idle = k == nil || s.owner != 0 && string(k[:8]) == string(mine) && string(last[:8]) == string(mine)
		return nil
	})
	if err != nil || idle {
		return 0, err
	}
	total := 0
	for {
		n, err := s.recoverBurst(ctx)
		total += n
		if err != nil || n < burstWrites {
			return total, err
		}
	}
}

// recoverBurst does one commit's worth of recovering.
func (s *Store) recoverBurst(ctx context.Context) (n int, err error) {
	r := &recovery{s: s}
	err = s.burst(ctx, func(db *bbolt.DB) error {
		err := s.write(db, func(tx *bbolt.Tx) error {
			r.begin(tx)
			for owner, payouts := range claimsByOwner(tx) {
				if err := r.owner(owner, payouts); err != nil {
					return err
				}
			}
			return r.w.flush()
		})
		return errors.Join(err, r.end(err == nil))
	})
	return r.n, err
}

// recovery is one commit of Recover. It keeps the locks that it could take until the
// commit is through: they are its proof.
type recovery struct {
	s       *Store
	w       *writer
	n       int
	locks   []*flock.Flock
	through []*flock.Flock // of those, the ones whose owner has no payout left
}

// begin is called again when a transaction is tried again.
func (r *recovery) begin(tx *bbolt.Tx) {
	r.w, r.n, r.through = r.s.writer(tx), 0, nil
	for _, l := range r.locks {
		_ = l.Unlock()
	}
	r.locks = nil
}

func (r *recovery) owner(owner uint64, payouts []uint64) error {
	record, err := readOwner(r.w.tx, owner)
	if err != nil {
		return err
	}
	state, l, err := r.s.look(owner)
	if err != nil || state == ownerAlive {
		return err
	}
	if l != nil {
		r.locks = append(r.locks, l)
	}
	if state == ownerDead && !record.Dead {
		record.Dead = true
		if err := putOwner(r.w.tx, owner, record); err != nil {
			return err
		}
	}
	e := payout.Event{Kind: payout.Orphaned, Source: payout.FromStore, At: r.s.o.now(), Tick: clock.Tick(), Owner: owner}
	if !record.Dead {
		m, err := readMeta(r.w.tx)
		if err != nil {
			return err
		}
		e.Bar = payout.Bar{Boot: record.Boot, Machine: record.Machine, Epoch: max(m.generation, 1)}
	}
	some := payouts[:min(len(payouts), burstWrites-r.n)]
	for _, p := range some {
		rec, err := r.w.get(p)
		if err != nil {
			return err
		}
		e.Key = rec.Key
		if _, err := r.w.apply(&rec, &e); err != nil {
			return err
		}
		r.n++
	}
	if len(some) < len(payouts) {
		return nil
	}
	if l != nil {
		r.through = append(r.through, l)
	}
	return r.w.tx.Bucket(bucketOwners).Delete(be64(owner))
}

// end lets go of the locks and removes the files of owners that are through.
// Dangerous before the commit: without its file a dead owner would be forgotten, and
// what it was sending blocked for good.
func (r *recovery) end(committed bool) (err error) {
	for _, l := range r.through {
		if committed {
			err = errors.Join(err, remove(l.Path()))
		}
	}
	for _, l := range r.locks {
		err = errors.Join(err, l.Unlock())
	}
	return err
}

// remove removes a file that may be gone.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func claimsByOwner(tx *bbolt.Tx) map[uint64][]uint64 {
	held := map[uint64][]uint64{}
	c := tx.Bucket(bucketClaims).Cursor()
	for k, _ := c.First(); len(k) == 16; k, _ = c.Next() {
		owner := binary.BigEndian.Uint64(k)
		held[owner] = append(held[owner], binary.BigEndian.Uint64(k[8:]))
	}
	return held
}

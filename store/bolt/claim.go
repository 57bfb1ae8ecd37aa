package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// Claim takes payouts for this process; see store.Store.
func (s *Store) Claim(ctx context.Context, c store.Claim) (out store.Claims, err error) {
	owner, err := s.own()
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
		out.Barred = append(out.Barred, scan.barred...)
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
			epoch, since, err := s.guard(tx, scan.c.AskFirst)
			if err != nil {
				return err
			}
			w := s.writer(tx)
			scan.w, scan.lines = w, tx.Bucket(bucketLines).Cursor()
			scan.epoch, scan.copied, scan.now = epoch, since, s.o.now()
			copied = epoch != 0
			scan.out, scan.barred, scan.wrote, scan.read = nil, nil, false, 0
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

	w      *writer
	lines  *bbolt.Cursor
	epoch  uint64    // not 0: the store is a restored copy
	copied time.Time // of the last claim that the copy knows of
	now    time.Time
	out    []store.Claimed
	barred []store.Barred
	wrote  bool
	read   int // rows looked at in this burst
}

func (s *claimScan) run() (more bool, err error) {
	p, err := s.w.batch(s.header.Number)
	if err != nil || p == nil {
		return false, errors.Join(err, errIf(p == nil, store.ErrNoBatch))
	}
	if p.hold != nil {
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
	v := look(s.lines, key)
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
		bar, err := s.w.retryBar(r.Key, r.Amount, payout.Payee(s.header.Columns, cells))
		if err != nil {
			return false, err
		}
		if bar.Same {
			s.barred = append(s.barred, store.Barred{Key: r.Key, By: bar.By})
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

// guard refuses to claim from a restored store. It returns the epoch of the
// restore while payouts must be asked about first, 0 otherwise, and when the
// copy last claimed: what the lost store has sent besides, it sent later.
func (s *Store) guard(tx *bbolt.Tx, askFirst bool) (epoch uint64, copied time.Time, err error) {
	m, marker, err := s.standing(tx)
	lost := errors.Is(err, store.ErrNoMarker)
	if err != nil && (!askFirst || !lost) {
		return 0, copied, err
	}
	older := lost || marker > m.generation || m.elsewhere(s.o.Path)
	switch {
	case !askFirst && (older || m.epoch != 0):
		return 0, copied, fmt.Errorf("%s: %w", s.o.Path, store.ErrRestored)
	case askFirst && (!s.asking || older || m.epoch == 0):
		// A person says that it is a copy, even if the marker came back with it.
		// Every process that is told so asks anew: an epoch that came back with
		// the copy proves nothing.
		if m.epoch == 0 {
			m.copied = m.claimed // asking again does not make the copy newer
		}
		m.epoch = max(marker, m.generation) + 1
		m.generation = m.epoch
		return m.epoch, m.copied, m.write(tx)
	}
	return m.epoch, m.copied, nil
}

// AskFirst declares that the store may be a copy, also where its marker is lost: from
// now on the gate is asked about each payout before it is sent, by this process and by
// every other. It writes a marker that says so and gives the store new lock files, in
// place. Claims with AskFirst do the same; this does it before anything else.
func (s *Store) AskFirst(ctx context.Context) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		if err := s.settle(db); err != nil {
			return err
		}
		var generation uint64
		err := s.write(db, func(tx *bbolt.Tx) (err error) {
			generation, _, err = s.guard(tx, true)
			return err
		})
		if err != nil {
			return err
		}
		s.asking = true
		return errors.Join(s.mark(generation, true), syncFile(s.o.marker()), syncFolder(s.o.marker()))
	})
}

// settle says that the store is at home where it is, with new lock files: the store
// first, with the identity that the files have now, then the files, then the store
// again, so that being cut off at any moment leaves what the next burst mends. The turn
// must be held.
func (s *Store) settle(db *bbolt.DB) error {
	var id [16]byte
	err := s.writeUnder(db, func(tx *bbolt.Tx) error {
		return changeMeta(tx, func(m *meta) {
			if err := m.settle(s.o.Path); err == nil {
				m.locksBefore = before(s.turn.identity())
			}
			id = m.locks
		})
	})
	if err != nil {
		return err
	}
	return s.identified(db, id)
}

// before is an identity of lock files as locksBefore holds it: files that have none
// must not look like files that are written.
func before(id [16]byte) [16]byte {
	if id == [16]byte{} {
		return noIdentity
	}
	return id
}

// noIdentity means lock files that are new and have no identity yet.
var noIdentity = [16]byte(bytes.Repeat([]byte{0xff}, 16))

// identified writes the store's identity into the lock file, and notes that it is
// there.
func (s *Store) identified(db *bbolt.DB, id [16]byte) error {
	if err := s.turn.identify(id); err != nil {
		return err
	}
	return s.writeUnder(db, func(tx *bbolt.Tx) error {
		return changeMeta(tx, func(m *meta) { m.locksBefore = [16]byte{} })
	})
}

// Settle gives a store that is where it was at home new lock files: they were removed,
// or the store is there under two names, of which the other is not written to any
// more. A copy elsewhere is store.ErrRestored.
func (s *Store) Settle(ctx context.Context) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		var m meta
		err := db.View(func(tx *bbolt.Tx) (err error) { m, err = readMeta(tx); return err })
		if err == nil && m.elsewhere(s.o.Path) {
			err = fmt.Errorf("%s: %w", s.o.Path, store.ErrRestored)
		}
		if err != nil {
			return err
		}
		return s.settle(db)
	})
}

// Writable reports why the store cannot be written by this process: store.ErrLocks or
// store.ErrNewer, as any write would. It writes nothing.
func (s *Store) Writable(ctx context.Context) error {
	err := s.update(ctx, func(*bbolt.Tx) error { return errNothing })
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

var errNothing = errors.New("nothing to write")

// standing is what the store and its marker say of the store's age; without a
// marker it is store.ErrNoMarker, with what the store says.
func (s *Store) standing(tx *bbolt.Tx) (m meta, marker uint64, err error) {
	if m, err = readMeta(tx); err != nil {
		return m, 0, err
	}
	marker, restored, err := readMarker(s.o.marker())
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", s.o.marker(), store.ErrNoMarker)
	}
	if restored && m.epoch == 0 {
		marker = max(marker, m.generation+1) // it belongs to a copy, and this is another one
	}
	return m, marker, err
}

// Restored reports whether payouts must be asked about before they are sent,
// because the store is a copy. It fails with store.ErrNoMarker.
func (s *Store) Restored(ctx context.Context) (restored bool, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		m, marker, err := s.standing(tx)
		restored = marker > m.generation || m.epoch != 0 || m.elsewhere(s.o.Path)
		return err
	})
	return restored, err
}

// Trust declares that the store is the newest there is: it writes the marker
// again and ends the asking. A person says so; nothing else calls it.
func (s *Store) Trust(ctx context.Context) error {
	return s.burst(ctx, func(db *bbolt.DB) error {
		if err := s.settle(db); err != nil {
			return err
		}
		var generation uint64
		err := s.write(db, func(tx *bbolt.Tx) error {
			marker, _, err := readMarker(s.o.marker())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return changeMeta(tx, func(m *meta) {
				generation = max(m.generation, marker) + 1
				m.generation, m.epoch, m.copied = generation, 0, time.Time{}
			})
		})
		if err != nil {
			return err
		}
		return errors.Join(s.mark(generation, false), syncFile(s.o.marker()))
	})
}

// mark writes the store's marker, for the store's owner.
func (s *Store) mark(generation uint64, restored bool) error {
	err := writeMarker(s.o.marker(), generation, restored)
	adopt(s.o.marker(), s.o.Path)
	return err
}

// The marker is the generation in ASCII and, in a restored copy, the word for it. It is
// synced once by every process that claims, and not again: a marker that lost its last
// writes only protects less, it never locks a good store.
func writeMarker(path string, generation uint64, restored bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // the configured path
	if err != nil {
		return fmt.Errorf("marker of the store: %w", err)
	}
	word := newestWord
	if restored {
		word = restoredWord
	}
	_, err = fmt.Fprintf(f, "%020d %s\n", generation, word)
	return errors.Join(err, f.Close())
}

// The words of a marker, of one length.
const (
	newestWord   = "newest  "
	restoredWord = "restored"
)

// Used reports whether anything may ever have been sent from the store that a
// marker belongs to. A store that was cut off while it was made was not.
func Used(o Options) bool {
	// A store's marker is whole on the disk before the store is there, and is never
	// emptied: an empty one was cut off before that.
	if st, err := os.Stat(o.marker()); err == nil && st.Size() == 0 {
		return false
	}
	generation, _, err := readMarker(o.marker())
	return err != nil || generation > 0
}

func readMarker(path string) (generation uint64, restored bool, err error) {
	b, err := os.ReadFile(path) //nolint:gosec // the configured path
	if err != nil {
		return 0, false, err
	}
	var n uint64
	if _, err := fmt.Sscanf(string(b), "%d", &n); err != nil {
		return 0, false, fmt.Errorf("%s: %w", path, fs.ErrNotExist) // a power cut emptied it: as good as missing
	}
	return n, strings.Contains(string(b), restoredWord), nil
}

package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"masspay/store/codec"

	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
)

// loadCommit is how many rows a load puts into one commit at the most.
const loadCommit = 10_000

// Load takes a whole file or nothing; see store.Store. Rows and payouts are
// written in line order, the index from ids to payouts in its own order at the
// end, and one last commit makes the batch count.
func (s *Store) Load(ctx context.Context, b store.Batch, rows iter.Seq2[store.Row, error], allow ...store.Allowance) (store.Loaded, error) {
	one, err := lock(ctx, s.o.Path+".load")
	adopt(s.o.Path+".load", s.o.Path)
	if err != nil {
		return store.Loaded{}, err
	}
	defer func() { _ = one.Unlock() }()
	if err := errors.Join(s.undo(ctx), s.forget(ctx)); err != nil {
		return store.Loaded{}, err
	}
	l := s.newLoad(b)
	err = l.begin(ctx)
	if err == nil {
		err = l.rows(ctx, rows)
	}
	if err == nil {
		err = l.index(ctx)
	}
	if err == nil {
		err = l.sightings(ctx)
	}
	for _, a := range allow {
		if err == nil {
			err = l.allowed(ctx, a)
		}
	}
	if err == nil {
		err = l.finish(ctx)
	}
	if err != nil {
		// The caller may have gone; the half-loaded rows must go too.
		return store.Loaded{}, errors.Join(err, s.undo(context.WithoutCancel(ctx)))
	}
	return store.Loaded{Batch: l.b, New: len(l.fresh), Known: l.known, Early: l.early}, nil
}

// load is one load under way.
type load struct {
	s      *Store
	b      store.Batch
	first  uint64 // payout number that the next new payout of this load got first
	next   uint64
	index0 uint32
	fresh  []entry  // 48 bytes a row
	reborn []uint64 // of those, the payouts whose ids had been cancelled before
	known  int
	early  int
	marker seal.Marker
	stride stride
}

func (s *Store) newLoad(b store.Batch) *load {
	return &load{s: s, b: b, marker: s.sealer.Marker(b.Columns)}
}

// entry is a new payout on its way into the indexes.
type entry struct {
	id                payout.Digest
	n                 uint64
	account, customer store.Mark
}

func (l *load) begin(ctx context.Context) error {
	sum, err := hex.DecodeString(l.b.ID)
	if err != nil || len(sum) != 32 {
		return fmt.Errorf("batch id %q is not a SHA-256", l.b.ID)
	}
	return l.s.update(ctx, func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketNames).Get(sum) != nil {
			return store.ErrLoaded
		}
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		l.b.Number, l.first, l.next = m.nextBatch, m.next, m.next
		m.loading, m.first = l.b.Number, l.first
		m.nextBatch++
		key := be32(l.b.Number)
		return errors.Join(m.write(tx), tx.Bucket(bucketProgress).Put(key, (&progress{}).encode(key)))
	})
}

// rows writes the rows in commits of loadCommit. The rows of the next commit are
// read and sealed while one is under way.
func (l *load) rows(ctx context.Context, rows iter.Seq2[store.Row, error]) error {
	g, gctx := errgroup.WithContext(ctx)
	ready := make(chan part)
	s, number, marker := l.s, l.b.Number, l.marker // all of l is the committing hand's
	g.Go(func() error {
		defer close(ready)
		p := part{rows: make([]store.Row, 0, loadCommit)}
		next := func() error {
			s.prepare(&p, number, marker)
			select {
			case ready <- p:
			case <-gctx.Done():
				return context.Cause(gctx)
			}
			p = part{first: p.first + len(p.rows), rows: make([]store.Row, 0, loadCommit)}
			return nil
		}
		for row, err := range rows {
			if err != nil {
				return err
			}
			if p.rows = append(p.rows, row); len(p.rows) < loadCommit {
				continue
			}
			if err := next(); err != nil {
				return err
			}
		}
		return next()
	})
	g.Go(func() error {
		for p := range ready {
			for from := 0; from < len(p.rows); {
				to := min(from+l.stride.rows(), len(p.rows))
				if err := l.commit(gctx, p.between(from, to)); err != nil {
					return err
				}
				from = to
			}
		}
		return nil
	})
	return g.Wait()
}

// part is what one commit of a load writes.
type part struct {
	first  int // index of its first row in the file
	rows   []store.Row
	ids    []payout.Digest
	same   []payout.Digest // of their contents
	marks  [][2]store.Mark // of their accounts and customers
	sealed [][]byte
}

// between is a piece of the part.
func (p part) between(from, to int) part {
	return part{first: p.first + from, rows: p.rows[from:to], ids: p.ids[from:to], same: p.same[from:to], marks: p.marks[from:to], sealed: p.sealed[from:to]}
}

// prepare does what needs no turn, on all cores.
func (s *Store) prepare(p *part, batch uint32, marker seal.Marker) {
	p.marks = make([][2]store.Mark, len(p.rows))
	p.ids, p.same, p.sealed = make([]payout.Digest, len(p.rows)), make([]payout.Digest, len(p.rows)), make([][]byte, len(p.rows))
	var cores sync.WaitGroup
	for share := range slices.Chunk(upTo(len(p.rows)), len(p.rows)/runtime.GOMAXPROCS(0)+1) {
		cores.Go(func() {
			for _, i := range share {
				row := &p.rows[i]
				if row.Skip == "" {
					p.ids[i], p.same[i] = s.sealer.DigestID(row.Key), s.sealer.DigestContent(row.Method, row.Canonical)
					p.marks[i] = [2]store.Mark{marker.Account(row.Cells), marker.Customer(row.Key.ProjectID, row.Cells)}
					row.Canonical = nil // it is done with
				}
				p.sealed[i] = s.sealer.Seal(row.Cells, row.Key, batch, uint32(p.first+i))
			}
		})
	}
	cores.Wait()
}

// commit writes one part.
func (l *load) commit(ctx context.Context, p part) error {
	chunk, ids, sealed := p.rows, p.ids, p.sealed
	if uint64(l.index0)+uint64(len(chunk)) > math.MaxUint32 {
		return errors.New("a file has at most 4,294,967,295 rows")
	}
	saved := *l
	err := l.stride.commit(ctx, l.s, func(tx *bbolt.Tx) error {
		w := l.s.writer(tx)
		lines := tx.Bucket(bucketLines)
		lines.FillPercent, w.payouts.FillPercent = 1, 1 // in key order, and payouts have room to grow
		for i, row := range chunk {
			index := l.index0 + uint32(i)
			kept := line{line: uint64(row.Line), skip: row.Skip, sealed: sealed[i]}
			if row.Skip == "" {
				n, err := l.place(w, row, ids[i], p.same[i], p.marks[i], index)
				if err != nil {
					return err
				}
				kept.payout = n
			}
			key := w.place(l.b.Number, index)
			if err := lines.Put(key, kept.encode(key)); err != nil {
				return err
			}
		}
		if err := changeMeta(tx, func(m *meta) { m.next = l.next }); err != nil {
			return err
		}
		return w.flush()
	})
	if err != nil {
		*l = saved
		return err
	}
	l.index0 += uint32(len(chunk))
	l.b.Rows += len(chunk)
	return nil
}

// upTo is 0 to n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// place finds or makes the payout of a row and returns its number.
func (l *load) place(w *writer, row store.Row, id, content payout.Digest, marks [2]store.Mark, index uint32) (uint64, error) {
	at := payout.Place{Batch: l.b.Number, Index: index}
	n, err := w.find(id)
	if err != nil {
		return 0, err
	}
	if err := l.retryRow(w, row); err != nil && n == 0 {
		return 0, err // one that is known already is asked again when it is claimed
	}
	var prev uint64
	if n != 0 {
		r, err := w.get(n)
		if err == nil && r.Key != row.Key {
			err = fmt.Errorf("%w: the id of %s leads to another payout", store.ErrDamaged, row.Key)
		}
		if err != nil {
			return 0, err
		}
		if !r.FreesID() {
			return n, l.again(w, r, row, content, at)
		}
		prev = n // given up before anything was attempted: the id starts over
		l.reborn = append(l.reborn, l.next)
	}
	p := payout.New(row.Key, row.Method, row.Amount)
	p.Number, p.Masked, p.Content = l.next, row.Masked, content
	p.Places = []payout.Place{at}
	l.next++
	l.fresh = append(l.fresh, entry{id, p.Number, marks[0], marks[1]})
	if err := errors.Join(l.count(w, p), w.joinFamily(p.Key)); err != nil {
		return 0, err
	}
	r := codec.Record{Payout: p, Prev: prev}
	r.Room = r.Size() + codec.Grown
	return p.Number, w.put(&r)
}

// again notes that a known payout is in this batch too.
func (l *load) again(w *writer, r codec.Record, row store.Row, content payout.Digest, at payout.Place) error {
	if r.Content != content {
		return &store.ConflictError{Row: row, Known: r.Payout}
	}
	r.Places = append(r.Places, at)
	l.known++
	if err := l.count(w, r.Payout); err != nil {
		return err
	}
	return w.put(&r)
}

func (l *load) count(w *writer, p payout.Payout) error {
	q, err := w.batch(l.b.Number)
	if err != nil || q == nil {
		return errors.Join(err, errIf(q == nil, store.ErrNoBatch))
	}
	q.add(&p, +1)
	return nil
}

// index writes the ids of the new payouts, sorted over the whole file, because
// random keys cost eight times as much.
func (l *load) index(ctx context.Context) error {
	slices.SortFunc(l.fresh, func(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) })
	for i := 1; i < len(l.fresh); i++ {
		if l.fresh[i].id == l.fresh[i-1].id {
			return store.ErrDuplicateID // two payouts under one id would be two payments
		}
	}
	return l.inParts(ctx, func(tx *bbolt.Tx, part []entry) error {
		ids := tx.Bucket(bucketIDs)
		ids.FillPercent = 0.9 // the first file's ids come in order; later ones need some room between
		for _, e := range part {
			if err := ids.Put(e.id[:], indexEntry(e.id[:], e.n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish makes the batch count, and applies what the gate said early.
func (l *load) finish(ctx context.Context) error {
	l.b.LoadedAt = l.s.o.now().UTC().Truncate(time.Microsecond)
	return l.s.update(ctx, func(tx *bbolt.Tx) error {
		header, err := json.Marshal(l.b)
		if err != nil {
			return err
		}
		sum, _ := hex.DecodeString(l.b.ID) // was checked by begin
		key := be32(l.b.Number)
		err = errors.Join(
			tx.Bucket(bucketBatches).Put(key, codec.Summed(key, header)),
			tx.Bucket(bucketNames).Put(sum, indexEntry(sum, uint64(l.b.Number))),
			changeMeta(tx, func(m *meta) { m.loading, m.first = 0, 0 }),
			takeNumber(tx, l.b.Series),
		)
		if err != nil {
			return err
		}
		w := l.s.writer(tx)
		w.counting.Totals.States[payout.StateNew] += int64(len(l.fresh))
		if l.b.Held != nil {
			p, err := w.batch(l.b.Number)
			if err != nil || p == nil {
				return errors.Join(err, errIf(p == nil, store.ErrNoBatch))
			}
			p.hold = l.b.Held
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := l.stillCancelled(tx); err != nil {
			return err
		}
		if l.early, err = l.s.applyEarly(tx); err != nil {
			return err
		}
		if l.b, err = readBatch(tx, key); err != nil {
			return err
		}
		return note(tx, store.LoadedEntry(l.b, len(l.fresh)).By(l.s.begun()))
	})
}

// stillCancelled makes sure that no id that starts over came to life under its
// old payout while the load ran: what the gate reports about that one wins.
func (l *load) stillCancelled(tx *bbolt.Tx) error {
	for _, n := range l.reborn {
		r, err := get(tx, n)
		if err != nil {
			return err
		}
		old, err := get(tx, r.Prev)
		if err != nil {
			return err
		}
		if !old.FreesID() {
			return &store.ConflictError{Row: store.Row{Key: r.Key, Amount: r.Amount}, Known: old.Payout}
		}
	}
	return nil
}

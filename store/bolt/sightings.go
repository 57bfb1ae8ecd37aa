package bolt

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

const markSize = len(store.Mark{})

// sightingKey is that of a payout among those of its batch, by account.
func sightingKey(batch uint32, account store.Mark, n uint64) []byte {
	return append(append(be32(batch), account[:]...), be64(n)...)
}

func readSighting(k []byte) (batch []byte, account store.Mark, n uint64, err error) {
	if len(k) != 4+markSize+8 {
		return nil, account, 0, fmt.Errorf("%w: a sighting has a key of %d bytes", store.ErrDamaged, len(k))
	}
	return k[:4], store.Mark(k[4 : 4+markSize]), number(k[4+markSize:]), nil
}

// sightings writes by what the new payouts will be known again, sorted over the whole file.
func (l *load) sightings(ctx context.Context) error {
	slices.SortFunc(l.fresh, func(a, b entry) int {
		return cmp.Or(bytes.Compare(a.account[:], b.account[:]), cmp.Compare(a.n, b.n))
	})
	err := l.inParts(ctx, func(tx *bbolt.Tx, part []entry) error {
		b := tx.Bucket(bucketSightings)
		b.FillPercent = 1 // in key order
		for _, e := range part {
			if err := b.Put(sightingKey(l.b.Number, e.account, e.n), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(l.fresh, func(a, b entry) int {
		return cmp.Or(bytes.Compare(a.customer[:], b.customer[:]), cmp.Compare(a.n, b.n))
	})
	return l.inParts(ctx, func(tx *bbolt.Tx, part []entry) error {
		b := tx.Bucket(bucketCustomers)
		for _, e := range part {
			if err := remember(b, e.customer, e.account, e.n); err != nil {
				return err
			}
		}
		return nil
	})
}

// remember keeps that a customer's payout goes to an account. What a load that was undone
// has left there leads to no payout.
func remember(b *bbolt.Bucket, customer, account store.Mark, n uint64) error {
	if customer == (store.Mark{}) || account == (store.Mark{}) {
		return nil
	}
	had, err := codec.DecodeRemembered(customer[:], b.Get(customer[:]))
	if err != nil {
		return err
	}
	all, err := store.Remember(had, account, n, payoutsIn(b.Tx(), math.MaxUint64))
	if err != nil {
		return err
	}
	return b.Put(customer[:], codec.EncodeRemembered(customer[:], all))
}

// payoutsIn gets payouts below a number; what is gone is nil.
func payoutsIn(tx *bbolt.Tx, first uint64) func(n uint64) (*payout.Payout, error) {
	payouts := tx.Bucket(bucketPayouts)
	return func(n uint64) (*payout.Payout, error) {
		v := payouts.Get(be64(n))
		if n >= first || v == nil {
			return nil, nil
		}
		r, err := codec.DecodeRecord(be64(n), v)
		return &r.Payout, err
	}
}

// inParts writes the new payouts in commits of a load.
func (l *load) inParts(ctx context.Context, write func(tx *bbolt.Tx, part []entry) error) error {
	for left := l.fresh; len(left) > 0; {
		part := left[:min(len(left), l.stride.rows())]
		left = left[len(part):]
		if err := l.stride.commit(ctx, l.s, func(tx *bbolt.Tx) error { return write(tx, part) }); err != nil {
			return err
		}
	}
	return nil
}

// Marker makes marks of accounts; see store.Store.
func (s *Store) Marker(columns []string) func(cells []string) store.Mark {
	return s.sealer.Marker(columns).Account
}

// Sightings streams what was loaded since a time; see store.Store.
func (s *Store) Sightings(ctx context.Context, since time.Time) iter.Seq2[store.Sighting, error] {
	return s.sightingsOf(ctx, 0, since)
}

// allowed asks whether the batch may count.
func (l *load) allowed(ctx context.Context, a store.Allowance) error {
	return a.Ask(ctx, l.s.sightingsOf(ctx, l.b.Number, a.Since))
}

// sightingsOf streams those of a batch that is being loaded, if there is one, and of those
// that were loaded since a time.
func (s *Store) sightingsOf(ctx context.Context, loading uint32, since time.Time) iter.Seq2[store.Sighting, error] {
	return func(yield func(store.Sighting, error) bool) {
		var numbers []uint32
		if loading != 0 {
			numbers = append(numbers, loading)
		}
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			earlier, err := batchesSince(tx, since)
			numbers = append(numbers, earlier...)
			return err
		})
		if err != nil {
			yield(store.Sighting{}, err)
			return
		}
		for _, batch := range numbers {
			if !s.batchSightings(ctx, batch, batch == loading, yield) {
				return
			}
		}
	}
}

// batchSightings yields those of a batch. false: there is to be no more.
func (s *Store) batchSightings(ctx context.Context, batch uint32, fresh bool, yield func(store.Sighting, error) bool) bool {
	for from := be32(batch); from != nil; {
		burst, next, err := s.sightingBurst(ctx, batch, from)
		for _, seen := range burst {
			seen.New = fresh
			if !yield(seen, nil) {
				return false
			}
		}
		if err != nil {
			yield(store.Sighting{}, err)
			return false
		}
		from = next
	}
	return true
}

// sightingBurst reads sightings of a batch from a key on, with where to go on, nil at the end.
func (s *Store) sightingBurst(ctx context.Context, batch uint32, from []byte) (burst []store.Sighting, next []byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		burst, next = nil, nil
		c := tx.Bucket(bucketSightings).Cursor()
		for k, _ := c.Seek(from); bytes.HasPrefix(k, be32(batch)); k, _ = c.Next() {
			if len(burst) == burstReads {
				next = bytes.Clone(k)
				return nil
			}
			_, account, n, err := readSighting(k)
			if err != nil {
				return err
			}
			r, err := get(tx, n)
			if err != nil {
				return err
			}
			burst = append(burst, store.Sighting{Payout: r.Payout, Account: account})
		}
		return nil
	})
	return burst, next, err
}

// The wall clock may have been wrong between two loads: batches in load order are not always
// in the order of their times. Beyond clockSlack and so many older ones in a row nothing is
// looked for.
const (
	clockSlack = 48 * time.Hour
	olderInRow = 32
)

// batchesSince are the numbers of whole batches that were loaded from a time on, the newest
// first.
func batchesSince(tx *bbolt.Tx, since time.Time) (numbers []uint32, err error) {
	c := tx.Bucket(bucketBatches).Cursor()
	older := 0
	for k, _ := c.Last(); k != nil && older < olderInRow; k, _ = c.Prev() {
		b, err := readHeader(tx, k)
		if err != nil {
			return nil, err
		}
		if older++; !b.LoadedAt.Before(since.Add(-clockSlack)) {
			older = 0
		}
		if !b.LoadedAt.Before(since) {
			numbers = append(numbers, b.Number)
		}
	}
	return numbers, nil
}

// Resembling looks rows up among what was loaded before; see store.Store. Marks are made
// between two turns: they cost more than the looks.
func (s *Store) Resembling(ctx context.Context, columns []string, since time.Time, rows []store.Row) ([]store.Resemblance, error) {
	some := false
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		batches, err := batchesSince(tx, since)
		k, _ := tx.Bucket(bucketCustomers).Cursor().First()
		some = len(batches) > 0 || k != nil
		return err
	})
	if err != nil || !some {
		return nil, err
	}
	marker := s.sealer.Marker(columns)
	accounts, customers := newMarks(len(rows)), newMarks(len(rows))
	for i, row := range rows {
		accounts.of[i] = marker.Account(row.Cells)
		customers.of[i] = marker.Customer(row.Key.ProjectID, row.Cells)
	}
	accounts.sort()
	customers.sort()
	l := &looking{rules: s.o.Rules, rows: rows, accounts: accounts}
	inTurns := func(m marks, look func(part marks) error) {
		for order := range slices.Chunk(m.order, resembling) {
			if err == nil {
				err = s.view(ctx, func(tx *bbolt.Tx) (err error) {
					l.tx = tx
					if l.first, err = unloaded(tx); err != nil {
						return err
					}
					return look(marks{m.of, order})
				})
			}
		}
	}
	inTurns(accounts, func(part marks) error {
		l.accounts = part
		batches, err := batchesSince(l.tx, since)
		for _, batch := range batches {
			if err == nil {
				err = l.twins(batch)
			}
		}
		return err
	})
	inTurns(customers, l.customers)
	if err != nil {
		return nil, err
	}
	return l.out, nil
}

// resembling is for how many rows a turn looks among those that were before: some 50 ms.
const resembling = 5_000

// marks are those of rows, and the order in which they are looked up: one after the other
// costs a tenth of jumping about.
type marks struct {
	of    []store.Mark
	order []int
}

func newMarks(n int) marks { return marks{make([]store.Mark, n), upTo(n)} }

func (m marks) sort() {
	slices.SortFunc(m.order, func(a, b int) int { return bytes.Compare(m.of[a][:], m.of[b][:]) })
}

// looking is one look for what rows resemble.
type looking struct {
	tx       *bbolt.Tx
	rules    payout.Rules
	first    uint64 // payouts from this number on are of a load that is not whole
	rows     []store.Row
	accounts marks
	out      []store.Resemblance
}

func (l *looking) found(i int) *store.Resemblance {
	if l.out == nil {
		l.out = make([]store.Resemblance, len(l.rows))
	}
	return &l.out[i]
}

// twins looks for the rows' accounts in a batch, in the order of their marks.
func (l *looking) twins(batch uint32) error {
	c := l.tx.Bucket(bucketSightings).Cursor()
	prefix := make([]byte, 0, 4+markSize)
	for _, i := range l.accounts.order {
		if l.accounts.of[i] == (store.Mark{}) {
			continue
		}
		prefix = append(append(prefix[:0], be32(batch)...), l.accounts.of[i][:]...)
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			_, _, n, err := readSighting(k)
			if err != nil {
				return err
			}
			r, err := get(l.tx, n)
			if err != nil {
				return err
			}
			if store.TwinOf(l.rules, r.Payout, l.rows[i].Key, l.rows[i].Amount) && store.Worse(l.rules, r.Payout, l.found(i).Twin) {
				l.found(i).Twin = r.Payout
			}
		}
	}
	return nil
}

// customers looks for the rows' customers, in the order of their marks.
func (l *looking) customers(m marks) error {
	get, c := payoutsIn(l.tx, l.first), l.tx.Bucket(bucketCustomers).Cursor()
	for _, i := range m.order {
		account := l.accounts.of[i]
		if m.of[i] == (store.Mark{}) || account == (store.Mark{}) {
			continue
		}
		had, err := codec.DecodeRemembered(m.of[i][:], seek(c, m.of[i][:]))
		if err != nil {
			return err
		}
		last, err := store.LastPaid(had, account, get)
		if err != nil {
			return err
		}
		if last.Number != 0 {
			l.found(i).Last = last
		}
	}
	return nil
}

// keepFor is the longest for which rows are known again by account that the store was ever
// opened with to load: one who looks back less forgets nothing for the others.
func (s *Store) keepFor(ctx context.Context) (keep time.Duration, err error) {
	own := s.o.KeepFor
	if own == 0 {
		own = store.KeepFor
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		keep = max(own, time.Duration(number(tx.Bucket(bucketMeta).Get(metaKeepFor))))
		return nil
	})
	if err != nil || keep > own {
		return keep, err
	}
	return keep, s.update(ctx, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaKeepFor, be64(uint64(own))) })
}

// forget lets go of sightings that nothing looks for any more, in bursts.
func (s *Store) forget(ctx context.Context) error {
	keep, err := s.keepFor(ctx)
	if err != nil {
		return err
	}
	before := s.o.now().Add(-keep)
	for {
		var old []byte // number of the oldest batch, if it is to be forgotten
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketSightings).Cursor().First()
			if old = nil; k == nil {
				return nil
			}
			batch, _, _, err := readSighting(k)
			if err != nil {
				return err
			}
			header, err := readHeader(tx, batch)
			if err == nil && header.LoadedAt.Before(before) {
				old = bytes.Clone(batch)
			}
			return err
		})
		if err != nil || old == nil {
			return err
		}
		err = s.update(ctx, func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketSightings)
			for _, k := range gather(b.Cursor(), old) {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// sight fills the indexes of a row that an older masspay has loaded.
func (s *Store) sight(tx *bbolt.Tx, k, v []byte) error {
	l, err := decodeLine(k, v)
	if err != nil || l.payout == 0 {
		return err
	}
	r, err := get(tx, l.payout)
	if err != nil {
		return err
	}
	at := payout.Place{Batch: binary.BigEndian.Uint32(k[:4]), Index: binary.BigEndian.Uint32(k[4:])}
	if len(r.Places) == 0 || r.Places[0] != at {
		return nil // known by the row that it is sent from
	}
	header, known := s.columns[at.Batch]
	if !known {
		if header, err = readHeader(tx, k[:4]); err != nil {
			return err
		}
		s.columns[at.Batch] = header
	}
	cells, err := s.sealer.Open(l.sealed, r.Key, at.Batch, at.Index)
	if err != nil {
		return err
	}
	marker := s.sealer.Marker(header.Columns)
	account := marker.Account(cells)
	return errors.Join(
		tx.Bucket(bucketSightings).Put(sightingKey(at.Batch, account, r.Number), nil),
		remember(tx.Bucket(bucketCustomers), marker.Customer(r.Key.ProjectID, cells), account, r.Number),
	)
}

// sightings holds the indexes against the rows.
func (x *examining) sightings() {
	var header store.Batch // sightings of a batch come together
	seen := map[uint32]int{}
	x.each(bucketSightings, func(k, _ []byte) {
		batch, account, n, err := readSighting(k)
		if err != nil {
			x.Add("%v", err)
			return
		}
		if x.batch[binary.BigEndian.Uint32(batch)] == nil {
			return // of a load that was cut off
		}
		seen[binary.BigEndian.Uint32(batch)]++
		r, err := get(x.tx, n)
		if err != nil || !r.In(binary.BigEndian.Uint32(batch)) {
			x.Add("the index of accounts leads to payout number %d wrongly", n)
			return
		}
		if header.Number != binary.BigEndian.Uint32(batch) {
			if header, err = readHeader(x.tx, batch); err != nil {
				return // told already
			}
		}
		is, err := x.accountOf(header, r)
		switch {
		case err != nil:
			x.Add("%v", err)
		case is != account:
			x.Add("the index of accounts has another account for payout %s than its row", r.Key)
		}
	})
	for n := range x.batch {
		header, err := readHeader(x.tx, be32(n))
		if err == nil && header.LoadedAt.After(x.s.o.now().Add(-store.KeptAnyway)) && seen[n] != x.fresh[n] {
			x.Add("the index of accounts has %d payouts of batch %s, which brought %d: limits of a day and look-alikes miss them", seen[n], header.Short(), x.fresh[n])
		}
	}
	x.each(bucketCustomers, func(k, v []byte) {
		if _, err := codec.DecodeRemembered(k, v); err != nil {
			x.Add("%v", err)
		}
	})
}

// accountOf is the mark of the account in a payout's row of a batch.
func (x *examining) accountOf(header store.Batch, r codec.Record) (store.Mark, error) {
	at := slices.IndexFunc(r.Places, func(at payout.Place) bool { return at.Batch == header.Number })
	key := pair32(header.Number, r.Places[at].Index)
	l, err := decodeLine(key, x.tx.Bucket(bucketLines).Get(key))
	if err != nil {
		return store.Mark{}, err
	}
	cells, err := x.s.sealer.Open(l.sealed, r.Key, header.Number, r.Places[at].Index)
	return x.s.sealer.Marker(header.Columns).Account(cells), err
}

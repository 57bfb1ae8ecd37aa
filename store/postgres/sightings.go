package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// sightings writes by what the new payouts will be known again.
func (l *load) sightings(ctx context.Context, t *tx) error {
	b := &pgx.Batch{}
	b.Queue(l.s.sql(`insert into @sightings (batch, account, payout) select $1, account, number from incoming where (payout is null or payout = number) and number <> 0 order by account, number`), int64(l.b.Number))
	// Who looks back less than others forgets nothing for them.
	var keep int64
	b.Queue(l.s.sql(`update @meta set keep_for = greatest(keep_for, $1) returning keep_for`), int64(l.s.o.keepFor())).QueryRow(func(row pgx.Row) error { return row.Scan(&keep) })
	if err := t.send(ctx, b); err != nil {
		return err
	}
	b = &pgx.Batch{}
	b.Queue(l.s.sql(`delete from @sightings s using @batches b where b.number = s.batch and b.loaded_at < $1`), l.s.o.now().Add(-time.Duration(keep)))
	if err := t.send(ctx, b); err != nil {
		return err
	}
	return l.customers(ctx, t)
}

// One sorting for all of them, read in bursts.
const (
	declareCustomers = `declare remembering no scroll cursor for select n.customer, n.account, n.number, c.accounts from incoming n left join @customers c on c.id = n.customer
		where (n.payout is null or n.payout = n.number) and n.number <> 0 and n.customer <> $1 and n.account <> $1 order by n.customer, n.number`
	insertCustomers = `insert into @customers (id, accounts) select * from unnest($1::bytea[], $2::bytea[])` // half of what it takes with "on conflict"; loads come one after the other
	updateCustomers = insertCustomers + ` on conflict (id) do update set accounts = excluded.accounts`
)

var fetchCustomers = fmt.Sprintf("fetch %d from remembering", loadChunk)

// customers keeps to which accounts the payouts of customers go. While a burst is gone
// through, the database writes what came of the one before and reads the next.
func (l *load) customers(ctx context.Context, t *tx) error {
	noMark := store.Mark{}
	if _, err := t.c.Exec(ctx, l.s.sql(declareCustomers), noMark[:]); err != nil {
		return err
	}
	m := &memory{s: l.s, t: t, fresh: l.base}
	some, err := m.turn(ctx, kept{})
	for err == nil && len(some) > 0 {
		var payouts map[uint64]*payout.Payout
		if payouts, err = m.crowded(ctx, some); err != nil {
			return err
		}
		var g errgroup.Group
		ready, now := m.kept, some
		m.kept = kept{}
		g.Go(func() (err error) { some, err = m.turn(ctx, ready); return err })
		err = m.add(now, payouts)
		err = errors.Join(g.Wait(), err)
	}
	if err != nil {
		return err
	}
	return m.end(ctx)
}

// remembering is a payout of a customer, with what was kept of that before all of these.
type remembering struct {
	customer, account []byte
	number            int64
	had               []store.Remembered
	known             bool // something was kept
}

// memory is to which accounts customers' payouts go, the newest first. Payouts of one customer
// come one after the other.
type memory struct {
	s     *Store
	t     *tx
	fresh uint64      // payouts from this number on are of the load, and New
	last  remembering // the customer that is being looked at, with what is remembered so far
	kept  kept        // of those before
}

// kept is what is to be written of customers.
type kept struct {
	fresh, known struct{ ids, accounts [][]byte }
}

// add takes payouts into account. It leaves the database alone.
func (m *memory) add(some []remembering, payouts map[uint64]*payout.Payout) (err error) {
	isNew := &payout.Payout{State: payout.StateNew}
	get := func(n uint64) (*payout.Payout, error) {
		if n >= m.fresh {
			return isNew, nil
		}
		return payouts[n], nil
	}
	for _, r := range some {
		if !bytes.Equal(m.last.customer, r.customer) {
			m.close()
			m.last = r
		}
		if m.last.had, err = store.Remember(m.last.had, store.Mark(r.account), uint64(r.number), get); err != nil {
			return err
		}
	}
	return nil
}

// close is done with a customer.
func (m *memory) close() {
	c := m.last
	if c.customer == nil {
		return
	}
	to := &m.kept.fresh
	if c.known {
		to = &m.kept.known
	}
	to.ids, to.accounts = append(to.ids, c.customer), append(to.accounts, codec.EncodeRemembered(c.customer, c.had))
}

// crowded reads the payouts of customers who have so many that some are to be forgotten, but
// for those of the load, in one look.
func (m *memory) crowded(ctx context.Context, some []remembering) (map[uint64]*payout.Payout, error) {
	var numbers []int64
	for len(some) > 0 {
		had, n := some[0].had, 1
		if bytes.Equal(m.last.customer, some[0].customer) {
			had = m.last.had
		}
		for n < len(some) && bytes.Equal(some[n].customer, some[0].customer) {
			n++
		}
		if len(had)+n > store.PayoutsOfOne {
			for _, r := range had {
				if r.Payout < m.fresh {
					numbers = append(numbers, int64(r.Payout))
				}
			}
			for _, r := range some[:n] {
				if uint64(r.number) < m.fresh {
					numbers = append(numbers, r.number)
				}
			}
		}
		some = some[n:]
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	return m.s.payouts(ctx, m.t.c, numbers)
}

// turn writes what is ready, and reads the next burst.
func (m *memory) turn(ctx context.Context, ready kept) (some []remembering, err error) {
	b := &pgx.Batch{}
	m.write(b, ready)
	b.Queue(fetchCustomers).Query(func(rows pgx.Rows) (err error) {
		some, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r remembering, err error) {
			var had []byte
			if err := row.Scan(&r.customer, &r.account, &r.number, &had); err != nil {
				return r, err
			}
			r.known = had != nil
			r.had, err = codec.DecodeRemembered(r.customer, had)
			return r, err
		})
		return err
	})
	return some, m.t.send(ctx, b)
}

// end writes what is left.
func (m *memory) end(ctx context.Context) error {
	m.close()
	b := &pgx.Batch{}
	m.write(b, m.kept)
	return m.t.send(ctx, b)
}

func (m *memory) write(b *pgx.Batch, ready kept) {
	if c := ready.fresh; len(c.ids) > 0 {
		b.Queue(m.s.sql(insertCustomers), c.ids, c.accounts)
	}
	if c := ready.known; len(c.ids) > 0 {
		b.Queue(m.s.sql(updateCustomers), c.ids, c.accounts)
	}
}

const selectSightings = `select s.batch, s.account, ` + payoutColumns + ` from @sightings s join @payouts p on p.number = s.payout
	where s.batch = $1 and (s.account, s.payout) > ($2, $3) order by s.account, s.payout limit $4`

// allowed asks whether the batch may count, as of the transaction.
func (l *load) allowed(ctx context.Context, t *tx, a store.Allowance) error {
	if err := a.Ask(ctx, l.s.sightingsOf(ctx, t.c, l.b.Number, a.Since)); err != nil {
		return &rowsError{err}
	}
	return nil
}

// Marker makes marks of accounts; see store.Store.
func (s *Store) Marker(columns []string) func(cells []string) store.Mark {
	return s.sealer.Marker(columns).Account
}

// Sightings streams what was loaded since a time; see store.Store.
func (s *Store) Sightings(ctx context.Context, since time.Time) iter.Seq2[store.Sighting, error] {
	return stream(func(yield func(store.Sighting) bool) error {
		return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			for is, err := range s.sightingsOf(ctx, c, 0, since) {
				if err != nil {
					return err
				}
				if !yield(is) {
					return nil
				}
			}
			return nil
		})
	})
}

// sightingsOf streams those of a batch that is being loaded, if there is one, and of those
// that were loaded since a time, in bursts.
func (s *Store) sightingsOf(ctx context.Context, q querier, loading uint32, since time.Time) iter.Seq2[store.Sighting, error] {
	return stream(func(yield func(store.Sighting) bool) error {
		rows, err := q.Query(ctx, s.sql(`select number from @batches where number = $1 or loaded_at >= $2 order by number <> $1, number desc`), int64(loading), since)
		if err != nil {
			return err
		}
		numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		for _, batch := range numbers {
			if ended, err := s.batchSightings(ctx, q, batch, batch == int64(loading), yield); ended || err != nil {
				return err
			}
		}
		return nil
	})
}

// batchSightings yields those of a batch; ended says that there are to be no more.
func (s *Store) batchSightings(ctx context.Context, q querier, batch int64, fresh bool, yield func(store.Sighting) bool) (ended bool, err error) {
	account, number := []byte{}, int64(-1)
	for {
		some, err := s.sightingBurst(ctx, q, batch, account, number)
		if err != nil {
			return false, err
		}
		for _, is := range some {
			is.New = fresh
			if !yield(is) {
				return true, nil
			}
		}
		if len(some) < burst {
			return false, nil
		}
		last := some[len(some)-1]
		account, number = last.Account[:], int64(last.Payout.Number)
	}
}

// sightingBurst reads sightings of a batch from behind one on.
func (s *Store) sightingBurst(ctx context.Context, q querier, batch int64, account []byte, number int64) ([]store.Sighting, error) {
	rows, err := q.Query(ctx, s.sql(selectSightings), batch, account, number, burst)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (is store.Sighting, err error) {
		var r seenRow
		if err := row.Scan(append([]any{&r.batch, &r.account}, r.into()...)...); err != nil {
			return is, err
		}
		rec, err := r.decode()
		return store.Sighting{Payout: rec.Payout, Account: store.Mark(r.account)}, err
	})
}

// seenRow is a payout with where it was seen.
type seenRow struct {
	batch   int64
	account []byte
	row
}

// Resembling looks rows up among what was loaded before; see store.Store.
func (s *Store) Resembling(ctx context.Context, columns []string, since time.Time, rows []store.Row) (out []store.Resemblance, err error) {
	marker := s.sealer.Marker(columns)
	byAccount, byCustomer := map[store.Mark][]int{}, map[store.Mark][]int{}
	marks := make([]store.Mark, len(rows))
	for i, row := range rows {
		if marks[i] = marker.Account(row.Cells); marks[i] == (store.Mark{}) {
			continue
		}
		byAccount[marks[i]] = append(byAccount[marks[i]], i)
		if customer := marker.Customer(row.Key.ProjectID, row.Cells); customer != (store.Mark{}) {
			byCustomer[customer] = append(byCustomer[customer], i)
		}
	}
	found := func(i int) *store.Resemblance {
		if out == nil {
			out = make([]store.Resemblance, len(rows))
		}
		return &out[i]
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		out = nil
		seen, err := c.Query(ctx, s.sql(`select s.batch, s.account, `+payoutColumns+` from @batches b join @sightings s on s.batch = b.number join @payouts p on p.number = s.payout
			where b.loaded_at >= $1 and s.account = any($2::bytea[])`), since, marksOf(byAccount))
		if err != nil {
			return err
		}
		var r seenRow
		_, err = pgx.ForEachRow(seen, append([]any{&r.batch, &r.account}, r.into()...), func() error {
			rec, err := r.decode()
			if err != nil {
				return err
			}
			for _, i := range byAccount[store.Mark(r.account)] {
				if store.TwinOf(s.o.Rules, rec.Payout, rows[i].Key, rows[i].Amount) && (out == nil || store.Worse(s.o.Rules, rec.Payout, out[i].Twin)) {
					found(i).Twin = rec.Payout
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return s.lastPaid(ctx, c, byCustomer, func(i int, had []store.Remembered, get func(uint64) (*payout.Payout, error)) error {
			last, err := store.LastPaid(had, marks[i], get)
			if last.Number != 0 {
				found(i).Last = last
			}
			return err
		})
	})
	return out, err
}

func marksOf(of map[store.Mark][]int) [][]byte {
	marks := make([][]byte, 0, len(of))
	for m := range of {
		marks = append(marks, m[:])
	}
	return marks
}

// lastPaid reads what is kept of customers, and their payouts, and gives them to each of
// their rows.
func (s *Store) lastPaid(ctx context.Context, c *pgxpool.Conn, of map[store.Mark][]int, do func(i int, had []store.Remembered, get func(uint64) (*payout.Payout, error)) error) error {
	kept, err := c.Query(ctx, s.sql(`select id, accounts from @customers where id = any($1::bytea[])`), marksOf(of))
	if err != nil {
		return err
	}
	had := map[store.Mark][]store.Remembered{}
	var numbers []int64
	var id, accounts []byte
	_, err = pgx.ForEachRow(kept, []any{&id, &accounts}, func() error {
		all, err := codec.DecodeRemembered(id, accounts)
		had[store.Mark(id)] = all
		for _, r := range all {
			numbers = append(numbers, int64(r.Payout))
		}
		return err
	})
	if err != nil || len(numbers) == 0 {
		return err
	}
	payouts, err := s.payouts(ctx, c, numbers)
	if err != nil {
		return err
	}
	for customer, all := range had {
		for _, i := range of[customer] {
			if err := do(i, all, func(n uint64) (*payout.Payout, error) { return payouts[n], nil }); err != nil {
				return err
			}
		}
	}
	return nil
}

// payouts reads payouts by their numbers; one that is gone is not in the map.
func (s *Store) payouts(ctx context.Context, q querier, numbers []int64) (map[uint64]*payout.Payout, error) {
	all := map[uint64]*payout.Payout{}
	rows, err := q.Query(ctx, s.sql(`select `+payoutColumns+` from @payouts p where p.number = any($1)`), numbers)
	if err == nil {
		err = eachRecord(rows, func(r codec.Record) error { all[r.Number] = &r.Payout; return nil })
	}
	return all, err
}

// sightings holds the indexes against the payouts.
func (x *examining) sightings(ctx context.Context) error {
	var batch, number int64
	err := x.each(ctx, `select s.batch, s.payout from @sightings s where not exists (select 1 from @lines l where l.batch = s.batch and l.payout = s.payout)`, []any{&batch, &number}, func() error {
		x.Add("the index of accounts leads to payout number %d wrongly", number)
		return nil
	})
	if err != nil {
		return err
	}
	seen := map[uint32]int64{}
	err = x.each(ctx, `select batch, count(*) from @sightings group by 1`, []any{&batch, &number}, func() error { seen[uint32(batch)] = number; return nil })
	if err != nil {
		return err
	}
	for n, b := range x.batch {
		if b.LoadedAt.After(x.s.o.now().Add(-store.KeptAnyway)) && seen[n] != int64(x.fresh[n]) {
			x.Add("the index of accounts has %d payouts of batch %s, which brought %d: limits of a day and look-alikes miss them", seen[n], b.Short(), x.fresh[n])
		}
	}
	var id, accounts []byte
	return x.each(ctx, `select id, accounts from @customers`, []any{&id, &accounts}, func() error {
		if _, err := codec.DecodeRemembered(id, accounts); err != nil {
			x.Add("%v", err)
		}
		return nil
	})
}

package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// addNumbers adds arrays of which a newer masspay may have made longer ones.
const addNumbers = `(select array_agg(coalesce(u.a, 0) + coalesce(u.b, 0) order by u.i) from unnest(t.numbers, excluded.numbers) with ordinality as u (a, b, i))`

// flushFlows adds what was counted, in slots as the counts. All processes take the rows in one
// order.
func (w *writer) flushFlows(b *pgx.Batch) {
	keys := slices.SortedFunc(maps.Keys(w.counting.Flows), func(a, b store.FlowKey) int {
		return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Minute, b.Minute))
	})
	for _, k := range keys {
		b.Queue(w.s.sql(`insert into @minutes as t (batch, minute, slot, numbers) values ($1, $2, $3, $4) on conflict (batch, minute, slot) do update set numbers = `+addNumbers),
			int64(k.Batch), int64(k.Minute), w.s.slot, w.counting.Flows[k][:])
	}
	w.counting.Flows = nil
	if w.counting.Totals != (store.Totals{}) {
		b.Queue(w.s.sql(`insert into @totals as t (slot, numbers) values ($1, $2) on conflict (slot) do update set numbers = `+addNumbers), w.s.slot, w.counting.Totals.Numbers())
		w.counting.Totals = store.Totals{}
	}
}

// Totals are over all time; see store.Store.
func (s *Store) Totals(ctx context.Context) (totals store.Totals, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		totals, err = s.readTotals(ctx, c)
		return err
	})
	return totals, err
}

func (s *Store) readTotals(ctx context.Context, q querier) (totals store.Totals, err error) {
	rows, err := q.Query(ctx, s.sql(`select numbers from @totals`))
	if err != nil {
		return totals, err
	}
	var numbers []int64
	_, err = pgx.ForEachRow(rows, []any{&numbers}, func() error {
		slot := store.TotalsOf(numbers)
		totals.Plus(&slot)
		return nil
	})
	return totals, err
}

// Minutes are what passed for a batch; see store.Store.
func (s *Store) Minutes(ctx context.Context, batch string) (all []store.Minute, err error) {
	header, err := s.readHeader(ctx, batch)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		all = nil
		rows, err := c.Query(ctx, s.sql(`select minute, numbers from @minutes where batch = $1 order by minute`), int64(header.Number))
		if err != nil {
			return err
		}
		key := store.FlowKey{Batch: header.Number}
		var numbers []int64
		_, err = pgx.ForEachRow(rows, []any{&key.Minute, &numbers}, func() error {
			at := key.At()
			if len(all) == 0 || !all[len(all)-1].At.Equal(at) {
				all = append(all, store.Minute{At: at})
			}
			slot := store.FlowOf(numbers)
			all[len(all)-1].Plus(&slot)
			return nil
		})
		return err
	})
	return all, err
}

// flows holds what was counted as it went against what is there.
func (x *examining) flows(ctx context.Context) error {
	totals, err := x.s.readTotals(ctx, x.t)
	if err != nil {
		return err
	}
	if totals.States != x.states {
		x.Add("the counts of payouts by state are not what counting gives")
	}
	var sum store.Flow
	var numbers []int64
	err = x.each(ctx, `select numbers from @minutes`, []any{&numbers}, func() error {
		flow := store.FlowOf(numbers)
		sum.Plus(&flow)
		return nil
	})
	if what := totals.Lacks(&sum); what != "" && err == nil {
		x.Add("%s", what)
	}
	return err
}

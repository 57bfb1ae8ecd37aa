package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
	"masspay/store"
)

// flowKey is a batch and a minute, counted from the epoch.
type flowKey struct {
	batch  uint32
	minute int64
}

func minuteOf(t time.Time) int64 { return max(t.Unix()/60, 0) }

// passed counts what an event was and did.
func (w *writer) passed(e *payout.Event, c *store.Change) {
	w.totals.States[c.Was]--
	w.totals.States[c.After.State]++
	if !w.totals.Add(e, c) || c.After.SentBy == 0 {
		return
	}
	w.flow(flowKey{c.After.SentBy, minuteOf(e.At)}).Add(e, c)
}

func (w *writer) flow(key flowKey) *store.Flow {
	if w.flows == nil {
		w.flows = map[flowKey]*store.Flow{}
	}
	if w.flows[key] == nil {
		w.flows[key] = &store.Flow{}
	}
	return w.flows[key]
}

// addNumbers adds arrays of which a newer masspay may have made longer ones.
const addNumbers = `(select array_agg(coalesce(u.a, 0) + coalesce(u.b, 0) order by u.i) from unnest(t.numbers, excluded.numbers) with ordinality as u (a, b, i))`

// flushFlows adds what was counted, in slots as the counts. All processes take the rows in one
// order.
func (w *writer) flushFlows(b *pgx.Batch) {
	keys := make([]flowKey, 0, len(w.flows))
	for k := range w.flows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b flowKey) int { return cmp.Or(cmp.Compare(a.batch, b.batch), cmp.Compare(a.minute, b.minute)) })
	for _, k := range keys {
		b.Queue(w.s.sql(`insert into @minutes as t (batch, minute, slot, numbers) values ($1, $2, $3, $4) on conflict (batch, minute, slot) do update set numbers = `+addNumbers),
			int64(k.batch), k.minute, w.s.slot, w.flows[k][:])
	}
	w.flows = nil
	if w.totals != (store.Totals{}) {
		b.Queue(w.s.sql(`insert into @totals as t (slot, numbers) values ($1, $2) on conflict (slot) do update set numbers = `+addNumbers), w.s.slot, w.totals.Numbers())
		w.totals = store.Totals{}
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
		var minute int64
		var numbers []int64
		_, err = pgx.ForEachRow(rows, []any{&minute, &numbers}, func() error {
			at := time.Unix(minute*60, 0).UTC()
			if len(all) == 0 || !all[len(all)-1].At.Equal(at) {
				all = append(all, store.Minute{At: at})
			}
			slot := flowOf(numbers)
			all[len(all)-1].Plus(&slot)
			return nil
		})
		return err
	})
	return all, err
}

func flowOf(numbers []int64) (f store.Flow) {
	copy(f[:], numbers)
	return f
}

// countFlows counts what is kept of a payout that an older masspay has not counted as it went.
func (w *writer) countFlows(h *payout.History) {
	w.totals.States[h.State]++
	store.CountKept(h, func(at time.Time, add func(*store.Flow)) {
		add(&w.totals.Flow)
		if h.SentBy != 0 {
			add(w.flow(flowKey{h.SentBy, minuteOf(at)}))
		}
	})
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
		flow := flowOf(numbers)
		sum.Plus(&flow)
		return nil
	})
	if what := totals.Lacks(&sum); what != "" && err == nil {
		x.Add("%s", what)
	}
	return err
}

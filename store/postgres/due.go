package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// What another process is polling at this moment is passed over. What is due later than it
// can be was written before a clock was set back, and is due now.
const selectDue = `select ` + payoutColumns + ` from @payouts p where (p.poll_at, p.number) > ($1, $2) and p.poll_at is not null and (p.poll_at <= $3 or p.poll_at > $4)
	order by p.poll_at, p.number limit $5 for no key update of p skip locked`

// dueBurst is how many payouts of other gates or batches one transaction passes over.
const dueBurst = 1_000

// Due hands out payouts whose poll is due; see store.Store.
func (s *Store) Due(ctx context.Context, d store.Due) (out []payout.History, err error) {
	w := wanted{Filter: store.Filter{Gate: d.Gate}, rules: s.o.Rules}
	if d.Batch != "" {
		b, err := s.readHeader(ctx, d.Batch)
		if err != nil {
			return nil, err
		}
		w.batch = b.Number
	}
	from, number := time.Unix(0, 0), int64(0)
	for more := true; more && len(out) < d.N; {
		var some []payout.History
		if some, from, number, more, err = s.dueFrom(ctx, w, d, d.N-len(out), from, number); err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func (s *Store) dueFrom(ctx context.Context, w wanted, d store.Due, n int, from time.Time, number int64) (out []payout.History, at time.Time, last int64, more bool, err error) {
	now := s.o.now()
	// A lease that were longer than any wait would look as if the clock had been set back.
	longest := s.o.Rules.LongestPollInterval()
	until := now.Add(min(d.Lease, longest)).Truncate(time.Microsecond).UTC()
	at, last = from, number
	err = s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		writer := t.writer(ctx)
		rows, err := t.c.Query(ctx, s.sql(selectDue), from, number, now, now.Add(longest), max(min(n, dueBurst), 1))
		if err != nil {
			return err
		}
		read := 0
		err = eachRecord(rows, func(r codec.Record) error {
			read++
			at, last = r.PollAt, int64(r.Number)
			if !w.has(&r.Payout) || w.batch != 0 && !isIn(&r.Payout, w.batch) {
				return nil
			}
			r.PollAt = until
			writer.records[r.Number], writer.changed[r.Number] = &r, true
			out = append(out, payout.History{Payout: r.Payout})
			return nil
		})
		if err != nil {
			return err
		}
		more = read == max(min(n, dueBurst), 1)
		b := &pgx.Batch{}
		if err := writer.flushPayouts(b); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
	if err != nil {
		return nil, from, number, false, err
	}
	return out, at, last, more, nil
}

func isIn(p *payout.Payout, batch uint32) bool {
	for _, at := range p.Places {
		if at.Batch == batch {
			return true
		}
	}
	return false
}

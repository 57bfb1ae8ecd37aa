package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
)

// recoverBurst is how many payouts one transaction takes from the dead.
const recoverBurst = 5_000

// Recover makes Unknown what fenced processes were sending; see store.Store. It fences
// those of this machine that are gone, and waits for no silence: who claims or polls
// watches the others (owner.go).
func (s *Store) Recover(ctx context.Context) (total int, err error) {
	var others []living
	var dead []int64
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		b := &pgx.Batch{}
		b.Queue(s.sql(`select id, beats, boot, space, pid, started from @owners where fenced_at is null and closed_at is null and id <> $1`), s.owner.id).
			Query(func(rows pgx.Rows) (err error) { others, err = readLiving(rows); return err })
		if err := c.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		for _, o := range others {
			if s.owner.process.sees(o.process) != processGone {
				continue
			}
			if err := s.fence(ctx, o); err != nil {
				return err
			}
		}
		rows, err := c.Query(ctx, s.sql(`select distinct c.owner from @claims c join @owners o on o.id = c.owner where o.fenced_at is not null or o.closed_at is not null`))
		if err != nil {
			return err
		}
		dead, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, owner := range dead {
		for more := true; more; {
			var n int
			if n, more, err = s.recoverFrom(ctx, owner); err != nil {
				return total, err
			}
			total += n
		}
	}
	return total, nil
}

// recoverFrom makes Unknown some of what a dead process was sending.
func (s *Store) recoverFrom(ctx context.Context, owner int64) (n int, more bool, err error) {
	err = s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		n = 0
		w := t.writer(ctx)
		rows, err := t.c.Query(ctx, s.sql(`select `+payoutColumns+` from @payouts p where p.number in (select unnest(c.payouts) from @claims c where c.owner = $1) and p.owner = $1
			order by p.number limit $2 for no key update of p`), owner, recoverBurst)
		if err != nil {
			return err
		}
		if err := w.read(rows); err != nil {
			return err
		}
		for _, r := range w.records {
			e := payout.Event{Key: r.Key, Kind: payout.Orphaned, Source: payout.FromStore, At: s.o.now(), Tick: t.tick, Owner: uint64(owner)}
			if _, err := w.apply(r, &e); err != nil {
				return err
			}
			n++
		}
		b := &pgx.Batch{}
		if err := w.flush(b); err != nil {
			return err
		}
		if more = n == recoverBurst; !more {
			b.Queue(s.sql(`delete from @claims where owner = $1`), owner)
		}
		return t.commit(ctx, b)
	})
	return n, more, err
}

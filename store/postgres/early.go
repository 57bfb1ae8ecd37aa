package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

func earlyKey(id [16]byte, seq uint32) []byte { return append(slices.Clone(id[:]), be32(seq)...) }

// keepEarly keeps a report about an id that no file has brought yet, sealed where it
// says whom it is about. It is compared when a file brings the id.
func (w *writer) keepEarly(b *pgx.Batch, id payout.Digest, e payout.Event) (store.Change, error) {
	if w.early == nil {
		w.early, w.earlySeq = map[payout.Digest][]payout.Event{}, map[payout.Digest]uint32{}
	}
	all, read := w.early[id]
	if !read {
		var err error
		if all, err = w.readEarly(id); err != nil {
			return store.Change{}, err
		}
	}
	for _, old := range all {
		if codec.EqualReports(old, e) {
			return store.Change{Kept: true, Effect: payout.Ignored}, nil
		}
	}
	if len(all) >= codec.KeptOfOneID {
		return store.Change{}, fmt.Errorf("%s: %w", e.Key, store.ErrTooManyReports)
	}
	seq := w.earlySeq[id]
	key := earlyKey(id, seq)
	// No other process keeps one meanwhile: this one holds lockEarly.
	b.Queue(w.s.sql(`insert into @early (id, seq, at, event) values ($1, $2, $3, $4)`), [16]byte(id), int32(seq), e.At, codec.EncodeEarly(key, e, w.s.sealer.SealReport(key, e)))
	w.early[id], w.earlySeq[id] = append(all, e), seq+1
	return store.Change{Kept: true, Effect: payout.Changed}, nil
}

func (w *writer) readEarly(id payout.Digest) (all []payout.Event, err error) {
	rows, err := w.t.c.Query(w.ctx, w.s.sql(`select id, seq, event from @early where id = $1 order by seq`), [16]byte(id))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := w.s.scanEarly(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, e.event)
		w.earlySeq[id] = uint32(e.seq) + 1 // not their number: the first ones may have expired
	}
	return all, rows.Err()
}

// early is a report that waits.
type early struct {
	id    [16]byte
	seq   int32
	event payout.Event
}

func (s *Store) scanEarly(rows pgx.Rows) (e early, err error) {
	e, key, value, err := scanReport(rows)
	if err != nil {
		return e, err
	}
	event, sealed, err := codec.DecodeEarly(key, value)
	if err != nil {
		return e, err
	}
	e.event, err = s.sealer.OpenReport(key, event, sealed)
	return e, err
}

// scanReport reads id, seq and event of a report, as they are stored.
func scanReport(row pgx.CollectableRow) (e early, key, value []byte, err error) {
	err = row.Scan(&e.id, &e.seq, &value)
	return e, earlyKey(e.id, uint32(e.seq)), value, err
}

// applyEarly applies the reports whose ids have come to be known, and lets go of those
// that no one has asked for in a month. The lock on early reports must be held.
func (w *writer) applyEarly(ctx context.Context, b *pgx.Batch) (applied int, err error) {
	rows, err := w.t.c.Query(ctx, w.s.sql(`select e.id, e.seq, e.event from @early e join @ids i on i.id = e.id order by e.id, e.seq`))
	if err != nil {
		return 0, err
	}
	var all []early
	for rows.Next() {
		e, err := w.s.scanEarly(rows)
		if err != nil {
			rows.Close()
			return 0, err
		}
		all = append(all, e)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return 0, err
	}
	b.Queue(w.s.sql(`delete from @early e where e.at < $1 and not exists (select 1 from @ids i where i.id = e.id)`), w.s.o.now().Add(-codec.KeptFor))
	if len(all) == 0 {
		return 0, nil
	}
	ids := make([][16]byte, 0, len(all))
	for _, e := range all {
		ids = append(ids, e.id)
	}
	rows, err = w.t.c.Query(ctx, w.s.sql(selectApply), ids)
	if err != nil {
		return 0, err
	}
	of := map[[16]byte]*codec.Record{}
	for rows.Next() {
		var id [16]byte
		var r row
		if err = rows.Scan(append([]any{&id}, r.into()...)...); err == nil {
			err = w.keep(&r)
		}
		if err != nil {
			rows.Close()
			return 0, err
		}
		of[id] = w.records[uint64(r.number)]
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return 0, err
	}
	for _, e := range all {
		if _, err := w.apply(of[e.id], &e.event); err != nil {
			return 0, err
		}
	}
	b.Queue(w.s.sql(`delete from @early where id = any($1::uuid[])`), ids)
	return len(all), nil
}

// Early are reports about ids that no file has brought; see store.Store.
func (s *Store) Early(ctx context.Context, limit int) (all []payout.Event, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, s.sql(`select id, seq, event from @early order by at desc limit $1`), limit)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (payout.Event, error) {
			_, key, value, err := scanReport(row)
			if err != nil {
				return payout.Event{}, err
			}
			return codec.ShownEarly(key, value)
		})
		return err
	})
	return all, err
}

package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// Series are the last numbers of all series; see store.Store.
func (s *Store) Series(ctx context.Context) (last map[string]uint64, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		last = map[string]uint64{}
		rows, err := c.Query(ctx, s.sql(`select name, last from @series`))
		if err != nil {
			return err
		}
		var name string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&name, &n}, func() error { last[name] = uint64(n); return nil })
		return err
	})
	return last, err
}

// PassSeries passes over a gap in a series; see store.Store.
func (s *Store) PassSeries(ctx context.Context, next store.Series, person, reason string) error {
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		last, err := t.lastOf(ctx, next.Name)
		if err != nil {
			return err
		}
		if next.Number <= last {
			return &store.SeriesError{Series: next, Last: last}
		}
		b := &pgx.Batch{}
		t.putSeries(b, next.Name, next.Number-1)
		e := store.SeriesEntry(next, last, person, reason)
		e.At = s.o.now()
		if _, err := t.note(ctx, b, e); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
}

// lastOf is the last number of a series, locked; 0: there is none yet.
func (t *tx) lastOf(ctx context.Context, name string) (uint64, error) {
	var last int64
	err := t.c.QueryRow(ctx, t.s.sql(`select last from @series where name = $1 for update`), name).Scan(&last)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return uint64(last), err
}

func (t *tx) putSeries(b *pgx.Batch, name string, last uint64) {
	b.Queue(t.s.sql(`insert into @series (name, last) values ($1, $2) on conflict (name) do update set last = excluded.last`), name, int64(last))
}

// takeNumber takes a file's number in its series, in the load that makes it count.
func (t *tx) takeNumber(ctx context.Context, b *pgx.Batch, is *store.Series) error {
	if is == nil {
		return nil
	}
	last, err := t.lastOf(ctx, is.Name)
	if err == nil {
		err = is.Follows(last)
	}
	if err != nil {
		return err
	}
	t.putSeries(b, is.Name, is.Number)
	return nil
}

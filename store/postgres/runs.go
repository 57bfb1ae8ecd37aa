package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
	"masspay/store/codec"
)

// Runs streams the runs; see store.Store.
func (s *Store) Runs(ctx context.Context) iter.Seq2[store.Run, error] {
	return stream(func(yield func(store.Run) bool) error {
		for after := uint64(0); ; {
			some, err := s.runsAfter(ctx, after)
			if err != nil {
				return err
			}
			for _, r := range some {
				if after = r.Number; !yield(r) {
					return nil
				}
			}
			if len(some) < burst {
				return nil
			}
		}
	})
}

// runsAfter is the next burst of runs, in order.
func (s *Store) runsAfter(ctx context.Context, after uint64) (some []store.Run, err error) {
	return s.readRuns(ctx, `where number > $1 order by number limit $2`, int64(after), burst)
}

// LatestRuns are the newest runs; see store.Store.
func (s *Store) LatestRuns(ctx context.Context, before uint64, limit int) ([]store.Run, error) {
	return s.readRuns(ctx, `where $1 = 0 or number < $1 order by number desc limit $2`, int64(before), limit)
}

func (s *Store) readRuns(ctx context.Context, where string, args ...any) (some []store.Run, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, s.sql(`select number, run from @runs `+where), args...)
		if err != nil {
			return err
		}
		some, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Run, error) {
			var number int64
			var value []byte
			if err := row.Scan(&number, &value); err != nil {
				return store.Run{}, err
			}
			return decodeRun(number, value)
		})
		if err != nil {
			return err
		}
		return s.lookAtRuns(ctx, c, some)
	})
	return some, err
}

// lookAtRuns looks whether the processes of runs are there.
func (s *Store) lookAtRuns(ctx context.Context, c *pgxpool.Conn, runs []store.Run) error {
	var ids []int64
	for i := range runs {
		if r := &runs[i]; r.End == nil && r.Process != 0 {
			ids = append(ids, int64(r.Process))
		}
	}
	lives := map[int64]store.Life{}
	if len(ids) > 0 {
		// Whoever left has a moment to record how its run ended.
		rows, err := c.Query(ctx, s.sql(`select id, fenced_at is not null or coalesce(closed_at < now() - interval '10 seconds', false) from @owners where id = any($1)`), ids)
		if err != nil {
			return err
		}
		var id int64
		var gone bool
		_, err = pgx.ForEachRow(rows, []any{&id, &gone}, func() error {
			if lives[id] = store.LifeGoesOn; gone {
				lives[id] = store.LifeGone
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range runs {
		if r := &runs[i]; r.End == nil {
			r.Life = lives[int64(r.Process)]
		}
		runs[i].Process = 0 // it says nothing to others
	}
	return nil
}

func decodeRun(number int64, value []byte) (r store.Run, err error) {
	err = unmarshal("run", be64(uint64(number)), value, &r)
	r.Number = uint64(number)
	return r, err
}

func encodeRun(r store.Run) ([]byte, error) {
	text, err := json.Marshal(r)
	return codec.Summed(be64(r.Number), text), err
}

// BeginRun keeps who runs what; see store.Store.
func (s *Store) BeginRun(ctx context.Context, r store.Run) (number uint64, err error) {
	if owner, err := s.becomeOwner(ctx); err == nil { // where that fails people hear less of it, and that is all
		r.Process = uint64(owner)
	}
	err = s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		if _, err := t.c.Exec(ctx, lockAlone, s.lockNumber(lockRuns)); err != nil {
			return err
		}
		if err := t.c.QueryRow(ctx, s.sql(`select coalesce(max(number), 0) + 1 from @runs`)).Scan(&r.Number); err != nil {
			return err
		}
		value, err := encodeRun(r)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(s.sql(`insert into @runs (number, run) values ($1, $2)`), int64(r.Number), value)
		if _, err := t.note(ctx, b, store.BeganEntry(r)); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
	if err != nil {
		return 0, err
	}
	s.run.Store(&r)
	return r.Number, nil
}

// EndRun keeps how a run ended; see store.Store.
func (s *Store) EndRun(ctx context.Context, number uint64, end store.RunEnd) error {
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		var value []byte
		err := t.c.QueryRow(ctx, s.sql(`select run from @runs where number = $1 for update`), int64(number)).Scan(&value)
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("%w: run %d is missing", store.ErrDamaged, number)
		}
		if err != nil {
			return err
		}
		r, err := decodeRun(int64(number), value)
		if err != nil {
			return err
		}
		r.End = &end
		if value, err = encodeRun(r); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(s.sql(`update @runs set run = $2 where number = $1`), int64(number), value)
		if _, err := t.note(ctx, b, store.EndedEntry(r, end)); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
}

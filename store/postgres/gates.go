package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// OpenGates counts open payouts by gate; see store.Store.
func (s *Store) OpenGates(ctx context.Context) (gates map[string]int, err error) {
	gates = map[string]int{}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, s.sql(`select gate, sum(n)::bigint from @gates_open group by gate having sum(n) <> 0`))
		if err != nil {
			return err
		}
		var gate string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&gate, &n}, func() error { gates[gate] = int(n); return nil })
		return err
	})
	return gates, err
}

// Prove keeps that a gate is one; see store.Store.
func (s *Store) Prove(ctx context.Context, gate string) error {
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		b := &pgx.Batch{}
		b.Queue(s.sql(`insert into @gates (gate, at) values ($1, $2) on conflict do nothing`), gate, s.o.now())
		return t.commit(ctx, b)
	})
}

// Proven reports whether a gate is known to be one; see store.Store.
func (s *Store) Proven(ctx context.Context, gate string) (proven bool, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, s.sql(`select exists (select 1 from @gates where gate = $1)`), gate).Scan(&proven)
	})
	return proven, err
}

// probeEvery is how often a process looks whether it may probe.
const probeEvery = 50 * time.Millisecond

// Probe takes a row that one process has at a time, until it lets it go or is fenced; see
// store.Store. Where the database is away when it is let go, or does not say whether it
// was taken, the next beat lets it go.
func (s *Store) Probe(ctx context.Context) (release func() error, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	me, err := s.becomeOwner(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case s.probing <- struct{}{}: // one of this process
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		taken := false
		err := s.write(ctx, nil, func(ctx context.Context, t *tx) error {
			b := &pgx.Batch{}
			b.Queue(s.sql(`update @probe p set owner = $1, token = 1 where p.token = 0 or p.owner = $1 or not exists (select 1 from @owners o where o.id = p.owner and o.fenced_at is null and o.closed_at is null) returning 1`), me).
				Query(func(rows pgx.Rows) error {
					for rows.Next() {
						taken = true
					}
					return rows.Err()
				})
			return t.commit(ctx, b)
		})
		if err == nil && taken {
			return func() error { return s.releaseProbe(context.WithoutCancel(ctx)) }, nil
		}
		if err != nil {
			return nil, errors.Join(err, s.releaseProbe(context.WithoutCancel(ctx)))
		}
		t := time.NewTimer(probeEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			<-s.probing
			return nil, ctx.Err()
		}
	}
}

// releaseProbe lets the row go, now or with the next beat.
func (s *Store) releaseProbe(ctx context.Context) error {
	defer func() { <-s.probing }()
	err := s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		b := &pgx.Batch{}
		s.freeProbe(b)
		return t.commit(ctx, b)
	})
	if err != nil {
		s.probeLeft.Store(true)
	}
	return err
}

func (s *Store) freeProbe(b *pgx.Batch) {
	b.Queue(s.sql(`update @probe set token = 0 where owner = $1`), s.owner.id)
}

// freeLeftProbe lets go what could not be let go before, unless it was taken again.
func (s *Store) freeLeftProbe(ctx context.Context) {
	if !s.probeLeft.Load() {
		return
	}
	select {
	case s.probing <- struct{}{}:
		s.probeLeft.Store(false)
		_ = s.releaseProbe(ctx)
	default: // whoever has it lets it go
	}
}

package postgres

import (
	"context"
	_ "embed" // for schema.sql
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// The tables of the first format, and what each later one has more.
var (
	//go:embed schema.sql
	tables string
	//go:embed format2.sql
	format2 string
)

// Made reports whether a database has a store, whatever its key.
func Made(ctx context.Context, o Options) (there bool, err error) {
	s, err := connect(o)
	if err != nil {
		return false, err
	}
	defer s.pool.Close()
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select to_regclass($1) is not null`, s.schema+"meta").Scan(&there)
	})
	return there, err
}

// Create makes the store's schema, with its tables, in one transaction. It fails with
// fs.ErrExist where the schema has them already.
func Create(ctx context.Context, o Options) error {
	s, err := connect(o)
	if err != nil {
		return err
	}
	defer s.pool.Close()
	if used, err := Used(o); err != nil || used {
		return errors.Join(err, fmt.Errorf("%w: the marker %s says that a store was here, and payouts were sent from it", store.ErrMissing, o.Marker))
	}
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return s.plain(ctx, err)
	}
	defer c.Release()
	err = pgx.BeginFunc(ctx, c, func(t pgx.Tx) error {
		// Two that make it at once: the second one finds it made.
		if _, err := t.Exec(ctx, lockAlone, s.lockNumber(lockSchema)); err != nil {
			return err
		}
		var there bool
		if err := t.QueryRow(ctx, `select to_regclass($1) is not null`, s.schema+"meta").Scan(&there); err != nil {
			return err
		}
		if there {
			return fmt.Errorf("schema %s: %w", s.o.Schema, fs.ErrExist)
		}
		if _, err := t.Exec(ctx, `create schema if not exists `+pgx.Identifier{s.o.Schema}.Sanitize()); err != nil {
			return err
		}
		if _, err := t.Exec(ctx, s.sql(tables+format2), pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		var is identity
		b := &pgx.Batch{}
		s.readIdentity(b, &is)
		if err := t.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		check := s.sealer.Check()
		for _, first := range []struct {
			statement string
			args      []any
		}{
			{`insert into @meta (format, readable_by, key_check, system, timeline, database) values ($1, $2, $3, $4, $5, $6)`, []any{format, readableBy, check[:], is.system, is.timeline, is.database}},
			{`insert into @clock (boot) values ($1)`, []any{rand.Int64() | 1}}, //nolint:gosec // a name, not a secret
			{`insert into @probe default values`, nil},
		} {
			if _, err := t.Exec(ctx, s.sql(first.statement), first.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.plain(ctx, err)
}

// Used reports whether anything may ever have been sent from a store that this machine has
// seen: its marker says so.
func Used(o Options) (bool, error) {
	m, err := readMarker(o.Marker)
	return m.generation > 0, err
}

// Locks that a transaction takes in the database, beside rows.
const (
	lockSchema = iota + 1
	lockLoad   // one load at a time
	lockEpoch  // shared by claims; alone: to declare what the store is
	lockRuns   // one run gets its number at a time
	lockAudit  // the last one that is taken: one writes the audit log at a time
	lockEarly  // from when a load decides which ids are known until it is through; and of who keeps a report of an id that is not
)

// lockNumber is the number of a lock of this store: schemas do not share them.
func (s *Store) lockNumber(which int64) int64 {
	h := int64(0x6d617373) // any number that others are not likely to use
	for _, c := range s.o.Schema {
		h = h*31 + int64(c)
	}
	return h<<4 | which
}

var errStandby = &store.ConfigError{
	Why:  "no standby confirms what is claimed: synchronous_standby_names of the database is empty, and store.synchronous wants one",
	Hint: "set synchronous_standby_names, as the administrator of the database, or take store.synchronous out: then a failover is taken for a restored copy",
}

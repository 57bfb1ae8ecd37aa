package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Grant gives a role what every command but init needs, and not more: nothing of what was
// paid, or is known by its id, can be deleted by it.
func (s *Store) Grant(ctx context.Context, role string) error {
	name := pgx.Identifier{role}.Sanitize()
	schema := pgx.Identifier{s.o.Schema}.Sanitize()
	grant := func(ctx context.Context, c *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, c, func(t pgx.Tx) error {
			var database string
			if err := t.QueryRow(ctx, `select current_database()`).Scan(&database); err != nil {
				return err
			}
			for _, statement := range []string{
				`grant connect, temporary on database ` + pgx.Identifier{database}.Sanitize() + ` to ` + name,
				`grant usage on schema ` + schema + ` to ` + name,
				`grant select, insert, update on all tables in schema ` + schema + ` to ` + name,
				`revoke update on @meta from ` + name,  // settings are the owner's
				`revoke update on @audit from ` + name, // what was done stays
				`grant update (next_number, next_batch, generation, claimed_at, epoch, copied_at, system, timeline, database, keep_for) on @meta to ` + name,
				`grant delete on @freed, @claims, @early, @sightings to ` + name,
			} {
				if _, err := t.Exec(ctx, s.sql(statement)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		// Two who change rights on one database at once: PostgreSQL refuses one of them.
		var pg *pgconn.PgError
		for tries := 0; ; tries++ {
			err := grant(ctx, c)
			if tries == mostGrants || !errors.As(err, &pg) || pg.Code != "XX000" {
				return err
			}
		}
	})
}

const mostGrants = 10

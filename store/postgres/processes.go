package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// Processes lists the processes of all machines; see store.Peopled.
func (s *Store) Processes(ctx context.Context) (all []store.Process, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, s.sql(`select o.host, o.pid, o.version, o.since, o.seen_at, o.fenced_at is not null,
			(select count(*) from @claims c cross join unnest(c.payouts) as u (held) join @payouts p on p.number = u.held and p.owner = o.id where c.owner = o.id)
			from @owners o where o.closed_at is null and (o.fenced_at is null or o.fenced_at > now() - interval '1 day') order by o.since, o.id`))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p store.Process, err error) {
			err = row.Scan(&p.Host, &p.PID, &p.Version, &p.Since, &p.Seen, &p.Fenced, &p.Held)
			p.Since, p.Seen = p.Since.UTC().Truncate(time.Second), p.Seen.UTC().Truncate(time.Second)
			return p, err
		})
		return err
	})
	return all, err
}

// Join enters this process before its first claim; see store.Peopled.
func (s *Store) Join(ctx context.Context) error {
	_, err := s.becomeOwner(ctx)
	return err
}

// Deaths counts the processes that were fenced; see store.Peopled.
func (s *Store) Deaths(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, s.sql(`select count(*) from @owners where fenced_at is not null`)).Scan(&n)
	})
	return n, err
}

// pruneEvery is how many beats lie between two looks for claims of this process that are
// through.
const pruneEvery = 30

// prune removes what this process has noted of claims of which it holds no payout any more.
func (s *Store) prune(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, s.sql(`delete from @claims c where c.owner = $1 and c.n < (select max(n) from @claims where owner = $1)
		and not exists (select 1 from @payouts p where p.number = any(c.payouts) and p.owner = $1)`), s.owner.id)
	return err
}

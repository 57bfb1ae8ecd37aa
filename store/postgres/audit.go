package postgres

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

const selectHead = `select seq, hash, entry from @audit order by seq desc limit 1`

// scanLink reads an entry of the log.
func scanLink(row pgx.CollectableRow) (l store.Link, err error) {
	var seq int64
	var hash []byte
	var text string
	if err := row.Scan(&seq, &hash, &text); err != nil {
		return l, err
	}
	if len(hash) != len(l.Hash) {
		return l, fmt.Errorf("%w: an entry of the audit log has a hash of %d bytes", store.ErrDamaged, len(hash))
	}
	return store.Link{Seq: uint64(seq), Hash: store.Hash(hash), Text: []byte(text)}, nil
}

// queueHead adds a look at the last entry.
func (s *Store) queueHead(b *pgx.Batch, head *store.Link) {
	b.Queue(s.sql(selectHead)).Query(func(rows pgx.Rows) (err error) {
		all, err := pgx.CollectRows(rows, scanLink)
		if len(all) > 0 {
			*head = all[0]
		}
		return err
	})
}

// Head is the last entry of the audit log; see store.Store.
func (s *Store) Head(ctx context.Context) (head store.Link, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		b := &pgx.Batch{}
		s.queueHead(b, &head)
		return c.SendBatch(ctx, b).Close()
	})
	return head, err
}

// Audit streams the audit log; see store.Store.
func (s *Store) Audit(ctx context.Context, from uint64) iter.Seq2[store.Link, error] {
	return stream(func(yield func(store.Link) bool) error {
		for {
			var some []store.Link
			err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
				rows, err := c.Query(ctx, s.sql(`select seq, hash, entry from @audit where seq >= $1 order by seq limit $2`), int64(from), burst)
				if err == nil {
					some, err = pgx.CollectRows(rows, scanLink)
				}
				return err
			})
			if err != nil {
				return err
			}
			for _, l := range some {
				if from = l.Seq + 1; !yield(l) {
					return nil
				}
			}
			if len(some) < burst {
				return nil
			}
		}
	})
}

// Note adds an act to the audit log; see store.Store.
func (s *Store) Note(ctx context.Context, e store.Entry) (l store.Link, err error) {
	err = s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		b := &pgx.Batch{}
		if l, err = t.note(ctx, b, e); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
	return l, err
}

// Acting says who acts; see store.Store.
func (s *Store) Acting(who store.Run) {
	who.Number = 0
	s.run.Store(&who)
}

// begun is the run that this is, or who acts, with number 0.
func (s *Store) begun() store.Run {
	if r := s.run.Load(); r != nil {
		return *r
	}
	return store.Run{}
}

// note adds acts to the log, by the run that this is where they do not say: it takes the
// log's lock, and adds their statements to those of the commit. Whoever holds that lock has
// every payout that it changes, and takes nothing after it but rows of counts.
func (t *tx) note(ctx context.Context, b *pgx.Batch, entries ...store.Entry) (head store.Link, err error) {
	if len(entries) == 0 {
		return head, nil
	}
	first := &pgx.Batch{}
	first.Queue(lockAlone, t.s.lockNumber(lockAudit))
	t.s.queueHead(first, &head)
	if err := t.send(ctx, first); err != nil {
		return head, err
	}
	for _, e := range entries {
		if e.Run == 0 {
			e = e.By(t.s.begun())
		}
		if head, err = head.Next(e); err != nil {
			return head, err
		}
		b.Queue(t.s.sql(`insert into @audit (seq, hash, entry) values ($1, $2, $3)`), int64(head.Seq), slices.Clone(head.Hash[:]), string(head.Text))
	}
	return head, nil
}

// audit holds the log against itself.
func (x *examining) audit(ctx context.Context) error {
	rows, err := x.t.Query(ctx, x.s.sql(`select seq, hash, entry from @audit order by seq`))
	if err != nil {
		return err
	}
	defer rows.Close()
	var before store.Link
	for rows.Next() {
		l, err := scanLink(rows)
		if err == nil {
			_, err = l.Follows(before)
		}
		if err != nil {
			x.Add("the audit log: %v", err)
		}
		before = l
	}
	if err := rows.Err(); err != nil || before.Seq > 0 {
		return err
	}
	var n int64
	return x.each(ctx, `select count(*) from @runs`, []any{&n}, func() error {
		if n > 0 {
			x.Add("the audit log is empty, and runs are known")
		}
		return nil
	})
}

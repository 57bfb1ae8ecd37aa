package postgres

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"masspay/payout"
	"masspay/store"
)

// tx is one transaction. What it does is durable when commit has returned nil, and only
// then.
type tx struct {
	s         *Store
	c         *pgx.Conn
	tick      payout.Tick // the store's clock, as it was when the transaction began
	committed bool
}

// unsureError says that a commit may have come through or not.
type unsureError struct{ why string }

func (e *unsureError) Error() string {
	return "the database did not confirm a change (" + e.why + ")"
}

func (e *unsureError) Unwrap() error { return store.ErrBusy }

// A transaction lets go of its rows when its process is suspended, and does not wait long
// for those of others. It is durable on the disk, and where the database replicates
// synchronously on the standby, when its commit returns.
// A machine that is gone without a word is found by the server within some 25 s.
const begin = `select set_config('synchronous_commit', 'on', true), set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true),
	set_config('statement_timeout', '0', true), set_config('tcp_user_timeout', '20s', true),
	set_config('tcp_keepalives_idle', '10', true), set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true), set_config('jit', 'off', true)`

// fewRows is for a transaction that takes some hundred rows by their keys, whatever size the
// tables have. For a table of some ten thousand rows, or one whose statistics are not there
// yet, the planner would read all of it, with each claim and each answer.
const (
	fewRows  = `select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true)`
	manyRows = `select set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true), set_config('enable_seqscan', 'on', true)`
)

const (
	lockTimeout = 5 * time.Second
	idleTimeout = 10 * time.Second
)

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" }

// write runs a function that takes a few rows by their keys in a transaction, with the
// statements of first already sent with its beginning. What the function did not commit is
// rolled back.
func (s *Store) write(ctx context.Context, first func(b *pgx.Batch), do func(ctx context.Context, t *tx) error) error {
	s.live()
	ctx, cancel := s.patience(ctx)
	defer cancel()
	return s.plain(ctx, s.transact(ctx, min(lockTimeout, s.o.wait()), func(b *pgx.Batch) {
		b.Queue(fewRows)
		if first != nil {
			first(b)
		}
	}, do))
}

func (s *Store) transact(ctx context.Context, locks time.Duration, first func(b *pgx.Batch), do func(ctx context.Context, t *tx) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	t := &tx{s: s, c: conn.Conn()}
	b := &pgx.Batch{}
	b.Queue("begin isolation level read committed read write") // whatever the database's default is
	b.Queue(begin, milliseconds(locks), milliseconds(cmp.Or(s.o.idle, idleTimeout)))
	t.readClock(b)
	if first != nil {
		first(b)
	}
	if err = t.send(ctx, b); err == nil {
		err = do(ctx, t)
	}
	if !t.committed && !t.c.IsClosed() {
		// The caller may have gone; its rows must be free all the same.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, failed := t.c.Exec(late, "rollback"); failed != nil {
			_ = t.c.Close(late)
		}
	}
	return err
}

// readClock adds a look at the store's clock, and at the format of its tables: they may be
// brought to a later one while a process has them open.
func (t *tx) readClock(b *pgx.Batch) {
	b.Queue(t.s.sql(`select c.boot, c.at, m.format, m.readable_by from @clock c, @meta m`)).QueryRow(func(row pgx.Row) error {
		var boot, at int64
		var m meta
		if err := row.Scan(&boot, &at, &m.format, &m.readableBy); err != nil {
			return err
		}
		t.tick = t.s.clock.saw(boot, at)
		return m.usable()
	})
}

// plan says how the next statements find their rows: fewRows or manyRows.
func (t *tx) plan(ctx context.Context, how string) error {
	_, err := t.c.Exec(ctx, how)
	return err
}

// send runs the statements of a batch, in one round trip.
func (t *tx) send(ctx context.Context, b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	return t.c.SendBatch(ctx, b).Close()
}

// commit runs the last statements and commits. An *unsureError says that it may have come
// through; any other error that it has not.
func (t *tx) commit(ctx context.Context, b *pgx.Batch) error {
	if b == nil {
		b = &pgx.Batch{}
	}
	delete(t.c.PgConn().CustomData(), warned)
	var tag pgconn.CommandTag
	b.Queue("commit").Exec(func(ct pgconn.CommandTag) error { tag = ct; return nil })
	err := t.c.SendBatch(ctx, b).Close()
	t.committed = err == nil
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && !strings.HasPrefix(pg.Code, "57P") && !strings.HasPrefix(pg.Code, "08"):
		return err // the transaction is aborted
	case err != nil && pgconn.SafeToRetry(err):
		return err // nothing was sent
	case err != nil:
		return &unsureError{plainText(err)}
	case tag.String() != "COMMIT":
		return &store.DatabaseError{Why: "rolled a change back"}
	}
	if text, is := t.c.PgConn().CustomData()[warned].(string); is {
		return &unsureError{text} // "canceling wait for synchronous replication": not on the standby
	}
	return nil
}

// instant is a time as a column keeps it; the zero time is null.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// since is a time from a column.
func since(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

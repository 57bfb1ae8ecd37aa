package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// A store names two numbers, as every store of masspay does: the format that its tables
// have, and the lowest that a masspay must know to use them.
const (
	format     = 2
	readableBy = 2
)

// meta is what a store knows of itself.
type meta struct {
	format, readableBy int
	check              [16]byte
	nextNumber         uint64
	nextBatch          int64
	generation         uint64
	claimed            time.Time
	epoch              uint64
	copied             time.Time
	claimedBy          identity
}

const selectMeta = `select format, readable_by, key_check, next_number, next_batch, generation, claimed_at, epoch, copied_at, system, timeline, database from @meta`

func (m *meta) scan(row pgx.Row) error {
	var check []byte
	var claimed, copied *time.Time
	err := row.Scan(&m.format, &m.readableBy, &check, &m.nextNumber, &m.nextBatch, &m.generation, &claimed, &m.epoch, &copied,
		&m.claimedBy.system, &m.claimedBy.timeline, &m.claimedBy.database)
	if err != nil {
		return err
	}
	copy(m.check[:], check)
	m.claimed, m.copied = since(claimed), since(copied)
	return nil
}

// readMeta adds a look at what the store knows of itself.
func (s *Store) readMeta(b *pgx.Batch, m *meta) {
	b.Queue(s.sql(selectMeta)).QueryRow(m.scan)
}

// identity tells a database from its copies. A promoted standby has another timeline; what
// was restored from a dump, or upgraded, another system or number.
type identity struct {
	system   string // of the cluster
	timeline int64  // of its write-ahead log
	database int64
}

// selectIdentity reads what an ordinary role may read. The timeline of the last checkpoint
// would lag behind a promotion.
const selectIdentity = `select (select system_identifier::text from pg_control_system()),
	substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), (select oid::bigint from pg_database where datname = current_database())`

func (s *Store) readIdentity(b *pgx.Batch, is *identity) {
	b.Queue(selectIdentity).QueryRow(func(row pgx.Row) error {
		var timeline string
		if err := row.Scan(&is.system, &timeline, &is.database); err != nil {
			return err
		}
		n, err := strconv.ParseInt(timeline, 16, 64)
		is.timeline = n
		return err
	})
}

// checkStore makes sure that the database has a store, of a known format and made with
// this key, on a server that keeps what it confirms.
func (s *Store) checkStore(ctx context.Context) error {
	return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var m meta
		var fsync, pages string
		var replica bool
		b := &pgx.Batch{}
		b.Queue(`select current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery()`).QueryRow(func(row pgx.Row) error {
			return row.Scan(&fsync, &pages, &replica)
		})
		s.readMeta(b, &m)
		b.Queue(s.sql(`select boot, at from @clock`)).QueryRow(func(row pgx.Row) error {
			var boot, at int64
			err := row.Scan(&boot, &at)
			if err == nil {
				s.clock.saw(boot, at)
			}
			return err
		})
		if err := c.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if err := m.usable(); err != nil {
			return err
		}
		switch {
		case m.check != s.sealer.Check():
			return fmt.Errorf("schema %s: %w", s.o.Schema, store.ErrKey)
		case fsync != "on":
			return unsafe("fsync")
		case pages != "on":
			return unsafe("full_page_writes")
		case replica:
			return &store.DatabaseError{Why: "is a replica, and takes no changes"}
		}
		return nil
	})
}

// usable says what a masspay can do with tables of a format.
func (m *meta) usable() error {
	switch {
	case m.readableBy > format:
		return fmt.Errorf("%w (its tables have format %d, this masspay knows %d)", store.ErrNewer, m.format, format)
	case m.format < format:
		return fmt.Errorf("%w (its tables have format %d, this masspay wants %d)", store.ErrOlder, m.format, format)
	}
	return nil
}

func unsafe(setting string) error {
	return &store.ConfigError{
		Why:  "the database may lose what it has confirmed: its setting " + setting + " is off",
		Hint: "ALTER SYSTEM SET " + setting + " = on, as its administrator, then SELECT pg_reload_conf()",
	}
}

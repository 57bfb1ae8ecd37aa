package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// A database that lost commits looks healthy: a standby that was promoted too early, a
// snapshot, a dump, a recovery to a point in time. So every claim raises the generation
// and writes down which database made it, and every process and every machine remembers the
// highest that it has seen: the machine in its marker, a small file. A database that is
// another one, or that knows less, is a restored copy.

// marker is what this machine has seen.
type marker struct {
	generation uint64
	identity
}

// readMarker returns the zero marker where there is none: machines come and go.
func readMarker(path string) (m marker, err error) {
	if path == "" {
		return m, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the configured path
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if _, err := fmt.Sscanf(string(text), "%d %s %d %d", &m.generation, &m.system, &m.timeline, &m.database); err != nil {
		return marker{}, nil //nolint:nilerr // a power cut emptied it: as good as missing
	}
	return m, nil
}

// write writes the marker in place: one that lost its last writes only protects less.
func (m marker) write(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // the configured path
	if err != nil {
		return fmt.Errorf("marker of the store: %w", err)
	}
	_, err = fmt.Fprintf(f, "%020d %20s %010d %010d\n", m.generation, m.system, m.timeline, m.database)
	return errors.Join(err, f.Close())
}

// witness is what this process and this machine have seen, by now. Whoever looks at the
// database asks it first: what others commit between the two is no sign of anything.
func (s *Store) witness() (marker, error) {
	seen, err := readMarker(s.o.Marker)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation >= seen.generation {
		seen = marker{s.generation, s.seen}
	}
	return seen, err
}

// older reports whether the database may know less than another one does: a restored copy.
// known is the highest generation that anything here has seen; seen is the witness of
// before the database was looked at.
func (s *Store) older(m *meta, is identity, seen marker) (older bool, known uint64) {
	known = max(seen.generation, m.generation)
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen.generation > m.generation {
		s.wentBack = true // and it is not forgotten when others raise it again
	}
	switch promoted := m.claimedBy.system == is.system && m.claimedBy.database == is.database && m.claimedBy.timeline < is.timeline; {
	case s.wentBack:
		return true, known
	case seen.system == is.system && seen.database == is.database && seen.timeline > is.timeline:
		return true, known // the old primary is still there, and something here has seen the new one
	case m.claimedBy == is:
		return false, known
	default:
		return !s.o.Synchronous || !promoted, known
	}
}

// refuseCopies refuses to claim from a restored copy. It returns the epoch of the restore
// while payouts must be polled first, 0 otherwise, and when the copy last claimed; begun
// says that the epoch begins with this transaction.
func (s *Store) refuseCopies(m *meta, is identity, seen marker, askFirst bool) (epoch uint64, copied time.Time, begun bool, err error) {
	older, known := s.older(m, is, seen)
	s.mu.Lock()
	asking := s.asking
	s.mu.Unlock()
	switch {
	case !askFirst && (older || m.epoch != 0):
		return 0, copied, false, fmt.Errorf("schema %s: %w", s.o.Schema, store.ErrRestored)
	case askFirst && (!asking || older || m.epoch == 0):
		// A person says that it is a copy. Every process that is told so asks again: an
		// epoch that came back with the copy proves nothing.
		if m.epoch == 0 {
			m.copied = m.claimed // asking again does not make the copy newer
		}
		m.epoch = known + 1
		m.generation = m.epoch
		return m.epoch, m.copied, true, nil
	}
	return m.epoch, m.copied, false, nil
}

// Statements that take a lock of the store until the transaction ends.
const (
	lockAlone  = `select pg_advisory_xact_lock($1)`
	lockShared = `select pg_advisory_xact_lock_shared($1)`
)

// epochLock is how a claim keeps others from declaring what the store is: alone where it
// may declare that itself.
func (s *Store) epochLock(askFirst bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if askFirst && !s.asking {
		return lockAlone
	}
	return lockShared
}

// generationSeen is the highest generation that this process has seen so far. Whoever is
// about to look asks first: what is committed after that can only be higher.
func (s *Store) generationSeen() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

// saw remembers a committed generation, of this process or of others, that was looked at
// when before had been seen. One that is lower means that the database has gone back; other
// claims may raise it again, and that is not forgotten.
func (s *Store) saw(generation uint64, is identity, before uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation < before {
		s.wentBack = true
		clear(s.headers) // a number may be another batch's now
		return nil
	}
	if generation <= s.generation && is == s.seen || generation < s.generation {
		return nil // looks overtake each other
	}
	s.generation, s.seen = generation, is
	if kept, err := readMarker(s.o.Marker); err != nil || kept.generation >= generation {
		return err // another process has seen more
	}
	return marker{generation, is}.write(s.o.Marker)
}

// declared remembers what a person has declared, whatever was seen before.
func (s *Store) declared(generation uint64, is identity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation, s.seen, s.wentBack = generation, is, false
	return marker{generation, is}.write(s.o.Marker)
}

// Restored reports whether the database is a restored copy; see store.Store.
func (s *Store) Restored(ctx context.Context) (restored bool, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		seen, err := s.witness()
		if err != nil {
			return err
		}
		m, is, err := s.self(ctx, c)
		if err != nil {
			return err
		}
		older, _ := s.older(&m, is, seen)
		restored = older || m.epoch != 0
		return nil
	})
	return restored, err
}

// self is what the store and its database say of themselves.
func (s *Store) self(ctx context.Context, c *pgxpool.Conn) (m meta, is identity, err error) {
	b := &pgx.Batch{}
	s.readMeta(b, &m)
	s.readIdentity(b, &is)
	return m, is, c.SendBatch(ctx, b).Close()
}

const updateMeta = `update @meta set generation = $1, claimed_at = $2, epoch = $3, copied_at = $4, system = $5, timeline = $6, database = $7`

func (s *Store) writeMeta(b *pgx.Batch, m *meta, is identity) {
	b.Queue(s.sql(updateMeta), m.generation, instant(m.claimed), m.epoch, instant(m.copied), is.system, is.timeline, is.database)
}

// AskFirst declares that the database may be a copy; see store.Store.
func (s *Store) AskFirst(ctx context.Context) error {
	return s.declare(ctx, store.ActAskFirst, func(m *meta, is identity, seen marker) error {
		_, _, _, err := s.refuseCopies(m, is, seen, true)
		return err
	}, func() { s.asking = true })
}

// Trust declares that the database is the newest there is; see store.Store.
func (s *Store) Trust(ctx context.Context) error {
	return s.declare(ctx, store.ActTrusted, func(m *meta, is identity, seen marker) error {
		_, known := s.older(m, is, seen)
		m.generation, m.epoch, m.copied = known+1, 0, time.Time{}
		return nil
	}, func() { s.asking = false })
}

func (s *Store) declare(ctx context.Context, act store.Act, change func(m *meta, is identity, seen marker) error, then func()) error {
	var m meta
	var is identity
	seen, err := s.witness()
	if err != nil {
		return err
	}
	err = s.write(ctx, func(b *pgx.Batch) {
		b.Queue(lockAlone, s.lockNumber(lockEpoch))
		s.readMeta(b, &m)
		s.readIdentity(b, &is)
	}, func(ctx context.Context, t *tx) error {
		if err := change(&m, is, seen); err != nil {
			return err
		}
		b := &pgx.Batch{}
		s.writeMeta(b, &m, is)
		s.newClock(b, newBoot())
		if _, err := t.note(ctx, b, store.Entry{At: s.o.now(), Act: act}); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	then()
	s.mu.Unlock()
	return s.declared(m.generation, is)
}

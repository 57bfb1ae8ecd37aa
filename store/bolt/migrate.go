package bolt

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
)

// A store names two numbers. format is that of the masspay that wrote it last.
// readable_by is the lowest format that a masspay must know to read it: one that knows
// as much, and not format itself, reads and does not write; one that knows less names
// the store newer, and never damaged.
//
// The rule: whoever appends a field raises format; whoever changes anything else, or
// adds a state or a kind of event, raises readable_by as well. Either way a migration
// from the format before is here, and a store that it wrote is in testdata.
const (
	format     = 5 // that this masspay writes
	readableBy = 4
)

// migration brings a store from one format to a later one. It is cut off at any commit
// without harm: the next one goes on.
type migration struct {
	to    uint64
	reads uint64                            // readable_by of that format; 0: to
	begin func(tx *bbolt.Tx, m *meta) error // reads what the store knew of itself
	steps []step
	end   func(s *Store, tx *bbolt.Tx, m *meta) error // in the last commit; may be nil
}

// step rewrites the values of a bucket, one by one. What it has written it leaves
// as it is.
type step struct {
	bucket []byte
	change rewriter
}

type rewriter func(s *Store, tx *bbolt.Tx, key, value []byte) ([]byte, error)

// migrations are by the format that they begin with.
var migrations = map[uint64]migration{1: migrate1, 3: migrate3, 4: migrate4}

// known says what a masspay can do with a store.
func (s *Store) known(b *bbolt.Bucket) error {
	if b == nil || len(b.Get(metaFormat)) != 8 {
		return fmt.Errorf("%s: %w: not a store of masspay", s.o.Path, store.ErrDamaged)
	}
	if to := b.Get(metaMoved); to != nil {
		return fmt.Errorf("%s: %w (to %s)", s.o.Path, store.ErrMoved, to)
	}
	f, readable := number(b.Get(metaFormat)), number(b.Get(metaReadable))
	if readable == 0 {
		readable = f // as before format 4
	}
	_, migrates := migrations[f]
	cutOff := number(b.Get(metaMigrating))
	switch {
	case readable > format:
		return fmt.Errorf("%s: %w (format %d, this masspay knows %d)", s.o.Path, store.ErrNewer, f, format)
	case cutOff != 0 && f <= format:
		return fmt.Errorf("%s: %w (a migration from format %d was cut off)", s.o.Path, store.ErrOlder, cutOff)
	case f < format && migrates:
		return fmt.Errorf("%s: %w (format %d, this masspay writes %d)", s.o.Path, store.ErrOlder, f, format)
	case f < format:
		return fmt.Errorf("%s: made by a masspay that was never released (format %d, this masspay writes %d)", s.o.Path, f, format)
	}
	return nil
}

// writable refuses to write what a newer masspay has written, and what is being
// brought to another format. Each write asks: a store may be migrated while a process
// has it open.
func (s *Store) writable(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketMeta)
	if err := s.known(b); err != nil {
		return err
	}
	if f := number(b.Get(metaFormat)); f != format {
		return fmt.Errorf("%s: %w (format %d, this masspay writes %d): it can be read, and not written", s.o.Path, store.ErrNewer, f, format)
	}
	return nil
}

// Migrate brings a store that an older masspay has written to the format of this one,
// and reports whether there was anything to do. Other processes wait meanwhile. Cut off
// at any moment, it goes on when it is called again; until it is through, the store can
// neither be read nor written. It never changes what was paid, or what is in doubt.
func Migrate(ctx context.Context, o Options) (from uint64, done bool, err error) {
	sealer, err := seal.New(o.Key)
	if err != nil {
		return 0, false, err
	}
	o.Path = RealPath(o.Path)
	s := newStore(sealer, o)
	return s.migrate(ctx)
}

func (s *Store) migrate(ctx context.Context) (from uint64, done bool, err error) {
	if err := s.turn.take(ctx); err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, s.turn.release()) }()
	// Its index is looked at by the first write of whoever opens it then: formats
	// before 3 had no checksums there.
	if err := s.inspectedBy(inspectPages); err != nil {
		return 0, false, err
	}
	err = s.use(os.O_RDWR, func(db *bbolt.DB) error {
		for {
			f, through, err := s.migrateOnce(ctx, db)
			if from == 0 {
				from = f
			}
			if err != nil || through {
				return err
			}
			done = true
		}
	})
	return from, done, err
}

// migrateOnce runs the one migration that comes next; through says that it was there.
func (s *Store) migrateOnce(ctx context.Context, db *bbolt.DB) (from uint64, through bool, err error) {
	var m migration
	var old meta
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		err := s.known(b)
		if !errors.Is(err, store.ErrOlder) {
			if err == nil {
				from = number(b.Get(metaFormat))
			}
			through = true
			return err
		}
		if from = number(b.Get(metaMigrating)); from == 0 {
			from = number(b.Get(metaFormat))
		}
		m = migrations[from]
		if err := m.begin(tx, &old); err != nil {
			return err
		}
		if old.check != s.sealer.Check() {
			return fmt.Errorf("%s: %w", s.o.Path, store.ErrKey)
		}
		// From here on an older masspay names the store newer, and this one knows
		// that it is not through.
		if err := errors.Join(b.Put(metaFormat, be64(m.to)), b.Put(metaReadable, be64(m.to)), b.Put(metaMigrating, be64(from))); err != nil {
			return err
		}
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || through {
		return from, through, err
	}
	for _, st := range m.steps {
		if err := s.rewrite(ctx, db, st); err != nil {
			return from, false, err
		}
	}
	return from, false, db.Update(func(tx *bbolt.Tx) error {
		if m.end != nil {
			if err := m.end(s, tx, &old); err != nil {
				return err
			}
		}
		b := tx.Bucket(bucketMeta)
		return errors.Join(b.Delete(metaMigrating), b.Put(metaReadable, be64(cmp.Or(m.reads, m.to))), old.write(tx))
	})
}

// rewrite runs a step over its bucket, in commits of a burst.
func (s *Store) rewrite(ctx context.Context, db *bbolt.DB, st step) error {
	var from []byte
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		more = false
		err := db.Update(func(tx *bbolt.Tx) error {
			type entry struct{ key, value []byte }
			var changed []entry
			read := 0
			c := tx.Bucket(st.bucket).Cursor()
			for k, v := c.Seek(from); k != nil; k, v = c.Next() {
				if read++; read > burstWrites {
					from, more = bytes.Clone(k), true
					break
				}
				value, err := st.change(s, tx, k, v)
				if err != nil {
					return err
				}
				if !bytes.Equal(value, v) {
					changed = append(changed, entry{bytes.Clone(k), value})
				}
			}
			b := tx.Bucket(st.bucket)
			for _, e := range changed {
				if err := b.Put(e.key, e.value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if s.migrated != nil {
			if err := s.migrated(); err != nil {
				return err // a test cuts it off
			}
		}
	}
	return nil
}

// unlessDone leaves alone what was rewritten before a migration was cut off.
func unlessDone(change rewriter) rewriter {
	return func(s *Store, tx *bbolt.Tx, key, value []byte) ([]byte, error) {
		if len(value) > 0 && value[0] == codec.RecordVersion {
			return value, nil
		}
		return change(s, tx, key, value)
	}
}

func rewritePayouts(decode func(tx *bbolt.Tx, key, value []byte) (codec.Record, error)) rewriter {
	return unlessDone(func(_ *Store, tx *bbolt.Tx, key, value []byte) ([]byte, error) {
		r, err := decode(tx, key, value)
		if err != nil {
			return nil, err
		}
		return r.Encode(key), nil
	})
}

func rewriteEarly(decode func(key, value []byte) (payout.Event, error)) rewriter {
	return unlessDone(func(s *Store, _ *bbolt.Tx, key, value []byte) ([]byte, error) {
		e, err := decode(key, value)
		if err != nil {
			return nil, err
		}
		return codec.EncodeEarly(key, e, s.sealer.SealReport(key, e)), nil
	})
}

package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// Runs streams the runs; see store.Store.
func (s *Store) Runs(ctx context.Context) iter.Seq2[store.Run, error] {
	return stream(ctx, s, bucketRuns, s.lookAtRun)
}

// LatestRuns are the newest runs; see store.Store.
func (s *Store) LatestRuns(ctx context.Context, before uint64, limit int) ([]store.Run, error) {
	var from []byte
	if before != 0 {
		from = be64(before)
	}
	return backward(ctx, s, bucketRuns, from, limit, s.lookAtRun)
}

// lookAtRun reads a run, and looks whether its process is there.
func (s *Store) lookAtRun(_ *bbolt.Tx, k, v []byte) (store.Run, error) {
	r, err := readRun(k, v)
	if r.End == nil && r.Process != 0 {
		r.Life = s.lifeOf(r.Number)
	}
	r.Process = 0 // it says nothing to others
	return r, err
}

func readRun(k, v []byte) (r store.Run, err error) {
	text, err := codec.Plain("run", k, v)
	if err != nil {
		return r, err
	}
	err = json.Unmarshal(text, &r)
	r.Number = number(k)
	return r, err
}

func putRun(b *bbolt.Bucket, r store.Run) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return b.Put(be64(r.Number), codec.Summed(be64(r.Number), text))
}

// BeginRun keeps who runs what; see store.Store.
func (s *Store) BeginRun(ctx context.Context, r store.Run) (number uint64, err error) {
	err = s.update(ctx, func(tx *bbolt.Tx) (err error) {
		b := tx.Bucket(bucketRuns)
		if r.Number, err = b.NextSequence(); err != nil {
			return err
		}
		if s.holdRun(r.Number) == nil { // where that fails people hear less of it, and that is all
			r.Process = r.Number
		}
		return errors.Join(putRun(b, r), note(tx, store.BeganEntry(r)))
	})
	if err != nil {
		return 0, errors.Join(err, s.letRunGo(r.Number))
	}
	s.run.Store(&r)
	return r.Number, nil
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

// EndRun keeps how a run ended; see store.Store.
func (s *Store) EndRun(ctx context.Context, number uint64, end store.RunEnd) error {
	err := s.update(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRuns)
		v := b.Get(be64(number))
		if v == nil {
			return fmt.Errorf("%w: run %d is missing", store.ErrDamaged, number)
		}
		r, err := readRun(be64(number), v)
		if err != nil {
			return err
		}
		r.End = &end
		return errors.Join(putRun(b, r), note(tx, store.EndedEntry(r, end)))
	})
	if err != nil {
		return err
	}
	return s.letRunGo(number)
}

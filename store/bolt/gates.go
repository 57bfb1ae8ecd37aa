package bolt

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
)

// OpenGates counts open payouts by gate; see store.Store.
func (s *Store) OpenGates(ctx context.Context) (gates map[string]int, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		gates = map[string]int{}
		return tx.Bucket(bucketHosts).ForEach(func(k, v []byte) error {
			gates[string(k)] = int(number(v))
			return nil
		})
	})
	return gates, err
}

// Prove keeps that a gate is one; see store.Store.
func (s *Store) Prove(ctx context.Context, gate string) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketGates).Get([]byte(gate)) != nil {
			return nil
		}
		return tx.Bucket(bucketGates).Put([]byte(gate), indexEntry([]byte(gate), uint64(s.o.now().UnixMicro())))
	})
}

// Proven reports whether a gate is known to be one; see store.Store.
func (s *Store) Proven(ctx context.Context, gate string) (proven bool, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketGates).Get([]byte(gate))
		if v == nil {
			return nil
		}
		_, err := readIndex([]byte(gate), v)
		proven = err == nil
		return err
	})
	return proven, err
}

// Probe is a lock file of its own; see store.Store.
func (s *Store) Probe(ctx context.Context) (release func() error, err error) {
	// It is held while a request is under way: looked at now and then, not waited for
	// in the kernel, where a caller that has gone would wait on.
	l := flock.New(s.o.Path+".probe", flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, probeEvery); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("lock file %s: %w", l.Path(), err)
	}
	adopt(l.Path(), s.o.Path)
	return l.Unlock, nil
}

// probeEvery is how often a process looks whether it may probe.
const probeEvery = 50 * time.Millisecond

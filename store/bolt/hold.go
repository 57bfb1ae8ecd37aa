package bolt

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/bbolt"

	"masspay/store"
)

// Hold keeps a batch from being claimed; see store.Store.
func (s *Store) Hold(ctx context.Context, batch string, h store.Hold) error {
	return s.changeHold(ctx, batch, func(was *store.Hold) *store.Hold {
		if h.Replaces(was) {
			return &h
		}
		return was
	})
}

// LetGo lifts a hold; see store.Store.
func (s *Store) LetGo(ctx context.Context, batch string, kinds ...store.HoldKind) (lifted bool, err error) {
	b, err := s.Batch(ctx, batch)
	if err != nil || b.Held == nil {
		return false, err
	}
	err = s.changeHold(ctx, batch, func(was *store.Hold) *store.Hold {
		if lifted = was != nil && slices.Contains(kinds, was.Kind); lifted {
			return nil
		}
		return was
	})
	return lifted, err
}

func (s *Store) changeHold(ctx context.Context, batch string, change func(was *store.Hold) *store.Hold) error {
	header, err := s.header(ctx, batch)
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx *bbolt.Tx) error {
		w := s.writer(tx)
		p, err := w.batch(header.Number)
		if err != nil {
			return err
		}
		if p == nil {
			return store.ErrNoBatch
		}
		was := p.hold
		if p.hold = change(was); p.hold == was {
			return nil
		}
		return errors.Join(w.flush(), note(tx, store.HoldEntry(header, p.hold, s.o.now()).By(s.begun())))
	})
}

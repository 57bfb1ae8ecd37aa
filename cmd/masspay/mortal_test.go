package main

import (
	"context"
	"iter"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"masspay/payout"
	"masspay/store"
)

// mortalStore kills its own process, as kill -9 does, right before or right
// after a commit: at a step that the environment names.
type mortalStore struct {
	store.Store
	dies  int64
	steps atomic.Int64
}

// mortalMain is masspay with such a store.
func mortalMain() {
	dies, err := strconv.ParseInt(os.Getenv("TEST_DIES_AT_STEP"), 10, 64)
	if err != nil {
		panic(err)
	}
	programWith(func(s store.Store) store.Store { return &mortalStore{Store: s, dies: dies} })
}

func (s *mortalStore) step() {
	if s.steps.Add(1) == s.dies {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the kernel is about to
	}
}

func (s *mortalStore) Load(ctx context.Context, b store.Batch, rows iter.Seq2[store.Row, error], allow ...store.Allowance) (store.Loaded, error) {
	s.step()
	// In the middle of a load too: some commits are made by then.
	l, err := s.Store.Load(ctx, b, func(yield func(store.Row, error) bool) {
		for r, err := range rows {
			s.step()
			if !yield(r, err) {
				return
			}
		}
	}, allow...)
	s.step()
	return l, err
}

func (s *mortalStore) Claim(ctx context.Context, c store.Claim) (store.Claims, error) {
	s.step()
	defer s.step()
	return s.Store.Claim(ctx, c)
}

func (s *mortalStore) Apply(ctx context.Context, events ...payout.Event) ([]store.Change, error) {
	s.step()
	defer s.step()
	return s.Store.Apply(ctx, events...)
}

func (s *mortalStore) Due(ctx context.Context, d store.Due) ([]payout.History, error) {
	s.step()
	defer s.step()
	return s.Store.Due(ctx, d)
}

func (s *mortalStore) Hold(ctx context.Context, batch string, h store.Hold) error {
	s.step()
	defer s.step()
	return s.Store.Hold(ctx, batch, h)
}

func (s *mortalStore) Recover(ctx context.Context) (int, error) {
	s.step()
	defer s.step()
	return s.Store.Recover(ctx)
}

package payfile

import (
	"context"
	"iter"

	"masspay/payout"
	"masspay/store"
)

// Known is what a check wants to know of what was loaded before. Every store.Store
// knows it.
type Known interface {
	Lookup(ctx context.Context, ids []payout.Key) (map[payout.Key]*payout.Payout, error)
	SameContent(p *payout.Payout, method string, canonical []byte) bool
	RetryBlocker(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (store.Blocker, error)
	Families(ctx context.Context) (has func(first payout.Key) bool, err error)
	Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, l store.Line, err error)
	Batches(ctx context.Context) iter.Seq2[store.Batch, error]
}

// NothingKnown is for a check without a store: whatever was paid before is not known.
// Whoever uses it must say so.
func NothingKnown() Known { return nothing{} }

type nothing struct{}

func (nothing) Lookup(context.Context, []payout.Key) (map[payout.Key]*payout.Payout, error) {
	return nil, nil
}

func (nothing) SameContent(*payout.Payout, string, []byte) bool { return false }

func (nothing) RetryBlocker(context.Context, payout.Key, payout.Amount, string) (blocker store.Blocker, err error) {
	return blocker, nil
}

func (nothing) Families(context.Context) (func(payout.Key) bool, error) { return nil, nil }

func (nothing) Row(context.Context, payout.Payout, payout.Place) ([]string, store.Line, error) {
	return nil, store.Line{}, store.ErrNoPayout
}

func (nothing) Batches(context.Context) iter.Seq2[store.Batch, error] {
	return func(func(store.Batch, error) bool) {}
}

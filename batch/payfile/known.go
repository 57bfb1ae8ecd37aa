package payfile

import (
	"context"
	"iter"
	"time"

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
	Resembling(ctx context.Context, columns []string, since time.Time, rows []store.Row) ([]store.Resemblance, error)
	Series(ctx context.Context) (last map[string]uint64, err error)
	Marker(columns []string) (account func(cells []string) store.Mark)
	Sightings(ctx context.Context, since time.Time) iter.Seq2[store.Sighting, error]
	Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, l store.Line, err error)
	Batches(ctx context.Context) iter.Seq2[store.Batch, error]
	Latest(ctx context.Context, before uint32, limit int) ([]store.Batch, error)
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

func (nothing) Resembling(context.Context, []string, time.Time, []store.Row) ([]store.Resemblance, error) {
	return nil, nil
}

func (nothing) Series(context.Context) (map[string]uint64, error) { return nil, nil }

func (nothing) Marker([]string) func([]string) store.Mark {
	return func([]string) store.Mark { return store.Mark{} }
}

func (nothing) Sightings(context.Context, time.Time) iter.Seq2[store.Sighting, error] {
	return func(func(store.Sighting, error) bool) {}
}

func (nothing) Row(context.Context, payout.Payout, payout.Place) ([]string, store.Line, error) {
	return nil, store.Line{}, store.ErrNoPayout
}

func (nothing) Batches(context.Context) iter.Seq2[store.Batch, error] {
	return func(func(store.Batch, error) bool) {}
}

func (nothing) Latest(context.Context, uint32, int) ([]store.Batch, error) { return nil, nil }

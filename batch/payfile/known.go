package payfile

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"iter"

	"masspay/payout"
	"masspay/store"
)

// Known is what a check wants to know of what was loaded before. Every store.Store
// knows it.
type Known interface {
	DigestID(payout.Key) payout.Digest
	DigestContent(method string, canonical []byte) payout.Digest
	Lookup(ctx context.Context, ids []payout.Digest) (map[payout.Digest]*payout.Payout, error)
	RetryBar(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (store.Bar, error)
	Families(ctx context.Context) (map[payout.Digest]bool, error)
	Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, l store.Line, err error)
	Batches(ctx context.Context) iter.Seq2[store.Batch, error]
}

// NothingKnown is for a check without a store: whatever was paid before is not known.
// Whoever uses it must say so.
func NothingKnown() Known {
	n := &nothing{}
	_, _ = rand.Read(n.key[:]) // never fails, by its contract
	return n
}

type nothing struct{ key [32]byte }

func (n *nothing) digest(use byte, parts ...[]byte) (d payout.Digest) {
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write([]byte{use})
	for _, p := range parts {
		mac.Write(binary.AppendUvarint(nil, uint64(len(p))))
		mac.Write(p)
	}
	return payout.Digest(mac.Sum(nil)[:len(d)])
}

func (n *nothing) DigestID(k payout.Key) payout.Digest {
	return n.digest('i', binary.BigEndian.AppendUint32(nil, k.ProjectID), []byte(k.PaymentID))
}

func (n *nothing) DigestContent(method string, canonical []byte) payout.Digest {
	return n.digest('c', []byte(method), canonical)
}

func (n *nothing) Lookup(context.Context, []payout.Digest) (map[payout.Digest]*payout.Payout, error) {
	return nil, nil
}

func (n *nothing) RetryBar(context.Context, payout.Key, payout.Amount, string) (bar store.Bar, err error) {
	return bar, nil
}

func (n *nothing) Families(context.Context) (map[payout.Digest]bool, error) { return nil, nil }

func (n *nothing) Row(context.Context, payout.Payout, payout.Place) ([]string, store.Line, error) {
	return nil, store.Line{}, store.ErrUnknown
}

func (n *nothing) Batches(context.Context) iter.Seq2[store.Batch, error] {
	return func(func(store.Batch, error) bool) {}
}

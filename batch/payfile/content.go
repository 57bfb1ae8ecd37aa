package payfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// rowDigest is the digest of a row's request.
type rowDigest struct {
	row int
	is  [32]byte
}

// Digest is the digest of a request: its method, a zero, and the canonical string of its
// body without the signature.
func Digest(method string, canonical []byte) [32]byte {
	h := sha256.New()
	_, _ = h.Write([]byte(method))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(canonical)
	return [32]byte(h.Sum(nil))
}

// leftOutLines is the digest of the rows that are left out, by their numbers from 1.
func (k *checking) leftOutLines() [32]byte {
	h := sha256.New()
	for _, row := range slices.Sorted(maps.Keys(k.skip)) {
		_, _ = fmt.Fprintf(h, "%d\n", row+1)
	}
	return [32]byte(h.Sum(nil))
}

// ContentOf computes the content of a batch from what the store would send: a row that is
// not what was loaded gives another content.
func ContentOf(ctx context.Context, s store.Store, b store.Batch) (payout.Content, error) {
	c := payout.Content{Rows: b.Rows - b.Skipped, LeftOut: b.Skipped}
	if n, err := hex.Decode(c.File[:], []byte(b.ID)); err != nil || n != len(c.File) {
		return c, fmt.Errorf("%w: the id of batch %s", store.ErrDamaged, b.Short())
	}
	composers := map[string]*gate.Composer{}
	sent, left := sha256.New(), sha256.New()
	row, totals := 0, map[string]int64{} // of the rows, and not what the header says
	var buf []byte
	for l, err := range s.Lines(ctx, b.ID) {
		if err != nil {
			return c, err
		}
		row++
		if l.Skip != "" {
			_, _ = fmt.Fprintf(left, "%d\n", row)
			continue
		}
		p := &l.Payout
		composer := composers[p.Method]
		if composer == nil {
			if composer, err = gate.NewComposer(p.Method, b.Columns); err != nil {
				return c, err
			}
			composers[p.Method] = composer
		}
		buf = composer.Draft(p.Key, l.Cells).AppendCanonical(buf[:0])
		is := Digest(p.Method, buf)
		_, _ = sent.Write(is[:])
		totals[p.Amount.Currency] += p.Amount.Minor
	}
	c.Sent = [32]byte(sent.Sum(nil))
	if b.Skipped > 0 {
		c.Lines = [32]byte(left.Sum(nil))
	}
	for _, currency := range slices.Sorted(maps.Keys(totals)) {
		c.Totals = append(c.Totals, payout.Amount{Minor: totals[currency], Currency: currency})
	}
	return c, nil
}

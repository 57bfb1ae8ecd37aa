package batch

import (
	"bytes"
	"slices"

	"masspay/payout"
)

// clean checks a file that has nothing wrong with it, on all cores. It returns
// errUnclean as soon as something is, having found out nothing else; then read
// says what.
func (k *checking) clean() error {
	if ok, err := k.header(); err != nil || !ok || k.problems.count > 0 {
		return errUnclean
	}
	sum, err := k.pieces((*piece).check, k.take)
	if err != nil {
		return err
	}
	if k.rows == 0 || k.doubles() {
		return errUnclean
	}
	k.id, k.chunked = sum, true
	some, err := k.anyKnown()
	if err == nil && !some {
		// A new id may be of a row that was paid under a retry's.
		var families map[payout.Digest]bool
		if families, err = k.Store.Families(k.ctx); err == nil && len(families) > 0 &&
			slices.ContainsFunc(k.ids, func(s seen) bool { return families[s.id] }) {
			return errUnclean
		}
	}
	if err != nil || !some {
		k.fresh = k.rows
		return err
	}
	again, err := k.pieces((*piece).compare, k.compared)
	if err == nil && again != sum {
		err = errUnclean // somebody is writing the file
	}
	return err
}

// piece is what was found out about a chunk.
type piece struct {
	k        *checking
	rules    *rules
	bytes    int
	ids      []seen
	sums     map[string]int64
	contents []payout.Digest
	warnings warnings
	buf      []byte
}

// pieces has do look at each row of the file, on all cores, and hands what it
// found to take, in order. It returns the file's SHA-256.
func (k *checking) pieces(do func(p *piece, in row) error, take func(p *piece) error) (sum string, err error) {
	c := k.in.chunks(len(k.t.columns), k.t.delimiter)
	hire := func() func(chunk) (*piece, error) {
		rules := newRules(k.t.columns, k.Projects, &problems{}, nil)
		return func(ch chunk) (*piece, error) {
			rows := bytes.Count(ch.text, []byte{'\n'}) + 1
			p := &piece{k: k, rules: rules, bytes: len(ch.text), ids: make([]seen, 0, rows), sums: map[string]int64{}}
			rules.warnings = &p.warnings
			return p, c.rows(ch, func(in row) error { return do(p, in) })
		}
	}
	for p, err := range inOrder(k.ctx, c.all(k.ctx), hire) {
		if err == nil {
			err = take(p)
		}
		if err != nil {
			return "", err
		}
	}
	return c.sum(), nil
}

// check holds a row against the rules.
func (p *piece) check(in row) error {
	d, ok := p.rules.check(in)
	if !ok || p.rules.problems.count > 0 {
		return errUnclean
	}
	if _, _, retry := payout.RetryOf(d.key.PaymentID); retry {
		return errUnclean // its first payout is to be looked up
	}
	p.ids = append(p.ids, seen{id: p.k.Store.DigestID(d.key), line: uint32(d.line)})
	p.sums[d.amount.Currency] += d.amount.Minor // a chunk's rows cannot add up to an overflow
	return nil
}

// take takes over a piece that was checked.
func (k *checking) take(p *piece) error {
	if k.rows == 0 && len(p.ids) > 0 {
		k.reserve(len(p.ids), p.bytes)
	}
	for _, s := range p.ids {
		s.row = uint32(k.rows)
		k.ids = append(k.ids, s)
		k.rows++
	}
	for currency, minor := range p.sums {
		if !k.add(payout.Amount{Minor: minor, Currency: currency}, +1) {
			return errUnclean
		}
	}
	k.warnings.merge(&p.warnings)
	return nil
}

// anyKnown reports whether the store knows any of the ids, which are sorted by
// now.
func (k *checking) anyKnown() (bool, error) {
	ids := make([]payout.Digest, 0, lookups)
	for i, s := range k.ids {
		if ids = append(ids, s.id); len(ids) < lookups && i < len(k.ids)-1 {
			continue
		}
		found, err := k.Store.Lookup(k.ctx, ids)
		if err != nil {
			return false, err
		}
		for _, p := range found {
			if p.Number != 0 {
				return true, nil
			}
		}
		ids = ids[:0]
	}
	return false, nil
}

// compare makes what a row is found by and compared by.
func (p *piece) compare(in row) error {
	d, ok := p.rules.checked(in)
	if !ok {
		return errUnclean
	}
	p.buf = d.canonical(p.buf[:0])
	p.ids = append(p.ids, seen{id: p.k.Store.DigestID(d.key)})
	p.contents = append(p.contents, p.k.Store.DigestContent(d.method, p.buf))
	return nil
}

// compared holds a piece against what the store knows.
func (k *checking) compared(p *piece) error {
	ids := make([]payout.Digest, len(p.ids))
	for i, s := range p.ids {
		ids[i] = s.id
	}
	found, err := k.Store.Lookup(k.ctx, ids)
	if err != nil {
		return err
	}
	for i, was := range found {
		switch {
		case was.Number == 0:
			k.fresh++
		case was.Content != p.contents[i]:
			return errUnclean
		default:
			k.knew(&was)
		}
	}
	return nil
}

package bolt

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"masspay/store/codec"

	"masspay/payout"
	"masspay/store"
)

// progress is what is kept of a batch as it goes: how far claiming has come,
// and the counts.
type progress struct {
	changed time.Time // when a payout of it last changed; zero: not since it was loaded
	touched bool      // in this transaction
	cursor  uint32    // rows before it have been claimed, or were not claimable
	hold    *store.Hold
	counts  map[countKey]tally
}

type countKey struct {
	state    payout.State
	currency string
}

type tally struct {
	n     int64
	minor int64
	check int64
	aside int64 // minor units of what is to be checked
	stuck int64 // open, and only a person can decide them
}

func (p *progress) add(q *payout.Payout, by int64) {
	k := countKey{q.State, q.Amount.Currency}
	c := p.counts[k]
	c.n += by
	c.minor += by * q.Amount.Minor
	if q.NeedsCheck() {
		c.check += by
		c.aside += by * q.Amount.Minor
	}
	if q.Stuck() {
		c.stuck += by
	}
	if c == (tally{}) {
		delete(p.counts, k)
		return
	}
	p.counts[k] = c
}

func (p *progress) encode(key []byte) []byte {
	e := codec.NewEncoder()
	e.Uint(uint64(p.cursor))
	e.Uint(uint64(len(p.counts)))
	for _, c := range p.sorted() {
		e.Uint(uint64(c.State))
		e.String(c.Amount.Currency)
		e.Int(int64(c.N))
		e.Int(c.Amount.Minor)
		e.Int(int64(c.Check))
		e.Int(c.Minor)
		e.Int(int64(c.Stuck))
	}
	if !p.changed.IsZero() || p.hold != nil {
		e.MaybeTime(p.changed)
	}
	if p.hold != nil {
		text, _ := json.Marshal(p.hold) // four plain fields
		e.Bytes(text)
	}
	return e.Sum(key)
}

func decodeProgress(key, value []byte) (*progress, error) {
	d := codec.NewDecoder(key, value, codec.RecordVersion)
	p := &progress{cursor: uint32(d.Uint()), counts: map[countKey]tally{}}
	for n := d.Uint(); n > 0 && !d.Bad; n-- {
		k := countKey{payout.State(d.Uint()), d.String()}
		p.counts[k] = tally{n: d.Int(), minor: d.Int(), check: d.Int(), aside: d.Int(), stuck: d.Int()}
	}
	if d.Left() > 0 { // older records end here
		p.changed = d.MaybeTime()
	}
	if d.Left() > 0 {
		if err := json.Unmarshal(d.Bytes(), &p.hold); err != nil {
			d.Fail()
		}
	}
	return p, d.Done("counts of batch", key)
}

func (p *progress) sorted() []store.Count {
	counts := make([]store.Count, 0, len(p.counts))
	for k, c := range p.counts {
		counts = append(counts, store.Count{
			State: k.state, N: int(c.n), Check: int(c.check), Minor: c.aside, Stuck: int(c.stuck),
			Amount: payout.Amount{Minor: c.minor, Currency: k.currency},
		})
	}
	slices.SortFunc(counts, func(a, b store.Count) int {
		if a.State != b.State {
			return int(a.State) - int(b.State)
		}
		return strings.Compare(a.Amount.Currency, b.Amount.Currency)
	})
	return counts
}

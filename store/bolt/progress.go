package bolt

import (
	"encoding/json"
	"maps"
	"slices"
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
	codes   int // of counts, with a code
}

type countKey struct {
	state    payout.State
	currency string
	code     string
}

type tally struct {
	n     int64
	minor int64
	check int64
	aside int64 // minor units of what is to be checked
	stuck int64 // open, and only a person can decide them
}

func (p *progress) add(q *payout.Payout, by int64) {
	k, full := countKey{q.State, q.Amount.Currency, q.Reason()}, p.codes >= store.MaxCodes
	if _, told := p.counts[k]; !told && k.code != "" && full {
		k.code = store.OtherCodes
	}
	c, told := p.counts[k]
	if !told && k.code != "" {
		p.codes++
	}
	c.n += by
	c.minor += by * q.Amount.Minor
	if q.NeedsCheck() {
		c.check += by
		c.aside += by * q.Amount.Minor
	}
	if q.Stuck() {
		c.stuck += by
	}
	if c == (tally{}) && (k.code == "" || !full) { // of a full list none goes, lest another takes its place
		delete(p.counts, k)
		if k.code != "" {
			p.codes--
		}
		return
	}
	p.counts[k] = c
}

func (p *progress) encode(key []byte) []byte {
	e := codec.NewEncoder()
	e.Uint(uint64(p.cursor))
	e.Uint(uint64(len(p.counts) - p.codes))
	all := p.sorted()
	for _, c := range all {
		if c.Code == "" {
			encodeCount(e, c)
		}
	}
	if !p.changed.IsZero() || p.hold != nil || p.codes > 0 {
		e.MaybeTime(p.changed)
	}
	if p.hold != nil || p.codes > 0 {
		var text []byte
		if p.hold != nil {
			text, _ = json.Marshal(p.hold) // four plain fields
		}
		e.Bytes(text)
	}
	for _, c := range all {
		if c.Code != "" {
			e.String(c.Code)
			encodeCount(e, c)
		}
	}
	return e.Sum(key)
}

func encodeCount(e *codec.Encoder, c store.Count) {
	e.Uint(uint64(c.State))
	e.String(c.Amount.Currency)
	e.Int(int64(c.N))
	e.Int(c.Amount.Minor)
	e.Int(int64(c.Check))
	e.Int(c.Minor)
	e.Int(int64(c.Stuck))
}

func decodeProgress(key, value []byte) (*progress, error) {
	d := codec.NewDecoder(key, value, codec.RecordVersion)
	p := &progress{cursor: uint32(d.Uint()), counts: map[countKey]tally{}}
	for n := d.Uint(); n > 0 && !d.Bad; n-- {
		p.decodeCount(&d, "")
	}
	if d.Left() > 0 { // older records end here
		p.changed = d.MaybeTime()
	}
	if d.Left() > 0 {
		if text := d.Bytes(); len(text) > 0 && json.Unmarshal(text, &p.hold) != nil {
			d.Fail()
		}
	}
	for d.Left() > 0 && !d.Bad {
		p.decodeCount(&d, d.String())
		p.codes++
	}
	return p, d.Done("counts of batch", key)
}

func (p *progress) decodeCount(d *codec.Decoder, code string) {
	k := countKey{payout.State(d.Uint()), d.String(), code}
	p.counts[k] = tally{n: d.Int(), minor: d.Int(), check: d.Int(), aside: d.Int(), stuck: d.Int()}
}

func (p *progress) sorted() []store.Count {
	counts := make([]store.Count, 0, len(p.counts))
	for k, c := range p.counts {
		counts = append(counts, store.Count{
			State: k.state, N: int(c.n), Check: int(c.check), Minor: c.aside, Stuck: int(c.stuck),
			Amount: payout.Amount{Minor: c.minor, Currency: k.currency}, Code: k.code,
		})
	}
	slices.SortFunc(counts, store.CompareCounts)
	return counts
}

// like reports whether counting has given the same; which codes are told apart depends on
// the order in which they came.
func (p *progress) like(counted map[countKey]tally) bool {
	kept, same := map[countKey]tally{}, map[countKey]tally{}
	for k, c := range p.counts {
		if c != (tally{}) {
			kept[k] = c
		}
	}
	for k, c := range counted {
		if _, told := p.counts[k]; !told && k.code != "" && p.codes >= store.MaxCodes {
			k.code = store.OtherCodes
		}
		sum := same[k]
		same[k] = tally{sum.n + c.n, sum.minor + c.minor, sum.check + c.check, sum.aside + c.aside, sum.stuck + c.stuck}
	}
	return maps.Equal(kept, same)
}

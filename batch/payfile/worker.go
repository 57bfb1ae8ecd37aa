package payfile

import (
	"bytes"
	"slices"

	"masspay/gate"
	"masspay/payout"
)

// worker checks pieces of a file, one after the other.
type worker struct {
	k        *checking
	rules    *rules
	families func(first payout.Key) bool // whether a row has a retry; nil: none has
	doubled  map[idHash][]uint32         // ids that are on more than one line, and their lines
	buf      []byte
}

// part is what was found in a piece. Its rows are counted from 0.
type part struct {
	bytes, rows int
	ids         []seen
	skip        map[int]string // rows with a problem of their own: the first one
	problems    problems
	warnings    warnings
	tally
	long      map[int]longNumbers
	twins     []likeness
	earlier   []Lookalike // among what was loaded before
	ofDay     []dayRow    // new payouts, where something limits a day
	alike     []likeness  // of ids that can be written more plainly
	any       bool        // a row is not empty
	leading   Lines       // empty rows before the first that is not
	empty     Lines       // empty rows behind the last that is not
	digests   []rowDigest // of the rows that are right by themselves
	conflicts []conflict  // right by themselves, and known with other content
	retries   []conflict  // right by themselves, and perhaps paid already under another id
}

// full notes that a row is not empty: what is empty before it has a problem.
func (p *part) full(row int, skip bool) {
	if !p.any {
		p.any, p.leading, p.empty = true, p.empty, Lines{} // what comes before is known later
		return
	}
	p.problems.empty(p.empty)
	for i := range p.empty.N {
		if !skip {
			break // the file is refused
		}
		p.skip[row-1-i] = emptyRow
	}
	p.empty = Lines{}
}

// empty adds the problem of empty rows.
func (ps *problems) empty(lines Lines) {
	if lines.N > 0 {
		ps.add(Problem{Line: lines.Ranges[0][0], Text: emptyRow, Also: lines.butFirst()})
	}
}

// conflict is a row that is right by itself, and what the store knows under its id.
type conflict struct {
	row int
	is  draft
	was payout.Payout
}

// check holds the rows of a piece against the rules and the store.
func (w *worker) check(p piece) (*part, error) {
	rows, err := w.k.cut.rows(p)
	if err != nil {
		return nil, err
	}
	out := &part{bytes: len(p.text), skip: map[int]string{}, long: map[int]longNumbers{}}
	most := bytes.Count(p.text, []byte{'\n'}) + 1
	out.ids = make([]seen, 0, most)
	right := make([]conflict, 0, most)
	keys := make([]payout.Key, 0, most)
	w.rules.shifts = 0
	w.rules.problems, w.rules.warnings, w.rules.long = &out.problems, &out.warnings, out.long
	for in := range rows {
		row := out.rows
		out.rows++
		if in.bad != nil {
			out.full(row, w.k.Skip)
			out.problems.add(*in.bad)
			continue
		}
		if in.empty() {
			out.empty.add(in.line, in.line) // perhaps nothing follows
			continue
		}
		out.full(row, w.k.Skip)
		before := out.problems.count
		out.problems.mark()
		d, ok := w.rules.check(in)
		if d.key.PaymentID != "" && d.key.ProjectID != 0 {
			id := hashID(d.key)
			out.ids = append(out.ids, seen{id, uint32(row), uint32(in.line)})
			if lines := w.doubled[id]; lines != nil {
				ok = false
				w.rules.problem(in.line, gate.ColPaymentID, d.key.PaymentID, alsoOn(lines, uint32(in.line)))
			}
		}
		if out.problems.count > before {
			out.skip[row] = out.problems.firstSince()
		}
		if ok {
			right = append(right, conflict{row: row, is: d})
			keys = append(keys, d.key)
			if w.k.Content {
				w.buf = d.canonical(w.buf[:0])
				out.digests = append(out.digests, rowDigest{row, Digest(d.method, w.buf)})
			}
		}
	}
	return out, w.lookUp(out, right, keys)
}

// lookUp asks the store which of the rows it knows.
func (w *worker) lookUp(out *part, right []conflict, keys []payout.Key) error {
	known, err := w.k.Store.Lookup(w.k.ctx, keys)
	if err != nil {
		return err
	}
	fresh := make([]int, 0, len(right)) // of right
	for i, c := range right {
		was := known[c.is.key]
		if was == nil {
			if _, _, retry := payout.RetryOf(c.is.key.PaymentID); retry || w.families != nil && w.families(c.is.key) {
				out.retries = append(out.retries, c)
				fresh = append(fresh, i)
				w.k.Lookalikes.resemble(out, &c.is, false)
				continue
			}
			out.fresh++
			fresh = append(fresh, i)
			if r, limited := w.k.dayRow(c.row, &right[i].is); limited {
				out.ofDay = append(out.ofDay, r)
			}
			w.k.Lookalikes.resemble(out, &c.is, false)
			out.add(c.is) // a piece's rows cannot add up to an overflow
			continue
		}
		w.buf = c.is.canonical(w.buf[:0])
		if !w.k.Store.SameContent(was, c.is.method, w.buf) {
			c.was = *was
			out.conflicts = append(out.conflicts, c)
			continue
		}
		out.knew(was)
		w.k.Lookalikes.resemble(out, &c.is, true)
		out.add(c.is)
	}
	if err := w.lookBack(out, right, fresh); err != nil {
		return err
	}
	// What is looked at later must not keep the whole piece alive.
	out.conflicts, out.retries = slices.Clip(out.conflicts), slices.Clip(out.retries)
	return nil
}

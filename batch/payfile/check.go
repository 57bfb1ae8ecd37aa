// Package payfile reads a file of payouts in the Dashboard's mass payment format: it
// checks every row, holds the file against what the store knows, and loads it, all of it
// or nothing. It sends nothing.
//
// A file is read once to be checked and once to be loaded, both times the same way: cut
// into pieces of whole records, the pieces worked on side by side, and what came of them
// put together in the file's order.
package payfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// Checker checks files.
type Checker struct {
	Store      Known
	Projects   func(uint32) bool // whether a project is configured
	Expect     Expect
	Limits     *Limits   // nil: none
	DayBegan   time.Time // since when limits of a day count
	Content    bool      // make the digest of what will be sent
	Lookalikes Lookalikes
	Skip       bool // leave out rows with problems of their own
}

// Checked is a file that was read whole.
type Checked struct {
	Name      string
	ID        string // SHA-256 of what was read
	Columns   []string
	Delimiter rune
	Rows      int // rows of data
	Skipped   int
	New       int                // payouts that the store does not know
	ToSend    result.Sum         // rows that would be sent: new ones, and known ones that were not
	Before    result.Summary     // the known rows that would not be sent, as they are now
	BOM       bool               // the file begins with a byte order mark
	Unsent    int                // of the known, those that are still to be sent
	Known     int                // rows whose payouts it knows, with the same content
	Totals    []payout.Amount    // by currency, of the rows that are not skipped
	Spreads   []Spread           // the same, and how the amounts are spread
	Groups    []Group            // the same, by project, method, bank and currency
	Largest   map[string][]Large // by currency, the largest first
	Content   payout.Content     // where it was asked for
	Alike     []Lookalike        // rows that look like an earlier one, those of open ones first
	Warnings  []Warning
	Problems  []Problem   // of skipped rows, when they are skipped
	Held      *store.Hold // that the file is loaded with; for the caller to set

	skip     map[int]string // reason by row
	size     int64          // of the file
	projects func(uint32) bool
	sidecar  *Sidecar // nil: there is none
	newest   uint32   // number of the newest batch when the check began
}

// Check reads a file and checks all of it. It writes nothing and sends nothing.
// When anything is wrong it returns a *FileError with all problems counted;
// with Skip, problems of single rows leave those rows out instead. Memory does
// not grow with the file but for 24 bytes a row.
func (c *Checker) Check(ctx context.Context, in *Input) (*Checked, error) {
	k, err := c.pass(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	counted := k.countDay()
	if doubled := k.doubled(); len(doubled) > 0 {
		if err := counted(); err != nil {
			return nil, err
		}
		if k, err = c.pass(ctx, in, doubled); err != nil {
			return nil, err
		}
		counted = k.countDay()
	}
	checked, err := k.result(counted)
	return checked, errors.Join(err, counted())
}

// countDay adds what came in today to what the file brings, beside whatever else is to be
// sorted. counted waits for it.
func (k *checking) countDay() (counted func() error) {
	if k.day == nil {
		return func() error { return nil }
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = k.day.addAll(k.ctx, k.Store.Sightings(k.ctx, k.DayBegan))
	}()
	return func() error { <-done; return err }
}

// checking is one reading of a file that is checked.
type checking struct {
	*Checker
	ctx      context.Context
	in       *Input
	cut      *cutter
	problems problems
	warnings warnings
	tally    // of the rows that are not skipped

	rows    int
	content hash.Hash
	twins   []likeness
	alike   []likeness
	earlier []Lookalike
	found   []Lookalike // all of them, once sought
	sought  bool
	newest  uint32                    // number of the newest batch when the check began
	day     *dayLimits                // nil: nothing limits a day
	account func([]string) store.Mark // with day: where a row's money goes
	empty   Lines                     // empty rows behind the last that is not
	long    map[int]longNumbers       // by place of their column
	ids     []seen
	skip    map[int]string
	id      string
	batches map[uint32]string // names by number, once they were needed
}

// seen is an id of the file: 24 bytes a row.
type seen struct {
	id   idHash
	row  uint32
	line uint32
}

// pass reads the file once. doubled are the ids that an earlier pass has found on more
// than one line; their rows have that problem and count for nothing.
func (c *Checker) pass(ctx context.Context, in *Input, doubled map[idHash][]uint32) (*checking, error) {
	k := &checking{Checker: c, ctx: ctx, in: in, skip: map[int]string{}, long: map[int]longNumbers{}, content: sha256.New()}
	if c.Limits.ofDay() {
		k.day = newDayLimits(c.Limits)
	}
	latest, err := c.Store.Latest(ctx, 0, 1)
	if err != nil {
		return nil, err
	}
	if len(latest) > 0 {
		k.newest = latest[0].Number
	}
	err = k.read(doubled)
	var p *Problem
	if errors.As(err, &p) {
		k.problems.add(*p)
		err = nil
	}
	return k, err
}

func (k *checking) read(doubled map[idHash][]uint32) error {
	cut, err := k.in.cut()
	if err != nil {
		return err
	}
	k.cut = cut
	if cut.bom {
		k.warnings.add(1, "the file begins with a byte order mark, which the format does not have; it is left out")
	}
	if cut.delimiter != ';' {
		k.warnings.add(1, fmt.Sprintf("columns are separated by %q instead of ';'; the file is read all the same", cut.delimiter))
	}
	if slices.Contains(cut.columns, result.Columns()[0]) {
		return &Problem{Text: "this is a result of masspay, not a file of payouts: masspay retry and its file's name writes what may be paid again", structure: true, fatal: true}
	}
	k.account = k.Store.Marker(cut.columns)
	if !newRules(cut.columns, k.Projects, &k.problems, &k.warnings).header() {
		return nil
	}
	families, err := k.Store.Families(k.ctx)
	if err != nil {
		return err
	}
	newWorker := func() func(piece) (*part, error) {
		w := &worker{k: k, families: families, doubled: doubled, rules: newRules(cut.columns, k.Projects, nil, nil)}
		w.rules.limits = k.Limits
		return w.check
	}
	for p, err := range inOrder(k.ctx, cut.pieces(k.ctx), newWorker) {
		if err == nil {
			err = k.take(p)
		}
		if err != nil {
			return err
		}
	}
	k.id = cut.sum()
	return nil
}

// take takes over what was found in the next piece.
func (k *checking) take(p *part) error {
	if k.rows == 0 && len(p.ids) > 0 {
		k.reserve(len(p.ids), p.bytes)
	}
	first := k.rows
	if p.any {
		k.empty.merge(p.leading)
		k.problems.empty(k.empty)
		for i := range k.empty.N {
			if !k.Skip {
				break // the file is refused
			}
			k.skip[first+p.leading.N-1-i] = emptyRow
		}
		k.empty = p.empty
	} else {
		k.empty.merge(p.empty)
	}
	for _, s := range p.ids {
		s.row += uint32(first)
		k.ids = append(k.ids, s)
	}
	k.rows += p.rows
	k.twins, k.alike, k.earlier = append(k.twins, p.twins...), append(k.alike, p.alike...), append(k.earlier, p.earlier...)
	for _, r := range p.ofDay {
		r.row += uint32(first)
		k.day.addNew(r)
	}
	for place, later := range p.long {
		k.long[place] = k.long[place].add(later)
	}
	k.problems.merge(&p.problems)
	k.warnings.merge(&p.warnings)
	for row, reason := range p.skip {
		k.skip[first+row] = reason
	}
	if currency := k.mergeTally(&p.tally); currency != "" {
		return &Problem{Text: "the file's sum in " + currency + " is too large for any account", structure: true, fatal: true}
	}
	for _, c := range p.conflicts {
		text, err := k.differs(c.was, c.is)
		if err != nil {
			return err
		}
		k.leaveOut(first+c.row, c.is, text)
	}
	for _, r := range p.retries {
		if err := k.blocked(first+r.row, r.is); err != nil {
			return err
		}
	}
	for _, d := range p.digests {
		if k.skip[first+d.row] == "" {
			k.content.Write(d.is[:])
		}
	}
	return nil
}

// leaveOut notes a row that was right by itself, and must not be paid under its id. It
// was counted nowhere.
func (k *checking) leaveOut(row int, is draft, text string) {
	k.problems.add(newProblem(is.line, gate.ColPaymentID, is.key.PaymentID, text))
	k.skip[row] = gate.ColPaymentID + ": " + text
}

// reserve makes room for the ids of the whole file at once, by what the rows of its first
// piece take: growing the array bit by bit would cost its size over again.
func (k *checking) reserve(rows, bytes int) {
	all := k.in.Size() * int64(rows) / int64(max(bytes, 1))
	room := max(0, int(all+all/50)-len(k.ids))
	k.ids = slices.Grow(k.ids, room)
	if k.Lookalikes.Twins.on() {
		k.twins = slices.Grow(k.twins, room)
	}
	if k.day != nil {
		k.day.reserve(room)
	}
}

// result holds the file against its control totals and sums up.
func (k *checking) result(counted func() error) (*Checked, error) {
	totals := k.totals()
	if k.rows -= k.empty.N; k.empty.N > 0 {
		k.warnings.add(0, fmt.Sprintf("the last rows (%s) have nothing in them, and are left out", k.empty))
	}
	if k.problems.count == 0 && k.rows == 0 {
		k.problems.add(Problem{Text: "the file has a header and no rows", structure: true})
	}
	k.fifteenDigits()
	if err := k.ending(); err != nil {
		return nil, err
	}
	if k.problems.structure == 0 && (k.problems.count == 0 || k.Skip) {
		for _, p := range k.Expect.problems(k.rows, totals, k.id) {
			k.problems.add(p)
		}
		if err := errors.Join(k.ofSeries(), k.ofHeld()); err != nil {
			return nil, err
		}
		if k.Limits != nil {
			problems, without := k.Limits.file(k.groupList())
			for _, p := range problems {
				k.problems.add(p)
			}
			if err := k.ofDay(counted); err != nil {
				return nil, err
			}
			if len(k.Limits.Rules) > 0 && len(without) > 0 {
				k.warnings.add(0, "no limit is set for "+strings.Join(without, ", ")+" (limits.rules)")
			}
		}
	}
	if err := k.hundredfold(totals); err != nil {
		return nil, err
	}
	var alike []Lookalike
	if k.problems.structure == 0 && (k.problems.count == 0 || k.Skip) {
		alike = k.tellLookalikes()
	}
	skipped := len(k.skip)
	toSend := result.Sum{Rows: k.fresh + k.unsent}
	for _, a := range totals {
		for _, was := range k.before.ByState {
			p := was.Money[a.Currency]
			a.Minor -= p.Minor
		}
		if a.Minor != 0 {
			toSend.Add(0, a)
		}
	}
	if k.problems.structure == 0 && k.Skip && skipped == k.rows && k.rows > 0 {
		k.problems.add(Problem{Text: "every row has a problem, so none is left to send", structure: true})
	}
	if k.problems.structure > 0 || k.problems.count > 0 && !k.Skip {
		return nil, &FileError{Name: k.in.Name, Problems: k.problems.all(), Count: k.problems.count, Warnings: k.warnings.all()}
	}
	content := payout.Content{Rows: k.rows - skipped, LeftOut: skipped, Totals: totals}
	if k.Content {
		content.Sent = [32]byte(k.content.Sum(nil))
		if skipped > 0 {
			content.Lines = k.leftOutLines()
		}
		_, _ = hex.Decode(content.File[:], []byte(k.id))
	}
	return &Checked{
		Content: content,
		Name:    k.in.Name, ID: k.id, Columns: k.cut.columns, Delimiter: k.cut.delimiter, BOM: k.cut.bom,
		Rows: k.rows, Skipped: skipped, New: k.fresh, Known: k.known, Unsent: k.unsent, Totals: totals, Spreads: k.spreads(), Groups: k.groupList(), Largest: k.large, ToSend: toSend, Before: k.before,
		Alike: alike, Warnings: k.warnings.all(), Problems: k.problems.all(), skip: k.skip, size: k.in.Size(), projects: k.Projects, sidecar: k.Expect.Sidecar, newest: k.newest,
	}, nil
}

// ofHeld refuses rows that were not sent yet and stand in another file that is held: they would
// be sent past the hold.
func (k *checking) ofHeld() error {
	for _, n := range slices.Sorted(maps.Keys(k.unsentOf)) {
		b, there, err := store.BatchNumbered(k.ctx, k.Store, n)
		if err != nil {
			return err
		}
		if !there || b.ID == k.id || !b.Held.Lasting() {
			continue
		}
		k.problems.add(Problem{structure: true, Text: fmt.Sprintf("%s of it also of batch %s (%s), which is held by %s since %s: %s; masspay resume %s lets them be sent",
			payout.FormatQuantity(k.unsentOf[n], "row"), b.Short(), b.Name, b.Held.By, b.Held.At.UTC().Format("2006-01-02 15:04:05"), b.Held.Reason, b.Short())})
	}
	return nil
}

// ofSeries holds the file's number against the last one of its series. The load asks again.
func (k *checking) ofSeries() error {
	if k.Expect.Sidecar == nil || k.Expect.Sidecar.Series == nil {
		return nil
	}
	is := *k.Expect.Sidecar.Series
	for b, err := range k.Store.Batches(k.ctx) {
		switch {
		case err != nil:
			return err
		case b.ID != k.id:
		case b.Series != nil && *b.Series == is:
			return nil
		default:
			k.problems.add(Problem{structure: true, Text: fmt.Sprintf("the same file was loaded already (batch %s), and not as %s of series %s (%s)", b.Short(), payout.FormatNumber(is.Number), is.Name, k.Expect.Sidecar.Name)})
			return nil
		}
	}
	all, err := k.Store.Series(k.ctx)
	if err != nil {
		return err
	}
	for name := range all {
		if name != is.Name && strings.EqualFold(name, is.Name) {
			k.problems.add(Problem{structure: true, Text: fmt.Sprintf("series %s is not known, and %s is: they would be two, and neither would show a gap of the other (%s)", is.Name, name, k.Expect.Sidecar.Name)})
			return nil
		}
	}
	if err := is.Follows(all[is.Name]); err != nil {
		k.problems.add(seriesProblem(err, k.Expect.Sidecar.Name))
	}
	return nil
}

// seriesProblem is a problem of a file that is not the next one of its series.
func seriesProblem(err error, sidecar string) Problem {
	text := fmt.Sprintf("%v (%s)", err, sidecar)
	var not *store.SeriesError
	if errors.As(err, &not) && not.Number > not.Last {
		text += fmt.Sprintf("; where it is missing for good, masspay series %s --next %d --reason TEXT passes over it", not.Name, not.Number)
	}
	return Problem{structure: true, Text: text}
}

// ofDay holds the file against the limits of the day so far. The load asks again.
func (k *checking) ofDay(counted func() error) error {
	if k.day == nil {
		return nil
	}
	if k.problems.count == 0 {
		k.seek() // meanwhile
	}
	if err := counted(); err != nil {
		return err
	}
	found := k.day.overDay()
	k.problems.merge(&found)
	over := k.day.overPayee()
	if len(over) == 0 {
		return nil
	}
	lines := map[uint32]uint32{}
	for _, s := range k.ids {
		lines[s.row] = s.line
	}
	for _, o := range over {
		k.problems.add(Problem{Line: int(lines[o.row]), structure: true, Text: o.text})
	}
	return nil
}

// ending looks at the end of the last line. Where it is missing the file may be cut
// off; where it is cut off within an amount, nothing else would tell.
func (k *checking) ending() error {
	last, err := k.in.last()
	if err != nil || k.rows == 0 || last == '\n' || last == '\r' {
		return err
	}
	amountLast := k.cut.columns[len(k.cut.columns)-1] == gate.ColAmount && last != '"'
	if amountLast && !k.Expect.given() {
		k.problems.add(Problem{Text: "the last line has no end, and ends with its amount: if the file is cut off, the amount is too small. " +
			"End the line, if the file is whole, or give its control total (--expect-total)", structure: true})
		return nil
	}
	k.warnings.add(0, "the last line has no end: is the file whole?")
	return nil
}

// Package batch takes a file of payouts through its life: read, check, load,
// submit, reconcile, report. It decides what is sent when; what a payout's
// state is, only payout.Next decides, and what is remembered is the store's.
package batch

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// Expect are control totals: what the sender of a file says is in it. They are
// the defence against a truncated file and a slipped finger.
type Expect struct {
	Rows   int             // 0: not said
	Totals []payout.Amount // empty: not said; otherwise every currency of the file must be among them
	Limits []payout.Amount // a currency's sum must not be more
}

// Checker checks files.
type Checker struct {
	Store    Known
	Projects func(uint32) bool // whether a project is configured
	Expect   Expect
	Skip     bool // leave out rows with problems of their own
}

// Checked is a file that was read whole.
type Checked struct {
	Name      string
	ID        string // SHA-256 of what was read
	Columns   []string
	Delimiter rune
	Rows      int // rows of data
	Skipped   int
	New       int             // payouts that the store does not know
	ToSend    Sum             // rows that would be sent: new ones, and known ones that were not
	Before    Summary         // the known rows that would not be sent, as they are now
	BOM       bool            // the file begins with a byte order mark
	Unsent    int             // of the known, those that are still to be sent
	Known     int             // rows whose payouts it knows, with the same content
	Totals    []payout.Amount // by currency, of the rows that are not skipped
	Warnings  []Warning
	Problems  []Problem // of skipped rows, when they are skipped

	skip     map[int]string // reason by row
	clean    bool           // every row is right, and can be read in chunks
	projects func(uint32) bool
}

// Check reads a file and checks all of it. It writes nothing and sends nothing.
// When anything is wrong it returns a *FileError with all problems counted;
// with Skip, problems of single rows leave those rows out instead. Memory does
// not grow with the file but for 24 bytes a row.
func (c *Checker) Check(ctx context.Context, in *Input) (*Checked, error) {
	k := c.begin(ctx, in)
	err := k.clean()
	if errors.Is(err, errUnclean) {
		k = c.begin(ctx, in)
		err = k.read()
	}
	var p *Problem
	if errors.As(err, &p) {
		k.problems.add(*p)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return k.result()
}

func (c *Checker) begin(ctx context.Context, in *Input) *checking {
	return &checking{Checker: c, ctx: ctx, in: in, sums: map[string]int64{}, skip: map[int]string{}}
}

// checking is one check under way.
type checking struct {
	*Checker
	ctx      context.Context
	in       *Input
	t        *table
	problems problems
	warnings warnings
	rules    *rules

	rows     int
	ids      []seen
	sums     map[string]int64
	pending  []draft // rows whose ids are to be looked up
	numbers  []int   // their row numbers
	digests  []payout.Digest
	chunked  bool // every row is right, and was read in chunks
	skip     map[int]string
	fresh    int
	known    int
	unsent   int
	families map[payout.Digest]bool // rows that have a retry, once they were needed
	before   Summary                // of the known, those that would not be sent
	id       string
	batches  map[uint32]string // names by number, once they were needed
}

// seen is an id of the file: 24 bytes a row.
type seen struct {
	id   payout.Digest
	row  uint32
	line uint32
}

// lookups is how many ids are looked up in the store at once.
const lookups = 5_000

// header reads the header and holds it against the rules; ok says that rows can
// be read.
func (k *checking) header() (ok bool, err error) {
	t, err := openTable(k.in)
	if err != nil {
		return false, err
	}
	k.t = t
	if t.text.bom {
		k.warnings.add(1, "the file begins with a byte order mark, which the format does not have; it is left out")
	}
	if t.delimiter != ';' {
		k.warnings.add(1, fmt.Sprintf("the file is divided by %q, the format by ';'; read all the same", t.delimiter))
	}
	if slices.Contains(t.columns, resultColumns[0]) {
		return false, &Problem{Text: "this is a result of masspay, not a file of payouts: masspay retry and its file's name writes what may be paid again", structure: true, fatal: true}
	}
	k.rules = newRules(t.columns, k.Projects, &k.problems, &k.warnings)
	return k.rules.header(), nil
}

// read checks a file row by row.
func (k *checking) read() error {
	if ok, err := k.header(); err != nil || !ok {
		return err
	}
	t := k.t
	if err := t.open(); err != nil {
		return err
	}
	for {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		r, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		var p *Problem
		if errors.As(err, &p) && !p.fatal {
			k.problems.add(*p)
			k.rows++
			continue
		}
		if err != nil {
			return err
		}
		if err := k.row(r); err != nil {
			return err
		}
	}
	if err := k.lookup(); err != nil {
		return err
	}
	if err := t.text.rest(); err != nil {
		return err
	}
	k.id = t.text.sum()
	if k.doubles() {
		return k.revisit()
	}
	return nil
}

func (k *checking) row(r row) error {
	number := k.rows
	k.rows++
	if k.rows == sampled {
		k.reserve(sampled, int(k.t.reader.InputOffset()))
	}
	before := k.problems.count
	d, ok := k.rules.check(r)
	var id payout.Digest
	if d.key.PaymentID != "" && d.key.ProjectID != 0 {
		id = k.Store.DigestID(d.key)
		k.ids = append(k.ids, seen{id, uint32(number), uint32(r.line)})
	}
	if !ok {
		if k.problems.count > before {
			k.skip[number] = k.reason(before)
		}
		return nil
	}
	if !k.add(d.amount, +1) {
		return &Problem{Line: r.line, Text: "the file's sum in " + d.amount.Currency + " is beyond any account", structure: true, fatal: true}
	}
	return k.ask(d, number, id)
}

// ask has a row's id looked up, together with others.
func (k *checking) ask(d draft, number int, id payout.Digest) error {
	k.pending, k.numbers, k.digests = append(k.pending, d), append(k.numbers, number), append(k.digests, id)
	if len(k.pending) < lookups {
		return nil
	}
	return k.lookup()
}

// sampled is after how many rows the length of the file is estimated.
const sampled = 1000

// reserve makes room for the ids of the whole file at once, by what some of its
// rows take: growing the array bit by bit would cost its size over again.
func (k *checking) reserve(rows, bytes int) {
	all := k.in.Size() * int64(rows) / int64(max(bytes, 1))
	k.ids = slices.Grow(k.ids, max(0, int(all+all/50)-len(k.ids)))
}

// reason is the first problem since a count, for the result of a skipped row.
func (k *checking) reason(since int) string {
	if n := len(k.problems.kept) - (k.problems.count - since); n >= 0 && n < len(k.problems.kept) {
		p := k.problems.kept[n]
		p.Line = 0
		return p.String()
	}
	return "the row has a problem of its own"
}

func (k *checking) add(a payout.Amount, by int64) bool {
	sum := k.sums[a.Currency]
	if by > 0 && sum > math.MaxInt64-a.Minor {
		return false
	}
	k.sums[a.Currency] = sum + by*a.Minor
	return true
}

// lookup asks the store which of the pending rows it knows.
func (k *checking) lookup() error {
	found, err := k.Store.Lookup(k.ctx, k.digests)
	if err != nil {
		return err
	}
	if k.families == nil {
		if k.families, err = k.Store.Families(k.ctx); err != nil {
			return err
		}
	}
	var buf []byte
	for i, d := range k.pending {
		was := found[i]
		if was.Number == 0 {
			barred := false
			if _, _, retry := payout.RetryOf(d.key.PaymentID); retry || k.families[k.digests[i]] {
				if barred, err = k.barred(d, k.numbers[i]); err != nil {
					return err
				}
			}
			if !barred {
				k.fresh++
			}
			continue
		}
		buf = d.canonical(buf[:0])
		if was.Content == k.Store.DigestContent(d.method, buf) {
			k.knew(&was)
			continue
		}
		text, err := k.differs(was, d)
		if err != nil {
			return err
		}
		k.rules.problem(d.line, "general.payment_id", d.key.PaymentID, text)
		k.skip[k.numbers[i]] = "general.payment_id: " + text
		k.add(d.amount, -1)
	}
	clear(k.pending) // lets go of the cells
	k.pending, k.numbers, k.digests = k.pending[:0], k.numbers[:0], k.digests[:0]
	return nil
}

// barred reports a row that would pay once more what may be paid. One that differs from
// it in amount or payee is a warning: perhaps it was corrected, and paid since.
func (k *checking) barred(d draft, number int) (bool, error) {
	bar, err := k.Store.RetryBar(k.ctx, d.key, d.amount, payout.Payee(k.t.columns, d.cells))
	if err != nil || bar.By.Number == 0 {
		return false, err
	}
	by := ShellWord(bar.By.Key.PaymentID)
	if !bar.Same {
		k.warnings.add(d.line, fmt.Sprintf("general.payment_id %s belongs to the same row as %s, which is %s, with another amount or payee: is it to be paid as well?",
			ShellWord(d.key.PaymentID), by, stateInWords(bar.By)))
		return false, nil
	}
	text := "it would pay once more what " + by + " pays, which is " + stateInWords(bar.By) + ": take the row out, or, if it is another payout, give it an id that is no retry's; masspay show " + by + " says more"
	k.rules.problem(d.line, "general.payment_id", d.key.PaymentID, text)
	k.skip[number] = "general.payment_id: " + text
	k.add(d.amount, -1)
	return true, nil
}

// stateInWords is what a person must know of a payout before it is paid once more.
func stateInWords(p payout.Payout) string {
	switch {
	case Action(p) == ActNever:
		return "refused for fraud or compliance"
	case Action(p) == ActCheck && !p.State.Open() && !p.NeedsCheck():
		return Word(p) + " in a way that a person must look at first"
	case p.State == payout.StateNew && !p.NeedsCheck():
		return "not sent yet and will be"
	case Word(p) == WordOpen:
		return "open and may be paid"
	case Word(p) == WordCheck:
		return "to be checked by a person"
	}
	return Word(p)
}

// knew counts a row whose payout is known with the same content.
func (k *checking) knew(was *payout.Payout) {
	k.known++
	if was.State == payout.StateNew && !was.OfAnother() {
		k.unsent++
		return
	}
	k.before.payout(was, Action(*was), nil)
}

// differs shows both sides of an id with two contents, masked, names the columns, and
// says what to do. Whoever may cancel the old row must not be told to take a new id:
// the old batch would still send its row.
func (k *checking) differs(was payout.Payout, is draft) (string, error) {
	columns, err := k.columnsThatDiffer(was, is)
	if err != nil {
		return "", err
	}
	show := func(a payout.Amount, method, masked string) string {
		return strings.Join(slices.DeleteFunc([]string{a.String(), method, masked}, func(s string) bool { return s == "" }), ", ")
	}
	text := fmt.Sprintf("already known with other content (%s): %s then (now %s), %s now; ",
		columns, show(was.Amount, was.Method, was.Masked), Word(was), show(is.amount, is.method, is.masked))
	if !was.Cancellable() {
		return text + whatNow(was), nil
	}
	if k.batches == nil {
		if k.batches, err = names(k.ctx, k.Store); err != nil {
			return "", err
		}
	}
	old := k.batches[was.Places[0].Batch]
	shared := ""
	if len(was.Places) > 1 {
		shared = " --shared" // other batches have it too, and is not to be sent by them either
	}
	return text + fmt.Sprintf("nothing of it was paid, and batch %s would still send it: masspay cancel %s --row=%s%s cancels that row, then this id is free",
		old, old, ShellWord(was.Key.PaymentID), shared), nil
}

// whatNow says what to do about a row whose id is known with other content and cannot be
// cancelled. Dangerous to shorten to "use a new id": where the old row was paid, or may
// be, that is a second payment.
func whatNow(was payout.Payout) string {
	switch Word(was) {
	case WordPaid:
		return "it was paid: take the row out, or put the old values back; only another payout, on top of it, gets a new id"
	case WordDeclined, WordRejected:
		switch Action(was) {
		case ActFix, ActNewID:
			return "it was not paid: the corrected row needs a new id"
		case ActNever:
			return "it was refused for fraud or compliance: take the row out"
		}
		return "it was refused, and a person must look before it is paid under another id: take the row out"
	case WordOpen:
		return "it was sent and may be paid: put the old values back, and wait for its outcome (masspay reconcile); under a new id it could be paid twice"
	}
	return "a person must look before anything else (result.note says what is odd): take the row out; under a new id it could be paid twice"
}

// columnsThatDiffer names the columns in which a row differs from the one that is
// known under its id. It reads no more rows than problems are shown.
func (k *checking) columnsThatDiffer(was payout.Payout, is draft) (string, error) {
	if k.problems.count > maxProblems {
		return "the row", nil
	}
	columns, row, err := k.Store.Row(k.ctx, was, was.Places[0])
	if err != nil {
		return "", err
	}
	old := map[string]string{}
	for i, c := range columns[:min(len(columns), len(row.Cells))] {
		old[c] = row.Cells[i]
	}
	var differ []string
	for i, c := range k.t.columns[:min(len(k.t.columns), len(is.cells))] {
		if old[c] != is.cells[i] {
			differ = append(differ, c)
		}
		delete(old, c)
	}
	for c, cell := range old {
		if cell != "" {
			differ = append(differ, c)
		}
	}
	slices.Sort(differ)
	if len(differ) == 0 {
		return "the row", nil
	}
	return strings.Join(differ, ", "), nil
}

// doubles finds ids that stand twice. Every row of such an id has the problem.
func (k *checking) doubles() (some bool) {
	sortSeen(k.ids)
	for i := 0; i < len(k.ids); {
		j := i + 1
		for j < len(k.ids) && k.ids[j].id == k.ids[i].id {
			j++
		}
		if j-i > 1 {
			k.double(k.ids[i:j])
			some = true
		}
		i = j
	}
	return some
}

// sortSeen sorts by id, then by row. Ids are digests, so that half of them begin
// with a bit of one: the halves are sorted side by side.
func sortSeen(ids []seen) {
	middle := 0
	for i := range ids {
		if ids[i].id[0] < 0x80 {
			ids[i], ids[middle] = ids[middle], ids[i]
			middle++
		}
	}
	order := func(a, b seen) int {
		x, y := binary.BigEndian.Uint64(a.id[:]), binary.BigEndian.Uint64(b.id[:])
		if x == y {
			x, y = binary.BigEndian.Uint64(a.id[8:]), binary.BigEndian.Uint64(b.id[8:])
		}
		if x == y {
			x, y = uint64(a.row), uint64(b.row)
		}
		return cmp.Compare(x, y)
	}
	var low sync.WaitGroup
	low.Go(func() { slices.SortFunc(ids[:middle], order) })
	slices.SortFunc(ids[middle:], order)
	low.Wait()
}

func (k *checking) double(rows []seen) {
	for n, s := range rows {
		other := rows[0]
		if n == 0 {
			other = rows[1]
		}
		text := fmt.Sprintf("duplicate payment_id, also on line %d: each payout needs its own", other.line)
		if len(rows) > 2 {
			text = fmt.Sprintf("duplicate payment_id on %d lines, also on line %d: each payout needs its own", len(rows), other.line)
		}
		k.rules.problem(int(s.line), "general.payment_id", "", text)
		if k.skip[int(s.row)] == "" {
			k.skip[int(s.row)] = "general.payment_id: " + text
		}
	}
}

// revisit reads the file again because of doubled ids: their problems show the
// id, and what was counted of rows that are now left out is counted anew.
func (k *checking) revisit() error {
	t, err := openTable(k.in)
	if err != nil {
		return err
	}
	if err := t.open(); err != nil {
		return err
	}
	shown := map[int]int{}
	for i, p := range k.problems.prune() {
		if p.Column == gate.ColPaymentID && p.Value == "" {
			shown[p.Line] = i
		}
	}
	clear(k.sums)
	k.fresh, k.known, k.unsent, k.before = 0, 0, 0, Summary{}
	rules := newRules(t.columns, k.Projects, &problems{}, &warnings{})
	for number := 0; ; number++ {
		r, err := t.next()
		if errors.Is(err, io.EOF) {
			return k.lookup()
		}
		var p *Problem
		if errors.As(err, &p) && !p.fatal {
			continue
		}
		if err != nil {
			return err
		}
		if i, ok := shown[r.line]; ok {
			k.problems.kept[i].Value = r.cells[rules.at.paymentID]
		}
		if k.skip[number] != "" {
			continue
		}
		d, ok := rules.check(r)
		if !ok {
			continue
		}
		k.add(d.amount, +1)
		if err := k.ask(d, number, k.Store.DigestID(d.key)); err != nil {
			return err
		}
	}
}

// result holds the file against its control totals and sums up.
func (k *checking) result() (*Checked, error) {
	var totals []payout.Amount
	for currency, minor := range k.sums {
		if minor != 0 {
			totals = append(totals, payout.Amount{Minor: minor, Currency: currency})
		}
	}
	slices.SortFunc(totals, func(a, b payout.Amount) int { return strings.Compare(a.Currency, b.Currency) })
	if k.problems.count == 0 && k.rows == 0 {
		k.problems.add(Problem{Text: "the file has a header and no rows", structure: true})
	}
	if err := k.ending(); err != nil {
		return nil, err
	}
	if k.problems.structure == 0 && (k.problems.count == 0 || k.Skip) {
		for _, p := range k.Expect.problems(k.rows, totals) {
			k.problems.add(p)
		}
	}
	skipped := len(k.skip)
	toSend := Sum{Rows: k.fresh + k.unsent}
	for _, a := range totals {
		for _, was := range k.before.ByWord {
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
		return nil, &FileError{Name: k.in.Name, Problems: k.problems.prune(), Count: k.problems.count, Warnings: k.warnings.all()}
	}
	return &Checked{
		Name: k.in.Name, ID: k.id, Columns: k.t.columns, Delimiter: k.t.delimiter, BOM: k.t.text.bom,
		Rows: k.rows, Skipped: skipped, New: k.fresh, Known: k.known, Unsent: k.unsent, Totals: totals, ToSend: toSend, Before: k.before,
		Warnings: k.warnings.all(), Problems: k.problems.prune(), skip: k.skip, clean: k.chunked, projects: k.Projects,
	}, nil
}

// ending looks at the end of the last line. Where it is missing the file may be cut
// off; where it is cut off within an amount, nothing else would tell.
func (k *checking) ending() error {
	last, err := k.in.last()
	if err != nil || k.rows == 0 || last == '\n' || last == '\r' {
		return err
	}
	amountLast := k.t.columns[len(k.t.columns)-1] == gate.ColAmount && last != '"'
	if amountLast && k.Expect.Rows == 0 && len(k.Expect.Totals) == 0 {
		k.problems.add(Problem{Text: "the last line has no end, and ends with its amount: if the file is cut off, the amount is too small. " +
			"End the line, if the file is whole, or give its control total (--expect-total)", structure: true})
		return nil
	}
	k.warnings.add(0, "the last line has no end: is the file whole?")
	return nil
}

// problems compares a file with its control totals.
func (e Expect) problems(rows int, totals []payout.Amount) (out []Problem) {
	if e.Rows > 0 && rows != e.Rows {
		out = append(out, Problem{Text: fmt.Sprintf("the file has %s rows, %s were expected (--expect-rows): is it cut off, or the wrong file?", payout.Count(rows), payout.Count(e.Rows))})
	}
	sum := func(list []payout.Amount, currency string) payout.Amount {
		a := payout.Amount{Currency: currency}
		for _, t := range list {
			if t.Currency == currency {
				a.Minor += t.Minor
			}
		}
		return a
	}
	if len(e.Totals) > 0 {
		for _, currency := range currencies(e.Totals, totals) {
			want, have := sum(e.Totals, currency), sum(totals, currency)
			switch {
			case want == have:
			case want.Minor == 0:
				out = append(out, Problem{Text: fmt.Sprintf("the file also has %s, which was not expected (--expect-total)", have)})
			default:
				out = append(out, Problem{Text: fmt.Sprintf("the file adds up to %s, %s was expected (--expect-total)", have, want)})
			}
		}
	}
	for _, limit := range e.Limits {
		if have := sum(totals, limit.Currency); have.Minor > limit.Minor {
			out = append(out, Problem{Text: fmt.Sprintf("the file adds up to %s, over the limit of %s (limits.run_total)", have, limit)})
		}
	}
	for i := range out {
		out[i].structure = true
	}
	return out
}

// Loaded holds a batch that is already loaded against control totals. It
// returns a *FileError.
func (e Expect) Loaded(b store.Batch) error {
	ps := e.problems(b.Rows, b.Totals)
	if len(ps) == 0 {
		return nil
	}
	return &FileError{Name: b.Name, Problems: ps, Count: len(ps)}
}

// currencies lists the currencies of two sums, sorted.
func currencies(lists ...[]payout.Amount) (all []string) {
	for _, list := range lists {
		for _, a := range list {
			if !slices.Contains(all, a.Currency) {
				all = append(all, a.Currency)
			}
		}
	}
	slices.Sort(all)
	return all
}

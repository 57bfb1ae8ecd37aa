package payfile

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/gate"
	"masspay/payout"
)

// rules check the rows of one file. They are made from its header and keep no
// row.
type rules struct {
	columns  []string
	idAt     int   // place of the payment_id
	bankAt   int   // place of the bank's code; -1: there is none
	destined []int // places of what can be a destination, best first
	projects func(uint32) bool
	now      time.Time

	methods    map[string]*methodRules
	currencies map[string]currencyRules
	project0   project             // the last one
	limits     *Limits             // nil: none
	long       map[int]longNumbers // by place; nil: they are not counted
	own        problems            // of the row that is checked
	shifts     int                 // how many rows were looked at for shifted cells
	problems   *problems
	warnings   *warnings
}

// project is a project's cell and what it says.
type project struct {
	cell string
	id   uint32 // 0: not read yet
}

// currencyRules are what is known of a currency's cell.
type currencyRules struct{ known, current bool }

// baseColumns are what every file must have.
var baseColumns = []string{
	gate.ColOperation, gate.ColProject, gate.ColMethod,
	gate.ColPaymentID, gate.ColAmount, gate.ColCurrency,
}

func newRules(columns []string, projects func(uint32) bool, ps *problems, ws *warnings) *rules {
	r := &rules{
		columns: columns, idAt: slices.Index(columns, gate.ColPaymentID), bankAt: slices.Index(columns, gate.ColBank), projects: projects, now: time.Now(),
		methods: map[string]*methodRules{}, currencies: map[string]currencyRules{}, problems: ps, warnings: ws,
	}
	r.destined = payout.Destinations(columns)
	return r
}

// check turns a row into a payout's row. Problems go to the collector; ok says
// that there was none.
func (r *rules) check(in row) (out draft, ok bool) {
	all := r.problems
	r.problems = &r.own
	out, ok = r.row(in)
	r.problems = all
	if r.own.count == 0 {
		return out, ok
	}
	if p := r.shifted(in); p != nil {
		all.add(*p)
	} else {
		all.merge(&r.own)
	}
	r.own = problems{}
	return out, false
}

func (r *rules) row(in row) (out draft, ok bool) {
	before := r.problems.count
	// The id counts even if the rest is wrong: it must be unique.
	if in.Project != r.project0.cell || r.project0.id == 0 {
		n, _ := strconv.ParseUint(in.Project, 10, 32)
		r.project0 = project{cell: in.Project, id: uint32(n)}
	}
	out.key = payout.Key{ProjectID: r.project0.id, PaymentID: in.PaymentID}
	if in.empty() {
		r.problem(in.line, "", "", emptyRow)
		return out, false
	}
	if in.Operation != "payout" && plainName(in.Operation) == gate.ColOperation {
		r.problem(in.line, "", "", "this is a second header: delete it; are these two files, one behind the other?")
		return out, false
	}
	if !r.operation(in.line, in.Operation, in.cells) {
		return out, false
	}
	out.line, out.cells, out.method = in.line, in.cells, in.Method
	out.key.ProjectID = r.project(in.line, in.Project)
	out.key.PaymentID = r.paymentID(in.line, in.PaymentID)
	r.countLong(r.idAt, in.line, in.PaymentID)
	m := r.method(in.line, out.method)
	out.amount.Currency = r.currency(in.line, in.Currency, m)
	out.amount.Minor = r.amount(in.line, in.Amount, out.amount.Currency)
	if m != nil && !m.bad {
		r.fields(in, m)
		out.composer = m.composer
	}
	out.toPlace, out.to = r.destination(in.cells)
	out.masked = payout.Mask(out.to)
	out.bank = r.bank(out.composer, in.cells)
	ok = r.problems.count == before && out.composer != nil
	if ok {
		r.limited(&out)
		ok = r.problems.count == before
	}
	return out, ok
}

// bank is the code of a row's bank, if its method knows such a field.
func (r *rules) bank(c *gate.Composer, cells []string) string {
	if r.bankAt < 0 || c == nil || c.Field(r.bankAt) == nil {
		return ""
	}
	return cells[r.bankAt]
}

// destination says where the money of a row goes: the cell, and its place.
func (r *rules) destination(cells []string) (place int, to string) {
	for _, i := range r.destined {
		if cells[i] != "" {
			return i, cells[i]
		}
	}
	return 0, ""
}

// draft is a checked row on its way into the store.
type draft struct {
	line     int
	cells    []string
	key      payout.Key
	method   string
	amount   payout.Amount
	to       string // where the money goes
	toPlace  int    // of its cell
	masked   string // the same, with its middle hidden
	bank     string // account.bank_code
	composer *gate.Composer
}

// canonical is the string that the request will be signed over.
func (d draft) canonical(b []byte) []byte {
	return d.composer.Draft(d.key, d.cells).AppendCanonical(b)
}

func (r *rules) problem(line int, column, value, text string) {
	r.problems.add(newProblem(line, column, value, text))
}

// mayBePersonal reports whether a value may say who somebody is: by its column, or because
// the cells of its row have shifted.
func mayBePersonal(column, value string) bool {
	return payout.Personal(column) || !looksRight(column, strings.TrimSpace(value))
}

// newProblem is a problem of a cell, whose value is masked where it may be personal.
func newProblem(line int, column, value, text string) Problem {
	if value != "" && mayBePersonal(column, value) {
		value = payout.Mask(value)
	}
	if c := []rune(value); len(c) > 60 {
		value = string(c[:57]) + "..."
	}
	return Problem{Line: line, Column: column, Value: value, Text: text, fixable: text == phonePunctuation}
}

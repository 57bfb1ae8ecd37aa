package payfile

import (
	"fmt"
	"slices"

	"masspay/gate"
	"masspay/payout"
)

// maxShifts is how many rows of a piece are looked at for shifted cells.
const maxShifts = 200

// shifted finds out whether a row with several problems has none once its cells, from one
// on, are moved by one place: an empty cell too many, or one too few.
func (r *rules) shifted(in row) *Problem {
	if r.own.count < 2 || r.shifts >= maxShifts || len(in.cells) != len(r.columns) {
		return nil
	}
	r.shifts++
	own, told, all := r.own, r.warnings, r.problems
	r.warnings, r.problems = &warnings{}, &r.own
	defer func() { r.own, r.warnings, r.problems = own, told, all }()
	last := len(in.cells) - 1
	for i := range last {
		if in.cells[i] == "" && r.fits(in, slices.Concat(in.cells[:i], in.cells[i+1:], []string{""})) {
			return r.shift(in.line, i, "right")
		}
		if in.cells[last] == "" && in.cells[i] != "" && r.fits(in, slices.Concat(in.cells[:i], []string{""}, in.cells[i:last])) {
			return r.shift(in.line, i, "left")
		}
	}
	return nil
}

func (r *rules) shift(line, from int, to string) *Problem {
	return &Problem{Line: line, Text: fmt.Sprintf("the cells from %s on are one place too far to the %s: move them back", r.columns[from], to)}
}

// fits reports whether other cells of a row have no problem, but for a last one that is empty.
func (r *rules) fits(in row, cells []string) bool {
	r.own = problems{}
	in.cells = cells
	in.Operation, in.Project, in.Method = r.cell(cells, gate.ColOperation), r.cell(cells, gate.ColProject), r.cell(cells, gate.ColMethod)
	in.PaymentID, in.Amount, in.Currency = r.cell(cells, gate.ColPaymentID), r.cell(cells, gate.ColAmount), r.cell(cells, gate.ColCurrency)
	if _, err := payout.ParseMinor(in.Amount); err != nil || in.Operation != "payout" {
		return false // as most are
	}
	if _, ok := r.row(in); ok {
		return true
	}
	// The last cell was perhaps pushed out.
	return r.own.count == 1 && r.own.kept[0].Column == r.columns[len(r.columns)-1] && cells[len(cells)-1] == ""
}

func (r *rules) cell(cells []string, column string) string {
	return cells[slices.Index(r.columns, column)]
}

package result

import (
	"strconv"
	"strings"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Line is a row of a result.
type Line struct {
	store.Line
	Action string // what a person should do
	Note   string // every oddity, in words
}

// columns follow those of the input, in this order.
var columns = []struct {
	name string
	cell func(l *Line) string
}{
	{"result.state", func(l *Line) string { return StateOfLine(&l.Line) }},
	{"result.gate_status", func(l *Line) string { return Harmless(l.Payout.Reported.Status) }},
	{"result.code", func(l *Line) string { return Harmless(l.Payout.Reported.Code) }},
	{"result.message", func(l *Line) string { return Harmless(l.Payout.Reported.Message) }},
	{"result.action", func(l *Line) string { return l.Action }},
	{"result.amount", func(l *Line) string { return reportedAmount(l.Payout.Reported.Amount) }},
	{"result.currency", func(l *Line) string { return Harmless(l.Payout.Reported.Amount.Currency) }},
	{"result.arrived", arrived},
	{"result.operation_id", func(l *Line) string { return Harmless(l.Payout.Reported.OperationID) }},
	{"result.provider_payment_id", func(l *Line) string { return Harmless(l.Payout.Reported.ProviderPaymentID) }},
	{"result.request_id", func(l *Line) string { return Harmless(l.Payout.Reported.RequestID) }},
	{"result.attempts", func(l *Line) string { return strconv.Itoa(l.Payout.Tries) }},
	{"result.first_sent_at", func(l *Line) string { return stamp(l.Payout.FirstSent) }},
	{"result.final_at", func(l *Line) string { return stamp(l.Payout.FinalAt) }},
	{"result.note", func(l *Line) string { return l.Note }},
}

// Columns are the names of the columns that a result has behind those of the input.
func Columns() []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// AppendCells appends a row's cells of the columns.
func AppendCells(record []string, l *Line) []string {
	for _, c := range columns {
		record = append(record, c.cell(l))
	}
	return record
}

// StateOfLine is result.state of a row.
func StateOfLine(l *store.Line) string {
	if l.Skip != "" {
		return StateSkipped
	}
	return StateOf(l.Payout)
}

// ActionOfLine is result.action of a row, but for one that another payout of it pays; see
// PaidAgain.
func ActionOfLine(l *store.Line) string {
	if l.Skip != "" {
		return ActionFix
	}
	return Action(l.Payout)
}

// reportedAmount is what the gate says it paid, in minor units.
func reportedAmount(a payout.Amount) string {
	switch {
	case a == (payout.Amount{}):
		return ""
	case a.Minor < 0:
		return "?" // the gate wrote something that is no whole number
	}
	return strconv.FormatInt(a.Minor, 10)
}

func arrived(l *Line) string {
	if l.Skip != "" {
		return "0"
	}
	if a, known := Arrived(&l.Payout); known {
		return strconv.FormatInt(a.Minor, 10)
	}
	return ""
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Harmless keeps a spreadsheet from running a text of the gate as a formula.
func Harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

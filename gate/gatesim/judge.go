package gatesim

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Judgement is what a program's result file is worth beside the ledger.
type Judgement struct {
	Rows   int // of the input
	Paid   int // rows whose money moved, by the ledger
	Twice  int // ids that were paid more than once
	Lost   int // rows that are missing, or of which the result says what is not so
	Open   int // rows that the result leaves open, which claims nothing
	Faults []string
}

// OK reports whether nothing is wrong.
func (j Judgement) OK() bool { return len(j.Faults) == 0 }

func (j *Judgement) fault(format string, args ...any) {
	j.Faults = append(j.Faults, fmt.Sprintf(format, args...))
}

// The words of a result that are true for what the gate has: for its own status,
// for an id that it has no payment of, and for one that it has.
var (
	trueWords = map[string][]string{
		"success": {"paid", "check"}, "processing": {}, "awaiting retry": {}, "awaiting clarification": {}, "external processing": {},
		"decline": {"declined", "check"}, "partially_paid_out": {"partly paid", "check"}, "error": {"rejected", "check"}, "reversed": {"returned", "check"},
	}
	unpaidWords = []string{"open", "rejected", "cancelled", "skipped"}
	untouched   = []string{"cancelled", "skipped"}
	actions     = map[string][]string{ // what may go with a word, where it matters for the money
		"paid": {"nothing"}, "check": {"check first"}, "returned": {"check first"}, "partly paid": {"check first"}, "open": {"wait", "check first"},
		"declined": {"fix row", "new id", "check first", "never pay again"}, "rejected": {"fix row", "new id", "check first", "never pay again"},
	}
)

// Judge holds a result file against the file that was to be paid and against
// the ledger: every row once, in order, its cells unchanged; every id paid at
// most once and posted with one body only; every word of the result true; the
// sums right. It knows the two files as text and shares no code with the
// program that it judges.
func Judge(ledger []Entry, input, result []byte, delimiter rune) Judgement {
	var j Judgement
	booked := map[string]Entry{}
	for _, e := range ledger {
		booked[e.Key.String()] = e
		if e.Accepted > 1 {
			j.Twice++
			j.fault("%s was paid %d times", e.Key, e.Accepted)
		}
		if e.Bodies > 1 {
			j.fault("%s was posted with %d different bodies", e.Key, e.Bodies)
		}
	}
	in, out, err := parsePair(input, result, delimiter)
	if err != nil {
		j.fault("%v", err)
		return j
	}
	j.Rows = len(in.rows)
	if len(out.rows) != len(in.rows) {
		j.Lost += max(0, len(in.rows)-len(out.rows))
		j.fault("the file has %d rows, the result %d", len(in.rows), len(out.rows))
		return j
	}
	var went, told int64 // minor units that moved, by the ledger and by the result
	for i, cells := range in.rows {
		if got := out.rows[i][:len(cells)]; !slices.Equal(got, cells) {
			j.Lost++
			j.fault("row %d was %q and is %q in the result", i+1, cells, got)
			continue
		}
		row := out.row(i)
		e, known := booked[row["general.project_id"]+"/"+row["general.payment_id"]]
		if e.Status == "reversed" && e.Told != "reversed" && row["result.state"] == "paid" {
			// The money came back later, and no one was told: only a callback can.
			e.Status, e.Paid = "success", e.Asked
		}
		went += e.Paid
		if e.Paid > 0 {
			j.Paid++
		}
		if row["result.state"] == "open" {
			j.Open++
			told += e.Paid
			continue
		}
		if fault := e.contradicts(known, row); fault != "" {
			j.Lost++
			j.fault("row %d (%s): %s", i+1, row["general.payment_id"], fault)
		}
		if said := moved(row, e); said != e.Paid {
			j.fault("row %d (%s): the result says %q, %d minor units; by the ledger %d moved", i+1, row["general.payment_id"], row["result.state"], said, e.Paid)
			told += said
		} else {
			told += e.Paid
		}
	}
	if went != told {
		j.fault("by the ledger %d minor units moved, by the result %d", went, told)
	}
	return j
}

// contradicts says what is wrong with a final row, or nothing.
func (e Entry) contradicts(known bool, row map[string]string) string {
	state := row["result.state"]
	has := known && (e.Accepted > 0 || e.Foreign)
	switch {
	case row["result.action"] == "":
		return "result.action is empty"
	case slices.Contains(untouched, state) && e.Posts > 0 && e.Accepted > 0:
		return fmt.Sprintf("the result says %q, and it was sent", state)
	case !has && state == "check" && e.Strange && row["result.note"] != "":
		return ""
	case !has && !e.isUnpaid(row) && !slices.Contains(unpaidWords, state):
		return fmt.Sprintf("the result says %q, and the gate has no payment", state)
	case e.isUnpaid(row):
		return ""
	case has && e.Accepted == 0 && state != "check":
		return fmt.Sprintf("the result says %q, and the gate's payment is another customer's", state)
	case has && !e.isFor(row):
		return fmt.Sprintf("the gate has a payment of %d %s for another account or amount than the row's", e.Asked, e.Currency)
	case (e.Second || e.Worded) && state != "check":
		return fmt.Sprintf("the result says %q, and a person must look", state)
	case state == "check" && e.Status == "partially_paid_out" && row["result.note"] != "":
		// A part proves nothing where no one knows whose payment it is.
	case state == "check" && (row["result.note"] == "" || has && !e.Foreign && !e.Odd && !e.Strange):
		return fmt.Sprintf("the result says \"check\" (%s), and there is nothing to check", row["result.note"])
	case actions[state] != nil && !slices.Contains(actions[state], row["result.action"]):
		return fmt.Sprintf("the result says %q, and to do %q", state, row["result.action"])
	case state == "paid" && row["result.currency"] != "" && row["result.currency"] != row["payment.currency"]:
		return fmt.Sprintf("paid in %q", row["result.currency"])
	case has && state == "check" && e.Strange:
	case has && !slices.Contains(trueWords[e.Status], state):
		return fmt.Sprintf("the result says %q, the gate %q", state, e.Status)
	}
	if asked, _ := strconv.ParseInt(row["payment.amount"], 10, 64); e.Paid > asked {
		return fmt.Sprintf("%d minor units moved for %q", e.Paid, row["payment.amount"])
	}
	return ""
}

// isUnpaid reports whether a person has resolved a row as not paid, and is right.
func (e Entry) isUnpaid(row map[string]string) bool {
	return row["result.state"] == "declined" && row["result.action"] == "new id" && strings.Contains(row["result.note"], "not paid by ") && e.Paid == 0
}

// isFor reports whether a payment is for what a row asks for.
func (e Entry) isFor(row map[string]string) bool {
	for _, column := range []string{"account.number", "card.pan"} {
		if cell := row[column]; cell != "" && e.Account != "" && cell != e.Account {
			return false
		}
	}
	asked, err := strconv.ParseInt(row["payment.amount"], 10, 64)
	return err == nil && asked == e.Asked && (e.Currency == "" || row["payment.currency"] == "" || e.Currency == row["payment.currency"])
}

// Unasked returns the ids that the gate has paid and that no file asked for.
func Unasked(ledger []Entry, delimiter rune, inputs ...[]byte) []string {
	asked := map[string]bool{}
	for _, input := range inputs {
		t, err := parseTable(input, delimiter)
		if err != nil {
			return []string{err.Error()}
		}
		for i := range t.rows {
			row := t.row(i)
			asked[row["general.project_id"]+"/"+row["general.payment_id"]] = true
		}
	}
	var ids []string
	for _, e := range ledger {
		if e.Posts > 0 && !asked[e.Key.String()] {
			ids = append(ids, e.Key.String())
		}
	}
	return ids
}

// moved is what a row of the result says that the receiver got. Of a row that a
// person must check it claims nothing.
func moved(row map[string]string, e Entry) int64 {
	asked, _ := strconv.ParseInt(row["payment.amount"], 10, 64)
	switch row["result.state"] {
	case "paid":
		return asked
	case "partly paid":
		got, _ := strconv.ParseInt(row["result.amount"], 10, 64)
		return got
	case "check":
		return e.Paid
	}
	return 0
}

// table is a CSV file with its header.
type table struct {
	columns []string
	rows    [][]string
}

func (t table) row(i int) map[string]string {
	m := make(map[string]string, len(t.columns))
	for c, name := range t.columns {
		m[name] = t.rows[i][c]
	}
	return m
}

func parsePair(input, result []byte, delimiter rune) (in, out table, err error) {
	if in, err = parseTable(input, delimiter); err != nil {
		return in, out, fmt.Errorf("the file: %w", err)
	}
	if out, err = parseTable(result, delimiter); err != nil {
		return in, out, fmt.Errorf("the result: %w", err)
	}
	if n := len(in.columns); len(out.columns) < n || !slices.Equal(in.columns, out.columns[:n]) {
		return in, out, fmt.Errorf("the columns of the result are %s", strings.Join(out.columns, ", "))
	}
	return in, out, nil
}

func parseTable(b []byte, delimiter rune) (table, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff"))))
	r.Comma = delimiter
	all, err := r.ReadAll()
	if err != nil || len(all) == 0 {
		return table{}, fmt.Errorf("not a CSV file: %w", err)
	}
	return table{columns: all[0], rows: all[1:]}, nil
}

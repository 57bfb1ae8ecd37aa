package payfile

import (
	"fmt"
	"slices"
	"strings"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// blocked counts a row that may have to wait for another payout of it, and reports one
// that would pay a second time what may be paid. One that differs from it in amount or payee
// is a warning: perhaps it was corrected, and paid since.
func (k *checking) blocked(row int, d draft) error {
	blocker, err := k.Store.RetryBlocker(k.ctx, d.key, d.amount, payout.Payee(k.cut.columns, d.cells))
	if err != nil {
		return err
	}
	by := result.ShellWord(blocker.By.Key.PaymentID)
	if blocker.By.Number != 0 && blocker.Same {
		other := "another id"
		if _, _, retry := payout.RetryOf(d.key.PaymentID); retry {
			other = "an id that does not end like a retry's"
		}
		k.leaveOut(row, d, "it would pay a second time what "+by+" pays, which is "+result.DescribeState(blocker.By)+
			": remove the row, or, if it really is another payout, give it "+other+"; details: masspay show "+by)
		return nil
	}
	if blocker.By.Number != 0 {
		k.warnings.add(d.line, fmt.Sprintf("general.payment_id %s belongs to the same row as %s, which is %s, with another amount or payee: is it to be paid as well?",
			result.ShellWord(d.key.PaymentID), by, result.DescribeState(blocker.By)))
	}
	k.fresh++
	if r, limited := k.dayRow(row, &d); limited {
		k.day.addNew(r)
	}
	if !k.add(d) {
		return &Problem{Line: d.line, Text: "the file's sum in " + d.amount.Currency + " is too large for any account", structure: true, fatal: true}
	}
	return nil
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
	text := fmt.Sprintf("this id is already known for another payout (%s differs): %s there (%s), %s here; ",
		columns, show(was.Amount, was.Method, was.Masked), result.StateOf(was), show(is.amount, is.method, is.masked))
	if !was.Cancellable() {
		return text + whatNow(was), nil
	}
	if k.batches == nil {
		if k.batches, err = store.Names(k.ctx, k.Store); err != nil {
			return "", err
		}
	}
	old := k.batches[was.Places[0].Batch]
	shared := ""
	if len(was.Places) > 1 {
		shared = " --shared" // other batches have the same payout, and none of them is to send it either
	}
	return text + fmt.Sprintf("nothing of it was paid, and batch %s would still send it: masspay cancel %s --row=%s%s cancels that row, then this id is free",
		old, old, result.ShellWord(was.Key.PaymentID), shared), nil
}

// whatNow says what to do about a row whose id is known with other content and cannot be
// cancelled. Dangerous to shorten to "use a new id": where the old row was paid, or may
// be, that is a second payment.
func whatNow(was payout.Payout) string {
	switch result.StateOf(was) {
	case result.StatePaid:
		return "it was paid: take the row out, or put the old values back; only another payout, on top of it, gets a new id"
	case result.StateDeclined, result.StateRejected:
		switch result.Action(was) {
		case result.ActionFix, result.ActionNewID:
			return "it was not paid: the corrected row needs a new id"
		case result.ActionNever:
			return "it was refused for fraud or compliance: take the row out"
		}
		return "it was refused, and a person must look before it is paid under another id: take the row out"
	case result.StateOpen:
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
	for i, c := range k.cut.columns[:min(len(k.cut.columns), len(is.cells))] {
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

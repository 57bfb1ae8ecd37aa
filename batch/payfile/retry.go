package payfile

import (
	"context"
	"encoding/csv"
	"io"
	"slices"
	"unicode/utf8"

	"masspay/batch/result"
	"masspay/gate"
	"masspay/payout"
	"masspay/store"
)

// RetryOptions says which rows of a batch to pay again, under new ids.
type RetryOptions struct {
	WithFix      bool // also rows with action "fix row", as they are
	WithResolved bool // also rows that a person found unpaid
}

// LeftOut is a row that was not paid and is not in a retry file.
type LeftOut struct {
	Line      int
	PaymentID string
	State     string
	Action    string
	Why       string
}

// Retry is a retry file that was written.
type Retry struct {
	Rows    int
	Sum     result.Sum
	LeftOut []LeftOut // the first of them
	Count   int       // of all that were left out
}

// maxLeftOut are listed.
const maxLeftOut = 200

// maxPaymentID is how long the format lets a payment_id be, in characters.
const maxPaymentID = 255

// Write writes the rows of a batch that were not paid and may be paid again, with their
// cells unchanged but for the payment_id, as a file that run takes. Nothing is kept of
// it: as long as it is not loaded, writing it again makes the same.
func (r RetryOptions) Write(ctx context.Context, s store.Store, b store.Batch, out io.Writer) (made Retry, err error) {
	id := slices.Index(b.Columns, gate.ColPaymentID)
	w := csv.NewWriter(out)
	w.Comma = []rune(b.Delimiter)[0]
	if err := w.Write(b.Columns); err != nil {
		return made, err
	}
	done := map[payout.Key]bool{}
	for l, err := range s.Lines(ctx, b.ID) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return made, err
		}
		next, why, err := r.next(ctx, s, l)
		if err != nil {
			return made, err
		}
		if why == "" && next != "" {
			key := payout.Key{ProjectID: l.Payout.Key.ProjectID, PaymentID: next}
			if done[key] {
				continue // the batch has the row and its retry: one file, one new id
			}
			done[key] = true
			cells := slices.Clone(l.Cells)
			cells[id] = next
			if err := w.Write(cells); err != nil {
				return made, err
			}
			made.Rows++
			made.Sum.Add(1, l.Payout.Amount)
			continue
		}
		if why != "" {
			made.leave(l, b.Columns, why)
		}
	}
	w.Flush()
	return made, w.Error()
}

func (made *Retry) leave(l store.Line, columns []string, why string) {
	if made.Count++; made.Count > maxLeftOut {
		return
	}
	word, action := result.StateOfLine(&l), result.ActionOfLine(&l)
	out := LeftOut{Line: l.Line, PaymentID: l.Payout.Key.PaymentID, State: word, Action: action, Why: why}
	if i := slices.Index(columns, gate.ColPaymentID); l.Skip != "" && i < len(l.Cells) {
		out.PaymentID = l.Cells[i]
	}
	made.LeftOut = append(made.LeftOut, out)
}

// next is the id under which a row is paid again, or why it is not; both are empty for
// a row that was paid.
func (r RetryOptions) next(ctx context.Context, s store.Store, l store.Line) (id, why string, err error) {
	if l.Skip != "" {
		return "", "left out before it was sent: correct it, and pay it under the id that it has", nil
	}
	if why := r.refuses(l.Payout); why != "" || l.Payout.State == payout.StatePaid {
		return "", why, nil
	}
	family, err := s.Family(ctx, l.Payout.Key)
	if err != nil {
		return "", "", err
	}
	n := 1
	for _, p := range family {
		if first, at, ok := payout.RetryOf(p.Key.PaymentID); ok && first == payout.FirstOf(first) {
			n = max(n, at)
		}
		if p.Key == l.Payout.Key || p.State == payout.StateCancelled {
			continue
		}
		// Whatever its cells are by now: the row was paid again, corrected.
		if p.State == payout.StatePaid && !p.NeedsCheck() {
			return "", "paid as " + p.Key.PaymentID, nil
		}
		if why := r.refuses(p); why != "" {
			return "", "to be paid as " + p.Key.PaymentID + ": " + why, nil
		}
	}
	if n >= payout.MostRetries {
		return "", "it was tried too often: pay it under an id of its own", nil
	}
	id = payout.RetryID(payout.FirstOf(l.Payout.Key.PaymentID), n+1)
	if utf8.RuneCountInString(id) > maxPaymentID {
		return "", "its payment_id would be too long", nil
	}
	return id, "", nil
}

// refuses says why a payout is not paid again under a new id.
func (r RetryOptions) refuses(p payout.Payout) string {
	switch act := result.Action(p); {
	case p.State == payout.StatePaid && act == result.ActionNothing:
		return ""
	case p.State == payout.StateCancelled:
		return "cancelled: put it into another file, under the id that it has"
	case act == result.ActionNewID && p.Resolution.As != 0 && !r.WithResolved:
		return "a person found that it was not paid: --with-resolved takes it"
	case act == result.ActionNewID:
		return ""
	case act == result.ActionFix && !r.WithFix:
		return "correct it first; --with-fix takes it as it is"
	case act == result.ActionFix:
		return ""
	case act == result.ActionNever:
		return "refused for fraud or compliance: it is never paid again"
	case act == result.ActionWait && p.State == payout.StateNew:
		return "not sent yet: masspay run sends it"
	case act == result.ActionWait:
		return "open, perhaps paid: masspay run or masspay reconcile polls it"
	case p.State == payout.StateReturned && !p.Reviewable() && r.WithResolved:
		return ""
	case p.State == payout.StateReturned && !p.Reviewable():
		return "it came back, and a person has seen that: --with-resolved takes it"
	case p.State == payout.StatePartial:
		return "part of it arrived: a person decides about the rest"
	}
	return "it must be reviewed first: masspay show says why"
}

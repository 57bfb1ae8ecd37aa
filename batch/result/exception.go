package result

import (
	"strconv"
	"time"

	"masspay/payout"
	"masspay/store"
)

// Exception is a payout that a person must look at, or has looked at.
type Exception struct {
	Project   uint32     `json:"project_id"`
	PaymentID string     `json:"payment_id"`
	File      string     `json:"file"`
	Batch     string     `json:"batch"`
	Minor     int64      `json:"minor"`
	Currency  string     `json:"currency"`
	Account   string     `json:"account"` // masked
	State     string     `json:"state"`
	Why       string     `json:"why"`
	Since     time.Time  `json:"since"`
	AnswerBy  *time.Time `json:"answer_by,omitempty"` // the platform's question, or it declines the payout
	Person    string     `json:"person,omitempty"`
	ClosedAt  *time.Time `json:"closed_at,omitempty"`
	Reason    string     `json:"reason,omitempty"`

	Closing Closing `json:"-"` // how a person closes it
}

// ExceptionColumns are the names of what Cells has.
var ExceptionColumns = []string{"project_id", "payment_id", "file", "batch", "amount", "currency", "account", "state", "why", "since", "person", "closed_at", "reason", "answer_by"}

// Cells are it as a row of a table for programs: amounts in minor units, times in RFC 3339 and UTC.
// No text in it runs as a formula of a spreadsheet.
func (e *Exception) Cells() []string {
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return stamp(*t)
	}
	return []string{
		strconv.FormatUint(uint64(e.Project), 10), e.PaymentID, Harmless(e.File), e.Batch, strconv.FormatInt(e.Minor, 10), e.Currency, e.Account, e.State, Harmless(e.Why),
		stamp(e.Since), Harmless(e.Person), at(e.ClosedAt), Harmless(e.Reason), at(e.AnswerBy),
	}
}

// ExceptionOf tells of a payout with its events; files are all batches by number.
func ExceptionOf(h *payout.History, files map[uint32]store.Batch, rules payout.Rules) Exception {
	p := &h.Payout
	e := Exception{
		Project: p.Key.ProjectID, PaymentID: p.Key.PaymentID, Minor: p.Amount.Minor, Currency: p.Amount.Currency, Account: p.Masked,
		State: StateOf(*p), Since: p.ReportedAt, Closing: ClosingOf(p),
	}
	notes := Notes{Rules: rules}
	if len(p.Places) > 0 {
		b := files[p.Places[0].Batch]
		e.File, e.Batch = b.Name, b.ID
		notes.Batch, notes.Names = b.Number, map[uint32]string{p.SentBy: files[p.SentBy].Short()}
	}
	e.Why = notes.Of(store.Line{Payout: *p})
	for _, ev := range h.Events {
		if ev.Kind == payout.Resolved {
			at := ev.At
			e.Person, e.Reason, e.ClosedAt = ev.Person, ev.Reason, &at
		}
	}
	if by := p.ClarifyBy(); !by.IsZero() {
		e.Since, e.AnswerBy = p.ClarifySince, &by
	}
	if e.Since.IsZero() && len(h.Events) > 0 {
		e.Since = h.Events[len(h.Events)-1].At
	}
	return e
}

// Closing is how masspay resolve closes what must be checked, and when that is right. Without
// As it closes nothing, and When says what does.
type Closing struct{ As, When string }

// ToPaste is the command that closes it, for the payout of an id; empty where it closes nothing.
func (c Closing) ToPaste(id string) string {
	if c.As == "" {
		return ""
	}
	return "masspay resolve " + ShellWord(id) + " --as " + c.As + " --reason 'WHY'"
}

// ClosingOf is that of a payout.
func ClosingOf(p *payout.Payout) Closing {
	switch {
	case !p.ClarifyBy().IsZero() && !p.NeedsCheck():
		return Closing{When: "answer the platform's question in its Dashboard: that closes it"}
	case p.State.Open() && (p.OfAnother() || !p.NeedsCheck()):
		return Closing{"not-paid", "when the platform has confirmed that this row was not paid"}
	case !p.State.Open() && !p.NeedsCheck() && !p.Reviewable():
		return Closing{} // nothing is open: the platform is asked before it is paid again
	}
	return Closing{"seen", "when someone has looked at it, to close the check"}
}

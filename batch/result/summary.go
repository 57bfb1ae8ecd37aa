package result

import (
	"cmp"
	"time"

	"masspay/payout"
)

// Summary adds up the rows of a result.
type Summary struct {
	Rows    int
	ByState map[string]Sum
	Arrived Sum // rows whose money arrived, whole or in part, and how much of it

	// What a run did, by its Sent: rows that it sent, rows that were sent before it, rows
	// that others sent meanwhile, and rows that are still to be sent.
	Now, Before, Others, Unsent Sum
	Earlier                     []Earlier // of Before, by the batch that sent them, the newest first
	Blocked                     int       // of Unsent, rows that would pay a second time what may be paid
	BeforeOpen                  int       // of Before and Others, rows that are open
	Actions                     map[string]int
	Example                     map[string]string // a payment_id for each of Actions, and for StateCheck
	FinalNow                    int               // of Before, rows that had no outcome when the run began
}

// Earlier are rows that an earlier run sent.
type Earlier struct {
	Batch uint32 // number of the batch that they were sent for
	Rows  int
	Last  time.Time // when the last of them was first sent
}

// Sum is how many rows something is true of, and their money by currency.
type Sum struct {
	Rows  int
	Money map[string]Part
}

// Part is the part of a sum in one currency.
type Part struct {
	Rows  int
	Minor int64
}

// Add adds rows of one currency; an empty currency adds no money.
func (s *Sum) Add(rows int, a payout.Amount) {
	s.Rows += rows
	if a.Currency == "" {
		return
	}
	if s.Money == nil {
		s.Money = map[string]Part{}
	}
	p := s.Money[a.Currency]
	s.Money[a.Currency] = Part{p.Rows + rows, p.Minor + a.Minor}
}

// Minor is the money by currency, in minor units.
func (s Sum) Minor() map[string]int64 {
	m := map[string]int64{}
	for currency, p := range s.Money {
		m[currency] = p.Minor
	}
	return m
}

// Merge adds another sum.
func (s *Sum) Merge(t Sum) {
	s.Rows += t.Rows
	for currency, p := range t.Money {
		if s.Money == nil {
			s.Money = map[string]Part{}
		}
		was := s.Money[currency]
		s.Money[currency] = Part{was.Rows + p.Rows, was.Minor + p.Minor}
	}
}

// N is how many rows have a result.state.
func (s Summary) N(state string) int { return s.ByState[state].Rows }

// Add adds rows of one result.state.
func (s *Summary) Add(state string, rows int, a payout.Amount) {
	if rows == 0 {
		return
	}
	if s.ByState == nil {
		s.ByState = map[string]Sum{}
	}
	sum := s.ByState[state]
	sum.Add(rows, a)
	s.ByState[state] = sum
	s.Rows += rows
}

// Payout adds a row with its payout and what is to be done about it; sent may be nil.
func (s *Summary) Payout(p *payout.Payout, act string, sent *Sent) {
	s.Add(StateOf(*p), 1, p.Amount)
	s.action(act, p.Key.PaymentID)
	if p.NeedsCheck() && s.Example[StateCheck] == "" {
		s.Example[StateCheck] = p.Key.PaymentID
	}
	if a, known := Arrived(p); known && a.Minor > 0 {
		s.Arrived.Add(1, a)
	}
	switch {
	case p.State == payout.StateCancelled, p.State == payout.StateNew && p.OfAnother():
	case p.State == payout.StateNew:
		s.Unsent.Add(1, p.Amount)
	case sent.has(p.Number):
		s.Now.Add(1, p.Amount)
	default:
		if sent.meanwhile(p.FirstSent) {
			s.Others.Add(1, p.Amount)
		} else {
			s.Before.Add(1, p.Amount)
			s.addEarlier(Earlier{Batch: p.SentBy, Rows: 1, Last: p.FirstSent})
		}
		if p.State.Open() && !p.NeedsCheck() {
			s.BeforeOpen++
		}
		if sent != nil && (p.FinalAt.IsZero() || p.FinalAt.After(sent.begun)) {
			s.FinalNow++
		}
	}
}

// Merge adds another summary, of rows that come later.
func (s *Summary) Merge(t Summary) {
	for state, sum := range t.ByState {
		if s.ByState == nil {
			s.ByState = map[string]Sum{}
		}
		is := s.ByState[state]
		is.Merge(sum)
		s.ByState[state] = is
	}
	s.Rows += t.Rows
	s.Arrived.Merge(t.Arrived)
	s.Now.Merge(t.Now)
	s.Before.Merge(t.Before)
	s.Others.Merge(t.Others)
	s.Unsent.Merge(t.Unsent)
	s.Blocked += t.Blocked
	s.BeforeOpen += t.BeforeOpen
	s.FinalNow += t.FinalNow
	for act, n := range t.Actions {
		if s.Actions == nil {
			s.Actions = map[string]int{}
		}
		s.Actions[act] += n
	}
	for of, id := range t.Example {
		if s.Example == nil {
			s.Example = map[string]string{}
		}
		s.Example[of] = cmp.Or(s.Example[of], id)
	}
	for _, e := range t.Earlier {
		s.addEarlier(e)
	}
}

func (s *Summary) action(act, id string) {
	if s.Actions == nil {
		s.Actions, s.Example = map[string]int{}, map[string]string{}
	}
	if s.Actions[act]++; s.Actions[act] == 1 {
		s.Example[act] = id
	}
}

// addEarlier adds rows that a batch sent.
func (s *Summary) addEarlier(rows Earlier) {
	i := 0
	for i < len(s.Earlier) && s.Earlier[i].Batch != rows.Batch {
		i++
	}
	if i == len(s.Earlier) {
		s.Earlier = append(s.Earlier, Earlier{Batch: rows.Batch})
	}
	e := &s.Earlier[i]
	e.Rows += rows.Rows
	if rows.Last.After(e.Last) {
		e.Last = rows.Last
	}
}

// Arrived is how much of a payout arrived, as far as anybody knows: known is false
// while it is open or to be checked.
func Arrived(p *payout.Payout) (a payout.Amount, known bool) {
	if p.NeedsCheck() || p.State.Open() {
		return payout.Amount{}, false
	}
	none := payout.Amount{Currency: p.Amount.Currency}
	switch p.State {
	case payout.StatePaid:
		switch {
		case p.Reported.Amount == (payout.Amount{}) || p.Resolution.As != 0:
			return p.Amount, true
		case p.Reported.Amount.Minor < 0:
			return payout.Amount{}, false // the gate wrote something that is no whole number
		}
		return p.Reported.Amount, true
	case payout.StatePartial:
		if p.Reported.Amount.Minor < 0 || p.Reported.Amount == (payout.Amount{}) {
			return payout.Amount{}, false // the gate did not say which part
		}
		return p.Reported.Amount, true
	}
	return none, true
}

package batch

import (
	"sync"
	"time"

	"masspay/payout"
)

// Summary adds up the rows of a result.
type Summary struct {
	Rows    int
	ByWord  map[string]Sum
	Arrived Sum // rows whose money arrived, whole or in part, and how much of it

	// What a run did, by its Sent: rows that it sent, rows that were sent before it or by
	// others, and rows that are still to be sent.
	Now, Before, Unsent Sum
	Earlier             []Earlier // of Before, by the batch that sent them, the newest first
	Barred              int       // of Unsent, rows that would pay once more what may be paid
	BeforeOpen          int       // of Before, rows that are open
	Actions             map[string]int
	Example             map[string]string // a payment_id for each of Actions, and for WordCheck
	SettledNow          int               // of Before, rows that had no outcome when the run began
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

// N is how many rows have a word.
func (s Summary) N(word string) int { return s.ByWord[word].Rows }

// Add adds rows that have a word.
func (s *Summary) Add(word string, rows int, a payout.Amount) {
	if rows == 0 {
		return
	}
	if s.ByWord == nil {
		s.ByWord = map[string]Sum{}
	}
	sum := s.ByWord[word]
	sum.Add(rows, a)
	s.ByWord[word] = sum
	s.Rows += rows
}

// payout adds a row with its payout; sent may be nil.
func (s *Summary) payout(p *payout.Payout, act string, sent *Sent) {
	s.Add(Word(*p), 1, p.Amount)
	s.action(act, p.Key.PaymentID)
	if p.NeedsCheck() && s.Example[WordCheck] == "" {
		s.Example[WordCheck] = p.Key.PaymentID
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
		s.Before.Add(1, p.Amount)
		if p.State.Open() && !p.NeedsCheck() {
			s.BeforeOpen++
		}
		if sent != nil && (p.SettledAt.IsZero() || p.SettledAt.After(sent.begun)) {
			s.SettledNow++
		}
		s.earlier(p)
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

func (s *Summary) earlier(p *payout.Payout) {
	i := 0
	for i < len(s.Earlier) && s.Earlier[i].Batch != p.SentBy {
		i++
	}
	if i == len(s.Earlier) {
		s.Earlier = append(s.Earlier, Earlier{Batch: p.SentBy})
	}
	e := &s.Earlier[i]
	e.Rows++
	if p.FirstSent.After(e.Last) {
		e.Last = p.FirstSent
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
		case p.Got == (payout.Amount{}) || p.Resolution.As != 0:
			return p.Amount, true
		case p.Got.Minor < 0:
			return payout.Amount{}, false // the gate wrote something that is no whole number
		}
		return p.Got, true
	case payout.StatePartial:
		if p.Got.Minor < 0 || p.Got == (payout.Amount{}) {
			return payout.Amount{}, false // the gate did not say which part
		}
		return p.Got, true
	}
	return none, true
}

// Sent is what a run has sent: the payouts by their numbers. A nil one has sent
// nothing.
type Sent struct {
	begun time.Time
	mu    sync.Mutex
	bits  map[uint64]uint64
}

func newSent(begun time.Time) *Sent { return &Sent{begun: begun, bits: map[uint64]uint64{}} }

func (s *Sent) add(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bits[number/64] |= 1 << (number % 64)
}

func (s *Sent) has(number uint64) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bits[number/64]>>(number%64)&1 == 1
}

package bolt

import (
	"time"

	"masspay/payout"
)

func (v *fields) bar(name string, p *payout.Bar) {
	if !v.has(name, *p != payout.Bar{}) {
		return
	}
	if v.e != nil {
		v.e.uint(p.Boot)
		v.e.uint(p.Machine)
		v.e.uint(p.Epoch)
		return
	}
	*p = payout.Bar{Boot: v.d.uint(), Machine: v.d.uint(), Epoch: v.d.uint()}
}

func (v *fields) texts(name string, p *[]string) {
	list(v, name, p, func(e *encoder, s string) { e.string(s) }, func(d *decoder) string { return d.string() })
}

func (v *fields) operations(name string, p *[]payout.Operation) {
	list(v, name, p, func(e *encoder, o payout.Operation) {
		e.string(o.ID)
		e.string(o.Provider)
		e.maybeTime(o.Made)
		e.amount(o.Amount)
	}, func(d *decoder) payout.Operation {
		return payout.Operation{ID: d.string(), Provider: d.string(), Made: d.maybeTime(), Amount: d.amount()}
	})
}

func list[T any](v *fields, name string, p *[]T, write func(*encoder, T), read func(*decoder) T) {
	if !v.has(name, len(*p) > 0) {
		return
	}
	if v.e != nil {
		v.e.uint(uint64(len(*p)))
		for _, t := range *p {
			write(v.e, t)
		}
		return
	}
	n := v.d.uint()
	if n > uint64(v.d.left()) {
		v.d.fail()
		return
	}
	*p = make([]T, 0, n)
	for ; n > 0 && !v.d.bad; n-- {
		*p = append(*p, read(v.d))
	}
}

func (v *fields) digest(name string, p *[16]byte) {
	if !v.has(name, *p != [16]byte{}) {
		return
	}
	if v.e != nil {
		v.e.b = append(v.e.b, p[:]...)
		return
	}
	v.d.fixed(p[:])
}

// The lists of fields.
var (
	lifeMask  = maskOf(namesOf(func(v *fields) { life(v, &payout.Payout{}) }))
	eventMask = maskOf(namesOf(func(v *fields) { eventFields(v, &payout.Event{}, "", payout.Amount{}) }))
)

// life is what changes of a payout.
func life(v *fields, p *payout.Payout) {
	v.time("first sent", &p.FirstSent, time.Time{})
	v.flag("doubted", &p.Doubted)
	v.flag("seen", &p.Seen)
	v.flag("unproven", &p.Unproven)
	count(v, "attempt", &p.Attempt)
	count(v, "tries", &p.Tries)
	count(v, "owner", &p.Owner)
	count(v, "sent by", &p.SentBy)
	count(v, "epoch", &p.Epoch)
	v.text("gate", &p.Host)
	v.time("ended", &p.EndedAt, p.FirstSent)
	v.time("not seen", &p.NotSeenAt, p.FirstSent)
	count(v, "asks", &p.Polls)
	v.time("ask", &p.PollAt, p.FirstSent)
	v.time("settled", &p.FinalAt, p.FirstSent)
	v.text("gate status", &p.Reported.Status)
	v.text("code", &p.Reported.Code)
	v.text("message", &p.Reported.Message)
	v.amountLike("got as asked", "got", &p.Reported.Amount, p.Amount)
	v.text("operation", &p.Reported.OperationID)
	v.text("provider", &p.Reported.ProviderPaymentID)
	v.text("request", &p.Reported.RequestID)
	count(v, "flags", &p.Flags)
	v.tick("ended tick", &p.EndedTick)
	v.tick("not seen tick", &p.NotSeen)
	v.time("lost since", &p.LostSince, p.FirstSent)
	count(v, "accepted attempt", &p.AcceptedAttempt)
	v.flag("may have left", &p.MayHaveLeft)
	v.bar("bar", &p.Bar)
	count(v, "closed", &p.Closed)
	count(v, "outcomes", &p.Outcomes)
	v.texts("words", &p.OddStatuses)
	v.operations("paid", &p.Paid)
	v.text("second", &p.Second)
	v.text("field", &p.Field)
	v.time("polled soon", &p.PolledSoonAt, p.FirstSent)
	count(v, "resolved as", &p.Resolution.As)
	v.text("resolved by", &p.Resolution.By)
	v.time("resolved at", &p.Resolution.At, p.FirstSent)
	v.text("reason", &p.Resolution.Reason)
	count(v, "dropped", &p.Dropped)
	v.time("heard", &p.ReportedAt, p.FirstSent)
}

// eventFields is an event of a payout without its key: the payout's gate and amount
// are not repeated.
func eventFields(v *fields, ev *payout.Event, gate string, asked payout.Amount) {
	count(v, "attempt", &ev.Attempt)
	count(v, "tries", &ev.Tries)
	count(v, "owner", &ev.Owner)
	count(v, "batch", &ev.Batch)
	v.textLike("gate", &ev.Host, gate)
	count(v, "epoch", &ev.Epoch)
	count(v, "outcome", &ev.Outcome)
	count(v, "match", &ev.Match)
	v.text("field", &ev.Field)
	v.text("status", &ev.Status)
	v.text("code", &ev.Code)
	v.text("message", &ev.Message)
	v.amountLike("amount as asked", "amount", &ev.Amount, asked)
	v.text("operation", &ev.OperationID)
	v.text("provider", &ev.ProviderPaymentID)
	v.text("request", &ev.RequestID)
	v.tick("tick", &ev.Tick)
	v.tick("applied", &ev.Applied)
	v.time("since", &ev.Since, time.Time{})
	v.bar("bar", &ev.Bar)
	v.flag("lifted", &ev.Lifted)
	v.text("person", &ev.Person)
	v.text("reason", &ev.Reason)
	v.time("made", &ev.Made, ev.At)
	v.operations("operations", &ev.Operations)
	v.flag("conflict", &ev.Conflict)
	count(v, "run", &ev.Run)
}

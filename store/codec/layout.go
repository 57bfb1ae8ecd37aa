package codec

import (
	"time"

	"masspay/payout"
)

func (v *Fields) bar(name string, p *payout.Bar) {
	if !v.has(name, *p != payout.Bar{}) {
		return
	}
	if v.e != nil {
		v.e.Uint(p.Boot)
		v.e.Uint(p.Machine)
		v.e.Uint(p.Epoch)
		return
	}
	*p = payout.Bar{Boot: v.d.Uint(), Machine: v.d.Uint(), Epoch: v.d.Uint()}
}

// Texts is a list of texts.
func (v *Fields) Texts(name string, p *[]string) {
	list(v, name, p, func(e *Encoder, s string) { e.String(s) }, func(d *Decoder) string { return d.String() })
}

func (v *Fields) operations(name string, p *[]payout.Operation) {
	list(v, name, p, func(e *Encoder, o payout.Operation) {
		e.String(o.ID)
		e.String(o.Provider)
		e.MaybeTime(o.Made)
		e.amount(o.Amount)
	}, func(d *Decoder) payout.Operation {
		return payout.Operation{ID: d.String(), Provider: d.String(), Made: d.MaybeTime(), Amount: d.Amount()}
	})
}

func list[T any](v *Fields, name string, p *[]T, write func(*Encoder, T), read func(*Decoder) T) {
	if !v.has(name, len(*p) > 0) {
		return
	}
	if v.e != nil {
		v.e.Uint(uint64(len(*p)))
		for _, t := range *p {
			write(v.e, t)
		}
		return
	}
	n := v.d.Uint()
	if n > uint64(v.d.Left()) {
		v.d.Fail()
		return
	}
	*p = make([]T, 0, n)
	for ; n > 0 && !v.d.Bad; n-- {
		*p = append(*p, read(v.d))
	}
}

// Digest is 16 bytes.
func (v *Fields) Digest(name string, p *[16]byte) {
	if !v.has(name, *p != [16]byte{}) {
		return
	}
	if v.e != nil {
		v.e.B = append(v.e.B, p[:]...)
		return
	}
	v.d.Fixed(p[:])
}

// The lists of fields.
var (
	lifeMask  = MaskOf(NamesOf(func(v *Fields) { life(v, &payout.Payout{}) }))
	eventMask = MaskOf(NamesOf(func(v *Fields) { eventFields(v, &payout.Event{}, "", payout.Amount{}) }))
)

// life is what changes of a payout.
func life(v *Fields, p *payout.Payout) {
	v.time("first sent", &p.FirstSent, time.Time{})
	v.flag("doubted", &p.Doubted)
	v.flag("seen", &p.Seen)
	v.flag("unproven", &p.Unproven)
	Count(v, "attempt", &p.Attempt)
	Count(v, "tries", &p.Tries)
	Count(v, "owner", &p.Owner)
	Count(v, "sent by", &p.SentBy)
	Count(v, "epoch", &p.Epoch)
	v.text("gate", &p.Host)
	v.time("ended", &p.EndedAt, p.FirstSent)
	v.time("not seen", &p.NotSeenAt, p.FirstSent)
	Count(v, "asks", &p.Polls)
	v.time("ask", &p.PollAt, p.FirstSent)
	v.time("settled", &p.FinalAt, p.FirstSent)
	v.text("gate status", &p.Reported.Status)
	v.text("code", &p.Reported.Code)
	v.text("message", &p.Reported.Message)
	v.amountLike("got as asked", "got", &p.Reported.Amount, p.Amount)
	v.text("operation", &p.Reported.OperationID)
	v.text("provider", &p.Reported.ProviderPaymentID)
	v.text("request", &p.Reported.RequestID)
	Count(v, "flags", &p.Flags)
	v.tick("ended tick", &p.EndedTick)
	v.tick("not seen tick", &p.NotSeen)
	v.time("lost since", &p.LostSince, p.FirstSent)
	Count(v, "accepted attempt", &p.AcceptedAttempt)
	v.flag("may have left", &p.MayHaveLeft)
	v.bar("bar", &p.Bar)
	Count(v, "closed", &p.Closed)
	Count(v, "outcomes", &p.Outcomes)
	v.Texts("words", &p.OddStatuses)
	v.operations("paid", &p.Paid)
	v.text("second", &p.Second)
	v.text("field", &p.Field)
	v.time("polled soon", &p.PolledSoonAt, p.FirstSent)
	Count(v, "resolved as", &p.Resolution.As)
	v.text("resolved by", &p.Resolution.By)
	v.time("resolved at", &p.Resolution.At, p.FirstSent)
	v.text("reason", &p.Resolution.Reason)
	Count(v, "dropped", &p.Dropped)
	v.time("heard", &p.ReportedAt, p.FirstSent)
	v.time("clarify", &p.ClarifySince, p.FirstSent)
}

// eventFields is an event of a payout without its key: the payout's gate and amount
// are not repeated.
func eventFields(v *Fields, ev *payout.Event, gate string, asked payout.Amount) {
	Count(v, "attempt", &ev.Attempt)
	Count(v, "tries", &ev.Tries)
	Count(v, "owner", &ev.Owner)
	Count(v, "batch", &ev.Batch)
	v.textLike("gate", &ev.Host, gate)
	Count(v, "epoch", &ev.Epoch)
	Count(v, "outcome", &ev.Outcome)
	Count(v, "match", &ev.Match)
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
	Count(v, "run", &ev.Run)
}

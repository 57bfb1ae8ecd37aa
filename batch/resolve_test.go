package batch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/gate/gatesim"
	"masspay/payout"
	"masspay/store"
	"masspay/store/storetest"
)

// Whether a person may say that a payout was paid, was not, or was seen: what a person
// says wrongly costs money, so that each line here is a payment that is not made twice.
func TestMayResolve(t *testing.T) {
	t.Parallel()
	const (
		quiet = 15 * time.Minute
		boot  = 7
	)
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	tick := payout.Tick{Boot: boot, At: 100 * time.Hour}
	// unknown is a payout whose attempt ended so long ago, by both clocks.
	unknown := func(ago time.Duration) payout.Payout {
		p := payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "sbp-p2p", payout.Amount{Minor: 100, Currency: "KGS"})
		p.State, p.Attempt, p.Tries, p.Host, p.MayHaveLeft, p.Doubted = payout.StateUnknown, 1, 1, "https://gate.example.com:443", true, true
		p.Flags = payout.WasDoubted
		p.EndedAt, p.EndedTick = now.Add(-ago), payout.Tick{Boot: boot, At: tick.At - ago}
		return p
	}
	with := func(p payout.Payout, change func(p *payout.Payout)) payout.Payout { change(&p); return p }
	day := 25 * time.Hour
	accepted := func(heard time.Duration) payout.Payout {
		return with(unknown(2*day), func(p *payout.Payout) {
			p.State, p.AcceptedAttempt, p.ReportedAt, p.EndedTick = payout.StateAccepted, 1, now.Add(-heard), payout.Tick{}
		})
	}
	// unproved is a payout that was not sent, of which the gate reports a payment without
	// saying whose; epoch says that a lost store may have sent it.
	unproved := func(epoch uint64) payout.Payout {
		return with(unknown(2*day), func(p *payout.Payout) {
			p.State, p.Attempt, p.Tries, p.MayHaveLeft, p.Doubted = payout.StateNew, 0, 0, false, false
			p.Flags, p.Field, p.Epoch = payout.Unproved, payout.FieldCustomer, epoch
		})
	}
	notSeen, gone := batch.PollAnswer{NotSeen: true}, batch.PollAnswer{Unreachable: "connection refused"}
	const paid, notPaid, seen = payout.StatePaid, payout.StateDeclined, payout.State(0)
	for _, tt := range []struct {
		name  string
		as    payout.State
		p     payout.Payout
		heard batch.PollAnswer
		early bool   // with --age-anyway
		want  string // part of the refusal; empty: the person may
	}{
		{"unknown, not seen, a day old", notPaid, unknown(day), notSeen, false, ""},
		{"not a day old", notPaid, unknown(time.Hour), notSeen, false, "less than a day old"},
		{"not a day old, said so", notPaid, unknown(time.Hour), notSeen, true, ""},
		{"within the quiet period, said so", notPaid, unknown(time.Minute), notSeen, true, "quiet period"},
		{"the wall clock was set a day ahead", notPaid, with(unknown(time.Minute), func(p *payout.Payout) { p.EndedAt = now.Add(-day) }), notSeen, true, "quiet period"},
		{"the wall clock was set back", notPaid, with(unknown(day), func(p *payout.Payout) { p.EndedAt = now.Add(day) }), notSeen, false, ""},
		{"the wall clock was set back, and the machine restarted", notPaid, with(unknown(day), func(p *payout.Payout) { p.EndedAt, p.EndedTick.Boot = now.Add(day), boot-1 }), notSeen, false, ""},
		{"unreachable, a day old", notPaid, unknown(day), gone, false, ""},
		{"the gate answers and does not say", notPaid, unknown(day), batch.PollAnswer{Undecided: "HTTP 500"}, true, "did not say"},
		{"the gate knows it", notPaid, with(unknown(day), func(p *payout.Payout) { p.State, p.Reported.Status = payout.StateAccepted, "processing" }), batch.PollAnswer{}, true, "has not decided (processing)"},
		{"the gate has just said that it is paid", notPaid, unknown(day), batch.PollAnswer{Outcome: payout.StatePaid}, true, "cannot be not paid"},
		{"accepted, unreachable for a day", notPaid, accepted(day), gone, false, ""},
		{"accepted, heard an hour ago", notPaid, accepted(time.Hour), gone, true, "heard less than a day ago"},
		{"accepted and ended by the gate", notPaid, with(accepted(time.Hour), func(p *payout.Payout) { p.Flags |= payout.Ended; p.Reported.Status = "expired" }), batch.PollAnswer{}, false, ""},
		{"ended, and then the gate does not say", notPaid, with(accepted(time.Hour), func(p *payout.Payout) { p.Flags |= payout.Ended }), batch.PollAnswer{Undecided: "HTTP 500"}, false, "did not say"},
		{"a strange word, and processing after it", notPaid, with(accepted(time.Hour), func(p *payout.Payout) {
			p.Flags |= payout.OddStatus
			p.OddStatuses, p.Reported.Status = []string{"frozen"}, "processing"
		}), batch.PollAnswer{}, true, "has not decided (processing)"},
		{"a strange word is the last", notPaid, with(accepted(day), func(p *payout.Payout) {
			p.Flags |= payout.OddStatus
			p.OddStatuses, p.Reported.Status = []string{"frozen"}, "frozen"
		}), batch.PollAnswer{}, false, ""},
		{"another's payment, never sent", notPaid, with(unknown(0), func(p *payout.Payout) {
			p.State, p.Tries, p.MayHaveLeft, p.Flags, p.Field = payout.StateNew, 0, false, payout.NotOurs, "customer.id"
		}), batch.PollAnswer{Undecided: "HTTP 500"}, false, ""},
		{"another's payment, and ours was accepted", notPaid, with(accepted(time.Hour), func(p *payout.Payout) { p.Flags |= payout.NotOurs }), batch.PollAnswer{}, true, "has not decided"},
		{"another's payment is not this row's", paid, with(unknown(day), func(p *payout.Payout) { p.Flags |= payout.NotOurs }), batch.PollAnswer{}, false, "was not paid"},
		{"in a restored copy, a payment that may be the lost store's", notPaid, unproved(7), batch.PollAnswer{Outcome: payout.StatePaid}, true, "the lost store may have sent it"},
		{"in a restored copy, a person knows that it is the lost store's", paid, unproved(7), batch.PollAnswer{Outcome: payout.StatePaid}, false, ""},
		{"in a restored copy, the gate works on what may be the lost store's", notPaid, unproved(7), batch.PollAnswer{}, true, "may pay it yet"},
		{"in a restored copy, what may be the lost store's was declined", notPaid, unproved(7), batch.PollAnswer{Outcome: payout.StateDeclined}, false, ""},
		{"in a restored copy, what differs is another's", notPaid, with(unproved(7), func(p *payout.Payout) { p.Flags |= payout.NotOurs }), batch.PollAnswer{Outcome: payout.StatePaid}, false, ""},
		{"in no copy, what the gate has is another's", notPaid, unproved(0), batch.PollAnswer{Outcome: payout.StatePaid}, false, ""},
		{"in no copy, another's payment is not this row's", paid, unproved(0), batch.PollAnswer{Outcome: payout.StatePaid}, false, "was not paid"},
		{"paid, as the person knows", paid, unknown(0), notSeen, false, ""},
		{"sending", notPaid, with(unknown(day), func(p *payout.Payout) { p.State = payout.StateSending }), notSeen, true, "is sending it"},
		{"never sent", notPaid, with(unknown(day), func(p *payout.Payout) {
			p.State, p.Tries, p.MayHaveLeft, p.Doubted, p.Flags = payout.StateNew, 0, false, false, 0
		}), notSeen, true, "no request for it is open"},
		{"not seen twice: the next run would send it", notPaid, with(unknown(day), func(p *payout.Payout) { p.State, p.Doubted = payout.StateNew, false }), notSeen, false, ""},
		{"not seen twice, an hour ago", notPaid, with(unknown(time.Hour), func(p *payout.Payout) { p.State, p.Doubted = payout.StateNew, false }), notSeen, false, "less than a day old"},
		{"not seen twice, an hour ago, said so", notPaid, with(unknown(time.Hour), func(p *payout.Payout) { p.State, p.Doubted = payout.StateNew, false }), notSeen, true, ""},
		{"not seen twice, and said to be paid", paid, with(unknown(time.Hour), func(p *payout.Payout) { p.State, p.Doubted = payout.StateNew, false }), notSeen, false, "it was not paid"},
		{"freed, and the wall clock was set ahead", notPaid, with(unknown(17*time.Minute), func(p *payout.Payout) {
			p.State, p.Doubted, p.EndedAt = payout.StateNew, false, now.Add(-2*day)
		}), notSeen, false, "less than a day old"},
		{"freed in a restored copy, never sent by it", notPaid, with(unknown(17*time.Minute), func(p *payout.Payout) {
			p.State, p.Tries, p.Attempt, p.MayHaveLeft, p.Doubted, p.Epoch = payout.StateNew, 0, 0, false, false, 7
		}), notSeen, false, "less than a day old"},
		{"accepted and ended, and the wall clock was set back", notPaid, with(accepted(time.Minute), func(p *payout.Payout) {
			p.Flags |= payout.Ended
			p.EndedAt, p.EndedTick, p.Reported.Status = now.Add(time.Hour), payout.Tick{}, "expired"
		}), batch.PollAnswer{}, true, "quiet period"},
		{"settled", notPaid, with(unknown(day), func(p *payout.Payout) { p.State = payout.StatePaid }), notSeen, true, "nothing to resolve"},
		{"paid with another amount", notPaid, with(unknown(day), func(p *payout.Payout) { p.State, p.Flags = payout.StatePaid, payout.AmountDiffers }), batch.PollAnswer{}, true, "cannot be not paid"},
		{"paid with another amount, seen", seen, with(unknown(day), func(p *payout.Payout) { p.State, p.Flags = payout.StatePaid, payout.AmountDiffers }), batch.PollAnswer{}, false, ""},
		{"nothing to see", seen, unknown(day), notSeen, false, "nothing to check"},
		{"seen is no outcome of another's payment", seen, with(unknown(day), func(p *payout.Payout) { p.Flags |= payout.NotOurs }), batch.PollAnswer{}, false, "no outcome"},
	} {
		r := batch.ResolveRequest{Key: tt.p.Key, As: tt.as, Batch: "0123456789ab", Person: "jan@desk", Reason: "r", AgeAnyway: tt.early}
		err := r.MayResolve(payout.History{Payout: tt.p}, tt.heard, quiet, now, tick)
		if tt.want == "" {
			require.NoError(t, err, tt.name)
			continue
		}
		var refused *batch.RefusedError
		require.ErrorAs(t, err, &refused, tt.name)
		require.Contains(t, refused.Why, tt.want, tt.name)
		require.NotEmpty(t, refused.Hint, tt.name)
	}
}

// In a restored copy, a payment that was reported once may be the lost store's, also when
// the gate cannot be reached now.
func TestMayResolveWhatALostStoreMayHaveSent(t *testing.T) {
	t.Parallel()
	p := payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "sbp-p2p", payout.Amount{Minor: 100, Currency: "KGS"})
	p.Flags, p.Field = payout.Unproved, payout.FieldCustomer
	reported := payout.Event{Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Match: payout.MatchMissing}
	rec := payout.History{Payout: p, Events: []payout.Event{reported}}
	may := func(as payout.State, restored bool) error {
		r := batch.ResolveRequest{Key: p.Key, As: as, Person: "jan@desk", Reason: "r", AgeAnyway: true, Restored: restored}
		return r.MayResolve(rec, batch.PollAnswer{Unreachable: "connection refused"}, time.Minute, time.Now(), payout.Tick{})
	}
	require.ErrorContains(t, may(payout.StateDeclined, true), "the lost store may have sent it")
	require.NoError(t, may(payout.StatePaid, true))
	require.NoError(t, may(payout.StateDeclined, false))
	require.ErrorContains(t, may(payout.StatePaid, false), "was not paid")
}

// What a person had found unpaid, and the gate reports as paid after all: the result says
// who decided it and why, and which row was paid instead.
func TestTheRowThatWasPaidInstead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gatesim.Config{})
	b := w.load(header + line("p-1", 1000, 20) + line("p-2", 1000, 21))
	claimed, err := storetest.Payouts(w.s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: w.api.URL}))
	require.NoError(t, err)
	c := claimed[0]
	apply := func(e payout.Event) payout.Payout {
		e.Key, e.At = c.Key, time.Now()
		changes, err := w.s.Apply(t.Context(), e)
		require.NoError(t, err)
		return changes[0].After
	}
	doubted := apply(payout.Event{Kind: payout.Doubtful, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: w.api.URL})
	r := batch.ResolveRequest{Key: c.Key, As: payout.StateDeclined, Person: "jan@desk", Reason: "the platform's support says so"}
	p, err := r.Apply(t.Context(), w.s, doubted)
	require.NoError(t, err)
	require.Equal(t, payout.StateDeclined, p.State)
	require.Equal(t, result.ActionNewID, result.Action(p))
	w.load(header + line("p-1b", 1000, 20) + line("p-3", 1000, 22) + line("p-4", 1001, 20))
	require.NotContains(t, w.result(b)[0]["result.note"], "instead")
	apply(payout.Event{Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Reported: payout.Reported{Status: "success", Code: "0", OperationID: "op-1"}})
	row := w.result(b)[0]
	require.Equal(t, result.StateCheck, row["result.state"])
	require.Equal(t, result.ActionCheck, row["result.action"])
	require.Contains(t, row["result.note"], "not paid by jan@desk")
	require.Contains(t, row["result.note"], "the platform's support says so")
	require.Contains(t, row["result.note"], "perhaps paid twice")
	require.Contains(t, row["result.note"], "perhaps paid instead: p-1b (open)")
}

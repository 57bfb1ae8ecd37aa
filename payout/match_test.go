package payout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whose payment is it? The whole table: each class of payouts by what a report says.
func TestMatchPayment(t *testing.T) {
	t.Parallel()
	row := Row{Customer: "c-1", Account: "996555123456", Since: t0.Add(-time.Hour)}
	accepted := in(StateAccepted)
	sending, doubt := in(StateSending), in(StateUnknown)
	freed := in(StateNew)
	freed.Tries, freed.MayHaveLeft, freed.Flags, freed.FirstSent = 1, true, WasDoubted, t0
	fresh := in(StateNew)
	taken, _ := Next(rules, in(StateSending), event(Taken, time.Second))
	suspected, _ := Next(rules, freed, Event{Key: key, Kind: Suspected, Epoch: 9, Since: t0.Add(-time.Hour), At: t0, Host: host})
	progressed, _ := Next(rules, in(StateSending), event(Progress, time.Second))
	full := Event{Kind: Final, Outcome: StatePaid, Customer: "c-1", Account: "996555123456", Reported: Reported{Amount: asked}, Made: t0}
	change := func(f func(*Event)) Event { e := full; f(&e); return e }
	bare := change(func(e *Event) { e.Customer, e.Account = "", "" })
	for _, tt := range []struct {
		name   string
		p      Payout
		report Event
		want   Match
		field  string
	}{
		{"accepted: another customer is not looked at", accepted, change(func(e *Event) { e.Customer = "c-2" }), MatchAllowed, ""},
		{"accepted: nothing said", accepted, Event{Kind: Progress}, MatchAllowed, ""},

		{"sending: all equal", sending, full, MatchProven, ""},
		{"sending: the page's callback, without account", sending, change(func(e *Event) { e.Account = "" }), MatchProven, ""},
		{"sending: neither", sending, bare, MatchAllowed, ""},
		{"sending: no date", sending, change(func(e *Event) { e.Made = time.Time{} }), MatchAllowed, ""},
		{"sending: another customer", sending, change(func(e *Event) { e.Customer = "c-2" }), MatchDiffers, FieldCustomer},
		{"sending: another account", sending, change(func(e *Event) { e.Account = "996555999999" }), MatchDiffers, FieldAccount},
		{"sending: a masked account", sending, change(func(e *Event) { e.Account, e.Customer = "996555***56", "" }), MatchAllowed, ""},
		{"sending: another amount", sending, change(func(e *Event) { e.Amount.Minor++ }), MatchDiffers, FieldAmount},
		{"sending: an unreadable amount", sending, change(func(e *Event) { e.Amount.Minor = -1 }), MatchDiffers, FieldAmount},
		{"sending: another currency", sending, change(func(e *Event) { e.Amount.Currency = "USD" }), MatchDiffers, FieldCurrency},
		{"sending: last year's", sending, change(func(e *Event) { e.Made = t0.AddDate(-1, 0, 0) }), MatchDiffers, FieldDate},
		{"sending: the gate's clock is hours behind", sending, change(func(e *Event) { e.Made = t0.Add(-5 * time.Hour) }), MatchProven, ""},
		{"sending: part of it", sending, change(func(e *Event) { e.Outcome, e.Amount.Minor = StatePartial, 500 }), MatchAllowed, ""},
		{"sending: more than part of it", sending, change(func(e *Event) { e.Outcome, e.Amount.Minor = StatePartial, asked.Minor+1 }), MatchDiffers, FieldAmount},
		{"in doubt: neither", doubt, bare, MatchAllowed, ""},
		{"in doubt and freed: neither", freed, bare, MatchAllowed, ""},
		{"in doubt and freed: another account", freed, change(func(e *Event) { e.Account = "996555999999" }), MatchDiffers, FieldAccount},
		{"a progress word is no acceptance", progressed, change(func(e *Event) { e.Customer = "c-2" }), MatchDiffers, FieldCustomer},

		{"new: all equal", fresh, full, MatchProven, ""},
		{"new: customer alone", fresh, change(func(e *Event) { e.Account = "" }), MatchProven, ""},
		{"new: account alone", fresh, change(func(e *Event) { e.Customer = "" }), MatchProven, ""},
		{"new: neither", fresh, bare, MatchMissing, FieldCustomer},
		{"new: no amount", fresh, change(func(e *Event) { e.Amount = Amount{} }), MatchMissing, FieldAmount},
		{"new: no date", fresh, change(func(e *Event) { e.Made = time.Time{} }), MatchMissing, FieldDate},
		{"new: another customer", fresh, change(func(e *Event) { e.Customer = "c-2" }), MatchDiffers, FieldCustomer},
		{"new: customer equal, account not", fresh, change(func(e *Event) { e.Account = "996555999999" }), MatchDiffers, FieldAccount},
		{"new: made before the load", fresh, change(func(e *Event) { e.Made = t0.Add(-2 * time.Hour) }), MatchDiffers, FieldDate},
		{"new: made a little before the load", fresh, change(func(e *Event) { e.Made = t0.Add(-time.Hour - 9*time.Minute) }), MatchProven, ""},
		{"new: part of it", fresh, change(func(e *Event) { e.Outcome, e.Amount.Minor = StatePartial, 500 }), MatchMissing, FieldAmount},
		{"taken before our first request: all equal", taken, full, MatchProven, ""},
		{"taken before our first request: neither", taken, bare, MatchMissing, FieldCustomer},
		{"taken before our first request: last month's", taken, change(func(e *Event) { e.Made = t0.AddDate(0, -1, 0) }), MatchDiffers, FieldDate},
		{"suspected after a restore: all equal", suspected, full, MatchProven, ""},
		{"suspected after a restore: neither, though it was in doubt before", suspected, bare, MatchMissing, FieldCustomer},
		{"suspected after a restore: made before the copy", suspected, change(func(e *Event) { e.Made = t0.Add(-30 * time.Hour) }), MatchDiffers, FieldDate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, field := MatchPayment(tt.p, row, tt.report)
			require.Equal(t, tt.want, m)
			require.Equal(t, tt.field, field)
		})
	}
	require.Equal(t, BasisPossible, progressed.Basis())
	own, _ := Next(rules, suspected, Event{Key: key, Kind: NotSeen, Source: FromStatus, At: t0.Add(time.Minute), Tick: tick(time.Minute), Applied: tick(time.Minute), Host: host})
	own, _ = Next(rules, own, Event{Key: key, Kind: NotSeen, Source: FromStatus, At: t0.Add(time.Hour), Tick: tick(time.Hour), Applied: tick(time.Hour), Host: host})
	require.Equal(t, StateUnknown, own.State, "it was suspected at no tick: the first answer began the period")
	own, _ = Next(rules, own, Event{Key: key, Kind: NotSeen, Source: FromStatus, At: t0.Add(2 * time.Hour), Tick: tick(2 * time.Hour), Applied: tick(2 * time.Hour), Host: host})
	require.Equal(t, StateNew, own.State)
	claim := event(Claimed, 3*time.Hour)
	claim.Attempt = own.Attempt + 1
	own, _ = Next(rules, own, claim)
	require.Equal(t, BasisPossible, own.Basis(), "our own request came after the restore")
}

// The comparison of two values: only whole values of one form can differ.
func TestCompareAccounts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cell, reported string
		want           likeness
	}{
		{"c-1", "c-1", equal},
		{"c-1", "c-2", different},
		{"c-1", "C-1", equal},
		{"c-1", "c-1 ", equal},
		{"996555123456", "996555123456", equal},
		{"996555123456", "+996 555 123456", equal},
		{"996555123456", "996555123457", different},
		{"996555123456", "555123456", unclear},
		{"996555123456", "996***456", unclear},
		{"4314220000000056", "431422XXXXXX0056", unclear},
		{"4314220000000056", "431422xxxxxx0056", unclear},
		{"4314220000000056", "######0056", unclear},
		{"4314220000000056", "....0056", unclear},
		{"1-23", "12-3", equal},
		{"a.b@x.kg", "ab@x.kg", different},
		{"GB33BUKB20201555555555", "GB33 BUKB 2020 1555 5555 55", equal},
		{"GB33BUKB20201555555555", "GB33 BUKB 2020 1555 5555 56", different},
		{"c-1", "someone-else", different},
		{"c-1", "12345", unclear},
		{"c-1", "", unclear},
		{"", "c-1", unclear},
	} {
		require.Equal(t, tt.want, compareAccounts(tt.cell, tt.reported), "%q, %q", tt.cell, tt.reported)
	}
}

// An id that we have given comes back as it is, or is another's.
func TestCompareIDs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cell, reported string
		want           likeness
	}{
		{"c-1", "c-1", equal},
		{"c-1", " c-1 ", equal},
		{"c-1", "C-1", unclear},
		{"c-1", "c-***", unclear},
		{"c-1", "", unclear},
		{"", "c-1", unclear},
		{"1001", "998", different},
		{"c-77", "1001", different},
		{"user-17", "user..18", different},
		{"xx-1", "xx-2", different},
	} {
		require.Equal(t, tt.want, compareIDs(tt.cell, tt.reported), "%q, %q", tt.cell, tt.reported)
	}
}

// A report that is not ours changes nothing, is shown, and keeps the row from being
// sent.
func TestAReportThatIsNotOurs(t *testing.T) {
	t.Parallel()
	for _, from := range States {
		for _, kind := range []Kind{Final, Progress, Taken, Unlisted, Lapsed} {
			for _, m := range []Match{MatchNone, MatchMissing, MatchDiffers} {
				e := event(kind, time.Minute)
				e.Source, e.Outcome, e.Match, e.Field = FromCallback, StatePaid, m, FieldAccount
				before := in(from)
				p, effect := Next(rules, before, e)
				require.Equal(t, Changed, effect)
				require.Equal(t, from, p.State)
				require.Equal(t, before.Reported.Status, p.Reported.Status)
				require.True(t, p.NeedsCheck())
				require.Equal(t, FieldAccount, p.Field)
				require.False(t, p.Claimable(rules, host))
				again, effect := Next(rules, p, e)
				require.Equal(t, Ignored, effect, "a repeat")
				require.Equal(t, p, again)
				if from != StateNew {
					continue
				}
				p, _ = Next(rules, p, event(Claimed, time.Hour))
				require.Equal(t, StateNew, p.State, "never sent while that stands")
				seen := event(Resolved, time.Hour)
				seen.Outcome = 0
				q, _ := Next(rules, p, seen)
				require.False(t, q.NeedsCheck())
				require.True(t, q.Stuck())
				q, _ = Next(rules, q, event(Claimed, time.Hour))
				require.Equal(t, StateNew, q.State, "a person has seen it, and it is not ours all the same")
				paid := event(Resolved, time.Hour)
				paid.Outcome = StatePaid
				q, effect = Next(rules, p, paid)
				if m == MatchDiffers {
					require.Equal(t, Ignored, effect, "it is another's")
					require.Equal(t, StateNew, q.State)
				} else {
					require.Equal(t, StatePaid, q.State, "a person knows that a lost store sent it")
				}
				q, _ = Next(rules, p, event(Resolved, time.Hour))
				require.Equal(t, StateDeclined, q.State)
			}
		}
	}
}

func operation(id, provider string, made time.Duration, minor int64) Operation {
	return Operation{ID: id, Provider: provider, Made: t0.Add(made), Amount: Amount{minor, "KGS"}}
}

// What speaks of a second payment, and what is normal.
func TestPaidTwice(t *testing.T) {
	t.Parallel()
	full := asked.Minor
	for _, tt := range []struct {
		name    string
		reports [][]Operation
		want    bool
	}{
		{"one", [][]Operation{{operation("1", "a", 0, full)}}, false},
		{"a repeat", [][]Operation{{operation("1", "a", 0, full)}, {operation("1", "a", 0, full)}}, false},
		{"the id changes between reports", [][]Operation{{operation("1", "a", 0, full)}, {operation("1000000000000002", "a", 0, full)}}, false},
		{"the provider's id was empty at first", [][]Operation{{operation("1", "", 0, full)}, {operation("2", "a", 0, full)}}, false},
		{"another id and provider's id", [][]Operation{{operation("1", "a", 0, full)}, {operation("2", "b", 0, full)}}, true},
		{"another id and date", [][]Operation{{operation("1", "a", 0, full)}, {operation("2", "a", time.Hour, full)}}, true},
		{"two in one report", [][]Operation{{operation("1", "", 0, full), operation("2", "", 0, full)}}, true},
		{"one twice in one report", [][]Operation{{operation("1", "", 0, full), operation("1", "", 0, full)}}, false},
		{"a split", [][]Operation{{operation("1", "a", 0, full/2)}, {operation("2", "b", time.Minute, full/2)}}, false},
		{"a split in one report", [][]Operation{{operation("1", "a", 0, full/2), operation("2", "b", time.Minute, full-full/2)}}, false},
		{"a split, told one by one and then together", [][]Operation{
			{operation("1", "a", 0, full/2)}, {operation("2", "b", time.Minute, full/2)},
			{operation("1", "a", 0, full/2), operation("2", "b", time.Minute, full/2)},
		}, false},
		{"a split that is more than was asked for", [][]Operation{{operation("1", "a", 0, full/2)}, {operation("2", "b", time.Minute, full/2+1)}}, true},
		{"nothing said of amounts", [][]Operation{{{ID: "1"}}, {{ID: "2"}}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := in(StateAccepted)
			for i, ops := range tt.reports {
				e := verdictOf(StatePaid, time.Duration(i)*time.Minute)
				e.Operations = ops
				p, _ = Next(rules, p, e)
			}
			require.Equal(t, StatePaid, p.State)
			require.Equal(t, tt.want, p.NeedsCheck())
			require.Equal(t, tt.want, p.Second != "")
			// The same told by words of progress, before any outcome and after one.
			for _, p := range []Payout{in(StateAccepted), in(StatePaid)} {
				for i, ops := range tt.reports {
					e := event(Progress, time.Duration(i)*time.Minute)
					e.Operations = ops
					p, _ = Next(rules, p, e)
				}
				require.Equal(t, tt.want, p.NeedsCheck())
			}
		})
	}
}

// Two accepted attempts are two payments as far as anybody knows.
func TestTwoAcceptedAttempts(t *testing.T) {
	t.Parallel()
	second := in(StateSending)
	second.Attempt, second.MayHaveLeft, second.Flags = 2, true, WasDoubted
	of := func(attempt int) Event {
		e := event(Accepted, time.Minute)
		e.Attempt, e.RequestID = attempt, "request"
		return e
	}
	p, _ := Next(rules, second, of(2))
	require.False(t, p.NeedsCheck())
	p, effect := Next(rules, p, of(1))
	require.Equal(t, Conflicting, effect)
	require.True(t, p.Flags.has(PaidTwice))

	p, _ = Next(rules, second, verdictOf(StatePaid, time.Minute))
	p, effect = Next(rules, p, of(1))
	require.Equal(t, Conflicting, effect, "the late acceptance of attempt 1, after an outcome during attempt 2")
	require.Equal(t, StatePaid, p.State)
	require.True(t, p.NeedsCheck())

	p, _ = Next(rules, second, of(1))
	require.Equal(t, StateAccepted, p.State)
	require.False(t, p.NeedsCheck())
	p, _ = Next(rules, p, of(2))
	require.True(t, p.NeedsCheck())
}

// Statuses that are not listed, and those that reverse a payment, are for a person,
// each once.
func TestUnlistedStatuses(t *testing.T) {
	t.Parallel()
	word := func(w string, at time.Duration) Event {
		e := event(Unlisted, at)
		e.Status = w
		return e
	}
	for _, from := range []State{StateSending, StateUnknown, StateAccepted, StatePaid, StatePartial, StateDeclined, StateReturned} {
		p, effect := Next(rules, in(from), word("refunded", time.Minute))
		require.Equal(t, Changed, effect, from)
		require.True(t, p.NeedsCheck())
		require.False(t, p.Waiting())
		require.Equal(t, "refunded", p.Reported.Status)
		require.Equal(t, from.Final(), p.State.Final())
		seen := event(Resolved, time.Hour)
		seen.Outcome = 0
		p, effect = Next(rules, p, seen)
		require.Equal(t, Changed, effect)
		require.False(t, p.NeedsCheck())
		q, effect := Next(rules, p, word("refunded", 2*time.Hour))
		require.Equal(t, Ignored, effect, "a repeat does not open it again")
		require.False(t, q.NeedsCheck())
		q, effect = Next(rules, p, word("chargeback", 2*time.Hour))
		require.Equal(t, Changed, effect)
		require.True(t, q.NeedsCheck(), "another word does")
	}
	p, _ := Next(rules, in(StateAccepted), word("strange", time.Minute))
	p, _ = Next(rules, p, verdictOf(StatePaid, time.Hour))
	require.Equal(t, StatePaid, p.State)
	require.True(t, p.NeedsCheck(), "no one has seen the word yet")
}

func TestLapsed(t *testing.T) {
	t.Parallel()
	expired := event(Lapsed, time.Minute)
	expired.Status = "expired"
	for _, from := range []State{StateSending, StateUnknown, StateAccepted} {
		p, _ := Next(rules, in(from), expired)
		require.Equal(t, StateAccepted, p.State)
		require.False(t, p.NeedsCheck())
		require.True(t, p.Stuck())
		require.False(t, p.Waiting(), "no one waits for it")
		p, _ = Next(rules, p, verdictOf(StatePaid, time.Hour))
		require.Equal(t, StatePaid, p.State)
		require.False(t, p.NeedsCheck())
	}
	for _, from := range []State{StatePaid, StatePartial, StateReturned} {
		p, _ := Next(rules, in(from), expired)
		require.Equal(t, from, p.State)
		require.True(t, p.NeedsCheck())
	}
	for _, from := range []State{StateDeclined, StateRejected} {
		p, effect := Next(rules, in(from), expired)
		require.Equal(t, Ignored, effect)
		require.False(t, p.NeedsCheck())
	}
}

// Progress after an outcome says nothing.
func TestProgressAfterAnOutcome(t *testing.T) {
	t.Parallel()
	for _, from := range []State{StatePaid, StatePartial, StateDeclined, StateRejected, StateReturned} {
		p, effect := Next(rules, in(from), event(Progress, time.Minute))
		require.Equal(t, Ignored, effect)
		require.Equal(t, in(from), p)
	}
}

// The gate has the id, and does not know it: a person looks, and a payment that is
// ours clears it.
func TestVanished(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateSending), event(Taken, time.Second))
	p, _ = Next(rules, p, event(NotSeen, time.Minute))
	require.False(t, p.NeedsCheck())
	p, _ = Next(rules, p, event(NotSeen, 10*time.Minute))
	require.False(t, p.NeedsCheck(), "less than a quiet period apart")
	p, _ = Next(rules, p, event(NotSeen, 16*time.Minute))
	require.True(t, p.NeedsCheck())
	require.Equal(t, StateUnknown, p.State, "it frees nothing")
	ours := event(Progress, time.Hour)
	ours.Source, ours.Match = FromStatus, MatchProven
	p, _ = Next(rules, p, ours)
	require.False(t, p.NeedsCheck())
	require.Equal(t, StateAccepted, p.State)
}

// What a vanished process was sending is not freed while no one knows that it is
// dead.
func TestBar(t *testing.T) {
	t.Parallel()
	orphaned := event(Orphaned, 0)
	orphaned.Bar = Bar{Boot: 7, Machine: 5, Epoch: 3}
	p, _ := Next(rules, in(StateSending), orphaned)
	for at := time.Minute; at < 5*time.Hour; at += 20 * time.Minute {
		p, _ = Next(rules, p, event(NotSeen, at))
		require.Equal(t, StateUnknown, p.State)
	}
	lifted := event(NotSeen, 6*time.Hour)
	lifted.Lifted = true
	p, _ = Next(rules, p, lifted)
	require.Equal(t, StateNew, p.State)
	require.Zero(t, p.Bar)
	b := orphaned.Bar
	require.False(t, b.Lifted(7, 5, 3), "the same boot")
	require.True(t, b.Lifted(8, 5, 3), "restarted")
	require.False(t, b.Lifted(8, 6, 3), "another machine")
	require.False(t, b.Lifted(8, 0, 3), "no one knows which machine")
	require.True(t, b.Lifted(7, 5, 4), "--ask-first")
	require.False(t, Bar{Epoch: 3}.Lifted(8, 5, 3))
}

// What a person decided stays, and what contradicts it is shown.
func TestResolved(t *testing.T) {
	t.Parallel()
	decide := func(from Payout, as State) Payout {
		e := event(Resolved, time.Hour)
		e.Outcome = as
		p, effect := Next(rules, from, e)
		require.Equal(t, Changed, effect)
		require.Equal(t, as, p.State)
		require.False(t, p.NeedsCheck())
		require.Equal(t, "jan@desk", p.Resolution.By)
		require.Equal(t, "asked the platform", p.Resolution.Reason)
		return p
	}
	_, effect := Next(rules, in(StateSending), event(Resolved, 0))
	require.Equal(t, Ignored, effect, "never while a process may be sending it")
	_, effect = Next(rules, in(StateNew), event(Resolved, 0))
	require.Equal(t, Ignored, effect)
	_, effect = Next(rules, in(StatePaid), event(Resolved, 0))
	require.Equal(t, Ignored, effect, "an outcome that no one polls")

	// What a request may have left for is not cancelled; given up, it is not sent again.
	freed := in(StateNew)
	freed.Attempt, freed.Tries, freed.Host, freed.MayHaveLeft, freed.Flags = 1, 1, "gate", true, WasDoubted
	e := event(Resolved, time.Hour)
	e.Outcome = StateDeclined
	given, effect := Next(rules, freed, e)
	require.Equal(t, Changed, effect)
	require.Equal(t, StateDeclined, given.State)
	require.Equal(t, StateDeclined, given.Resolution.As)
	_, effect = Next(rules, freed, event(Cancelled, time.Hour))
	require.Equal(t, Ignored, effect)
	_, effect = Next(rules, in(StateNew), e)
	require.Equal(t, Ignored, effect, "what was never in doubt is cancelled")

	// What the person has not seen: the gate has spoken since.
	looked := in(StateUnknown)
	now, _ := Next(rules, looked, event(Progress, 30*time.Minute))
	for from, version := range map[*Payout]uint64{&now: looked.Version(), &looked: now.Version()} {
		e := event(Resolved, time.Hour)
		e.Outcome, e.Version = StateDeclined, version
		_, effect = Next(rules, *from, e)
		require.Equal(t, Ignored, effect)
		e.Version = from.Version()
		_, effect = Next(rules, *from, e)
		require.Equal(t, Changed, effect)
	}

	later := looked
	later.ReportedAt = later.ReportedAt.Add(time.Second)
	require.NotEqual(t, looked.Version(), later.Version(), "also when it says the same again")

	notPaid := decide(in(StateUnknown), StateDeclined)
	for _, e := range []Event{verdictOf(StateDeclined, 2*time.Hour), verdictOf(StateRejected, 2*time.Hour), event(NotSeen, 2*time.Hour)} {
		p, _ := Next(rules, notPaid, e)
		require.False(t, p.NeedsCheck())
		require.Equal(t, StateDeclined, p.State)
	}
	late := verdictOf(StatePaid, 2*time.Hour)
	late.OperationID = "1000000000000001"
	p, effect := Next(rules, notPaid, late)
	require.Equal(t, Conflicting, effect)
	require.True(t, p.Flags.has(PaidTwice))
	require.True(t, p.NeedsCheck())
	require.Equal(t, StateDeclined, p.State)
	require.Equal(t, "asked the platform", p.Resolution.Reason)
	_, effect = Next(rules, p, late)
	require.Equal(t, Ignored, effect, "repeated for eleven days")
	seen := event(Resolved, 3*time.Hour)
	seen.Outcome, seen.Version = 0, notPaid.Version()
	_, effect = Next(rules, p, seen)
	require.Equal(t, Ignored, effect, "a check is not closed that the person has not seen")
	seen.Version = p.Version()
	_, effect = Next(rules, p, seen)
	require.Equal(t, Changed, effect)
	p, effect = Next(rules, notPaid, event(Progress, 2*time.Hour))
	require.Equal(t, Conflicting, effect, "the gate works on what a person said was not paid")
	require.True(t, p.NeedsCheck())

	paid := decide(in(StateAccepted), StatePaid)
	p, _ = Next(rules, paid, verdictOf(StatePaid, 2*time.Hour))
	require.False(t, p.NeedsCheck())
	p, _ = Next(rules, paid, verdictOf(StateDeclined, 2*time.Hour))
	require.True(t, p.NeedsCheck())
	p, _ = Next(rules, paid, verdictOf(StateReturned, 2*time.Hour))
	require.Equal(t, StateReturned, p.State)
}

// A check that a person has closed, and that another amount opens again, is an event:
// what it is would be explained by nothing else.
func TestAReopenedCheckIsKept(t *testing.T) {
	t.Parallel()
	p := in(StateAccepted)
	p.AcceptedAttempt = 1
	report := func(minor int64) {
		e := event(Progress, time.Hour)
		e.Source, e.Status, e.Amount = FromStatus, "processing", Amount{Minor: minor, Currency: p.Amount.Currency}
		e.Match = MatchAllowed
		var effect Effect
		p, effect = Next(rules, p, e)
		require.Equal(t, Changed, effect)
		require.True(t, p.NeedsCheck())
	}
	report(p.Amount.Minor + 1)
	seen := event(Resolved, time.Hour)
	seen.Outcome = 0
	p, _ = Next(rules, p, seen)
	require.False(t, p.NeedsCheck())
	report(p.Amount.Minor + 2)
}

// A contradiction that a person has seen stays closed when it is repeated.
func TestARepeatedContradictionIsQuiet(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateAccepted), verdictOf(StatePaid, 0))
	p, effect := Next(rules, p, verdictOf(StateDeclined, time.Minute))
	require.Equal(t, Conflicting, effect)
	seen := event(Resolved, time.Hour)
	seen.Outcome = 0
	p, _ = Next(rules, p, seen)
	p, effect = Next(rules, p, verdictOf(StateDeclined, 2*time.Hour))
	require.Equal(t, Ignored, effect)
	require.False(t, p.NeedsCheck())
	p, effect = Next(rules, p, verdictOf(StateRejected, 3*time.Hour))
	require.Equal(t, Conflicting, effect, "another one")
	require.True(t, p.NeedsCheck())
}

func TestPollDue(t *testing.T) {
	t.Parallel()
	p := in(StateAccepted)
	p.PollAt = t0.Add(10 * time.Minute)
	p, effect := Next(rules, p, event(PollDue, time.Minute))
	require.Equal(t, Noted, effect)
	require.Equal(t, t0.Add(time.Minute), p.PollAt)
	p.PollAt = t0.Add(10 * time.Minute)
	_, effect = Next(rules, p, event(PollDue, time.Minute+14*time.Second))
	require.Equal(t, Ignored, effect, "at most once in status_after")
	_, effect = Next(rules, in(StateNew), event(PollDue, time.Minute))
	require.Equal(t, Ignored, effect)
}

func TestGateIdentity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"https://gate.example", "https://gate.example"},
		{"https://GATE.Example:443/", "https://gate.example"},
		{"HTTPS://gate.example:8443/v3/", "https://gate.example:8443/v3"},
		{"http://127.0.0.1:80", "http://127.0.0.1"},
		{"http://[::1]:9090", "http://[::1]:9090"},
		{"https://[2001:DB8::1]/", "https://[2001:db8::1]"},
		{"https://gate.example/A%2Fb", "https://gate.example/A%2Fb"},
	} {
		got, err := GateIdentity(tt.url)
		require.NoError(t, err, tt.url)
		require.Equal(t, tt.want, got)
	}
	for _, bad := range []string{"", "gate.example", "ftp://gate.example", "https://user:secret@gate.example", "https://gate.example?x=1", "https:gate.example", "https://:443"} {
		_, err := GateIdentity(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestSameGate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://gate.example", "https://gate.example", true},
		{"https://gate.example", "http://gate.example", false},
		{"https://gate.example", "https://gate.example/v3", false},
		{"https://gate.example", "https://gate.example:8443", false},
		{"gate.example", "https://gate.example/v3", true},
		{"gate.example", "http://gate.example", true},
		{"Gate.Example:443", "https://gate.example", true},
		{"gate.example:8443", "https://gate.example", false},
		{"gate.example:8443", "https://gate.example:8443", true},
		{"gate.example", "https://gate.example:8443", false},
		{"gate.example", "other.example", false},
		{"https://old.example", "https://new.example", true},
		{"old.example", "https://new.example", true},
		{"https://old.example", "https://else.example", false},
	} {
		r := Rules{Aliases: []string{"https://old.example", "https://new.example"}}
		require.Equal(t, tt.want, r.SameGate(tt.a, tt.b), "%s, %s", tt.a, tt.b)
		require.Equal(t, tt.want, r.SameGate(tt.b, tt.a), "%s, %s", tt.b, tt.a)
	}
	freed := in(StateNew)
	freed.Host, freed.Tries = "https://a.example", 1
	require.True(t, freed.Claimable(Rules{}, "https://b.example"), "surely turned away there")
	freed.MayHaveLeft = true
	require.False(t, freed.Claimable(Rules{}, "https://b.example"), "it may be a payment there")
	require.True(t, freed.Claimable(Rules{}, "https://a.example"))
	require.True(t, freed.Claimable(Rules{Aliases: []string{"https://a.example", "https://b.example"}}, "https://b.example"))
}

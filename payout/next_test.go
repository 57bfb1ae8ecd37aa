package payout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	t0    = time.Date(2026, 11, 2, 2, 15, 0, 0, time.UTC)
	rules = Rules{StatusAfter: 15 * time.Second, QuietPeriod: 15 * time.Minute}
	key   = Key{ProjectID: 1234, PaymentID: "p1"}
	asked = Amount{Minor: 100000, Currency: "KGS"}
)

const host = "gate.example"

// in returns a payout in a state, on the shortest honest way there, with one
// attempt behind it or under way where the state has one.
func in(s State) Payout {
	p := New(key, "sbp-p2p", asked)
	p.State = s
	switch s {
	case StateNew, StateCancelled:
		return p
	case StateSending:
		p.Attempt, p.Owner, p.Host, p.FirstSent = 1, 7, host, t0
		return p
	case StateUnknown:
		p.Attempt, p.Tries, p.Host, p.Doubted, p.MayHaveLeft, p.Flags, p.FirstSent, p.EndedAt = 1, 1, host, true, true, WasDoubted, t0, t0
		p.EndedTick = tick(0)
		return p
	}
	p.Attempt, p.Tries, p.Host, p.Seen, p.AcceptedAttempt, p.FirstSent, p.EndedAt = 1, 1, host, true, 1, t0, t0
	return p
}

// tick is a moment on the clock that cannot be set.
func tick(at time.Duration) Tick { return Tick{Boot: 1, At: at} }

func event(k Kind, at time.Duration) Event {
	e := Event{Key: key, Kind: k, At: t0.Add(at), Tick: tick(at), Applied: tick(at), Source: FromRun, Attempt: 1, Tries: 1, Owner: 7, Host: host}
	switch k {
	case Final, Progress, Unlisted, Lapsed:
		e.Source, e.Attempt, e.Tries, e.Match, e.Status = FromCallback, 0, 0, MatchAllowed, "some word"
	case PollDue:
		e.Source, e.Attempt, e.Tries = FromCallback, 0, 0
	case Resolved:
		e.Source, e.Attempt, e.Tries, e.Outcome, e.Person, e.Reason = FromPerson, 0, 0, StateDeclined, "jan@desk", "asked the platform"
	case NotSeen, Silent:
		e.Source, e.Attempt, e.Tries = FromStatus, 0, 0
	case Orphaned:
		e.Source = FromStore
	case Released:
		e.Tries = 0
	case Suspected:
		e.Source, e.Epoch = FromStore, 9
	}
	return e
}

func verdictOf(s State, at time.Duration) Event {
	e := event(Final, at)
	e.Outcome, e.Status, e.Amount = s, s.String(), asked
	return e
}

// pairs is the whole table: from every state, by every kind of event, to which
// state. A kind that is missing from a row leaves the state alone.
var pairs = map[State]map[Kind]State{
	StateNew: {
		Claimed: StateSending, Cancelled: StateCancelled, Suspected: StateUnknown,
		Accepted: StateAccepted, Progress: StateAccepted, Unlisted: StateAccepted, Lapsed: StateAccepted, Taken: StateUnknown,
	},
	StateSending: {
		Released: StateNew, Unsent: StateNew, Refused: StateRejected, Doubtful: StateUnknown, Orphaned: StateUnknown,
		Accepted: StateAccepted, Progress: StateAccepted, Unlisted: StateAccepted, Lapsed: StateAccepted, Taken: StateUnknown,
	},
	StateUnknown:   {Accepted: StateAccepted, Progress: StateAccepted, Unlisted: StateAccepted, Lapsed: StateAccepted, Resolved: StateDeclined},
	StateAccepted:  {Resolved: StateDeclined},
	StatePaid:      {},
	StatePartial:   {},
	StateDeclined:  {},
	StateRejected:  {},
	StateReturned:  {},
	StateCancelled: {Accepted: StateAccepted, Progress: StateAccepted, Unlisted: StateAccepted, Lapsed: StateAccepted, Taken: StateUnknown},
}

func TestNextAllPairs(t *testing.T) {
	t.Parallel()
	for _, from := range States {
		for _, kind := range Kinds {
			if kind == Final {
				continue
			}
			t.Run(from.String()+" by "+kind.String(), func(t *testing.T) {
				t.Parallel()
				want, ok := pairs[from][kind]
				if !ok {
					want = from
				}
				after, effect := Next(rules, in(from), event(kind, time.Minute))
				require.Equal(t, want, after.State)
				if want != from {
					require.Equal(t, Changed, effect)
				}
			})
		}
	}
}

// outcomes are the states that the gate can report as the end of a payout.
var outcomes = []State{StatePaid, StatePartial, StateDeclined, StateRejected, StateReturned}

func TestNextOutcomes(t *testing.T) {
	t.Parallel()
	for _, from := range States {
		for _, outcome := range outcomes {
			t.Run(from.String()+" by "+outcome.String(), func(t *testing.T) {
				t.Parallel()
				want, wantEffect := outcome, Changed
				switch {
				case from == outcome:
					wantEffect = Ignored
				case from.Final() && from != StateCancelled:
					if (from == StatePaid || from == StatePartial) && outcome == StateReturned {
						break
					}
					want, wantEffect = from, Conflicting
					if from == StateReturned && (outcome == StatePaid || outcome == StatePartial) {
						wantEffect = Changed // a late report, no contradiction
					}
				}
				after, effect := Next(rules, in(from), verdictOf(outcome, time.Minute))
				require.Equal(t, want, after.State)
				require.Equal(t, wantEffect, effect)
				require.Equal(t, wantEffect == Conflicting, after.Flags.has(Contradicted))
				require.Zero(t, after.Owner, "a final payout is held by no one")
				if effect != Ignored && effect != Conflicting && want != from {
					require.Zero(t, after.PollAt, "nothing is left to ask")
				}
			})
		}
	}
}

func TestNextRefusesOutcomesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, s := range []State{StateNew, StateSending, StateUnknown, StateAccepted, StateCancelled, 0, 99} {
		_, effect := Next(rules, in(StateAccepted), verdictOf(s, 0))
		require.Equal(t, Ignored, effect, s)
	}
}

// A story is told in every order: whatever comes early, late or twice, the end
// is the same.
func TestNextEveryOrderOfOneStory(t *testing.T) {
	t.Parallel()
	accepted := event(Accepted, time.Second)
	accepted.RequestID = "r1"
	progress := event(Progress, 2*time.Second)
	progress.Status = "processing"
	story := []Event{accepted, progress, verdictOf(StatePaid, 3*time.Second), verdictOf(StatePaid, 4*time.Second), verdictOf(StateReturned, 5*time.Second)}
	orders := 0
	permute(story, func(order []Event) {
		orders++
		p := in(StateSending)
		for _, e := range order {
			was := p
			p, _ = Next(rules, p, e)
			require.False(t, was.State.Final() && p.State.Open(), "reopened by %v in %v", e.Kind, kindsOf(order))
		}
		require.Equal(t, StateReturned, p.State, kindsOf(order))
		require.False(t, p.NeedsCheck(), kindsOf(order))
		require.Equal(t, "r1", p.Reported.RequestID, kindsOf(order))
		require.Zero(t, p.Owner)
	})
	require.Equal(t, 120, orders)
}

func permute(list []Event, visit func([]Event)) {
	var walk func(n int)
	walk = func(n int) {
		if n == len(list) {
			visit(list)
			return
		}
		for i := n; i < len(list); i++ {
			list[n], list[i] = list[i], list[n]
			walk(n + 1)
			list[n], list[i] = list[i], list[n]
		}
	}
	walk(0)
}

func kindsOf(events []Event) string {
	var s []string
	for _, e := range events {
		s = append(s, fmt.Sprint(e.Kind, " ", e.Outcome))
	}
	return fmt.Sprint(s)
}

func TestNextLateReportsAboutEarlierAttempts(t *testing.T) {
	t.Parallel()
	second := in(StateSending)
	second.Attempt = 2
	for _, tt := range []struct {
		name string
		kind Kind
		want State
	}{
		{"unsent frees nothing", Unsent, StateSending},
		{"released frees nothing", Released, StateSending},
		{"refused rejects nothing", Refused, StateSending},
		{"doubt is remembered", Doubtful, StateSending},
		{"acceptance is the gate's report", Accepted, StateAccepted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _ := Next(rules, second, event(tt.kind, time.Minute)) // of attempt 1
			require.Equal(t, tt.want, p.State)
			if tt.kind == Doubtful {
				own := event(Unsent, 2*time.Minute)
				own.Attempt = 2
				p, _ = Next(rules, p, own)
				require.Equal(t, StateUnknown, p.State, "attempt 1 may have been paid, so attempt 2 not sent frees nothing")
			}
		})
	}
}

func TestNextOrphanedOnlyByItsOwner(t *testing.T) {
	t.Parallel()
	e := event(Orphaned, time.Minute)
	e.Owner = 8
	p, effect := Next(rules, in(StateSending), e)
	require.Equal(t, StateSending, p.State)
	require.Equal(t, Ignored, effect)
}

func TestNotSeenFreesOnlyTwiceAndAfterTheQuietPeriod(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) Event { return event(NotSeen, d) }
	for _, tt := range []struct {
		name   string
		change func(*Payout)
		events []Event
		want   State
	}{
		{"twice, the second after the quiet period", nil, []Event{at(time.Minute), at(15 * time.Minute)}, StateNew},
		{"once, long after", nil, []Event{at(time.Hour)}, StateUnknown},
		{"twice, long after", nil, []Event{at(time.Hour), at(time.Hour + 15*time.Second)}, StateNew},
		{"twice in a moment, by two who ask", nil, []Event{at(time.Hour), at(time.Hour + time.Second)}, StateUnknown},
		{"twice, too early", nil, []Event{at(time.Minute), at(15*time.Minute - 1)}, StateUnknown},
		{"twice at one instant", nil, []Event{at(time.Hour), at(time.Hour)}, StateUnknown},
		{"after it was seen", func(p *Payout) { p.Seen = true }, []Event{at(time.Minute), at(time.Hour)}, StateUnknown},
		{"from another host", func(p *Payout) { p.Host = "other.example" }, []Event{at(time.Minute), at(time.Hour)}, StateUnknown},
		{"silence between frees nothing more", nil, []Event{at(time.Minute), event(Silent, time.Hour)}, StateUnknown},
		{"said before the attempt ended", func(p *Payout) { p.EndedTick = tick(time.Hour) }, []Event{at(time.Minute), at(80 * time.Minute)}, StateUnknown},
		{"the wall clock was set forward", nil, []Event{at(time.Minute), wall(at(2*time.Minute), time.Hour)}, StateUnknown},
		{"the wall clock was set back", nil, []Event{wall(at(time.Minute), -5*time.Hour), wall(at(16*time.Minute), -5*time.Hour)}, StateNew},
		{"the machine was restarted", nil, []Event{at(time.Minute), boot(at(time.Hour))}, StateUnknown},
		{"the machine was restarted, long ago", nil, []Event{at(time.Minute), boot(at(time.Hour)), boot(at(70 * time.Minute)), boot(at(80 * time.Minute))}, StateNew},
		{"the machine was restarted, and one word since", nil, []Event{at(time.Minute), boot(at(time.Hour)), boot(at(80 * time.Minute))}, StateUnknown},
		{"a question from before the attempt, on another clock", nil, []Event{late(boot(at(0)), time.Hour), boot(at(61 * time.Minute)), boot(at(62 * time.Minute))}, StateUnknown},
		{"the machine was restarted, a while ago", nil, []Event{at(time.Minute), boot(at(time.Hour)), boot(at(61 * time.Minute)), boot(at(74 * time.Minute))}, StateUnknown},
		{"a record of an older masspay, without a tick", func(p *Payout) { p.EndedTick = Tick{} }, []Event{at(time.Hour), at(74 * time.Minute)}, StateUnknown},
		{"the same, in the end", func(p *Payout) { p.EndedTick = Tick{} }, []Event{at(time.Hour), at(70 * time.Minute), at(75 * time.Minute)}, StateNew},
		{"a word without a tick", nil, []Event{at(time.Hour), {Kind: NotSeen, Key: key, Host: host, At: t0.Add(5 * time.Hour)}}, StateUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := in(StateUnknown)
			if tt.change != nil {
				tt.change(&p)
			}
			for _, e := range tt.events {
				p, _ = Next(rules, p, e)
			}
			require.Equal(t, tt.want, p.State)
		})
	}
}

// wall is an event as it is when someone has set the wall clock.
func wall(e Event, by time.Duration) Event { e.At = e.At.Add(by); return e }

// late is a word that was asked for long before it is applied.
func late(e Event, by time.Duration) Event { e.Applied.At += by; return e }

// boot is an event of another boot.
func boot(e Event) Event { e.Tick.Boot, e.Applied.Boot = 2, 2; return e }

func TestNotSeenStartsAnewWithANewAttempt(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateUnknown), event(NotSeen, time.Minute))
	p, _ = Next(rules, p, event(NotSeen, time.Hour))
	require.Equal(t, StateNew, p.State)
	require.False(t, p.Doubted)
	p, _ = Next(rules, p, event(Claimed, time.Hour))
	doubt := event(Doubtful, 61*time.Minute)
	doubt.Attempt = 2
	p, _ = Next(rules, p, doubt)
	p, _ = Next(rules, p, event(NotSeen, 80*time.Minute))
	require.Equal(t, StateUnknown, p.State, "one word about attempt 2 is one word")
	p, _ = Next(rules, p, event(NotSeen, 81*time.Minute))
	require.Equal(t, StateNew, p.State)
}

func TestSuspectedNeedsTheGateTwice(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateNew), event(Suspected, 0))
	require.Equal(t, StateUnknown, p.State)
	p, _ = Next(rules, p, event(NotSeen, time.Minute))
	require.Equal(t, StateUnknown, p.State)
	p, _ = Next(rules, p, event(NotSeen, 16*time.Minute))
	require.Equal(t, StateNew, p.State)
	require.EqualValues(t, 9, p.Epoch)
}

func TestTakenOnAFirstAttemptMustBeProved(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateSending), event(Taken, time.Second))
	require.True(t, p.Unproven)
	require.Equal(t, BasisNone, p.Basis())
	require.False(t, p.NeedsCheck(), "still open")
	for _, tt := range []struct {
		name  string
		match Match
		want  State
		check bool
	}{
		{"not compared", MatchNone, StateUnknown, true},
		{"not shown", MatchMissing, StateUnknown, true},
		{"ours", MatchProven, StatePaid, false},
		{"theirs", MatchDiffers, StateUnknown, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := verdictOf(StatePaid, time.Minute)
			e.Source, e.Match = FromStatus, tt.match
			q, _ := Next(rules, p, e)
			require.Equal(t, tt.want, q.State)
			require.Equal(t, tt.check, q.NeedsCheck())
		})
	}
	doubted, _ := Next(rules, in(StateUnknown), event(Taken, time.Second))
	require.False(t, doubted.Unproven, "our own doubted attempt may well be the payment")
}

func TestRefusedAfterDoubtIsNoRefusal(t *testing.T) {
	t.Parallel()
	p := in(StateSending)
	p.Doubted = true
	p, _ = Next(rules, p, event(Refused, time.Second))
	require.Equal(t, StateUnknown, p.State)
}

func TestAmountDiffers(t *testing.T) {
	t.Parallel()
	e := verdictOf(StatePaid, time.Second)
	e.Amount.Minor++
	p, _ := Next(rules, in(StateAccepted), e)
	require.True(t, p.NeedsCheck())
	part := verdictOf(StatePartial, time.Second)
	part.Amount.Minor /= 2
	p, _ = Next(rules, in(StateAccepted), part)
	require.False(t, p.NeedsCheck(), "a part is less by nature")
	part.Amount.Currency = "USD"
	p, _ = Next(rules, in(StateAccepted), part)
	require.True(t, p.NeedsCheck())
}

// What the gate surely turned away can be given up; what may have become a payment,
// or what someone must look at, cannot.
func TestCancelOnlyWhatCannotBeAPayment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Payout)
		want   State
	}{
		{"never tried", func(*Payout) {}, StateCancelled},
		{"turned away", func(p *Payout) { p.Tries, p.Attempt = 3, 2 }, StateCancelled},
		{"was in doubt", func(p *Payout) { p.Flags, p.MayHaveLeft = WasDoubted, true }, StateNew},
		{"may have left", func(p *Payout) { p.MayHaveLeft = true }, StateNew},
		{"was suspected", func(p *Payout) { p.Epoch = 3 }, StateNew},
		{"was seen by the gate", func(p *Payout) { p.Seen = true }, StateNew},
		{"the gate has another", func(p *Payout) { p.Flags = NotOurs }, StateNew},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := in(StateNew)
			tt.change(&p)
			p, _ = Next(rules, p, event(Cancelled, 0))
			require.Equal(t, tt.want, p.State)
		})
	}
}

func TestQuestionsComeAtDoublingIntervals(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateSending), event(Accepted, 0))
	want := []int{15, 30, 60, 120, 240, 480, 600, 600}
	now := time.Duration(0)
	for i, w := range want {
		require.Equal(t, time.Duration(w)*time.Second, p.PollAt.Sub(t0.Add(now)), "question %d", i)
		now = p.PollAt.Sub(t0)
		p, _ = Next(rules, p, event(Silent, now))
	}
}

func TestAQuestionComesWhenTheQuietPeriodEnds(t *testing.T) {
	t.Parallel()
	p := in(StateUnknown)
	p.Polls = 5
	p, _ = Next(rules, p, event(NotSeen, 14*time.Minute))
	require.Equal(t, t0.Add(15*time.Minute), p.PollAt)
}

// Random stories: whatever happens, the promises hold.
func TestNextPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := New(key, "sbp-p2p", asked)
		now := time.Duration(0)
		booted, doubted := Tick{Boot: 1}, time.Duration(0)
		denied := 0
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "pause"))
			e := event(rapid.SampledFrom(Kinds).Draw(t, "kind"), now)
			// Someone sets the wall clock, and now and then the machine is started
			// again; how much time has passed no one but the test knows.
			e.At = e.At.Add(time.Duration(rapid.Int64Range(-3, 3).Draw(t, "hours off")) * time.Hour)
			if rapid.IntRange(0, 9).Draw(t, "reboot") == 0 {
				booted = Tick{Boot: booted.Boot + 1, At: now}
			}
			e.Applied = Tick{Boot: booted.Boot, At: now - booted.At}
			e.Tick = e.Applied
			if e.Kind == NotSeen { // the question was put some time before
				e.Tick.At = max(0, e.Tick.At-time.Duration(rapid.Int64Range(0, int64(30*time.Minute)).Draw(t, "asked before")))
			}
			e.Attempt = rapid.IntRange(0, p.Attempt+1).Draw(t, "attempt")
			e.Outcome = rapid.SampledFrom(States).Draw(t, "outcome")
			e.Owner = rapid.SampledFrom([]uint64{7, 8}).Draw(t, "owner")
			e.Host = rapid.SampledFrom([]string{host, "other.example"}).Draw(t, "host")
			e.Match = rapid.SampledFrom([]Match{MatchNone, MatchProven, MatchAllowed, MatchAllowed, MatchMissing, MatchDiffers}).Draw(t, "match")
			if rapid.IntRange(0, 3).Draw(t, "bar") == 0 {
				e.Bar = Bar{Boot: 1, Machine: 1, Epoch: 1}
			}
			e.Lifted = rapid.Bool().Draw(t, "lifted")
			was := p
			p2, effect := Next(rules, p, e)
			p = p2
			if effect == Ignored {
				require.Equal(t, was, p)
			}
			if e.Kind == NotSeen && e.Host == was.Host {
				denied++
			} else if e.Kind == Claimed && p.State == StateSending && was.State == StateNew {
				denied = 0
			}
			outcome := was.State.Final() && was.State != StateCancelled
			require.False(t, outcome && p.State.Open(), "an outcome stays: %v by %v", was.State, e.Kind)
			if outcome && p.State != was.State && e.Kind != Resolved {
				require.Equal(t, StateReturned, p.State)
				require.Contains(t, []State{StatePaid, StatePartial}, was.State)
			}
			if e.Report() && !e.Match.Ours() {
				require.Equal(t, was.State, p.State, "a report that is not ours sets no outcome")
				require.Equal(t, was.Reported.Status, p.Reported.Status)
			}
			if was.OfAnother() && was.State == StateNew {
				require.NotEqual(t, StateSending, p.State, "the gate has it for another")
			}
			if was.Bar != (Bar{}) && p.State == StateNew {
				require.True(t, e.Lifted)
			}
			require.False(t, was.Seen && !p.Seen)
			require.False(t, p.Seen && p.State == StateNew, "what the gate acknowledged is never sent again")
			require.False(t, p.Doubted && p.State == StateNew, "what is in doubt is never sent again")
			if was.Doubted && p.State == StateNew {
				require.Equal(t, NotSeen, e.Kind)
				require.GreaterOrEqual(t, denied, 2)
				require.GreaterOrEqual(t, now-doubted, rules.QuietPeriod)
			}
			if p.State == StateUnknown && was.State != StateUnknown {
				doubted = now
			}
			require.Equal(t, p.State == StateSending, p.Owner != 0, "held while sending, and only then")
			require.True(t, p.State.Valid())
			if e.Source == FromRun && slices.Contains([]Kind{Unsent, Released, Refused}, e.Kind) && (was.State != StateSending || e.Attempt != was.Attempt) {
				require.Equal(t, was, p, "a late report about another attempt")
			}
		}
	})
}

func TestAWordThatIsNoPayoutIsNotAskedForAtOnce(t *testing.T) {
	t.Parallel()
	p := in(StateUnknown)
	p.Unproven = true
	e := event(Irrelevant, time.Minute)
	e.Source = FromStatus
	p, effect := Next(rules, p, e)
	require.Equal(t, Changed, effect)
	require.Equal(t, StateUnknown, p.State)
	require.True(t, p.NeedsCheck(), "the id belongs to something else")
	require.Equal(t, t0.Add(time.Minute+30*time.Second), p.PollAt)
	e.At = p.PollAt
	p, effect = Next(rules, p, e)
	require.Equal(t, Noted, effect)
	require.Equal(t, e.At.Add(time.Minute), p.PollAt)
}

func TestTakenAfterTheVerdictMustBeProved(t *testing.T) {
	t.Parallel()
	taken := event(Taken, 2*time.Second)
	taken.Source = FromCallback
	taken.Match = MatchAllowed
	p, effect := Next(rules, in(StatePaid), taken)
	require.Equal(t, Conflicting, effect)
	require.True(t, p.NeedsCheck())
	ours := verdictOf(StatePaid, time.Minute)
	ours.Source, ours.Match = FromStatus, MatchProven
	p, _ = Next(rules, p, ours)
	require.False(t, p.NeedsCheck())
	_, effect = Next(rules, p, taken)
	require.Equal(t, Ignored, effect, "repeated for eleven days, it changes nothing any more")
}

// The gate accepts, and tells by callback that the id was used before: the
// payment that it then speaks of may be another customer's.
func TestTakenByCallbackAfterAcceptanceMustBeProved(t *testing.T) {
	t.Parallel()
	p, _ := Next(rules, in(StateSending), event(Accepted, time.Second))
	taken := event(Taken, 2*time.Second)
	taken.Source, taken.Match = FromCallback, MatchAllowed
	p, _ = Next(rules, p, taken)
	require.Equal(t, StateAccepted, p.State)
	require.Equal(t, BasisNone, p.Basis())
	e := verdictOf(StatePaid, 3*time.Second)
	e.Match = MatchMissing // as MatchPayment says of a callback without customer and account
	p, _ = Next(rules, p, e)
	require.Equal(t, StateAccepted, p.State)
	require.True(t, p.NeedsCheck())
}

// The same promises for stories that the fuzzer writes: three bytes an event.
func FuzzNext(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 1, 0, 10, 5, 0, 10, 90, 0})
	f.Add([]byte{0, 0, 0, 5, 1, 0, 10, 200, 0, 10, 200, 0, 0, 0, 0, 6, 1, 1})
	f.Add([]byte{0, 0, 0, 7, 1, 1, 8, 3, 3, 8, 3, 4})
	f.Fuzz(func(t *testing.T, story []byte) {
		p := New(key, "sbp-p2p", asked)
		now, doubted := time.Duration(0), time.Duration(0)
		for ; len(story) >= 3; story = story[3:] {
			now += time.Duration(story[1]) * 10 * time.Second
			e := event(Kind(story[0]%uint8(len(Kinds)+2)), now)
			e.Attempt = max(p.Attempt-int(story[2]>>6)+1, 0)
			e.Outcome = State(story[2] % 16)
			e.Match, e.Lifted = Match(story[2]>>4&3)+MatchProven, story[2]&8 != 0
			was := p
			var effect Effect
			p, effect = Next(rules, p, e)
			if effect == Ignored {
				require.Equal(t, was, p)
			}
			outcome := was.State.Final() && was.State != StateCancelled
			require.False(t, outcome && p.State.Open())
			require.False(t, outcome && p.State != was.State && p.State != StateReturned && e.Kind != Resolved)
			require.False(t, was.Seen && !p.Seen)
			require.False(t, p.State == StateNew && (p.Seen || p.Doubted))
			require.False(t, was.Doubted && p.State == StateNew && (e.Kind != NotSeen || now-doubted < rules.QuietPeriod))
			require.Equal(t, p.State == StateSending, p.Owner != 0)
			require.True(t, p.State.Valid())
			if p.State == StateUnknown && was.State != StateUnknown {
				doubted = now
			}
		}
	})
}

// The platform's question is known from when it was first heard of until it waits no more.
func TestAQuestionOfThePlatform(t *testing.T) {
	t.Parallel()
	says := func(p Payout, status string, at time.Duration) Payout {
		e := event(Progress, at)
		e.Status = status
		p, _ = Next(rules, p, e)
		return p
	}
	p := in(StateAccepted)
	require.Zero(t, p.ClarifyBy())
	for _, word := range []string{"awaiting clarification", "awaiting_clarification"} {
		p = says(p, "processing", time.Minute)
		require.Equal(t, NoException, p.Exception())
		p = says(p, word, 2*time.Minute)
		require.Equal(t, t0.Add(2*time.Minute+ClarifyWithin), p.ClarifyBy())
		p = says(p, word, 9*time.Minute)
		require.Equal(t, t0.Add(2*time.Minute+ClarifyWithin), p.ClarifyBy(), "a repeat does not put it off")
		require.Equal(t, OpenException, p.Exception())
		require.False(t, p.NeedsCheck(), "nothing that is known of it is wrong")
		p, _ = Next(rules, p, event(Silent, 10*time.Minute))
		require.Equal(t, t0.Add(2*time.Minute+ClarifyWithin), p.ClarifyBy())
	}
	p, _ = Next(rules, p, verdictOf(StateDeclined, time.Hour))
	require.Zero(t, p.ClarifyBy())
	require.Zero(t, p.ClarifySince)
	require.Equal(t, NoException, p.Exception())
}

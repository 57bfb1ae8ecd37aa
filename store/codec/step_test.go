package codec

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// known is what a store would tell a step.
type known struct {
	tick     payout.Tick
	lifted   bool
	restored bool
	since    time.Time
}

var (
	loaded  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	columns = []string{"general.payment_id", payout.FieldAccount, payout.FieldCustomer}
	cells   = []string{"p-1", "996555123456", "c-1"}
)

func (k known) Tick() payout.Tick               { return k.tick }
func (k known) Lifted(payout.Bar) (bool, error) { return k.lifted, nil }
func (k known) Copied() (bool, time.Time, error) {
	return k.restored, k.since, nil
}

func (k known) Place(*payout.Payout) (store.Batch, []string, error) {
	return store.Batch{Columns: columns, LoadedAt: loaded}, cells, nil
}

func aRecord() *Record {
	p := payout.New(payout.Key{ProjectID: 1, PaymentID: "p-1"}, "sbp-p2p", payout.Amount{Minor: 500, Currency: "KGS"})
	p.Places = []payout.Place{{Batch: 1}}
	return &Record{Payout: p}
}

var stepRules = payout.Rules{StatusAfter: time.Minute, QuietPeriod: 15 * time.Minute}

// step makes one step, which must be taken.
func step(t *testing.T, r *Record, k known, e payout.Event) (payout.Event, store.Change) {
	t.Helper()
	e.Key = r.Key
	if e.At.IsZero() {
		e.At = loaded.Add(time.Hour)
	}
	change, err := r.Step(stepRules, &e, 7, k)
	require.NoError(t, err)
	return e, change
}

// doubtful makes a payout one of which a request may be under way.
func doubtful(t *testing.T, r *Record, k known) {
	t.Helper()
	step(t, r, k, payout.Event{Kind: payout.Claimed, Source: payout.FromRun, Attempt: 1, Owner: 3, Batch: 1, Host: "https://gate.example:443"})
	step(t, r, k, payout.Event{Kind: payout.Doubtful, Source: payout.FromRun, Attempt: 1, Tick: payout.Tick{Boot: 1, At: time.Second}})
	require.Equal(t, payout.StateUnknown, r.State)
}

// What a report is compared with: the row's customer and account, and the time since when a
// payment can be the row's, which in a restored store is the copy's last claim.
func TestOurSide(t *testing.T) {
	t.Parallel()
	copied := known{restored: true, since: loaded.Add(-48 * time.Hour)}
	row := payout.Row{Customer: "c-1", Account: "996555123456", Since: loaded}
	for name, tt := range map[string]struct {
		of   func(p *payout.Payout)
		in   known
		want payout.Row
	}{
		"nothing was sent": {func(*payout.Payout) {}, known{}, row},
		"nothing was sent, in a copy": {func(*payout.Payout) {}, copied,
			payout.Row{Customer: "c-1", Account: "996555123456", Since: copied.since, Restored: true}},
		"nothing was sent, in a copy that never claimed": {func(*payout.Payout) {}, known{restored: true},
			payout.Row{Customer: "c-1", Account: "996555123456", Since: loaded, Restored: true}},
		"a request may have left": {func(p *payout.Payout) { p.MayHaveLeft = true }, copied, row},
		"accepted":                {func(p *payout.Payout) { p.AcceptedAttempt = 1 }, copied, payout.Row{}},
		"of no file":              {func(p *payout.Payout) { p.Places = nil }, copied, payout.Row{}},
	} {
		r := aRecord()
		tt.of(&r.Payout)
		got, err := ourSide(&r.Payout, tt.in)
		require.NoError(t, err, name)
		require.Equal(t, tt.want, got, name)
	}
}

// A lost store paid the row before the copy was put in its place: its report is ours, by the
// time of the copy's last claim, although the file was loaded again later.
func TestAReportAboutWhatALostStoreSent(t *testing.T) {
	t.Parallel()
	made := loaded.Add(-30 * time.Hour)
	report := payout.Event{
		Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Made: made,
		Customer: "c-1", Account: "996555123456", Reported: payout.Reported{Status: "success", Amount: payout.Amount{Minor: 500, Currency: "KGS"}},
	}
	r := aRecord()
	e, _ := step(t, r, known{}, report)
	require.Equal(t, payout.MatchDiffers, e.Match)
	require.Equal(t, payout.FieldDate, e.Field)
	require.Equal(t, payout.StateNew, r.State)
	r = aRecord()
	e, _ = step(t, r, known{restored: true, since: loaded.Add(-10 * time.Hour)}, report)
	require.Equal(t, payout.MatchProven, e.Match, "a day's slack before the last claim")
	require.Equal(t, payout.StatePaid, r.State)
}

// A step says what the event came to: the run, the tick of a "not seen", a lifted bar, a conflict.
func TestAStepCompletesTheEvent(t *testing.T) {
	t.Parallel()
	k := known{tick: payout.Tick{Boot: 1, At: time.Hour}}
	r := aRecord()
	doubtful(t, r, k)
	asked := payout.Event{Kind: payout.NotSeen, Source: payout.FromStatus, Host: "https://gate.example:443", Lifted: true, Tick: payout.Tick{Boot: 1, At: 30 * time.Minute}}
	e, c := step(t, r, k, asked)
	require.Equal(t, k.tick, e.Applied)
	require.False(t, e.Lifted, "nothing barred it")
	require.Equal(t, uint64(7), e.Run)
	require.Equal(t, payout.Changed, c.Effect)
	later := payout.Tick{Boot: 1, At: 2 * time.Hour}
	asked.Applied, asked.Tick = later, payout.Tick{Boot: 1, At: 2*time.Hour - time.Second}
	e, _ = step(t, r, k, asked)
	require.Equal(t, later, e.Applied, "the store that applied it first said when")
	require.Equal(t, payout.StateNew, r.State, "not seen twice, a quiet period apart")

	r = aRecord()
	doubtful(t, r, k)
	_, c = step(t, r, k, payout.Event{Kind: payout.Silent, Source: payout.FromStatus, Host: "https://gate.example:443"})
	require.Equal(t, payout.Noted, c.Effect)
	require.Equal(t, 2, r.Events, "bookkeeping is no event")
	require.Equal(t, 1, r.Polls)

	barred := aRecord()
	step(t, barred, k, payout.Event{Kind: payout.Claimed, Source: payout.FromRun, Attempt: 1, Owner: 3, Batch: 1, Host: "https://gate.example:443"})
	step(t, barred, k, payout.Event{Kind: payout.Orphaned, Source: payout.FromStore, Owner: 3, Tick: payout.Tick{Boot: 1, At: time.Second}, Bar: payout.Bar{Machine: 5, Boot: 6}})
	asked.Lifted, asked.Applied = true, payout.Tick{}
	e, _ = step(t, barred, k, asked)
	require.False(t, e.Lifted, "whoever asks does not say what is lifted")
	asked.Tick.At += 10 * time.Minute
	_, _ = step(t, barred, k, asked)
	require.Equal(t, payout.StateUnknown, barred.State, "barred")
	asked.Tick.At += 10 * time.Minute
	e, _ = step(t, barred, known{tick: later, lifted: true}, asked)
	require.True(t, e.Lifted)
	require.Equal(t, payout.StateNew, barred.State)

	paid := aRecord()
	doubtful(t, paid, k)
	final := payout.Event{Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Reported: payout.Reported{Amount: paid.Amount}}
	e, _ = step(t, paid, k, final)
	require.False(t, e.Conflict)
	events := paid.Events
	final.Outcome = payout.StateDeclined
	e, c = step(t, paid, k, final)
	require.True(t, e.Conflict)
	require.Equal(t, payout.Conflicting, c.Effect)
	require.Equal(t, events+1, paid.Events)
	final.Outcome = payout.StatePaid
	_, _ = step(t, paid, k, final)
	require.Equal(t, events+1, paid.Events, "a repeat is no event")
}

// What the gate's text repeats of the row is masked before it is kept.
func TestAStepMasksTheGatesText(t *testing.T) {
	t.Parallel()
	r := aRecord()
	doubtful(t, r, known{})
	e, _ := step(t, r, known{}, payout.Event{
		Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StateDeclined, Reported: payout.Reported{Message: "no such account 996555123456", Amount: r.Amount},
	})
	require.NotContains(t, e.Message, "996555123456")
	events, err := r.History()
	require.NoError(t, err)
	require.NotContains(t, events[len(events)-1].Message, "996555123456")
}

// The events of a payout lead to what it is, and to nothing else.
func TestReplay(t *testing.T) {
	t.Parallel()
	r := aRecord()
	k := known{}
	doubtful(t, r, k)
	step(t, r, k, payout.Event{Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Reported: payout.Reported{Amount: r.Amount}})
	n, led, err := r.Replay()
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Zero(t, led, "to what it is")
	for name, change := range map[string]func(p *payout.Payout){
		"state":   func(p *payout.Payout) { p.State = payout.StateNew },
		"attempt": func(p *payout.Payout) { p.Attempt = 2 },
		"doubted": func(p *payout.Payout) { p.Doubted = false },
		"flags":   func(p *payout.Payout) { p.Flags |= payout.PaidTwice },
		"bar":     func(p *payout.Payout) { p.Bar.Machine = 5 },
	} {
		other := *r
		change(&other.Payout)
		_, led, err := other.Replay()
		require.NoError(t, err)
		require.Equal(t, payout.StatePaid, led, name)
		other.Old = true
		_, led, err = other.Replay()
		require.NoError(t, err)
		require.Zero(t, led, "what was written by other rules is not replayed")
	}
}

// Two reports are alike when all that the gate said is: only then is the second a repeat.
func TestEqualReports(t *testing.T) {
	t.Parallel()
	base := payout.Event{Kind: payout.Final, Source: payout.FromCallback, At: loaded, Made: loaded}
	repeat := base
	repeat.At, repeat.Number, repeat.Made = loaded.Add(time.Hour), 9, loaded.In(time.FixedZone("", 3600))
	require.True(t, EqualReports(base, repeat))
	seen := 0
	var differ func(v reflect.Value, path string)
	other := base
	differ = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				differ(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
			return
		}
		if path == ".At" || path == ".Number" {
			return
		}
		was := reflect.ValueOf(v.Interface())
		switch {
		case v.CanInt():
			v.SetInt(v.Int() + 1)
		case v.CanUint():
			v.SetUint(v.Uint() + 1)
		case v.Kind() == reflect.String:
			v.SetString("other")
		case v.Kind() == reflect.Bool:
			v.SetBool(!v.Bool())
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			v.Set(reflect.ValueOf(loaded.Add(time.Second)))
		}
		require.False(t, EqualReports(base, other), path)
		v.Set(was)
		require.True(t, EqualReports(base, other), path)
		seen++
	}
	differ(reflect.ValueOf(&other).Elem(), "")
	require.Greater(t, seen, 25)
}

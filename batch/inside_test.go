package batch

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/gate"
	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
)

// oneRow is a store that knows one row.
type oneRow struct {
	store.Store
	columns, cells []string
}

func (s oneRow) Row(context.Context, payout.Payout) (columns, cells []string, err error) {
	return s.columns, s.cells, nil
}

// cancelled is a store that listens to its context, and may fail.
type cancelled struct {
	oneRow
	fails error
}

func (s cancelled) Row(ctx context.Context, p payout.Payout) (columns, cells []string, err error) {
	if err := errors.Join(ctx.Err(), s.fails); err != nil {
		return nil, nil, err
	}
	return s.oneRow.Row(ctx, p)
}

// Whose payment is it, when the id was there before our first attempt?
func TestWhose(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 11, 2, 2, 15, 0, 0, time.UTC)
	asked := payout.Amount{Minor: 1000, Currency: "KGS"}
	ours := gate.Notice{Customer: "c-1", Account: "996555123456", Sum: asked, Made: sent.Add(time.Second)}
	for _, tt := range []struct {
		name         string
		change       func(*gate.Notice)
		ours, theirs bool
	}{
		{"all agrees", func(*gate.Notice) {}, true, false},
		{"a clock that is a little behind", func(n *gate.Notice) { n.Made = sent.Add(-5 * time.Minute) }, true, false},
		{"last month's, the same person and amount", func(n *gate.Notice) { n.Made = sent.AddDate(0, -1, 0) }, false, true},
		{"no date", func(n *gate.Notice) { n.Made = time.Time{} }, false, false},
		{"another customer", func(n *gate.Notice) { n.Customer = "c-2" }, false, true},
		{"another account", func(n *gate.Notice) { n.Account = "996555000000" }, false, true},
		{"a masked account", func(n *gate.Notice) { n.Account = "9965******56" }, true, false},
		{"another amount", func(n *gate.Notice) { n.Sum.Minor++ }, false, true},
		{"nothing to compare", func(n *gate.Notice) { n.Customer, n.Account = "", "" }, false, false},
		{"no amount", func(n *gate.Notice) { n.Sum = payout.Amount{} }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := ours
			tt.change(&n)
			row := oneRow{columns: []string{"customer.id", "account.number"}, cells: []string{"c-1", "996555123456"}}
			o, th, err := Whose(t.Context(), row, payout.Payout{Unproven: true, Amount: asked, FirstSent: sent}, n)
			require.NoError(t, err)
			require.Equal(t, tt.ours, o)
			require.Equal(t, tt.theirs, th)
		})
	}
	// After an attempt in doubt the clocks may differ by hours, not by a month.
	doubted := payout.Payout{Flags: payout.WasDoubted, Amount: asked, FirstSent: sent}
	for made, theirs := range map[time.Time]bool{sent.Add(-5 * time.Hour): false, sent.AddDate(0, -1, 0): true} {
		n := ours
		n.Made = made
		_, th, err := Whose(t.Context(), oneRow{columns: []string{"customer.id"}, cells: []string{"c-1"}}, doubted, n)
		require.NoError(t, err)
		require.Equal(t, theirs, th)
	}
	// A row that cannot be read, or not any more, is no proof of anything.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, th, err := Whose(gone, cancelled{oneRow: oneRow{columns: []string{"customer.id"}, cells: []string{"c-2"}}}, doubted, ours)
	require.NoError(t, err)
	require.True(t, th, "the run that asked is over; its answer still counts whole")
	_, _, err = Whose(t.Context(), cancelled{fails: store.ErrBusy}, doubted, ours)
	require.ErrorIs(t, err, store.ErrBusy)
	o, th, err := Whose(t.Context(), nil, payout.Payout{}, ours)
	require.NoError(t, err)
	require.False(t, o || th, "nobody asks about a payout that is not in question")
}

func TestMessagesOfTheGateDoNotRepeatTheRow(t *testing.T) {
	t.Parallel()
	c := store.Claimed{
		Columns: []string{"general.payment_id", "customer.first_name", "customer.last_name", "account.number"},
		Cells:   []string{"p-1", "Aibek", "Asanov", "1234567"},
	}
	got := withoutCells("no funds for Aibek Asanov, account 1234567, id p-1", c)
	require.Equal(t, "no funds for A***k A***v, account 1***7, id p-1", got)
}

// In a row whose cells have shifted, personal values stand under columns that
// are not personal; they are masked all the same.
func TestShiftedRowsAreMasked(t *testing.T) {
	t.Parallel()
	for column, values := range map[string][]string{
		gate.ColCurrency:  {"996555123456", "Beishenalieva"},
		gate.ColOperation: {"Beishenalieva", "996555123456", "a@example.com", "Aibek Asanov"},
		gate.ColMethod:    {"996555123456", "a@example.com"},
		gate.ColAmount:    {"Asanov", "a@example.com"},
		gate.ColProject:   {"996555123456"},
	} {
		for _, v := range values {
			ps := &problems{}
			(&rules{problems: ps}).problem(2, column, v, "wrong")
			require.NotContains(t, ps.kept[0].String(), v)
		}
	}
	ps := &problems{}
	(&rules{problems: ps}).problem(2, gate.ColAmount, "12.50", "wrong")
	require.Equal(t, `line 2: payment.amount "12.50": wrong`, ps.kept[0].String())
}

// noLimit lets everything go.
type noLimit struct{}

func (noLimit) Wait(context.Context, time.Duration) error { return nil }
func (noLimit) Pause(context.Context, time.Time) error    { return nil }

type oneKey struct{}

func (oneKey) Signing(uint32) (gate.Secret, bool) { return gate.NewSecret("s"), true }
func (oneKey) Accepted(uint32) []gate.Secret      { return nil }

// slowly answers every question a minute later with "not found".
type slowly struct{}

func (slowly) Post(context.Context, *gate.Target, []byte) (gate.Response, bool, error) {
	time.Sleep(time.Minute) //nolint:forbidigo // virtual
	return gate.Response{Status: http.StatusOK, ContentType: "application/json", Body: `{"status":"error","code":"3061"}`}, true, nil
}

// What the gate did not know when it was asked, it may know by the time of its
// answer: "not found" counts from the question.
func TestNotSeenCountsFromTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := gate.NewClient(gate.Options{BaseURL: "https://gate.example", Keys: oneKey{}, Limiter: noLimit{}, Timeout: time.Hour, Transport: slowly{}})
		require.NoError(t, err)
		asked := clock.Tick()
		e, _, _ := (&Reconciler{Gate: c}).question(t.Context(), payout.Payout{Key: payout.Key{ProjectID: 1, PaymentID: "p"}})
		require.Equal(t, payout.NotSeen, e.Kind)
		require.Equal(t, asked, e.Tick)
		since, ok := clock.Tick().Since(e.Tick)
		require.True(t, ok)
		require.Equal(t, time.Minute, since)
	})
}

// Only whole values of one form can be different, and only equal ones are a proof.
func TestLiken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cell, said string
		want       likeness
	}{
		{"996555123456", "996555123456", equal},
		{"996555123456", "+996 555 123456", equal},
		{"996555123456", "996555123457", different},
		{"0555123456", "996555123456", unclear},
		{"996555123456", "9965******56", unclear},
		{"4314220000000056", "431422xxxxxx0056", unclear},
		{"4314220000000056", "431422XXXXXX0056", unclear},
		{"4314220000000056", "######0056", unclear},
		{"4314220000000056", "....0056", unclear},
		{"1-23", "12-3", different},
		{"a.b@x.kg", "ab@x.kg", different},
		{"C-1", "c-1", unclear},
		{"c-1", "somebody-else", different},
		{"c-1", "1", unclear},
	} {
		require.Equal(t, tt.want, liken(tt.cell, tt.said), "%q, %q", tt.cell, tt.said)
	}
}

// A row that the lost store may have sent: what is older than the copy is not it.
func TestWhoseAfterALostStore(t *testing.T) {
	t.Parallel()
	copied := time.Date(2026, 11, 2, 2, 15, 0, 0, time.UTC)
	asked := payout.Amount{Minor: 1000, Currency: "KGS"}
	row := oneRow{columns: []string{"customer.id"}, cells: []string{"c-1"}}
	p := payout.Payout{Epoch: 3, LostSince: copied, Amount: asked}
	for made, want := range map[time.Time][2]bool{
		copied.Add(time.Hour):    {true, false},
		copied.Add(-time.Hour):   {true, false}, // clocks
		copied.AddDate(0, -1, 0): {false, true},
		{}:                       {false, false},
	} {
		ours, theirs, err := Whose(t.Context(), row, p, gate.Notice{Customer: "c-1", Sum: asked, Made: made})
		require.NoError(t, err)
		require.Equal(t, want, [2]bool{ours, theirs}, "%v", made)
	}
}

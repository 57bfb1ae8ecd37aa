package result

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
)

func TestArrived(t *testing.T) {
	t.Parallel()
	kgs := func(minor int64) payout.Amount { return payout.Amount{Minor: minor, Currency: "KGS"} }
	for _, tt := range []struct {
		name    string
		p       payout.Payout
		minor   int64
		unknown bool
	}{
		{"paid", payout.Payout{State: payout.StatePaid, Reported: payout.Reported{Amount: kgs(100)}}, 100, false},
		{"paid, the gate named no amount", payout.Payout{State: payout.StatePaid}, 100, false},
		{"paid, a person says so", payout.Payout{State: payout.StatePaid, Reported: payout.Reported{Amount: kgs(7)}, Resolution: payout.Resolution{As: payout.StatePaid}}, 100, false},
		{"paid, another amount, and a person has seen it", payout.Payout{State: payout.StatePaid, Reported: payout.Reported{Amount: kgs(99)}, Flags: payout.AmountDiffers, Closed: payout.AmountDiffers}, 99, false},
		{"paid, nothing, and a person has seen it", payout.Payout{State: payout.StatePaid, Reported: payout.Reported{Amount: kgs(0)}, Flags: payout.AmountDiffers, Closed: payout.AmountDiffers}, 0, false},
		{"paid, no number, and a person has seen it", payout.Payout{State: payout.StatePaid, Reported: payout.Reported{Amount: kgs(-1)}, Flags: payout.AmountDiffers, Closed: payout.AmountDiffers}, 0, true},
		{"partly", payout.Payout{State: payout.StatePartial, Reported: payout.Reported{Amount: kgs(40)}}, 40, false},
		{"partly, no one knows which part", payout.Payout{State: payout.StatePartial}, 0, true},
		{"declined", payout.Payout{State: payout.StateDeclined, Reported: payout.Reported{Amount: kgs(100)}}, 0, false},
		{"rejected", payout.Payout{State: payout.StateRejected}, 0, false},
		{"returned", payout.Payout{State: payout.StateReturned, Reported: payout.Reported{Amount: kgs(100)}}, 0, false},
		{"cancelled", payout.Payout{State: payout.StateCancelled}, 0, false},
		{"to be checked", payout.Payout{State: payout.StatePaid, Reported: payout.Reported{Amount: kgs(101)}, Flags: payout.AmountDiffers}, 0, true},
		{"not sent", payout.Payout{State: payout.StateNew}, 0, true},
		{"accepted", payout.Payout{State: payout.StateAccepted, Reported: payout.Reported{Amount: kgs(100)}}, 0, true},
		{"in doubt", payout.Payout{State: payout.StateUnknown}, 0, true},
	} {
		tt.p.Amount = kgs(100)
		a, known := Arrived(&tt.p)
		require.Equal(t, !tt.unknown, known, tt.name)
		require.Equal(t, tt.minor, a.Minor, tt.name)
	}
}

// What was sent now, what was known before, and what was not sent are told apart.
func TestSummaryTellsRunsApart(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)
	sent := NewSent(begun)
	row := func(number uint64, state payout.State, settled time.Duration) *payout.Payout {
		p := payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "sbp-p2p", payout.Amount{Minor: 10, Currency: "KGS"})
		p.Number, p.State, p.SentBy, p.FirstSent = number, state, 3, begun.Add(-time.Hour)
		if settled != 0 {
			p.FinalAt = begun.Add(settled)
		}
		return &p
	}
	sent.Add(1)
	sent.Add(64)
	var s Summary
	s.Payout(row(1, payout.StatePaid, time.Minute), ActionNothing, sent)
	s.Payout(row(64, payout.StateNew, 0), ActionNothing, sent) // turned away: it was tried and not sent
	s.Payout(row(65, payout.StatePaid, -time.Minute), ActionNothing, sent)
	s.Payout(row(66, payout.StatePaid, time.Minute), ActionNothing, sent)
	s.Payout(row(67, payout.StateAccepted, 0), ActionNothing, sent)
	s.Payout(row(68, payout.StateCancelled, -time.Minute), ActionNothing, sent)
	others := row(69, payout.StateAccepted, 0)
	others.FirstSent = begun.Add(time.Minute)
	s.Payout(others, ActionNothing, sent)
	s.Add(StateSkipped, 1, payout.Amount{})
	require.Equal(t, 1, s.Now.Rows)
	require.Equal(t, 1, s.Others.Rows, "sent while the run was under way, and not by it")
	require.Equal(t, 2, s.BeforeOpen)
	require.Equal(t, 1, s.Unsent.Rows)
	require.Equal(t, 3, s.Before.Rows)
	require.Equal(t, map[string]int64{"KGS": 30}, s.Before.Minor())
	require.Equal(t, 3, s.FinalNow, "two have no outcome yet")
	require.Equal(t, []Earlier{{Batch: 3, Rows: 3, Last: begun.Add(-time.Hour)}}, s.Earlier)
	require.Equal(t, 8, s.Rows)
}

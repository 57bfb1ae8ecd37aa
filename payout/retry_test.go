package payout

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRetryOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		id, first string
		n         int
	}{
		{"payment_47-r2", "payment_47", 2},
		{"payment_47-r2-r10", "payment_47-r2", 10},
		{"x-r9999", "x", 9999},
		{"payment_47", "", 0}, {"payment_47-r1", "", 0}, {"payment_47-r0", "", 0}, {"payment_47-r02", "", 0},
		{"payment_47-r", "", 0}, {"-r2", "", 0}, {"r2", "", 0}, {"2", "", 0}, {"", "", 0}, {"x-R2", "", 0}, {"x-r10000", "", 0}, {"x-r２", "", 0},
	} {
		first, n, ok := RetryOf(tt.id)
		require.Equal(t, tt.n != 0, ok, tt.id)
		require.Equal(t, tt.first, first, tt.id)
		require.Equal(t, tt.n, n, tt.id)
		if ok {
			require.Equal(t, tt.id, RetryID(first, n))
		}
	}
	for id, first := range map[string]string{"x": "x", "x-r2": "x", "x-r2-r3": "x", "x-r1": "x-r1", "x-r2-r1": "x-r2-r1", "-r2": "-r2"} {
		require.Equal(t, first, FirstOf(id), id)
	}
}

func TestBlocksRetry(t *testing.T) {
	t.Parallel()
	r := Rules{BlocksRetry: func(code string) bool { return code == "402" }}
	for _, tt := range []struct {
		name string
		p    Payout
		want bool
	}{
		{"not sent yet", Payout{State: StateNew}, true},
		{"sending", Payout{State: StateSending}, true},
		{"unknown", Payout{State: StateUnknown}, true},
		{"accepted", Payout{State: StateAccepted}, true},
		{"paid", Payout{State: StatePaid}, true},
		{"partly paid", Payout{State: StatePartial}, true},
		{"to be checked", Payout{State: StateDeclined, Flags: Contradicted}, true},
		{"the check was seen", Payout{State: StateDeclined, Flags: Contradicted, Closed: Contradicted}, false},
		{"declined", Payout{State: StateDeclined, Reported: Reported{Code: "20000"}}, false},
		{"declined for good", Payout{State: StateDeclined, Reported: Reported{Code: "402"}}, true},
		{"rejected for good", Payout{State: StateRejected, Reported: Reported{Code: "402"}}, true},
		{"a person found it unpaid", Payout{State: StateDeclined, Reported: Reported{Code: "402"}, Resolution: Resolution{As: StateDeclined}}, false},
		{"the gate has reported that it was paid, and a person has seen that", Payout{State: StateDeclined, Outcomes: 1<<StateDeclined | 1<<StatePaid, Flags: Contradicted, Closed: Contradicted}, true},
		{"found unpaid, and reported as paid later, and seen", Payout{State: StateDeclined, Outcomes: 1<<StateDeclined | 1<<StatePaid, Resolution: Resolution{As: StateDeclined}}, true},
		{"a part of it went through", Payout{State: StateDeclined, Paid: []Operation{{ID: "1"}}}, true},
		{"returned", Payout{State: StateReturned, Outcomes: 1<<StatePaid | 1<<StateReturned, Flags: Reviewed, Paid: []Operation{{ID: "1"}}}, false},
		{"returned, and no person has seen it", Payout{State: StateReturned}, true},
		{"cancelled", Payout{State: StateCancelled}, false},
	} {
		require.Equal(t, tt.want, tt.p.BlocksRetry(r), tt.name)
	}
}

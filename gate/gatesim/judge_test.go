package gatesim

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/payout"
)

const judgedInput = "general.project_id;general.payment_id;payment.amount;note\n1234;a;100;x\n1234;b;200;\"y\nz\"\n1234;c;300;\n"

const judgedResult = "general.project_id;general.payment_id;payment.amount;note;result.state;result.action;result.amount\n" +
	"1234;a;100;x;paid;nothing;100\n1234;b;200;\"y\nz\";declined;new id;\n1234;c;300;;rejected;fix row;\n"

func judgedLedger() []Entry {
	key := func(id string) payout.Key { return payout.Key{ProjectID: 1234, PaymentID: id} }
	return []Entry{
		{Key: key("a"), Posts: 1, Accepted: 1, Bodies: 1, Status: "success", Paid: 100, Asked: 100, Final: true},
		{Key: key("b"), Posts: 1, Accepted: 1, Bodies: 1, Status: "decline", Asked: 200, Final: true},
		{Key: key("c"), Posts: 1, Bodies: 1, Asked: 300},
	}
}

// The judge can say no: one row for everything that must never happen.
func TestJudge(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) func(*[]Entry, *string) {
		return func(_ *[]Entry, result *string) { *result = strings.Replace(*result, old, with, 1) }
	}
	for _, tt := range []struct {
		name   string
		change func(ledger *[]Entry, result *string)
		want   string
	}{
		{"all is well", func(*[]Entry, *string) {}, ""},
		{"open claims nothing", replace("rejected;fix row", "open;wait"), ""},
		{"paid twice", func(l *[]Entry, _ *string) { (*l)[0].Accepted, (*l)[0].Paid = 2, 200 }, "was paid 2 times"},
		{"two bodies", func(l *[]Entry, _ *string) { (*l)[1].Bodies = 2 }, "2 different bodies"},
		{"a row is missing", replace("1234;c;300;;rejected;fix row;\n", ""), "3 rows, the result 2"},
		{"a cell has changed", replace("1234;b;200", "1234;b;0200"), "row 2 was"},
		{"a zero is gone", replace("y\nz", "y z"), "row 2 was"},
		{"rows in another order", replace("1234;a;100;x;paid;nothing;100\n1234;b;200;\"y\nz\";declined;new id;", "1234;b;200;\"y\nz\";declined;new id;\n1234;a;100;x;paid;nothing;100"), "row 1 was"},
		{"declined, and the money went", func(l *[]Entry, _ *string) { (*l)[1].Status, (*l)[1].Paid = "success", 200 }, `says "declined", the gate "success"`},
		{"paid, and it was declined", func(l *[]Entry, _ *string) { (*l)[0].Status, (*l)[0].Paid = "decline", 0 }, `says "paid", the gate "decline"`},
		{"paid, and never sent", replace("rejected;fix row", "paid;nothing"), "has no payment"},
		{"accepted shown as paid", func(l *[]Entry, _ *string) { (*l)[0].Status, (*l)[0].Paid = "processing", 0 }, `says "paid", the gate "processing"`},
		{"cancelled, and it was sent", replace("declined;new id", "cancelled;nothing"), "it was sent"},
		{"another customer's payment", func(l *[]Entry, _ *string) { (*l)[0].Accepted, (*l)[0].Foreign, (*l)[0].Paid = 0, true, 0 }, "another customer's"},
		{"half of it, and shown as all", func(l *[]Entry, _ *string) { (*l)[0].Paid = 50 }, "by the ledger 50 moved"},
		{"paid, and to be paid again", replace("paid;nothing", "paid;new id"), `to do "new id"`},
		{"check, and not why", replace("paid;nothing;100", "check;check first;100"), "nothing to check"},
		{"for another account", func(l *[]Entry, _ *string) { (*l)[0].Asked = 101 }, "another account or amount"},
		{"no action", replace("paid;nothing", "paid;"), "result.action is empty"},
		{"another header", replace("payment.amount;note", "note;payment.amount"), "the columns of the result"},
		{"not a file", func(_ *[]Entry, result *string) { *result = "" }, "not a CSV file"},
		{"came back, and was told", func(l *[]Entry, _ *string) { (*l)[0].Status, (*l)[0].Paid, (*l)[0].Told = "reversed", 0, "reversed" }, `the gate "reversed"`},
		{"came back, and no one was told", func(l *[]Entry, _ *string) { (*l)[0].Status, (*l)[0].Paid, (*l)[0].Told = "reversed", 0, "success" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ledger, result := judgedLedger(), judgedResult
			tt.change(&ledger, &result)
			j := Judge(ledger, []byte(judgedInput), []byte(result), ';')
			if tt.want == "" {
				require.Empty(t, j.Faults)
				return
			}
			require.Contains(t, strings.Join(j.Faults, "\n"), tt.want)
			require.False(t, j.OK())
		})
	}
}

// Money under an id that was not asked for.
func TestUnasked(t *testing.T) {
	t.Parallel()
	ledger := judgedLedger()
	require.Empty(t, Unasked(ledger, ';', []byte(judgedInput)))
	ledger[1].Key.PaymentID = "d"
	require.Equal(t, []string{"1234/d"}, Unasked(ledger, ';', []byte(judgedInput)))
}

package payfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store"
)

// Rows that were not sent yet and stand in a file that is held are not sent past the hold by
// another file; what only a run has stopped may be.
func TestRowsOfAFileThatIsHeld(t *testing.T) {
	t.Parallel()
	c := checker(t)
	text := header + line("a-1", 100, 20) + line("a-2", 200, 21)
	k, err := c.Check(t.Context(), input(t, "a.csv", text))
	require.NoError(t, err)
	l, err := k.Load(t.Context(), whole(c), input(t, "a.csv", text), nil)
	require.NoError(t, err)
	hold := func(kind store.HoldKind) {
		require.NoError(t, whole(c).Hold(t.Context(), l.Batch.ID, store.Hold{Kind: kind, Reason: "wrong month", By: "anna@desk", At: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)}))
	}
	hold(store.HeldByRun)
	_, err = c.Check(t.Context(), input(t, "b.csv", text+line("b-1", 300, 22)))
	require.NoError(t, err)
	hold(store.HeldByPerson)
	_, err = c.Check(t.Context(), input(t, "b.csv", text+line("b-1", 300, 22)))
	require.Contains(t, problemsOf(t, err), "2 rows of it also of batch "+l.Batch.Short()+" (a.csv), which is held by anna@desk since 2026-11-27 09:00:00: wrong month; masspay resume "+l.Batch.Short()+" lets them be sent")
	_, err = c.Check(t.Context(), input(t, "a.csv", text))
	require.NoError(t, err, "the file itself is loaded already")
}

// A cell that only says where money goes, and that the method does not know, would hide from
// people and limits where it really goes.
func TestAnotherDestination(t *testing.T) {
	t.Parallel()
	c := checker(t)
	with := func(column, cell string) string {
		return strings.TrimSuffix(header, "\n") + ";" + column + "\n" + strings.TrimSuffix(line("a-1", 100, 20), "\n") + ";" + cell + "\n"
	}
	for _, column := range []string{"card.pan", "account.iban", "account.wallet_address", "token", "account.alias"} {
		_, err := c.Check(t.Context(), input(t, "a.csv", with(column, "4111111111111111")))
		require.Contains(t, problemsOf(t, err), column+" \"4111***111\": method sbp-p2p does not know this field, and it would say where the money goes", column)
		_, err = c.Check(t.Context(), input(t, "a.csv", with(column, "")))
		require.NoError(t, err, "an empty cell says nothing")
	}
}

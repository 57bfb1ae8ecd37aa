package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/store"
)

// Files of a series come one after the other; a gap is passed over by a person, in the log.
func testSeries(t *testing.T, w World, s store.Store) {
	load := func(name string, number uint64) error {
		rows := Rows(name, 2)
		b := BatchOf(name, rows)
		b.Series = &store.Series{Name: "payroll", Number: number}
		l, err := w.Open(t).Load(t.Context(), b, All(rows))
		if err == nil {
			require.Equal(t, b.Series, l.Batch.Series)
		}
		return err
	}
	refused := func(err error, last uint64) {
		t.Helper()
		var series *store.SeriesError
		require.ErrorAs(t, err, &series)
		require.Equal(t, last, series.Last)
	}
	require.NoError(t, load("a", 25), "a series begins with any number")
	refused(load("b", 25), 25)
	refused(load("b", 24), 25)
	refused(load("b", 27), 25)
	_, err := s.Get(t.Context(), Rows("b", 1)[0].Key)
	require.ErrorIs(t, err, store.ErrNoPayout, "nothing was loaded")
	require.NoError(t, load("b", 26))
	require.ErrorIs(t, load("b", 27), store.ErrLoaded, "what is loaded already takes no number")
	last, err := s.Series(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{"payroll": 26}, last)
	refused(s.PassSeries(t.Context(), store.Series{Name: "payroll", Number: 26}, "ann@desk", "back"), 26)
	require.NoError(t, s.PassSeries(t.Context(), store.Series{Name: "payroll", Number: 30}, "ann@desk", "three were tests"))
	refused(load("c", 27), 29)
	require.NoError(t, load("c", 30))
	log := chain(t, s)
	require.Equal(t, store.ActSeries, log[len(log)-2].Act)
	require.Equal(t, map[string]string{"series": "payroll", "last": "26", "next": "30", "person": "ann@desk", "reason": "three were tests"}, log[len(log)-2].Facts)
	Load(t, s, "d", Rows("d", 1)) // is of no series
	Check(t, s)
}

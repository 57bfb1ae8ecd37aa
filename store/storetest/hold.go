package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store"
)

// A held batch is claimed by no one, and what a person holds only a person lets go.
func testHold(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 4))
	free := Load(t, s, "b", Rows("b", 1))
	at := time.Now().Truncate(time.Second).UTC()
	hold := store.Hold{Kind: store.HeldByRun, Reason: "no money", By: "anna@desk", At: at}
	require.NoError(t, s.Hold(t.Context(), b.ID, hold))
	other := w.Open(t)
	for _, mine := range []store.Store{s, other} {
		_, err := mine.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: host})
		var held *store.HeldError
		require.ErrorAs(t, err, &held)
		require.Equal(t, hold, held.Hold)
	}
	is, err := other.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, &hold, is.Held)
	require.Equal(t, 4, is.Unsent(), "nothing was claimed")
	require.Len(t, Claim(t, other, free, 2), 1, "another batch goes on")

	person := store.Hold{Kind: store.HeldByPerson, Reason: "wrong month", By: "boss@desk", At: at}
	require.NoError(t, other.Hold(t.Context(), b.ID, person))
	require.NoError(t, s.Hold(t.Context(), b.ID, hold))
	lifted, err := s.LetGo(t.Context(), b.ID, store.HeldByRun)
	require.NoError(t, err)
	require.False(t, lifted)
	is, err = s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, &person, is.Held)
	lifted, err = other.LetGo(t.Context(), b.ID, store.HeldByRun, store.HeldByPerson)
	require.NoError(t, err)
	require.True(t, lifted)
	require.Len(t, Claim(t, s, b, 9), 4)
	require.ErrorIs(t, s.Hold(t.Context(), strings.Repeat("0", 64), hold), store.ErrNoBatch)
	_, err = s.LetGo(t.Context(), strings.Repeat("0", 64), store.HeldByRun)
	require.ErrorIs(t, err, store.ErrNoBatch)
}

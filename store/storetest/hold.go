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

// A canary's hold lets one run through; a later one takes its place, and nobody else's does.
func testCanary(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 4)
	b := BatchOf("a", rows)
	hold := store.Hold{Kind: store.HeldByCanary, Reason: "2 go alone", By: "anna@desk", At: time.Now().Truncate(time.Second).UTC(), Token: "one"}
	b.Held = &hold
	l, err := s.Load(t.Context(), b, All(rows))
	require.NoError(t, err)
	require.Equal(t, &hold, l.Batch.Held, "it is held from the moment that it counts")
	claim := func(s store.Store, through string) int {
		got, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: host, Through: through})
		var held *store.HeldError
		if err != nil {
			require.ErrorAs(t, err, &held)
			return 0
		}
		return len(got.Payouts)
	}
	other := w.Open(t)
	require.Equal(t, []int{0, 0, 1}, []int{claim(other, ""), claim(other, "two"), claim(s, "one")})
	later := hold
	later.Token = "two"
	require.NoError(t, other.Hold(t.Context(), b.ID, later))
	require.Equal(t, []int{0, 1}, []int{claim(s, "one"), claim(other, "two")})
	require.NoError(t, s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByRun, Reason: "no money"}))
	require.Equal(t, []int{0, 1}, []int{claim(s, ""), claim(other, "two")}, "no run's hold takes its place")
	require.NoError(t, s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByBreaker, Reason: "declined"}))
	require.NoError(t, s.Hold(t.Context(), b.ID, later))
	require.Equal(t, []int{0, 0}, []int{claim(s, ""), claim(other, "two")}, "a breaker's does")
	lifted, err := s.LetGo(t.Context(), b.ID, store.HeldByBreaker)
	require.NoError(t, err)
	require.True(t, lifted)
	later.Token = ""
	require.NoError(t, other.Hold(t.Context(), b.ID, later))
	require.Equal(t, []int{0, 0}, []int{claim(s, ""), claim(other, "two")}, "one of the first was not paid")
	require.NoError(t, s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByPerson, Reason: "wrong month"}))
	require.NoError(t, other.Hold(t.Context(), b.ID, hold))
	require.Zero(t, claim(s, "one"), "nor is a person's hold replaced")
	lifted, err = s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
	require.NoError(t, err)
	require.True(t, lifted)
	require.Equal(t, 1, claim(other, ""))
}

package storetest

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// denies is a poll that told that the gate does not know a payout, some time from now.
func denies(s store.Store, key payout.Key, after time.Duration) payout.Event {
	tick := s.Tick()
	tick.At += after
	return payout.Event{
		Key: key, Kind: payout.NotSeen, Source: payout.FromStatus, Host: host, At: time.Now().Add(after),
		Tick: tick, Applied: tick, Reported: payout.Reported{Code: "3061"},
	}
}

// An older copy in the store's place sends nothing before the gate was asked: the lost
// store may have sent what the copy believes unsent.
func testRestored(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 4)
	b := Load(t, s, "a", rows)
	Apply(t, s, answer(Claim(t, s, b, 1)[0], payout.Accepted))
	restored, err := s.Restored(t.Context())
	require.NoError(t, err)
	require.False(t, restored)

	put := w.Save(t)
	for _, c := range Claim(t, s, b, 2) {
		Apply(t, s, answer(c, payout.Accepted)) // the copy will know nothing of these
	}
	put()

	ask := store.Claim{Batch: b.ID, N: 9, Host: host, AskFirst: true}
	for _, mine := range []store.Store{w.Open(t), s} {
		restored, err = mine.Restored(t.Context())
		require.NoError(t, err)
		require.True(t, restored, "an older copy was not known as one")
		_, err = mine.Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: host})
		require.ErrorIs(t, err, store.ErrRestored, "an older copy may be sent from")
	}
	is, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 3, is.Unsent(), "nothing was claimed")

	c, err := Payouts(s.Claim(t.Context(), ask))
	require.NoError(t, err)
	require.Empty(t, c, "nothing is sent before the gate was asked")
	_, err = w.Open(t).Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: host})
	require.ErrorIs(t, err, store.ErrRestored, "asking does not make it the newest")

	// The gate knows two of them, and denies the third, twice.
	for _, row := range rows[1:3] {
		require.Equal(t, payout.StatePaid, Apply(t, s, proven(row, payout.StatePaid)).After.State)
	}
	require.False(t, Apply(t, s, denies(s, rows[3].Key, time.Minute)).Freed())
	c, err = Payouts(s.Claim(t.Context(), ask))
	require.NoError(t, err)
	require.Empty(t, c, "once is not enough")
	require.True(t, Apply(t, s, denies(s, rows[3].Key, time.Hour)).Freed())
	c, err = Payouts(s.Claim(t.Context(), ask))
	require.NoError(t, err)
	require.Len(t, c, 1)
	require.Equal(t, rows[3].Key, c[0].Key)

	require.NoError(t, s.Trust(t.Context()))
	restored, err = w.Open(t).Restored(t.Context())
	require.NoError(t, err)
	require.False(t, restored)
}

// A person who says that the store is a copy counts for every process, and until a
// person trusts it again.
func testAskFirst(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 3))
	require.NoError(t, s.AskFirst(t.Context()))
	for _, mine := range []store.Store{s, w.Open(t)} {
		restored, err := mine.Restored(t.Context())
		require.NoError(t, err)
		require.True(t, restored)
		_, err = mine.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: host})
		require.ErrorIs(t, err, store.ErrRestored)
	}
	require.NoError(t, w.Open(t).Trust(t.Context()))
	require.Len(t, Claim(t, s, b, 9), 3)
}

// A backup is whole, is no file that was there, and is known as a copy when it comes back.
func testBackup(t *testing.T, _ World, s store.Store) {
	copies, ok := s.(store.Backuper)
	if !ok {
		t.Skip("this store is copied by its own tools")
	}
	Load(t, s, "a", Rows("a", 3))
	to := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, copies.Backup(t.Context(), to))
	require.FileExists(t, to)
	require.Error(t, copies.Backup(t.Context(), to), "never over another file")
	restored, err := s.Restored(t.Context())
	require.NoError(t, err)
	require.False(t, restored, "that a copy was made makes the store no copy")
}

// A store that others keep for too long is busy; nothing was changed.
func testBusy(t *testing.T, w World, s store.Store) {
	b := Load(t, s, "a", Rows("a", 3))
	free := w.Busy(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	impatient := w.OpenFor(t, 50*time.Millisecond)
	for name, call := range map[string]func() error{
		"claim": func() error {
			_, err := impatient.Claim(ctx, store.Claim{Batch: b.ID, N: 1, Host: host})
			return err
		},
		"apply": func() error {
			_, err := impatient.Apply(ctx, proven(Row("a-000000", 1000, 2), payout.StatePaid))
			return err
		},
		"batch": func() error { _, err := impatient.Batch(ctx, b.ID); return err },
		"due": func() error {
			_, err := impatient.Due(ctx, store.Due{Gate: host, N: 1, Lease: time.Minute})
			return err
		},
		"hold": func() error { return impatient.Hold(ctx, b.ID, store.Hold{Kind: store.HeldByPerson}) },
	} {
		require.ErrorIs(t, call(), store.ErrBusy, name)
	}
	free()
	is, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 3, is.Unsent())
	require.Nil(t, is.Held)
	require.Len(t, Claim(t, impatient, b, 9), 3)
}

// What was changed from outside is damage: it is not read, not sent, and found by Examine.
func testDamage(t *testing.T, w World, s store.Store) {
	rows := Rows("a", 3)
	b := Load(t, s, "a", rows)
	mend := w.Damage(t, rows[1].Key)
	_, err := s.Get(t.Context(), rows[1].Key)
	require.ErrorIs(t, err, store.ErrDamaged)
	_, err = s.Apply(t.Context(), proven(rows[1], payout.StatePaid))
	require.ErrorIs(t, err, store.ErrDamaged)
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 3, Host: host})
	require.ErrorIs(t, err, store.ErrDamaged)
	e, err := s.Examine(t.Context())
	require.True(t, errors.Is(err, store.ErrDamaged) || len(e.Wrong) > 0, "found by no one: %v", err)
	r, err := s.Get(t.Context(), rows[0].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateNew, r.State, "nothing was claimed")
	mend()
}

// All processes of a store share one rate, and a pause.
func testLimiter(t *testing.T, w World, s store.Store) {
	const rate, requests = 200, 30
	other := w.Open(t)
	var limiters []store.Limiter
	for _, mine := range []store.Store{s, other} {
		l, err := mine.Limiter(rate, 1)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		limiters = append(limiters, l)
	}
	begun := time.Now()
	for i := range requests {
		require.NoError(t, limiters[i%2].Wait(t.Context(), time.Minute))
	}
	require.GreaterOrEqual(t, time.Since(begun), (requests-4)*time.Second/rate, "two processes were faster than one may be")

	is, err := w.Open(t).PausedUntil(t.Context())
	require.NoError(t, err)
	require.Zero(t, is)
	until := time.Now().Add(time.Minute)
	require.NoError(t, limiters[0].Pause(t.Context(), until))
	is, err = w.Open(t).PausedUntil(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, until, is, 2*time.Second)
	err = limiters[1].Wait(t.Context(), time.Second)
	for range rate / 10 { // what it had taken before
		if err == nil {
			err = limiters[1].Wait(t.Context(), time.Second)
		}
	}
	var paused interface{ PausedUntil() time.Time }
	require.ErrorAs(t, err, &paused)
	require.WithinDuration(t, until, paused.PausedUntil(), 2*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, limiters[0].Wait(ctx, time.Hour), context.Canceled)
	for _, bad := range []struct {
		rate  float64
		burst int
	}{{0, 1}, {-1, 1}, {1, 0}} {
		_, err := s.Limiter(bad.rate, bad.burst)
		require.Error(t, err)
	}
}

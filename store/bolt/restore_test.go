package bolt

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
	"masspay/store/storetest"
)

type boltTx = bbolt.Tx

func copyFile(t *testing.T, from, to string) {
	b, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, b, 0o600))
}

func TestARestoredCopyDoesNotSend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		copy func(t *testing.T, w *world, s *Store, to string)
	}{
		{"by backup", func(t *testing.T, _ *world, s *Store, to string) { require.NoError(t, s.Backup(t.Context(), to)) }},
		{"by cp, and one claim since", func(t *testing.T, w *world, s *Store, to string) {
			copyFile(t, w.o.Path, to)
			b, err := s.Batch(t.Context(), storetest.BatchOf("a", nil).ID)
			require.NoError(t, err)
			storetest.Claim(t, s, b, 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := fresh(t).(*world)
			s := w.Open(t).(*Store)
			b := storetest.Load(t, s, "a", storetest.Rows("a", 4))
			copied := filepath.Join(t.TempDir(), "copy.db")
			tt.copy(t, w, s, copied)
			require.NoError(t, s.Close())
			copyFile(t, copied, w.o.Path)
			s = w.Open(t).(*Store)
			restored, err := s.Restored(t.Context())
			require.NoError(t, err)
			require.True(t, restored)
			_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "h"})
			require.ErrorIs(t, err, store.ErrRestored)

			c, err := storetest.Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "h", AskFirst: true}))
			require.NoError(t, err)
			require.Empty(t, c, "nothing is sent before the gate was asked")
			_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "h"})
			require.ErrorIs(t, err, store.ErrRestored, "asking once does not make it the newest")
			for r, err := range s.List(t.Context(), store.Filter{}) {
				require.NoError(t, err)
				require.Equal(t, payout.StateUnknown, r.State)
			}
			for _, after := range []time.Duration{time.Minute, 16 * time.Minute} {
				for r := range s.List(t.Context(), store.Filter{}) {
					storetest.Apply(t, s, payout.Event{Key: r.Key, Kind: payout.NotSeen, Source: payout.FromStatus, Host: "h", At: time.Now().Add(after), Tick: later(after), Applied: later(after)})
				}
			}
			c, err = storetest.Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: "h", AskFirst: true}))
			require.NoError(t, err)
			require.Len(t, c, 4, "the gate has twice denied them")

			require.NoError(t, s.Trust(t.Context()))
			restored, err = s.Restored(t.Context())
			require.NoError(t, err)
			require.False(t, restored)
		})
	}
}

// A snapshot of the folder brings the marker back too; then a person must say
// that it is a copy, and is believed.
func TestAskFirstIsBelieved(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 4))
	c, err := storetest.Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "h", AskFirst: true}))
	require.NoError(t, err)
	require.Empty(t, c)
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "h"})
	require.ErrorIs(t, err, store.ErrRestored)
}

func TestAMissingMarkerDoesNotSend(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	for _, lose := range []func() error{
		func() error { return os.Remove(w.o.marker()) },
		func() error { return os.Truncate(w.o.marker(), 0) }, // as a power cut may
	} {
		require.NoError(t, lose())
		_, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
		require.ErrorIs(t, err, store.ErrNoMarker)
		require.NoError(t, s.Trust(t.Context()))
		require.Len(t, storetest.Claim(t, s, b, 1), 1)
	}
}

func TestAMarkerThatLostItsLastWriteIsHarmless(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 3))
	storetest.Claim(t, s, b, 1)
	require.NoError(t, writeMarker(w.o.marker(), 0, false))
	require.Len(t, storetest.Claim(t, s, b, 1), 1)
}

func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 500))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := storetest.Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 5, Host: "h"}))
			if err != nil || len(c) == 0 {
				return
			}
		}
	}()
	path := filepath.Join(t.TempDir(), "backup.db")
	other := w.Open(t).(*Store)
	require.NoError(t, other.Backup(t.Context(), path))
	<-done
	require.Error(t, other.Backup(t.Context(), path), "never over another file")
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	o := w.o
	o.Path = path
	copied, err := Open(t.Context(), o)
	require.NoError(t, err)
	storetest.Check(t, copied)
	storetest.Check(t, s)
}

// A claim that fails has begun nothing: the next one asks all the same, even if
// an older asking came back with the copy.
func TestAskFirstAfterAClaimThatFailed(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	ask := store.Claim{Batch: b.ID, N: 2, Host: "h", AskFirst: true}
	_, err := s.Claim(t.Context(), ask)
	require.NoError(t, err)
	for _, after := range []time.Duration{time.Minute, 16 * time.Minute} {
		for r := range s.List(t.Context(), store.Filter{}) {
			storetest.Apply(t, s, payout.Event{Key: r.Key, Kind: payout.NotSeen, Source: payout.FromStatus, Host: "h", At: time.Now().Add(after), Tick: later(after), Applied: later(after)})
		}
	}
	again := w.Open(t).(*Store) // the copy is restarted, its old asking with it
	var good []byte
	change := func(value func(old []byte) []byte) {
		require.NoError(t, s.update(t.Context(), func(tx *boltTx) error {
			p := tx.Bucket(bucketPayouts)
			return p.Put(be64(1), value(append([]byte(nil), p.Get(be64(1))...)))
		}))
	}
	change(func(old []byte) []byte {
		good = append([]byte(nil), old...)
		old[len(old)/2] ^= 1
		return old
	})
	_, err = again.Claim(t.Context(), ask)
	require.ErrorIs(t, err, store.ErrDamaged)
	change(func([]byte) []byte { return good })
	c, err := storetest.Payouts(again.Claim(t.Context(), ask))
	require.NoError(t, err)
	require.Empty(t, c, "nothing is sent before the gate was asked")
}

// later is a moment after now on the clock that cannot be set.
func later(by time.Duration) payout.Tick {
	now := clock.Tick()
	now.At += by
	return now
}

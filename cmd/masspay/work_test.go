package main

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"masspay/batch"
	"masspay/store/bolt"
	"masspay/store/seal"
	"masspay/store/storetest"
)

// A turn that had nothing to send, because another machine held it and has given it back
// since, does not stop the batch; one that was turned away as often as a run allows does.
func TestWhatATurnLeaves(t *testing.T) {
	t.Parallel()
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey()}
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	b := storetest.Load(t, s, "a", storetest.Rows("a", 3))
	c := &config{}
	c.Gate.Attempts = 5
	w := &worker{c: c, s: s, log: slog.New(slog.DiscardHandler)}
	for givenUp, held := range map[int]bool{0: false, 2: false, 3: true} {
		_, done, err := w.after(t.Context(), b.ID, batch.Ending{GivenUp: givenUp})
		require.NoError(t, err)
		is, err := s.Batch(t.Context(), b.ID)
		require.NoError(t, err)
		require.Equal(t, held, is.Held != nil, givenUp)
		require.Equal(t, held, done)
		if held {
			require.Equal(t, "3 payouts not sent after 5 attempts each", is.Held.Reason)
			_, err = s.LetGo(t.Context(), b.ID, is.Held.Kind)
			require.NoError(t, err)
		}
	}
}

package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
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
	w := &worker{c: c, s: s, log: slog.New(slog.DiscardHandler), looked: map[string]looked{}}
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

// A warning that River repeats several times a second is said once in a while.
func TestWarningsAreNotRepeated(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := quieter(slog.New(slog.NewJSONHandler(&out, nil)))
	for range 5 {
		log.Error("the database is away")
		log.Info("nothing of interest")
	}
	log.With("queue", "send").Warn("another thing")
	require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
	require.Contains(t, out.String(), "another thing")
}

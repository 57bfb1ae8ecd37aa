package bolt

import (
	"fmt"
	"os"
	"testing"
	"time"

	"masspay/store/codec"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store/storetest"
)

// What a store knows of itself is only ever appended to; see codec.Fields.
func TestMetaFieldsAreOnlyAppended(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"locks", "locks before", "machine", "device", "inode", "aliases"}, codec.NamesOf(func(v *codec.Fields) { metaFields(v, &meta{}) }),
		"a field was appended: raise format, write a migration; no field is moved, renamed or removed")
}

func TestEveryFieldOfMetaIsKept(t *testing.T) {
	t.Parallel()
	var m meta
	m.aliases = []string{"a", "b"}
	m.check, m.generation, m.claimed, m.epoch, m.copied = [16]byte{1}, 2, stampOf(3), 4, stampOf(5)
	m.next, m.nextBatch, m.loading, m.first = 6, 7, 8, 9
	m.locks, m.locksBefore, m.machine, m.device, m.inode = [16]byte{10}, [16]byte{11}, 12, 13, 14
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	require.ErrorIs(t, s.update(t.Context(), func(tx *boltTx) error {
		require.NoError(t, m.write(tx))
		got, err := readMeta(tx)
		require.NoError(t, err)
		require.Equal(t, m, got)
		return os.ErrClosed // rolled back
	}), os.ErrClosed)
}

func stampOf(n int) time.Time { return time.UnixMicro(int64(n) * 1_000_003).UTC() }

// A payout that lives through a lot keeps its beginning, its end, and what matters in
// between, and says how much it left out.
func TestAHistoryIsThinned(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 1))
	var key payout.Key
	for i := range 200 {
		c := storetest.Claim(t, s, b, 1)[0]
		key = c.Key
		e := payout.Event{Key: key, Kind: payout.Unsent, Source: payout.FromRun, Attempt: c.Attempt, Tries: 1, At: stampOf(i + 1), Reported: payout.Reported{Message: fmt.Sprint("turned away ", i)}}
		if i == 150 {
			e = payout.Event{Key: key, Kind: payout.Released, Source: payout.FromRun, Attempt: c.Attempt, At: stampOf(i + 1)}
		}
		_, err := s.Apply(t.Context(), e)
		require.NoError(t, err)
	}
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.Less(t, len(r.Events), codec.ThinAt)
	require.Equal(t, 400, len(r.Events)+r.Dropped)
	require.Equal(t, 1, r.Events[0].Attempt)
	require.Equal(t, 200, r.Events[len(r.Events)-1].Attempt)
	require.Equal(t, "gate.example", r.Events[len(r.Events)-2].Host)
	examined, err := s.Examine(t.Context())
	require.NoError(t, err)
	require.Empty(t, examined.Wrong)
}

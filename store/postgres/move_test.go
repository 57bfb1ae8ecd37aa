package postgres

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/codec"
	"masspay/store/storetest"
)

// lived is a store in a file that has lived a little: payouts in every place, retries, a
// cancelled id that came back, a report that waits, a hold, a gate, runs.
func lived(t *testing.T, o bolt.Options) {
	require.NoError(t, bolt.Create(t.Context(), o))
	s, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.BeginRun(t.Context(), store.Run{Command: "run", User: "anna", At: time.Now().UTC().Truncate(time.Second)})
	require.NoError(t, err)
	rows := storetest.Rows("a", 12)
	rows[3] = store.Row{Line: 5, Cells: rows[3].Cells, Skip: "it is empty"}
	monday := storetest.Load(t, s, "monday", rows)
	c := storetest.Claim(t, s, monday, 8)
	at := time.Now()
	apply := func(e payout.Event) {
		e.At = at
		storetest.Apply(t, s, e)
	}
	kinds := []payout.Kind{payout.Accepted, payout.Doubtful, payout.Unsent, payout.Refused, payout.Accepted, payout.Released, payout.Accepted, payout.Taken}
	for i, k := range kinds {
		apply(payout.Event{Key: c[i].Key, Kind: k, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", Tick: s.Tick()})
	}
	apply(payout.Event{Key: c[0].Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Reported: payout.Reported{Amount: c[0].Amount}})
	apply(payout.Event{Key: c[4].Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StateDeclined, Reported: payout.Reported{Amount: c[4].Amount}})
	last := rows[11].Key
	apply(payout.Event{Key: last, Kind: payout.Cancelled, Source: payout.FromPerson, Person: "anna"})
	again := []store.Row{storetest.Row(last.PaymentID, 5, 2), storetest.Row(c[4].Key.PaymentID+"-r2", 7, 3), rows[10]}
	tuesday := storetest.Load(t, s, "tuesday", again)
	require.NoError(t, s.Hold(t.Context(), tuesday.ID, store.Hold{Kind: store.HeldByPerson, Reason: "wrong month", By: "anna@desk", At: at.UTC().Truncate(time.Second)}))
	apply(payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: "later"}, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Customer: "c-later", Reported: payout.Reported{Amount: payout.Amount{Minor: 9, Currency: "KGS"}}, Made: at.UTC().Truncate(time.Microsecond)})
	require.NoError(t, s.Prove(t.Context(), "https://gate.example"))
	storetest.Check(t, s)
}

// Everything comes over as it is, and the file sends nothing any more.
func TestMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: w.o.Key}
	lived(t, o)
	was, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	read := func(s store.Store) (all []payout.History, batches []store.Batch, lines []store.Line, runs []store.Run) {
		ctx := context.WithoutCancel(t.Context())
		for r, err := range s.List(ctx, store.Filter{Events: true}) {
			require.NoError(t, err)
			all = append(all, r)
		}
		for b, err := range s.Batches(ctx) {
			require.NoError(t, err)
			b.ChangedAt = time.Time{}
			batches = append(batches, b)
			for l, err := range s.Lines(ctx, b.ID) {
				require.NoError(t, err)
				lines = append(lines, l)
			}
		}
		for r, err := range s.Runs(ctx) {
			require.NoError(t, err)
			runs = append(runs, r)
		}
		return all, batches, lines, runs
	}
	payouts, batches, lines, runs := read(was)
	gates, err := was.OpenGates(t.Context())
	require.NoError(t, err)
	require.NoError(t, was.Close())

	s := w.Open(t).(*Store)
	// It is cut off right before it becomes durable, and repeated.
	broken := errors.New("cut off")
	move := func(cut bool) (moved codec.MovedCounts, err error) {
		err = bolt.Move(t.Context(), o, "there", func(ctx context.Context, i *codec.Image) (err error) {
			handed := i.Handed
			i.Handed = func() error {
				if err := handed(); err != nil || !cut {
					return err
				}
				return broken
			}
			moved, err = s.TakeOver(ctx, i)
			return err
		})
		return moved, err
	}
	_, err = move(true)
	require.Error(t, err)
	_, err = bolt.Open(t.Context(), o)
	require.ErrorIs(t, err, store.ErrMoved, "better none that sends than two")
	is, _, _, _ := read(s)
	require.Empty(t, is)
	moved, err := move(false)
	require.NoError(t, err)
	require.Equal(t, codec.MovedCounts{Batches: 2, Rows: 15, Payouts: len(payouts), Runs: 1}, moved)
	again, err := move(false)
	require.NoError(t, err, "to repeat it does no harm")
	require.True(t, again.Before)
	_, err = bolt.Open(t.Context(), o)
	require.ErrorIs(t, err, store.ErrMoved)
	require.ErrorIs(t, bolt.Move(t.Context(), o, "elsewhere", nil), store.ErrMoved)

	gotPayouts, gotBatches, gotLines, gotRuns := read(s)
	require.Equal(t, payouts, gotPayouts)
	require.Equal(t, batches, gotBatches)
	require.Equal(t, lines, gotLines)
	for i := range runs {
		runs[i].Life = "" // nothing is known of the processes of another store
	}
	require.Equal(t, runs, gotRuns)
	gotGates, err := s.OpenGates(t.Context())
	require.NoError(t, err)
	require.Equal(t, gates, gotGates)
	restored, err := s.Restored(t.Context())
	require.NoError(t, err)
	require.False(t, restored)
	proven, err := s.Proven(t.Context(), "https://gate.example")
	require.NoError(t, err)
	require.True(t, proven)
	storetest.Check(t, s)

	// It goes on there: what waits is claimed in line order, an id is known for ever, and
	// what was kept early is met.
	c := storetest.Claim(t, s, batches[0], 20)
	var ids []string
	for _, p := range c {
		ids = append(ids, p.Key.PaymentID)
	}
	require.Equal(t, []string{"a-000002", "a-000006", "a-000009", "a-000010"}, ids)
	var conflict *store.ConflictError
	other := []store.Row{storetest.Row("a-000000", 5, 2)}
	_, err = s.Load(t.Context(), storetest.BatchOf("other", other), storetest.All(other))
	require.ErrorAs(t, err, &conflict)
	later := []store.Row{storetest.Row("later", 9, 2)}
	l, err := s.Load(t.Context(), storetest.BatchOf("later", later), storetest.All(later))
	require.NoError(t, err)
	require.Equal(t, 1, l.Early)
	storetest.Check(t, s)
}

// A database that has something of its own takes nothing over.
func TestMoveIntoADatabaseThatIsNotEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: w.o.Key}
	lived(t, o)
	s := w.Open(t).(*Store)
	storetest.Load(t, s, "its own", storetest.Rows("z", 2))
	err := bolt.Move(t.Context(), o, "there", func(ctx context.Context, i *codec.Image) error {
		_, err := s.TakeOver(ctx, i)
		return err
	})
	var config *store.ConfigError
	require.ErrorAs(t, err, &config)
	was, err := bolt.Open(t.Context(), o)
	require.NoError(t, err, "the file goes on")
	require.NoError(t, was.Close())
}

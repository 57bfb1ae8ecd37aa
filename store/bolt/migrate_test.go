package bolt

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
	"masspay/store/storetest"
)

// older is a store that an older masspay has written; see testdata.
func older(t *testing.T, name string) Options {
	key, err := seal.ParseKey("bWFzc3BheSBzdG9yZSBrZXkgZm9yIHRlc3RzIG9ubHk=")
	require.NoError(t, err)
	o := Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: key}
	in, err := os.Open(filepath.Join("testdata", name, "store.db.gz"))
	require.NoError(t, err)
	defer in.Close()
	z, err := gzip.NewReader(in)
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(o.Path, text, 0o600))
	copyFile(t, filepath.Join("testdata", name, "store.db.marker"), o.marker())
	return o
}

// migrated is such a store after its migration, which only the right key begins.
func migrated(t *testing.T, name string, format uint64) Options {
	o := older(t, name)
	_, err := Open(t.Context(), o)
	require.ErrorIs(t, err, store.ErrOlder)
	require.NotErrorIs(t, err, store.ErrDamaged)
	wrong := o
	wrong.Key = seal.NewKey()
	_, _, err = Migrate(t.Context(), wrong)
	require.ErrorIs(t, err, store.ErrKey)
	from, done, err := Migrate(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, format, from)
	require.True(t, done)
	_, done, err = Migrate(t.Context(), o)
	require.NoError(t, err)
	require.False(t, done, "once is enough")
	return o
}

// A store of format 3 is named older, and after the migration it is what it was.
func TestMigrateFormat3(t *testing.T) {
	t.Parallel()
	o := migrated(t, "format3", 3)
	format3IsWhole(t, o)
}

// format3IsWhole holds a migrated store against what went into it.
func format3IsWhole(t *testing.T, o Options) {
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	storetest.Check(t, s)
	states := map[payout.State]int{}
	checks := 0
	for r, err := range s.List(t.Context(), store.Filter{Events: true}) {
		require.NoError(t, err)
		states[r.State]++
		if r.NeedsCheck() {
			checks++
		}
		if r.State != payout.StateNew || r.Tries > 0 {
			require.NotEmpty(t, r.Events)
		}
	}
	require.Equal(t, map[payout.State]int{
		payout.StateNew: 14, payout.StateSending: 5, payout.StateUnknown: 2, payout.StateAccepted: 4, payout.StatePaid: 4,
		payout.StatePartial: 1, payout.StateDeclined: 1, payout.StateRejected: 1, payout.StateReturned: 1,
	}, countNoCancelled(states))
	require.Equal(t, 2, checks, "another amount, and two outcomes")
	get := func(id string) *payout.History {
		r, err := s.Get(t.Context(), payout.Key{ProjectID: 1234, PaymentID: id})
		require.NoError(t, err)
		return &r
	}
	require.Equal(t, 1, get("old-000000").AcceptedAttempt)
	require.Equal(t, payout.BasisAccepted, get("old-000000").Basis())
	require.False(t, get("old-000000").ReportedAt.IsZero(), "when a gate last reported is in the history")
	require.True(t, get("old-000010").MayHaveLeft)
	require.Equal(t, payout.BasisPossible, get("old-000010").Basis())
	require.True(t, get("old-000014").Unproven)
	require.Equal(t, "req-old-000000", get("old-000000").Reported.RequestID)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.NotZero(t, get("old-000015").Bar, "the store may be a copy, and the process that sent it alive on another machine")
	// A report that was kept is shown, and not believed: it does not say whom it is about.
	l, err := s.Load(t.Context(), storetest.BatchOf("third", nil), storetest.All([]store.Row{storetest.Row("early-1", 5, 2)}))
	require.NoError(t, err)
	require.Equal(t, 1, l.Early)
	require.Equal(t, payout.StateNew, get("early-1").State)
	require.True(t, get("early-1").NeedsCheck())
	require.Len(t, storetest.Claim(t, s, l.Batch, 9), 0)
	var conflict *store.ConflictError
	_, err = s.Load(t.Context(), storetest.BatchOf("fourth", nil), storetest.All([]store.Row{storetest.Row("old-000003", 5, 2)}))
	require.ErrorAs(t, err, &conflict, "an id is never forgotten")
	storetest.Check(t, s)
}

// A store of the first format of all is brought to this one's in the same way.
func TestMigrateFormat1(t *testing.T) {
	t.Parallel()
	o := migrated(t, "format1", 1)
	format1IsWhole(t, o)
	require.Equal(t, payout.Overtaken|payout.Restored, flags1(1<<6|1<<7), "its oddities ended with Restored")
}

func format1IsWhole(t *testing.T, o Options) {
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	storetest.Check(t, s)
	states := map[payout.State]int{}
	var checks []string
	events := 0
	for r, err := range s.List(t.Context(), store.Filter{Events: true}) {
		require.NoError(t, err)
		states[r.State]++
		events += len(r.Events)
		if r.NeedsCheck() {
			checks = append(checks, r.Key.PaymentID)
		}
	}
	require.Equal(t, map[payout.State]int{
		payout.StateNew: 13, payout.StateSending: 3, payout.StateUnknown: 2, payout.StateAccepted: 4, payout.StatePaid: 7,
		payout.StateDeclined: 1, payout.StateRejected: 1, payout.StateReturned: 1, payout.StateCancelled: 1,
	}, states)
	require.Equal(t, []string{"old-000004", "old-000007"}, checks, "another amount, and two outcomes")
	require.Equal(t, 50, events, "the history is kept")
	get := func(id string) *payout.History {
		r, err := s.Get(t.Context(), payout.Key{ProjectID: 1234, PaymentID: id})
		require.NoError(t, err)
		return &r
	}
	require.Equal(t, "req-old-000000", get("old-000000").Reported.RequestID)
	require.Equal(t, "1000", get("old-000000").Reported.OperationID)
	require.Equal(t, payout.BasisAccepted, get("old-000008").Basis())
	require.False(t, get("old-000008").ReportedAt.IsZero(), "when a gate last reported is in the history")
	require.Equal(t, payout.BasisPossible, get("old-000013").Basis(), "not seen once: still in doubt")
	require.False(t, get("old-000013").NotSeenAt.IsZero())
	require.Len(t, get("old-000027").Places, 2, "it stands in two files")
	var names []string
	for b, err := range s.Batches(t.Context()) {
		require.NoError(t, err)
		names = append(names, b.Name)
	}
	require.Equal(t, []string{"first.csv", "second.csv", "third.csv"}, names)
	rows := 0
	first, err := s.Batch(t.Context(), storetest.BatchOf("first", nil).ID)
	require.NoError(t, err)
	for l, err := range s.Lines(t.Context(), first.ID) {
		require.NoError(t, err)
		if l.Skip == "" {
			require.Equal(t, l.Payout.Key.PaymentID, l.Cells[0], "the sealed row opens")
		}
		rows++
	}
	require.Equal(t, 31, rows)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n, "what was being sent is in doubt, and not new")
	l, err := s.Load(t.Context(), storetest.BatchOf("fourth", nil), storetest.All([]store.Row{storetest.Row("early-1", 5, 2)}))
	require.NoError(t, err)
	require.Equal(t, 1, l.Early)
	require.Equal(t, payout.StateNew, get("early-1").State)
	require.True(t, get("early-1").NeedsCheck())
	var conflict *store.ConflictError
	_, err = s.Load(t.Context(), storetest.BatchOf("fifth", nil), storetest.All([]store.Row{storetest.Row("old-000003", 5, 2)}))
	require.ErrorAs(t, err, &conflict, "an id is never forgotten")
	storetest.Check(t, s)
}

func countNoCancelled(states map[payout.State]int) map[payout.State]int {
	delete(states, payout.StateCancelled)
	return states
}

// A store of format 4 has its exceptions and accounts filled in.
func TestMigrateFormat4(t *testing.T) {
	t.Parallel()
	format4IsWhole(t, migrated(t, "format4", 4))
}

func format4IsWhole(t *testing.T, o Options) {
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	storetest.Check(t, s)
	ids := map[payout.Exception][]string{}
	for _, is := range []payout.Exception{payout.OpenException, payout.ClosedException} {
		for h, err := range s.List(t.Context(), store.Filter{Exception: is}) {
			require.NoError(t, err)
			ids[is] = append(ids[is], h.Key.PaymentID)
		}
	}
	require.Equal(t, map[payout.Exception][]string{
		payout.OpenException:   {"old-000001", "old-000003", "old-000004", "old-000005", "new-000001", "new-000004"},
		payout.ClosedException: {"new-000003"},
	}, ids)
	twin := storetest.Row("x", 1001, 2)
	changed := storetest.Row("y", 5, 2)
	changed.Cells[6], changed.Cells[8] = "996555000000", "c-new-000000"
	out, err := s.Resembling(t.Context(), storetest.Columns, time.Now().AddDate(-100, 0, 0), []store.Row{twin, changed})
	require.NoError(t, err)
	require.Equal(t, "new-000001", out[0].Twin.Key.PaymentID)
	require.Equal(t, "new-000000", out[1].Last.Key.PaymentID)
	head, err := s.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), head.Seq)
	e, err := head.Follows(store.Link{})
	require.NoError(t, err)
	require.Equal(t, store.ActMigrated, e.Act)
}

// A migration that is cut off at any commit goes on with the next one; until then
// the store is not taken for another's, or for damaged.
func TestAMigrationThatIsCutOff(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"format1", "format3", "format4"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); cutOffEverywhere(t, name) })
	}
}

func cutOffEverywhere(t *testing.T, name string) {
	whole := map[string]func(*testing.T, Options){"format1": format1IsWhole, "format3": format3IsWhole, "format4": format4IsWhole}[name]
	cut := errors.New("cut off")
	for at := 1; ; at++ {
		o := older(t, name)
		n := 0
		s := migrator(t, o)
		s.migrated = func() error {
			if n++; n == at {
				return cut
			}
			return nil
		}
		_, _, err := s.migrate(t.Context())
		if err == nil {
			require.GreaterOrEqual(t, at, 3, "there are some commits to be cut off after")
			break
		}
		require.ErrorIs(t, err, cut)
		_, err = Open(t.Context(), o)
		require.ErrorIs(t, err, store.ErrOlder)
		require.ErrorContains(t, err, "cut off")
		_, done, err := Migrate(t.Context(), o)
		require.NoError(t, err)
		require.True(t, done)
		whole(t, o)
	}
}

func migrator(t *testing.T, o Options) *Store {
	sealer, err := seal.New(o.Key)
	require.NoError(t, err)
	return newStore(sealer, o)
}

// A migrated store is used as any other: what was open is final, what was not sent
// is sent once.
func TestAMigratedStoreGoesOn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"format1", "format3", "format4"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); goesOn(t, older(t, name)) })
	}
}

func goesOn(t *testing.T, o Options) {
	_, _, err := Migrate(t.Context(), o)
	require.NoError(t, err)
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, s.Trust(t.Context())) // it was made in another place
	b, err := s.Batch(t.Context(), storetest.BatchOf("first", nil).ID)
	require.NoError(t, err)
	for {
		c := storetest.Claim(t, s, b, 3)
		if len(c) == 0 {
			break
		}
		for _, p := range c {
			storetest.Apply(t, s, payout.Event{Key: p.Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: p.Attempt, Tries: 1, At: time.Now(), Host: "gate.example"})
		}
	}
	storetest.Check(t, s)
}

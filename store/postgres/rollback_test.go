package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/codec"
	"masspay/store/storetest"
)

// as opens a store with options that a test has changed.
func as(t *testing.T, w *world, change func(o *Options)) *Store {
	o := w.options()
	change(&o)
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// A snapshot that is put back, in the same cluster, is known as one by every process that
// lived through it, and by its machine after that: also by those that did not make the
// claims that are gone, and also when other claims have raised the generation again.
func TestASnapshotIsKnownByThoseWhoLivedThroughIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.Open(t).(*Store)
	marker := filepath.Join(t.TempDir(), "marker")
	b := as(t, w, func(o *Options) { o.Marker = marker })
	batch := storetest.Load(t, a, "a", storetest.Rows("a", 9))
	storetest.Claim(t, a, batch, 2)
	storetest.Claim(t, b, batch, 2)
	put := w.Save(t)
	require.Len(t, storetest.Claim(t, a, batch, 4), 4, "the copy will know nothing of these")
	seen := a.generationSeen()
	require.Eventually(t, func() bool { return b.generationSeen() == seen }, 5*time.Second, 10*time.Millisecond, "its beat has seen them")
	put()
	claim := store.Claim{Batch: batch.ID, N: 4, Host: "gate.example"}
	_, err := b.Claim(t.Context(), claim)
	require.ErrorIs(t, err, store.ErrRestored)
	_, err = as(t, w, func(o *Options) { o.Marker = marker }).Claim(t.Context(), claim)
	require.ErrorIs(t, err, store.ErrRestored, "another process of the machine")
	w.sql(t, fmt.Sprintf(`update %s.meta set generation = 1000`, w.o.Schema)) // claims of a machine that has seen nothing
	require.Eventually(t, func() bool {
		restored, err := b.Restored(t.Context())
		return err == nil && restored
	}, 5*time.Second, 10*time.Millisecond)
	_, err = b.Claim(t.Context(), claim)
	require.ErrorIs(t, err, store.ErrRestored, "that it went back is not forgotten")
	require.NoError(t, b.Trust(t.Context()))
	require.Len(t, storetest.Claim(t, b, batch, 1), 1)
}

// A copy of before the first claim is one, too, in another cluster.
func TestACopyOfBeforeTheFirstClaim(t *testing.T) {
	t.Parallel()
	s := newWorld(t).Open(t).(*Store)
	var m meta
	m.claimedBy = identity{"one", 1, 5}
	for _, is := range []identity{{"another", 1, 5}, {"one", 2, 5}, {"one", 1, 6}} {
		older, _ := s.older(&m, is, marker{})
		require.True(t, older, is)
	}
	older, _ := s.older(&m, m.claimedBy, marker{})
	require.False(t, older)
}

// A database that is empty, where this machine has sent from one, was lost, or is the wrong
// one: no new store is made, and what remembers it stays.
func TestNoStoreIsMadeInPlaceOfALostOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Open(t)
	storetest.Claim(t, s, storetest.Load(t, s, "a", storetest.Rows("a", 3)), 3)
	o := w.o
	o.Schema += "x"
	require.ErrorIs(t, Create(t.Context(), o), store.ErrMissing)
	used, err := Used(o)
	require.NoError(t, err)
	require.True(t, used)
}

// A process that lived through a restore knows moments of the store's clock that have not
// come yet: they do not shorten a quiet period.
func TestTheClockOfARestoredCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.Open(t).(*Store)
	batch := storetest.Load(t, old, "a", storetest.Rows("a", 3))
	put := w.Save(t)
	storetest.Claim(t, old, batch, 1)
	w.sql(t, fmt.Sprintf(`update %s.clock set at = at + 3600 * 1000000000::bigint, version = version + 1`, w.o.Schema)) // an hour goes by
	require.Eventually(t, func() bool { return old.Tick().At > time.Hour-time.Minute }, 5*time.Second, 10*time.Millisecond)
	put()
	s := w.Open(t).(*Store)
	_, err := s.Claim(t.Context(), store.Claim{Batch: batch.ID, N: 1, Host: "gate.example", AskFirst: true})
	require.NoError(t, err)
	denies := func(by *Store) store.Change {
		return storetest.Apply(t, by, payout.Event{Key: storetest.Rows("a", 1)[0].Key, Kind: payout.NotSeen, Source: payout.FromStatus, At: time.Now(), Tick: by.Tick(), Host: "gate.example"})
	}
	for range 20 {
		require.False(t, denies(s).Freed())
		require.False(t, denies(old).Freed(), "the quiet period is 15 min")
		<-time.After(20 * time.Millisecond)
	}
}

// A number is another batch's after a database went back: what was remembered of it is
// found out.
func TestABatchNumberThatIsAnothers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.Open(t).(*Store)
	require.NoError(t, old.Join(t.Context()))
	put := w.Save(t)
	x := storetest.Load(t, old, "x", storetest.Rows("x", 3))
	require.Empty(t, storetest.Claim(t, old, x, 0))
	put()
	s := w.Open(t)
	storetest.Load(t, s, "y", storetest.Rows("y", 3))
	storetest.Load(t, s, "x", storetest.Rows("x", 3))
	_, err := old.Claim(t.Context(), store.Claim{Batch: x.ID, N: 3, Host: "gate.example"})
	require.ErrorIs(t, err, store.ErrNoBatch, "the first look finds another batch")
	for _, c := range storetest.Claim(t, old, x, 3) {
		require.True(t, strings.HasPrefix(c.Key.PaymentID, "x-"), c.Key)
	}
}

// Whoever is told that it may send is silent from then on only: its fence comes later than
// anything that it may still send.
func TestAConfirmationIsABeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stuck := as(t, w, func(o *Options) { o.confirmed = time.Second })
	batch := storetest.Load(t, stuck, "a", storetest.Rows("a", 3))
	storetest.Claim(t, stuck, batch, 1)
	stuck.owner.stop() // its beats are stuck
	<-stuck.owner.done
	other := as(t, w, func(o *Options) { o.silence = 1500 * time.Millisecond })
	require.NoError(t, other.Join(t.Context()))
	<-time.After(1200 * time.Millisecond)
	require.NoError(t, stuck.MaySend(t.Context(), false))
	require.Eventually(t, func() bool {
		n, err := other.Recover(t.Context())
		return err == nil && n == 1
	}, 10*time.Second, 10*time.Millisecond)
	require.ErrorIs(t, stuck.MaySend(t.Context(), false), store.ErrFenced)
}

// A machine that stands still in the middle of a claim, while the database sends to it,
// holds its rows and its own: it is fenced all the same, and the others go on.
func TestAMachineThatStandsStillInAClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.Open(t).(*Store)
	batch := storetest.Load(t, a, "a", storetest.Rows("a", 50))
	storetest.Claim(t, a, batch, 1)
	config, err := pgx.ParseConfig(w.o.URL)
	require.NoError(t, err)
	config.RuntimeParams["application_name"] = applicationName(a.owner.id)
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `begin`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), a.sql(`select 1 from @owners where id = $1 for share`), a.owner.id)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), a.sql(`select cursor, hold from @batches where number = 1 for no key update`))
	require.NoError(t, err)
	conn.PgConn().Frontend().SendQuery(&pgproto3.Query{String: a.sql(`select l.idx, p.record, repeat('x', 100000) from @lines l join @payouts p on p.number = l.payout order by p.number for no key update of p`)})
	require.NoError(t, conn.PgConn().Frontend().Flush()) // and nobody reads
	a.owner.stop()
	<-a.owner.done
	b := as(t, w, func(o *Options) { o.silence, o.every = time.Second, 200*time.Millisecond })
	require.NoError(t, b.Join(t.Context()))
	require.Eventually(t, func() bool {
		deaths, err := b.Deaths(t.Context())
		return err == nil && deaths == 1
	}, 20*time.Second, 50*time.Millisecond)
	require.Len(t, storetest.Claim(t, b, batch, 5), 5)
}

// A probe that could not be let go, because the database was away, is let go when it is back.
func TestAProbeThatCouldNotBeLetGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.OpenFor(t, 300*time.Millisecond).(*Store)
	release, err := s.Probe(t.Context())
	require.NoError(t, err)
	free := w.Busy(t)
	require.ErrorIs(t, release(), store.ErrBusy)
	free()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	again, err := w.Open(t).Probe(ctx)
	require.NoError(t, err)
	require.NoError(t, again())
	again, err = s.Probe(ctx)
	require.NoError(t, err)
	require.NoError(t, again())
}

// Reports of an id that no file has brought, of which the oldest have expired.
func TestReportsAfterOnesThatExpired(t *testing.T) {
	t.Parallel()
	s := newWorld(t).Open(t)
	report := func(outcome payout.State, days int) payout.Event {
		return payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: "unknown"}, Kind: payout.Final, Source: payout.FromCallback, Outcome: outcome, At: time.Now().AddDate(0, 0, -days)}
	}
	require.True(t, storetest.Apply(t, s, report(payout.StatePaid, 31)).Kept)
	require.True(t, storetest.Apply(t, s, report(payout.StateReturned, 10)).Kept)
	storetest.Load(t, s, "a", storetest.Rows("a", 1))
	require.True(t, storetest.Apply(t, s, report(payout.StateDeclined, 0)).Kept)
}

// What the database heard of a payout before it was moved there is applied by the move.
func TestMoveMeetsReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := bolt.Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: w.o.Key}
	require.NoError(t, bolt.Create(t.Context(), o))
	f, err := bolt.Open(t.Context(), o)
	require.NoError(t, err)
	rows := storetest.Rows("a", 2)
	both := payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: "unknown"}, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, At: time.Now()}
	storetest.Apply(t, f, both)
	for _, p := range storetest.Claim(t, f, storetest.Load(t, f, "a", rows), 2) {
		storetest.Apply(t, f, payout.Event{Key: p.Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, At: time.Now()})
		storetest.Apply(t, f, payout.Event{Key: p.Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Reported: payout.Reported{Amount: p.Amount}, At: time.Now()})
	}
	require.NoError(t, f.Close())
	s := w.Open(t).(*Store)
	storetest.Apply(t, s, both)
	require.True(t, storetest.Apply(t, s, payout.Event{
		Key: rows[0].Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StateReturned, Reported: payout.Reported{Amount: rows[0].Amount}, At: time.Now(),
	}).Kept)
	was, err := os.ReadFile(o.Path)
	require.NoError(t, err)
	require.NoError(t, bolt.Move(t.Context(), o, "there", func(ctx context.Context, i *codec.Image) error {
		_, err := s.TakeOver(ctx, i)
		return err
	}))
	storetest.Check(t, s)
	is, err := s.Get(t.Context(), rows[0].Key)
	require.NoError(t, err)
	require.Equal(t, payout.StateReturned, is.State)

	// The file of before the move, put back in its place, is a restored copy.
	require.NoError(t, os.WriteFile(o.Path, was, 0o600))
	f, err = bolt.Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	restored, err := f.Restored(t.Context())
	require.NoError(t, err)
	require.True(t, restored)
}

// Whatever isolation a database has by default, a report that has waited for a load finds
// what that brought.
func TestIsolationIsOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	separator := "?"
	if strings.Contains(w.o.URL, "?") {
		separator = "&"
	}
	s := as(t, w, func(o *Options) { o.URL += separator + "default_transaction_isolation=repeatable%20read" })
	conn, err := pgx.Connect(t.Context(), w.o.URL)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `begin`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), s.sql(`select 1 from @meta for update`)) // the load waits for it, with lockEarly
	require.NoError(t, err)
	rows := storetest.Rows("a", 2)
	loaded, applied := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Load(t.Context(), storetest.BatchOf("a", rows), storetest.All(rows))
		loaded <- err
	}()
	<-time.After(500 * time.Millisecond)
	go func() {
		c, err := s.Apply(t.Context(), payout.Event{Key: rows[0].Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StateDeclined, At: time.Now(), Reported: payout.Reported{Amount: rows[0].Amount}})
		if err == nil && c[0].Kept {
			err = errors.New("it was kept for a load that is through")
		}
		applied <- err
	}()
	<-time.After(500 * time.Millisecond)
	_, err = conn.Exec(t.Context(), `rollback`)
	require.NoError(t, err)
	require.NoError(t, <-loaded)
	require.NoError(t, <-applied)
}

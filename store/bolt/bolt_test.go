package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"masspay/payout"
	"masspay/store"
	"masspay/store/clock"
	"masspay/store/seal"
	"masspay/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store in a temporary folder.
type world struct{ o Options }

func fresh(t testing.TB) storetest.World {
	w := &world{Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: seal.NewKey()}}
	require.NoError(t, Create(t.Context(), w.o))
	return w
}

func (w *world) Open(t testing.TB) store.Store {
	s, err := Open(t.Context(), w.o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (w *world) Kill(t testing.TB, s store.Store) {
	// The kernel frees a dying process's lock and leaves its file.
	// Once it is free, whoever recovers takes the file away at once.
	b := s.(*Store)
	require.FileExists(t, b.ownerPath(b.owner))
	require.NoError(t, b.ownLock.Unlock())
}

func (w *world) Save(t testing.TB) (put func()) {
	kept, err := os.ReadFile(w.o.Path)
	require.NoError(t, err)
	return func() { require.NoError(t, os.WriteFile(w.o.Path, kept, 0o600)) }
}

func (w *world) Busy(t testing.TB) (free func()) {
	s := w.Open(t).(*Store)
	require.NoError(t, s.turn.take(t.Context()))
	return func() { require.NoError(t, s.turn.release()) }
}

func (w *world) OpenFor(t testing.TB, wait time.Duration) store.Store {
	o := w.o
	o.Wait = wait
	s, err := Open(t.Context(), o)
	if errors.Is(err, store.ErrBusy) { // as it is meant to be; without Open's look
		sealer, failed := seal.New(o.Key)
		require.NoError(t, failed)
		s, err = newStore(sealer, o), nil
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (w *world) Damage(t testing.TB, key payout.Key) (mend func()) {
	s := w.Open(t).(*Store)
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	flip := func() {
		require.NoError(t, s.update(t.Context(), func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucketPayouts)
			v := slices.Clone(b.Get(be64(r.Number)))
			v[len(v)/2] ^= 1
			return b.Put(be64(r.Number), v)
		}))
	}
	flip()
	return flip
}

func (w *world) Files(t testing.TB) [][]byte {
	paths, err := filepath.Glob(w.o.Path + "*")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var files [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		files = append(files, b)
	}
	return files
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, fresh)
}

// gullible is a store that ignores that it is a restored copy.
type gullible struct{ *Store }

func (g gullible) Restored(context.Context) (bool, error) { return false, nil }

func (g gullible) Claim(ctx context.Context, c store.Claim) (store.Claims, error) {
	claims, err := g.Store.Claim(ctx, c)
	if errors.Is(err, store.ErrRestored) {
		if err := g.Trust(ctx); err != nil {
			return claims, err
		}
		return g.Store.Claim(ctx, c)
	}
	return claims, err
}

// gullibleWorld opens gullible stores.
type gullibleWorld struct{ storetest.World }

func (w gullibleWorld) Open(t testing.TB) store.Store { return gullible{w.World.Open(t).(*Store)} }

const runGullible = "MASSPAY_TEST_GULLIBLE"

// A store that ignores restored copies does not pass the suite.
func TestTheSuiteFindsAStoreThatIgnoresCopies(t *testing.T) {
	if os.Getenv(runGullible) != "" {
		storetest.Run(t, func(t testing.TB) storetest.World { return gullibleWorld{fresh(t)} })
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$/copy")
	cmd.Env = append(os.Environ(), runGullible+"=1")
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(said))
	require.Contains(t, string(said), "--- FAIL: "+t.Name()+"/a_restored_copy_asks_first")
	require.Contains(t, string(said), "an older copy was not known as one")
}

func BenchmarkStore(b *testing.B) { storetest.Bench(b, fresh) }

func TestFilesAreTheOwnersOnly(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	storetest.Claim(t, s, b, 1)
	l, err := openLimiter(w.o.Path, 5, 1)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	paths, err := filepath.Glob(w.o.Path + "*")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 6, "%v", paths)
	for _, p := range paths {
		st, err := os.Stat(p)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), st.Mode().Perm(), p)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	wrong := w.o
	wrong.Key = seal.NewKey()
	_, err := Open(t.Context(), wrong)
	require.ErrorIs(t, err, store.ErrKey)
	missing := w.o
	missing.Path += "x"
	_, err = Open(t.Context(), missing)
	require.ErrorIs(t, err, store.ErrMissing)
	require.NoFileExists(t, missing.Path, "nothing but init makes a store")
	require.Error(t, Create(t.Context(), w.o), "never over another")
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no store", 4096)), 0o600))
	cut := filepath.Join(t.TempDir(), "cut.db")
	copyFile(t, w.o.Path, cut)
	require.NoError(t, os.Truncate(cut, 5000))
	for _, path := range []string{text, cut} {
		w.o.Path = path
		_, err = Open(t.Context(), w.o)
		require.ErrorIs(t, err, store.ErrDamaged)
	}
}

// Another name of the same file leads to the same locks, or nowhere.
func TestAnotherNameOfTheStore(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	require.Len(t, storetest.Claim(t, s, b, 1), 1)
	o := w.o
	o.Path = filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(w.o.Path, o.Path))
	other, err := Open(t.Context(), o)
	require.NoError(t, err)
	n, err := other.Recover(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "its owner lives")
	o.Path += ".hard"
	require.NoError(t, os.Link(w.o.Path, o.Path))
	_, err = Open(t.Context(), o)
	require.ErrorContains(t, err, "second name")
	require.NoError(t, os.Remove(o.Path))
}

func TestAStoreThatVanishesIsNotRecreated(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	require.NoError(t, os.Rename(w.o.Path, w.o.Path+".away"))
	_, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
	require.ErrorIs(t, err, store.ErrMissing)
	require.NoFileExists(t, w.o.Path)
}

// What a newer masspay has written is named newer, not damaged: it is read where it
// says that it may be, and written never.
func TestNewerFormatIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	set := func(key []byte, n uint64) {
		require.NoError(t, s.burst(t.Context(), func(db *bbolt.DB) error {
			return db.Update(func(tx *boltTx) error { return tx.Bucket(bucketMeta).Put(key, be64(n)) })
		}))
	}
	set(metaFormat, format+1)
	readable, err := Open(t.Context(), w.o)
	require.NoError(t, err)
	_, err = readable.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	_, err = readable.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
	require.ErrorIs(t, err, store.ErrNewer)
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
	require.ErrorIs(t, err, store.ErrNewer, "also a process that had it open before")
	set(metaReadable, format+1)
	_, err = Open(t.Context(), w.o)
	require.ErrorIs(t, err, store.ErrNewer)
	require.NotErrorIs(t, err, store.ErrDamaged)
}

// A record with a field that this masspay does not know is not written again; that it is
// known as such, codec's tests see.
func TestANewerFieldIsNotLost(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	storetest.Load(t, s, "a", storetest.Rows("a", 1))
	require.ErrorIs(t, s.update(t.Context(), func(tx *boltTx) error {
		r, err := get(tx, 1)
		require.NoError(t, err)
		r.Newer = true
		return s.writer(tx).put(&r)
	}), store.ErrNewer)
}

func TestLoadThatDiedIsRemovedByTheNext(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	rows := storetest.Rows("a", 30_000)
	// As a crash would leave it: rows, payouts and half an index, nothing whole.
	dead := s.newLoad(storetest.BatchOf("a", rows))
	require.NoError(t, dead.begin(t.Context()))
	require.NoError(t, dead.rows(t.Context(), storetest.All(rows)))
	dead.fresh = dead.fresh[:20_000]
	require.NoError(t, dead.index(t.Context()))
	require.NoError(t, dead.sightings(t.Context()))
	_, err := s.Get(t.Context(), rows[0].Key)
	require.ErrorIs(t, err, store.ErrNoPayout)
	b := storetest.Load(t, s, "b", rows[:10])
	require.Equal(t, 10, b.Open())
	storetest.Check(t, s)
	require.NoError(t, s.view(t.Context(), func(tx *boltTx) error {
		require.Equal(t, 10, tx.Bucket(bucketIDs).Stats().KeyN)
		require.Equal(t, 10, tx.Bucket(bucketPayouts).Stats().KeyN)
		require.Equal(t, 10, tx.Bucket(bucketLines).Stats().KeyN)
		return nil
	}))
}

func TestDamageIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	rows := storetest.Rows("a", 3)
	b := storetest.Load(t, s, "a", rows)
	require.NoError(t, s.update(t.Context(), func(tx *boltTx) error {
		p := tx.Bucket(bucketPayouts)
		v := append([]byte(nil), p.Get(be64(2))...)
		v[len(v)/2] ^= 1
		return p.Put(be64(2), v)
	}))
	_, err := s.Get(t.Context(), rows[1].Key)
	require.ErrorIs(t, err, store.ErrDamaged)
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 3, Host: "h"})
	require.ErrorIs(t, err, store.ErrDamaged)
	r, err := s.Get(t.Context(), rows[0].Key)
	require.NoError(t, err)
	require.Equal(t, "new", r.State.String(), "nothing was claimed")
}

// A lock file goes with the last payout of its owner, not before.
func TestOwnersLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	files := func() []string {
		left, err := filepath.Glob(w.o.Path + ".owner-*")
		require.NoError(t, err)
		return left
	}
	dying := w.Open(t)
	require.Len(t, storetest.Claim(t, dying, b, 1), 1)
	require.NoError(t, dying.Close())
	require.Len(t, files(), 1, "it still holds a payout")
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "what it still held is in doubt")
	require.Empty(t, files())
	r, err := s.Get(t.Context(), storetest.Row("a-000000", 1, 1).Key)
	require.NoError(t, err)
	require.Zero(t, r.Bar, "its lock was free: it is dead")
	done := w.Open(t)
	c := storetest.Claim(t, done, b, 1)
	require.Len(t, c, 1)
	storetest.Apply(t, done, payout.Event{Key: c[0].Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, At: time.Now()})
	require.NoError(t, done.Close())
	require.Empty(t, files())
}

// Whether a run goes on is told by a lock that its process holds, also when its store is closed.
func TestLifeOfRuns(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s, other := w.Open(t).(*Store), w.Open(t)
	one, err := s.BeginRun(t.Context(), store.Run{Command: "run"})
	require.NoError(t, err)
	two, err := s.BeginRun(t.Context(), store.Run{Command: "reconcile"})
	require.NoError(t, err)
	lives := func() (all []store.Life) {
		latest, err := other.LatestRuns(t.Context(), 0, 9)
		require.NoError(t, err)
		i := len(latest)
		for r, err := range other.Runs(t.Context()) {
			require.NoError(t, err)
			i--
			require.Equal(t, latest[i], r)
			require.Zero(t, r.Process)
			all = append(all, r.Life)
		}
		return all
	}
	require.Equal(t, []store.Life{store.LifeGoesOn, store.LifeGoesOn}, lives())
	require.NoError(t, s.Close())
	require.Equal(t, []store.Life{store.LifeGoesOn, store.LifeGoesOn}, lives())
	require.NoError(t, s.letRunGo(one)) // as its end does
	require.Equal(t, []store.Life{store.LifeGone, store.LifeGoesOn}, lives())
	require.NoError(t, other.EndRun(t.Context(), two, store.RunEnd{}))
	require.Equal(t, []store.Life{store.LifeGone, ""}, lives())
	three, err := other.BeginRun(t.Context(), store.Run{Command: "run"})
	require.NoError(t, err)
	require.NoError(t, os.Remove(w.o.Path+".runs"))
	require.Equal(t, []store.Life{"", "", ""}, lives(), "a file that is missing proves nothing")
	require.NoError(t, other.EndRun(t.Context(), three, store.RunEnd{}))
}

// A missing lock file proves nothing: what its owner was sending is polled, and not
// freed, until the machine was restarted, or a person says so.
func TestAMissingLockFileProvesNothing(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	living := w.Open(t).(*Store)
	c := storetest.Claim(t, living, b, 2)
	require.NoError(t, living.MaySend(t.Context(), false))
	require.NoError(t, os.Remove(living.ownerPath(living.owner)))
	require.ErrorIs(t, living.MaySend(t.Context(), true), store.ErrFenced, "others may take it for dead")
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	notSeen := func(key payout.Key, after time.Duration) payout.Payout {
		return storetest.Apply(t, s, payout.Event{Key: key, Kind: payout.NotSeen, Source: payout.FromStatus, Host: "gate.example", At: time.Now().Add(after), Tick: later(after), Applied: later(after)}).After
	}
	for after := time.Minute; after < 3*time.Hour; after += 20 * time.Minute {
		require.Equal(t, payout.StateUnknown, notSeen(c[0].Key, after).State)
	}
	r, err := s.Get(t.Context(), c[0].Key)
	require.NoError(t, err)
	require.NotZero(t, r.Bar)
	paid := storetest.Apply(t, s, payout.Event{
		Key: c[1].Key, Kind: payout.Final, Outcome: payout.StatePaid, Source: payout.FromCallback, At: time.Now(), Reported: payout.Reported{Status: "success"},
	})
	require.Equal(t, payout.StatePaid, paid.After.State, "an outcome decides it all the same")
	require.NoError(t, s.AskFirst(t.Context()))
	require.Equal(t, payout.StateNew, notSeen(c[0].Key, 4*time.Hour).State, "the store's epoch has moved")
	// A file that was replaced is not its own either.
	second := w.Open(t).(*Store)
	_, err = second.becomeOwner()
	require.NoError(t, err)
	require.NoError(t, os.Rename(second.ownerPath(second.owner), second.ownerPath(second.owner)+".away"))
	require.NoError(t, os.WriteFile(second.ownerPath(second.owner), nil, 0o600))
	require.ErrorIs(t, second.MaySend(t.Context(), true), store.ErrFenced)
	storetest.Check(t, s)
}

// A proof of death outlives a Recover that was cut off: the file is removed only when
// nothing of the owner is left.
func TestAProofOfDeathIsKept(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", burstWrites+5))
	dying := w.Open(t).(*Store)
	for range 2 {
		_, err := dying.Claim(t.Context(), store.Claim{Batch: b.ID, N: burstWrites, Host: "gate.example"})
		require.NoError(t, err)
	}
	path := dying.ownerPath(dying.owner)
	w.Kill(t, dying)
	n, err := s.recoverBurst(t.Context())
	require.NoError(t, err)
	require.Equal(t, burstWrites, n)
	require.FileExists(t, path)
	require.NoError(t, os.Remove(path)) // someone tidies up
	n, err = s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, n)
	for r, err := range s.List(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		require.Zero(t, r.Bar, "%s: its death was proven", r.Key)
	}
}

// One store under two names with two sets of lock files is not written to by both.
func TestOtherLockFiles(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 9))
	claim := func(s *Store) error {
		_, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
		return err
	}
	require.NoError(t, claim(s))
	// As a second mount of the file alone has it.
	require.NoError(t, os.Rename(w.o.Path+".turn", w.o.Path+".turn.away"))
	other := w.Open(t).(*Store)
	_, err := other.Batch(t.Context(), b.ID)
	require.NoError(t, err, "it can be read")
	require.ErrorIs(t, claim(other), store.ErrLocks)
	_, err = other.BeginRun(t.Context(), store.Run{})
	require.ErrorIs(t, err, store.ErrLocks)
	require.NoError(t, other.Settle(t.Context()))
	require.NoError(t, claim(other))
	require.NoError(t, claim(s), "a process that runs goes on with the new one: it is the same name")
	require.NoError(t, os.Rename(w.o.Path+".turn.away", w.o.Path+".turn"))
	require.ErrorIs(t, claim(s), store.ErrLocks, "the other set is not the store's any more")
	require.NoError(t, s.AskFirst(t.Context()))
	c, err := storetest.Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h", AskFirst: true}))
	require.NoError(t, err)
	require.Empty(t, c)
}

// New lock files that were cut off between the store and the files repair themselves.
func TestNewLockFilesCutOff(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	require.NoError(t, s.burst(t.Context(), func(db *bbolt.DB) error {
		return s.writeUnder(db, func(tx *boltTx) error {
			return changeMeta(tx, func(m *meta) {
				require.NoError(t, m.settle(w.o.Path))
				m.locksBefore = s.turn.identity()
			})
		})
	}))
	_, err := s.BeginRun(t.Context(), store.Run{Command: "run"})
	require.NoError(t, err)
	require.NoError(t, s.view(t.Context(), func(tx *boltTx) error {
		m, err := readMeta(tx)
		require.NoError(t, err)
		require.Equal(t, m.locks, s.turn.identity())
		require.Zero(t, m.locksBefore)
		return nil
	}))
}

// A store on another machine is a copy, whatever its marker says; where machines are
// not known, the file tells.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 2))
	at := func(change func(*meta)) {
		require.NoError(t, s.update(t.Context(), func(tx *boltTx) error { return changeMeta(tx, change) }))
	}
	claim := func() error {
		_, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 0, Host: "h"})
		return err
	}
	require.NoError(t, claim())
	at(func(m *meta) { m.machine = 0 })
	require.NoError(t, claim(), "the same file")
	at(func(m *meta) { m.inode++ })
	require.ErrorIs(t, claim(), store.ErrRestored)
	restored, err := s.Restored(t.Context())
	require.NoError(t, err)
	require.True(t, restored)
	require.ErrorIs(t, s.Settle(t.Context()), store.ErrRestored, "init does not make a copy the store")
	require.NoError(t, s.AskFirst(t.Context()))
	require.NoError(t, s.Trust(t.Context()))
	require.NoError(t, claim(), "a legitimate move costs one --ask-first")
	if clock.Machine() == 0 {
		return
	}
	at(func(m *meta) { m.machine++ })
	require.ErrorIs(t, claim(), store.ErrRestored)
	at(func(m *meta) { m.machine--; m.device++ })
	require.NoError(t, claim(), "a device may get another number")
	at(func(m *meta) { m.inode++ })
	require.ErrorIs(t, claim(), store.ErrRestored, "a copy beside it, with the marker of the store")
	require.ErrorIs(t, s.Settle(t.Context()), store.ErrRestored)
}

// A damaged list of free pages leaves the file free for the next.
func TestADamagedFreelistLeavesNoLock(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	storetest.Load(t, s, "a", storetest.Rows("a", 2_000))
	whole, err := os.ReadFile(w.o.Path)
	require.NoError(t, err)
	found := false
	for at := 2 * pageSize; at < len(whole); at += pageSize {
		if binary.NativeEndian.Uint16(whole[at+8:]) == 0x10 { // a page of the list
			whole[at+8], found = 0x02, true // it says that it is a leaf
		}
	}
	require.True(t, found)
	require.NoError(t, os.WriteFile(w.o.Path, whole, 0o600))
	for range 2 {
		_, err = s.NextDue(t.Context())
		require.ErrorIs(t, err, store.ErrDamaged)
		lock := flock.New(w.o.Path)
		ok, err := lock.TryLock()
		require.NoError(t, err)
		require.True(t, ok, "no one holds the file")
		require.NoError(t, lock.Unlock())
	}
}

// Who waits for the store is told who holds it.
func TestBusyNamesTheHolder(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	o := w.o
	o.Wait = 50 * time.Millisecond
	require.NoError(t, s.burst(t.Context(), func(*bbolt.DB) error {
		_, err := Open(t.Context(), o)
		require.ErrorIs(t, err, store.ErrBusy)
		require.ErrorContains(t, err, fmt.Sprintf("held by process %d (", os.Getpid()))
		return nil
	}))
}

func TestBusyIsSaidAfterAWhile(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	for _, file := range []string{".turn", ".queue"} {
		held := flock.New(w.o.Path + file)
		require.NoError(t, held.Lock())
		o := w.o
		o.Wait = 50 * time.Millisecond
		_, err := Open(t.Context(), o)
		require.ErrorIs(t, err, store.ErrBusy)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.NextDue(ctx)
		require.ErrorIs(t, err, context.Canceled, "who gives up is not kept")
		require.NoError(t, held.Unlock())
		_, err = s.NextDue(t.Context())
		require.NoError(t, err, "and takes nothing with him")
	}
}

// Two processes at one store: neither starves.
func TestTurnsAreFair(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	var done [2]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range done {
		s := w.Open(t)
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.NextDue(ctx); err == nil && done[0].Load()+done[1].Load() > 400 {
					stop()
				}
				done[i].Add(1)
			}
		})
	}
	wg.Wait()
	stop()
	require.Greater(t, done[0].Load(), int64(80), "of 400 turns")
	require.Greater(t, done[1].Load(), int64(80), "of 400 turns")
}

// A load that dies right before it is whole has its ids in the index already.
// They do not count, and what the gate says of them waits for the next load.
func TestALoadThatDiesAtItsEndDoesNotCount(t *testing.T) {
	t.Parallel()
	w, _ := fresh(t).(*world)
	s, _ := w.Open(t).(*Store)
	rows := storetest.Rows("a", 10)
	l := s.newLoad(storetest.BatchOf("a", rows))
	require.NoError(t, l.begin(t.Context()))
	require.NoError(t, l.rows(t.Context(), storetest.All(rows)))
	require.NoError(t, l.index(t.Context()))
	found, err := s.Lookup(t.Context(), []payout.Key{rows[3].Key})
	require.NoError(t, err)
	require.Empty(t, found)
	c := storetest.Apply(t, s, payout.Event{
		Key: rows[3].Key, Kind: payout.Final, Outcome: payout.StatePaid, Source: payout.FromCallback, At: time.Now(),
		Customer: "c-" + rows[3].Key.PaymentID, Reported: payout.Reported{Amount: rows[3].Amount}, Made: time.Now(),
	})
	require.True(t, c.Kept, "not applied to a payout that will be gone")
	b := storetest.Load(t, s, "a", rows)
	require.Equal(t, 1, b.InState(payout.StatePaid), "the next load knows what was said")
	storetest.Check(t, s)
}

// Accounts are forgotten by the first load after the days for which they are kept; customers
// are not.
func TestSightingsAreForgotten(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	now := time.Now()
	w.o.Now = func() time.Time { return now }
	s := w.Open(t).(*Store)
	kept := func() (n, customers int) {
		require.NoError(t, s.view(t.Context(), func(tx *bbolt.Tx) error {
			n, customers = tx.Bucket(bucketSightings).Stats().KeyN, tx.Bucket(bucketCustomers).Stats().KeyN
			return nil
		}))
		return n, customers
	}
	storetest.Load(t, s, "a", storetest.Rows("a", 30))
	now = now.Add(store.KeepFor - time.Minute)
	storetest.Load(t, s, "b", storetest.Rows("b", 20))
	n, _ := kept()
	require.Equal(t, 50, n)
	now = now.Add(2 * time.Minute)
	storetest.Load(t, s, "c", storetest.Rows("c", 10))
	n, customers := kept()
	require.Equal(t, []int{30, 60}, []int{n, customers})
	storetest.Check(t, s)
	// Who looks back less forgets nothing for the others.
	w.o.KeepFor = time.Minute
	now = now.Add(time.Hour)
	storetest.Load(t, w.Open(t), "d", storetest.Rows("d", 5))
	n, _ = kept()
	require.Equal(t, 35, n)
}

// Of a batch 200 codes are told apart, whatever comes and goes; Examine counts the same.
func TestVeryManyCodes(t *testing.T) {
	t.Parallel()
	p, counted := &progress{counts: map[countKey]tally{}}, &progress{counts: map[countKey]tally{}}
	declined := func(code int) *payout.Payout {
		return &payout.Payout{State: payout.StateDeclined, Amount: payout.Amount{Minor: 1, Currency: "KGS"}, Reported: payout.Reported{Code: strconv.Itoa(code)}}
	}
	for i := range 2 * store.MaxCodes {
		p.add(declined(i), +1)
	}
	for i := range store.MaxCodes {
		p.add(declined(i), -1) // those that are told apart; others do not take their places
	}
	p.add(declined(3), +1)
	p.add(declined(2*store.MaxCodes), +1)
	for i := store.MaxCodes; i <= 2*store.MaxCodes; i++ {
		counted.codes = 0
		counted.add(declined(i), +1)
	}
	counted.codes = 0
	counted.add(declined(3), +1)
	read, err := decodeProgress(be32(1), p.encode(be32(1)))
	require.NoError(t, err)
	require.Equal(t, p, read)
	require.True(t, read.like(counted.counts))
	require.Equal(t, int64(store.MaxCodes+1), read.counts[countKey{payout.StateDeclined, "KGS", store.OtherCodes}].n)
	counted.codes = 0
	counted.add(declined(3), +1)
	require.False(t, read.like(counted.counts))
}

// A clock that was set back between two loads hides neither of them.
func TestSightingsWhenTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	now := time.Now()
	w.o.Now = func() time.Time { return now }
	s := w.Open(t)
	midnight := now.Add(-5 * time.Minute)
	storetest.Load(t, s, "a", storetest.Rows("a", 2))
	now = now.Add(-10 * time.Minute)
	storetest.Load(t, s, "b", storetest.Rows("b", 3))
	now = now.AddDate(0, 0, -5)
	storetest.Load(t, s, "c", storetest.Rows("c", 3))
	n := 0
	for _, err := range s.Sightings(t.Context(), midnight) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 2, n, "what was loaded today, and not what yesterday")
}

// doctor misses what is missing from an index, and from the log.
func TestWhatIsMissingIsFound(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		string(bucketSightings): "the index of accounts has 0 payouts of batch", string(bucketAudit): "the audit log is empty, and runs are known",
	} {
		w := fresh(t).(*world)
		s := w.Open(t).(*Store)
		_, err := s.BeginRun(t.Context(), store.Run{Command: "run"})
		require.NoError(t, err)
		storetest.Load(t, s, "a", storetest.Rows("a", 3))
		storetest.Check(t, s)
		require.NoError(t, s.update(t.Context(), func(tx *bbolt.Tx) error {
			require.NoError(t, tx.DeleteBucket([]byte(name)))
			_, err := tx.CreateBucket([]byte(name))
			return err
		}))
		e, err := s.Examine(t.Context())
		require.NoError(t, err)
		require.Contains(t, strings.Join(e.Wrong, "; "), says)
	}
}

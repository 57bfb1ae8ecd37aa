package bolt

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"masspay/payout"
	"masspay/store"
	"masspay/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store in a temporary folder.
type world struct{ o Options }

func fresh(t testing.TB) storetest.World {
	w := &world{Options{Path: filepath.Join(t.TempDir(), "masspay.db"), Key: NewKey()}}
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

func BenchmarkStore(b *testing.B) { storetest.Bench(b, fresh) }

// A row of 13 columns, sealed and opened.
func BenchmarkSeal(b *testing.B) {
	s, err := newSealer(NewKey())
	require.NoError(b, err)
	key := payout.Key{ProjectID: 1234, PaymentID: "night-00000001"}
	cells := []string{
		"payout", "1234", "sbp-p2p", key.PaymentID, "100000", "KGS", "996555123456", "mbank",
		"cust-000001", "198.51.100.47", "Aibek", "Asanov", "user00000001@example.com",
	}
	b.ReportAllocs()
	for b.Loop() {
		opened, err := s.open(s.seal(cells, key, 1, 1), key, 1, 1)
		if err != nil || len(opened) != len(cells) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows(s, "a", 2))
	storetest.Claim(t, s, b, 1)
	l, err := OpenLimiter(w.o.Path, 5, 1)
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
	wrong.Key = NewKey()
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
	b := storetest.Load(t, s, "a", storetest.Rows(s, "a", 2))
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

func TestAStoreThatVanishesIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows(s, "a", 2))
	require.NoError(t, os.Rename(w.o.Path, w.o.Path+".away"))
	_, err := s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
	require.ErrorIs(t, err, store.ErrMissing)
	require.NoFileExists(t, w.o.Path)
}

func TestNewerFormatIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	require.NoError(t, s.update(t.Context(), func(tx *boltTx) error { return tx.Bucket(bucketMeta).Put(metaFormat, be64(format+1)) }))
	_, err := Open(t.Context(), w.o)
	require.ErrorIs(t, err, store.ErrNewer)
}

func TestLoadThatDiedIsRemovedByTheNext(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	rows := storetest.Rows(s, "a", 30_000)
	// As a crash would leave it: rows, payouts and half an index, nothing whole.
	dead := &load{s: s, b: storetest.BatchOf("a", rows), totals: map[string]int64{}}
	require.NoError(t, dead.begin(t.Context()))
	require.NoError(t, dead.rows(t.Context(), storetest.All(rows)))
	dead.fresh = dead.fresh[:20_000]
	require.NoError(t, dead.index(t.Context()))
	_, err := s.Get(t.Context(), rows[0].Key)
	require.ErrorIs(t, err, store.ErrUnknown)
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
	rows := storetest.Rows(s, "a", 3)
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

func TestASealedRowOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	seal, err := newSealer(NewKey())
	require.NoError(t, err)
	row := storetest.Row(&Store{sealer: seal}, "p1", 5, 2)
	sealed := seal.seal(row.Cells, row.Key, 1, 7)
	got, err := seal.open(sealed, row.Key, 1, 7)
	require.NoError(t, err)
	require.Equal(t, row.Cells, got)
	other := row.Key
	other.PaymentID = "p2"
	for _, try := range []func() ([]string, error){
		func() ([]string, error) { return seal.open(sealed, other, 1, 7) },
		func() ([]string, error) { return seal.open(sealed, row.Key, 2, 7) },
		func() ([]string, error) { return seal.open(sealed, row.Key, 1, 8) },
	} {
		_, err := try()
		require.ErrorIs(t, err, store.ErrDamaged)
	}
}

func TestOwnersLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows(s, "a", 2))
	dying := w.Open(t)
	require.Len(t, storetest.Claim(t, dying, b, 1), 1)
	require.NoError(t, dying.Close())
	left, err := filepath.Glob(w.o.Path + ".owner-*")
	require.NoError(t, err)
	require.Empty(t, left)
	n, err := s.Recover(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "what it still held is in doubt")
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
	rows := storetest.Rows(s, "a", 10)
	l := &load{s: s, b: storetest.BatchOf("a", rows), totals: map[string]int64{}}
	require.NoError(t, l.begin(t.Context()))
	require.NoError(t, l.rows(t.Context(), storetest.All(rows)))
	require.NoError(t, l.index(t.Context()))
	found, err := s.Lookup(t.Context(), []payout.Digest{s.DigestID(rows[3].Key)})
	require.NoError(t, err)
	require.Zero(t, found[0].Number)
	c := storetest.Apply(t, s, payout.Event{Key: rows[3].Key, Kind: payout.Verdict, Outcome: payout.StatePaid, Source: payout.FromCallback, At: time.Now()})
	require.True(t, c.Kept, "not applied to a payout that will be gone")
	b := storetest.Load(t, s, "a", rows)
	require.Equal(t, 1, b.InState(payout.StatePaid), "the next load knows what was said")
	storetest.Check(t, s)
}

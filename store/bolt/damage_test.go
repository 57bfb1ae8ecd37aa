package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/storetest"
)

var damageFlips = flag.Int("damage.flips", 400, "how many bits TestFlippedBits flips, one at a time")

// eventful makes a store in which a lot has happened, and returns what is true
// of it.
func eventful(t *testing.T) (w *world, truth map[payout.Key]payout.State) {
	w, _ = fresh(t).(*world)
	s := w.Open(t)
	a := storetest.Load(t, s, "a", storetest.Rows("a", 120))
	claimed := storetest.Claim(t, s, a, 60)
	for i, c := range claimed {
		kind := []payout.Kind{payout.Accepted, payout.Doubtful, payout.Unsent, payout.Refused, payout.Accepted}[i%5]
		storetest.Apply(t, s, payout.Event{Key: c.Key, Kind: kind, Source: payout.FromRun, Attempt: c.Attempt, Tries: 1, Host: "h", At: time.Now(), Reported: payout.Reported{RequestID: "r"}})
		if i%10 == 0 {
			storetest.Apply(t, s, payout.Event{Key: c.Key, Kind: payout.Final, Source: payout.FromCallback, Outcome: payout.StatePaid, Reported: payout.Reported{Status: "success"}, At: time.Now()})
		}
	}
	storetest.Load(t, s, "b", slices.Concat(storetest.Rows("a", 120)[:20], storetest.Rows("b", 50)))
	storetest.Apply(t, s, payout.Event{Key: payout.Key{ProjectID: 1234, PaymentID: "early"}, Kind: payout.Progress, Source: payout.FromCallback, At: time.Now()})
	storetest.Claim(t, s, a, 5) // held by a process that will be dead
	w.Kill(t, s)
	return w, statesOf(t, w.Open(t))
}

func statesOf(t testing.TB, s store.Store) map[payout.Key]payout.State {
	states := map[payout.Key]payout.State{}
	for r, err := range s.List(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		states[r.Key] = r.State
	}
	return states
}

// try uses a store that may be damaged as the next run would: it brings a new
// file with ids that are known, claims, and reads. It returns the first error.
// Whatever it does, it must not take what is known for new, and must not hand
// out what was sent.
func try(t *testing.T, o Options, truth map[payout.Key]payout.State, what string) error {
	ctx := context.WithoutCancel(t.Context())
	s, err := Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	rows := slices.Concat(storetest.Rows("a", 120), storetest.Rows("b", 50))
	l, err := s.Load(ctx, storetest.BatchOf("again", rows), storetest.All(rows))
	if err == nil {
		require.Zero(t, l.New, "%s: ids that are known were taken for new", what)
	}
	first := err
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return errors.Join(first, err)
		}
		claimed, err := storetest.Payouts(s.Claim(ctx, store.Claim{Batch: b.ID, N: 1_000, Host: "h"}))
		for _, c := range claimed {
			require.Equal(t, payout.StateNew, truth[c.Key], "%s: %s was handed out again", what, c.Key)
			require.Equal(t, c.Key.PaymentID, c.Cells[3], what)
		}
		if err != nil {
			return errors.Join(first, err)
		}
	}
	for r, err := range s.List(ctx, store.Filter{Events: true}) {
		if err != nil {
			return errors.Join(first, err)
		}
		was, known := truth[r.Key]
		require.True(t, known, "%s: %s came from nowhere", what, r.Key)
		require.True(t, r.State == was || was == payout.StateNew && r.State == payout.StateSending, "%s: %s was %s and is %s", what, r.Key, was, r.State)
	}
	return first
}

// Every flipped bit is named, or it is where nothing is.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	w, truth := eventful(t)
	whole, err := os.ReadFile(w.o.Path)
	require.NoError(t, err)
	marker, err := os.ReadFile(w.o.Path + ".marker")
	require.NoError(t, err)
	turn, err := os.ReadFile(w.o.Path + ".turn")
	require.NoError(t, err)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	named, harmless, missed := 0, 0, 0
	for range *damageFlips {
		at, bit := rng.IntN(len(whole)), rng.IntN(8)
		what := fmt.Sprintf("seed %d, bit %d of byte %d, page %d", seed, bit, at, at/os.Getpagesize())
		o := w.o
		damaged := slices.Clone(whole)
		damaged[at] ^= 1 << bit
		// In place: elsewhere it would be a copy, and refused as one.
		require.NoError(t, errors.Join(os.WriteFile(o.Path, damaged, 0o600), os.WriteFile(o.Path+".marker", marker, 0o600), os.WriteFile(o.Path+".turn", turn, 0o600)))
		e, examined := Examine(t.Context(), o)
		err := try(t, o, truth, what)
		if keep := os.Getenv("DAMAGE_KEEP"); err != nil && examined == nil && len(e.Wrong)+len(e.Notes) == 0 && keep != "" {
			require.NoError(t, errors.Join(os.WriteFile(keep, damaged, 0o600), os.WriteFile(keep+".whole", whole, 0o600)))
		}
		switch {
		case err != nil:
			named++
			require.True(t, errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrRestored) || errors.Is(err, store.ErrNewer) || bytesOf(metaFormat, whole, at), "%s: %v", what, err)
			require.True(t, examined != nil || len(e.Wrong)+len(e.Notes) > 0, "%s: a run says %v, and the doctor nothing", what, err)
		case examined != nil || len(e.Wrong)+len(e.Notes) > 0:
			missed++ // an index that only the doctor reads; no payout was touched
		default:
			harmless++
		}
	}
	t.Logf("%d bits: %d named by the next run, %d by the doctor alone, %d in unused space", *damageFlips, named, missed, harmless)
	require.NotZero(t, named)
}

// bytesOf reports whether a place lies in the format's number, of which every
// value but the right one is refused with words of its own.
func bytesOf(key, whole []byte, at int) bool {
	for i := range max(0, len(whole)-len(key)) {
		if slices.Equal(whole[i:i+len(key)], key) && at >= i && at < i+len(key)+8 {
			return true
		}
	}
	return false
}

// A store that was cut short is named, at every length.
func TestCutShort(t *testing.T) {
	t.Parallel()
	w, truth := eventful(t)
	whole, err := os.ReadFile(w.o.Path)
	require.NoError(t, err)
	marker, err := os.ReadFile(w.o.Path + ".marker")
	require.NoError(t, err)
	turn, err := os.ReadFile(w.o.Path + ".turn")
	require.NoError(t, err)
	lengths := map[int]bool{0: true, 1: true, pageSize: true, 2 * pageSize: true, 2*pageSize + 1: true, 3 * pageSize: true}
	for i := range 40 {
		lengths[len(whole)*i/40] = true
	}
	for _, n := range slices.Sorted(maps.Keys(lengths)) {
		o := w.o
		require.NoError(t, errors.Join(os.WriteFile(o.Path, whole[:n], 0o600), os.WriteFile(o.Path+".marker", marker, 0o600), os.WriteFile(o.Path+".turn", turn, 0o600)))
		e, examined := Examine(t.Context(), o)
		err := try(t, o, truth, fmt.Sprint("cut to ", n))
		if err == nil {
			continue // what is missing was never used
		}
		require.ErrorIs(t, err, store.ErrDamaged, "cut to %d", n)
		require.True(t, examined != nil || len(e.Wrong) > 0, "cut to %d", n)
		require.NoFileExists(t, o.Path+".new")
	}
}

// A claim whose commit failed hands nothing out, though it had found something.
func TestAClaimThatFailsHandsNothingOut(t *testing.T) {
	t.Parallel()
	w, _ := fresh(t).(*world)
	s, _ := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 5))
	require.NoError(t, s.update(t.Context(), func(tx *boltTx) error { return tx.DeleteBucket(bucketHosts) }))
	claimed, err := storetest.Payouts(s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 5, Host: "h"}))
	require.ErrorIs(t, err, store.ErrDamaged)
	require.Empty(t, claimed)
	for r, err := range s.List(t.Context(), store.Filter{}) {
		require.NoError(t, err)
		require.Equal(t, payout.StateNew, r.State)
	}
}

// bbolt keeps only the text of some errors of the system.
func TestErrorsOfTheSystemAreNamed(t *testing.T) {
	t.Parallel()
	require.NoError(t, restoreErrno(nil))
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		err := restoreErrno(fmt.Errorf("file sync error: %s", &os.PathError{Op: "sync", Path: "masspay.db", Err: errno})) //nolint:errorlint // as bbolt does
		require.ErrorIs(t, err, errno)
		require.Contains(t, err.Error(), "file sync error: sync masspay.db: ")
	}
	require.NotErrorIs(t, restoreErrno(errors.New("else")), syscall.EIO)
}

// Who writes has looked at every page before: one that is hidden behind another is found by the
// first change of any kind, though that change touches none of them.
func TestWhoWritesHasLooked(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	storetest.Load(t, w.Open(t), "a", storetest.Rows("a", 3000))
	whole, err := os.ReadFile(w.o.Path)
	require.NoError(t, err)
	const header, element, branch, target = 16, 16, 1, 8
	found := 0
	for at := 2 * pageSize; at+pageSize <= len(whole); at += pageSize {
		page := whole[at : at+pageSize]
		if binary.NativeEndian.Uint64(page) != uint64(at/pageSize) || binary.NativeEndian.Uint16(page[8:]) != branch || binary.NativeEndian.Uint16(page[10:]) < 2 {
			continue
		}
		hidden := slices.Clone(whole)
		first := hidden[at+header+target:]
		copy(hidden[at+header+element+target:], first[:8]) // the second leads where the first does
		require.NoError(t, os.WriteFile(w.o.Path, hidden, 0o600))
		s, err := Open(t.Context(), w.o)
		if err == nil {
			_, err = s.BeginRun(t.Context(), store.Run{Command: "run"})
		}
		if binary.NativeEndian.Uint64(first) == binary.NativeEndian.Uint64(whole[at+header+element+target:]) {
			continue
		}
		if !errors.Is(err, store.ErrDamaged) {
			require.NoError(t, err)
			unused(t, whole, at)
			continue
		}
		found++
	}
	require.GreaterOrEqual(t, found, 3, "ids, lines and payouts have branches")
	require.NoError(t, os.WriteFile(w.o.Path, whole, 0o600))
}

// unused makes sure that a page is one that nothing leads to any more: of an earlier commit.
func unused(t *testing.T, whole []byte, at int) {
	t.Helper()
	changed := slices.Clone(whole)
	copy(changed[at:at+pageSize], make([]byte, pageSize))
	require.NoError(t, inspectQuickly(bytes.NewReader(changed), int64(len(changed))), "page %d", at/pageSize)
}

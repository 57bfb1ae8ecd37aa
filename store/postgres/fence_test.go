package postgres

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/postgres/pgtest"
	"masspay/store/storetest"
)

// link is a way to the database that can be cut.
type link struct {
	dir    string
	mu     sync.Mutex
	to     string
	broken bool
	frozen chan struct{} // closed when it is thawed; nil: it flows
	conns  map[net.Conn]bool
}

// newLink makes a way to the cluster of the tests, as a socket in a folder of its own.
func newLink(t testing.TB) *link {
	t.Helper()
	pgtest.URL(t)
	c := pgtest.Shared()
	if c == nil {
		t.Skip("not a cluster of the tests' own")
	}
	return newLinkTo(t, c)
}

func newLinkTo(t testing.TB, c *pgtest.Cluster) *link {
	t.Helper()
	dir, err := os.MkdirTemp("", "masspay-link-") // a short name: it is that of a socket
	require.NoError(t, err)
	l := &link{dir: dir, to: filepath.Join(c.Socket, ".s.PGSQL.5432"), conns: map[net.Conn]bool{}}
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = listener.Close()
		l.freeze()()
		l.cut()
		_ = os.RemoveAll(dir)
	})
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(c)
		}
	}()
	return l
}

func (l *link) url() string { return "postgres://masspay@/postgres?host=" + l.dir }

func (l *link) carry(c net.Conn) {
	l.flows()
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	server, err := net.Dial("unix", to)
	l.mu.Lock()
	if err != nil || l.broken {
		l.mu.Unlock()
		_ = c.Close()
		return
	}
	l.conns[c], l.conns[server] = true, true
	l.mu.Unlock()
	go func() { _, _ = io.Copy(flow{server, l}, c); _ = server.Close() }()
	_, _ = io.Copy(flow{c, l}, server)
	_ = c.Close()
}

// flow is what a link carries: it blocks while the link is frozen.
type flow struct {
	net.Conn
	l *link
}

func (f flow) Write(b []byte) (int, error) {
	f.l.flows()
	return f.Conn.Write(b)
}

// ReadFrom is not net.Conn's, which would not block.
func (f flow) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{f}, r)
}

// flows waits until the link is not frozen.
func (l *link) flows() {
	for {
		l.mu.Lock()
		frozen := l.frozen
		l.mu.Unlock()
		if frozen == nil {
			return
		}
		<-frozen
	}
}

// freeze stops what goes through the link without a word, as a router does that drops
// everything, until it is thawed.
func (l *link) freeze() (thaw func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	frozen := make(chan struct{})
	l.frozen = frozen
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.frozen = nil
		close(frozen)
	})
}

// moveTo leads what is new through the link to another cluster, and cuts what is old.
func (l *link) moveTo(c *pgtest.Cluster) {
	l.cut()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.broken = filepath.Join(c.Socket, ".s.PGSQL.5432"), false
}

// cut ends what goes through the link, and lets nothing through any more.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = false
}

// road is one machine's way to the database.
type road struct {
	url       string
	cut, mend func()
}

// A machine whose link to the database is cut stops sending before others take it for
// dead, and sends nothing when the link is back; what it heard is still applied.
func TestAMachineThatIsCutOff(t *testing.T) {
	t.Parallel()
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		l := newLink(t)
		isCutOff(t, fresh(t).(*world), road{l.url(), l.cut, l.mend})
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		l := newLink(t)
		var thaw func()
		isCutOff(t, fresh(t).(*world), road{l.url(), func() { thaw = l.freeze() }, func() { thaw() }})
	})
}

func isCutOff(t *testing.T, w *world, to road) {
	t.Helper()
	o := w.options()
	o.URL, o.every, o.confirmed, o.silence, o.Wait = to.url, 20*time.Millisecond, 600*time.Millisecond, 1800*time.Millisecond, time.Second
	cutOff, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, cutOff.Close()) }()
	o = w.options()
	o.every, o.silence = 20*time.Millisecond, 1800*time.Millisecond
	other, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	b := storetest.Load(t, other, "a", storetest.Rows("a", 6))
	c := storetest.Claim(t, cutOff, b, 3)
	require.Len(t, c, 3)
	require.NoError(t, cutOff.MaySend(t.Context(), false))
	require.NoError(t, cutOff.MaySend(t.Context(), true))
	storetest.Claim(t, other, b, 1) // it beats, and watches

	to.cut()
	begun := time.Now()
	require.ErrorIs(t, cutOff.MaySend(t.Context(), true), store.ErrFenced, "a connection that is new asks the database")
	require.Eventually(t, func() bool { return cutOff.MaySend(t.Context(), false) != nil }, 5*time.Second, time.Millisecond)
	stopped := time.Since(begun)
	recovered := 0
	require.Eventually(t, func() bool {
		n, err := other.Recover(t.Context())
		recovered += n
		return err == nil && recovered == 3
	}, 10*time.Second, 10*time.Millisecond)
	require.Less(t, stopped, time.Since(begun), "it stops sending before it is taken for dead")
	require.GreaterOrEqual(t, time.Since(begun), 1700*time.Millisecond)

	to.mend()
	require.Eventually(t, func() bool { return cutOff.MaySend(t.Context(), true) != nil && cutOff.owner.isFenced() }, 20*time.Second, 10*time.Millisecond)
	_, err = cutOff.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "gate.example"})
	require.ErrorIs(t, err, store.ErrFenced)
	changes, err := cutOff.Apply(t.Context(), payout.Event{
		Key: c[0].Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", At: time.Now(),
	})
	require.NoError(t, err)
	require.Equal(t, payout.StateAccepted, changes[0].After.State, "what it heard counts")
	require.NotZero(t, changes[0].After.Flags&payout.WasDoubted)
}

// A watcher that was without the database itself does not take the others' silence for
// death.
func TestAWatcherThatWasBlind(t *testing.T) {
	t.Parallel()
	w := &owner{silence: time.Second, watch: map[int64]watch{}, process: process{}}
	others := []living{{id: 1, beats: 5}}
	require.Empty(t, w.silent(others, 10*time.Second))
	require.Empty(t, w.silent(others, 10*time.Second+900*time.Millisecond))
	require.Len(t, w.silent(others, 11*time.Second), 1)
	w.watch = map[int64]watch{}
	require.Empty(t, w.silent(others, 12*time.Second))
	require.Empty(t, w.silent(others, 12*time.Second+watched+time.Millisecond), "it has not looked for too long: the watch starts over")
	others[0].beats++
	require.Empty(t, w.silent(others, 20*time.Second))
}

// The store's clock is kept by one process at a time, goes on when that is gone, and never
// runs faster than real time.
func TestTheClockHasAKeeper(t *testing.T) {
	t.Parallel()
	c := &storeClock{}
	_ = c
	w := newWorld(t)
	open := func() *Store {
		o := w.options()
		o.every = 10 * time.Millisecond
		s, err := Open(t.Context(), o)
		require.NoError(t, err)
		s.live()
		return s
	}
	begun := time.Now()
	all := []*Store{open(), open(), open()}
	first := all[0].Tick()
	keeper := func() (n int) {
		for i, s := range all {
			s.clock.mu.Lock()
			if s.clock.keeping {
				n += 1 << i
			}
			s.clock.mu.Unlock()
		}
		return n
	}
	require.Eventually(t, func() bool { return keeper() != 0 }, 20*time.Second, 10*time.Millisecond, "after it has stood still for a while, one takes over")
	k := keeper()
	require.Zero(t, k&(k-1), "one keeper")
	require.Eventually(t, func() bool {
		d, ok := all[0].Tick().Since(first)
		return ok && d > 200*time.Millisecond
	}, 10*time.Second, 10*time.Millisecond, "it goes")
	for _, s := range all {
		d, ok := s.Tick().Since(first)
		require.True(t, ok)
		require.LessOrEqual(t, d, time.Since(begun))
	}
	// A keeper that ends says so, and the next one goes on at once: also where no process
	// lives for long, the clock goes.
	for _, s := range all {
		require.NoError(t, s.Close())
	}
	atOnce := 0
	for range 3 {
		s := open()
		at, begun := s.Tick(), time.Now()
		require.Eventually(t, func() bool {
			d, ok := s.Tick().Since(at)
			return ok && d > 50*time.Millisecond
		}, time.Minute, 10*time.Millisecond)
		if time.Since(begun) < takeOver-time.Second {
			atOnce++ // a busy machine may be late once
		}
		require.NoError(t, s.Close())
	}
	require.NotZero(t, atOnce, "each has waited for the one before as for a dead one")
}

// A process that is suspended between its locks and its commit does not keep the others.
func TestSuspendedInsideATransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.idle = 100 * time.Millisecond
	suspended, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, suspended.Close()) }()
	other := w.Open(t)
	b := storetest.Load(t, other, "a", storetest.Rows("a", 3))
	err = suspended.write(t.Context(), nil, func(ctx context.Context, t *tx) error {
		if _, err := t.c.Exec(ctx, suspended.sql(`select 1 from @batches where number = $1 for update`), int64(b.Number)); err != nil {
			return err
		}
		<-time.After(500 * time.Millisecond) // as SIGSTOP would
		return t.commit(ctx, nil)
	})
	require.ErrorIs(t, err, store.ErrBusy)
	require.Len(t, storetest.Claim(t, other, b, 3), 3)
}

// A store whose tables a newer masspay has changed is not written by this one, also where
// it had it open before.
func TestANewerSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 1))
	w.sql(t, fmt.Sprintf(`update %s.meta set format = 9, readable_by = 9`, w.o.Schema))
	_, err := Open(t.Context(), w.options())
	require.ErrorIs(t, err, store.ErrNewer)
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "h"})
	require.ErrorIs(t, err, store.ErrNewer)
	w.sql(t, fmt.Sprintf(`update %s.meta set format = %d, readable_by = %d`, w.o.Schema, format, readableBy))
}

// A process that was fenced, and has not heard of it yet, claims nothing.
func TestAFencedProcessClaimsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.every = time.Hour // it hears of nothing
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	b := storetest.Load(t, s, "a", storetest.Rows("a", 3))
	storetest.Claim(t, s, b, 1)
	w.sql(t, fmt.Sprintf(`update %s.owners set fenced_at = now()`, w.o.Schema))
	require.NoError(t, s.MaySend(t.Context(), false), "for a while it does not know")
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "gate.example"})
	require.ErrorIs(t, err, store.ErrFenced)
	require.ErrorIs(t, s.MaySend(t.Context(), false), store.ErrFenced)
	l, err := s.Limiter(100, 1)
	require.NoError(t, err)
	require.ErrorIs(t, l.Wait(t.Context(), time.Second), store.ErrFenced, "nor does it take slots of the rate")
	is, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 2, is.Unsent())
}

// A run whose process was taken for dead, or left long ago, is gone.
func TestLifeOfRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options()
	o.every = time.Hour
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	n, err := s.BeginRun(t.Context(), store.Run{Command: "run"})
	require.NoError(t, err)
	other := w.Open(t)
	life := func() store.Life {
		latest, err := other.LatestRuns(t.Context(), 0, 1)
		require.NoError(t, err)
		require.Equal(t, n, latest[0].Number)
		return latest[0].Life
	}
	require.Equal(t, store.LifeGoesOn, life())
	w.sql(t, fmt.Sprintf(`update %s.owners set fenced_at = now()`, w.o.Schema))
	require.Equal(t, store.LifeGone, life())
	w.sql(t, fmt.Sprintf(`update %s.owners set fenced_at = null`, w.o.Schema))
	require.NoError(t, s.Close())
	require.Equal(t, store.LifeGoesOn, life(), "it has a moment to record its end")
	w.sql(t, fmt.Sprintf(`update %s.owners set closed_at = now() - interval '1 minute'`, w.o.Schema))
	require.Equal(t, store.LifeGone, life())
	w.sql(t, fmt.Sprintf(`delete from %s.owners`, w.o.Schema))
	require.Empty(t, life(), "nothing is known of it")
}

// A column that was changed by hand is damage, and not a second payment.
func TestColumnsAreHeldAgainstTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 3))
	c := storetest.Claim(t, s, b, 1)
	storetest.Apply(t, s, payout.Event{Key: c[0].Key, Kind: payout.Accepted, Source: payout.FromRun, Attempt: 1, Tries: 1, Host: "gate.example", At: time.Now()})
	for column, value := range map[string]string{"state": "'New'", "owner": "7", "poll_at": "now()"} {
		w.sql(t, fmt.Sprintf(`create table %s.kept as table %s.payouts`, w.o.Schema, w.o.Schema))
		w.sql(t, fmt.Sprintf(`update %s.payouts set %s = %s where payment_id = $1`, w.o.Schema, column, value), c[0].Key.PaymentID)
		_, err := s.Get(t.Context(), c[0].Key)
		require.ErrorIs(t, err, store.ErrDamaged, column)
		e, err := s.Examine(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, e.Wrong, column)
		w.sql(t, fmt.Sprintf(`delete from %s.payouts`, w.o.Schema))
		w.sql(t, fmt.Sprintf(`insert into %s.payouts select * from %s.kept`, w.o.Schema, w.o.Schema))
		w.sql(t, fmt.Sprintf(`drop table %s.kept`, w.o.Schema))
	}
	// What people read, and nothing depends on, Examine finds.
	w.sql(t, fmt.Sprintf(`update %s.payouts set minor = 1 where payment_id = $1`, w.o.Schema), c[0].Key.PaymentID)
	e, err := s.Examine(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, e.Wrong)
	w.sql(t, fmt.Sprintf(`update %s.payouts set minor = 1000 where payment_id = $1`, w.o.Schema), c[0].Key.PaymentID)
}

// A machine whose wall clock is not the database's loads and sends nothing; one that is a
// little off works.
func TestAClockThatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Open(t)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 6))
	for off, says := range map[time.Duration]string{
		50 * time.Second: "", -50 * time.Second: "", time.Hour: "this machine's clock is 1h0m0s ahead of the database's", -2 * time.Minute: "this machine's clock is 2m0s behind the database's",
	} {
		o := w.options()
		o.Now = func() time.Time { return time.Now().Add(off) }
		there, err := Open(t.Context(), o)
		require.NoError(t, err)
		c, err := there.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "gate.example"})
		rows := storetest.Rows(fmt.Sprint("b", off), 2)
		_, loads := there.Load(t.Context(), storetest.BatchOf(fmt.Sprint("b", off), rows), storetest.All(rows))
		if says == "" {
			require.NoError(t, err)
			require.NoError(t, loads)
			require.Len(t, c.Payouts, 1)
		} else {
			var wrong *store.ConfigError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, says, wrong.Why)
			require.ErrorAs(t, loads, &wrong)
			_, err = there.Batch(t.Context(), storetest.BatchOf(fmt.Sprint("b", off), rows).ID)
			require.ErrorIs(t, err, store.ErrNoBatch)
		}
		require.NoError(t, there.Close())
	}
}

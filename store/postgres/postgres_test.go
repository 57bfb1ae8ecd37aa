package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/postgres/pgtest"
	"masspay/store/seal"
	"masspay/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is a store in a schema of its own.
type world struct {
	o       Options
	admin   *pgx.Conn
	cluster *pgtest.Cluster // nil: not the tests' own
	mu      sync.Mutex      // admin is for one at a time

	pids sync.Mutex
	next int64
	dead map[int64]bool
}

func fresh(t testing.TB) storetest.World { return newWorld(t) }

func newWorld(t testing.TB) *world {
	url := pgtest.URL(t)
	w := newWorldAt(t, url)
	w.cluster = pgtest.Shared()
	return w
}

func newWorldAt(t testing.TB, url string) *world {
	w, err := worldAt(t, url)
	require.NoError(t, err)
	w.admin, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() {
		w.sql(t, `drop schema `+w.o.Schema+` cascade`)
		require.NoError(t, w.admin.Close(context.Background()))
	})
	return w
}

// worldAt is a world without an administrator.
func worldAt(t testing.TB, url string) (*world, error) {
	var b [6]byte
	_, _ = rand.Read(b[:])
	w := &world{dead: map[int64]bool{}, o: Options{
		URL: url, Schema: "t_" + hex.EncodeToString(b[:]), Key: seal.NewKey(), Marker: filepath.Join(t.TempDir(), "marker"), every: 100 * time.Millisecond,
	}}
	return w, Create(t.Context(), w.o)
}

func (w *world) sql(t testing.TB, statement string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.admin.Exec(context.Background(), statement, args...)
	require.NoError(t, err, statement)
}

// options are those of another process on the same machine.
func (w *world) options() Options {
	w.pids.Lock()
	defer w.pids.Unlock()
	w.next++
	o := w.o
	o.process = &process{host: "here", boot: "boot", space: "space", pid: w.next, started: 1, gone: func(p process) bool {
		w.pids.Lock()
		defer w.pids.Unlock()
		return w.dead[p.pid]
	}}
	return o
}

func (w *world) Open(t testing.TB) store.Store {
	s, err := Open(t.Context(), w.options())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (w *world) Kill(_ testing.TB, s store.Store) {
	dying := s.(*Store)
	if dying.owner.done != nil { // the dead do not beat
		dying.owner.stop()
		<-dying.owner.done
	}
	w.pids.Lock()
	defer w.pids.Unlock()
	w.dead[dying.owner.process.pid] = true
}

// tables are copied and put back in this order.
var allTables = []string{
	"meta", "clock", "owners", "claims", "batches", "counts", "payouts", "ids", "lines", "freed", "families", "early", "gates_open", "gates", "probe", "runs", "audit", "sightings", "customers", "series", "approvals", "minutes", "totals",
}

func (w *world) Save(t testing.TB) (put func()) {
	for _, table := range allTables {
		w.sql(t, fmt.Sprintf(`create table %s.saved_%s as table %s.%s`, w.o.Schema, table, w.o.Schema, table))
	}
	return func() {
		c := w.lockAll(t) // or a beat finds its owner gone, between the two statements
		for _, table := range allTables {
			for _, statement := range []string{`delete from %[1]s.%[2]s`, `insert into %[1]s.%[2]s select * from %[1]s.saved_%[2]s`} {
				_, err := c.Exec(t.Context(), fmt.Sprintf(statement, w.o.Schema, table))
				require.NoError(t, err)
			}
		}
		_, err := c.Exec(t.Context(), `commit`)
		require.NoError(t, err)
		require.NoError(t, c.Close(t.Context()))
	}
}

func (w *world) Busy(t testing.TB) (free func()) {
	c := w.lockAll(t)
	return func() {
		_, err := c.Exec(t.Context(), `rollback`)
		require.NoError(t, err)
		require.NoError(t, c.Close(t.Context()))
	}
}

// lockAll begins a transaction that keeps everyone else from the tables.
func (w *world) lockAll(t testing.TB) *pgx.Conn {
	c, err := pgx.Connect(t.Context(), w.o.URL)
	require.NoError(t, err)
	tables := make([]string, len(allTables))
	for i, table := range allTables {
		tables[i] = w.o.Schema + "." + table
	}
	lock := `begin; lock table ` + strings.Join(tables, ", ") + ` in access exclusive mode`
	for {
		_, err = c.Exec(t.Context(), lock)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "40P01" { // a deadlock with a beat, which takes the tables in its own order
			break
		}
		_, err = c.Exec(t.Context(), `rollback`)
		require.NoError(t, err)
	}
	require.NoError(t, err)
	return c
}

func (w *world) OpenFor(t testing.TB, wait time.Duration) store.Store {
	o := w.options()
	o.Wait = wait
	s, err := connect(o) // without Open's look: it may be busy
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func (w *world) Damage(t testing.TB, key payout.Key) (mend func()) {
	flip := func() {
		w.sql(t, fmt.Sprintf(`update %s.payouts set record = set_byte(record, length(record)/2, get_byte(record, length(record)/2) # 1) where payment_id = $1`, w.o.Schema), key.PaymentID)
	}
	flip()
	return flip
}

// Files are those of the whole cluster, its write-ahead log among them.
func (w *world) Files(t testing.TB) (files [][]byte) {
	c := w.cluster
	if c == nil {
		t.Skip("not a cluster of the tests' own")
	}
	w.sql(t, `checkpoint`)
	for _, b := range c.Files() {
		files = append(files, b)
	}
	require.NotEmpty(t, files)
	return files
}

func TestStore(t *testing.T) {
	t.Parallel()
	pgtest.URL(t)
	storetest.Run(t, fresh)
}

func BenchmarkStore(b *testing.B) { storetest.Bench(b, fresh) }

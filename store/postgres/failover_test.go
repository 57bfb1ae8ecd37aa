package postgres

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
	"masspay/store/postgres/pgtest"
	"masspay/store/seal"
	"masspay/store/storetest"
)

// cluster starts a server of the test's own.
func cluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c, err := pgtest.Start(pgtest.Memory())
	if err != nil {
		pgtest.Missing(t, err)
	}
	t.Cleanup(c.Remove)
	return c
}

func optionsOf(t *testing.T, c *pgtest.Cluster) Options {
	return Options{URL: c.URL("postgres"), Key: seal.NewKey(), Marker: filepath.Join(t.TempDir(), "marker"), Wait: 5 * time.Second}
}

func run(t *testing.T, c *pgtest.Cluster, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), statement)
	require.NoError(t, err)
}

// A failover to a standby that lacks the last commits looks healthy. It is known as a
// restored copy: by the machines that have seen the lost claims, by their markers, and by
// every other one, because its timeline is another.
func TestAFailoverThatLostCommits(t *testing.T) {
	t.Parallel()
	primary := cluster(t)
	o := optionsOf(t, primary)
	require.NoError(t, Create(t.Context(), o))
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	rows := storetest.Rows("a", 9)
	b := storetest.Load(t, s, "a", rows)
	require.Len(t, storetest.Claim(t, s, b, 2), 2)
	standby, err := primary.Copy()
	require.NoError(t, err)
	t.Cleanup(standby.Remove)
	require.Len(t, storetest.Claim(t, s, b, 4), 4, "the standby never hears of these")
	require.NoError(t, primary.Down("immediate"))
	require.NoError(t, s.Close())
	require.NoError(t, standby.Standby())
	require.NoError(t, standby.Up())
	o.URL = standby.URL("postgres")
	_, err = Open(t.Context(), o)
	require.ErrorIs(t, err, store.ErrBusy, "a standby takes no changes")
	require.NoError(t, standby.Run("pg_ctl", "-D", standby.Dir, "-w", "promote"))

	for name, marker := range map[string]string{"a machine that has seen the claims": o.Marker, "a new machine": filepath.Join(t.TempDir(), "new")} {
		mine := o
		mine.Marker = marker
		again, err := Open(t.Context(), mine)
		require.NoError(t, err, name)
		restored, err := again.Restored(t.Context())
		require.NoError(t, err, name)
		require.True(t, restored, name)
		_, err = again.Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: "gate.example"})
		require.ErrorIs(t, err, store.ErrRestored, name)
		require.NoError(t, again.Close())
	}
	// With a synchronous standby a new timeline is no copy, but knowing less is.
	o.Synchronous = true
	again, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, again.Close()) }()
	restored, err := again.Restored(t.Context())
	require.NoError(t, err)
	require.True(t, restored, "this machine has seen claims that it does not know of")
	fresh := o
	fresh.Marker = filepath.Join(t.TempDir(), "fresh")
	trusting, err := Open(t.Context(), fresh)
	require.NoError(t, err)
	defer func() { require.NoError(t, trusting.Close()) }()
	restored, err = trusting.Restored(t.Context())
	require.NoError(t, err)
	require.False(t, restored, "a person says that it lost nothing")

	// The gate is asked about each before it is sent.
	o.Synchronous = false
	asking, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, asking.Close()) }()
	claims, err := asking.Claim(t.Context(), store.Claim{Batch: b.ID, N: 9, Host: "gate.example", AskFirst: true})
	require.NoError(t, err)
	require.Empty(t, claims.Payouts)
	for r, err := range asking.List(t.Context(), store.Filter{States: []payout.State{payout.StateNew}}) {
		require.NoError(t, err)
		require.Fail(t, "nothing is sent unasked", "%s", r.Key)
	}
	require.NoError(t, asking.Trust(t.Context()))
	restored, err = asking.Restored(t.Context())
	require.NoError(t, err)
	require.False(t, restored)
}

// What comes out of a dump is another database, whatever it holds; so is a recovery to a
// point in time.
func TestADumpIsACopy(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	o := optionsOf(t, c)
	require.NoError(t, Create(t.Context(), o))
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 3))
	storetest.Claim(t, s, b, 1)
	require.NoError(t, s.Close())
	dump := filepath.Join(c.Socket, "dump")
	require.NoError(t, c.Run("pg_dump", "-h", c.Socket, "-U", "masspay", "-Fc", "-f", dump, "postgres"))
	run(t, c, `create database restored`)
	require.NoError(t, c.Run("pg_restore", "-h", c.Socket, "-U", "masspay", "-d", "restored", dump))
	o.URL, o.Marker = c.URL("restored"), filepath.Join(t.TempDir(), "new")
	s, err = Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	restored, err := s.Restored(t.Context())
	require.NoError(t, err)
	require.True(t, restored)
	_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 1, Host: "gate.example"})
	require.ErrorIs(t, err, store.ErrRestored)
}

func TestARecoveryToAPointInTimeIsACopy(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	archive := filepath.Join(c.Socket, "archive")
	require.NoError(t, c.Run("pg_ctl", "--version")) // the folder below belongs to the server's user
	require.NoError(t, c.Mkdir(archive))
	require.NoError(t, c.Down("fast"))
	require.NoError(t, c.Up("archive_mode=on", "'archive_command=cp %p "+archive+"/%f'"))
	o := optionsOf(t, c)
	require.NoError(t, Create(t.Context(), o))
	s, err := Open(t.Context(), o)
	require.NoError(t, err)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 5))
	storetest.Claim(t, s, b, 1)
	base, err := c.Copy()
	require.NoError(t, err)
	t.Cleanup(base.Remove)
	storetest.Claim(t, s, b, 1)
	run(t, c, `select pg_create_restore_point('here')`)
	require.Len(t, storetest.Claim(t, s, b, 2), 2, "the recovery ends before these")
	run(t, c, `select pg_switch_wal()`)
	require.NoError(t, s.Close())
	require.NoError(t, c.Down("fast"))
	require.NoError(t, base.Recover("restore_command = 'cp "+archive+"/%f %p'", "recovery_target_name = 'here'", "recovery_target_action = 'promote'"))
	require.NoError(t, base.Up())
	o.URL, o.Marker = base.URL("postgres"), filepath.Join(t.TempDir(), "new")
	s, err = Open(t.Context(), o)
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); s, err = Open(t.Context(), o) {
		<-time.After(50 * time.Millisecond) // it still recovers
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	is, err := s.Batch(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, 3, is.Unsent(), "it knows of two claims, of four")
	restored, err := s.Restored(t.Context())
	require.NoError(t, err)
	require.True(t, restored)
}

// A commit that the server made, and never confirmed: what it claimed is looked up and
// given back before anything else is claimed. None of it was sent.
func TestACommitWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"the answer does not come", "the server is stopped", "the server warns"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			o := optionsOf(t, c)
			o.Wait = time.Second
			require.NoError(t, Create(t.Context(), o))
			s, err := Open(t.Context(), o)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			b := storetest.Load(t, s, "a", storetest.Rows("a", 5))
			require.Len(t, storetest.Claim(t, s, b, 1), 1)
			// A standby that is named and does not exist: every commit waits for it.
			run(t, c, `alter system set synchronous_standby_names = 'nobody'`)
			run(t, c, `select pg_reload_conf()`)
			<-time.After(300 * time.Millisecond) // its processes read it each for itself
			if how == "the server warns" {
				go func() {
					<-time.After(300 * time.Millisecond)
					conn, err := pgx.Connect(context.Background(), c.URL("postgres"))
					if err == nil {
						_, _ = conn.Exec(context.Background(), `select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and pid <> pg_backend_pid()`)
						_ = conn.Close(context.Background())
					}
				}()
			}
			_, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "gate.example"})
			require.ErrorIs(t, err, store.ErrBusy)
			if how == "the server is stopped" {
				require.NoError(t, c.Down("immediate"))
				require.NoError(t, c.Up("synchronous_standby_names="))
			} else {
				run(t, c, `alter system set synchronous_standby_names = ''`)
				run(t, c, `select pg_reload_conf()`)
			}
			var claims store.Claims
			require.Eventually(t, func() bool {
				claims, err = s.Claim(t.Context(), store.Claim{Batch: b.ID, N: 2, Host: "gate.example"})
				return err == nil
			}, 20*time.Second, 50*time.Millisecond)
			require.Len(t, claims.Payouts, 2)
			for i, p := range claims.Payouts {
				require.Equal(t, fmt.Sprintf("a-%06d", i+1), p.Key.PaymentID, "in line order, as if nothing had been")
				require.Equal(t, 2, p.Attempt, "the first attempt was committed, and given back")
				require.Zero(t, p.Tries)
				require.False(t, p.Doubted)
			}
			storetest.Check(t, s)
		})
	}
}

// The whole suite through PgBouncer, which gives every transaction another session.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	bouncer, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bouncer = "/usr/sbin/pgbouncer"; !exists(bouncer) {
			pgtest.Missing(t, err)
		}
	}
	c := cluster(t)
	through, err := c.Bouncer(bouncer)
	require.NoError(t, err)
	storetest.Run(t, func(t testing.TB) storetest.World {
		w := newWorldAt(t, c.URL("postgres"))
		w.o.URL, w.cluster = through, c
		return w
	})
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

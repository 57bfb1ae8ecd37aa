package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/store"
)

// A process that claims has a row in owners with a beat that it raises every two seconds.
// Nothing in a database can hold a claim "while the process lives": a session is gone
// after a failover, and stays after a cut. So claims are fenced by silence:
//
//   - before the first byte of a payout request leaves, the database must have confirmed
//     at most confirmedFor ago that the owner is not fenced (MaySend);
//   - an owner is fenced when another process has watched its beat stand still for
//     silence, on its own monotonic clock, or has seen that the process is gone. That is
//     never undone; what it held becomes Unknown, and New again only a quiet period after.
//
// confirmedFor < silence < the quiet period: nothing leaves after its owner's fence.
const (
	confirmedFor = 10 * time.Second
	silence      = 30 * time.Second
	beatEvery    = 2 * time.Second
	// watched is how long a watch may be without a look. A database that was away begins
	// all watches again.
	watched = 5 * time.Second
)

// owner is this process as the store knows it.
type owner struct {
	id           int64 // in owners, once it has claimed; also the clock's keeper
	process      process
	silence      time.Duration
	confirmedFor time.Duration
	every        time.Duration
	started      time.Time // of this store, for monotonic times

	mu        sync.Mutex
	known     bool          // it is in owners
	fenced    bool          // others take it for dead
	confirmed time.Duration // when a statement began that said that it is not, on sinceBoot's clock
	claims    int64         // number of its last claim
	unsure    []int64       // claims whose commit was unsure
	stop      func()
	done      chan struct{} // closed when the beating has ended; nil: it has not begun

	watch  map[int64]watch // used by the beating only
	looked time.Duration   // when it last looked
}

// watch is what is seen of another owner.
type watch struct {
	beats int64
	since time.Duration
}

func (w *owner) init(o Options) {
	w.id = rand.Int64() | 1<<32 //nolint:gosec // to tell processes apart, not secret
	w.process, w.silence, w.confirmedFor, w.every, w.started = thisProcess(), silence, confirmedFor, beatEvery, time.Now()
	if o.process != nil {
		w.process = *o.process
	}
	if o.silence > 0 {
		w.silence = o.silence
	}
	if o.confirmed > 0 {
		w.confirmedFor = o.confirmed
	}
	if o.every > 0 {
		w.every = o.every
	}
	w.watch = map[int64]watch{}
}

// monotonic is the time since this store was opened, on a clock that is not set and does
// not count suspension.
func (w *owner) monotonic() time.Duration { return time.Since(w.started) }

// live begins to beat, once.
func (s *Store) live() {
	w := &s.owner
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.done = stop, make(chan struct{})
	go func() {
		defer close(w.done)
		t := time.NewTicker(w.every)
		defer t.Stop()
		for n := 1; ; n++ {
			_ = s.beat(ctx) // a database that is away is met by whoever needs it
			s.freeLeftProbe(ctx)
			if n%pruneEvery == 0 {
				_ = s.prune(ctx)
			}
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
}

// beat tells that this process lives, keeps the clock, and watches the others, in one
// round trip.
func (s *Store) beat(ctx context.Context) error {
	w := &s.owner
	ctx, cancel := context.WithTimeout(ctx, watched)
	defer cancel()
	now, begun := w.monotonic(), sinceBoot()
	var others []living
	b := &pgx.Batch{}
	w.mu.Lock()
	known := w.known
	w.mu.Unlock()
	if known {
		s.confirm(b, begun)
	}
	s.keep(b, w.id, now)
	// Whoever lives through it notices that the database has become another one, or knows
	// less than it did.
	var m meta
	var is identity
	before := s.generationSeen()
	s.readMeta(b, &m)
	s.readIdentity(b, &is)
	b.Queue(s.sql(`select id, beats, boot, space, pid, started from @owners where fenced_at is null and closed_at is null and id <> $1`), w.id).
		Query(func(rows pgx.Rows) (err error) { others, err = readLiving(rows); return err })
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	err = c.SendBatch(ctx, b).Close()
	c.Release()
	if err != nil {
		return err
	}
	err = s.saw(m.generation, is, before)
	for _, o := range w.silent(others, now) {
		err = errors.Join(err, s.fence(ctx, o))
	}
	return err
}

// living is another owner that is not fenced.
type living struct {
	id, beats int64
	process   process
}

func readLiving(rows pgx.Rows) (all []living, err error) {
	for rows.Next() {
		var o living
		if err := rows.Scan(&o.id, &o.beats, &o.process.boot, &o.process.space, &o.process.pid, &o.process.started); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

// silent returns those that are gone: their beat stood still for silence while this process
// looked often enough, or they were processes of this machine.
func (w *owner) silent(others []living, now time.Duration) (gone []living) {
	blind := now-w.looked > watched // what happened meanwhile is not known
	w.looked = now
	was := w.watch
	w.watch = make(map[int64]watch, len(others))
	for _, o := range others {
		seen, known := was[o.id]
		if !known || blind || seen.beats != o.beats {
			seen = watch{beats: o.beats, since: now}
		}
		w.watch[o.id] = seen
		if now-seen.since >= w.silence || w.process.sees(o.process) == processGone {
			gone = append(gone, o)
		}
	}
	return gone
}

// fence takes an owner for dead: one that was silent only if it has not beaten since. Of a
// process that is gone a last beat may still be on its way. One that was suspended in the
// middle of a claim holds its own row: its connections are ended, and the next beat fences it.
func (s *Store) fence(ctx context.Context, o living) error {
	gone := s.owner.process.sees(o.process) == processGone
	err := s.transact(ctx, fenceLocks, nil, func(ctx context.Context, t *tx) error {
		b := &pgx.Batch{}
		b.Queue(s.sql(`update @owners set fenced_at = now() where id = $1 and ($3 or beats = $2) and fenced_at is null`), o.id, o.beats, gone)
		return t.commit(ctx, b)
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "55P03" {
		_, err = s.pool.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1 and datname = current_database()`, applicationName(o.id))
	}
	return err
}

// fenceLocks is how long a fence waits for the row of the owner.
const fenceLocks = time.Second

// applicationName is what the connections of a process are known by in the database.
func applicationName(owner int64) string { return fmt.Sprintf("masspay %x", uint64(owner)) }

// confirm adds to a batch the question whether this process is fenced. Whatever asks is a
// beat: who was told to send is silent from then on only.
func (s *Store) confirm(b *pgx.Batch, begun time.Duration) {
	const statement = `update @owners set beats = beats + 1, seen_at = now() where id = $1 and fenced_at is null and closed_at is null returning 1`
	b.Queue(s.sql(statement), s.owner.id).Query(func(rows pgx.Rows) error {
		free := false
		for rows.Next() {
			free = true
		}
		if err := rows.Err(); err != nil {
			return err
		}
		s.owner.heard(free, begun)
		return nil
	})
}

// heard notes what the database said of this process to a statement that began then.
func (w *owner) heard(free bool, begun time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !free {
		w.fenced = true
		return
	}
	w.confirmed = max(w.confirmed, begun)
}

// becomeOwner enters this process into owners, once.
func (s *Store) becomeOwner(ctx context.Context) (int64, error) {
	w := &s.owner
	w.mu.Lock()
	known, fenced := w.known, w.fenced
	w.mu.Unlock()
	if fenced {
		return 0, w.error("others have taken it for dead")
	}
	if known {
		return w.id, nil
	}
	begun := sinceBoot()
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		p := w.process
		_, err := c.Exec(ctx, s.sql(`insert into @owners (id, host, boot, space, pid, started, version) values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing`),
			w.id, p.host, p.boot, p.space, p.pid, p.started, s.o.Version)
		return err
	})
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	w.known = true
	w.confirmed = max(w.confirmed, begun)
	w.mu.Unlock()
	s.live()
	return w.id, nil
}

func (w *owner) error(why string) error {
	return fmt.Errorf("%w: %s", store.ErrFenced, why)
}

// MaySend reports whether the database has confirmed recently enough that this process
// is not fenced; see store.Store. It asks again where it has not, and for a connection
// that is new: after a machine was paused and went on, no clock of it tells, but all its
// connections are dead.
func (s *Store) MaySend(ctx context.Context, dialled bool) error {
	w := &s.owner
	w.mu.Lock()
	known, fenced, age := w.known, w.fenced, sinceBoot()-w.confirmed
	w.mu.Unlock()
	switch {
	case fenced:
		return w.error("others have taken it for dead")
	case !known:
		return w.error("it holds no claim")
	case age < w.confirmedFor && !dialled:
		return nil
	}
	err := s.askConfirmed(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch age = sinceBoot() - w.confirmed; {
	case w.fenced:
		return w.error("others have taken it for dead")
	case err != nil:
		return fmt.Errorf("%w: the database has not confirmed for %.1f s that it lives: %w", store.ErrFenced, age.Seconds(), err)
	case age >= w.confirmedFor:
		return w.error(fmt.Sprintf("the database has not confirmed for %.1f s that it lives", age.Seconds()))
	}
	return nil
}

// askConfirmed asks the database whether this process is fenced, for as long as one that
// is away is waited for.
func (s *Store) askConfirmed(ctx context.Context) error {
	for end := time.Now().Add(s.o.wait()); ; {
		b := &pgx.Batch{}
		s.confirm(b, sinceBoot())
		err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { return c.SendBatch(ctx, b).Close() })
		if !errors.Is(err, store.ErrBusy) || time.Now().After(end) {
			return err
		}
		t := time.NewTimer(tryAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// leave ends the beating and gives up this process's place.
func (s *Store) leave() error {
	w := &s.owner
	w.mu.Lock()
	stop, done, known := w.stop, w.done, w.known
	w.known = false
	w.mu.Unlock()
	if done != nil {
		stop()
		<-done
	}
	s.clock.mu.Lock()
	keeping := s.clock.keeping
	s.clock.mu.Unlock()
	if !known && !keeping {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.wait())
	defer cancel()
	b := &pgx.Batch{}
	b.Queue(s.sql(`update @clock set keeper = 0 where keeper = $1`), w.id)
	b.Queue(s.sql(`update @owners set closed_at = now() where id = $1`), w.id)
	b.Queue(s.sql(`delete from @claims c where c.owner = $1 and not exists (select 1 from @payouts p where p.number = any(c.payouts) and p.owner = $1)`), w.id)
	b.Queue(s.sql(`update @probe set token = 0 where owner = $1`), w.id)
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil
	}
	defer c.Release()
	_ = c.SendBatch(ctx, b).Close() // the same
	return nil
}

func (w *owner) isFenced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fenced
}

// Package postgres keeps payouts in a PostgreSQL database that processes on many machines
// share.
//
// The database decides everything about money, in transactions; no session lock, no
// notification and no wall clock has a say in it. Processes die without a word, and a
// database may be an older copy of itself: claims are fenced by the silence of their owner
// (owner.go), and a database that is not the one of the last claim is a restored copy
// (restored.go).
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
	"masspay/store"
	"masspay/store/seal"
)

// Options are what a store is opened with.
type Options struct {
	URL      string // postgres://user@host/database?...; see pgx's ParseConfig
	Password string // empty: as the URL, PGPASSFILE or the environment say
	Schema   string // empty: DefaultSchema
	Key      seal.Key
	Marker   string // path of this machine's marker; see restored.go
	Rules    payout.Rules
	Version  string        // of masspay, shown to people
	Wait     time.Duration // for a database that is busy or away, then store.ErrBusy; 0: 10 s
	KeepFor  time.Duration // for how long rows are known again by account; 0: store.KeepFor

	// Synchronous says that the database replicates synchronously: a failover loses
	// nothing, and is no restored copy. Claims then need a standby that answers.
	Synchronous bool

	// Waited is told how long this process waited for each of its connections, and whether in
	// vain. It must not block; nil: nobody is told.
	Waited func(d time.Duration, busy bool)

	// Now is the wall clock, for the times that people read and by which polls come due;
	// nil: time.Now.
	Now func() time.Time

	process   *process      // this one; tests let others look dead
	silence   time.Duration // after which an owner is fenced; 0: 30 s
	confirmed time.Duration // for which a confirmation counts; 0: 10 s
	every     time.Duration // between beats; 0: 2 s
	idle      time.Duration // that a transaction may take between two statements; 0: 10 s
}

// DefaultSchema is the schema that masspay's tables are in.
const DefaultSchema = "masspay"

const (
	defaultWait = 10 * time.Second
	connections = 16 // of one process at the most
)

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o Options) keepFor() time.Duration { return cmp.Or(o.KeepFor, store.KeepFor) }

func (o Options) wait() time.Duration {
	if o.Wait > 0 {
		return o.Wait
	}
	return defaultWait
}

// Store is a store.Store in a PostgreSQL database.
type Store struct {
	sealer *seal.Sealer
	o      Options
	pool   *pgxpool.Pool
	schema string // with its dot
	slot   int16  // of this process, in tables of counts
	run    atomic.Pointer[store.Run]

	texts sync.Map // statements, with the schema's name in them
	owner owner
	clock storeClock

	probing   chan struct{} // held by who probes, of this process
	probeLeft atomic.Bool   // the probe could not be let go

	mu         sync.Mutex
	headers    map[int64]store.Batch // which never change
	asking     bool                  // this process has begun an epoch
	generation uint64                // highest that this process has seen
	seen       identity              // with generation
	wentBack   bool                  // the database has known more than it does: it is a copy, until a person says what it is
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Settled = (*Store)(nil)
	_ store.Peopled = (*Store)(nil)
)

// slots are how many rows a count is kept in.
const slots = 16

// Open opens a store that Create has made. It returns store.ErrMissing, store.ErrKey,
// store.ErrNewer, store.ErrOlder or store.ErrBusy.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := connect(o)
	if err != nil {
		return nil, err
	}
	if err := s.checkStore(ctx); err != nil {
		s.pool.Close()
		return nil, err
	}
	return s, nil
}

// connect makes a store without looking at its database.
func connect(o Options) (*Store, error) {
	sealer, err := seal.New(o.Key)
	if err != nil {
		return nil, err
	}
	if o.Schema == "" {
		o.Schema = DefaultSchema
	}
	c, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, &store.ConfigError{Why: "store.url is not the address of a database: " + plainText(err)}
	}
	if o.Password != "" {
		c.ConnConfig.Password = o.Password
	}
	if err := encrypted(c.ConnConfig); err != nil {
		return nil, err
	}
	// Nothing may hang on a session: PgBouncer gives each transaction another one.
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	c.ConnConfig.ConnectTimeout = min(5*time.Second, o.wait())
	s := &Store{
		sealer: sealer, o: o, schema: pgx.Identifier{o.Schema}.Sanitize() + ".",
		slot: int16(rand.IntN(slots)), headers: map[int64]store.Batch{}, probing: make(chan struct{}, 1), //nolint:gosec // any slot will do
	}
	s.owner.init(o)
	c.ConnConfig.RuntimeParams["application_name"] = applicationName(s.owner.id)
	c.ConnConfig.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" || n.Severity == "WARNING" {
			conn.CustomData()[warned] = n.Message
		}
	}
	c.MaxConns = connections
	s.pool, err = pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// warned is where a connection keeps the last warning of its server.
const warned = "masspay warned"

// encrypted refuses to send rows over a network in the clear, or to a server that is not
// known to be the one that was named.
func encrypted(c *pgx.ConnConfig) error {
	hosts := []struct {
		host   string
		secure bool
	}{{c.Host, c.TLSConfig != nil && !c.TLSConfig.InsecureSkipVerify}}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, struct {
			host   string
			secure bool
		}{f.Host, f.TLSConfig != nil && !f.TLSConfig.InsecureSkipVerify})
	}
	for _, h := range hosts {
		if h.secure || strings.HasPrefix(h.host, "/") || h.host == "localhost" {
			continue
		}
		if ip := net.ParseIP(h.host); ip != nil && ip.IsLoopback() {
			continue
		}
		return &store.ConfigError{Why: fmt.Sprintf("the connection to %s is not encrypted, or not to a server that proves its name", h.host), Hint: "put sslmode=verify-full into store.url, in the place of any other sslmode, with sslrootcert=FILE where the server's certificate is not one of the system's"}
	}
	return nil
}

// sql puts the schema's name into a statement.
func (s *Store) sql(text string) string {
	if known, ok := s.texts.Load(text); ok {
		return known.(string)
	}
	whole := strings.ReplaceAll(text, "@", s.schema)
	s.texts.Store(text, whole)
	return whole
}

// Close gives up this process's place; see store.Store.
func (s *Store) Close() error {
	err := s.leave()
	s.pool.Close()
	return err
}

// patience bounds a call: a database that is busy or away for longer is store.ErrBusy.
func (s *Store) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.o.wait(), errPatience)
}

var errPatience = errors.New("the database does not answer")

// read runs a function over a connection, in no transaction.
func (s *Store) read(ctx context.Context, do func(ctx context.Context, c *pgxpool.Conn) error) error {
	ctx, cancel := s.patience(ctx)
	defer cancel()
	c, err := s.acquire(ctx)
	if err != nil {
		return s.plain(ctx, err)
	}
	defer c.Release()
	return s.plain(ctx, do(ctx, c))
}

// acquire waits for a connection.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	begun := time.Now()
	c, err := s.pool.Acquire(ctx)
	if s.o.Waited != nil {
		s.o.Waited(time.Since(begun), err != nil && errors.Is(s.plain(ctx, err), store.ErrBusy))
	}
	return c, err
}

// Pool is the store's connections, for what lies beside it in the same database.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

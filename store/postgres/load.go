package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
	"masspay/store/seal"
)

// loadChunk is how many rows a load seals at once, and how many known payouts it looks at.
const loadChunk = 10_000

// Rows come in by COPY, into a table that is gone with the transaction, with everything that
// a payout of theirs would be if it were new; its number is that of its row, so that numbers
// have gaps. Then they are held against what is known.
const incoming = `create temporary table incoming (idx bigint, id uuid, number bigint, line bigint, skip text, sealed bytea,
	project bigint, payment_id text, method text, minor bigint, currency text, destination text, content bytea, record bytea, payout bigint, account bytea, customer bytea) on commit drop`

var incomingColumns = []string{"idx", "id", "number", "line", "skip", "sealed", "project", "payment_id", "method", "minor", "currency", "destination", "content", "record", "payout", "account", "customer"}

// Load takes a whole file or nothing, in one transaction; see store.Store.
func (s *Store) Load(ctx context.Context, b store.Batch, rows iter.Seq2[store.Row, error], allow ...store.Allowance) (store.Loaded, error) {
	sum, err := hex.DecodeString(b.ID)
	if err != nil || len(sum) != 32 {
		return store.Loaded{}, fmt.Errorf("batch id %q is not a SHA-256", b.ID)
	}
	s.live()
	l := &load{s: s, b: b, sum: sum, allow: allow, marker: s.sealer.Marker(b.Columns)}
	// It waits for other loads as long as its caller does, and for the rows of others
	// longer than a claim: a load that gives up is all for nothing.
	err = s.transact(ctx, time.Minute, nil, func(ctx context.Context, t *tx) error { return l.run(ctx, t, rows) })
	var unsure *unsureError
	if errors.As(err, &unsure) {
		if b, known := s.Batch(ctx, l.b.ID); known == nil {
			l.b, err = b, nil
		}
	}
	var broken *rowsError
	if errors.As(err, &broken) {
		return store.Loaded{}, broken.error
	}
	if err != nil {
		return store.Loaded{}, s.plain(ctx, duplicate(err))
	}
	return store.Loaded{Batch: l.b, New: l.fresh, Known: l.known, Early: l.early}, nil
}

// duplicate says that an id was in a load twice.
func duplicate(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" && strings.Contains(pg.ConstraintName, "ids_pkey") {
		return store.ErrDuplicateID
	}
	return err
}

// rowsError is an error of the rows that were to be loaded.
type rowsError struct{ error }

func (e *rowsError) Unwrap() error { return e.error }

// loadPatience is how long a load waits for the one before it.
const loadPatience = 10 * time.Minute

// load is one load under way.
type load struct {
	s         *Store
	b         store.Batch
	sum       []byte
	base      uint64 // number of the payout that the first row would have
	retries   []payout.Key
	retryRows []int64 // of retries
	fresh     int
	known     int
	early     int
	allow     []store.Allowance
	marker    seal.Marker
}

func (l *load) run(ctx context.Context, t *tx, rows iter.Seq2[store.Row, error]) error {
	var m meta
	there := false
	b := &pgx.Batch{}
	b.Queue(`select set_config('lock_timeout', $1, true)`, milliseconds(loadPatience))
	b.Queue(lockAlone, l.s.lockNumber(lockLoad))
	b.Queue(`select set_config('lock_timeout', $1, true)`, milliseconds(time.Minute))
	var pg *pgconn.PgError
	err := t.send(ctx, b)
	if errors.As(err, &pg) && pg.Code == "55P03" {
		return &store.DatabaseError{Why: fmt.Sprintf("has been taking in another file for %v", loadPatience)}
	}
	if err != nil {
		return err
	}
	b = &pgx.Batch{} // after the lock: what other loads have done is seen
	l.s.readMeta(b, &m)
	b.Queue(l.s.sql(`select exists (select 1 from @batches where id = $1)`), l.sum).QueryRow(func(row pgx.Row) error { return row.Scan(&there) })
	b.Queue(incoming)
	var database time.Time
	b.Queue(`select clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&database) })
	now := l.s.o.now()
	if err := t.send(ctx, b); err != nil {
		return err
	}
	if there {
		return store.ErrLoaded
	}
	if err := l.s.apart(now, database); err != nil {
		return err
	}
	l.base, l.b.Number = m.nextNumber, uint32(m.nextBatch)
	if err := l.copy(ctx, t, rows); err != nil {
		return err
	}
	b = &pgx.Batch{}
	b.Queue(`create index on incoming (idx)`)
	b.Queue(`analyze incoming (id, number, payout)`) // by which it is met; the others take long to look at
	b.Queue(lockAlone, l.s.lockNumber(lockEarly))
	if err := t.send(ctx, b); err != nil {
		return err
	}
	w := t.writer(ctx)
	if err := l.meet(ctx, w); err != nil {
		return err
	}
	if err := l.refuseRetries(ctx, w); err != nil {
		return err
	}
	return l.finish(ctx, t, w)
}

// copy brings the rows in. Those of the next chunk are sealed while one is under way.
func (l *load) copy(ctx context.Context, t *tx, rows iter.Seq2[store.Row, error]) error {
	next, stop := iter.Pull2(rows)
	defer stop()
	var chunk []incomingRow
	at, over := 0, false
	var broken error // of the rows, which must not be taken for the database's
	source := pgx.CopyFromFunc(func() ([]any, error) {
		if at == len(chunk) {
			if over {
				return nil, nil
			}
			var err error
			if chunk, over, err = l.prepare(next, chunk[:0]); err != nil {
				broken = err
				return nil, err
			}
			if at = 0; len(chunk) == 0 {
				return nil, nil
			}
		}
		at++
		return chunk[at-1].values(), nil
	})
	_, err := t.c.CopyFrom(ctx, pgx.Identifier{"incoming"}, incomingColumns, source)
	if broken != nil {
		return &rowsError{broken}
	}
	return err
}

// incomingRow is a row on its way into the database.
type incomingRow struct {
	row     store.Row
	index   int
	number  uint64
	id      payout.Digest
	content payout.Digest
	sealed  []byte
	record  []byte

	account, customer store.Mark
}

func (r *incomingRow) values() []any {
	p := &r.row
	if p.Skip != "" {
		return []any{int64(r.index), nil, int64(0), int64(p.Line), text(p.Skip), r.sealed, nil, nil, nil, nil, nil, nil, nil, nil, int64(0), nil, nil}
	}
	return []any{
		int64(r.index), [16]byte(r.id), int64(r.number), int64(p.Line), "", r.sealed, int64(p.Key.ProjectID), text(p.Key.PaymentID), text(p.Method),
		p.Amount.Minor, p.Amount.Currency, text(p.Masked), r.content[:], r.record, nil, r.account[:], r.customer[:],
	}
}

// prepare reads and seals the next rows, on all cores.
func (l *load) prepare(next func() (store.Row, error, bool), into []incomingRow) (chunk []incomingRow, over bool, err error) {
	for len(into) < loadChunk {
		row, err, more := next()
		if err != nil {
			return nil, false, err
		}
		if !more {
			over = true
			break
		}
		if l.b.Rows == math.MaxUint32 {
			return nil, false, errors.New("a file has at most 4,294,967,295 rows")
		}
		if _, _, retry := payout.RetryOf(row.Key.PaymentID); retry && row.Skip == "" {
			l.retries, l.retryRows = append(l.retries, row.Key), append(l.retryRows, int64(l.b.Rows))
		}
		into = append(into, incomingRow{row: row, index: l.b.Rows, number: l.base + uint64(l.b.Rows)})
		l.b.Rows++
	}
	var cores sync.WaitGroup
	for share := range slices.Chunk(into, len(into)/runtime.GOMAXPROCS(0)+1) {
		cores.Go(func() {
			for i := range share {
				l.seal(&share[i])
			}
		})
	}
	cores.Wait()
	return into, over, nil
}

func (l *load) seal(r *incomingRow) {
	index := uint32(r.index)
	r.sealed = l.s.sealer.Seal(r.row.Cells, r.row.Key, l.b.Number, index)
	if r.row.Skip != "" {
		return
	}
	r.id, r.content = l.s.sealer.DigestID(r.row.Key), l.s.sealer.DigestContent(r.row.Method, r.row.Canonical)
	r.account, r.customer = l.marker.Account(r.row.Cells), l.marker.Customer(r.row.Key.ProjectID, r.row.Cells)
	rec := newRecord(r.row, r.content, r.number, payout.Place{Batch: l.b.Number, Index: index})
	r.record = rec.Encode(be64(r.number))
}

func newRecord(row store.Row, content payout.Digest, number uint64, at payout.Place) codec.Record {
	p := payout.New(row.Key, row.Method, row.Amount)
	p.Number, p.Masked, p.Content, p.Places = number, row.Masked, content, []payout.Place{at}
	return codec.Record{Payout: p}
}

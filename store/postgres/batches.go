package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// querier is a connection, in a transaction or not.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

const selectBatches = `select b.number, b.id, b.header, b.hold, c.state, c.currency, c.code, c.n, c.minor, c.checks, c.aside, c.stuck, c.changed_at from @batches b
	left join lateral (select state, currency, code, sum(n)::bigint n, sum(minor)::bigint minor, sum(checks)::bigint checks, sum(aside)::bigint aside, sum(stuck)::bigint stuck, max(changed_at) changed_at
		from @counts where batch = b.number group by 1, 2, 3) c on true `

// readBatches reads batches with their counts, oldest first.
func (s *Store) readBatches(ctx context.Context, q querier, where string, args ...any) ([]store.Batch, error) {
	rows, err := q.Query(ctx, s.sql(selectBatches+where)+` order by b.number, c.state, c.code, c.currency`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []store.Batch
	last := int64(-1)
	for rows.Next() {
		var number int64
		var id, header, hold []byte
		var state *int16
		var currency, code *string
		var n, minor, checks, aside, stuck *int64
		var changed *time.Time
		if err := rows.Scan(&number, &id, &header, &hold, &state, &currency, &code, &n, &minor, &checks, &aside, &stuck, &changed); err != nil {
			return nil, err
		}
		if number != last {
			b, err := decodeHeader(id, header)
			if err != nil {
				return nil, err
			}
			if hold != nil {
				if err := json.Unmarshal(hold, &b.Held); err != nil {
					return nil, fmt.Errorf("%w: the hold of batch %s", store.ErrDamaged, b.Short())
				}
			}
			all, last = append(all, b), number
		}
		if state == nil {
			continue
		}
		b := &all[len(all)-1]
		if at := since(changed); at.After(b.ChangedAt) {
			b.ChangedAt = at
		}
		c := store.Count{State: payout.State(*state), N: int(*n), Check: int(*checks), Minor: *aside, Stuck: int(*stuck), Amount: payout.Amount{Minor: *minor, Currency: *currency}, Code: *code}
		if c.N != 0 || c.Amount.Minor != 0 || c.Check != 0 || c.Minor != 0 || c.Stuck != 0 {
			b.Counts = append(b.Counts, c)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if err := s.readApprovals(ctx, q, all); err != nil {
		return nil, err
	}
	for i := range all {
		slices.SortFunc(all[i].Counts, store.CompareCounts)
	}
	return all, nil
}

func (s *Store) readBatch(ctx context.Context, q querier, where string, args ...any) (store.Batch, error) {
	all, err := s.readBatches(ctx, q, "where "+where, args...)
	if err == nil && len(all) != 1 {
		err = store.ErrNoBatch
	}
	if err != nil {
		return store.Batch{}, err
	}
	return all[0], nil
}

// Batch finds a batch; see store.Store.
func (s *Store) Batch(ctx context.Context, id string) (found store.Batch, err error) {
	prefix := strings.ToLower(id)
	if len(id) < 4 || len(id) > 64 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return found, fmt.Errorf("%q: %w", id, store.ErrNoBatch)
	}
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		all, err := s.readBatches(ctx, c, `where encode(b.id, 'hex') like $1 || '%'`, prefix)
		switch {
		case err != nil:
			return err
		case len(all) == 0:
			return fmt.Errorf("%q: %w", id, store.ErrNoBatch)
		case len(all) > 1:
			return fmt.Errorf("%q: %w: more than one batch begins so", id, store.ErrNoBatch)
		}
		found = all[0]
		return nil
	})
	return found, err
}

// Latest are the newest batches; see store.Store.
func (s *Store) Latest(ctx context.Context, before uint32, limit int) (all []store.Batch, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		all, err = s.readBatches(ctx, c, `where b.number in (select number from @batches where $1 = 0 or number < $1 order by number desc limit $2)`, int64(before), limit)
		return err
	})
	slices.Reverse(all)
	return all, err
}

// Batches streams all batches; see store.Store.
func (s *Store) Batches(ctx context.Context) iter.Seq2[store.Batch, error] {
	return stream(func(yield func(store.Batch) bool) error {
		var all []store.Batch
		err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
			all, err = s.readBatches(ctx, c, "")
			return err
		})
		for _, b := range all {
			if !yield(b) {
				return nil
			}
		}
		return err
	})
}

// stream is a sequence that ends with an error.
func stream[T any](run func(yield func(T) bool) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ended := false
		err := run(func(t T) bool {
			more := yield(t, nil)
			ended = ended || !more
			return more
		})
		if err != nil && !ended {
			var none T
			yield(none, err)
		}
	}
}

// Hold keeps a batch from being claimed; see store.Store.
func (s *Store) Hold(ctx context.Context, batch string, h store.Hold) error {
	return s.changeHold(ctx, batch, func(was *store.Hold) *store.Hold {
		if h.Replaces(was) {
			return &h
		}
		return was
	})
}

// LetGo lifts a hold; see store.Store.
func (s *Store) LetGo(ctx context.Context, batch string, kinds ...store.HoldKind) (lifted bool, err error) {
	b, err := s.Batch(ctx, batch)
	if err != nil || b.Held == nil {
		return false, err
	}
	err = s.changeHold(ctx, batch, func(was *store.Hold) *store.Hold {
		if lifted = was != nil && slices.Contains(kinds, was.Kind); lifted {
			return nil
		}
		return was
	})
	return lifted, err
}

func (s *Store) changeHold(ctx context.Context, batch string, change func(was *store.Hold) *store.Hold) error {
	header, err := s.readHeader(ctx, batch)
	if err != nil {
		return err
	}
	return s.write(ctx, nil, func(ctx context.Context, t *tx) error {
		var text []byte
		err := t.c.QueryRow(ctx, s.sql(`select hold from @batches where number = $1 for no key update`), int64(header.Number)).Scan(&text)
		if errors.Is(err, pgx.ErrNoRows) {
			err = store.ErrNoBatch
		}
		if err != nil {
			return err
		}
		var was *store.Hold
		if text != nil {
			if err := json.Unmarshal(text, &was); err != nil {
				return fmt.Errorf("%w: the hold of batch %s", store.ErrDamaged, header.Short())
			}
		}
		h := change(was)
		if h == was {
			return nil
		}
		var is []byte
		if h != nil {
			if is, err = json.Marshal(h); err != nil {
				return err
			}
		}
		b := &pgx.Batch{}
		b.Queue(s.sql(`update @batches set hold = $2 where number = $1`), int64(header.Number), is)
		if _, err := t.note(ctx, b, store.HoldEntry(header, h, s.o.now())); err != nil {
			return err
		}
		return t.commit(ctx, b)
	})
}

// unmarshal reads JSON with a checksum.
func unmarshal(what string, key, value []byte, into any) error {
	text, err := codec.Plain(what, key, value)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %s %s: %w", store.ErrDamaged, what, hex.EncodeToString(key), err)
	}
	return nil
}

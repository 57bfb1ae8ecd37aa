package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
)

// SameContent compares a payout with a row; see store.Store.
func (s *Store) SameContent(p *payout.Payout, method string, canonical []byte) bool {
	return p.Content == s.sealer.DigestContent(method, canonical)
}

// Lookup finds payouts by their ids; see store.Store. It goes through the index in
// its order, so that ids that lie together cost next to nothing.
func (s *Store) Lookup(ctx context.Context, keys []payout.Key) (map[payout.Key]*payout.Payout, error) {
	found := map[payout.Key]*payout.Payout{}
	ids := make([]payout.Digest, len(keys))
	for i, k := range keys {
		ids[i] = s.sealer.DigestID(k)
	}
	order := upTo(len(ids))
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(ids[a][:], ids[b][:]) })
	for part := range slices.Chunk(order, burstReads) {
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			first, err := unloaded(tx)
			if err != nil {
				return err
			}
			index := newIndex(tx)
			for _, i := range part {
				if !index.has(ids[i][:]) {
					continue
				}
				n, err := find(tx, ids[i], first)
				if err != nil {
					return err
				}
				if n == 0 {
					continue
				}
				r, err := get(tx, n)
				if err != nil {
					return err
				}
				if !r.FreesID() {
					found[r.Key] = &r.Payout
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// index goes through the index of ids for keys that rise.
type index struct {
	c   *bbolt.Cursor
	key []byte // where it stands; nil at the end
}

func newIndex(tx *bbolt.Tx) *index {
	x := &index{c: tx.Bucket(bucketIDs).Cursor()}
	x.key, _ = x.c.First()
	return x
}

// steps is how many entries are passed one by one before the tree is searched.
const steps = 16

func (x *index) has(id []byte) bool {
	for n := 0; x.key != nil && bytes.Compare(x.key, id) < 0; n++ {
		if n < steps {
			x.key, _ = x.c.Next()
		} else {
			x.key, _ = x.c.Seek(id)
		}
	}
	return bytes.Equal(x.key, id)
}

// Get returns a payout with its events; see store.Store.
func (s *Store) Get(ctx context.Context, key payout.Key) (rec payout.Record, err error) {
	id := s.sealer.DigestID(key)
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		first, err := unloaded(tx)
		if err != nil {
			return err
		}
		n, err := find(tx, id, first)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: %w", key, store.ErrUnknown)
		}
		rec, err = full(tx, n, true)
		return err
	})
	return rec, err
}

func full(tx *bbolt.Tx, n uint64, events bool) (payout.Record, error) {
	r, err := get(tx, n)
	if err != nil {
		return payout.Record{}, err
	}
	return r.full(events)
}

// full is the payout as callers see it.
func (r *record) full(events bool) (rec payout.Record, err error) {
	rec.Payout = r.Payout
	if events {
		rec.Events, err = r.history()
	}
	return rec, err
}

// Row returns a row of a payout; see store.Store.
func (s *Store) Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, out store.Line, err error) {
	var kept line
	var header store.Batch
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		var err error
		if header, err = readBatch(tx, be32(at.Batch)); err != nil {
			return err
		}
		key := pair32(at.Batch, at.Index)
		kept, err = decodeLine(key, tx.Bucket(bucketLines).Get(key))
		kept.sealed = slices.Clone(kept.sealed)
		return err
	})
	if err != nil {
		return nil, out, err
	}
	out = store.Line{Index: int(at.Index), Line: int(kept.line), Payout: p}
	out.Cells, err = s.sealer.Open(kept.sealed, p.Key, at.Batch, at.Index)
	return header.Columns, out, err
}

// List streams payouts; see store.Store.
func (s *Store) List(ctx context.Context, f store.Filter) iter.Seq2[payout.Record, error] {
	return func(yield func(payout.Record, error) bool) {
		scan := s.scanAll
		if f.Batch != "" {
			scan = s.scanBatch
		}
		var from []byte
		given := 0
		for {
			var burst []payout.Record
			var err error
			burst, from, err = scan(ctx, f, from)
			for _, r := range burst {
				if f.Limit > 0 && given >= f.Limit || !yield(r, nil) {
					return
				}
				given++
			}
			if err != nil {
				yield(payout.Record{}, err)
				return
			}
			if from == nil || f.Limit > 0 && given >= f.Limit {
				return
			}
		}
	}
}

func (f wanted) has(p payout.Payout) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, p.State)) && (f.batch == 0 || standsIn(p, f.batch)) &&
		(f.Gate == "" || f.Others == (p.Host != "" && !f.rules.SameGate(p.Host, f.Gate)))
}

// wanted is a filter with its batch looked up.
type wanted struct {
	store.Filter
	rules payout.Rules
	batch uint32
}

func standsIn(p payout.Payout, batch uint32) bool {
	return slices.ContainsFunc(p.Places, func(at payout.Place) bool { return at.Batch == batch })
}

func (s *Store) want(ctx context.Context, f store.Filter) (wanted, error) {
	w := wanted{Filter: f, rules: s.o.Rules}
	if f.Batch == "" {
		return w, nil
	}
	b, err := s.header(ctx, f.Batch)
	w.batch = b.Number
	return w, err
}

// burstIsFull reports whether a burst ends, after so many reads and finds.
func burstIsFull(f store.Filter, read, found int) bool {
	return read > burstReads || f.Limit > 0 && found >= f.Limit
}

// scanAll reads one burst of all payouts in load order. It returns where to go
// on, nil at the end.
func (s *Store) scanAll(ctx context.Context, f store.Filter, from []byte) (out []payout.Record, next []byte, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		m, err := readMeta(tx)
		if err != nil {
			return err
		}
		c := tx.Bucket(bucketPayouts).Cursor()
		read := 0
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if m.loading != 0 && number(k) >= m.first {
				return nil
			}
			if read++; burstIsFull(f, read, len(out)) {
				next = slices.Clone(k)
				return nil
			}
			r, err := decodeRecord(k, v)
			if err != nil {
				return err
			}
			if !(wanted{Filter: f, rules: s.o.Rules}).has(r.Payout) {
				continue
			}
			rec, err := r.full(f.Events)
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		return nil
	})
	return out, next, err
}

// scanBatch reads one burst of a batch's payouts in line order.
func (s *Store) scanBatch(ctx context.Context, f store.Filter, from []byte) (out []payout.Record, next []byte, err error) {
	w, err := s.want(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	prefix := be32(w.batch)
	if from == nil {
		from = prefix
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLines).Cursor()
		read := 0
		for k, v := c.Seek(from); len(k) == 8 && string(k[:4]) == string(prefix); k, v = c.Next() {
			if read++; burstIsFull(f, read, len(out)) {
				next = slices.Clone(k)
				return nil
			}
			l, err := decodeLine(k, v)
			if err != nil {
				return err
			}
			if l.payout == 0 {
				continue
			}
			rec, err := full(tx, l.payout, f.Events)
			if err != nil {
				return err
			}
			if w.has(rec.Payout) {
				out = append(out, rec)
			}
		}
		return nil
	})
	return out, next, err
}

// Lines streams the rows of a batch; see store.Store.
func (s *Store) Lines(ctx context.Context, batch string) iter.Seq2[store.Line, error] {
	return func(yield func(store.Line, error) bool) {
		header, err := s.header(ctx, batch)
		if err != nil {
			yield(store.Line{}, err)
			return
		}
		// The next burst is read while this one is looked at.
		type read struct {
			lines []store.Line
			err   error
		}
		ctx, stop := context.WithCancel(ctx)
		ahead := make(chan read)
		var reader sync.WaitGroup
		defer reader.Wait()
		defer stop()
		reader.Go(func() {
			defer close(ahead)
			for index := 0; index < header.Rows; {
				burst, err := s.lineBurst(ctx, header, index)
				select {
				case ahead <- read{burst, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
				index += len(burst)
			}
		})
		given := 0
		for r := range ahead {
			if r.err != nil {
				yield(store.Line{}, r.err)
				return
			}
			for _, l := range r.lines {
				if !yield(l, nil) {
					return
				}
				given++
			}
		}
		if given < header.Rows {
			yield(store.Line{}, ctx.Err())
		}
	}
}

// inTurn finds keys that mostly follow each other without a search for each.
type inTurn struct {
	*bbolt.Cursor
	begun bool
}

func (c *inTurn) look(key []byte) []byte {
	if c.begun {
		if k, v := c.Next(); bytes.Equal(k, key) {
			return v
		}
	}
	c.begun = true
	return look(c.Cursor, key)
}

// lineBurst reads rows from index on. They are opened after the turn is over.
func (s *Store) lineBurst(ctx context.Context, header store.Batch, index int) ([]store.Line, error) {
	out := make([]store.Line, 0, min(burstLines, header.Rows-index))
	sealed := make([][]byte, 0, cap(out))
	var copies []byte // of what is sealed
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		var place, number [8]byte
		payouts := inTurn{Cursor: tx.Bucket(bucketPayouts).Cursor()}
		lines := tx.Bucket(bucketLines).Cursor()
		k, v := lines.Seek(append32(place[:0], header.Number, uint32(index)))
		for range cap(out) {
			if string(k) != string(append32(place[:0], header.Number, uint32(index+len(out)))) {
				return fmt.Errorf("%w: row %d of batch %s is missing", store.ErrDamaged, index+len(out)+1, header.Short())
			}
			l, err := decodeLine(k, v)
			if err != nil {
				return err
			}
			row := store.Line{Index: index + len(out), Line: int(l.line), Skip: l.skip}
			if l.payout != 0 {
				key := binary.BigEndian.AppendUint64(number[:0], l.payout)
				r, err := recordOf(tx, key, payouts.look(key))
				if err != nil {
					return err
				}
				row.Payout = r.Payout
			}
			out = append(out, row)
			if copies == nil {
				copies = make([]byte, 0, cap(out)*(len(l.sealed)+16)) // most rows are about as long
			}
			start := len(copies)
			copies = append(copies, l.sealed...)
			sealed = append(sealed, copies[start:len(copies):len(copies)])
			k, v = lines.Next()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Cells, err = s.sealer.Open(sealed[i], out[i].Payout.Key, header.Number, uint32(out[i].Index))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// header returns a batch without its counts.
func (s *Store) header(ctx context.Context, id string) (store.Batch, error) {
	s.mu.Lock()
	for _, b := range s.columns {
		if b.ID == id {
			s.mu.Unlock()
			return b, nil
		}
	}
	s.mu.Unlock()
	b, err := s.Batch(ctx, id)
	if err != nil {
		return b, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.columns[b.Number] = b
	return b, nil
}

// Batch finds a batch; see store.Store.
func (s *Store) Batch(ctx context.Context, id string) (found store.Batch, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		var sum, n []byte
		c := tx.Bucket(bucketNames).Cursor()
		prefix, odd := hexPrefix(id)
		if prefix == nil {
			return fmt.Errorf("%q: %w", id, store.ErrNoBatch)
		}
		for k, v := c.Seek(prefix); k != nil && strings.HasPrefix(string(k), string(prefix)); k, v = c.Next() {
			if odd && !strings.HasPrefix(hex.EncodeToString(k), strings.ToLower(id)) {
				continue
			}
			if n != nil {
				return fmt.Errorf("%q: %w: more than one batch begins so", id, store.ErrNoBatch)
			}
			sum, n = k, v
		}
		if n == nil {
			return fmt.Errorf("%q: %w", id, store.ErrNoBatch)
		}
		at, err := readIndex(sum, n)
		if err != nil {
			return err
		}
		if found, err = readBatch(tx, be32(uint32(at))); err == nil && found.ID != hex.EncodeToString(sum) {
			err = fmt.Errorf("%w: %x leads to another batch", store.ErrDamaged, sum)
		}
		return err
	})
	return found, err
}

// hexPrefix turns the beginning of a batch id into bytes; odd says that half a
// byte is left over.
func hexPrefix(id string) (prefix []byte, odd bool) {
	if len(id) < 4 || len(id) > 64 {
		return nil, false
	}
	odd = len(id)%2 == 1
	prefix, err := hex.DecodeString(strings.ToLower(id[:len(id)/2*2]))
	if err != nil {
		return nil, false
	}
	return prefix, odd
}

func readBatch(tx *bbolt.Tx, key []byte) (store.Batch, error) {
	var b store.Batch
	text, err := plain("batch", key, tx.Bucket(bucketBatches).Get(key))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%w: batch: %w", store.ErrDamaged, err)
	}
	p, err := decodeProgress(key, tx.Bucket(bucketProgress).Get(key))
	if err != nil {
		return b, err
	}
	b.Counts, b.ChangedAt, b.Held = p.sorted(), p.changed, p.hold
	return b, nil
}

func (p *progress) sorted() []store.Count {
	counts := make([]store.Count, 0, len(p.counts))
	for k, c := range p.counts {
		counts = append(counts, store.Count{
			State: k.state, N: int(c.n), Check: int(c.check), Minor: c.aside, Stuck: int(c.stuck),
			Amount: payout.Amount{Minor: c.minor, Currency: k.currency},
		})
	}
	slices.SortFunc(counts, func(a, b store.Count) int {
		if a.State != b.State {
			return int(a.State) - int(b.State)
		}
		return strings.Compare(a.Amount.Currency, b.Amount.Currency)
	})
	return counts
}

// Batches streams all whole batches; see store.Store.
func (s *Store) Batches(ctx context.Context) iter.Seq2[store.Batch, error] {
	return stream(ctx, s, bucketBatches, func(tx *bbolt.Tx, k, _ []byte) (store.Batch, error) { return readBatch(tx, k) })
}

// Runs streams the runs; see store.Store.
func (s *Store) Runs(ctx context.Context) iter.Seq2[store.Run, error] {
	return stream(ctx, s, bucketRuns, func(_ *bbolt.Tx, k, v []byte) (store.Run, error) {
		return readRun(k, v)
	})
}

// stream yields a small bucket's values, one burst after the other.
func stream[T any](ctx context.Context, s *Store, bucket []byte, read func(tx *bbolt.Tx, k, v []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var from []byte
		for more := true; more; {
			var burst []T
			more = false
			err := s.view(ctx, func(tx *bbolt.Tx) error {
				c := tx.Bucket(bucket).Cursor()
				for k, v := c.Seek(from); k != nil; k, v = c.Next() {
					if len(burst) == burstReads {
						from, more = slices.Clone(k), true
						return nil
					}
					t, err := read(tx, k, v)
					if err != nil {
						return err
					}
					burst = append(burst, t)
				}
				return nil
			})
			for _, t := range burst {
				if !yield(t, nil) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
		}
	}
}

func readRun(k, v []byte) (r store.Run, err error) {
	text, err := plain("run", k, v)
	if err != nil {
		return r, err
	}
	err = json.Unmarshal(text, &r)
	r.Number = number(k)
	return r, err
}

func putRun(b *bbolt.Bucket, r store.Run) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return b.Put(be64(r.Number), summed(be64(r.Number), text))
}

// Record keeps who runs what; see store.Store.
func (s *Store) Record(ctx context.Context, r store.Run) (number uint64, err error) {
	err = s.update(ctx, func(tx *bbolt.Tx) (err error) {
		b := tx.Bucket(bucketRuns)
		if r.Number, err = b.NextSequence(); err != nil {
			return err
		}
		return putRun(b, r)
	})
	if err != nil {
		return 0, err
	}
	s.run.Store(r.Number)
	return r.Number, nil
}

// EndRun keeps how a run ended; see store.Store.
func (s *Store) EndRun(ctx context.Context, number uint64, end store.RunEnd) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRuns)
		v := b.Get(be64(number))
		if v == nil {
			return fmt.Errorf("%w: run %d is missing", store.ErrDamaged, number)
		}
		r, err := readRun(be64(number), v)
		if err != nil {
			return err
		}
		r.End = &end
		return putRun(b, r)
	})
}

// NextDue is the earliest AskAt; see store.Store.
func (s *Store) NextDue(ctx context.Context) (at time.Time, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		if k, _ := tx.Bucket(bucketDue).Cursor().First(); len(k) == 16 {
			at = time.UnixMicro(int64(binary.BigEndian.Uint64(k))).UTC()
		}
		return nil
	})
	return at, err
}

// OpenGates counts open payouts by gate; see store.Store.
func (s *Store) OpenGates(ctx context.Context) (gates map[string]int, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		gates = map[string]int{}
		return tx.Bucket(bucketHosts).ForEach(func(k, v []byte) error {
			gates[string(k)] = int(number(v))
			return nil
		})
	})
	return gates, err
}

// Prove keeps that a gate is one; see store.Store.
func (s *Store) Prove(ctx context.Context, gate string) error {
	return s.update(ctx, func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketGates).Get([]byte(gate)) != nil {
			return nil
		}
		return tx.Bucket(bucketGates).Put([]byte(gate), indexEntry([]byte(gate), uint64(s.o.now().UnixMicro())))
	})
}

// Proven reports whether a gate is known to be one; see store.Store.
func (s *Store) Proven(ctx context.Context, gate string) (proven bool, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketGates).Get([]byte(gate))
		if v == nil {
			return nil
		}
		_, err := readIndex([]byte(gate), v)
		proven = err == nil
		return err
	})
	return proven, err
}

// Probe is a lock file of its own; see store.Store.
func (s *Store) Probe(ctx context.Context) (release func() error, err error) {
	// It is held while a request is under way: looked at now and then, not waited for
	// in the kernel, where a caller that has gone would wait on.
	l := flock.New(s.o.Path+".probe", flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, probeEvery); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("lock file %s: %w", l.Path(), err)
	}
	adopt(l.Path(), s.o.Path)
	return l.Unlock, nil
}

// probeEvery is how often a process looks whether it may probe.
const probeEvery = 50 * time.Millisecond

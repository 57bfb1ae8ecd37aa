package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"masspay/store/codec"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/bolt/pages"
	"masspay/store/seal"
)

// Examine checks a store that may be too damaged to be opened; see store.Store.
// It returns store.ErrMissing, store.ErrKey or store.ErrNewer.
func Examine(ctx context.Context, o Options) (store.Examination, error) {
	sealer, err := seal.New(o.Key)
	if err != nil {
		return store.Examination{}, err
	}
	o.Path = RealPath(o.Path)
	s := newStore(sealer, o)
	return s.Examine(ctx)
}

// Examine checks the store; see store.Store. It needs no lock on the file but
// its turn, writes nothing, and reads the pages as bytes before it lets bbolt
// read them.
func (s *Store) Examine(ctx context.Context) (e store.Examination, err error) {
	if err := s.turn.take(ctx); err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, s.turn.release()) }()
	err = s.bytes(func(file io.ReaderAt, size int64) error {
		if pages.Inspect(file, size, e.Add, func(string, []byte, []byte) {}) {
			e.Notes = append(e.Notes, "one of the two header pages is damaged; the next change writes it again")
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(store.ErrMissing, err)
	}
	if err != nil || len(e.Wrong) > 0 {
		return e, err // records would only repeat what the pages say
	}
	err = s.use(os.O_RDONLY, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if err := s.checkStore(tx); err != nil {
				return err
			}
			x := &examining{s: s, tx: tx, Examination: &e, batch: map[uint32]*counting{}, fresh: map[uint32]int{}, hosts: map[string]int64{}}
			return x.all(ctx)
		})
	})
	if errors.Is(err, store.ErrDamaged) {
		e.Add("%v", err)
		err = nil
	}
	return e, err
}

// examining is one examination under way.
type examining struct {
	*store.Examination
	s      *Store
	tx     *bbolt.Tx
	meta   meta
	batch  map[uint32]*counting // whole batches, by number
	fresh  map[uint32]int       // payouts that came with a batch
	hosts  map[string]int64
	states [payout.StateCancelled + 1]int64 // payouts
}

// counting is a batch: what is kept of it, and what counting gives.
type counting struct {
	rows    int
	kept    *progress
	read    int
	counted progress
}

func (x *examining) all(ctx context.Context) (err error) {
	if x.meta, err = readMeta(x.tx); err != nil {
		x.Add("%v", err)
		return nil
	}
	x.marker()
	for _, part := range []func(){x.batches, x.lines, x.payouts, x.indexes, x.exceptions, x.flows, x.sightings, x.rest, x.audit} {
		if err := ctx.Err(); err != nil {
			return err
		}
		part()
	}
	return nil
}

func (x *examining) marker() {
	marker, _, err := readMarker(x.s.o.marker())
	switch {
	case err != nil:
		x.note("the marker %s cannot be read: it is not known whether the store is a restored copy", x.s.o.marker())
	case marker > x.meta.generation:
		x.note("the store is older than its marker (%d, %d): it is a restored copy", x.meta.generation, marker)
	case x.meta.epoch != 0:
		x.note("the store is a restored copy; the gate is asked before anything is sent")
	case x.meta.elsewhere(x.s.o.Path):
		x.note("the store is not the file that was at home here: it is a copy, or was moved")
	}
	if x.meta.loading != 0 {
		x.note("a load was cut off; the next one removes what it left")
	}
}

func (x *examining) note(format string, args ...any) {
	x.Notes = append(x.Notes, fmt.Sprintf(format, args...))
}

// each goes through a bucket.
func (x *examining) each(bucket []byte, do func(k, v []byte)) {
	c := x.tx.Bucket(bucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		do(k, v)
	}
}

func (x *examining) batches() {
	x.each(bucketBatches, func(k, _ []byte) {
		x.Batches++
		b, err := readBatch(x.tx, k)
		if err != nil {
			x.Add("%v", err)
			return
		}
		sum, _ := hex.DecodeString(b.ID)
		n, err := readIndex(sum, x.tx.Bucket(bucketNames).Get(sum))
		if err != nil || !bytes.Equal(be32(uint32(n)), k) || !bytes.Equal(be32(b.Number), k) {
			x.Add("batch %s cannot be found by its id", b.Short())
		}
		kept, err := decodeProgress(k, x.tx.Bucket(bucketProgress).Get(k))
		if err != nil {
			x.Add("%v", err)
			return
		}
		x.batch[b.Number] = &counting{rows: b.Rows, kept: kept, counted: progress{counts: map[countKey]tally{}}}
	})
}

// lines opens every row, and counts.
func (x *examining) lines() {
	x.each(bucketLines, func(k, v []byte) {
		if len(k) != 8 {
			x.Add("a row has the key %x", k)
			return
		}
		batch, index := binary.BigEndian.Uint32(k), binary.BigEndian.Uint32(k[4:])
		b := x.batch[batch]
		if b == nil {
			return // of a load that was cut off
		}
		x.Rows++
		if int(index) != b.read {
			x.Add("row %d of batch number %d is missing", b.read+1, batch)
		}
		b.read = int(index) + 1
		l, err := decodeLine(k, v)
		if err != nil {
			x.Add("%v", err)
			return
		}
		var r codec.Record
		if l.payout != 0 {
			if r, err = get(x.tx, l.payout); err != nil {
				x.Add("%v", err)
				return
			}
			if !slices.Contains(r.Places, payout.Place{Batch: batch, Index: index}) {
				x.Add("payout %s does not know of row %d of batch number %d", r.Key, index+1, batch)
			}
			b.counted.codes = 0 // all are told apart
			b.counted.add(&r.Payout, +1)
		}
		if _, err := x.s.sealer.Open(l.sealed, r.Key, batch, index); err != nil {
			x.Add("%v", err)
		}
	})
	for number, b := range x.batch {
		if b.read != b.rows {
			x.Add("batch number %d has %d rows, and should have %d", number, b.read, b.rows)
		}
		if !b.kept.like(b.counted.counts) {
			x.Add("the counts by state of batch number %d are not what counting gives", number)
		}
	}
}

func (x *examining) payouts() {
	x.each(bucketPayouts, func(k, v []byte) {
		if x.meta.loading != 0 && number(k) >= x.meta.first {
			return
		}
		r, err := codec.DecodeRecord(k, v)
		if err != nil {
			x.Add("%v", err)
			return
		}
		x.Payouts++
		if r.State.Valid() {
			x.states[r.State]++
		}
		if r.Number >= x.meta.next {
			x.Add("payout %s has a number that is not given out yet", r.Key)
		}
		x.found(r)
		x.explained(r)
		x.reachable(r)
		x.listed(r)
		if len(r.Places) > 0 {
			x.fresh[r.Places[0].Batch]++
		}
		if r.OpenAtGate() {
			x.hosts[r.Host]++
		}
		if at := r.PollAt; !at.IsZero() && !x.has(bucketDue, dueKey(at, r.Number)) {
			x.Add("payout %s is due for polling but missing from the index", r.Key)
		}
		if r.Open() && r.State != payout.StateNew && r.State != payout.StateSending && r.PollAt.IsZero() {
			x.Add("payout %s is open, and no poll is planned", r.Key)
		}
		if (r.State == payout.StateSending) != (r.Owner != 0) || r.Owner != 0 && !x.has(bucketClaims, pair64(r.Owner, r.Number)) {
			x.Add("payout %s is being sent, and no process holds it", r.Key)
		}
	})
}

func (x *examining) has(bucket, key []byte) bool {
	k, _ := x.tx.Bucket(bucket).Cursor().Seek(key)
	return bytes.Equal(k, key)
}

// found makes sure that a payout's id leads to it, or to the one that took the
// id over.
func (x *examining) found(r codec.Record) {
	n, err := lookID(x.tx, x.s.sealer.DigestID(r.Key))
	for hops := 0; err == nil && n > r.Number && hops < 1_000; hops++ {
		var later codec.Record
		if later, err = get(x.tx, n); err == nil && later.Key == r.Key {
			n = later.Prev
		}
	}
	if err != nil || n != r.Number {
		x.Add("payout %s cannot be found by its id: another file could bring it again", r.Key)
	}
}

// explained replays a payout's events: they must lead to what it is.
func (x *examining) explained(r codec.Record) {
	n, led, err := r.Replay()
	x.Events += n
	switch {
	case err != nil:
		x.Add("%v", err)
	case led != 0:
		x.Add("payout %s is %s, and its events lead to %s", r.Key, r.State, led)
	}
}

// reachable makes sure that what is to be sent will be found by a claim.
func (x *examining) reachable(r codec.Record) {
	if r.State != payout.StateNew || r.OfAnother() {
		return
	}
	for _, at := range r.Places {
		b := x.batch[at.Batch]
		if b != nil && at.Index < b.kept.cursor && !x.has(bucketFreed, pair32(at.Batch, at.Index)) {
			x.Add("payout %s is not sent yet, and no run will find it", r.Key)
		}
	}
}

// indexes must lead to payouts that say the same.
func (x *examining) indexes() {
	leads := func(n uint64, right func(codec.Record) bool, what string) {
		r, err := get(x.tx, n)
		if err != nil || !right(r) {
			x.Add("the index of %s leads to payout number %d wrongly", what, n)
		}
	}
	x.each(bucketIDs, func(k, v []byte) {
		n, err := readIndex(k, v)
		if err != nil {
			x.Add("%v", err)
			return
		}
		leads(n, func(r codec.Record) bool { id := x.s.sealer.DigestID(r.Key); return bytes.Equal(id[:], k) }, "ids")
	})
	x.each(bucketDue, func(k, _ []byte) {
		if len(k) == 16 {
			leads(number(k[8:]), func(r codec.Record) bool { return bytes.Equal(dueKey(r.PollAt, r.Number), k) }, "polls")
		}
	})
	x.each(bucketClaims, func(k, _ []byte) {
		if len(k) == 16 {
			leads(number(k[8:]), func(r codec.Record) bool { return r.Owner == number(k[:8]) }, "claims")
		}
	})
	kept := map[string]int64{}
	x.each(bucketHosts, func(k, v []byte) { kept[string(k)] = int64(number(v)) })
	if !maps.Equal(kept, x.hosts) {
		x.Add("the counts of open payouts by gate are not what counting gives")
	}
}

// rest reads what nothing else has.
func (x *examining) rest() {
	x.each(bucketGates, func(k, v []byte) {
		if _, err := readIndex(k, v); err != nil {
			x.Add("%v", err)
		}
	})
	x.each(bucketSeries, func(k, v []byte) {
		if _, err := readIndex(k, v); err != nil {
			x.Add("%v", err)
		}
	})
	x.each(bucketOwners, func(k, _ []byte) {
		if _, err := readOwner(x.tx, number(k)); err != nil {
			x.Add("%v", err)
		}
	})
	x.each(bucketEarly, func(k, v []byte) {
		ev, sealed, err := codec.DecodeEarly(k, v)
		if err == nil {
			_, err = x.s.sealer.OpenReport(k, ev, sealed)
		}
		if err != nil {
			x.Add("%v", err)
		}
	})
	x.each(bucketRuns, func(k, v []byte) {
		text, err := codec.Plain("run", k, v)
		if err == nil {
			err = json.Unmarshal(text, &store.Run{})
		}
		if err != nil {
			x.Add("%v", err)
		}
	})
}

package bolt

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store/storetest"
)

var update = flag.Bool("update", false, "write testdata/fields.txt again")

// The fields of a record are only ever appended: what is committed is a beginning of
// what the code goes over. A field that moves would read every older record wrongly.
func TestFieldsAreOnlyAppended(t *testing.T) {
	t.Parallel()
	lists := []struct {
		name  string
		names []string
	}{
		{"payout", namesOf(func(v *fields) { life(v, &payout.Payout{}) })},
		{"event", namesOf(func(v *fields) { eventFields(v, &payout.Event{}, "", payout.Amount{}) })},
		{"meta", namesOf(func(v *fields) { metaFields(v, &meta{}) })},
	}
	var now strings.Builder
	for _, l := range lists {
		for i, n := range l.names {
			fmt.Fprintf(&now, "%s %d %s\n", l.name, i, n)
		}
		unique := slices.Compact(slices.Sorted(slices.Values(l.names)))
		require.Len(t, unique, len(l.names), "%s: a name twice", l.name)
		require.LessOrEqual(t, len(l.names), 8*255, "the size of a mask is one byte")
	}
	const file = "testdata/fields.txt"
	was, err := os.ReadFile(file)
	if err == nil {
		for line := range strings.Lines(string(was)) {
			require.Contains(t, now.String(), line, "a field was moved, renamed or removed")
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(now.String()), 0o600))
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(was), now.String(), "a field was appended: raise format, write a migration, then -update")
}

// Every field of a payout and of an event is kept, but for those that are not to be.
func TestEveryFieldIsKept(t *testing.T) {
	t.Parallel()
	key := be64(7)
	var p payout.Payout
	fill(reflect.ValueOf(&p).Elem(), 1)
	p.Number, p.State, p.Events = 7, payout.StateAccepted, 0
	r := record{Payout: p, prev: 9, old: true}
	again, err := decodeRecord(key, r.encode(key))
	require.NoError(t, err)
	again.room = 0
	require.Equal(t, r, again)

	var e payout.Event
	fill(reflect.ValueOf(&e).Elem(), 1)
	e.Kind, e.Key = payout.Orphaned, p.Key
	one := record{Payout: p}
	one.Host = ""
	one.withEvent(&e)
	events, err := one.history()
	require.NoError(t, err)
	// To be compared only, and never kept in the clear.
	e.Customer, e.Account, e.Number, e.Version = "", "", 0, 0
	require.Equal(t, []payout.Event{e}, events)

	var m meta
	fill(reflect.ValueOf(&m.aliases).Elem(), 1)
	m.check, m.generation, m.claimed, m.epoch, m.copied = [16]byte{1}, 2, stampOf(3), 4, stampOf(5)
	m.next, m.nextBatch, m.loading, m.first = 6, 7, 8, 9
	m.locks, m.locksBefore, m.machine, m.device, m.inode = [16]byte{10}, [16]byte{11}, 12, 13, 14
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	require.ErrorIs(t, s.update(t.Context(), func(tx *boltTx) error {
		require.NoError(t, m.write(tx))
		got, err := readMeta(tx)
		require.NoError(t, err)
		require.Equal(t, m, got)
		return os.ErrClosed // rolled back
	}), os.ErrClosed)
}

func stampOf(n int) time.Time { return time.UnixMicro(int64(n) * 1_000_003).UTC() }

// fill gives every field a value of its own.
func fill(v reflect.Value, n int) int {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(stampOf(n)))
		return n + 1
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			n = fill(v.Field(i), n)
		}
		return n
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		return fill(v.Index(1), fill(v.Index(0), n))
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(n))
		}
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint("text ", n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(uint64(n))
	default:
		panic(v.Type().String())
	}
	return n + 1
}

// A payout that lives through a lot keeps its beginning, its end, and what matters in
// between, and says how much it left out.
func TestAHistoryIsThinned(t *testing.T) {
	t.Parallel()
	w := fresh(t).(*world)
	s := w.Open(t).(*Store)
	b := storetest.Load(t, s, "a", storetest.Rows("a", 1))
	var key payout.Key
	for i := range 200 {
		c := storetest.Claim(t, s, b, 1)[0]
		key = c.Key
		e := payout.Event{Key: key, Kind: payout.Unsent, Source: payout.FromRun, Attempt: c.Attempt, Tries: 1, At: stampOf(i + 1), Reported: payout.Reported{Message: fmt.Sprint("turned away ", i)}}
		if i == 150 {
			e = payout.Event{Key: key, Kind: payout.Released, Source: payout.FromRun, Attempt: c.Attempt, At: stampOf(i + 1)}
		}
		_, err := s.Apply(t.Context(), e)
		require.NoError(t, err)
	}
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.Less(t, len(r.Events), thinAt)
	require.Equal(t, 400, len(r.Events)+r.Dropped)
	require.Equal(t, 1, r.Events[0].Attempt)
	require.Equal(t, 200, r.Events[len(r.Events)-1].Attempt)
	require.Equal(t, "gate.example", r.Events[len(r.Events)-2].Host)
	examined, err := s.Examine(t.Context())
	require.NoError(t, err)
	require.Empty(t, examined.Wrong)
}

// What a person, a reversal or a second payment brought is never thinned out.
func TestThinningKeepsWhatMatters(t *testing.T) {
	t.Parallel()
	r := record{Payout: payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "card", payout.Amount{Minor: 1, Currency: "KGS"})}
	for i := range 300 {
		e := payout.Event{Kind: payout.Progress, Source: payout.FromCallback, At: stampOf(i + 1), Host: []string{"a", "b", "c"}[i%3]}
		switch i {
		case 100:
			e.Kind, e.Person, e.Reason = payout.Resolved, "jan@desk", "seen"
		case 120:
			e.Kind, e.Outcome = payout.Final, payout.StateReturned
		case 140:
			e.Kind, e.Conflict = payout.Accepted, true
		case 160:
			e.Kind, e.Host = payout.Claimed, "the last gate"
		}
		r.withEvent(&e)
		if setsHost(e.Kind) {
			r.Host = e.Host
		}
		require.NoError(t, r.thin())
	}
	events, err := r.history()
	require.NoError(t, err)
	var kinds []payout.Kind
	for _, e := range events {
		if e.Kind != payout.Progress {
			kinds = append(kinds, e.Kind)
		}
	}
	require.Equal(t, []payout.Kind{payout.Resolved, payout.Final, payout.Accepted, payout.Claimed}, kinds)
	require.Equal(t, []string{"b", "c", "a"}, []string{events[len(events)-2].Host, events[len(events)-1].Host, events[0].Host}, "gates are told right around what is gone")
	require.Equal(t, 300, len(events)+r.Dropped)
}

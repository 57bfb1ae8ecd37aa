package codec

import (
	"bytes"
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
		{"payout", NamesOf(func(v *Fields) { life(v, &payout.Payout{}) })},
		{"event", NamesOf(func(v *Fields) { eventFields(v, &payout.Event{}, "", payout.Amount{}) })},
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
	key := []byte{0, 0, 0, 0, 0, 0, 0, 7}
	var p payout.Payout
	fill(reflect.ValueOf(&p).Elem(), 1)
	p.Number, p.State, p.Events = 7, payout.StateAccepted, 0
	r := Record{Payout: p, Prev: 9, Old: true}
	again, err := DecodeRecord(key, r.Encode(key))
	require.NoError(t, err)
	again.Room = 0
	require.Equal(t, r, again)

	var e payout.Event
	fill(reflect.ValueOf(&e).Elem(), 1)
	e.Kind, e.Key = payout.Orphaned, p.Key
	one := Record{Payout: p}
	one.Host = ""
	one.WithEvent(&e)
	events, err := one.History()
	require.NoError(t, err)
	// To be compared only, and never kept in the clear.
	e.Customer, e.Account, e.Number, e.Version, e.Took = "", "", 0, 0, 0
	require.Equal(t, []payout.Event{e}, events)
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

// What a person, a reversal or a second payment brought is never thinned out.
func TestThinningKeepsWhatMatters(t *testing.T) {
	t.Parallel()
	r := Record{Payout: payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "card", payout.Amount{Minor: 1, Currency: "KGS"})}
	hosts := map[int64]string{}
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
		if i > 160 && i%3 == 1 {
			e.Host = "" // as a callback's
		}
		hosts[e.At.UnixMicro()] = e.Host
		r.WithEvent(&e)
		if SetsHost(e.Kind) {
			r.Host = e.Host
		}
		require.NoError(t, r.Thin())
	}
	events, err := r.History()
	require.NoError(t, err)
	var kinds []payout.Kind
	for _, e := range events {
		require.Equal(t, hosts[e.At.UnixMicro()], e.Host, "%v", e.At)
		if e.Kind != payout.Progress {
			kinds = append(kinds, e.Kind)
		}
	}
	require.Equal(t, []payout.Kind{payout.Resolved, payout.Final, payout.Accepted, payout.Claimed}, kinds)
	require.Equal(t, []string{"", "c", "a"}, []string{events[len(events)-2].Host, events[len(events)-1].Host, events[0].Host}, "gates are told right around what is gone")
	require.Equal(t, 300, len(events)+r.Dropped)
}

// A record with a field that this masspay does not know is read without it, and known as
// newer.
func TestANewerFieldIsKnown(t *testing.T) {
	t.Parallel()
	key := []byte{0, 0, 0, 0, 0, 0, 0, 7}
	r := Record{Payout: payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "card", payout.Amount{Minor: 1, Currency: "KGS"})}
	whole := r.Encode(key)
	// A block with one more bit, and what it means.
	e, n := NewEncoder(), NewEncoder()
	plain := e.Begin(lifeMask)
	life(&plain, &r.Payout)
	plain.End()
	was := e.B[plain.mask-blockHead:]
	at := bytes.Index(whole, was)
	require.Positive(t, at)
	newer := n.Begin(lifeMask + 1)
	life(&newer, &r.Payout)
	n.B[newer.mask+lifeMask] |= 0x80
	n.String("from the future")
	newer.End()
	value := slices.Concat(whole[:at], n.B[newer.mask-blockHead:], whole[at+len(was):len(whole)-4])
	again, err := DecodeRecord(key, (&Encoder{B: value}).Sum(key))
	require.NoError(t, err)
	require.True(t, again.Newer)
	require.Equal(t, payout.StateNew, again.State)
}

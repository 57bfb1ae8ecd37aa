package store

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
)

func links(t *testing.T, n int) []Link {
	var all []Link
	var before Link
	for i := range n {
		l, err := before.Next(Entry{At: time.Date(2026, 3, 1, 12, 0, i, 999, time.UTC), Act: ActHeld, File: fmt.Sprintf("f-%d.csv", i), Facts: map[string]string{"reason": "wrong <month> & \u00fcber", "kind": "person"}})
		require.NoError(t, err)
		all, before = append(all, l), l
	}
	return all
}

// whole reports whether a chain holds, with all the heads that are known.
func whole(all []Link, heads ...Hash) bool {
	var before Link
	for _, l := range all {
		if _, err := l.Follows(before); err != nil {
			return false
		}
		before = l
		heads = slices.DeleteFunc(heads, func(h Hash) bool { return h == l.Hash })
	}
	return len(heads) == 0
}

// Whatever is done to a log shows: every byte of every entry, entries that are removed,
// swapped, doubled or put in. A tail that is cut off, and a log that is rewritten, show only to
// who knows a later head.
func TestTamperingWithTheLog(t *testing.T) {
	t.Parallel()
	all := links(t, 6)
	require.True(t, whole(all))
	copied := func() []Link {
		out := make([]Link, len(all))
		for i, l := range all {
			out[i] = Link{l.Seq, l.Hash, bytes.Clone(l.Text)}
		}
		return out
	}
	for i := range all {
		for at := range all[i].Text {
			for bit := range 8 {
				bad := copied()
				bad[i].Text[at] ^= 1 << bit
				require.False(t, whole(bad), "entry %d, byte %d, bit %d", i+1, at, bit)
			}
		}
		for at := range all[i].Hash {
			bad := copied()
			bad[i].Hash[at] ^= 1
			require.False(t, whole(bad), "hash of entry %d, byte %d", i+1, at)
		}
		bad := copied()
		bad[i].Seq++
		require.False(t, whole(bad))
		if i+1 < len(all) {
			require.False(t, whole(slices.Delete(copied(), i, i+1)), "removed")
			swapped := copied()
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			require.False(t, whole(swapped))
			swapped[i].Seq, swapped[i+1].Seq = swapped[i+1].Seq, swapped[i].Seq
			require.False(t, whole(swapped))
		}
		require.False(t, whole(slices.Insert(copied(), i, all[i])), "doubled")
	}
	head := all[len(all)-1].Hash
	require.True(t, whole(all[:4]), "a tail that is cut off")
	require.False(t, whole(all[:4], head))
	other := links(t, 6)
	changed, err := other[2].Entry()
	require.NoError(t, err)
	changed.Facts["reason"] = "nothing"
	anew := other[:2:2]
	for i, before := 2, other[1]; i < 6; i++ {
		e, err := other[i].Entry()
		require.NoError(t, err)
		if i == 2 {
			e = changed
		}
		before, err = before.Next(e)
		require.NoError(t, err)
		anew = append(anew, before)
	}
	require.True(t, whole(anew), "one field changed, and all computed anew")
	require.False(t, whole(anew, head))
	require.True(t, whole(anew, all[1].Hash), "a head from before it says nothing")
}

// A line of an export reads back as it was, and nothing else does.
func TestParseLink(t *testing.T) {
	t.Parallel()
	for _, l := range links(t, 3) {
		back, err := ParseLink(l.Seq, l.String())
		require.NoError(t, err)
		require.Equal(t, l, back)
		for _, bad := range []string{"", " ", l.Hash.String(), l.Hash.String() + " ", "x" + l.String()[1:], l.String()[2:]} {
			_, err := ParseLink(l.Seq, bad)
			require.Error(t, err, bad)
		}
	}
	unknown := Link{1, Hash{}.over([]byte(`{"seq":1,"colour":"red"}`)), []byte(`{"seq":1,"colour":"red"}`)}
	_, err := unknown.Follows(Link{})
	require.ErrorContains(t, err, "colour")
	for _, text := range []string{`{"seq":1}{}`, `{"seq":1} x`, `null`, ``} {
		l := Link{1, Hash{}.over([]byte(text)), []byte(text)}
		_, err := l.Follows(Link{})
		require.Error(t, err, text)
	}
}

// Only what a person did is an entry, and says who, why and what came of it.
func TestEntryOf(t *testing.T) {
	t.Parallel()
	key := payout.Key{ProjectID: 7, PaymentID: "p"}
	_, ok := EntryOf(payout.Event{Key: key, Kind: payout.Final, Source: payout.FromCallback}, payout.Payout{})
	require.False(t, ok)
	e, ok := EntryOf(payout.Event{Key: key, Kind: payout.Resolved, Source: payout.FromPerson, Outcome: payout.StatePaid, Person: "ann", Reason: "seen"}, payout.Payout{State: payout.StatePaid})
	require.True(t, ok)
	require.Equal(t, Entry{Act: ActResolved, Payment: "7/p", Facts: map[string]string{"as": "paid", "state": "paid", "person": "ann", "reason": "seen"}}, e)
	e, _ = EntryOf(payout.Event{Key: key, Kind: payout.Resolved, Source: payout.FromPerson}, payout.Payout{State: payout.StatePaid})
	require.Equal(t, "seen", e.Facts["as"])
}

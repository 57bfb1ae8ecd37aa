package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/payout"
	"masspay/store"
)

// chain reads the whole log, each entry held against the one before.
func chain(t *testing.T, s store.Store) (entries []store.Entry) {
	t.Helper()
	var before store.Link
	for l, err := range s.Audit(t.Context(), 0) {
		require.NoError(t, err)
		e, err := l.Follows(before)
		require.NoError(t, err)
		entries, before = append(entries, e), l
	}
	head, err := s.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Hash, head.Hash)
	require.Equal(t, before.Seq, head.Seq)
	return entries
}

// What is done to a store is in its log by the commit that did it, with who did it.
func testAudit(t *testing.T, w World, s store.Store) {
	require.Empty(t, chain(t, s))
	s.Acting(store.Run{User: "eve", Host: "laptop"})
	_, err := s.Note(t.Context(), store.Entry{At: time.Now(), Act: "looked"})
	require.NoError(t, err)
	first := chain(t, s)
	require.Equal(t, []any{uint64(0), "eve", "laptop"}, []any{first[0].Run, first[0].User, first[0].Host})
	at := time.Now().Truncate(time.Second).UTC()
	run := store.Run{Command: "run", User: "anna", Host: "desk", PID: 7, Version: "v1", Config: "c0ffee", File: "a.csv", Relaxed: []string{"--skip-invalid"}, At: at}
	number, err := s.BeginRun(t.Context(), run)
	require.NoError(t, err)
	b := Load(t, s, "a", Rows("a", 4))
	_, err = s.Load(t.Context(), BatchOf("a", nil), All(nil))
	require.ErrorIs(t, err, store.ErrLoaded)
	hold := store.Hold{Kind: store.HeldByPerson, Reason: "wrong month", By: "boss@desk", At: at}
	require.NoError(t, s.Hold(t.Context(), b.ID, hold))
	require.NoError(t, s.Hold(t.Context(), b.ID, store.Hold{Kind: store.HeldByRun, Reason: "no money", At: at})) // changes nothing
	_, err = s.LetGo(t.Context(), b.ID, store.HeldByRun)
	require.NoError(t, err) // neither
	_, err = s.LetGo(t.Context(), b.ID, store.PersonLifts()...)
	require.NoError(t, err)
	rows := Rows("a", 4)
	var gone []payout.Event // in one commit
	for _, r := range rows[2:] {
		gone = append(gone, payout.Event{Key: r.Key, Kind: payout.Cancelled, Source: payout.FromPerson, At: at, Person: "boss@desk", Reason: "left the company"})
	}
	_, err = s.Apply(t.Context(), gone...)
	require.NoError(t, err)
	for _, c := range Claim(t, s, b, 1) {
		Apply(t, s, answer(c, payout.Accepted)) // is no person's
	}
	other := w.Open(t)
	require.NoError(t, other.EndRun(t.Context(), number, store.RunEnd{At: at, ExitCode: 4, Sent: 1, Result: "/r.csv", ResultSum: "abcd", ResultAt: at}))
	noted, err := s.Note(t.Context(), store.Entry{At: at, Act: "approved", Batch: b.ID, Facts: map[string]string{"person": "<bob>"}})
	require.NoError(t, err)
	require.NoError(t, s.Trust(t.Context()))

	all := chain(t, s)[1:]
	acts := make([]store.Act, len(all))
	for i, e := range all {
		acts[i] = e.Act
		require.Equal(t, uint64(i+2), e.Seq)
		require.Equal(t, []any{number, "anna", "desk", 7, "v1", "c0ffee"}, []any{e.Run, e.User, e.Host, e.PID, e.Version, e.Config}, e.Act)
		require.WithinDuration(t, time.Now(), e.At, time.Minute)
	}
	require.Equal(t, []store.Act{
		store.ActBegan, store.ActLoaded, store.ActHeld, store.ActLetGo, store.ActCancelled, store.ActCancelled, store.ActEnded, "approved", store.ActTrusted,
	}, acts)
	require.Equal(t, map[string]string{"command": "run", "relaxed": "--skip-invalid"}, all[0].Facts)
	require.Equal(t, map[string]string{"rows": "4", "new": "4", "total KGS": "4006"}, all[1].Facts)
	require.Equal(t, []string{b.ID, "a"}, []string{all[1].Batch, all[1].File})
	require.Equal(t, map[string]string{"kind": "person", "reason": "wrong month", "by": "boss@desk"}, all[2].Facts)
	require.Equal(t, map[string]string{"state": "cancelled", "person": "boss@desk", "reason": "left the company"}, all[4].Facts)
	require.Equal(t, []string{rows[2].Key.String(), b.ID, "a"}, []string{all[4].Payment, all[4].Batch, all[4].File})
	require.Equal(t, map[string]string{"command": "run", "exit code": "4", "sent": "1", "result": "/r.csv", "result sha256": "abcd", "result as of": at.Format(time.RFC3339Nano)}, all[6].Facts)
	require.Equal(t, "<bob>", all[7].Facts["person"])
	require.Equal(t, uint64(9), noted.Seq)
	from := collect(t, s.Audit(t.Context(), 9))
	require.Len(t, from, 2)
	require.Equal(t, noted.Hash, from[0].Hash)
}

// Several processes write one log.
func testAuditConcurrent(t *testing.T, w World, s store.Store) {
	const each = 20
	var writers sync.WaitGroup
	for range 4 {
		mine := w.Open(t)
		writers.Go(func() {
			for range each {
				if _, err := mine.Note(t.Context(), store.Entry{At: time.Now(), Act: "test"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	require.Len(t, chain(t, s), 4*each)
}

package result

import (
	"math/rand/v2"
	"testing"
	"time"

	"masspay/payout"
	"masspay/store"

	"github.com/stretchr/testify/require"
)

// Whoever must wait, look or never pay again is told why; so is everything that is not
// simply done.
func TestEveryActionHasANote(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	codes := []string{"", "0", "20000", "402", "20801", "2609", "3061", "3041", "9999", "31415"}
	at := time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)
	told := map[string]int{}
	for range 20_000 {
		p := payout.New(payout.Key{ProjectID: 1, PaymentID: "p"}, "sbp-p2p", payout.Amount{Minor: 100, Currency: "KGS"})
		p.State = payout.States[rng.IntN(len(payout.States))]
		p.Reported.Code, p.Seen, p.Unproven = codes[rng.IntN(len(codes))], rng.IntN(2) == 0, rng.IntN(8) == 0
		p.Tries = rng.IntN(2)
		p.Flags = payout.Flags(rng.IntN(1<<14) & rng.IntN(1<<14) & rng.IntN(1<<14))
		p.Closed = p.Flags & payout.Flags(rng.IntN(1<<14))
		p.Reported.Status = []string{"", "processing", "awaiting clarification"}[rng.IntN(3)]
		if p.State == payout.StateUnknown || p.State == payout.StateAccepted {
			p.PollAt, p.EndedAt = at, at
		}
		act := Action(p)
		told[act]++
		if act == ActionNothing {
			continue
		}
		require.NotEmpty(t, Notes{}.Of(store.Line{Payout: p}), "%s %s code %q: %s", p.State, p.Reported.Status, p.Reported.Code, act)
		if act == ActionWait && p.State != payout.StateNew && p.State != payout.StateSending {
			require.Contains(t, Notes{}.Of(store.Line{Payout: p}), "polled again from 2026-11-26T02:00:00Z on")
		}
	}
	require.Len(t, told, len(Actions), "each was there")
}

package bolt

import (
	"testing"
	"time"

	"masspay/store/codec"

	"github.com/stretchr/testify/require"

	"masspay/payout"
)

// A stored record is read as it was written, or not at all.
func FuzzRecords(f *testing.F) {
	at := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	key := be64(7)
	p := payout.New(payout.Key{ProjectID: 1234, PaymentID: "p1"}, "sbp-p2p", payout.Amount{Minor: 1250, Currency: "KGS"})
	p.Number, p.Places, p.PollAt = 7, []payout.Place{{Batch: 1, Index: 2}, {Batch: 3, Index: 4}}, at
	p.EndedTick = payout.Tick{Boot: 9, At: -5}
	f.Add((&codec.Record{Payout: p, Prev: 3}).Encode(key))
	r := codec.Record{Payout: p, Prev: 3, Room: 400}
	r.WithEvent(&payout.Event{Kind: payout.Final, Source: payout.FromCallback, At: at, Outcome: payout.StatePaid, Tick: payout.Tick{Boot: 1, At: 2}})
	f.Add(r.Encode(key))
	f.Add(codec.EncodeEarly(key, payout.Event{Key: p.Key, Kind: payout.Progress, At: at}, []byte("sealed")))
	f.Add(line{payout: 7, line: 2, skip: "x", sealed: []byte("sealed")}.encode(key))
	f.Add((&progress{cursor: 3, counts: map[countKey]tally{{payout.StatePaid, "KGS", ""}: {1, 2, 3, 4, 0}}}).encode(key))
	f.Add((&progress{cursor: 3, codes: 1, counts: map[countKey]tally{{payout.StateDeclined, "KGS", "20000"}: {1, 2, 0, 0, 0}}}).encode(key))
	f.Add(indexEntry(key, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		// As it is, and with a checksum that fits: the decoders see both.
		for _, v := range [][]byte{b, (&codec.Encoder{B: append([]byte{codec.RecordVersion}, b...)}).Sum(key), (&codec.Encoder{B: append([]byte{codec.RowVersion}, b...)}).Sum(key)} {
			_, _ = decodeRecord3(key, v)
			_, _ = decodeEarly3(key, v)
			_, _ = decodeProgress3(key, v)
			if r, err := codec.DecodeRecord(key, v); err == nil && !r.Newer {
				again, err := codec.DecodeRecord(key, r.Encode(key))
				require.NoError(t, err)
				require.Equal(t, r, again)
				if events, err := r.History(); err == nil {
					other := codec.Record{Payout: r.Payout}
					other.Host, other.Events = "", 0
					for _, e := range events {
						other.WithEvent(&e)
						if codec.SetsHost(e.Kind) {
							other.Host = e.Host
						}
					}
					same, err := other.History()
					require.NoError(t, err)
					require.Equal(t, events, same)
				}
			}
			if e, sealed, err := codec.DecodeEarly(key, v); err == nil {
				again, _, err := codec.DecodeEarly(key, codec.EncodeEarly(key, e, sealed))
				require.NoError(t, err)
				require.Equal(t, e, again)
			}
			if l, err := decodeLine(key, v); err == nil {
				again, err := decodeLine(key, l.encode(key))
				require.NoError(t, err)
				require.Equal(t, l, again)
			}
			if p, err := decodeProgress(key, v); err == nil {
				_, err := decodeProgress(key, p.encode(key))
				require.NoError(t, err)
			}
			if n, err := readIndex(key, v); err == nil {
				require.Equal(t, v, indexEntry(key, n))
			}
		}
	})
}

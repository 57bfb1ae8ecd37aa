package bolt

import (
	"reflect"

	"masspay/payout"
)

// An event that waits for its payout is a record of its own, with its key and, sealed,
// with what it says of the customer.
func encodeEarly(key []byte, ev payout.Event, sealed []byte) []byte {
	e := newEncoder()
	e.uint(uint64(ev.Key.ProjectID))
	e.string(ev.Key.PaymentID)
	ev.Message = "" // sealed
	e.event(&ev, "", payout.Amount{})
	e.bytes(sealed)
	return e.sum(key)
}

func decodeEarly(key, value []byte) (ev payout.Event, sealed []byte, err error) {
	d := newDecoder(key, value, recordVersion)
	k := payout.Key{ProjectID: uint32(d.uint()), PaymentID: d.string()}
	ev = d.event("", payout.Amount{})
	ev.Key = k
	sealed = d.bytes()
	if !d.bad && !ev.Kind.Valid() {
		d.fail()
	}
	return ev, sealed, d.done("event", key)
}

// equalReports reports whether two events say the same, but for when they came.
func equalReports(a, b payout.Event) bool {
	a.At, a.Number, b.Number = b.At, 0, 0
	a.Made, b.Made = a.Made.UTC(), b.Made.UTC()
	return reflect.DeepEqual(a, b)
}

package codec

import (
	"reflect"
	"time"

	"masspay/payout"
)

// A report about an id that no file has brought yet is kept for so long, and no more
// than so many of one id.
const (
	KeptFor     = 30 * 24 * time.Hour
	KeptOfOneID = 64
)

// EncodeEarly makes the bytes of an event that waits for its payout, with its key and, sealed,
// with what it says of the customer.
func EncodeEarly(key []byte, ev payout.Event, sealed []byte) []byte {
	e := NewEncoder()
	e.Uint(uint64(ev.Key.ProjectID))
	e.String(ev.Key.PaymentID)
	ev.Message = "" // sealed
	e.event(&ev, "", payout.Amount{})
	e.Bytes(sealed)
	return e.Sum(key)
}

// DecodeEarly reads what EncodeEarly made.
func DecodeEarly(key, value []byte) (ev payout.Event, sealed []byte, err error) {
	d := NewDecoder(key, value, RecordVersion)
	k := payout.Key{ProjectID: uint32(d.Uint()), PaymentID: d.String()}
	ev = d.event("", payout.Amount{})
	ev.Key = k
	sealed = d.Bytes()
	if !d.Bad && !ev.Kind.Valid() {
		d.Fail()
	}
	return ev, sealed, d.Done("event", key)
}

// ShownEarly reads what EncodeEarly made, without what it says of the customer.
func ShownEarly(key, value []byte) (payout.Event, error) {
	e, _, err := DecodeEarly(key, value)
	e.Message = "" // an older masspay kept it in the clear
	return e, err
}

// EqualReports reports whether two events say the same, but for when they came.
func EqualReports(a, b payout.Event) bool {
	a.At, a.Number, b.Number = b.At, 0, 0
	a.Made, b.Made = a.Made.UTC(), b.Made.UTC()
	return reflect.DeepEqual(a, b)
}

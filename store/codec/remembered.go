package codec

import (
	"encoding/binary"

	"masspay/store"
)

const markSize = len(store.Mark{})

// EncodeRemembered makes the bytes of the accounts of a customer.
func EncodeRemembered(customer []byte, all []store.Remembered) []byte {
	value := make([]byte, 0, len(all)*(markSize+8)+4)
	for _, r := range all {
		value = binary.BigEndian.AppendUint64(append(value, r.Account[:]...), r.Payout)
	}
	return Summed(customer, value)
}

// DecodeRemembered reads what EncodeRemembered made; nil is a customer of whom nothing is kept.
func DecodeRemembered(customer, value []byte) (all []store.Remembered, err error) {
	if value == nil {
		return nil, nil
	}
	plain, err := Plain("customer", customer, value)
	for ; err == nil && len(plain) >= markSize+8; plain = plain[markSize+8:] {
		all = append(all, store.Remembered{Account: store.Mark(plain), Payout: binary.BigEndian.Uint64(plain[markSize:])})
	}
	return all, err
}

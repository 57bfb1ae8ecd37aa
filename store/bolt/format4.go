package bolt

import (
	"errors"

	"go.etcd.io/bbolt"

	"masspay/payout"
	"masspay/store"
	"masspay/store/codec"
)

// migrate4 brings a store from format 4 to 5, which has four buckets more and nothing
// changed: exceptions, by what the payouts are, and the accounts of all rows are filled in, and
// what was not paid is counted by code, and what passed by minute; the audit log begins with the migration.
var migrate4 = migration{
	to: 5, reads: 4,
	begin: func(tx *bbolt.Tx, m *meta) error {
		old, err := readMeta(tx)
		*m = old
		return err
	},
	steps: []step{
		{bucketPayouts, func(_ *Store, tx *bbolt.Tx, key, value []byte) ([]byte, error) {
			r, err := codec.DecodeRecord(key, value)
			if err == nil && r.Exception() != payout.NoException {
				err = putException(tx.Bucket(bucketExceptions), key, r.Exception())
			}
			return value, err
		}},
		{bucketLines, func(s *Store, tx *bbolt.Tx, key, value []byte) ([]byte, error) { return value, s.sight(tx, key, value) }},
	},
	end: func(s *Store, tx *bbolt.Tx, _ *meta) error {
		if err := errors.Join(countPayouts(tx), s.countFlows(tx)); err != nil {
			return err
		}
		return note(tx, store.Entry{At: s.o.now(), Act: store.ActMigrated, Facts: map[string]string{"format": "5"}})
	},
}

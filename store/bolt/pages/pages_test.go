package pages

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// Whatever lies in a file, looking at its pages ends, reads nothing outside of
// it, and calls a file that is not a store by its name.
func FuzzPages(f *testing.F) {
	// Small pages, so that the fuzzer gets around.
	path := filepath.Join(f.TempDir(), "pages")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 512, InitialMmapSize: 1 << 16})
	require.NoError(f, err)
	require.NoError(f, db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"meta", "batches", "names", "progress"} {
			b, err := tx.CreateBucket([]byte(name))
			require.NoError(f, err)
			for i := range uint64(len(name)) * 3 {
				key := binary.BigEndian.AppendUint64(nil, i)
				require.NoError(f, b.Put(key, append(key, "value"...)))
			}
		}
		return nil
	}))
	require.NoError(f, db.Close())
	whole, err := os.ReadFile(path)
	require.NoError(f, err)
	whole = whole[:min(len(whole), 16<<10)]
	f.Add(whole, uint16(0), uint64(0))
	for at := range uint16(12) {
		f.Add(whole, at*512+16, ^uint64(0))
	}
	f.Add([]byte{}, uint16(0), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, change uint64) {
		b = bytes.Clone(b)
		if int(at)+8 <= len(b) {
			order.PutUint64(b[at:], order.Uint64(b[at:])^change)
		}
		faults, entries := 0, 0
		half := Inspect(bytes.NewReader(b), int64(len(b)), func(string, ...any) { faults++ }, func(string, []byte, []byte) { entries++ })
		if faults == 0 && !half { // the other half may be a store that was just begun
			require.NotZero(t, entries, "something must be in a store")
		}
	})
}

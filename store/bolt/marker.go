package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// mark writes the store's marker, for the store's owner.
func (s *Store) mark(generation uint64, restored bool) error {
	err := writeMarker(s.o.marker(), generation, restored)
	adopt(s.o.marker(), s.o.Path)
	return err
}

// The marker is the generation in ASCII and, in a restored copy, the word for it. It is
// synced once by every process that claims, and not again: a marker that lost its last
// writes only protects less, it never locks a good store.
func writeMarker(path string, generation uint64, restored bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // the configured path
	if err != nil {
		return fmt.Errorf("marker of the store: %w", err)
	}
	word := newestWord
	if restored {
		word = restoredWord
	}
	_, err = fmt.Fprintf(f, "%020d %s\n", generation, word)
	return errors.Join(err, f.Close())
}

// The words of a marker, of one length.
const (
	newestWord   = "newest  "
	restoredWord = "restored"
)

// Used reports whether anything may ever have been sent from the store that a
// marker belongs to. A store that was cut off while it was made was not.
func Used(o Options) bool {
	// A store's marker is whole on the disk before the store is there, and is never
	// emptied: an empty one was cut off before that.
	if st, err := os.Stat(o.marker()); err == nil && st.Size() == 0 {
		return false
	}
	generation, _, err := readMarker(o.marker())
	return err != nil || generation > 0
}

func readMarker(path string) (generation uint64, restored bool, err error) {
	b, err := os.ReadFile(path) //nolint:gosec // the configured path
	if err != nil {
		return 0, false, err
	}
	var n uint64
	if _, err := fmt.Sscanf(string(b), "%d", &n); err != nil {
		return 0, false, fmt.Errorf("%s: %w", path, fs.ErrNotExist) // a power cut emptied it: as good as missing
	}
	return n, strings.Contains(string(b), restoredWord), nil
}

// suspectDisk makes the store look like a restored copy, as far as a failing disk
// lets it. What a disk could not write it forgets without an error, and
// what is read back now may be gone after the next start: a payout that is
// recorded as sent may become unsent again.
func (s *Store) suspectDisk() error {
	generation, restored, err := readMarker(s.o.marker())
	if err != nil {
		return nil //nolint:nilerr // no marker: nothing is sent either
	}
	return errors.Join(s.mark(generation+1_000_000, restored), syncFile(s.o.marker()))
}

package payfile

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"masspay/payout"
)

// idHash replaces an id while one file is checked: ids that differ have hashes that
// differ, but for a chance of one in 2^64 for a file of billions of rows, in which a good
// file would be refused.
type idHash [2]uint64

var hashSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hashID(k payout.Key) idHash {
	return idHash{maphash.Comparable(hashSeeds[0], k), maphash.Comparable(hashSeeds[1], k)}
}

// doubled are the ids that more than one row has, with their lines in order.
func (k *checking) doubled() map[idHash][]uint32 {
	sortSeen(k.ids)
	var all map[idHash][]uint32
	for i := 1; i < len(k.ids); i++ {
		s := k.ids[i]
		if s.id != k.ids[i-1].id {
			continue
		}
		if all == nil {
			all = map[idHash][]uint32{}
		}
		if all[s.id] == nil {
			all[s.id] = []uint32{k.ids[i-1].line}
		}
		all[s.id] = append(all[s.id], s.line)
	}
	return all
}

// sortSeen sorts by id, then by row. Half of the hashes begin with a bit of one: the
// halves are sorted side by side.
func sortSeen(ids []seen) {
	middle := 0
	for i := range ids {
		if ids[i].id[0]>>63 == 0 {
			ids[i], ids[middle] = ids[middle], ids[i]
			middle++
		}
	}
	order := func(a, b seen) int {
		return cmp.Or(cmp.Compare(a.id[0], b.id[0]), cmp.Compare(a.id[1], b.id[1]), cmp.Compare(a.row, b.row))
	}
	var low sync.WaitGroup
	low.Go(func() { slices.SortFunc(ids[:middle], order) })
	slices.SortFunc(ids[middle:], order)
	low.Wait()
}

// alsoOn is the problem of a row whose id other lines have too.
func alsoOn(lines []uint32, line uint32) string {
	other := lines[0]
	if other == line {
		other = lines[1]
	}
	if len(lines) > 2 {
		return fmt.Sprintf("duplicate payment_id on %d lines, also on line %d: each payout needs its own", len(lines), other)
	}
	return fmt.Sprintf("duplicate payment_id, also on line %d: each payout needs its own", other)
}

package payfile

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"masspay/payout"
)

// doubled are the ids that more than one row has, with their lines in order.
func (k *checking) doubled() map[payout.Digest][]uint32 {
	sortSeen(k.ids)
	var all map[payout.Digest][]uint32
	for i := 1; i < len(k.ids); i++ {
		s := k.ids[i]
		if s.id != k.ids[i-1].id {
			continue
		}
		if all == nil {
			all = map[payout.Digest][]uint32{}
		}
		if all[s.id] == nil {
			all[s.id] = []uint32{k.ids[i-1].line}
		}
		all[s.id] = append(all[s.id], s.line)
	}
	return all
}

// sortSeen sorts by id, then by row. Ids are digests, so that half of them begin
// with a bit of one: the halves are sorted side by side.
func sortSeen(ids []seen) {
	middle := 0
	for i := range ids {
		if ids[i].id[0] < 0x80 {
			ids[i], ids[middle] = ids[middle], ids[i]
			middle++
		}
	}
	order := func(a, b seen) int {
		x, y := binary.BigEndian.Uint64(a.id[:]), binary.BigEndian.Uint64(b.id[:])
		if x == y {
			x, y = binary.BigEndian.Uint64(a.id[8:]), binary.BigEndian.Uint64(b.id[8:])
		}
		if x == y {
			x, y = uint64(a.row), uint64(b.row)
		}
		return cmp.Compare(x, y)
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

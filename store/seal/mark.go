package seal

import (
	"encoding/binary"
	"slices"

	"masspay/payout"
	"masspay/store"
)

// Marker makes the marks by which rows of a file are known again.
type Marker struct {
	s        *Sealer
	columns  []string
	destined []int
	customer int // place of customer.id; below 0: there is none
}

// Marker is for files with these columns.
func (s *Sealer) Marker(columns []string) Marker {
	return Marker{s, columns, payout.Destinations(columns), slices.Index(columns, payout.FieldCustomer)}
}

// Account is the mark of where a row's money goes: the same for the same cell in the same
// column, in every file.
func (m Marker) Account(cells []string) store.Mark {
	for _, i := range m.destined {
		if i < len(cells) && cells[i] != "" {
			return m.s.mark(func(b []byte) []byte {
				return payout.AppendAccount(append(append(append(b, 'a'), m.columns[i]...), 0), cells[i])
			})
		}
	}
	return store.Mark{}
}

// Customer is the mark of whom a row pays: a project's customer.id.
func (m Marker) Customer(project uint32, cells []string) store.Mark {
	if m.customer < 0 || m.customer >= len(cells) || cells[m.customer] == "" {
		return store.Mark{}
	}
	return m.s.mark(func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(append(b, 'p'), project), cells[m.customer]...)
	})
}

func (s *Sealer) mark(put func(b []byte) []byte) store.Mark {
	d := s.digest(put)
	return store.Mark(d[:len(store.Mark{})])
}

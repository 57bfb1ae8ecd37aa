package store

import "context"

// PageQuery asks for some rows of a batch that one look finds: cells stay sealed.
type PageQuery struct {
	Batch string // id
	From  int    // index of the first row to look at

	// Limit is how many rows are shown at the most, and Scan how many are looked at; 0 and
	// more than MaxLimit and MaxScan are these.
	Limit, Scan int

	// Wants chooses rows; nil: all. It is given rows without cells and must be quick: others
	// may wait for the store.
	Wants func(*Line) bool
}

// The most that one look at a batch shows and looks at.
const (
	MaxLimit = 5_000
	MaxScan  = 5_000
)

// Page is what was found.
type Page struct {
	Rows   []Line // without cells
	Next   int    // index of the row to go on with; -1: there are no more
	Looked int    // rows that were looked at
}

// Bounded is the query within its bounds.
func (q PageQuery) Bounded() PageQuery {
	bounded := func(n, most int) int {
		if n <= 0 || n > most {
			return most
		}
		return n
	}
	q.From, q.Limit, q.Scan = max(q.From, 0), bounded(q.Limit, MaxLimit), bounded(q.Scan, MaxScan)
	return q
}

// Add looks at a row, in line order, and reports whether there is room for more.
func (p *Page) Add(q *PageQuery, l *Line) (more bool) {
	p.Looked++
	if q.Wants == nil || q.Wants(l) {
		p.Rows = append(p.Rows, *l)
	}
	return p.Looked < q.Scan && len(p.Rows) < q.Limit
}

// BatchNumbered finds a batch by its number.
func BatchNumbered(ctx context.Context, s interface {
	Latest(ctx context.Context, before uint32, limit int) ([]Batch, error)
}, n uint32) (b Batch, there bool, err error) {
	some, err := s.Latest(ctx, n+1, 1)
	if err != nil || len(some) == 0 || some[0].Number != n {
		return Batch{}, false, err
	}
	return some[0], true, nil
}

package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// exceptionsPage lists the payouts that want a person, or that one has closed.
type exceptionsPage struct {
	*view
	List   []oddity
	Closed bool
	File   *store.Batch // nil: of all files
	Next   uint64       // payout number to go on behind; 0: there are no more
}

// oddity is an exception with what to do about it.
type oddity struct {
	result.Exception
	Key       payout.Key
	Amount    payout.Amount
	Do, Paste string
}

func (p *Pages) exceptions(v *view, r *http.Request) (string, any, error) {
	ctx, q := r.Context(), r.URL.Query()
	page := exceptionsPage{view: v, Closed: q.Get("closed") != ""}
	f := store.Filter{Exception: payout.OpenException, Events: true, Limit: rowsAPage + 1}
	if page.Closed {
		f.Exception = payout.ClosedException
	}
	f.After, _ = strconv.ParseUint(q.Get("after"), 10, 63)
	id := q.Get("batch")
	seen, at, err := look(ctx, p, "exceptions "+q.Get("closed")+" "+id+" "+q.Get("after"), func(ctx context.Context) (s seenExceptions, err error) {
		if id != "" {
			b, err := p.Source.Batch(ctx, id)
			if err != nil {
				return s, err
			}
			s.file, f.Batch = &b, b.ID
		}
		for h, err := range p.Source.List(ctx, f) {
			if err != nil {
				return s, err
			}
			s.list = append(s.list, h)
		}
		s.files, err = p.files(ctx, s.list, nil)
		return s, err
	})
	if err != nil {
		return "", nil, err
	}
	page.File = seen.file
	for i := range seen.list {
		if i == rowsAPage {
			page.Next = seen.list[i-1].Number
			break
		}
		page.List = append(page.List, p.oddity(&seen.list[i], seen.files))
	}
	v.Title, v.Section, v.AsOf = v.T("exceptions.title"), "exceptions", at
	v.live(10*time.Second, !page.Closed)
	return "exceptions", page, nil
}

// seenExceptions are exceptions as one look finds them.
type seenExceptions struct {
	file  *store.Batch
	list  []payout.History
	files map[uint32]store.Batch // that they stand in
}

// files are those that payouts stand in first.
func (p *Pages) files(ctx context.Context, list []payout.History, known map[uint32]store.Batch) (files map[uint32]store.Batch, err error) {
	if files = known; files == nil {
		files = map[uint32]store.Batch{}
	}
	for i := range list {
		for _, n := range []uint32{placeOf(&list[i].Payout), list[i].SentBy} {
			if _, there := files[n]; there || n == 0 {
				continue
			}
			b, there, err := store.BatchNumbered(ctx, p.Source, n)
			if err != nil {
				return nil, err
			}
			if there {
				files[n] = b
			}
		}
	}
	return files, nil
}

func placeOf(p *payout.Payout) uint32 {
	if len(p.Places) == 0 {
		return 0
	}
	return p.Places[0].Batch
}

func (p *Pages) oddity(h *payout.History, files map[uint32]store.Batch) oddity {
	o := oddity{Exception: result.ExceptionOf(h, files, p.Rules), Amount: h.Amount, Key: h.Key}
	if h.Exception() == payout.OpenException {
		o.Do, o.Paste = o.Closing.When, o.Closing.ToPaste(h.Key.PaymentID)
	}
	return o
}

// Download is this list as a file.
func (p exceptionsPage) Download() string { return p.download("/exceptions.csv") }

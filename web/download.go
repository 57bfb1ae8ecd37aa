package web

import (
	"context"
	"encoding/csv"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// maskedColumns stand before those of a result.
var maskedColumns = []string{"line", "project_id", "payment_id", "to", "amount", "currency"}

// written is how many bytes a download writes before it moves its own deadline on.
const written = 1 << 20

// download is a CSV file under way to a viewer.
type download struct {
	*csv.Writer
	w     http.ResponseWriter
	n     int // bytes, nearly, since the deadline was moved
	begun bool
	name  string
}

func newDownload(w http.ResponseWriter, name string) *download {
	d := &download{Writer: csv.NewWriter(w), w: w, name: name}
	d.Comma = ';'
	return d
}

// row writes a row; the first one begins the answer.
func (d *download) row(cells []string) error {
	if !d.begun {
		d.begun = true
		h := d.w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "text/csv; charset=utf-8")
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.name}))
	}
	for i, c := range cells {
		cells[i] = result.Harmless(c)
		d.n += len(c) + 1
	}
	if d.n > written {
		d.n = 0
		if err := http.NewResponseController(d.w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	return d.Write(cells)
}

// downloadResult gives the rows of a file, chosen as on its page, without their cells: line, id,
// masked destination, amount, and the columns of a result.
func (p *Pages) downloadResult(w http.ResponseWriter, r *http.Request) {
	err := p.resultTo(w, r)
	if err != nil {
		p.unfinished(w, r, err)
	}
}

func (p *Pages) resultTo(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	b, _, err := p.lookBatch(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	wants, err := wanted(r.URL.Query())
	if err != nil {
		return err
	}
	all, _, err := p.common(ctx)
	if err != nil {
		return err
	}
	notes := result.Notes{Batch: b.Number, Names: all.names, Rules: p.Rules}
	d := newDownload(w, strings.TrimSuffix(b.Name, ".csv")+".masked.csv")
	if err := d.row(append(append([]string{}, maskedColumns...), result.Columns()...)); err != nil {
		return err
	}
	const burst = 1000 // rows in one turn
	for from := 0; from >= 0; {
		var page store.Page
		var rows [][]string
		err := p.Source.Together(ctx, func(ctx context.Context) (err error) {
			rows = rows[:0]
			if page, err = p.Source.Page(ctx, store.PageQuery{Batch: b.ID, From: from, Limit: burst, Wants: wants}); err != nil {
				return err
			}
			for i := range page.Rows {
				cells, err := p.maskedRow(ctx, notes, &page.Rows[i])
				if err != nil {
					return err
				}
				rows = append(rows, cells)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, cells := range rows {
			if err := d.row(cells); err != nil {
				return err
			}
		}
		from = page.Next
	}
	d.Flush()
	return d.Error()
}

func (p *Pages) maskedRow(ctx context.Context, notes result.Notes, l *store.Line) ([]string, error) {
	out := result.Line{Line: *l, Action: result.ActionOfLine(l), Note: notes.Of(*l)}
	cells := []string{strconv.Itoa(l.Line), "", "", "", "", ""}
	if l.Skip == "" {
		q := &l.Payout
		act, note, err := result.PaidAgain(ctx, p.Source, q)
		if err != nil {
			return nil, err
		}
		if act != "" {
			out.Action, out.Note = act, note
		}
		cells = []string{strconv.Itoa(l.Line), strconv.FormatUint(uint64(q.Key.ProjectID), 10), q.Key.PaymentID, q.Masked, strconv.FormatInt(q.Amount.Minor, 10), q.Amount.Currency}
	}
	return result.AppendCells(cells, &out), nil
}

// downloadExceptions gives the exceptions, chosen as on their page.
func (p *Pages) downloadExceptions(w http.ResponseWriter, r *http.Request) {
	if err := p.exceptionsTo(w, r); err != nil {
		p.unfinished(w, r, err)
	}
}

func (p *Pages) exceptionsTo(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	f := store.Filter{Exception: payout.OpenException, Events: true}
	if q.Get("closed") != "" {
		f.Exception = payout.ClosedException
	}
	if id := q.Get("batch"); id != "" {
		b, _, err := p.lookBatch(ctx, id)
		if err != nil {
			return err
		}
		f.Batch = b.ID
	}
	d := newDownload(w, "exceptions.masked.csv")
	err := d.row(slices.Clone(result.ExceptionColumns))
	if err != nil {
		return err
	}
	var files map[uint32]store.Batch
	for h, err := range p.Source.List(ctx, f) {
		if err != nil {
			return err
		}
		if files, err = p.files(ctx, []payout.History{h}, files); err != nil {
			return err
		}
		e := result.ExceptionOf(&h, files, p.Rules)
		err = d.row(e.Cells())
		if err != nil {
			return err
		}
	}
	d.Flush()
	return d.Error()
}

// unfinished ends a download that failed: with a page that says so as long as nothing was
// written; otherwise the connection is cut, so that half a file is not taken for a whole one.
func (p *Pages) unfinished(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	if w.Header().Get("Content-Disposition") == "" {
		p.show(w, r, func(*view, *http.Request) (string, any, error) { return "", nil, err })
		return
	}
	p.Log.Error("a download was cut off", "path", r.URL.Path, "because", err.Error())
	panic(http.ErrAbortHandler)
}

// downloadMinutes gives what passed for a file, minute by minute.
func (p *Pages) downloadMinutes(w http.ResponseWriter, r *http.Request) {
	if err := p.minutesTo(w, r); err != nil {
		p.unfinished(w, r, err)
	}
}

func (p *Pages) minutesTo(w http.ResponseWriter, r *http.Request) error {
	b, _, err := p.lookBatch(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	minutes, err := p.minutes(r.Context(), b.ID)
	if err != nil {
		return err
	}
	d := newDownload(w, strings.TrimSuffix(b.Name, ".csv")+".minutes.csv")
	err = d.row([]string{"minute", "accepted", "taken", "refused", "not_sent", "in_doubt", "polled_news", "polled_not_seen", "polled_nothing_new", "paid", "partly_paid", "declined", "rejected", "returned", "freed"})
	for i := range minutes {
		if err != nil {
			return err
		}
		cells := []string{minutes[i].At.Format(time.RFC3339)}
		for _, n := range minutes[i].Flow[:store.Freed+1] {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		err = d.row(cells)
	}
	d.Flush()
	return errors.Join(err, d.Error())
}

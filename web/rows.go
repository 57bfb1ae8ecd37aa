package web

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// rowsPage lists rows of a file.
type rowsPage struct {
	*view
	File   store.Batch
	Rows   []row
	Query  url.Values
	Next   int // -1: there are no more
	Looked int
	Early  bool // the search stopped before the end with room left
	Same   string
}

// row is a row of a file, without its cells.
type row struct {
	Line               int
	Skipped            bool
	Key                payout.Key
	To, Method         string
	Amount             payout.Amount
	State, Action, Why string
	Code, Message      string
	Sent, Settled      time.Time
}

const rowsAPage = 50

// seenRows are rows as one look finds them.
type seenRows struct {
	file store.Batch
	page store.Page
	rows []row
}

func (p *Pages) rows(v *view, r *http.Request) (string, any, error) {
	ctx, q, id := r.Context(), r.URL.Query(), r.PathValue("id")
	wants, err := wanted(q)
	if err != nil {
		return "", nil, err
	}
	from, err := strconv.Atoi(q.Get("after"))
	if err != nil {
		from = 0
	}
	all, _, err := p.common(ctx)
	if err != nil {
		return "", nil, err
	}
	key := r.URL.Query()
	key.Del("live")
	seen, at, err := look(ctx, p, "rows "+id+" "+key.Encode(), func(ctx context.Context) (s seenRows, err error) {
		if s.file, err = p.Source.Batch(ctx, id); err != nil {
			return s, err
		}
		if s.page, err = p.Source.Page(ctx, store.PageQuery{Batch: s.file.ID, From: from, Limit: rowsAPage, Wants: wants}); err != nil {
			return s, err
		}
		notes := result.Notes{Batch: s.file.Number, Names: all.names, Rules: p.Rules}
		for i := range s.page.Rows {
			one, err := p.row(ctx, notes, &s.page.Rows[i])
			if err != nil {
				return s, err
			}
			s.rows = append(s.rows, one)
		}
		return s, nil
	})
	if err != nil {
		return "", nil, err
	}
	b, found := seen.file, seen.page
	page := rowsPage{
		view: v, File: b, Rows: seen.rows, Query: q, Next: found.Next, Looked: max(from, 0) + found.Looked, Early: found.Next >= 0 && len(found.Rows) < rowsAPage,
	}
	changes := slices.ContainsFunc(found.Rows, func(l store.Line) bool { return l.Skip == "" && l.Payout.State.Open() })
	if len(b.Totals) == 1 {
		page.Same = b.Totals[0].Currency
	}
	v.Title, v.Section, v.AsOf, v.Footer = v.T("rows.of", "File", b.Name), "batches", at, b.Name+", SHA-256 "+b.ID
	v.live(10*time.Second, changes)
	return "rows", page, nil
}

// Told reports whether the gate's code says more than the result does.
func (r row) Told() bool { return r.Code != "" && r.State != result.StatePaid }

// row is a row as a page shows it.
func (p *Pages) row(ctx context.Context, notes result.Notes, l *store.Line) (row, error) {
	q := &l.Payout
	out := row{
		Line: l.Line, Skipped: l.Skip != "", Key: q.Key, To: q.Masked, Method: q.Method, Amount: q.Amount, State: result.StateOfLine(l),
		Action: result.ActionOfLine(l), Why: notes.Of(*l), Code: q.Reported.Code, Message: q.Reported.Message, Sent: q.FirstSent, Settled: q.FinalAt,
	}
	if out.Skipped {
		return out, nil
	}
	act, note, err := result.PaidAgain(ctx, p.Source, q)
	if act != "" {
		out.Action, out.Why = act, note
	}
	return out, err
}

// account is a run of digits that only a whole account, card or phone has.
var account = regexp.MustCompile(`[0-9]{6}`)

// wanted chooses rows by the query of a page. Whole accounts are refused: they would stay in
// histories and in the logs of proxies.
func wanted(q url.Values) (func(*store.Line) bool, error) {
	id, to := q.Get("id"), q.Get("to")
	if n := len([]rune(id)); n > 0 && n < 3 {
		return nil, badQuery("fail.short")
	}
	if account.MatchString(to) {
		return nil, badQuery("fail.account")
	}
	least, most, err := amountRange(q.Get("amount"))
	if err != nil {
		return nil, err
	}
	state, action, code := q.Get("result"), q.Get("action"), q.Get("code")
	id, to = strings.ToLower(id), strings.TrimSpace(to)
	if state+action+code+id+to == "" && least == nil {
		return nil, nil
	}
	return func(l *store.Line) bool {
		p := &l.Payout
		switch {
		case state != "" && result.StateOfLine(l) != state,
			action != "" && result.ActionOfLine(l) != action,
			code != "" && p.Reported.Code != code,
			id != "" && !strings.Contains(strings.ToLower(p.Key.PaymentID), id),
			to != "" && !strings.Contains(p.Masked, to):
			return false
		case least == nil:
			return true
		}
		a, ok := inMajor(*least, p.Amount.Currency)
		b, alsoOK := inMajor(*most, p.Amount.Currency)
		return ok && alsoOK && p.Amount.Minor >= a && p.Amount.Minor <= b
	}, nil
}

// amountRange reads 7968.72, or 100-200.
func amountRange(s string) (least, most *string, err error) {
	if s = strings.TrimSpace(s); s == "" {
		return nil, nil, nil
	}
	a, b, ok := strings.Cut(s, "-")
	if a = strings.TrimSpace(a); !ok {
		b = a
	}
	b = strings.TrimSpace(b)
	for _, x := range []string{a, b} {
		if _, ok := inMajor(x, "BHD"); !ok {
			return nil, nil, badQuery("fail.amount")
		}
	}
	return &a, &b, nil
}

// inMajor is an amount in major units, as 7968.72, in minor ones of a currency. Thousands
// separators are not guessed at.
func inMajor(s, currency string) (minor int64, ok bool) {
	exp, known := payout.Exponent(currency)
	whole, part, _ := strings.Cut(strings.ReplaceAll(s, ",", "."), ".")
	part = strings.TrimRight(part, "0")
	if !known || len(part) > exp || whole == "" || len(whole) > 13 {
		return 0, false
	}
	for _, c := range whole + part {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	minor, err := strconv.ParseInt(whole+part+strings.Repeat("0", exp-len(part)), 10, 64)
	return minor, err == nil
}

// Download is these rows as a file.
func (p rowsPage) Download() string {
	return p.download("/batches/" + p.File.Short() + "/result.csv")
}

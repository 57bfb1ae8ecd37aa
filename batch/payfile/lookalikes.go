package payfile

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// Policy says what becomes of rows that look like another one.
type Policy string

// The policies. The zero value is Off.
const (
	Off    Policy = "off"
	Warn   Policy = "warn"
	Refuse Policy = "refuse" // unless a person accepts exactly so many
)

// Lookalikes say which rows of a file look like another one, of the file or of an earlier
// one.
type Lookalikes struct {
	Twins   Policy    // the same amount to the same account, under another id
	IDs     Policy    // an id that differs only by zeros, capitals, or what cannot be seen; within the file
	Changed Policy    // a customer whom the store has paid, to another account
	Since   time.Time // twins are looked for among what was loaded from then on, too; zero: only within the file
	Accept  int       // so many rows that would be refused are accepted; 0: none
}

func (p Policy) on() bool { return p == Warn || p == Refuse }

// LookalikeKind says in what a row is like another.
type LookalikeKind string

// The kinds.
const (
	Twin      LookalikeKind = "twin"    // the same amount to the same account
	NearID    LookalikeKind = "id"      // an id that is nearly the same
	Elsewhere LookalikeKind = "changed" // the customer was last paid to another account
)

// Lookalike is a row that looks like an earlier one.
type Lookalike struct {
	Line    int // physical line
	Kind    LookalikeKind
	Like    int           // the line of the other; 0: it is of an earlier file
	Other   payout.Payout // of an earlier file
	amount  payout.Amount
	masked  string
	refused bool
}

// Urgent reports whether the other one is open, to be checked, or refused for good: what may
// be paid twice, or must not be paid.
func (l *Lookalike) Urgent() bool {
	return l.Like == 0 && l.Kind == Twin && (l.Other.State.Open() || l.Other.NeedsCheck() || result.Action(l.Other) == result.ActionNever)
}

func (l Lookalike) String() string { return fmt.Sprintf("line %d: %s", l.Line, l.text()) }

func (l *Lookalike) text() string {
	other := func() string { return result.ShellWord(l.Other.Key.PaymentID) }
	switch {
	case l.Kind == Elsewhere:
		return fmt.Sprintf("the customer was last paid to %s (%s), and this row pays to %s: is that the customer's account?", l.Other.Masked, other(), l.masked)
	case l.Kind == Twin && l.Like == 0:
		return fmt.Sprintf("%s to %s like %s, which is %s: is it to be paid twice?", l.amount, l.masked, other(), result.DescribeState(l.Other))
	case l.Kind == Twin:
		return fmt.Sprintf("the same amount to the same account as on line %d, under another id: is it to be paid twice?", l.Like)
	}
	return fmt.Sprintf("the id differs from that of line %d only by zeros, capitals or what cannot be seen: is it another payout?", l.Like)
}

// lookBack looks the new rows of a piece up among what the store has loaded before.
func (w *worker) lookBack(out *part, right []conflict, fresh []int) error {
	l := &w.k.Lookalikes
	twins, changed := l.Twins.on() && !l.Since.IsZero(), l.Changed.on()
	if len(fresh) == 0 || !twins && !changed {
		return nil
	}
	rows := make([]store.Row, len(fresh))
	for i, at := range fresh {
		d := &right[at].is
		rows[i] = store.Row{Line: d.line, Key: d.key, Amount: d.amount, Cells: d.cells}
	}
	since := l.Since
	if !twins {
		since = time.Now()
	}
	alike, err := w.k.Store.Resembling(w.k.ctx, w.k.cut.columns, since, rows)
	for i, r := range alike {
		if !r.Any() {
			continue
		}
		d := &right[fresh[i]].is
		is := Lookalike{Line: d.line, amount: d.amount, masked: strings.Clone(d.masked)}
		if twins && r.Twin.Number != 0 {
			is.Kind, is.Other, is.refused = Twin, r.Twin, l.Twins == Refuse
			out.earlier = append(out.earlier, is)
		}
		if changed && r.Last.Number != 0 {
			is.Kind, is.Other, is.refused = Elsewhere, r.Last, l.Changed == Refuse
			out.earlier = append(out.earlier, is)
		}
	}
	return err
}

// likeness is something by which a row may look like another: 16 bytes a row. Two rows that
// have nothing in common have the same once in a billion files, and cost a warning.
type likeness struct {
	hash  uint64
	line  uint32
	known bool // the store has the payout already
}

var likenessSeed = maphash.MakeSeed()

// twinOf is the same for rows that pay the same amount to the same destination.
func twinOf(d *draft) uint64 {
	return maphash.Comparable(likenessSeed, struct {
		place  int
		to     string
		amount payout.Amount
	}{d.toPlace, string(payout.AppendAccount(nil, d.to)), d.amount})
}

// plainestID is an id without what a person may not see in it: leading zeros of its numbers,
// capitals, invisible characters, and the form of its letters.
func plainestID(id string) string {
	if !printable(id) {
		id = norm.NFKC.String(withoutInvisible(id))
	}
	if !strings.ContainsFunc(id, unicode.IsUpper) && !zeros(id) {
		return id
	}
	var b strings.Builder
	b.Grow(len(id))
	number := false // the character before was a digit that is kept
	runes := []rune(strings.ToLower(id))
	for i, c := range runes {
		digit := c >= '0' && c <= '9'
		if c == '0' && !number && i+1 < len(runes) && runes[i+1] >= '0' && runes[i+1] <= '9' {
			continue
		}
		b.WriteRune(c)
		number = digit
	}
	return b.String()
}

// zeros reports whether a number in an id has a leading zero.
func zeros(id string) bool {
	for i := 0; i+1 < len(id); i++ {
		if id[i] == '0' && id[i+1] >= '0' && id[i+1] <= '9' && (i == 0 || id[i-1] < '0' || id[i-1] > '9') {
			return true
		}
	}
	return false
}

// resemble notes by what a row may look like others.
func (l Lookalikes) resemble(p *part, d *draft, known bool) {
	is := likeness{line: uint32(d.line), known: known}
	if l.Twins.on() && d.to != "" {
		is.hash = twinOf(d)
		p.twins = append(p.twins, is)
	}
	if !l.IDs.on() {
		return
	}
	if plain := plainestID(d.key.PaymentID); plain != d.key.PaymentID {
		is.hash = hashID(payout.Key{ProjectID: d.key.ProjectID, PaymentID: plain})[0]
		p.alike = append(p.alike, is)
	}
}

// lookalikes are the rows that look like an earlier one, in order. The ids are sorted.
func (k *checking) lookalikes() (all []Lookalike) {
	order := func(a, b likeness) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.line, b.line)) }
	var twins sync.WaitGroup // side by side: there are as many as rows
	twins.Go(func() { slices.SortFunc(k.twins, order) })
	slices.SortFunc(k.alike, order)
	twins.Wait()
	pairs := func(list []likeness, kind LookalikeKind, refused bool) {
		for i, first := 1, 0; i < len(list); i++ {
			if list[i].hash != list[first].hash {
				first = i
				continue
			}
			if !list[i].known || !list[first].known {
				all = append(all, Lookalike{Line: int(list[i].line), Like: int(list[first].line), Kind: kind, refused: refused})
			}
		}
	}
	pairs(k.twins, Twin, k.Lookalikes.Twins == Refuse)
	pairs(k.alike, NearID, k.Lookalikes.IDs == Refuse)
	at := 0
	for i, a := range k.alike {
		if i > 0 && k.alike[i-1].hash == a.hash {
			continue // like one before, and told
		}
		for at < len(k.ids) && k.ids[at].id[0] < a.hash {
			at++
		}
		if at == len(k.ids) || k.ids[at].id[0] != a.hash {
			continue // no id is written like this
		}
		line, like := int(a.line), int(k.ids[at].line)
		all = append(all, Lookalike{Line: max(line, like), Like: min(line, like), Kind: NearID, refused: k.Lookalikes.IDs == Refuse})
	}
	all = append(all, k.earlier...)
	first := func(l *Lookalike) int {
		if l.Urgent() {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b Lookalike) int {
		return cmp.Or(cmp.Compare(first(&a), first(&b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Like, b.Like))
	})
	return all
}

// seek looks for look-alikes, once.
func (k *checking) seek() {
	if !k.sought {
		k.sought, k.found = true, k.lookalikes()
	}
}

// maxLookalikes is how many are told one by one.
const maxLookalikes = 20

// tellLookalikes makes problems or warnings of them.
func (k *checking) tellLookalikes() []Lookalike {
	k.seek()
	all := k.found
	refused := 0
	for _, l := range all {
		if l.refused {
			refused++
		}
	}
	accept := k.Lookalikes.Accept
	accepted := accept == refused
	if accept > 0 && !accepted {
		k.problems.add(Problem{structure: true, Text: fmt.Sprintf("%s look-alikes were accepted (--accept-lookalikes), the file has %s", payout.FormatNumber(accept), payout.FormatNumber(refused))})
	}
	many := len(all) > maxLookalikes
	var lines Lines
	told := 0
	for i := range all {
		l := &all[i]
		switch {
		case l.refused && !accepted:
			k.problems.add(Problem{Line: l.Line, structure: true, Text: l.text(), kind: map[bool]string{true: "lookalike"}[many && !l.Urgent()]})
		case !many || l.Urgent() && told < maxLookalikes:
			k.warnings.put(Warning{Line: l.Line, Text: l.text(), urgent: l.Urgent()})
			told++
		default:
			lines.add(l.Line, l.Line)
		}
	}
	if lines.N > 0 {
		k.warnings.add(0, fmt.Sprintf("%s rows look like another one (%s): the same amount to the same account, an id that is nearly the same, or a customer with another account; masspay check --json lists them", payout.FormatNumber(lines.N), lines))
	}
	return all
}

package payfile

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"masspay/payout"
)

// Policy says what becomes of rows that look like another one.
type Policy string

// The policies. The zero value is Off.
const (
	Off    Policy = "off"
	Warn   Policy = "warn"
	Refuse Policy = "refuse" // unless a person accepts exactly so many
)

// Lookalikes say which rows of a file look like another row of it.
type Lookalikes struct {
	Twins  Policy // the same amount to the same account, under another id
	IDs    Policy // an id that differs only by zeros, capitals, or what cannot be seen
	Accept int    // so many rows that would be refused are accepted; 0: none
}

func (p Policy) on() bool { return p == Warn || p == Refuse }

// Lookalike is a row that looks like an earlier one.
type Lookalike struct {
	Line, Like int // physical lines
	Twin       bool
	refused    bool
}

func (l Lookalike) String() string {
	if l.Twin {
		return fmt.Sprintf("line %d: the same amount to the same account as on line %d, under another id: is it to be paid twice?", l.Line, l.Like)
	}
	return fmt.Sprintf("line %d: the id differs from that of line %d only by zeros, capitals or what cannot be seen: is it another payout?", l.Line, l.Like)
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
	}{d.toPlace, d.to, d.amount})
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
	pairs := func(list []likeness, twin, refused bool) {
		for i, first := 1, 0; i < len(list); i++ {
			if list[i].hash != list[first].hash {
				first = i
				continue
			}
			if !list[i].known || !list[first].known {
				all = append(all, Lookalike{int(list[i].line), int(list[first].line), twin, refused})
			}
		}
	}
	pairs(k.twins, true, k.Lookalikes.Twins == Refuse)
	pairs(k.alike, false, k.Lookalikes.IDs == Refuse)
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
		all = append(all, Lookalike{max(line, like), min(line, like), false, k.Lookalikes.IDs == Refuse})
	}
	slices.SortFunc(all, func(a, b Lookalike) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Like, b.Like)) })
	return all
}

// maxLookalikes is how many are told one by one.
const maxLookalikes = 20

// tellLookalikes makes problems or warnings of them.
func (k *checking) tellLookalikes() []Lookalike {
	all := k.lookalikes()
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
	for _, l := range all {
		text, _ := strings.CutPrefix(l.String(), fmt.Sprintf("line %d: ", l.Line))
		switch {
		case l.refused && !accepted:
			k.problems.add(Problem{Line: l.Line, structure: true, Text: text, kind: map[bool]string{true: "lookalike"}[many]})
		case many:
			lines.add(l.Line, l.Line)
		default:
			k.warnings.add(l.Line, text)
		}
	}
	if lines.N > 0 {
		k.warnings.add(0, fmt.Sprintf("%s rows look like another one of the file (%s): the same amount to the same account, or an id that is nearly the same; masspay check --json lists them", payout.FormatNumber(lines.N), lines))
	}
	return all
}

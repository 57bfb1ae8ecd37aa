package payfile

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What spreadsheets and exports make of cells, and no one has meant. It is told for what it
// is before a rule of the column calls it something else.
const (
	spreadsheetPower = "a spreadsheet turned this into a power of ten, and digits are lost: format the column as text and fill it in again"
	spreadsheetPoint = "a spreadsheet made a decimal number of this: format the column as text and fill it in again"
	spreadsheetError = "an error of a spreadsheet's formula: fill in the value"
	questionMarks    = "only question marks: the text was lost on its way; export it again as \"CSV UTF-8\""
	noValue          = "the word of a program for no value: fill it in, or leave it empty"
	mayBePower       = "looks like a power of ten of a spreadsheet; sent as it is"
	looksLikeDate    = "looks like a date, which a spreadsheet makes of ids: is it still what it was?"
	runsAsFormula    = "begins like a formula, which a spreadsheet would run; sent as it is"
)

// months as spreadsheets in English and Russian write them.
const months = `(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|янв|фев|мар|апр|май|июн|июл|авг|сен|окт|ноя|дек)`

var (
	powerOfTen  = regexp.MustCompile(`^[0-9]([.,][0-9]+)?E\+[0-9]+$`)
	hexOrPower  = regexp.MustCompile(`^[0-9]+E[0-9]+$`)
	decimalTail = regexp.MustCompile(`^[0-9]{4,}[.,]0+$`)
	date        = regexp.MustCompile(`(?i)^([0-9]{1,2}[./-][0-9]{1,2}[./-]([0-9]{2}|[0-9]{4})|` + months + `[.-][0-9]{2}|[0-9]{1,2}[.-]` + months + `([.-]([0-9]{2}|[0-9]{4}))?)$`)

	errorCells = []string{
		"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#Н/Д", "#ЗНАЧ!", "#ССЫЛКА!", "#ИМЯ?", "#ДЕЛ/0!", "#ЧИСЛО!", "#ПУСТО!",
	}
	noValues = []string{"null", "none", "nan", "undefined"}
)

// columnKind is what the values of a column are, by which some things are wrong with them.
type columnKind int

const (
	codes  columnKind = iota // written by machines: ids, banks, methods, e-mail addresses
	digits                   // codes that have digits only: accounts, cards, phones
	names                    // of people
	texts                    // anything
)

func kindOf(column string) columnKind {
	last := column[strings.LastIndexByte(column, '.')+1:]
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(last, w) })
	}
	switch {
	case has("description", "address", "city", "street", "comment", "reason", "purpose", "state", "region") && last != "ip_address":
		return texts
	case has("name", "holder"):
		return names
	case phoneColumn(column), column == "account.number", column == "card.pan":
		return digits
	}
	return codes
}

// odd is a quick look whether a value may be anything that suspect knows.
func odd(v string, kind columnKind) bool {
	if v == "" {
		return false
	}
	switch v[0] {
	case '#', '?', '=', '@', '+', '-':
		return true
	case 'n', 'N', 'u', 'U':
		if noValueWord(v) {
			return true
		}
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if strings.IndexByte(v, 'E') > 0 || kind == digits && strings.ContainsAny(v, ".,") {
			return true
		}
	}
	for i := range len(v) {
		if v[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

func noValueWord(v string) bool {
	return slices.ContainsFunc(noValues, func(w string) bool { return strings.EqualFold(w, v) })
}

// suspect says which damage of a spreadsheet or an export a value shows: a problem, or a warning
// where it may be right. required says that the column must not be empty.
func suspect(v string, kind columnKind, required bool) (problem, warning string) {
	if !odd(v, kind) {
		return "", ""
	}
	switch {
	case kind != texts && powerOfTen.MatchString(v):
		return spreadsheetPower, ""
	case kind == digits && decimalTail.MatchString(v):
		return spreadsheetPoint, ""
	case slices.Contains(errorCells, strings.ToUpper(v)):
		return spreadsheetError, ""
	case strings.Trim(v, "? ") == "":
		return questionMarks, ""
	case noValueWord(v):
		if required && kind != names {
			return noValue, ""
		}
		return "", "is " + strings.ToLower(v) + ": is it a value? It is sent as it is"
	case kind == codes && hexOrPower.MatchString(v):
		return "", mayBePower
	}
	if as := doubled(v); as != "" {
		return "the text was read as " + as + " on its way, and is damaged: export it again as \"CSV UTF-8\"", ""
	}
	if at := mixedScripts(v); at != "" {
		if kind == codes || kind == digits {
			return at, ""
		}
		return "", at
	}
	if strings.ContainsRune("=@", rune(v[0])) || strings.ContainsRune("+-", rune(v[0])) && len(v) > 1 && (v[1] < '0' || v[1] > '9') {
		return "", runsAsFormula
	}
	return "", ""
}

// alike are letters that look the same in both scripts, in their Cyrillic form.
var alike = map[rune]rune{
	'а': 'a', 'е': 'e', 'о': 'o', 'р': 'p', 'с': 'c', 'у': 'y', 'х': 'x', 'і': 'i', 'ј': 'j', 'ѕ': 's', 'һ': 'h', 'ԁ': 'd', 'ԛ': 'q', 'ԝ': 'w',
	'А': 'A', 'В': 'B', 'Е': 'E', 'К': 'K', 'М': 'M', 'Н': 'H', 'О': 'O', 'Р': 'P', 'С': 'C', 'Т': 'T', 'У': 'Y', 'Х': 'X', 'І': 'I', 'Ј': 'J', 'Ѕ': 'S', 'З': '3',
}

var alikeLatin = func() map[rune]bool {
	m := map[rune]bool{}
	for _, latin := range alike {
		m[latin] = true
	}
	return m
}()

// mixedScripts finds a word, digits included, of letters of two scripts in which all those of the rarer one
// look like letters of the other: typed on the wrong keyboard, or worse. It says where.
func mixedScripts(v string) string {
	if strings.IndexFunc(v, func(c rune) bool { return unicode.Is(unicode.Cyrillic, c) }) < 0 {
		return ""
	}
	at := 0
	for word := range strings.FieldsFuncSeq(v, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
		begin := at + strings.Index(v[at:], word)
		at = begin + len(word)
		var latin, cyrillic, latinOnly, cyrillicOnly int
		for _, c := range word {
			switch {
			case unicode.Is(unicode.Cyrillic, c):
				cyrillic++
				if alike[c] == 0 {
					cyrillicOnly++
				}
			case unicode.Is(unicode.Latin, c):
				latin++
				if !alikeLatin[c] {
					latinOnly++
				}
			}
		}
		if latin == 0 || cyrillic == 0 {
			continue
		}
		rare, script, other := unicode.Cyrillic, "Cyrillic", "Latin"
		if cyrillic > latin {
			rare, script, other = unicode.Latin, "Latin", "Cyrillic"
			cyrillicOnly = latinOnly
		}
		if cyrillicOnly > 0 {
			continue // it has letters that no one takes for the other script's
		}
		before := strings.IndexFunc(word, func(c rune) bool { return unicode.Is(rare, c) })
		nth := utf8.RuneCountInString(v[:begin+before]) + 1
		return "character " + strconv.Itoa(nth) + " is a " + script + " letter in a " + other + " word and looks like one of it: type the value again"
	}
	return ""
}

package batch

import (
	"fmt"
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"masspay/gate"
	"masspay/payout"
)

// rules check the rows of one file. They are made from its header and keep no
// row.
type rules struct {
	columns  []string
	at       places
	destined []int // places of what can be a destination, best first
	projects func(uint32) bool
	now      time.Time

	methods    map[string]*methodRules
	currencies map[string]currencyRules
	project0   project // the last one
	problems   *problems
	warnings   *warnings
}

// places are those of the columns that every file has, -1 where one is missing.
type places struct{ operation, project, method, paymentID, amount, currency int }

// project is a project's cell and what it says.
type project struct {
	cell string
	id   uint32 // 0: not read yet
}

// currencyRules are what is known of a currency's cell.
type currencyRules struct{ known, current bool }

// methodRules are the rules of one method in one file.
type methodRules struct {
	spec     *gate.Method
	composer *gate.Composer
	required []int         // columns that must not be empty
	columns  []columnRules // of the columns that are the method's own
	phone    int           // place of the account number that is a Kyrgyz phone number; -1: none
	bad      bool          // the method or the header cannot make its requests
}

// columnRules are what a cell of a column is held against.
type columnRules struct {
	place int
	name  string
	field *gate.Field // nil: the method does not document it
	phone bool
	banks []string // known ones; empty: any
}

// baseColumns are what every file must have.
var baseColumns = []string{
	gate.ColOperation, gate.ColProject, gate.ColMethod,
	gate.ColPaymentID, gate.ColAmount, gate.ColCurrency,
}

// destinations are the columns that say where money goes, best first.
var destinations = []string{
	gate.ColAccount, "card.pan", "account.iban", "account.wallet_address", "token",
	"customer.phone", "account.alias", "account.voucher_code", "customer.email", "customer.id",
}

func newRules(columns []string, projects func(uint32) bool, ps *problems, ws *warnings) *rules {
	r := &rules{
		columns: columns, projects: projects, now: time.Now(),
		methods: map[string]*methodRules{}, currencies: map[string]currencyRules{}, problems: ps, warnings: ws,
	}
	place := func(c string) int { return slices.Index(columns, c) }
	r.at = places{
		operation: place(gate.ColOperation), project: place(gate.ColProject), method: place(gate.ColMethod),
		paymentID: place(gate.ColPaymentID), amount: place(gate.ColAmount), currency: place(gate.ColCurrency),
	}
	for _, c := range destinations {
		if i := slices.Index(columns, c); i >= 0 {
			r.destined = append(r.destined, i)
		}
	}
	return r
}

// header checks the columns. It reports whether rows can be read at all.
func (r *rules) header() bool {
	usable := true
	if !slices.ContainsFunc(baseColumns, func(c string) bool { return slices.Contains(r.columns, c) }) {
		r.problems.add(Problem{Line: 1, structure: true, Text: "the first line has no column names: it must be the header, with " + strings.Join(baseColumns, ", ") + " and what the method needs"})
		return false
	}
	seen := map[string]bool{}
	structural := func(column, text string) {
		r.problems.add(Problem{Line: 1, Column: column, Text: text, structure: true})
	}
	for i, c := range r.columns {
		switch {
		case c == "":
			structural("", fmt.Sprintf("column %d has no name: remove the column, or the delimiter at the end of the header", i+1))
			usable = false
		case seen[c]:
			structural(c, "duplicate column: keep one")
			usable = false
		case c == "general.signature":
			structural(c, "a file has no signatures: remove the column, masspay signs each request itself")
		case c == gate.ColOperation || c == gate.ColMethod:
		case !gate.KnownColumn(c):
			name, remedy := suggest(c)
			structural(name, "unknown column: "+remedy)
		}
		seen[c] = true
	}
	for _, c := range baseColumns {
		if !seen[c] {
			structural(c, "the column is missing: every mass payment file has it")
			usable = false
		}
	}
	return usable
}

var dottedPath = regexp.MustCompile(`^[a-z][a-z_]*(\.[a-z0-9_]+)+$`)

// suggest returns a column's name as it may be shown, and what to do about it.
// A name that is none may be a value, in a file that lost its header.
func suggest(column string) (shown, remedy string) {
	known := append([]string{gate.ColOperation, gate.ColMethod}, gate.Columns()...)
	if c := Nearest(strings.ToLower(strings.TrimSpace(column)), known, 3); c != "" {
		return column, fmt.Sprintf("did you mean %s?", c)
	}
	shown = column
	if !dottedPath.MatchString(column) {
		shown = payout.Mask(column)
	}
	return shown, "names are dotted paths of the Gate API such as account.number; remove the column if it is a note of your own"
}

// check turns a row into a payout's row. Problems go to the collector; ok says
// that there was none.
func (r *rules) check(in row) (out draft, ok bool) {
	before := r.problems.count
	cells := in.cells
	// The id counts even if the rest is wrong: it must not stand twice.
	if v := cells[r.at.project]; v != r.project0.cell || r.project0.id == 0 {
		n, _ := strconv.ParseUint(v, 10, 32)
		r.project0 = project{cell: v, id: uint32(n)}
	}
	out.key = payout.Key{ProjectID: r.project0.id, PaymentID: cells[r.at.paymentID]}
	if cells[r.at.operation] == "" && strings.Join(cells, "") == "" {
		r.problem(in.line, "", "", "the row is empty: delete it")
		return out, false
	}
	if !r.operation(in.line, cells[r.at.operation], cells) {
		return out, false
	}
	out.line, out.cells, out.method = in.line, cells, cells[r.at.method]
	out.key.ProjectID = r.project(in.line, cells[r.at.project])
	out.key.PaymentID = r.paymentID(in.line, cells[r.at.paymentID])
	m := r.method(in.line, out.method)
	out.amount.Currency = r.currency(in.line, cells[r.at.currency], m)
	out.amount.Minor = r.amount(in.line, cells[r.at.amount], out.amount.Currency)
	if m != nil && !m.bad {
		r.fields(in, m)
		out.composer = m.composer
	}
	out.masked = r.destination(cells)
	return out, r.problems.count == before && out.composer != nil
}

// destination says where the money of a row goes, with its middle hidden.
func (r *rules) destination(cells []string) string {
	for _, i := range r.destined {
		if cells[i] != "" {
			return payout.Mask(cells[i])
		}
	}
	return ""
}

// checked reads a row that was found to be right when it was checked; ok is false
// where it cannot have been.
func (r *rules) checked(in row) (out draft, ok bool) {
	cells := in.cells
	n, err := strconv.ParseUint(cells[r.at.project], 10, 32)
	minor, bad := payout.ParseMinor(cells[r.at.amount])
	m := r.method(in.line, cells[r.at.method])
	if err != nil || bad != nil || m == nil || m.bad {
		return out, false
	}
	return draft{
		line: in.line, cells: cells, method: cells[r.at.method], masked: r.destination(cells), composer: m.composer,
		key:    payout.Key{ProjectID: uint32(n), PaymentID: cells[r.at.paymentID]},
		amount: payout.Amount{Minor: minor, Currency: cells[r.at.currency]},
	}, true
}

// draft is a checked row on its way into the store.
type draft struct {
	line     int
	cells    []string
	key      payout.Key
	method   string
	amount   payout.Amount
	masked   string
	composer *gate.Composer
}

// canonical is the string that the request will be signed over.
func (d draft) canonical(b []byte) []byte {
	return d.composer.Draft(d.key, d.cells).AppendCanonical(b)
}

func (r *rules) problem(line int, column, value, text string) {
	if value != "" && (payout.Personal(column) || !looksRight(column, value)) {
		value = payout.Mask(value)
	}
	if c := []rune(value); len(c) > 60 {
		value = string(c[:57]) + "..."
	}
	r.problems.add(Problem{Line: line, Column: column, Value: value, Text: text})
}

// looksRight reports whether a value may be what its column is for. In a row
// whose cells have shifted, a phone number may stand under currency.
func looksRight(column, value string) bool {
	switch column {
	case gate.ColOperation, gate.ColMethod:
		lower := strings.ToLower(value)
		return (value == lower || Nearest(lower, append(gate.Methods(), "payout"), 3) != "") &&
			!strings.ContainsAny(value, "@ ") && !longDigits.MatchString(value)
	case gate.ColCurrency:
		return len(value) <= 5
	case gate.ColAmount:
		return notAmount.FindString(value) == "" && len(value) <= 20
	case gate.ColProject:
		return len(value) <= 10
	}
	return true
}

var (
	longDigits = regexp.MustCompile(`[0-9]{6,}`)
	notAmount  = regexp.MustCompile(`[^\p{Nd}.,+\-eExX ]`)
)

// totalWords begin the line that spreadsheets put under a column of numbers.
var totalWords = []string{"total", "sum", "subtotal", "grand total", "итого", "всего", "сумма", "жыйынтыгы", "бардыгы"}

func (r *rules) operation(line int, v string, cells []string) bool {
	if v == "payout" {
		return true
	}
	for _, c := range cells {
		word := strings.ToLower(strings.Trim(c, " :="))
		if slices.Contains(totalWords, word) {
			r.problem(line, "", "", "this looks like a total line, not a payout: delete it")
			return false
		}
	}
	text := "only payout can be sent"
	if v == "" {
		text = "empty: write payout"
	} else if strings.EqualFold(strings.TrimSpace(v), "payout") {
		text = "write payout, in small letters and without spaces"
	}
	r.problem(line, gate.ColOperation, v, text)
	return false
}

func (r *rules) project(line int, v string) uint32 {
	if known := r.project0; known.cell == v && known.id != 0 && r.projects(known.id) && (v[0] != '0' && v[0] != '+') {
		return known.id
	}
	n, err := strconv.ParseUint(v, 10, 32)
	switch {
	case v == "":
		r.problem(line, gate.ColProject, v, "empty: write the number of your project")
	case err != nil || strconv.FormatUint(n, 10) != v || n == 0:
		r.problem(line, gate.ColProject, v, "not a project number: digits only, as the platform gave it to you")
	case !r.projects(uint32(n)):
		r.problem(line, gate.ColProject, v, "this project is not configured: correct the row, or add the project and its secret to the configuration")
	}
	return uint32(n)
}

func (r *rules) paymentID(line int, v string) string {
	switch {
	case v == "":
		r.problem(line, gate.ColPaymentID, v, "empty: each payout needs its own")
	case spaced(v):
		r.problem(line, gate.ColPaymentID, v, "spaces around the id: remove them")
	case utf8.RuneCountInString(v) > 255:
		r.problem(line, gate.ColPaymentID, v, "longer than 255 characters")
	case unsafe(v) != "":
		r.problem(line, gate.ColPaymentID, v, unsafe(v))
	}
	return v
}

func (r *rules) amount(line int, v, currency string) int64 {
	n, err := payout.ParseMinor(v)
	if err == nil {
		return n
	}
	exp, known := payout.Exponent(currency)
	text := "whole minor units, digits only"
	if known && exp > 0 {
		example := payout.Amount{Minor: 1250, Currency: currency}
		text = "whole minor units, e.g. 1250 for " + example.String()
		if whole, part, dot := strings.Cut(v, "."); dot && len(part) == exp && allDigits(whole+part) {
			text = fmt.Sprintf("whole minor units, e.g. %s for %s %s", strings.TrimLeft(whole+part, "0"), v, currency)
		}
	} else if known {
		text = "whole units of " + currency + ", digits only, e.g. 1250"
	}
	switch {
	case v == "":
		text = "empty: " + text
	case allDigits(v) && strings.Trim(v, "0") == "":
		text = "must be more than zero"
	case allDigits(v) && v[0] == '0':
		text = "leading zero: is it really an amount? Write it without"
	case allDigits(v):
		text = "more than " + payout.Count(int64(payout.MaxMinor)) + " minor units, the platform's limit"
	}
	r.problem(line, gate.ColAmount, v, text)
	return 0
}

func (r *rules) currency(line int, v string, m *methodRules) string {
	is, looked := r.currencies[v]
	if !looked {
		_, is.known = payout.Exponent(v)
		is.current = payout.CurrentCurrency(v, r.now)
		if is.known {
			r.currencies[v] = is
		}
	}
	if is.current && (m == nil || m.spec.Currency == "" || v == m.spec.Currency) {
		return v
	}
	known := is.known
	upper := strings.ToUpper(strings.TrimSpace(v))
	_, would := payout.Exponent(upper)
	switch {
	case v == "":
		r.problem(line, gate.ColCurrency, v, "empty: write the three letters of the currency, e.g. KGS")
	case !known && would:
		r.problem(line, gate.ColCurrency, v, "write "+upper+", in capital letters and without spaces")
	case !known:
		r.problem(line, gate.ColCurrency, v, "not a currency of ISO 4217, e.g. KGS")
	case !is.current:
		r.problem(line, gate.ColCurrency, v, "this currency is no longer in force")
	case m != nil && m.spec != nil && m.spec.Currency != "" && v != m.spec.Currency:
		r.problem(line, gate.ColCurrency, v, "this method pays only "+m.spec.Currency)
	}
	return v
}

// method returns the rules of a row's method, nil when it is none.
func (r *rules) method(line int, v string) *methodRules {
	if m := r.methods[v]; m != nil {
		return m
	}
	spec := gate.LookupMethod(v)
	if spec == nil {
		r.problem(line, gate.ColMethod, v, unknownMethod(v))
		return nil
	}
	m := &methodRules{spec: spec, phone: -1}
	r.methods[v] = m
	composer, err := gate.NewComposer(v, r.columns)
	if err != nil {
		m.bad = true
		r.problems.add(Problem{Line: 1, Text: err.Error(), structure: true})
		return m
	}
	m.composer = composer
	for _, path := range spec.Required() {
		if slices.Contains(baseColumns, path) {
			continue
		}
		i := slices.Index(r.columns, path)
		if i < 0 {
			m.bad = true
			r.problems.add(Problem{Line: 1, Column: path, structure: true,
				Text: fmt.Sprintf("the column is missing: method %s needs it (first on line %d)", v, line)})
			continue
		}
		m.required = append(m.required, i)
	}
	for i, path := range r.columns {
		f := composer.Field(i)
		if f != nil && f.Type == gate.Object {
			m.bad = true
			r.problems.add(Problem{Line: 1, Column: path, Text: "the field is an object and cannot stand in one cell: remove the column", structure: true})
		}
		if slices.Contains(baseColumns, path) {
			continue
		}
		c := columnRules{place: i, name: path, field: f, phone: phoneColumn(path)}
		if path == "account.bank_code" {
			c.banks = spec.Banks
		}
		m.columns = append(m.columns, c)
	}
	if v == "sbp-p2p" {
		m.phone = slices.Index(r.columns, gate.ColAccount)
	}
	return m
}

func unknownMethod(v string) string {
	switch {
	case v == "":
		return "empty: write the payment method, e.g. sbp-p2p"
	case strings.Contains(v, "..") || strings.HasPrefix(v, "/"):
		return "a method is a name such as sbp-p2p or banks/spei, not a path"
	}
	if m := Nearest(strings.ToLower(strings.TrimSpace(v)), gate.Methods(), 3); m != "" {
		return fmt.Sprintf("payment method is not available: did you mean %s?", m)
	}
	return "payment method is not available: e.g. sbp-p2p, card, mobile, banks/<name>"
}

// fields checks the cells that the method's own fields are made from.
func (r *rules) fields(in row, m *methodRules) {
	for _, i := range m.required {
		if in.cells[i] == "" {
			r.problem(in.line, r.columns[i], "", fmt.Sprintf("empty: method %s needs it", in.cells[r.at.method]))
		}
	}
	for i := range m.columns {
		c := &m.columns[i]
		v := in.cells[c.place]
		if v == "" {
			continue
		}
		if text := unsafe(v); text != "" {
			r.problem(in.line, c.name, v, text)
			continue
		}
		if c.field == nil {
			r.warnings.add(in.line, fmt.Sprintf("%s: method %s does not document this field; it is sent as it stands", c.name, in.cells[r.at.method]))
			continue
		}
		if text := c.check(v); text != "" {
			r.problem(in.line, c.name, v, text)
			continue
		}
		if spaced(v) {
			r.warnings.add(in.line, c.name+": spaces around the value are sent as they stand")
		}
		if len(c.banks) > 0 && !slices.Contains(c.banks, v) {
			r.warnings.add(in.line, fmt.Sprintf("%s %q: not among the known banks (%s); sent as it stands, the list may have changed", c.name, v, strings.Join(c.banks, ", ")))
		}
	}
	if m.phone >= 0 {
		r.kyrgyzPhone(in.line, in.cells[m.phone])
	}
}

// spaced reports whether a value has white space at one of its ends.
func spaced(v string) bool {
	plain := func(c byte) bool { return c > ' ' && c < utf8.RuneSelf }
	if v == "" || plain(v[0]) && plain(v[len(v)-1]) {
		return false
	}
	return strings.TrimSpace(v) != v
}

// check holds one value against its column; it returns what is wrong, or "".
func (c *columnRules) check(v string) string {
	f := c.field
	switch f.Type {
	case gate.Integer:
		if !gate.IntegerText(v) {
			return "a whole number in plain digits, without leading zeros"
		}
		n, _ := strconv.ParseInt(v, 10, 64)
		if f.Minimum != nil && n < *f.Minimum || f.Maximum != nil && n > *f.Maximum {
			return limits("must be", f.Minimum, f.Maximum)
		}
		if f.MaxLength > 0 && len(v) > f.MaxLength {
			return fmt.Sprintf("at most %d digits", f.MaxLength)
		}
		return ""
	case gate.Boolean:
		if v != "true" && v != "false" {
			return "write true or false"
		}
		return ""
	}
	if c.phone {
		if text := phone(v); text != "" {
			return text
		}
	}
	switch n := utf8.RuneCountInString(v); {
	case spaced(v) && strings.TrimSpace(v) == "":
		return "only spaces: fill it in or leave it empty"
	case n < f.MinLength:
		return fmt.Sprintf("at least %d characters", f.MinLength)
	case f.MaxLength > 0 && n > f.MaxLength:
		return fmt.Sprintf("%d characters, at most %d are allowed", n, f.MaxLength)
	case len(f.Enum) > 0 && !slices.Contains(f.Enum, v):
		return "one of " + strings.Join(f.Enum, ", ")
	case !f.Matches(v):
		return "does not have the form that the platform asks for (" + f.Pattern + ")"
	}
	return formatted(f.Format, v)
}

func formatted(format, v string) string {
	switch format {
	case "ip-address":
		if _, err := netip.ParseAddr(v); err != nil {
			return "not an IP address, e.g. 198.51.100.47"
		}
	case "email":
		if !plainEmail(v) {
			return slowEmail(v)
		}
	case "pan":
		return pan(v)
	}
	return ""
}

func slowEmail(v string) string {
	if a, err := mail.ParseAddress(v); err != nil || a.Address != v || !strings.Contains(v[strings.LastIndexByte(v, '@')+1:], ".") {
		return "not an e-mail address, e.g. name@example.com"
	}
	return ""
}

// plainEmail recognizes what nearly all e-mail addresses look like, so that few
// must be parsed: words of letters, digits, "_", "-" and "+" with single dots between
// them, an "@", and two or more such words.
func plainEmail(v string) bool {
	at, dot, word := -1, false, 0
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_' && at < 0, c == '-', c == '+' && at < 0:
			word++
		case c == '.' && word > 0:
			dot, word = at >= 0, 0
		case c == '@' && word > 0 && at < 0:
			at, word = i, 0
		default:
			return false
		}
	}
	return dot && word > 0
}

func limits(text string, least, most *int64) string {
	if least != nil && most != nil {
		return fmt.Sprintf("%s %d to %d", text, *least, *most)
	}
	if least != nil {
		return fmt.Sprintf("%s at least %d", text, *least)
	}
	return fmt.Sprintf("%s at most %d", text, *most)
}

// unsafe finds what must not go into a signed request: ";" and control
// characters can make two different bodies sign alike.
func unsafe(v string) string {
	if printable(v) {
		return ""
	}
	for _, c := range v {
		switch {
		case c == ';':
			return "a semicolon cannot be sent safely (it divides the fields of the signature): replace it"
		case c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' || c == '\u0085':
			return "a line break inside the value: remove it, or look for a quote (\") that was never closed"
		case unicode.IsControl(c):
			return "a control character inside the value: remove it"
		case c == '\ufeff' || c == '\u200b' || c == '\u200e' || c == '\u200f' || c == '\u2060' || c >= '\u202a' && c <= '\u202e':
			return "an invisible character inside the value: type it again"
		case c == unicode.ReplacementChar:
			return "a damaged character (\ufffd): type the value again"
		}
	}
	return ""
}

// printable reports whether a value is of printable ASCII without a semicolon,
// as most are.
func printable(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == ';' {
			return false
		}
	}
	return true
}

func phoneColumn(c string) bool {
	return c == "customer.phone" || c == "customer.home_phone" || c == "customer.work_phone" || c == "sender.phone"
}

// phone finds what spreadsheets and people do to phone numbers.
func phone(v string) string {
	switch {
	case allDigits(v):
		return ""
	case eaten(v):
		return "a spreadsheet turned the number into scientific notation: format the column as text and fill it in again"
	case strings.IndexFunc(v, func(c rune) bool { return unicode.IsDigit(c) && c > unicode.MaxASCII }) >= 0:
		return "digits 0 to 9 only, no other script's"
	}
	return "digits only, with the country code and without +, spaces or brackets"
}

var spoiled = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+$|^[0-9]+[.,]0$`)

// eaten recognizes 9.967E+11 and 996555123456.0.
func eaten(v string) bool {
	return spoiled.MatchString(v)
}

// kyrgyzPhone checks the account of a payment by phone number in Kyrgyzstan: a
// phone number with its country code, in digits; there it is 996 and nine more.
func (r *rules) kyrgyzPhone(line int, v string) {
	if v == "" || unsafe(v) != "" {
		return
	}
	text := phone(v)
	switch {
	case text != "":
	case strings.HasPrefix(v, "996") && len(v) != 12:
		text = fmt.Sprintf("a Kyrgyz number is 996 and nine digits, this has %d digits in all", len(v))
	case strings.HasPrefix(v, "0"):
		text = "write the number with its country code: 996 instead of the leading 0"
	case len(v) < 10:
		text = "too short for a phone number with its country code, e.g. 996555123456"
	case len(v) > 15:
		text = "too long for a phone number: at most 15 digits"
	}
	if text != "" {
		r.problem(line, gate.ColAccount, v, text)
		return
	}
	if !strings.HasPrefix(v, "996") {
		r.warnings.add(line, gate.ColAccount+": not a Kyrgyz number (996 and nine digits); sent as it stands")
	}
}

// pan checks a card number, Luhn's digit included.
func pan(v string) string {
	if eaten(v) {
		return "a spreadsheet turned the number into scientific notation: format the column as text and fill it in again"
	}
	if !allDigits(v) || len(v) < 12 || len(v) > 19 {
		return "a card number is 12 to 19 digits without spaces"
	}
	sum := 0
	for i := range len(v) {
		d := int(v[len(v)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	if sum%10 != 0 {
		return "not a card number: its check digit is wrong"
	}
	return ""
}

func allDigits(v string) bool {
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return v != ""
}

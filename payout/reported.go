package payout

import (
	"cmp"
	"regexp"
	"strings"
	"unicode"
)

// Reported is what a gate says about a payment, in its own words: in the answer to a
// request, in a callback, and in the answer to a poll. It is kept in the clear, so nothing
// personal may be in it: NewReported makes one, and the store masks what a message repeats
// of the row (WithoutCells).
type Reported struct {
	Status            string // the platform's status, as processing
	Code              string // of the operation, or of a refusal
	Message           string
	Amount            Amount // what it says it pays; zero when it does not say
	OperationID       string
	ProviderPaymentID string
	RequestID         string // of the answer that accepted the request
}

// NewReported makes words of a gate fit to keep and to print: each is one line without
// control characters, bounded, and in the message what looks personal is masked. Names it
// cannot know.
func NewReported(r Reported) Reported {
	return Reported{
		Status: Clean(r.Status), Code: Clean(r.Code), Message: CleanMessage(r.Message), Amount: r.Amount,
		OperationID: Clean(r.OperationID), ProviderPaymentID: Clean(r.ProviderPaymentID), RequestID: Clean(r.RequestID),
	}
}

// AwaitsClarification reports whether the platform waits for an answer of its merchant.
func (r *Reported) AwaitsClarification() bool {
	const words = len("awaiting clarification") // most statuses are told apart by their length
	return len(r.Status) == words && strings.ReplaceAll(r.Status, "_", " ") == "awaiting clarification"
}

// merge takes over what a later report says: what it leaves out stays, a code and its
// message go together, and of requests the first one that was accepted counts.
func (r *Reported) merge(later Reported) {
	r.Status = cmp.Or(later.Status, r.Status)
	if later.Code != "" || later.Status != "" {
		r.Code, r.Message = later.Code, later.Message
	}
	if later.Amount != (Amount{}) {
		r.Amount = later.Amount
	}
	r.OperationID = cmp.Or(later.OperationID, r.OperationID)
	r.ProviderPaymentID = cmp.Or(later.ProviderPaymentID, r.ProviderPaymentID)
	r.RequestID = cmp.Or(r.RequestID, later.RequestID)
}

// MaxText bounds what is kept of a text that a gate sends, in characters.
const MaxText = 255

// Clean makes a word of a gate, an id or a code, fit to keep and to print.
func Clean(s string) string {
	if len(s) <= MaxText && isPlain(s) { // as nearly all are
		return s
	}
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > MaxText {
		s = string(r[:MaxText])
	}
	return s
}

// isPlain reports whether all characters are ASCII's that can be seen, or spaces.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// personalText is what a message may repeat of a row: an e-mail address, or eight
// and more digits, grouped or not, as accounts, cards and phones have.
var personalText = regexp.MustCompile(`[^\s@:;,<>"']+@[^\s@:;,<>"']+|\+?[0-9](?:[\p{Z} ./()–-]{0,2}[0-9]){7,}`)

// CleanMessage makes a text for people fit to keep and to print.
func CleanMessage(s string) string {
	s = Clean(s)
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '@' || r >= '0' && r <= '9' }) {
		return s
	}
	return personalText.ReplaceAllStringFunc(s, Mask)
}

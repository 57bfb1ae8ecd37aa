package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"masspay/payout"
)

// Act is what was done.
type Act string

// The acts that a store keeps by itself, in the commit that does them.
const (
	ActBegan     Act = "began"     // a run; its command is in the facts
	ActEnded     Act = "ended"     // a run
	ActLoaded    Act = "loaded"    // a file
	ActHeld      Act = "held"      // a batch
	ActLetGo     Act = "let go"    // a batch
	ActApproved  Act = "approved"  // a batch, after it was loaded
	ActCancelled Act = "cancelled" // a payout
	ActResolved  Act = "resolved"  // a payout, by a person
	ActAskFirst  Act = "ask first" // the store was declared a copy
	ActTrusted   Act = "trusted"   // the store was declared the newest there is
	ActMigrated  Act = "migrated"  // the store came to another format; the log may begin with it
)

// Entry is one act in the audit log. It holds no personal data and no secret.
type Entry struct {
	Seq     uint64            `json:"seq"` // from 1, without gaps
	At      time.Time         `json:"at"`
	Act     Act               `json:"act"`
	Run     uint64            `json:"run,omitempty"` // number of the run that did it
	User    string            `json:"user,omitempty"`
	Host    string            `json:"host,omitempty"`
	PID     int               `json:"pid,omitempty"`
	Version string            `json:"version,omitempty"`
	Config  string            `json:"config,omitempty"` // hash of the configuration, without secrets
	Batch   string            `json:"batch,omitempty"`  // id
	File    string            `json:"file,omitempty"`
	Payment string            `json:"payment,omitempty"` // project_id/payment_id
	Facts   map[string]string `json:"facts,omitempty"`
}

// By fills in who did it.
func (e Entry) By(r Run) Entry {
	e.Run, e.User, e.Host, e.PID, e.Version, e.Config = r.Number, r.User, r.Host, r.PID, r.Version, r.Config
	return e
}

// Hash is that of an entry and of all before it: SHA-256 over the hash before, 32 zero
// bytes at the first, and the entry's JSON.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short is what people read of it.
func (h Hash) Short() string { return h.String()[:12] }

// Link is an entry as the log keeps it.
type Link struct {
	Seq  uint64
	Hash Hash
	Text []byte // its JSON, in one line
}

// Next links an entry to the one before it. The zero link comes before the first.
func (l Link) Next(e Entry) (Link, error) {
	e.Seq, e.At = l.Seq+1, e.At.UTC().Truncate(time.Microsecond)
	text, err := json.Marshal(e)
	if err != nil {
		return Link{}, err
	}
	return Link{e.Seq, l.Hash.over(text), text}, nil
}

func (h Hash) over(text []byte) Hash {
	sum := sha256.New()
	_, _ = sum.Write(h[:])
	_, _ = sum.Write(text)
	return Hash(sum.Sum(nil))
}

// Follows checks that a link follows another, and says what does not fit.
func (l Link) Follows(before Link) (Entry, error) {
	e, err := l.Entry()
	switch {
	case err != nil:
		return e, err
	case l.Seq != before.Seq+1:
		return e, fmt.Errorf("entry %s comes after entry %s", payout.FormatNumber(l.Seq), payout.FormatNumber(before.Seq))
	case e.Seq != l.Seq:
		return e, fmt.Errorf("entry %s calls itself %s", payout.FormatNumber(l.Seq), payout.FormatNumber(e.Seq))
	case before.Hash.over(l.Text) != l.Hash:
		return e, fmt.Errorf("entry %s is not what was written, or what is before it is not", payout.FormatNumber(l.Seq))
	}
	return e, nil
}

// Entry reads a link's JSON. Nothing but what an entry has may stand there.
func (l Link) Entry() (e Entry, err error) {
	d := json.NewDecoder(bytes.NewReader(l.Text))
	d.DisallowUnknownFields()
	err = d.Decode(&e)
	if _, end := d.Token(); err == nil && !errors.Is(end, io.EOF) {
		err = errors.New("something stands behind it")
	}
	if err != nil {
		return e, fmt.Errorf("entry %s cannot be read: %w", payout.FormatNumber(l.Seq), err)
	}
	return e, nil
}

// String is the link's line in an export.
func (l Link) String() string { return l.Hash.String() + " " + string(l.Text) }

// ParseLink reads a line of an export; seq is its number in it.
func ParseLink(seq uint64, line string) (Link, error) {
	sum, text, _ := strings.Cut(line, " ")
	h, err := hex.DecodeString(sum)
	if err != nil || len(h) != sha256.Size || text == "" {
		return Link{}, fmt.Errorf("line %s is no entry of an audit log", payout.FormatNumber(seq))
	}
	return Link{seq, Hash(h), []byte(text)}, nil
}

// EntryOf is what a person's event leaves in the log; ok is false for any other.
func EntryOf(e payout.Event, after payout.Payout) (entry Entry, ok bool) {
	if e.Source != payout.FromPerson {
		return entry, false
	}
	entry = Entry{At: e.At, Act: ActCancelled, Payment: e.Key.String(), Facts: map[string]string{"state": after.State.String()}}
	if e.Kind == payout.Resolved {
		entry.Act = ActResolved
		entry.Facts["as"] = e.Outcome.String()
		if e.Outcome == 0 {
			entry.Facts["as"] = "seen"
		}
	}
	for name, fact := range map[string]string{"person": e.Person, "reason": e.Reason} {
		if fact != "" {
			entry.Facts[name] = fact
		}
	}
	return entry, true
}

// Facts of what a store does.
func (b Batch) facts() map[string]string {
	facts := map[string]string{"rows": fmt.Sprint(b.Rows)}
	if b.Skipped > 0 {
		facts["skipped"] = fmt.Sprint(b.Skipped)
	}
	for _, t := range b.Totals {
		facts["total "+t.Currency] = fmt.Sprint(t.Minor)
	}
	if b.Series != nil {
		facts["series"] = fmt.Sprint(b.Series.Name, " ", b.Series.Number)
	}
	approvalFacts(facts, b.Approvals)
	return facts
}

// approvalFacts name approvals by their files and their signatures.
func approvalFacts(facts map[string]string, approvals []Approval) {
	for i, a := range approvals {
		sum := sha256.Sum256(a.Signature)
		facts[fmt.Sprintf("approval %d", i+1)] = a.Name + " " + hex.EncodeToString(sum[:8])
	}
}

// ApprovedEntry is what approvals that come after a load leave in the log.
func ApprovedEntry(b Batch, approvals []Approval, at time.Time) Entry {
	e := Entry{At: at, Act: ActApproved, Batch: b.ID, File: b.Name, Facts: map[string]string{}}
	approvalFacts(e.Facts, approvals)
	return e
}

// LoadedEntry is what a load leaves in the log.
func LoadedEntry(b Batch, fresh int) Entry {
	e := Entry{At: b.LoadedAt, Act: ActLoaded, Batch: b.ID, File: b.Name, Facts: b.facts()}
	e.Facts["new"] = fmt.Sprint(fresh)
	return e
}

// BeganEntry and EndedEntry are what a run leaves in the log.
func BeganEntry(r Run) Entry {
	e := Entry{At: r.At, Act: ActBegan, Batch: r.Batch, File: r.File, Facts: map[string]string{"command": r.Command}}
	if len(r.Relaxed) > 0 {
		e.Facts["relaxed"] = strings.Join(r.Relaxed, " ")
	}
	return e.By(r)
}

// Facts of a result that a run wrote: its path, the SHA-256 of its bytes, and since when what
// changes is not in it.
const (
	FactResult    = "result"
	FactResultSum = "result sha256"
	FactResultAt  = "result as of"
)

// EndedEntry is what the end of a run leaves in the log.
func EndedEntry(r Run, end RunEnd) Entry {
	e := Entry{At: end.At, Act: ActEnded, Batch: r.Batch, File: r.File, Facts: map[string]string{"command": r.Command, "exit code": fmt.Sprint(end.ExitCode)}}
	for name, n := range map[string]int{"sent": end.Sent, "polled": end.Polled} {
		if n > 0 {
			e.Facts[name] = fmt.Sprint(n)
		}
	}
	if end.ResultSum != "" {
		e.Facts[FactResult], e.Facts[FactResultSum] = end.Result, end.ResultSum
		e.Facts[FactResultAt] = end.ResultAt.UTC().Format(time.RFC3339Nano)
	}
	return e.By(r)
}

// HoldEntry is what a hold leaves in the log; nil: it was lifted.
func HoldEntry(b Batch, h *Hold, at time.Time) Entry {
	e := Entry{At: at, Act: ActLetGo, Batch: b.ID, File: b.Name}
	if h != nil {
		e.Act, e.Facts = ActHeld, map[string]string{"kind": string(h.Kind)}
		for name, fact := range map[string]string{"by": h.By, "reason": h.Reason} {
			if fact != "" {
				e.Facts[name] = fact
			}
		}
	}
	return e
}

// Package store is the contract between the payout engine and whatever keeps
// its memory: every payout, every batch, and who is sending what. It decides
// nothing: states change by payout.Next alone. What is in doubt after a crash
// is in doubt here.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"masspay/payout"
)

// The conditions that callers branch on.
var (
	// ErrBusy: other processes kept the store for longer than the wait allows.
	// Nothing was read or written; it is safe to try again.
	ErrBusy = errors.New("the store is busy")
	// ErrMissing: there is no store. Only init makes one, so that an unmounted
	// disk does not look like a fresh start.
	ErrMissing = errors.New("there is no store")
	// ErrKey: the store was made with another key.
	ErrKey = errors.New("the key is not the key of this store")
	// ErrNewer: the store was written by a newer masspay.
	ErrNewer = errors.New("the store was written by a newer masspay")
	// ErrOlder: the store was written by an older masspay and must be brought to this
	// one's format first; nothing was read or written.
	ErrOlder = errors.New("the store was written by an older masspay")
	// ErrLocks: the lock files beside the store are not its own: it is there under two
	// names, or they were removed. Nothing was written.
	ErrLocks = errors.New("the lock files beside the store are not its own")
	// ErrFenced: this process's claim is not safe any more: others may take it for
	// dead. It must send nothing.
	ErrFenced = errors.New("this process may send nothing more")
	// ErrRestored: the store is older than its marker. The lost store may have
	// sent what this one believes unsent.
	ErrRestored = errors.New("the store is a restored copy")
	// ErrNoMarker: the store's marker is missing, so nobody can tell whether
	// the store is a restored copy.
	ErrNoMarker = errors.New("the marker of the store is missing")
	// ErrDamaged: a record does not have the checksum it was written with.
	ErrDamaged = errors.New("the store is damaged")
	// ErrNoBatch: no whole batch has that id.
	ErrNoBatch = errors.New("no such batch")
	// ErrLoaded: the same file is a whole batch already; nothing was loaded.
	ErrLoaded = errors.New("the same file is already loaded")
	// ErrDoubled: an id stands twice in one load; nothing was loaded.
	ErrDoubled = errors.New("a payment id stands twice")
	// ErrUnknown: no payout has that key.
	ErrUnknown = errors.New("no such payout")
)

// ConflictError says that a row brings an id that is known with other content.
type ConflictError struct {
	Row   Row
	Known payout.Payout
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("line %d: payment_id %q is already known with other content", e.Row.Line, e.Row.Key.PaymentID)
}

// Bar is a payout of the same row as another one, that is paid or may be, or was refused
// for good.
type Bar struct {
	By   payout.Payout // Number 0: there is none
	Same bool          // it has the same amount and payee, and the other one must not be paid
}

// RetryError says that a row pays once more, under the id of a retry, what By pays or
// may pay, or what was refused for good.
type RetryError struct {
	Row Row
	By  payout.Payout
}

func (e *RetryError) Error() string {
	return fmt.Sprintf("line %d: payment_id %q would pay once more what %q pays or may pay", e.Row.Line, e.Row.Key.PaymentID, e.By.Key.PaymentID)
}

// Batch is a file of payouts, known by the SHA-256 of its bytes.
type Batch struct {
	ID        string          `json:"id"`     // SHA-256, 64 hex digits
	Number    uint32          `json:"number"` // in the store
	Name      string          `json:"name"`   // base name of the file that was loaded
	Columns   []string        `json:"columns"`
	Delimiter string          `json:"delimiter"`
	BOM       bool            `json:"bom,omitempty"`  // the file began with a byte order mark
	Size      int64           `json:"size,omitempty"` // of the file, in bytes; 0: not known
	Rows      int             `json:"rows"`           // all rows, skipped ones included
	Skipped   int             `json:"skipped"`        // rows left out by --skip-invalid
	Totals    []payout.Amount `json:"totals"`         // of the rows that are not skipped, by currency
	LoadedAt  time.Time       `json:"loaded_at"`
	Counts    []Count         `json:"-"` // kept as it goes, never counted
	ChangedAt time.Time       `json:"-"` // when a payout of it last changed, by the wall clock; zero: not since it was loaded
}

// Short is the part of a batch's id that people read.
func (b Batch) Short() string { return b.ID[:min(12, len(b.ID))] }

// Count is how many payouts of a batch are in one state, and their sum.
type Count struct {
	State  payout.State
	Amount payout.Amount // sum
	N      int
	Check  int   // of those, how many want a person's check
	Minor  int64 // and their sum, in minor units
	Stuck  int   // of the open, how many only a person can settle, though no check is due
}

// Open is how many payouts of the batch are open.
func (b Batch) Open() int {
	n := 0
	for _, c := range b.Counts {
		if c.State.Open() {
			n += c.N
		}
	}
	return n
}

// Waiting is how many payouts of the batch wait for something that comes by itself;
// see payout.Waiting.
func (b Batch) Waiting() int {
	n := 0
	for _, c := range b.Counts {
		if c.State.Open() {
			n += c.N - c.Check - c.Stuck
		}
	}
	return n
}

// Unsent is how many payouts of the batch wait to be sent.
func (b Batch) Unsent() int {
	n := 0
	for _, c := range b.Counts {
		if c.State == payout.StateNew {
			n += c.N - c.Check - c.Stuck
		}
	}
	return n
}

// InState is how many payouts of the batch are in a state.
func (b Batch) InState(s payout.State) int {
	n := 0
	for _, c := range b.Counts {
		if c.State == s {
			n += c.N
		}
	}
	return n
}

// Row is a row of a file on its way into the store.
type Row struct {
	Line   int // physical line in the file
	Key    payout.Key
	Method string
	Amount payout.Amount
	Masked string // destination with its middle hidden
	Cells  []string
	Skip   string // why it is left out; then only Line and Cells count

	// Canonical is what its request will be signed over: with the method, the content
	// that a row of the same id must have. The store keeps a keyed digest of it.
	Canonical []byte
}

// Line is a row of a batch as it is kept.
type Line struct {
	Index  int
	Line   int
	Cells  []string
	Skip   string        // why it was left out; then there is no payout
	Payout payout.Payout // as it is now
}

// Loaded says what became of a file's rows.
type Loaded struct {
	Batch Batch
	New   int // payouts that are new with this batch
	Known int // rows whose payouts the store had already
	Early int // callbacks that had been kept for the new payouts
}

// Claim asks for payouts to send.
type Claim struct {
	Batch    string                                 // id
	N        int                                    // at most so many
	Host     string                                 // gate host that they will be sent to
	Skip     func(payout.Key) bool                  // leave these out; may be nil
	Barred   func(key payout.Key, by payout.Payout) // hears of retries that must wait; may be nil. It may be told of one more than once
	AskFirst bool                                   // the gate is asked about each before it is sent, because the store is a restored copy
}

// Claimed is a payout that this process may send, with its row.
type Claimed struct {
	payout.Payout
	Columns []string
	Cells   []string
}

// Change is what an event did.
type Change struct {
	Was    payout.State // before the event
	After  payout.Payout
	Effect payout.Effect
	Kept   bool // the id is not known; the event waits under its key for a Load
}

// Freed reports whether the payout may be sent again, and could not before.
func (c Change) Freed() bool {
	return c.After.State == payout.StateNew && c.Was != payout.StateNew
}

// Filter chooses payouts.
type Filter struct {
	Batch  string         // id; empty: all batches. In line order with a batch, in load order without
	States []payout.State // empty: all
	DueBy  time.Time      // not zero: only open payouts whose AskAt is not later, the longest due first
	Gate   string         // identity; not empty: only those that this gate is to be polled about
	Others bool           // with Gate: only those that another gate is to be polled about
	Limit  int            // 0: no limit
	Events bool           // with their events
}

// Examination is what Examine found.
type Examination struct {
	Batches, Rows, Payouts, Events int // looked at
	Wrong                          []string
	More                           int      // further findings that are not listed
	Notes                          []string // odd, and not wrong
}

// maxFindings are listed; a store that has more is not worth a longer list.
const maxFindings = 100

// Add notes what is wrong, once.
func (e *Examination) Add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(e.Wrong, text) {
		return
	}
	if len(e.Wrong) >= maxFindings {
		e.More++
		return
	}
	e.Wrong = append(e.Wrong, text)
}

// Run is one invocation that may change payouts: who, what and when.
type Run struct {
	Command string    `json:"command"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Config  string    `json:"config"` // hash of the configuration, without secrets
	File    string    `json:"file,omitempty"`
	Batch   string    `json:"batch,omitempty"`
	Aliases []string  `json:"aliases,omitempty"` // gates that the configuration declares to be one platform
	At      time.Time `json:"at"`

	Number uint64  `json:"-"`             // in the store, from 1
	End    *RunEnd `json:"end,omitempty"` // nil: it goes on, or it was killed
}

// RunEnd is how a run ended.
type RunEnd struct {
	At       time.Time `json:"at"`
	ExitCode int       `json:"exit_code"`
	Sent     int       `json:"sent,omitempty"`   // payout requests
	Polled   int       `json:"polled,omitempty"` // status requests that were answered
	Text     string    `json:"text,omitempty"`   // what was sent and what was not, for people

	// The result that was written: its absolute path, and the SHA-256 of its bytes.
	Result    string    `json:"result,omitempty"`
	ResultSum string    `json:"result_sha256,omitempty"`
	ResultAt  time.Time `json:"result_at,omitzero"` // before it was begun: what changed later is not in it
	Error     string    `json:"error,omitempty"`
}

// Store keeps payouts. Every method that changes something is durable when it
// returns without an error, and has changed nothing when it returns one, unless
// it says otherwise. All may return ErrBusy, ErrDamaged, and the errors of the
// disk. A Store is safe for concurrent use, and several processes may have one
// open at once.
type Store interface {
	// Lookup finds payouts by their ids; those that are not known are left out.
	// Cancelled payouts count as not known: their ids may come back.
	Lookup(ctx context.Context, ids []payout.Key) (map[payout.Key]*payout.Payout, error)

	// SameContent reports whether a payout asks for the same as a row with this method
	// and canonical string. It touches no disk.
	SameContent(p *payout.Payout, method string, canonical []byte) bool

	// Load takes a whole file or nothing. It streams: memory is 24 bytes a row.
	// An error from rows undoes the load and is returned; so does a
	// *ConflictError, a *RetryError, and ErrDoubled. The batch and its ids count only from the moment Load
	// returns. Callbacks that were kept for its ids are applied. One load runs
	// at a time; others wait.
	Load(ctx context.Context, b Batch, rows iter.Seq2[Row, error]) (Loaded, error)

	// RetryBar returns the payout that keeps a row from being paid under an id: another
	// one of the same row, under its first id or a retry's (payout.RetryOf), with the
	// same amount and payee (payout.Payee), that payout.BarsRetry names. Where there is
	// none, it returns one that differs only in amount or payee, and where there is none
	// either, one with Number 0.
	RetryBar(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (Bar, error)

	// Families returns what tells whether the row with a first id has a retry, as of now:
	// no other row has to wait for one. It is nil where no row has.
	Families(ctx context.Context) (has func(first payout.Key) bool, err error)

	// Family returns the payouts of the row that an id is of, as they are: the first one,
	// if it is known and not cancelled, and its retries in load order.
	Family(ctx context.Context, key payout.Key) ([]payout.Payout, error)

	// Claim moves up to N payouts of a batch from New to Sending, in line
	// order, in one durable commit, for this process, which holds them while
	// it lives. It returns fewer when fewer are left and none when there is
	// nothing to send. When the process is dead its payouts become Unknown, not
	// New: they may have been sent. In a restored store it returns ErrRestored,
	// or, with AskFirst, makes the payouts Unknown instead, until the gate has
	// twice denied them. A retry that RetryBar names a payout for is left as it is,
	// because what barred it may have changed since it was loaded.
	Claim(ctx context.Context, c Claim) ([]Claimed, error)

	// Apply runs events through payout.Next in one durable commit. An event of
	// an unknown id is kept under its key if it is the gate's word, and dropped
	// otherwise.
	Apply(ctx context.Context, events ...payout.Event) ([]Change, error)

	// Recover makes Unknown what dead processes were sending. It returns how
	// many payouts that were. What a process was sending that is gone without proof
	// of its death becomes Unknown too, and is barred from being freed.
	Recover(ctx context.Context) (int, error)

	// MaySend is asked directly before the first byte of a payout request; dialled
	// says that its connection is new. ErrFenced: others may take this process for
	// dead, so that nothing may leave. It takes no turn and blocks on no lock.
	MaySend(ctx context.Context, dialled bool) error

	// Get returns a payout with its events, or ErrUnknown.
	Get(ctx context.Context, key payout.Key) (payout.Record, error)

	// Row returns one of the rows that ask for a payout, with the columns of its batch.
	// Its place is one of p.Places; the payout is sent from the first.
	Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, l Line, err error)

	// List streams payouts in bursts: each as it was when its burst was read.
	List(ctx context.Context, f Filter) iter.Seq2[payout.Record, error]

	// Lines streams the rows of a batch with their payouts, in line order, in
	// bursts.
	Lines(ctx context.Context, batch string) iter.Seq2[Line, error]

	// Batch finds a whole batch by its id or an unambiguous beginning of it, at
	// least four digits. It returns ErrNoBatch.
	Batch(ctx context.Context, id string) (Batch, error)

	// Batches streams all whole batches, oldest first.
	Batches(ctx context.Context) iter.Seq2[Batch, error]

	// NextDue is the earliest AskAt of all open payouts, zero if there is none.
	NextDue(ctx context.Context) (time.Time, error)

	// OpenGates lists the identities of the gates that open payouts may have been
	// sent to, and how many each.
	OpenGates(ctx context.Context) (map[string]int, error)

	// Prove keeps for ever that a gate has once answered as only a gate does; Proven
	// says so.
	Prove(ctx context.Context, gate string) error
	Proven(ctx context.Context, gate string) (bool, error)

	// Probe waits until no other process of this store has a request under way to a
	// gate that is not proven, and keeps others waiting until it is released. A process
	// that dies releases it.
	Probe(ctx context.Context) (release func() error, err error)

	// Record keeps who runs what since when, and returns the run's number. What this
	// Store applies from then on carries it (payout.Event.Run). EndRun keeps how it
	// ended. Runs streams them, oldest first.
	Record(ctx context.Context, r Run) (number uint64, err error)
	EndRun(ctx context.Context, number uint64, end RunEnd) error
	Runs(ctx context.Context) iter.Seq2[Run, error]

	// Backup writes a consistent copy to a new file, durably, readable by its
	// owner only. A store restored from it is known to be a copy.
	Backup(ctx context.Context, path string) error

	// Examine checks everything that the store keeps against itself, and
	// changes nothing. Others wait meanwhile. What is wrong is in its result;
	// an error means that it could not be looked at.
	Examine(ctx context.Context) (Examination, error)

	// Close gives up this process's place. Payouts that it still holds become
	// Unknown with the next Recover.
	Close() error
}

// Names maps the numbers of all batches to what people call them.
func Names(ctx context.Context, s interface {
	Batches(ctx context.Context) iter.Seq2[Batch, error]
}) (map[uint32]string, error) {
	names := map[uint32]string{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		names[b.Number] = b.Short()
	}
	return names, nil
}

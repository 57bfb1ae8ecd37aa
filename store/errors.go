package store

import (
	"errors"
	"fmt"
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
	// ErrNoMarker: the store's marker is missing, so it is not known whether
	// the store is a restored copy.
	ErrNoMarker = errors.New("the marker of the store is missing")
	// ErrDamaged: a record does not have the checksum it was written with.
	ErrDamaged = errors.New("the store is damaged")
	// ErrNoBatch: no whole batch has that id.
	ErrNoBatch = errors.New("no such batch")
	// ErrLoaded: the same file is a whole batch already; nothing was loaded.
	ErrLoaded = errors.New("the same file is already loaded")
	// ErrDuplicateID: an id appears twice in one load; nothing was loaded.
	ErrDuplicateID = errors.New("duplicate payment_id")
	// ErrTooManyReports: of an id that no file has brought yet, so many different reports
	// are kept that one more is not. It was not written.
	ErrTooManyReports = errors.New("too many different reports about an id that no file has brought")
	// ErrMoved: everything in the store was moved to another one, and nothing is sent from
	// this one any more.
	ErrMoved = errors.New("the store was moved to another one")
	// ErrNoPayout: no payout has that key.
	ErrNoPayout = errors.New("no such payout")
)

// ConflictError says that a row brings an id that is known with other content.
type ConflictError struct {
	Row   Row
	Known payout.Payout
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("line %d: payment_id %q is already known with other content", e.Row.Line, e.Row.Key.PaymentID)
}

// RetryError says that a row pays once more, under the id of a retry, what By pays or
// may pay, or what was refused for good.
type RetryError struct {
	Row Row
	By  payout.Payout
}

func (e *RetryError) Error() string {
	return fmt.Sprintf("line %d: payment_id %q would pay a second time what %q pays or may pay", e.Row.Line, e.Row.Key.PaymentID, e.By.Key.PaymentID)
}

// BusyError is ErrBusy with what is known of whoever holds the store.
type BusyError struct {
	Path   string
	Waited time.Duration
	Holder string // as "process 123 (masspay run), since 02:15:03"; empty: not known
}

func (e *BusyError) Error() string {
	s := fmt.Sprintf("%s: %v, waited %v", e.Path, ErrBusy, e.Waited.Round(time.Second))
	if e.Holder != "" {
		s += "; held by " + e.Holder
	}
	return s
}

func (e *BusyError) Unwrap() error { return ErrBusy }

// FileSystemError says that a folder is on a file system that is not known to keep locks.
type FileSystemError struct{ Folder, Kind string }

func (e *FileSystemError) Error() string {
	return fmt.Sprintf("%s is on a file system (%s) whose locks may not protect a store", e.Folder, e.Kind)
}

// DatabaseError is ErrBusy for a store in a database: it is away, or others keep what is
// asked for.
type DatabaseError struct{ Why string }

func (e *DatabaseError) Error() string { return "the database " + e.Why }

func (e *DatabaseError) Unwrap() error { return ErrBusy }

// ConfigError says what is wrong with how a store is configured, or with how its server
// is, and what to do.
type ConfigError struct{ Why, Hint string }

func (e *ConfigError) Error() string { return e.Why }

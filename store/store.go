// Package store is the contract between the payout engine and whatever keeps
// its memory: every payout, every batch, and who is sending what. It decides
// nothing: states change by payout.Next alone. What is in doubt after a crash
// is in doubt here.
package store

import (
	"context"
	"iter"
	"time"

	"masspay/payout"
)

// Store keeps payouts. Every method that changes something is durable when it
// returns without an error, and has changed nothing when it returns one, unless
// it says otherwise. All may return ErrBusy, ErrDamaged, and the errors of the
// disk. A Store is safe for concurrent use, and several processes may have one
// open at once.
//
// It is one contract in five roles, so that each reader names what it needs. A store is
// opened with the payout.Rules that it gives to payout.Next.
type Store interface {
	Loader
	Claimer
	Applier
	Reader
	Keeper
}

// Loader takes files of payouts in.
type Loader interface {
	// Lookup finds payouts by their ids; those that are not known are left out.
	// Cancelled payouts count as not known: their ids may come back.
	Lookup(ctx context.Context, ids []payout.Key) (map[payout.Key]*payout.Payout, error)

	// SameContent reports whether a payout asks for the same as a row with this method
	// and canonical string. It touches no disk.
	SameContent(p *payout.Payout, method string, canonical []byte) bool

	// Families returns what tells whether the row with a first id has a retry, as of now:
	// no other row has to wait for one. It is nil where no row has.
	Families(ctx context.Context) (has func(first payout.Key) bool, err error)

	// RetryBlocker returns the payout that keeps a row from being paid under an id: another
	// one of the same row, under its first id or a retry's (payout.RetryOf), with the
	// same amount and payee (payout.Payee), that payout.BlocksRetry names. Where there is
	// none, it returns one that differs only in amount or payee, and where there is none
	// either, one with Number 0.
	RetryBlocker(ctx context.Context, key payout.Key, amount payout.Amount, payee string) (Blocker, error)

	// Resembling looks rows up among what was loaded since a time by account, and among all
	// that their customers were ever paid. It returns one Resemblance a row, or nil where
	// no row resembles anything. It reads Key, Amount and Cells of rows.
	Resembling(ctx context.Context, columns []string, since time.Time, rows []Row) ([]Resemblance, error)

	// Marker returns what makes the mark of where a row's money goes, of a file with these
	// columns: that of Sighting.Account. It touches no disk.
	Marker(columns []string) (account func(cells []string) Mark)

	// Sightings streams what was loaded since a time, the newest batches first, each payout
	// once.
	Sightings(ctx context.Context, since time.Time) iter.Seq2[Sighting, error]

	// Load takes a whole file or nothing. It streams: its memory grows by some 24 bytes a
	// row, if at all. An error from rows undoes the load and is returned; so does a
	// *ConflictError, a *RetryError, ErrDuplicateID and ErrLoaded. The batch and its ids count
	// only from the moment Load returns. A row whose payout is known gets a place of it; an
	// id that was cancelled begins a new payout. Callbacks that were kept for its ids are
	// applied. One load runs at a time; others wait.
	//
	// Of b the caller fills ID, Name, Columns, Delimiter, BOM, Size, Skipped, Series, Held and
	// Approvals; a Series that is not the next one is a *SeriesError. The store fills
	// the rest. What is allowed is asked when all rows are in, and no other load can come
	// between that and the end of this one.
	Load(ctx context.Context, b Batch, rows iter.Seq2[Row, error], allow ...Allowance) (Loaded, error)
}

// Claimer is for whoever sends.
type Claimer interface {
	// Claim moves up to N payouts of a batch from New to Sending, in line order, in one
	// durable commit, for this process, which holds them until it closes, dies or is
	// fenced. It returns fewer when fewer are left and none when there is nothing to
	// send. When the process is dead or fenced its payouts become Unknown, not New: they
	// may have been sent. A batch that is held is a *HeldError, and nothing is claimed.
	// In a restored store it returns ErrRestored, or, with AskFirst, makes the payouts
	// Unknown instead, until the gate has twice denied them. N may be 0: what keeps a batch
	// from being claimed is returned all the same.
	//
	// Only payouts are claimed that payout.Payout.Claimable lets be sent to this host. One
	// for which RetryBlocker now returns a Blocker with Same, be it under a first id or a retry's,
	// stays New and is in Claims.Blocked: what bars it may have changed since it was loaded.
	Claim(ctx context.Context, c Claim) (Claims, error)

	// Recover makes Unknown what dead processes were sending. It returns how
	// many payouts that were. What a process was sending that is gone without proof
	// of its death becomes Unknown too, with a payout.Bar: not seen does not free it until
	// the machine was restarted, or a person has looked.
	Recover(ctx context.Context) (int, error)

	// MaySend is asked directly before the first byte of a payout request; dialled
	// says that its connection is new. ErrFenced: others may take this process for
	// dead, so that nothing may leave. It takes no turn and blocks on no lock.
	MaySend(ctx context.Context, dialled bool) error

	// Tick is a moment on the store's own clock, not later than now: what quiet periods
	// are measured by. It does no I/O and never fails; the zero value means that the
	// moment is not known. The clock never runs faster than real time.
	Tick() payout.Tick

	// Limiter spaces the requests of all processes of this store: rate a second, burst at
	// once. Processes may have different rates; each slot is as long as its taker's rate
	// makes it.
	Limiter(rate float64, burst int) (Limiter, error)

	// Due hands out payouts whose poll is due, the longest due first, to this caller: for
	// as long as the lease they are due for no one else. That is bookkeeping and no event;
	// whoever does not poll loses nothing but the time.
	Due(ctx context.Context, d Due) ([]payout.History, error)

	// Prove keeps for ever that a gate has once answered as only a gate does; Proven
	// says so.
	Prove(ctx context.Context, gate string) error
	Proven(ctx context.Context, gate string) (bool, error)

	// Probe waits until no other process of this store has a request under way to a
	// gate that is not proven, and keeps others waiting until it is released. A process
	// that dies releases it.
	Probe(ctx context.Context) (release func() error, err error)

	// Hold keeps a batch from being claimed, by every process, until LetGo. One that only
	// a person lifts is not replaced by one of a run.
	Hold(ctx context.Context, batch string, h Hold) error

	// Approve keeps signed approvals with a batch beside those that it was loaded with; what
	// is kept already is not kept twice. A batch has 100 at the most. Whether they count,
	// whoever sends it decides.
	Approve(ctx context.Context, batch string, approvals ...Approval) error

	// LetGo lifts a hold if it is of one of the kinds, and reports whether there was one.
	LetGo(ctx context.Context, batch string, kinds ...HoldKind) (lifted bool, err error)
}

// Limiter is the gate's brake: gate.Limiter, which is not imported, and Close.
type Limiter interface {
	// Wait blocks until the next request may leave. When that is further away than
	// patience it returns an error with PausedUntil() time.Time at once; nothing may be
	// sent then.
	Wait(ctx context.Context, patience time.Duration) error
	// Pause keeps every process from sending until a time.
	Pause(ctx context.Context, until time.Time) error
	Close() error
}

// Applier is the method of a store that events go to.
type Applier interface {
	// Apply runs events through payout.Next in one durable commit. An event of
	// an unknown id is kept under its key if the gate reported it, and dropped
	// otherwise. Of one id it keeps 64 different reports, for 30 days; one more is
	// ErrTooManyReports, and then nothing of the commit was written.
	//
	// In the same commit, and before Next, a store does for each event:
	//
	//  1. of a report (Event.Report): compare it with the row of the payout and set Match
	//     and Field (payout.MatchPayment); a report that was not compared is not believed;
	//  2. of NotSeen: set Applied to its Tick where it is not set, and Lifted if what the
	//     payout's Bar waits for has come;
	//  3. of one with a Message: mask what it repeats of the row (payout.WithoutCells).
	//
	// After Next it sets Conflict and Run, and keeps the event unless it was ignored or
	// only noted. Of a long history it may leave out what no decision needs
	// (payout.Payout.Dropped).
	Apply(ctx context.Context, events ...payout.Event) ([]Change, error)
}

// Reader shows what is there, and changes nothing.
type Reader interface {
	// Together does several things that read with the context that it is given: where readers
	// take turns, in one turn, so that they see one state and others wait once. It must be
	// quick, read one thing after the other, and change nothing. Lines are not read so.
	Together(ctx context.Context, do func(ctx context.Context) error) error

	// Get returns a payout with its events, or ErrNoPayout.
	Get(ctx context.Context, key payout.Key) (payout.History, error)

	// Row returns one of the rows that ask for a payout, with the columns of its batch.
	// Its place is one of p.Places; the payout is sent from the first.
	Row(ctx context.Context, p payout.Payout, at payout.Place) (columns []string, l Line, err error)

	// Family returns the payouts of the row that an id is of, as they are: the first one,
	// if it is known and not cancelled, and its retries in load order.
	Family(ctx context.Context, key payout.Key) ([]payout.Payout, error)

	// List streams payouts in bursts: each as it was when its burst was read.
	List(ctx context.Context, f Filter) iter.Seq2[payout.History, error]

	// Lines streams the rows of a batch with their payouts, in line order, in
	// bursts.
	Lines(ctx context.Context, batch string) iter.Seq2[Line, error]

	// Batch finds a whole batch by its id or an unambiguous beginning of it, at
	// least four digits. It returns ErrNoBatch.
	Batch(ctx context.Context, id string) (Batch, error)

	// Page looks through rows of a batch, and shows what is wanted of them; see PageQuery.
	Page(ctx context.Context, q PageQuery) (Page, error)

	// Latest are whole batches with numbers below one, the newest first, as many as limit at
	// the most. Before 0: from the newest on.
	Latest(ctx context.Context, before uint32, limit int) ([]Batch, error)

	// Batches streams all whole batches, oldest first.
	Batches(ctx context.Context) iter.Seq2[Batch, error]

	// NextDue is the earliest PollAt of all open payouts, zero if there is none.
	NextDue(ctx context.Context) (time.Time, error)

	// OpenGates lists the identities of the gates that open payouts may have been
	// sent to, and how many each.
	OpenGates(ctx context.Context) (map[string]int, error)

	// PausedUntil is until when no process of this store sends, because a gate asked for a
	// pause; zero: they send. It is for people, and takes no slot.
	PausedUntil(ctx context.Context) (time.Time, error)

	// Early are reports of gates about ids that no file has brought, as many as limit at the
	// most, in no order, without what they say of customers.
	Early(ctx context.Context, limit int) ([]payout.Event, error)

	// Minutes are what passed for payouts that were sent for a batch, minute by minute, the
	// oldest first; minutes without anything are left out. Totals are the same over all time
	// and all batches. Both are kept as it goes.
	Minutes(ctx context.Context, batch string) ([]Minute, error)
	Totals(ctx context.Context) (Totals, error)

	// Series are the last numbers of all series of files.
	Series(ctx context.Context) (last map[string]uint64, err error)

	// LatestRuns are runs with numbers below one, the newest first, as many as limit at the
	// most. Before 0: from the newest on.
	LatestRuns(ctx context.Context, before uint64, limit int) ([]Run, error)

	// Runs streams who ran what, oldest first.
	Runs(ctx context.Context) iter.Seq2[Run, error]

	// Audit streams the audit log from an entry on, oldest first; 0: from the first. What
	// it gives is not checked: Link.Follows does that, and Examine.
	Audit(ctx context.Context, from uint64) iter.Seq2[Link, error]

	// Head is the last entry of the audit log; the zero Link: there is none yet. Whoever
	// keeps it elsewhere can show that nothing up to it was changed or cut off.
	Head(ctx context.Context) (Link, error)
}

// Keeper is for whoever looks after the store as a whole.
type Keeper interface {
	// Acting says who acts here, for the audit log, until a run begins. It touches no disk.
	Acting(who Run)

	// BeginRun keeps who runs what since when, and returns the run's number. What this
	// Store applies from then on carries it (payout.Event.Run). EndRun keeps how it
	// ended.
	BeginRun(ctx context.Context, r Run) (number uint64, err error)
	EndRun(ctx context.Context, number uint64, end RunEnd) error

	// Note adds an act to the audit log, and returns its entry. Run, User, Host, PID, Version
	// and Config are those of the run that was begun, or of Acting. What a store does
	// itself (see Act) is in the log by the commit that did it.
	Note(ctx context.Context, e Entry) (Link, error)

	// PassSeries passes over a gap: next comes next in its series. A number that was used
	// is a *SeriesError.
	PassSeries(ctx context.Context, next Series, person, reason string) error

	// Restored reports whether payouts must be asked about before they are sent, because
	// the store is a copy: another one may have sent what this one believes unsent. It
	// fails with ErrNoMarker where that is not known.
	Restored(ctx context.Context) (bool, error)

	// AskFirst declares that the store may be a copy: from now on the gate is asked about
	// each payout before it is sent, by this process and by every other, until Trust.
	// Claims with AskFirst do the same; this does it before anything else.
	AskFirst(ctx context.Context) error

	// Trust declares that the store is the newest there is, and ends the asking. A person
	// says so; nothing else calls it.
	Trust(ctx context.Context) error

	// Examine checks everything that the store keeps against itself, and
	// changes nothing. Others may wait meanwhile. What is wrong is in its result;
	// an error means that it could not be looked at.
	Examine(ctx context.Context) (Examination, error)

	// Close gives up this process's place. Payouts that it still holds become
	// Unknown with the next Recover.
	Close() error
}

// Backuper is a store that copies itself; a database has its own tools.
type Backuper interface {
	// Backup writes a consistent copy to a new file, durably, readable by its
	// owner only. A store restored from it is known to be a copy.
	Backup(ctx context.Context, path string) error
}

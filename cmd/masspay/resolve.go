package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"masspay/batch"
	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

// resolveFlags are the flags of resolve.
type resolveFlags struct {
	as        string
	reason    string
	project   uint32
	ageAnyway bool
	yes       bool
}

func (a *app) resolveCommand() *cobra.Command {
	var f resolveFlags
	c := &cobra.Command{
		Use:   "resolve PAYMENT_ID --as paid|not-paid|seen --reason TEXT",
		Short: "Decide about a payout whose outcome the gate will not report",
		Long: `Decide about a payout whose outcome the gate will not report, after its status was
polled once more. Who decided, when and why is kept for ever and is in the result.

  --as paid      it was paid: you have seen it at the platform or at the bank
  --as not-paid  it was not and will not be paid: its row gets action "new id". The id
                 itself is never sent again
  --as seen      you have looked at a row in state check, or at one that was partly paid
                 or returned; its outcome stays as it is

not-paid is accepted only when the gate does not know the payment, has ended it, cannot
be reached, or has never answered as a gate, and only after the quiet period and a day
(--age-anyway skips the day).`,
		Args: args(1, 1, "one payment_id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.resolve(cmd.Context(), args[0], f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.as, "as", "", "paid, not-paid or seen")
	fl.StringVar(&f.reason, "reason", "", "why, in a sentence that is kept for ever")
	fl.Uint32Var(&f.project, "project", 0, "the project `N` of the payment_id, where several are configured")
	fl.BoolVar(&f.ageAnyway, "age-anyway", false, "the last attempt need not be a day old; recorded with the decision")
	fl.BoolVar(&f.yes, "yes", false, "do not ask for a confirmation")
	return c
}

var resolutions = map[string]payout.State{"paid": payout.StatePaid, "not-paid": payout.StateDeclined, "seen": 0}

func (a *app) resolve(ctx context.Context, id string, f resolveFlags) error {
	as, ok := resolutions[f.as]
	if !ok {
		return failf(exitConfig, "masspay resolve --help says what each of them does",
			"--as %q: want paid, not-paid or seen; nothing was changed", f.as)
	}
	if f.reason = strings.Join(strings.Fields(f.reason), " "); strings.Trim(f.reason, ". ") == "" {
		return failf(exitConfig, "add --reason and a sentence of your own", "--reason is missing: say why, it is kept for ever; nothing was changed")
	}
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := c.noExample(); err != nil {
		return err
	}
	key, err := a.keyOf(ctx, c, s, id, f.project)
	if err != nil {
		return err
	}
	client, closeGate, err := c.gateClient(s)
	if err != nil {
		return err
	}
	defer closeGate()
	q := c.reconciler(a.engine(s), client, nil)
	before, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	a.say("%s: %s to %s, %s%s", key.PaymentID, before.Amount, before.Masked, result.StateOf(before.Payout), inBatches(ctx, s, before.Payout))
	rec, heard, err := q.Poll(ctx, key)
	if err != nil {
		return refusedResolve(err)
	}
	a.say("%s", heardText(rec, heard))
	of, err := firstBatch(ctx, s, rec.Payout)
	if err != nil {
		return err
	}
	restored, err := s.Restored(ctx)
	if err != nil && !errors.Is(err, store.ErrNoMarker) {
		return err
	}
	r := batch.ResolveRequest{
		Key: key, As: as, Batch: of.Short(), Person: person(), Reason: f.reason, AgeAnyway: f.ageAnyway,
		Restored: restored || err != nil,
	}
	if err := r.MayResolve(rec, heard, c.Gate.QuietPeriod, time.Now(), s.Tick()); err != nil {
		return refusedResolve(err)
	}
	a.say("%s", consequence(as, rec.Payout))
	if err := a.confirm(ctx, f.yes, "to resolve a payout", key.PaymentID, "run the same command on a terminal, where it asks for the payment_id; --yes in scripts"); err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "resolve --as "+f.as+" "+shellWord(key.PaymentID), "", of.ID); err != nil {
		return err
	}
	a.ran.end.Text = "reason: " + f.reason
	if _, err := r.Apply(ctx, s, rec.Payout); err != nil {
		if errors.Is(err, batch.ErrNotResolved) {
			return failf(exitUnexpected, a.again()+" looks at it once more", "%w; nothing was decided", err)
		}
		return err
	}
	a.say("%s: %s by %s", key.PaymentID, f.as, r.Person)
	files, _ := resultFiles(ctx, s) // it is decided: where the result is, is no reason to fail
	a.say("hint: to write it into the result: masspay report %s -o %s", of.Short(), shellWord(files.pathOf(of)))
	return nil
}

// keyOf finds the payout that a payment_id means.
func (a *app) keyOf(ctx context.Context, c *config, s store.Store, id string, project uint32) (payout.Key, error) {
	projects := []uint32{project}
	if project == 0 {
		projects = nil
		for _, p := range c.Projects {
			projects = append(projects, p.ID)
		}
	}
	var found []payout.Key
	for _, p := range projects {
		key := payout.Key{ProjectID: p, PaymentID: id}
		switch _, err := s.Get(ctx, key); {
		case err == nil:
			found = append(found, key)
		case !errors.Is(err, store.ErrNoPayout):
			return key, err
		}
	}
	switch len(found) {
	case 0:
		return payout.Key{}, failf(exitConfig, "copy it from general.payment_id of the result; masspay status lists the batches", "no payout has the payment_id %q; nothing was changed", id)
	case 1:
		return found[0], nil
	}
	return payout.Key{}, failf(exitConfig, a.again("--project "+strconv.FormatUint(uint64(found[0].ProjectID), 10)), "several projects have the payment_id %q; nothing was changed", id)
}

func inBatches(ctx context.Context, s store.Store, p payout.Payout) string {
	for b, err := range s.Batches(ctx) {
		if err == nil && slices.ContainsFunc(p.Places, func(at payout.Place) bool { return at.Batch == b.Number }) {
			return ", of batch " + b.Short() + " (" + b.Name + ")"
		}
	}
	return ""
}

// firstBatch is the batch that a payout is sent by.
func firstBatch(ctx context.Context, s store.Store, p payout.Payout) (of store.Batch, err error) {
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return of, err
		}
		if len(p.Places) > 0 && b.Number == p.Places[0].Batch {
			return b, nil
		}
	}
	return of, nil
}

// heardText says what the poll told.
func heardText(rec payout.History, heard batch.PollAnswer) string {
	switch {
	case heard.NotSeen:
		return "polled: the gate does not know it"
	case heard.Undecided != "":
		return "polled: the gate did not say what became of it (" + heard.Undecided + ")"
	case heard.Unreachable != "":
		return "polled: no usable answer (" + heard.Unreachable + ")"
	case rec.OfAnother():
		return "polled: what the gate has under this id is not this row's payment (" + rec.Field + ")"
	case rec.Reported.Status == "":
		return "polled: nothing new"
	}
	return "polled: reported by the gate: " + rec.Reported.Status
}

func consequence(as payout.State, p payout.Payout) string {
	switch as {
	case payout.StatePaid:
		text := "it will count as paid, and will never be sent again"
		if p.State == payout.StateAccepted && p.Flags&payout.Ended == 0 {
			text += "; the gate still works on it and may yet decline it: then this row is not paid at all"
		}
		return text
	case payout.StateDeclined:
		if p.State == payout.StateNew {
			return "it will count as not paid, and no run will send it any more"
		}
		return "it will count as not paid: whoever pays " + p.Amount.String() + " again needs a new payment_id; if the gate paid it after all, it is paid twice"
	}
	return "the check will be closed, and the outcome stays as it is (" + result.StateName(p.State) + ")"
}

func refusedResolve(err error) error {
	var refused *batch.RefusedError
	if errors.As(err, &refused) {
		return failf(exitConfig, refused.Hint, "%w; nothing was decided", fmt.Errorf("not resolved: %w", err))
	}
	return err
}

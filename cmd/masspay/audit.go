package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"masspay/batch/result"
	"masspay/payout"
	"masspay/store"
)

func (a *app) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show that the log of what was done is whole, show it, or take it away",
		Long: `Whatever is done to a store is in its audit log by the commit that does it: runs and how
they ended, files that were loaded, batches that were paused, payouts that a person cancelled
or decided. Each entry has a hash over the one before it, so that nothing in it can be
changed, taken out or put in without that showing. What the log itself cannot show is that its end was
cut off, or that all of it was rewritten: for that, keep a head elsewhere. Every run
prints it as its last line, so that it is in cron's mail.`,
		Args: args(0, 0, "verify, show or export"),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(a.auditVerifyCommand(), a.auditShowCommand(), a.auditExportCommand())
	return c
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var heads []string
	c := &cobra.Command{
		Use:   "verify [EXPORT]",
		Short: "Check that nothing in the log was changed, and that it has the heads that are known",
		Long: `Check that every entry of the log follows from the one before it, and that it has every
head that is given: the last lines of runs, as they are in cron's mail. With the name of an
export it needs no store, no key and no configuration. Exit code 0 where all of it holds, 1
with the first entry that does not.`,
		Args: args(0, 1, "at most one export"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			if cmd.Flags().Changed("head") && len(heads) == 0 {
				return failf(exitConfig, "the last line of a run has it, as in audit: entry 1,204, 9f3c51aa7d20", "--head is empty: there is nothing to hold the log against; nothing was changed")
			}
			if len(args) == 1 {
				return a.verifyExport(args[0], heads)
			}
			return a.verifyStore(cmd.Context(), heads)
		},
	}
	c.Flags().StringSliceVar(&heads, "head", nil, "a `HEAD` that the log must have: at least eight of its hexadecimal digits")
	return c
}

// verifyExport checks an export, without a store.
func (a *app) verifyExport(name string, heads []string) error {
	f, err := os.Open(name) //nolint:gosec // whatever a person names
	if err != nil {
		return failf(exitConfig, "masspay audit export -o FILE writes one", "%v; nothing was changed", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && (info.Size() == 0 || info.IsDir()) {
		return failf(exitUnexpected, "masspay audit export -o FILE writes one", "%s has no entry of an audit log: it proves nothing; nothing was changed", printable(name))
	}
	return a.auditVerify(linksOf(f), heads)
}

// verifyStore checks the log of the store, and holds the newest results against it.
func (a *app) verifyStore(ctx context.Context, heads []string) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := a.auditVerify(s.Audit(ctx, 0), heads); err != nil {
		return err
	}
	return a.verifyResults(ctx, c, s)
}

// loggedResult is a result that the log tells of.
type loggedResult struct {
	entry store.Entry
	at    time.Time
}

// verifyResults holds what the log says of results against the files, where they are, and
// against the store: it makes the newest of each batch again, unless anything has changed in the store since.
func (a *app) verifyResults(ctx context.Context, c *config, s store.Store) error {
	newest, files, err := resultsOf(ctx, s)
	if err != nil {
		return err
	}
	same := 0
	var gone []string // are not there any more
	for _, path := range slices.Sorted(maps.Keys(files)) {
		t, err := lookAt(path)
		if err != nil || t.info == nil || t.stream() || !t.info.Mode().IsRegular() {
			gone = append(gone, printable(path))
			continue
		}
		is, err := t.read(ctx)
		if err != nil {
			return err
		}
		if is.sum != files[path] {
			return failf(exitUnexpected, "masspay report and its batch write the result again", "%s is not what masspay has written there: it was changed, or replaced; nothing was changed or sent", printable(path))
		}
		same++
	}
	var changed time.Time
	batches := map[string]store.Batch{}
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return err
		}
		batches[b.ID] = b
		for _, at := range []time.Time{b.ChangedAt, b.LoadedAt} {
			if at.After(changed) {
				changed = at
			}
		}
	}
	again := 0
	for _, id := range slices.Sorted(maps.Keys(newest)) {
		w := newest[id]
		b, there := batches[id]
		if !there || w.entry.Version != version || !w.at.After(b.ChangedAt) || !w.at.After(b.LoadedAt) {
			continue
		}
		sum := sha256.New()
		if _, err := (result.Report{Rules: c.rules()}).To(ctx, s, b, sum); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != w.entry.Facts[store.FactResultSum] {
			if !w.at.After(changed) { // a retry in another file may have changed what its rows say
				a.say("warning: the store makes the result of batch %s otherwise now than on %s, and nothing in that batch has changed since; other files have, which may be why: compare it with masspay report %s", b.Short(), w.at.UTC().Format(time.RFC3339), b.Short())
				continue
			}
			return failf(exitUnexpected, "masspay doctor checks the store; compare it with older backups",
				"the result of batch %s that was written on %s (%s) is not what the store makes now, and nothing in it has changed since by masspay; nothing was changed or sent",
				b.Short(), w.at.UTC().Format(time.RFC3339), printable(w.entry.Facts[store.FactResult]))
		}
		again++
	}
	if len(gone) > 0 {
		const shown = 3
		more := ""
		if n := len(gone) - shown; n > 0 {
			more = " and " + payout.FormatNumber(n) + " more"
		}
		a.say("results that are not on this machine as files any more, and were not compared: %s%s", strings.Join(gone[:min(shown, len(gone))], ", "), more)
	}
	if len(newest) > 0 {
		a.say("results: %s on this machine as written; the newest of each batch: %s of %s as the store makes it now", count(same, "file"), payout.FormatNumber(again), payout.FormatNumber(len(newest)))
	}
	return nil
}

// resultsOf are the newest results in the log, by batch, and what was last written to each
// path. Runs that the store knows and the log does not are told.
func resultsOf(ctx context.Context, s store.Store) (newest map[string]loggedResult, files map[string]string, err error) {
	newest, files = map[string]loggedResult{}, map[string]string{}
	began := map[uint64]bool{}
	var first time.Time
	for l, err := range s.Audit(ctx, 0) {
		if err != nil {
			return nil, nil, err
		}
		e, err := l.Entry()
		if err != nil {
			return nil, nil, err
		}
		if first.IsZero() {
			first = e.At
		}
		if e.Act == store.ActBegan {
			began[e.Run] = true
		}
		if sum := e.Facts[store.FactResultSum]; sum != "" {
			at, _ := time.Parse(time.RFC3339Nano, e.Facts[store.FactResultAt]) // the zero time: it is not compared
			newest[e.Batch] = loggedResult{e, at}
			files[e.Facts[store.FactResult]] = sum
		}
	}
	for r, err := range s.Runs(ctx) {
		if err != nil {
			return nil, nil, err
		}
		// What an older masspay ran is not in the log, which began later.
		if !began[r.Number] && (first.IsZero() || r.At.After(first)) {
			return nil, nil, failf(exitUnexpected, "compare it with the heads of earlier runs and with older backups",
				"run %s is in the store, and not in its audit log: entries are missing; nothing was changed or sent", payout.FormatNumber(r.Number))
		}
	}
	return newest, files, nil
}

// linksOf reads an export.
func linksOf(r io.Reader) iter.Seq2[store.Link, error] {
	return func(yield func(store.Link, error) bool) {
		const longest = 1 << 20 // of a line
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, longest)
		for n := uint64(1); lines.Scan(); n++ {
			l, err := store.ParseLink(n, lines.Text())
			if !yield(l, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(store.Link{}, err)
		}
	}
}

// auditVerify walks the log.
func (a *app) auditVerify(all iter.Seq2[store.Link, error], heads []string) error {
	missing := map[string]bool{}
	for _, h := range heads {
		h = strings.ToLower(strings.TrimSpace(h))
		if len(h) < 8 || len(h) > 64 || strings.Trim(h, "0123456789abcdef") != "" {
			return failf(exitConfig, "the last line of a run has it, as in audit: entry 1,204, 9f3c51aa7d20", "--head %s: want 8 to 64 hexadecimal digits; nothing was changed", said(h))
		}
		missing[h] = true
	}
	var before store.Link
	var first, last store.Entry
	for l, err := range all {
		var e store.Entry
		if err == nil {
			e, err = l.Follows(before)
		}
		if err != nil {
			return failf(exitUnexpected, "whoever could write to the store, or to this copy of its log, changed it; compare it with the heads of earlier runs and with older backups",
				"the audit log does not hold: %v; up to entry %s it does; nothing was changed or sent", err, payout.FormatNumber(before.Seq))
		}
		if before.Seq == 0 {
			first = e
		}
		before, last = l, e
		for h := range missing {
			if strings.HasPrefix(l.Hash.String(), h) {
				delete(missing, h)
			}
		}
	}
	if len(missing) > 0 {
		list := strings.Join(slices.Sorted(maps.Keys(missing)), ", ")
		return failf(exitUnexpected, "either it is the head of another store, or the end of this log was cut off, or all of it was rewritten; compare it with older backups",
			"the audit log does not have %s; it ends with entry %s, %s; nothing was changed or sent", list, payout.FormatNumber(before.Seq), before.Hash.Short())
	}
	if before.Seq == 0 {
		a.say("the audit log is empty")
		return nil
	}
	has := ""
	if n := len(heads); n > 0 {
		has = ", with " + map[bool]string{true: "the head", false: "all heads"}[n == 1] + " that is known"
		if n > 1 {
			has = ", with all " + payout.FormatNumber(n) + " heads that are known"
		}
	}
	a.say("the audit log holds: %s, from %s to %s%s; it ends with %s", countOf(int(before.Seq), "entry", "entries"),
		first.At.Format(time.RFC3339), last.At.Format(time.RFC3339), has, before.Hash.Short())
	return nil
}

// countOf is count for a word whose plural has another form.
func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return payout.FormatNumber(n) + " " + many
}

// auditFlags are the flags of audit show.
type auditFlags struct {
	batch, payment, person, since, until string
	json                                 bool
}

func (a *app) auditShowCommand() *cobra.Command {
	var f auditFlags
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the entries of the log",
		Args:  args(0, 0, "flags only"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.auditShow(cmd.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.batch, "batch", "", "only what was done with this `BATCH`, by its id or its file's name")
	fl.StringVar(&f.payment, "payment", "", "only what a person did with this `PAYMENT_ID`")
	fl.StringVar(&f.person, "person", "", "only what this `PERSON` did, by the name of who logged in, or of the user, also as user@host")
	fl.StringVar(&f.since, "since", "", "only since this `DATE` (2026-11-26) or for so long (12h, 30d)")
	fl.StringVar(&f.until, "until", "", "only before this `DATE` or time")
	fl.BoolVar(&f.json, "json", false, "print it as JSON, with the hashes")
	return c
}

// auditJSON is an entry for machines.
type auditJSON struct {
	store.Entry
	Hash string `json:"hash"`
}

func (a *app) auditShow(ctx context.Context, f auditFlags) error {
	since, err := sinceWhen("--since", f.since, time.Now())
	if err != nil {
		return err
	}
	until, err := sinceWhen("--until", f.until, time.Now())
	if err != nil {
		return err
	}
	_, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	id := ""
	if f.batch != "" {
		b, err := a.batch(ctx, s, f.batch)
		if err != nil {
			return err
		}
		id = b.ID
	}
	list := []auditJSON{}
	for l, err := range s.Audit(ctx, 0) {
		if err != nil {
			return err
		}
		e, err := l.Entry()
		if err != nil {
			return fmt.Errorf("%w: %w; masspay audit verify says more", store.ErrDamaged, err)
		}
		_, payment, _ := strings.Cut(e.Payment, "/")
		people := []string{e.User, e.User + "@" + e.Host, e.Facts["person"], e.Facts["by"]}
		switch {
		case id != "" && e.Batch != id, f.payment != "" && payment != f.payment && e.Payment != f.payment:
		case f.person != "" && !slices.ContainsFunc(people, func(is string) bool { return isPerson(f.person, is) }):
		case e.At.Before(since), !until.IsZero() && !e.At.Before(until):
		default:
			list = append(list, auditJSON{e, l.Hash.String()})
		}
	}
	if f.json {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.say("nothing was done that this asks for")
	}
	for _, e := range list {
		_, _ = fmt.Fprintf(a.w.stdout, "%d  %s  %s\n", e.Seq, e.At.UTC().Format(time.RFC3339), auditText(e.Entry))
	}
	return nil
}

// auditText is an entry in a line.
func auditText(e store.Entry) string {
	text := string(e.Act)
	if command := e.Facts["command"]; command != "" {
		text += " masspay " + command
	}
	text += behind(" ", e.Payment) + behind(" ", e.File) + behind(", batch ", short(e.Batch))
	for _, name := range slices.Sorted(maps.Keys(e.Facts)) {
		currency, isTotal := strings.CutPrefix(name, "total ")
		minor, err := strconv.ParseInt(e.Facts[name], 10, 64)
		switch {
		case name == "command":
		case isTotal && err == nil:
			text += ", " + payout.Amount{Minor: minor, Currency: currency}.String()
		default:
			text += ", " + name + " " + e.Facts[name]
		}
	}
	if e.User != "" {
		text += "; by " + e.User + "@" + e.Host
	}
	return printable(text)
}

func (a *app) auditExportCommand() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the log into a file that masspay audit verify checks anywhere",
		Args:  args(0, 0, "flags only"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			if name == "" {
				return failf(exitConfig, "masspay audit export -o audit.log", "export: say where to (-o); nothing was written")
			}
			return a.auditExport(cmd.Context(), name)
		},
	}
	c.Flags().StringVarP(&name, "output", "o", "", "write it to `FILE`, which must not be there; - is standard output")
	return c
}

func (a *app) auditExport(ctx context.Context, name string) error {
	_, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	var text strings.Builder
	var last store.Link
	for l, err := range s.Audit(ctx, 0) {
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(&text, l)
		last = l
	}
	if name == "-" {
		_, err := io.WriteString(a.w.stdout, text.String())
		return err
	}
	if _, err := os.Lstat(name); err == nil {
		return failf(exitConfig, "choose another name with -o, e.g. -o "+shellWord(freeName(name)), "%s exists and was not overwritten; nothing was written", name)
	}
	if err := renameio.WriteFile(name, []byte(text.String()), 0o600); err != nil {
		return err
	}
	a.say("%s: %s, ending with %s", printable(name), countOf(int(last.Seq), "entry", "entries"), last.Hash.Short())
	return nil
}

// sayHead prints where the log stands: what is kept elsewhere of it shows later that nothing
// before was changed.
func (a *app) sayHead(ctx context.Context, s store.Store) error {
	head, err := s.Head(ctx)
	if err == nil && head.Seq > 0 {
		a.say("audit: entry %s, %s", payout.FormatNumber(head.Seq), head.Hash.Short())
	}
	return err
}

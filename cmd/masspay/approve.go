package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"masspay/approve"
	"masspay/batch/payfile"
	"masspay/payout"
	"masspay/store"
)

// approveFlags are the flags of approve.
type approveFlags struct {
	prepare bool
	print   bool
	yes     bool
	skip    bool
	key     string
	person  string
	folder  string
}

func (a *app) approveCommand() *cobra.Command {
	var f approveFlags
	c := &cobra.Command{
		Use:   "approve FILE",
		Short: "Release a file with your signature, so that it may be paid; sends nothing",
		Long: `Check a file, show what is in it, and sign that it may be paid. The statement and its
signature are written beside the file (FILE.PERSON.approval and .sig); masspay run looks for
them there. It works on any desk, with a key in an SSH agent or in a file, and needs neither
store nor secret. The signature is OpenSSH's: ssh-keygen -Y verify checks it, too.

With --prepare it says that you made the file; who made it cannot release it.`,
		Args: args(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.approve(cmd.Context(), args[0], f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.prepare, "prepare", false, "sign that you made the file, instead")
	fl.StringVar(&f.key, "key", "", "sign with the private key in this `FILE` (default: a key of the SSH agent)")
	fl.StringVar(&f.person, "as", "", "sign as this `PERSON` of the list of signers")
	fl.StringVarP(&f.folder, "output", "o", "", "write the approval into this `FOLDER` (default: beside the file)")
	fl.BoolVar(&f.print, "print", false, "print the statement, and sign nothing: for ssh-keygen -Y sign")
	fl.BoolVar(&f.yes, "yes", false, "do not ask; only with --prepare")
	fl.BoolVar(&f.skip, "skip-invalid", false, "the file as masspay run --skip-invalid pays it")
	return c
}

func (f approveFlags) role() payout.Role {
	if f.prepare {
		return payout.Prepares
	}
	return payout.Releases
}

func (a *app) approve(ctx context.Context, path string, f approveFlags) error {
	switch {
	case path == "-":
		return failf(exitConfig, "masspay approve FILE", "approve: standard input has no name, and no place for an approval; nothing was signed")
	case f.yes && !f.prepare:
		return failf(exitConfig, "masspay approve "+shellWord(path)+" asks", "--yes: a release is a person's, and is asked for; nothing was signed")
	case f.print && f.person == "":
		return failf(exitConfig, "masspay approve "+shellWord(path)+" --print --as PERSON", "--print: say as whom (--as); nothing was signed")
	}
	d, err := a.checkBasis(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	list, err := d.config.signers()
	if err != nil {
		return err
	}
	in, err := payfile.Open(path, a.w.stdin)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	k, err := a.checked(ctx, d.config, d.known, path, in, expectFlags{content: true}, f.skip)
	if err != nil {
		return err
	}
	if d.without != "" {
		a.say("not looked at, because %s: payment_ids that were used before, retries", d.without)
	}
	statement := &payout.Statement{Role: f.role(), Content: k.Content, Person: f.person, At: time.Now().UTC().Truncate(time.Second)}
	if f.print {
		if list != nil && len(list.Of(f.person)) == 0 {
			return failf(exitConfig, "the names are in "+d.config.Approval.SignersFile, "%s is not in the list of signers; nothing was signed", printable(f.person))
		}
		_, err := a.w.stdout.Write(statement.Text())
		return err
	}
	signer, done, err := a.signer(ctx, list, &f, statement)
	if err != nil {
		return err
	}
	defer done()
	statement.Person = f.person
	a.found(d, k)
	for _, s := range k.Spreads {
		for _, l := range k.Largest[s.Currency] {
			a.say("line %d: %s to %s (%s)", l.Line, payout.Amount{Minor: l.Minor, Currency: s.Currency}, l.Masked, printable(l.PaymentID))
		}
	}
	if k.Skipped > 0 {
		a.say("left out: %s", count(k.Skipped, "row"))
	}
	word := make([]string, len(k.Totals))
	for i, t := range k.Totals {
		word[i] = t.Total()
	}
	what := map[payout.Role]string{payout.Releases: "releasing it", payout.Prepares: "signing that you made it"}[statement.Role]
	a.say("%s as %s, with the key %s", what, f.person, signer.Fingerprint())
	if err := a.confirm(ctx, f.yes, what, strings.Join(word, "+"), "on a terminal, by a person; a payroll system signs with --prepare --yes"); err != nil {
		return err
	}
	return a.writeApproval(path, f, statement, signer)
}

func (a *app) writeApproval(path string, f approveFlags, s *payout.Statement, with approve.Key) error {
	signature, err := approve.Sign(s, with)
	if err != nil {
		return failf(exitConfig, "unlock the agent, or name the key's file with --key", "the key does not sign: %w; nothing was signed", err)
	}
	folder := filepath.Dir(path)
	if f.folder != "" {
		folder = f.folder
	}
	name := filepath.Join(folder, filepath.Base(path)+"."+s.Person+approvalSuffix)
	const twice = "it stays; remove it and its .sig first, if the file was changed since or it has expired"
	for _, part := range []struct {
		name string
		text []byte
	}{{name, s.Text()}, {name + signatureSuffix, signature}} {
		file, err := newFile(part.name, twice)
		if err != nil {
			return err
		}
		_, err = file.Write(part.text)
		if err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
			_ = os.Remove(part.name)
			return err
		}
	}
	a.say("wrote %s and %s", printable(name), printable(filepath.Base(name)+signatureSuffix))
	return nil
}

// signer finds the key to sign with, and as whom.
func (a *app) signer(ctx context.Context, list approve.Signers, f *approveFlags, s *payout.Statement) (key approve.Key, done func(), err error) {
	var keys []approve.Key
	done = func() {}
	if f.key != "" {
		key, err = approve.KeyFile(f.key, func() ([]byte, error) { return a.passphrase(ctx, f.key) })
		if err != nil {
			return key, nil, failf(exitConfig, "the private key as ssh-keygen made it, not the .pub", "--key: %w; nothing was signed", err)
		}
		keys = []approve.Key{key}
	} else {
		keys, done, err = approve.Agent(os.Getenv("SSH_AUTH_SOCK"))
		if err != nil {
			return key, nil, failf(exitConfig, "name a key's file with --key, or start an agent and add the key: ssh-add", "%w; nothing was signed", err)
		}
	}
	if key, err = choose(list, keys, f, s.Role); err != nil {
		done()
	}
	return key, done, err
}

// choose takes the key that is on the list, never simply the first of an agent's.
func choose(list approve.Signers, keys []approve.Key, f *approveFlags, role payout.Role) (key approve.Key, err error) {
	if list == nil {
		switch {
		case f.person == "":
			return key, failf(exitConfig, "say as whom: --as PERSON", "there is no list of signers here (approval.signers_file) that says whose the key is; nothing was signed")
		case len(keys) != 1:
			return key, failf(exitConfig, "name the key's file with --key", "the agent has %s, and no list of signers here says which is meant; nothing was signed", count(len(keys), "key"))
		}
		return keys[0], nil
	}
	why := ""
	for _, k := range keys {
		whose := list.Whose(k)
		if whose == "" || f.person != "" && f.person != whose {
			continue
		}
		if why = list.Barred(k, role, time.Now()); why != "" {
			continue
		}
		f.person = whose
		return k, nil
	}
	if why == "" {
		why = "none of " + count(len(keys), "key") + " is in the list of signers"
		if f.person != "" {
			why += " for " + f.person
		}
	}
	return key, failf(exitConfig, "name another key's file with --key, or have the key added to the list (approval.signers_file)", "%s; nothing was signed", why)
}

// passphrase asks for the passphrase of a key.
func (a *app) passphrase(_ context.Context, key string) ([]byte, error) {
	in, ok := a.w.stdin.(*os.File)
	if !ok || !a.mayAsk() {
		return nil, errors.New("the key has a passphrase, and there is no one to ask here: add it to an agent (ssh-add)")
	}
	_, _ = fmt.Fprintf(a.w.stderr, "passphrase of %s: ", key)
	secret, err := term.ReadPassword(int(in.Fd()))
	a.say("")
	return secret, err
}

func (a *app) approvalsCommand() *cobra.Command {
	var skip bool
	c := &cobra.Command{
		Use:   "approvals FILE|BATCH",
		Short: "Show who has released a file, and what is missing",
		Long: `Show who has released a file or a batch, whether somebody says that they made it, what
does not count and why, and what is missing. Exit code 0: it may be paid; 13: not yet.`,
		Args: args(1, 1, "a file, or a batch"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			return a.approvals(cmd.Context(), args[0], skip)
		},
	}
	c.Flags().BoolVar(&skip, "skip-invalid", false, "the file as masspay run --skip-invalid pays it")
	return c
}

func (a *app) approvals(ctx context.Context, of string, skip bool) error {
	d, err := a.checkBasis(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	list, err := d.config.signers()
	if err != nil {
		return err
	}
	if list == nil {
		a.say("no approval is needed (approval.signers_file is not set)")
		return nil
	}
	about, approvals, err := a.approvalsOf(ctx, d, of, skip)
	if err != nil {
		return err
	}
	j := d.config.judge(list, approvals, about)
	for _, person := range j.Prepared {
		a.say("prepared by %s", person)
	}
	for _, person := range j.Have {
		a.say("released by %s", person)
	}
	for _, text := range j.Ignored {
		a.say("%s", printable(text))
	}
	if j.Missing != "" {
		a.say("not released: %s", j.Missing)
		return &ended{exitHeld}
	}
	a.say("it may be paid")
	return nil
}

// approvalsOf finds the approvals of a file that is there, or else of a batch.
func (a *app) approvalsOf(ctx context.Context, d *checkBasis, of string, skip bool) (payout.Content, []store.Approval, error) {
	st, err := os.Stat(of)
	if err != nil || st.IsDir() {
		if d.store == nil {
			return payout.Content{}, nil, failf(exitConfig, "masspay approvals FILE", "%s: no such file, and no store here (%s)", of, d.without)
		}
		b, err := a.batch(ctx, d.store, of)
		if err != nil {
			return payout.Content{}, nil, err
		}
		about, err := payfile.ContentOf(ctx, d.store, b)
		return about, b.Approvals, err
	}
	in, err := payfile.Open(of, a.w.stdin)
	if err != nil {
		return payout.Content{}, nil, err
	}
	defer func() { _ = in.Close() }()
	beside, err := approvalsBeside(of)
	if err != nil {
		return payout.Content{}, nil, err
	}
	if d.store != nil {
		b, err := payfile.LoadedAs(ctx, d.store, in)
		if err == nil {
			about, err := payfile.ContentOf(ctx, d.store, b)
			return about, append(b.Approvals, beside...), err
		}
		if !errors.Is(err, store.ErrNoBatch) {
			return payout.Content{}, nil, err
		}
	}
	k, err := a.checked(ctx, d.config, d.known, of, in, expectFlags{content: true}, skip)
	if err != nil {
		return payout.Content{}, nil, err
	}
	return k.Content, beside, nil
}

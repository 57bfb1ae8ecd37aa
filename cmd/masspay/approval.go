package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"masspay/approve"
	"masspay/batch/payfile"
	"masspay/payout"
	"masspay/store"
)

// approvalConfig says who must release a file. Amounts are text, in major units.
type approvalConfig struct {
	SignersFile string               `yaml:"signers_file"`
	Prepared    bool                 `yaml:"prepared"`
	MaxAge      time.Duration        `yaml:"max_age"`
	Rules       []approvalRuleConfig `yaml:"rules"`
}

type approvalRuleConfig struct {
	UpTo    string   `yaml:"up_to"`
	Signers int      `yaml:"signers"`
	OneOf   []string `yaml:"one_of"`
}

func (a approvalConfig) policy() (p approve.Policy, problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	p = approve.Policy{Prepared: a.Prepared, MaxAge: a.MaxAge}
	if a.SignersFile == "" && (a.Prepared || len(a.Rules) > 0) {
		bad("approval.signers_file is missing: approval.rules and prepared need a list of who may sign")
	}
	if a.SignersFile != "" && len(a.Rules) == 0 {
		bad("approval.rules are missing: how many must sign, up to which total, as {up_to: 500000.00KGS, signers: 1}")
	}
	if a.MaxAge < 0 {
		bad("approval.max_age %v: want a duration, or 0 for any age", a.MaxAge)
	}
	for i, r := range a.Rules {
		upTo, err := payout.ParseTotal(r.UpTo)
		if err != nil {
			bad("approval.rules[%d].up_to %s: want an amount with its currency, as 500000.00KGS", i, said(r.UpTo))
		}
		if r.Signers < 1 || r.Signers > 10 {
			bad("approval.rules[%d].signers %d: want 1 to 10", i, r.Signers)
		}
		p.Rules = append(p.Rules, approve.Rule{UpTo: upTo, Signers: r.Signers, OneOf: r.OneOf})
	}
	slices.SortStableFunc(p.Rules, func(a, b approve.Rule) int { // the smallest that covers a total counts
		switch {
		case a.UpTo.Minor < b.UpTo.Minor:
			return -1
		case a.UpTo.Minor > b.UpTo.Minor:
			return 1
		}
		return 0
	})
	return p, problems
}

// signers reads the list of signers, as it is now. It is nil where none is needed.
func (c *config) signers() (approve.Signers, error) {
	path := c.Approval.SignersFile
	if path == "" {
		return nil, nil
	}
	for what, file := range map[string]string{"the list of signers (approval.signers_file)": path, "the configuration": c.file} {
		if err := notForOthers(what, file); err != nil {
			return nil, err
		}
	}
	text, err := payfile.ReadSmall(path, 1<<20)
	if err != nil {
		return nil, failf(exitConfig, "put back the list of who may sign", "approval.signers_file: %w; nothing was sent", err)
	}
	list, err := approve.ParseSigners(text)
	if err != nil {
		return nil, failf(exitConfig, "docs/how-to/controls.md has an example", "approval.signers_file %s: %w; nothing was sent", path, err)
	}
	for i, r := range c.Approval.Rules {
		for _, person := range r.OneOf {
			if len(list.Of(person)) == 0 {
				return nil, failf(exitConfig, "add the person's key to "+path+", or take the name out of the rule", "approval.rules[%d].one_of: %s is not in the list of signers; nothing was sent", i, printable(person))
			}
		}
	}
	return list, nil
}

// notForOthers refuses a file that others than its owner and root can change or replace: who
// may, sets the policy.
func notForOthers(what, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path // whoever opens it will say what is wrong
	}
	for _, at := range append(upwards(path), upwards(real)...) {
		st, err := os.Stat(at)
		if err != nil {
			continue // the same
		}
		sticky := st.IsDir() && st.Mode()&fs.ModeSticky != 0
		if st.Mode().Perm()&0o022 != 0 && !sticky {
			return failf(exitConfig, "chmod go-w "+shellWord(at), "%s %s can be changed by others than its owner (%s has mode %04o), who could release payouts; nothing was sent", what, path, at, st.Mode().Perm())
		}
		if of, ok := st.Sys().(*syscall.Stat_t); ok && of.Uid != 0 && int(of.Uid) != os.Geteuid() {
			return failf(exitConfig, "chown root "+shellWord(at), "%s %s can be changed by the owner of %s, who could release payouts; nothing was sent", what, path, at)
		}
	}
	return nil
}

// upwards are a file and all folders that it is in.
func upwards(path string) (all []string) {
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		all = append(all, path)
	}
	return append(all, path)
}

// The files of an approval are beside the file of payouts: FILE.PERSON.approval, and its
// signature.
const (
	approvalSuffix  = ".approval"
	signatureSuffix = ".sig"
	maxApprovals    = 100
	maxApprovalSize = 16 << 10 // bytes of a statement, and of a signature
)

// approvalsBeside are the approvals beside a file.
func approvalsBeside(path string) (all []store.Approval, err error) {
	if path == "" || path == "-" {
		return nil, nil
	}
	folder, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean("./" + folder))
	if filepath.IsAbs(folder) {
		entries, err = os.ReadDir(folder)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base+".") || !strings.HasSuffix(name, approvalSuffix) {
			continue
		}
		if len(all) == maxApprovals {
			return nil, failf(exitConfig, "remove those that do not count: masspay approvals names them", "there are more than %d files %s.*%s; nothing was sent", maxApprovals, base, approvalSuffix)
		}
		a := store.Approval{Name: name}
		if a.Statement, err = small(filepath.Join(folder, name)); err != nil {
			return nil, err
		}
		if a.Signature, err = small(filepath.Join(folder, name+signatureSuffix)); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// small reads a part of an approval. What is missing, too long or no file is empty: it does
// not count.
func small(path string) ([]byte, error) {
	text, err := payfile.ReadSmall(path, maxApprovalSize)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, payfile.ErrNotSmall) {
		return nil, nil
	}
	return text, err
}

// judge holds approvals against the policy, as it and the list of signers are now.
func (c *config) judge(list approve.Signers, approvals []store.Approval, about payout.Content) approve.Judgement {
	policy, _ := c.Approval.policy() // validated before
	all := make([]approve.Approval, len(approvals))
	for i, a := range approvals {
		all[i] = approve.Approval(a)
	}
	return policy.Judge(list, all, about, time.Now())
}

// released refuses a file that not enough persons have released, and returns the approvals
// that count. who is the file or batch, and path where approvals are looked for, "": nowhere.
func (a *app) released(c *config, who, path string, approvals []store.Approval, about payout.Content) (count []store.Approval, err error) {
	list, err := c.signers()
	if err != nil || list == nil {
		return nil, err
	}
	j := c.judge(list, approvals, about)
	for _, text := range j.Ignored {
		a.say("warning: %s", printable(text))
	}
	if j.Missing == "" {
		a.say("released by %s", strings.Join(j.Have, ", "))
		for _, i := range j.Counted {
			count = append(count, approvals[i])
		}
		return count, nil
	}
	hint := "somebody who may release it, and has not yet: masspay approve " + shellWord(who)
	if path == "" {
		hint = "the file it came from, with its approvals beside it: masspay run FILE -o RESULT.csv"
	}
	return nil, failf(exitHeld, hint, "%s: %s; nothing was sent", printable(who), j.Missing)
}

// sendable is how many payouts of a batch are not sent, or may turn out not to be.
func sendable(b store.Batch) int {
	return b.Unsent() + b.InState(payout.StateSending) + b.InState(payout.StateUnknown)
}

// mayStillBeSent holds a batch that is loaded against the limits and the approvals, as they
// are now. Its content is computed from what the store would send. Approvals beside the file
// that count are kept with the batch: other machines send it, too.
func (a *app) mayStillBeSent(ctx context.Context, c *config, s store.Store, b store.Batch, path string) error {
	if sendable(b) == 0 {
		return nil
	}
	if limits, _ := c.Limits.rules(); limits != nil {
		if err := limits.Loaded(ctx, s, b); err != nil {
			return err
		}
	}
	if c.Approval.SignersFile == "" {
		return nil
	}
	beside, err := approvalsBeside(path)
	if err != nil {
		return err
	}
	approvals := append(slices.Clone(b.Approvals), beside...)
	about, err := payfile.ContentOf(ctx, s, b)
	if err != nil {
		return err
	}
	who := path
	if who == "" {
		who = "batch " + b.Short()
	}
	count, err := a.released(c, who, path, approvals, about)
	if err != nil {
		return err
	}
	return s.Approve(ctx, b.ID, count...)
}

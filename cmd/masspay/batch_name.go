package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"masspay/batch/payfile"
	"masspay/store"
)

// batch finds a batch by its id or the beginning of it, by a file that is there, whose
// content was loaded, or by the name that its file had, where that means one.
func (a *app) batch(ctx context.Context, s store.Store, name string) (store.Batch, error) {
	b, err := s.Batch(ctx, name)
	if !errors.Is(err, store.ErrNoBatch) {
		return b, err
	}
	var found []store.Batch
	for b, listed := range s.Batches(ctx) {
		if listed != nil {
			return b, listed
		}
		if b.Name == filepath.Base(name) {
			found = append(found, b)
		}
	}
	missing := failf(exitConfig, "masspay status lists the batches", "%q: %w; nothing was changed or sent", name, store.ErrNoBatch)
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
		// What is in it counts, and not what it is called.
		in, err := payfile.Open(name, nil)
		if err != nil {
			return b, err
		}
		defer func() { _ = in.Close() }()
		if b, err = payfile.LoadedAs(ctx, s, in); !errors.Is(err, store.ErrNoBatch) {
			return b, err
		}
		if len(found) == 0 {
			return b, missing
		}
		return b, failf(exitConfig, "masspay status "+found[len(found)-1].Short()+" shows the newest one that had this name",
			"%s is not loaded as it is now; files of this name were, with another content; nothing was changed or sent", name)
	}
	switch {
	case len(found) == 0 || filepath.Base(name) != name:
		return b, missing
	case len(found) == 1:
		return found[0], nil
	}
	newest := found[len(found)-1]
	return b, failf(exitConfig, fmt.Sprintf("masspay status %s shows the newest of them, loaded %s; masspay status lists all", newest.Short(), newest.LoadedAt.Format(time.RFC3339)),
		"%s had a file called %s: name one by its id; nothing was changed or sent", count(len(found), "batch"), name)
}

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"masspay/store"
	"masspay/store/bolt"
	"masspay/store/codec"
	"masspay/store/postgres"
	"masspay/work"
)

// This file is the only one that knows which store a configuration names.

// open reads the configuration and opens its store.
func (a *app) open(ctx context.Context) (*config, store.Store, error) {
	c, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	s, err := c.openStore(ctx, 0)
	if err != nil {
		return c, nil, err
	}
	if held, ok := s.(interface{ Between(do func()) }); ok {
		a.w.hangup.suspendBetween(held.Between)
	}
	return c, s, nil
}

// engine is the store as the engine sees it.
func (a *app) engine(s store.Store) store.Store {
	if a.w.through != nil {
		return a.w.through(s)
	}
	return s
}

// openStore opens the store; wait is how long it may be busy, 0: as usual.
func (c *config) openStore(ctx context.Context, wait time.Duration) (store.Store, error) {
	if c.Store.URL != "" {
		return c.openDatabase(ctx, wait)
	}
	o, err := c.storeOptions()
	if err != nil {
		return nil, err
	}
	o.Wait = wait
	s, err := bolt.Open(ctx, o)
	if err != nil {
		return nil, err // not s: a nil store in an interface is not nil
	}
	s.Acting(c.acting())
	return s, nil
}

// openDatabase opens a store that many machines share, if this one has the same settings.
func (c *config) openDatabase(ctx context.Context, wait time.Duration) (store.Store, error) {
	o, err := c.databaseOptions()
	if err != nil {
		return nil, err
	}
	o.Wait = wait
	s, err := postgres.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := c.agree(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Acting(c.acting())
	return s, nil
}

// createStore makes the store, empty.
func (c *config) createStore(ctx context.Context) error {
	if c.Store.URL != "" {
		o, err := c.databaseOptions()
		if err != nil {
			return err
		}
		return postgres.Create(ctx, o)
	}
	o, err := c.storeOptions()
	if err != nil {
		return err
	}
	return bolt.Create(ctx, o)
}

// storeMade reports whether there is a store, whatever its key.
func (c *config) storeMade(ctx context.Context) (bool, error) {
	if c.Store.URL != "" {
		o, err := c.passwordOptions()
		if err != nil {
			return false, err
		}
		return postgres.Made(ctx, o)
	}
	_, err := os.Stat(c.Store.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// storeWasUsed reports whether anything may ever have been sent from a store that was
// here.
func (c *config) storeWasUsed() (bool, error) {
	if c.Store.URL != "" {
		return postgres.Used(postgres.Options{Marker: c.Store.Marker})
	}
	o, err := c.storeOptions()
	return err == nil && bolt.Used(o), err
}

// migrateStore brings a store of an older masspay to this one's format.
func (c *config) migrateStore(ctx context.Context) (from uint64, err error) {
	if c.Store.URL != "" {
		o, err := c.databaseOptions()
		if err != nil {
			return 0, err
		}
		return postgres.Migrate(ctx, o)
	}
	o, err := c.storeOptions()
	if err != nil {
		return 0, err
	}
	from, _, err = bolt.Migrate(ctx, o)
	return from, err
}

// mendStore gives a store that has lost its lock files new ones.
func mendStore(ctx context.Context, s store.Store) (mended bool, err error) {
	locked, ok := s.(*bolt.Store)
	if !ok {
		return false, nil
	}
	if err := locked.Writable(ctx); !errors.Is(err, store.ErrLocks) {
		return false, err
	}
	return true, locked.Settle(ctx)
}

// examineStore checks a store that may be too damaged to be opened.
func (c *config) examineStore(ctx context.Context) (store.Examination, error) {
	if c.Store.URL != "" {
		s, err := c.openStore(ctx, 0)
		if err != nil {
			return store.Examination{}, err
		}
		defer func() { _ = s.Close() }()
		return s.Examine(ctx)
	}
	o, err := c.storeOptions()
	if err != nil {
		return store.Examination{}, err
	}
	return bolt.Examine(ctx, o)
}

func (c *config) storeOptions() (bolt.Options, error) {
	if err := notForAll("the store's folder", filepath.Dir(c.Store.Path)); err != nil {
		return bolt.Options{}, err
	}
	key, err := c.storeKey()
	return bolt.Options{
		Path: c.Store.Path, Key: key, Marker: c.Store.Marker,
		Rules:         c.rules(),
		KeepFor:       c.Lookalikes.keepFor(),
		AnyFileSystem: c.Store.FileSystem == anyFileSystem,
		Waited:        c.waited,
		Sound:         &c.sound,
	}, err
}

func (c *config) databaseOptions() (postgres.Options, error) {
	o, err := c.passwordOptions()
	if err != nil {
		return o, err
	}
	o.Key, err = c.storeKey()
	return o, err
}

// passwordOptions are what a database lets this user in with.
func (c *config) passwordOptions() (postgres.Options, error) {
	password, err := c.databasePassword()
	return postgres.Options{
		URL: c.Store.URL, Password: password, Marker: c.Store.Marker, Rules: c.rules(), Version: version, Synchronous: c.Store.Synchronous, KeepFor: c.Lookalikes.keepFor(), Waited: c.waited,
	}, err
}

// moveStore moves a store that is a file into the database of the configuration.
func (c *config) moveStore(ctx context.Context, file string) (moved codec.MovedCounts, err error) {
	o, err := c.databaseOptions()
	if err != nil {
		return moved, err
	}
	s, err := postgres.Open(ctx, o)
	if err != nil {
		return moved, err
	}
	defer func() { _ = s.Close() }()
	from := bolt.Options{Path: file, Key: o.Key, Rules: c.rules(), AnyFileSystem: true}
	err = bolt.Move(ctx, from, c.Store.name(), func(ctx context.Context, i *codec.Image) (err error) {
		moved, err = s.TakeOver(ctx, i)
		return err
	})
	return moved, err
}

// distribution is how the turns of batches are handed to the machines of a store; false: it
// is for one machine.
func distribution(s store.Store) (o work.Options, ok bool) {
	shared, ok := s.(*postgres.Store)
	if !ok {
		return o, false
	}
	return work.Options{Pool: shared.Pool(), Deaths: shared.Deaths}, true
}

// prepareStore makes what lies beside a store's own tables, and is made again by every init.
func prepareStore(ctx context.Context, s store.Store) error {
	o, ok := distribution(s)
	if !ok {
		return nil
	}
	return work.Prepare(ctx, o.Pool, o.Schema)
}

// grantStore gives a role of the database what every command but init needs.
func grantStore(ctx context.Context, s store.Store, role string) error {
	shared, ok := s.(*postgres.Store)
	if !ok {
		return failf(exitConfig, "the file's owner has all rights", "a store that is a file has no roles; nothing was changed")
	}
	if err := shared.Grant(ctx, role); err != nil {
		return err
	}
	return work.Grant(ctx, shared.Pool(), "", role)
}

// realStorePath is where a store really lies, whatever links lead to it.
func realStorePath(path string) string { return bolt.RealPath(path) }

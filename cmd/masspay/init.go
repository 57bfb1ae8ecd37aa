package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"masspay/store"
	"masspay/store/seal"
)

// starterConfig is what init writes; every key is explained in docs/reference/configuration.md.
const starterConfig = `# masspay configuration. Every key is explained in docs/reference/configuration.md.
gate:
  base_url: https://gate.example     # the platform tells you its address; masspay ping tries it
  rate: 5                            # requests per second, as agreed with the platform
projects:
  - id: 1234                         # your project
    secret_file: 1234.secret         # a file with the project's secret, mode 600
store:
  path: masspay.db
  key_file: store.key
callbacks:
  listen: 127.0.0.1:8080             # masspay serve takes callbacks here
  path: /callbacks
# limits: {run_total: 5000000.00KGS}   # a file over this is refused: a sum that none of yours ever has
`

// systemConfig is what init writes under /etc: for a service with a user of its own.
const systemConfig = `# masspay configuration. Every key is explained in docs/reference/configuration.md,
# which the package has in /usr/share/doc/masspay.
gate:
  base_url: https://gate.example     # the platform tells you its address; masspay ping tries it
  rate: 5                            # requests per second, as agreed with the platform
projects:
  - id: 1234                         # your project
    secret_file: /etc/masspay/1234.secret   # your project here too: a file with the project's secret, mode 600, owner masspay
store:
  path: /var/lib/masspay/masspay.db
  key_file: /var/lib/masspay/store.key   # keep a copy of it away from here
callbacks:
  listen: 127.0.0.1:8080             # masspay serve takes callbacks here
  path: /callbacks
# limits: {run_total: 5000000.00KGS}   # a file over this is refused: a sum that none of yours ever has
`

// systemWide reports whether a configuration is one for the whole machine.
func systemWide(file string) bool {
	abs, err := filepath.Abs(file)
	return err == nil && strings.HasPrefix(abs, "/etc/")
}

func (a *app) initCommand() *cobra.Command {
	var trust, settings, yes bool
	var grant string
	c := &cobra.Command{
		Use:   "init",
		Short: "Write what the configuration names and is missing: masspay.yaml, the store, its key",
		Args:  args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.rememberLine(cmd, args)
			switch {
			case trust && settings:
				return failf(exitConfig, "one after the other", "--trust-store and --settings are two things; nothing was changed")
			case trust:
				return a.trustStore(cmd.Context(), yes)
			case settings:
				return a.changeSettings(cmd.Context())
			case grant != "":
				return a.grant(cmd.Context(), grant)
			}
			return a.initialize(cmd.Context())
		},
	}
	c.Flags().BoolVar(&trust, "trust-store", false, "declare that the store is the newest there is: payouts are sent without asking the gate first")
	c.Flags().BoolVar(&settings, "settings", false, "write gate.base_url, aliases, rate, burst, status_after and quiet_period into a store that many machines share")
	c.Flags().StringVar(&grant, "grant", "", "as the owner of the database's tables: give another `ROLE` what every command but init needs, and not more")
	c.Flags().BoolVar(&yes, "yes", false, "with --trust-store: do not ask for a confirmation")
	return c
}

func (a *app) initialize(ctx context.Context) error {
	file := a.configFlag
	if file == "" {
		file = a.env["MASSPAY_CONFIG"]
	}
	if file == "" {
		file = "masspay.yaml"
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := a.writeStarter(file); err != nil {
			return err
		}
	}
	if systemWide(file) && os.Geteuid() == 0 {
		a.stepsForRoot(file)
		return nil
	}
	// Secrets are not needed yet, and a starter's values are not right yet.
	c, err := loadConfig(file, a.env)
	if err != nil {
		return err
	}
	made, err := c.storeMade(ctx)
	if err != nil {
		return err
	}
	if err := a.initKey(c, made); err != nil {
		return err
	}
	used, err := c.storeWasUsed()
	if err != nil {
		return err
	}
	if made {
		return a.initStore(ctx, c)
	}
	if _, err := os.Stat(c.markerPath()); err == nil && used {
		return failf(exitConfig, "mount the disk or restore the newest backup; a new store would not know what was paid, and the same files would be paid a second time",
			"%s is missing, but its marker %s is there: the store was lost, and with it the memory of what was paid; nothing was made", c.Store.name(), c.markerPath())
	}
	if c.Store.URL != "" {
		return a.initDatabase(ctx, c)
	}
	if err := os.MkdirAll(filepath.Dir(c.Store.Path), 0o700); err != nil {
		return err
	}
	if err := c.createStore(ctx); err != nil {
		return err
	}
	a.say("created the store %s", c.Store.Path)
	return nil
}

// initDatabase makes the tables of a store that many machines share, and writes down what
// they must have alike.
func (a *app) initDatabase(ctx context.Context, c *config) error {
	if err := c.createStore(ctx); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	a.say("created the store in %s", c.Store.name())
	c.settling = true
	s, err := c.openStore(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := prepareStore(ctx, s); err != nil {
		return err
	}
	if settled, ok := s.(store.Settled); ok {
		if err := settled.Settle(ctx, c.settings()); err != nil {
			return err
		}
	}
	a.say("every machine needs the same %s, and the same gate.rate, burst, status_after and quiet_period in its masspay.yaml", c.Store.KeyFile)
	return nil
}

// grant lets a role of the database do everything but init.
func (a *app) grant(ctx context.Context, role string) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	c.settling = true // it is about no payout
	s, err := c.openStore(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := grantStore(ctx, s, role); err != nil {
		return err
	}
	a.say("%s may do everything in %s but init; it cannot delete what was paid", role, c.Store.name())
	return nil
}

// changeSettings writes what all machines must have alike into the store.
func (a *app) changeSettings(ctx context.Context) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	if err := c.noExample(); err != nil {
		return err
	}
	c.settling = true
	s, err := c.openStore(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := a.settle(ctx, c, s); err != nil {
		return err
	}
	a.say("%s has the settings of %s", c.Store.name(), c.file)
	return a.record(ctx, c, s, "init --settings", "", "")
}

// writeStarter writes a configuration to start from.
func (a *app) writeStarter(file string) error {
	text, perm := starterConfig, fs.FileMode(0o600)
	if systemWide(file) {
		text, perm = systemConfig, 0o644                               // it holds no secret, and the service reads it
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // as every folder under /etc
			return err
		}
	}
	if err := writeNew(file, text); err != nil {
		return err
	}
	if err := os.Chmod(file, perm); err != nil {
		return err
	}
	if systemWide(file) && os.Geteuid() == 0 {
		if err := forService(file); err != nil {
			return err
		}
	}
	a.say("wrote %s: put in the gate's address, your project and its secret", file)
	return nil
}

// serviceName is the user that the package's units run as, and unitOfInit the one that makes
// the store.
const (
	serviceName = "masspay"
	unitOfInit  = "/usr/lib/systemd/system/masspay-init.service"
)

// forService gives a configuration to the service's group, where there is one.
func forService(file string) error {
	g, err := user.LookupGroup(serviceName)
	if err != nil {
		return nil //nolint:nilerr // there is none: it stays readable for all, and holds no secret
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return errors.Join(os.Chown(file, 0, id), os.Chmod(file, 0o640)) //nolint:gosec // it holds no secret, and the service reads it
}

// stepsForRoot says what root does for the user that will run masspay: a store that
// root makes is one that only root can use.
func (a *app) stepsForRoot(file string) {
	a.say("no store was made: it belongs to the user that runs masspay, and you are root. As root:")
	if _, err := user.Lookup(serviceName); err != nil {
		a.say("  useradd --system --home-dir /var/lib/masspay --shell /usr/sbin/nologin masspay")
	}
	if _, err := os.Stat("/var/lib/masspay"); err != nil {
		a.say("  install -d -o masspay -g masspay -m 700 /var/lib/masspay")
	}
	a.say("  install -o masspay -g masspay -m 600 /dev/stdin /etc/masspay/1234.secret   # your project's number; type the secret, Enter, Ctrl-D")
	if _, err := os.Stat(unitOfInit); err == nil {
		a.say("hint: when the configuration is right: systemctl start masspay-init")
		return
	}
	a.say("hint: then, as that user: runuser -u masspay -- masspay init --config %s", shellWord(file))
}

// initStore looks after a store that is there: it brings one of an older masspay to
// this one's format, and gives one that has lost its lock files new ones.
func (a *app) initStore(ctx context.Context, c *config) error {
	s, err := c.openStore(ctx, 0)
	if errors.Is(err, store.ErrOlder) {
		from, err := c.migrateStore(ctx)
		if err != nil {
			return err
		}
		a.say("%s: brought from format %d to this masspay's; what was paid, and what is open, is as it was", c.Store.name(), from)
		if s, err = c.openStore(ctx, 0); err != nil {
			return err
		}
		return errors.Join(prepareStore(ctx, s), s.Close())
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := prepareStore(ctx, s); err != nil {
		return err
	}
	mended, err := mendStore(ctx, s)
	switch {
	case err != nil:
		return err
	case mended:
		a.say("%s has new lock files; nothing else in it was changed", c.Store.name())
	default:
		a.say("%s is there already; nothing in it was changed", c.Store.name())
	}
	return nil
}

func (c *config) markerPath() string {
	if c.Store.Marker != "" {
		return c.Store.Marker
	}
	return c.Store.Path + ".marker"
}

// initKey makes the store's key where it is missing; never where a store is
// there already, because only the old key opens it.
func (a *app) initKey(c *config, made bool) error {
	path := c.Store.KeyFile
	if path == "" || a.env[envStoreKey] != "" {
		return nil
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if made {
		hint := "put back the key file that the store was made with"
		if c.Store.URL != "" {
			hint = "copy it from another machine of this store: the key is the same on all"
		}
		return failf(exitConfig, hint, "%s is missing, and only that key opens %s; nothing was made", path, c.Store.name())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := writeNew(path, seal.NewKey().Text()); err != nil {
		return err
	}
	a.say("created the store key %s; keep a copy in a safe place, apart from the backups", path)
	return nil
}

// writeNew writes a file that only its owner can read, whole or not at all.
func writeNew(path, text string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	return renameio.WriteFile(path, []byte(text), 0o600)
}

func (a *app) trustStore(ctx context.Context, yes bool) error {
	c, s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	a.say("this gives up the protection against a restored copy: what a lost store has sent, and this one believes unsent, will be sent a second time, without asking the gate")
	if err := a.confirm(ctx, yes, "to trust the store", "trust", "first masspay run FILE --ask-first for every file that the lost store may have sent; then the same command on a terminal, where it asks for a word"); err != nil {
		return err
	}
	if err := s.Trust(ctx); err != nil {
		return err
	}
	if err := a.record(ctx, c, s, "init --trust-store", "", ""); err != nil {
		return err
	}
	a.say("%s is trusted again: payouts are sent without asking first", c.Store.name())
	unsent := 0
	for b, err := range s.Batches(ctx) {
		if err != nil {
			return err
		}
		unsent += b.Unsent()
	}
	if unsent > 0 {
		a.say("note: %s that the gate was never asked about will be sent by the next run of their batch", count(unsent, "payout"))
	}
	return nil
}

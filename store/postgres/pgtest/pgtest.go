// Package pgtest finds a PostgreSQL for tests, or starts one of their own.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// EnvURL names a database that tests may make schemas in.
const EnvURL = "MASSPAY_TEST_POSTGRES"

// Cluster is a PostgreSQL of the tests' own, in a temporary folder, reached by a socket.
type Cluster struct {
	Dir    string // of its data
	Socket string // folder of its socket
	bin    string
	as     *syscall.Credential // nil: as the tests

	bouncer *exec.Cmd // nil: none
}

// URL is the address of a database of the cluster.
func (c *Cluster) URL(database string) string {
	return "postgres://masspay@/" + database + "?host=" + c.Socket
}

var shared struct {
	sync.Mutex
	url  string
	err  error
	c    *Cluster
	done bool
}

// URL is the address of a database for tests: the one that MASSPAY_TEST_POSTGRES names, or
// one of a cluster that all tests of the process share. Without any it skips the test, and
// fails it where CI is set.
func URL(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.done {
		shared.done = true
		if shared.url = os.Getenv(EnvURL); shared.url == "" {
			if shared.c, shared.err = Start(os.TempDir()); shared.err == nil {
				shared.url = shared.c.URL("postgres")
			}
		}
	}
	if shared.err != nil {
		Missing(t, shared.err)
	}
	return shared.url
}

// Shared is the cluster behind URL; nil where MASSPAY_TEST_POSTGRES names another.
func Shared() *Cluster { return shared.c }

// Missing skips a test for want of PostgreSQL, and fails it where CI is set.
func Missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no PostgreSQL: %v", err)
	}
	t.Skipf("NOT TESTED: no PostgreSQL (%v): install it (Debian: apt install postgresql), or name a database in %s", err, EnvURL)
}

// Main runs the tests of a package and stops the cluster that they shared.
func Main(m *testing.M) {
	code := m.Run()
	if shared.c != nil {
		shared.c.Remove()
	}
	os.Exit(code)
}

// binaries is the folder of initdb and its like.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && exists(filepath.Join(filepath.Dir(path), "pg_basebackup")) {
			return filepath.Dir(path), nil
		}
	}
	if out, err := exec.CommandContext(context.Background(), "pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); exists(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("initdb is nowhere")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// Memory is a folder for a cluster that a test stops again and again: after a crash a server
// syncs every file before it starts, which takes minutes on a disk that others write to.
func Memory() string {
	const folder, least = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err == nil && fs.Bavail*uint64(fs.Bsize) >= least {
		return folder
	}
	return os.TempDir()
}

// Start makes and starts a cluster in a folder of its own below dir.
func Start(dir string) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "masspay-pg-"); err != nil {
		return nil, err
	}
	c := &Cluster{Dir: filepath.Join(dir, "data"), Socket: dir, bin: bin}
	if os.Geteuid() == 0 { // the server refuses to run as root
		of, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.ParseUint(of.Uid, 10, 32)
		gid, _ := strconv.ParseUint(of.Gid, 10, 32)
		c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	if err := c.run("initdb", "-D", c.Dir, "-U", "masspay", "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-sync"); err != nil {
		return nil, err
	}
	return c, c.Up()
}

// Up starts the server.
func (c *Cluster) Up(settings ...string) error {
	options := "-c listen_addresses= -c max_connections=300 -c unix_socket_directories=" + c.Socket
	for _, s := range settings {
		options += " -c " + s
	}
	return c.run("pg_ctl", "-D", c.Dir, "-w", "-t", "60", "-l", filepath.Join(c.Socket, "log"), "-o", options, "start")
}

// Down stops the server; mode is fast or immediate.
func (c *Cluster) Down(mode string) error {
	return c.run("pg_ctl", "-D", c.Dir, "-w", "-m", mode, "stop")
}

// Remove stops the server, and removes its files.
func (c *Cluster) Remove() {
	if c.bouncer != nil {
		_ = c.bouncer.Process.Kill()
		_ = c.bouncer.Wait()
	}
	_ = c.Down("immediate")
	_ = os.RemoveAll(c.Socket)
}

// Run runs one of PostgreSQL's programs as the cluster's user.
func (c *Cluster) Run(program string, args ...string) error { return c.run(program, args...) }

func (c *Cluster) run(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...) //nolint:gosec // PostgreSQL's own
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGTZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	out, err := os.CreateTemp("", "masspay-pg-out-")
	if err != nil {
		return err
	}
	defer func() { _ = out.Close(); _ = os.Remove(out.Name()) }()
	cmd.Stdout, cmd.Stderr = out, out // a file: the server that is started keeps it
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return nil
}

// Files reads everything that the server has written, its write-ahead log among it. What
// goes away meanwhile is left out.
func (c *Cluster) Files() (files map[string][]byte) {
	files = map[string][]byte{}
	for _, folder := range []string{"base", "global", "pg_wal"} {
		_ = filepath.WalkDir(filepath.Join(c.Dir, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // it is gone
			}
			if b, err := os.ReadFile(path); err == nil { //nolint:gosec // of the tests' own cluster
				files[path] = b
			}
			return nil
		})
	}
	return files
}

// Mkdir makes a folder that belongs to the server's user.
func (c *Cluster) Mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil || c.as == nil {
		return err
	}
	return os.Chown(path, int(c.as.Uid), int(c.as.Gid))
}

// Copy makes a base backup of the server, as a cluster that is not started.
func (c *Cluster) Copy() (*Cluster, error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.Socket), "masspay-pg-")
	if err != nil {
		return nil, err
	}
	if c.as != nil {
		if err := os.Chown(dir, int(c.as.Uid), int(c.as.Gid)); err != nil {
			return nil, err
		}
	}
	to := &Cluster{Dir: filepath.Join(dir, "data"), Socket: dir, bin: c.bin, as: c.as}
	return to, c.run("pg_basebackup", "-h", c.Socket, "-U", "masspay", "-D", to.Dir, "-c", "fast", "-X", "stream")
}

// Standby makes a copy a standby without a primary.
func (c *Cluster) Standby() error { return c.signal("standby.signal") }

// Recover makes a copy recover with settings when it is started.
func (c *Cluster) Recover(settings ...string) error {
	file := filepath.Join(c.Dir, "postgresql.auto.conf")
	text, err := os.ReadFile(file) //nolint:gosec // of the tests' own cluster
	if err != nil {
		return err
	}
	text = append(text, []byte(strings.Join(settings, "\n")+"\n")...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	return c.signal("recovery.signal")
}

func (c *Cluster) signal(name string) error { return c.WriteFile(name, nil) }

// WriteFile writes a file of the server's own into its folder.
func (c *Cluster) WriteFile(name string, text []byte) error {
	path := filepath.Join(c.Dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil || c.as == nil {
		return err
	}
	return os.Chown(path, int(c.as.Uid), int(c.as.Gid))
}

// Bouncer starts a PgBouncer in transaction mode before the server, and returns the address
// of the same database through it. It ends with the cluster.
func (c *Cluster) Bouncer(program string) (url string, err error) {
	config := filepath.Join(c.Socket, "bouncer.ini")
	text := "[databases]\npostgres = host=" + c.Socket + " port=5432 dbname=postgres user=masspay\n" +
		"[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = " + c.Socket + "\nauth_type = any\npool_mode = transaction\nmax_client_conn = 1000\ndefault_pool_size = 100\n" +
		"logfile = " + c.Socket + "/bouncer.log\npidfile = " + c.Socket + "/bouncer.pid\nunix_socket_mode = 0777\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil { //nolint:gosec // it holds no secret
		return "", err
	}
	cmd := exec.CommandContext(context.Background(), program, config) //nolint:gosec // PgBouncer
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: c.as}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	c.bouncer = cmd
	for range 200 {
		if exists(filepath.Join(c.Socket, ".s.PGSQL.6432")) {
			return "postgres://masspay@/postgres?host=" + c.Socket + "&port=6432", nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return "", errors.New("pgbouncer does not listen")
}

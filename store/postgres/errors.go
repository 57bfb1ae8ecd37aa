package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"masspay/store"
)

// plain turns an error of the database into one of the store's: what is likely to pass is
// store.ErrBusy.
func (s *Store) plain(ctx context.Context, err error) error {
	if err == nil || known(err) {
		return err
	}
	if errors.Is(context.Cause(ctx), errPatience) {
		return &store.DatabaseError{Why: fmt.Sprintf("did not answer within %v", s.o.wait())}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return s.ofServer(pg)
	}
	if strings.Contains(err.Error(), "refused TLS") || strings.Contains(err.Error(), "x509:") || strings.Contains(err.Error(), "tls: ") {
		return &store.ConfigError{Why: "the database and this machine do not agree on TLS: " + plainText(err), Hint: "the server needs a certificate for the name in store.url, and this machine its root (sslrootcert=FILE in store.url)"}
	}
	if unreachable(err) {
		return &store.DatabaseError{Why: "cannot be reached (" + plainText(err) + ")"}
	}
	return err
}

// known reports whether an error is the store's own already.
func known(err error) bool {
	for _, is := range []error{
		store.ErrBusy, store.ErrMissing, store.ErrKey, store.ErrNewer, store.ErrOlder, store.ErrFenced, store.ErrRestored,
		store.ErrDamaged, store.ErrNoBatch, store.ErrLoaded, store.ErrDuplicateID, store.ErrTooManyReports, store.ErrNoPayout,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	var conflict *store.ConflictError
	var retry *store.RetryError
	var held *store.HeldError
	var config *store.ConfigError
	var series *store.SeriesError
	if errors.As(err, &series) {
		return true
	}
	return errors.As(err, &conflict) || errors.As(err, &retry) || errors.As(err, &held) || errors.As(err, &config)
}

// unreachable reports whether an error is that of a connection.
func unreachable(err error) bool {
	var network net.Error
	var failed *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &failed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "closed pool") || pgconn.SafeToRetry(err)
}

// ofServer says what a server's error means; the codes are those of PostgreSQL's appendix A.
func (s *Store) ofServer(pg *pgconn.PgError) error {
	switch pg.Code {
	case "40P01", "40001", "55P03", "57014", "25P03", "53300", "57P01", "57P02", "57P03", "23505":
		return &store.DatabaseError{Why: "is busy (" + pg.Message + ")"}
	case "25006":
		return &store.DatabaseError{Why: "takes no changes (" + pg.Message + "): it is a replica, or read-only"}
	case "28P01", "28000":
		return &store.ConfigError{Why: "the database refuses the login: " + pg.Message, Hint: "store.url names the user, and store.password_file (or MASSPAY_STORE_PASSWORD_FILE) the file with the password of that user"}
	case "3D000":
		return &store.ConfigError{Why: "the server has no such database: " + pg.Message, Hint: "createdb, as its administrator; then masspay init"}
	case "42P01", "3F000":
		return &store.ConfigError{Why: "the database has no store of masspay (schema " + s.o.Schema + ")", Hint: "if store.url names the right database, and nothing was ever sent from it: masspay init, as the owner of the database"}
	case "42704":
		return &store.ConfigError{Why: pg.Message, Hint: "as the administrator of the database: createuser and its name"}
	case "42501":
		return &store.ConfigError{Why: "the database does not let this user do that: " + pg.Message, Hint: "with the store.url of the owner of its tables: masspay init --grant ROLE, with the name of the role that masspay runs as"}
	}
	if strings.HasPrefix(pg.Code, "08") {
		return &store.DatabaseError{Why: "is busy (" + pg.Message + ")"}
	}
	return fmt.Errorf("the database says: %s (code %s)", pg.Message, pg.Code)
}

// plainText is the last part of an error's text: those before it name files, addresses and
// what was called.
func plainText(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && i+2 < len(text) {
		return text[i+2:]
	}
	return text
}

package payfile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"masspay/payout"
	"masspay/store"
)

// Sidecar are control totals in a file of their own beside the file of payouts, written by
// whoever made that: they hold whenever they are there.
//
//	rows 50
//	total 103653.75KGS
//	sha256 26afb91b...
//	series payroll 27
//
// total once for each currency; any line may be left out, none be there twice.
type Sidecar struct {
	Name   string // base name
	Rows   int    // 0: not said
	Totals []payout.Amount
	ID     string // SHA-256 of the file, in hex; "": not said
	Series *store.Series
}

// SidecarName is the name of a file's sidecar.
func SidecarName(path string) string { return path + ".ctl" }

// maxSidecar is how long a sidecar may be, in bytes.
const maxSidecar = 4 << 10

// OpenSidecar reads the sidecar of a file. It returns an error that wraps fs.ErrNotExist
// where there is none, and a *FileError for one that cannot be read as one.
func OpenSidecar(path string) (*Sidecar, error) {
	name := SidecarName(path)
	if path == "-" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist} // nothing lies beside it
	}
	text, err := ReadSmall(name, maxSidecar)
	if errors.Is(err, ErrNotSmall) {
		return nil, &FileError{Name: filepath.Base(name), Problems: []Problem{{Text: err.Error(), structure: true}}, Count: 1}
	}
	if err != nil {
		return nil, err
	}
	s := &Sidecar{Name: filepath.Base(name)}
	if problems := s.parse(string(text)); len(problems) > 0 {
		return nil, &FileError{Name: s.Name, Problems: problems, Count: len(problems)}
	}
	return s, nil
}

func (s *Sidecar) parse(text string) (problems []Problem) {
	bad := func(line int, format string, args ...any) {
		problems = append(problems, Problem{Line: line, Text: fmt.Sprintf(format, args...), structure: true})
	}
	line := 0
	for l := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) { // as editors put before a text
		line++
		word, value, _ := strings.Cut(strings.TrimSpace(l), " ")
		value = strings.TrimSpace(value)
		switch word {
		case "":
		case "rows":
			n, err := strconv.Atoi(value)
			switch {
			case err != nil || n < 1 || strconv.Itoa(n) != value:
				bad(line, "rows: want how many rows the file has, as in rows 50")
			case s.Rows != 0:
				bad(line, "rows is there twice")
			}
			s.Rows = n
		case "total":
			a, err := payout.ParseTotal(value)
			switch {
			case err != nil:
				bad(line, "total: %v", err)
			case amountIn(s.Totals, a.Currency) != nil:
				bad(line, "the total in %s is there twice", a.Currency)
			}
			s.Totals = append(s.Totals, a)
		case "sha256":
			sum, err := hex.DecodeString(value)
			switch {
			case err != nil || len(sum) != 32:
				bad(line, "sha256: want 64 hexadecimal digits, as sha256sum writes them")
			case s.ID != "":
				bad(line, "sha256 is there twice")
			}
			s.ID = strings.ToLower(value)
		case "series":
			is, err := ParseSeries(value)
			switch {
			case err != nil:
				bad(line, "%v", err)
			case s.Series != nil:
				bad(line, "series is there twice")
			}
			s.Series = is
		default:
			bad(line, "unknown control total: want rows, total, sha256 or series")
		}
	}
	if len(problems) == 0 && s.Rows == 0 && s.Totals == nil && s.ID == "" && s.Series == nil {
		bad(0, "there is nothing in it: want rows, total, sha256 or series")
	}
	return problems
}

// ParseSeries reads a series and a number: payroll 27.
func ParseSeries(text string) (*store.Series, error) {
	wrong := errors.New("series: want a name of letters, digits and ._- and a number from 1, as in series payroll 27")
	name, number, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(number, 10, 63)
	const longest = 64
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != number || name == "" || len(name) > longest {
		return nil, wrong
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c) {
			return nil, wrong
		}
	}
	return &store.Series{Name: name, Number: n}, nil
}

func amountIn(list []payout.Amount, currency string) *payout.Amount {
	for i := range list {
		if list[i].Currency == currency {
			return &list[i]
		}
	}
	return nil
}

// String is the sidecar as it is written.
func (s *Sidecar) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rows %d\n", s.Rows)
	for _, a := range s.Totals {
		fmt.Fprintf(&b, "total %s\n", a.Total())
	}
	fmt.Fprintf(&b, "sha256 %s\n", s.ID)
	return b.String()
}

// Sidecar are the control totals of a checked file.
func (k *Checked) Sidecar() *Sidecar { return &Sidecar{Rows: k.Rows, Totals: k.Totals, ID: k.ID} }

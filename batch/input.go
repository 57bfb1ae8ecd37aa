package batch

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/wlynxg/chardet"
)

// Input is a file of payouts that can be read more than once.
type Input struct {
	Name string // base name, "stdin" for standard input
	f    *os.File
}

// OpenInput opens a file. Standard input is "-": it is copied to a file that
// has no name and that nobody else can read.
func OpenInput(path string, stdin io.Reader) (*Input, error) {
	if path == "-" {
		return spool(stdin)
	}
	f, err := os.Open(path) //nolint:gosec // the file that the user asked for
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	}
	if err == nil && !st.Mode().IsRegular() {
		// A pipe can be read once only.
		in, err := spool(f)
		if in != nil {
			in.Name = filepath.Base(path)
		}
		return in, errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.Size() > maxFile {
		return nil, errors.Join(tooLarge(filepath.Base(path)), f.Close())
	}
	return &Input{Name: filepath.Base(path), f: f}, nil
}

// maxFile is how large a file may be: some 40 million rows. What is larger is sparse,
// endless, or no file of payouts.
const maxFile = 4 << 30

func tooLarge(name string) error {
	p := Problem{Text: "the file is larger than 4 GB: is it a file of payouts? Divide it", structure: true, fatal: true}
	return &FileError{Name: name, Problems: []Problem{p}, Count: 1}
}

func spool(r io.Reader) (*Input, error) {
	f, err := os.CreateTemp("", "masspay-*.csv") // mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("standard input: %w", err), f.Close())
	}
	if n > maxFile {
		return nil, errors.Join(tooLarge("stdin"), f.Close())
	}
	return &Input{Name: "stdin", f: f}, nil
}

// Size is how many bytes the file has, 0 where that cannot be told.
func (in *Input) Size() int64 {
	st, err := in.f.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// last is the file's last byte; 0 for an empty file.
func (in *Input) last() (byte, error) {
	size := in.Size()
	if size == 0 {
		return 0, nil
	}
	var b [1]byte
	_, err := in.f.ReadAt(b[:], size-1)
	return b[0], err
}

// Close closes the file.
func (in *Input) Close() error { return in.f.Close() }

// ID reads the whole file and returns its SHA-256 in hex, by which a batch is
// known.
func (in *Input) ID() (string, error) {
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, in.f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// text starts reading the file from its beginning.
func (in *Input) text() (*text, error) {
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	h := sha256.New()
	t := &text{name: in.Name, hash: h, sum: func() string { return hex.EncodeToString(h.Sum(nil)) }, line: 1}
	t.r = bufio.NewReaderSize(in.f, 64<<10)
	head, err := t.r.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if text := notCSV(head); text != "" {
		return nil, &Problem{Text: text, structure: true, fatal: true}
	}
	if bytes.HasPrefix(head, bom) {
		_, _ = t.r.Discard(len(bom)) // was just peeked at
		h.Write(bom)
		t.bom = true
	}
	return t, nil
}

var bom = []byte("\xef\xbb\xbf")

func (p *Problem) Error() string { return p.String() }

// notCSV recognizes what people hand in instead of a CSV file.
func notCSV(head []byte) string {
	lower := strings.ToLower(string(bytes.TrimSpace(bytes.TrimPrefix(head, bom))))
	starts := func(magic ...string) bool {
		for _, m := range magic {
			if strings.HasPrefix(string(head), m) {
				return true
			}
		}
		return false
	}
	switch {
	case lower == "":
		return "the file is empty"
	case starts("\xff\xfe", "\xfe\xff"), looksUTF16(head):
		return "the file is UTF-16, not UTF-8: save it as \"CSV UTF-8\""
	case starts("PK\x03\x04"):
		return "this is a spreadsheet (.xlsx) or a zip file, not CSV: save the sheet as \"CSV UTF-8\""
	case starts("\xd0\xcf\x11\xe0"):
		return "this is a spreadsheet (.xls), not CSV: save the sheet as \"CSV UTF-8\""
	case starts("\x1f\x8b", "BZh", "\xfd7zXZ", "7z\xbc\xaf", "\x28\xb5\x2f\xfd"):
		return "this is a compressed file, not CSV: unpack it first"
	case starts("%PDF"):
		return "this is a PDF file, not CSV"
	case strings.HasPrefix(lower, "<!doctype"), strings.HasPrefix(lower, "<html"), strings.HasPrefix(lower, "<?xml"):
		return "this is HTML or XML, not CSV: perhaps a login or error page was saved instead of the file"
	case strings.HasPrefix(lower, "{"), strings.HasPrefix(lower, "["):
		return "this is JSON, not CSV"
	case looksBinary(head):
		return "this is a binary file, not CSV"
	}
	return ""
}

// looksUTF16 finds UTF-16 without a byte order mark: every other byte is zero.
func looksUTF16(head []byte) bool {
	n := min(len(head), 64) / 2 * 2
	if n < 8 {
		return false
	}
	even, odd := 0, 0
	for i := 0; i < n; i += 2 {
		if head[i] == 0 {
			even++
		}
		if head[i+1] == 0 {
			odd++
		}
	}
	return even > n/4 && odd == 0 || odd > n/4 && even == 0
}

// looksBinary counts bytes that no text has, other than NUL, which gets its line.
func looksBinary(head []byte) bool {
	odd := 0
	for _, c := range head {
		if c < 9 && c != 0 || c > 13 && c < 32 && c != 27 {
			odd++
		}
	}
	return odd > len(head)/20
}

// text hands on the file's bytes while it hashes them, counts lines, and stops
// at the first that is not UTF-8 or is NUL. A record that does not end is
// stopped too, before it fills the memory.
type text struct {
	name string
	r    *bufio.Reader
	hash io.Writer
	sum  func() string
	bom  bool

	line      int    // of the next byte
	carry     []byte // the beginning of a character, of which the rest is to come
	handed    int64
	recordAt  int64 // offset at which the record under way begins
	recordTop int   // its line
}

// maxRecord is how long one row may be. Real rows have some hundred bytes; a
// longer one is a quote that was never closed.
const maxRecord = 256 << 10

func (t *text) Read(p []byte) (int, error) {
	if t.handed-t.recordAt > maxRecord+64<<10 {
		return 0, &Problem{Line: t.recordTop, Text: fmt.Sprintf("this row is longer than %d KiB: a quote (\") may open here and never close", maxRecord>>10), structure: true, fatal: true}
	}
	n, err := t.r.Read(p)
	_, _ = t.hash.Write(p[:n]) // a hash never fails
	t.handed += int64(n)
	if bad := t.inspect(p[:n], errors.Is(err, io.EOF)); bad != nil {
		return 0, bad
	}
	return n, err
}

// rest reads to the end, so that the hash covers the whole file.
func (t *text) rest() error {
	_, err := io.Copy(t.hash, t.r)
	return err
}

func (t *text) inspect(chunk []byte, end bool) *Problem {
	data := chunk
	if len(t.carry) > 0 {
		data = slices.Concat(t.carry, chunk)
		t.carry = nil
	}
	whole := len(data) - partial(data)
	if !end {
		t.carry = append([]byte(nil), data[whole:]...)
	} else {
		whole = len(data)
	}
	if utf8.Valid(data[:whole]) && bytes.IndexByte(data[:whole], 0) < 0 {
		t.line += bytes.Count(data[:whole], []byte{'\n'})
		return nil
	}
	for i := 0; i < whole; {
		r, size := utf8.DecodeRune(data[i:whole])
		switch {
		case r == 0:
			return &Problem{Line: t.line, Text: "the line has a NUL byte: the file is damaged or not text; export it again", structure: true, fatal: true}
		case r == utf8.RuneError && size <= 1:
			return &Problem{Line: t.line, Text: t.encoding(data[i:]), structure: true, fatal: true}
		case r == '\n':
			t.line++
		}
		i += size
	}
	return nil
}

// partial is the length of an unfinished character at the end.
func partial(b []byte) int {
	for n := 1; n <= min(3, len(b)); n++ {
		c := b[len(b)-n]
		if utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// encoding suggests what the file may be written in. It converts nothing: a
// wrong guess would pay a wrong name.
func (t *text) encoding(sample []byte) string {
	rest, _ := t.r.Peek(32 << 10) // whatever there is
	sample = append(append([]byte(nil), sample...), rest...)
	guess := ""
	if d := chardet.Detect(sample); d.Encoding != "" && d.Confidence > 0.2 && !strings.HasPrefix(strings.ToLower(d.Encoding), "utf") && !strings.EqualFold(d.Encoding, "ascii") {
		guess = " (it looks like " + d.Encoding + ")"
	}
	return "not UTF-8" + guess + ": save the file as \"CSV UTF-8\"; masspay converts nothing by itself, because a wrong guess pays a wrong name"
}

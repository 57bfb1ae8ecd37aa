package payfile

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/wlynxg/chardet"
)

var bom = []byte("\xef\xbb\xbf")

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

// notText finds the first byte that is no text, and returns what is wrong there with its
// line; nil: there is none.
func notText(p piece) *Problem {
	if utf8.Valid(p.text) && bytes.IndexByte(p.text, 0) < 0 {
		return nil
	}
	line := p.line
	for i := 0; i < len(p.text); {
		r, size := utf8.DecodeRune(p.text[i:])
		switch {
		case r == 0:
			return &Problem{Line: line, Text: "the line has a NUL byte: the file is damaged or not text; export it again", structure: true, fatal: true}
		case r == utf8.RuneError && size <= 1:
			return &Problem{Line: line, Text: wrongEncoding(p.text[i:]), structure: true, fatal: true}
		case r == '\n':
			line++
		}
		i += size
	}
	return nil
}

// wrongEncoding suggests what a text that is not UTF-8 may be written in. It converts
// nothing: a wrong guess would pay a wrong name.
func wrongEncoding(sample []byte) string {
	guess := ""
	const enough = 32 << 10
	if d := chardet.Detect(sample[:min(len(sample), enough)]); d.Encoding != "" && d.Confidence > 0.2 &&
		!strings.HasPrefix(strings.ToLower(d.Encoding), "utf") && !strings.EqualFold(d.Encoding, "ascii") {
		guess = " (it looks like " + d.Encoding + ")"
	}
	return "not UTF-8" + guess + ": save the file as \"CSV UTF-8\"; masspay converts nothing by itself, because a wrong guess pays a wrong name"
}

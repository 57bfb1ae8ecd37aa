package transport

import "bytes"

// parsePlainResponse reads an answer in the form that nearly all have: HTTP/1.1, a body of
// an announced length that is all here, nothing said of the connection but that it
// is kept, and n bytes in all. Whatever is not quite so, or could be read in two ways, is not ok and
// is left to net/http, which would read the same out of what is.
func parsePlainResponse(b []byte) (res Response, n int, ok bool) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return res, 0, false
	}
	status, fields, _ := bytes.Cut(b[:end], []byte("\r\n"))
	if res.Status, ok = plainStatus(status); !ok {
		return res, 0, false
	}
	length, seen := -1, [...]bool{false, false}
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, ok := plainField(field)
		if !ok {
			return res, 0, false
		}
		switch {
		case is(name, "content-length"):
			if length >= 0 {
				return res, 0, false
			}
			if length, ok = plainLength(value); !ok {
				return res, 0, false
			}
		case is(name, "content-type"):
			if seen[0] {
				return res, 0, false
			}
			seen[0], res.ContentType = true, plainType(value)
		case is(name, "retry-after"):
			if seen[1] {
				return res, 0, false
			}
			seen[1], res.RetryAfter = true, string(value)
		case is(name, "connection"):
			if !is(value, "keep-alive") {
				return res, 0, false
			}
		case is(name, "transfer-encoding"), is(name, "trailer"), is(name, "upgrade"):
			return res, 0, false
		}
	}
	end += len("\r\n\r\n")
	if length < 0 || len(b)-end < length {
		return res, 0, false
	}
	res.Body = string(b[end : end+length])
	return res, end + length, true
}

// plainStatus reads a status line. Answers that are none yet (1xx), and those that
// have no body whatever they announce, are not plain.
func plainStatus(b []byte) (int, bool) {
	const version = "HTTP/1.1 "
	if len(b) < len(version)+len("200 ") || string(b[:len(version)]) != version || !isPrintable(b) {
		return 0, false
	}
	b = b[len(version):]
	if b[0] < '2' || b[0] > '9' || !isDigit(b[1]) || !isDigit(b[2]) || b[3] != ' ' {
		return 0, false
	}
	status := int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0')
	return status, status != 204 && status != 304
}

// plainField reads a header's line: a name of letters, digits and hyphens, and a
// value of printable characters.
func plainField(b []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(b, ':')
	if colon <= 0 {
		return nil, nil, false
	}
	for _, c := range b[:colon] {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' {
			return nil, nil, false
		}
	}
	value = bytes.Trim(b[colon+1:], " ")
	return b[:colon], value, isPrintable(value)
}

func plainLength(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > len("1048576") {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= MaxAnswer
}

// plainType is the text of a media type, without a new string for the one that
// gates speak.
func plainType(b []byte) string {
	const usual = "application/json"
	if string(b) == usual {
		return usual
	}
	return string(b)
}

// isPrintable reports whether all characters are ASCII's that can be seen, or spaces.
func isPrintable(text []byte) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// is compares a name with one of lower case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

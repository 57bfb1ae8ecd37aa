package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"iter"
	"runtime"
	"sync"
	"unicode/utf8"
)

// This file reads a file that has nothing wrong with it in pieces, on all cores.
// It judges nothing: whatever it does not like is errUnclean, and then the file
// is read row by row, by those who can say what is wrong.

// errUnclean says that a file must be read row by row.
var errUnclean = errors.New("the file must be read row by row")

// chunkSize is how many bytes of whole rows are worked on at once.
const chunkSize = 128 << 10

// chunk is a piece of a file that begins and ends with a row.
type chunk struct {
	line int // on which it begins
	text []byte
}

// chunks cuts a file into pieces behind its header, and hashes it.
type chunks struct {
	in        *Input
	columns   int
	delimiter rune
	hash      hash.Hash
}

func (in *Input) chunks(columns int, delimiter rune) *chunks {
	return &chunks{in: in, columns: columns, delimiter: delimiter, hash: sha256.New()}
}

// sum is the file's SHA-256, once it was read to its end.
func (c *chunks) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// all yields the chunks in order. A row ends at a line's end with an even number
// of quotes before it.
func (c *chunks) all(ctx context.Context) iter.Seq2[chunk, error] {
	return func(yield func(chunk, error) bool) {
		if _, err := c.in.f.Seek(0, io.SeekStart); err != nil {
			yield(chunk{}, err)
			return
		}
		line, header := 1, true
		var rest []byte
		for end := false; !end; {
			buf := make([]byte, len(rest)+chunkSize)
			n, err := io.ReadFull(c.in.f, buf[copy(buf, rest):])
			end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
			if err != nil && !end {
				yield(chunk{}, err)
				return
			}
			c.hash.Write(buf[len(rest) : len(rest)+n])
			buf = buf[:len(rest)+n]
			cut := rowsEnd(buf)
			if end {
				cut = len(buf)
			}
			if cut == 0 && len(buf) > maxRecord || ctx.Err() != nil {
				yield(chunk{}, errors.Join(errUnclean, ctx.Err()))
				return
			}
			text := buf[:cut]
			rest = buf[cut:]
			if header && cut > 0 {
				first := bytes.IndexByte(text, '\n') + 1
				if first == 0 || bytes.IndexByte(text[:first], '"') >= 0 || bytes.HasPrefix(text, bom) {
					yield(chunk{}, errUnclean)
					return
				}
				text, line, header = text[first:], 2, false
			}
			if len(text) > 0 && !yield(chunk{line: line, text: text}, nil) {
				return
			}
			line += bytes.Count(text, []byte{'\n'})
		}
	}
}

// rowsEnd is the end of the last whole row, 0 if there is none.
func rowsEnd(b []byte) int {
	end := bytes.LastIndexByte(b, '\n') + 1
	if bytes.IndexByte(b, '"') < 0 {
		return end
	}
	for open := bytes.Count(b[:end], []byte{'"'})%2 == 1; open && end > 0; {
		before := bytes.LastIndexByte(b[:end-1], '\n') + 1
		open = bytes.Count(b[before:end], []byte{'"'})%2 == 0
		end = before
	}
	return end
}

// rows reads a chunk's rows. The cells are new with each row, the slice is not
// kept by whoever is called.
func (c *chunks) rows(k chunk, do func(row) error) error {
	if !utf8.Valid(k.text) || bytes.IndexByte(k.text, 0) >= 0 {
		return errUnclean
	}
	r := newReader(bytes.NewReader(k.text), c.delimiter)
	r.FieldsPerRecord = c.columns
	r.ReuseRecord = true
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return errUnclean
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if err := do(row{line: k.line + line - 1, cells: cells}); err != nil {
			return err
		}
	}
}

// inOrder works on chunks on all cores, each with a hand of its own, and yields what
// came of them in their order. It stops, and has stopped when it returns, with the first error or when
// the caller does; few results wait at a time.
func inOrder[T any](ctx context.Context, from iter.Seq2[chunk, error], hire func() func(chunk) (T, error)) iter.Seq2[T, error] {
	type result struct {
		value T
		err   error
	}
	type job struct {
		chunk
		done chan result
	}
	return func(yield func(T, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		var hands sync.WaitGroup
		defer hands.Wait()
		defer stop()
		workers := runtime.GOMAXPROCS(0)
		jobs, ordered := make(chan job), make(chan job, 2*workers)
		hands.Go(func() {
			defer close(ordered)
			defer close(jobs)
			for k, err := range from {
				j := job{chunk: k, done: make(chan result, 1)}
				if err != nil {
					j.done <- result{err: err}
				}
				select {
				case ordered <- j:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
				select {
				case jobs <- j:
				case <-ctx.Done():
					return
				}
			}
		})
		for range workers {
			work := hire()
			hands.Go(func() {
				for j := range jobs {
					v, err := work(j.chunk)
					j.done <- result{v, err}
				}
			})
		}
		for j := range ordered {
			var r result
			select {
			case r = <-j.done:
			case <-ctx.Done():
				r.err = ctx.Err()
			}
			if !yield(r.value, r.err) || r.err != nil {
				return
			}
		}
		// Dangerous to leave out: what was cut short must not look whole.
		if err := ctx.Err(); err != nil {
			var none T
			yield(none, err)
		}
	}
}

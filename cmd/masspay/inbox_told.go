package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// sayAgainAfter is how long a file of the inbox that stays as it is counts as told; aloneFor is
// how long one is left alone before that is told.
const (
	sayAgainAfter = 12 * time.Hour
	aloneFor      = 30 * time.Minute
)

// stayed is a file that stays in the inbox, and how its last run ended when that was told. Code 0:
// it was seen, and is left alone.
type stayed struct {
	Code int       `json:"exit_code"`
	At   time.Time `json:"at"`
}

// toldFiles keeps which files stay in an inbox, so that a timer that looks every five minutes tells
// of each once, and once more when it ends otherwise, or half a day later. By the SHA-256 of the file.
type toldFiles struct {
	path        string
	before, now map[string]stayed
}

// readTold reads what was told. One that cannot be read has told nothing.
func readTold(folder string) *toldFiles {
	t := &toldFiles{path: filepath.Join(folder, inboxTold), before: map[string]stayed{}, now: map[string]stayed{}}
	if text, err := os.ReadFile(t.path); err == nil && json.Unmarshal(text, &t.before) != nil {
		clear(t.before)
	}
	return t
}

// news notes that a file stays, and reports whether that is to be told.
func (t *toldFiles) news(id string, code int, at time.Time) bool {
	was, known := t.before[id]
	if known && was.Code == code && at.Sub(was.At) >= 0 && at.Sub(was.At) < sayAgainAfter {
		t.now[id] = was
		return false
	}
	t.now[id] = stayed{Code: code, At: at}
	return true
}

// leftAlone notes that a file is not taken up, and reports whether that is to be told: what else it
// needs should be there by now, and without it no one is paid.
func (t *toldFiles) leftAlone(id string, at time.Time) bool {
	was, known := t.before[id]
	switch {
	case known && was.Code != 0, known && at.Sub(was.At) >= aloneFor:
		return t.news(id, exitHeld, at)
	case known && !at.Before(was.At):
		t.now[id] = was
	default:
		t.now[id] = stayed{At: at}
	}
	return false
}

// write keeps what stays now; what does not stay any more is forgotten.
func (t *toldFiles) write() error {
	if len(t.now) == 0 {
		if err := os.Remove(t.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(t.now)
	if err != nil {
		return err
	}
	return renameio.WriteFile(t.path, append(text, '\n'), 0o600)
}

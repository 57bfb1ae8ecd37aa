package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A file that stays is told once in twelve hours, and at once when it ends otherwise; one that came
// back after it was away is another matter.
func TestToldFiles(t *testing.T) {
	t.Parallel()
	folder, at := t.TempDir(), time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	look := func(at time.Time, codes map[string]int) (news []string) {
		told := readTold(folder)
		for _, id := range []string{"a", "b"} {
			if code, stays := codes[id]; stays && told.news(id, code, at) {
				news = append(news, id)
			}
		}
		require.NoError(t, told.write())
		return news
	}
	held := map[string]int{"a": exitHeld, "b": exitOpen}
	require.Equal(t, []string{"a", "b"}, look(at, held))
	require.Empty(t, look(at.Add(5*time.Minute), held))
	require.Empty(t, look(at.Add(11*time.Hour), held))
	require.Equal(t, []string{"a", "b"}, look(at.Add(12*time.Hour), held))
	require.Equal(t, []string{"b"}, look(at.Add(12*time.Hour+time.Minute), map[string]int{"a": exitHeld, "b": exitHeld}))
	require.Empty(t, look(at.Add(13*time.Hour), map[string]int{"b": exitHeld}))
	require.Equal(t, []string{"a"}, look(at.Add(13*time.Hour+time.Minute), map[string]int{"a": exitHeld, "b": exitHeld}), "it was away")
	require.Equal(t, []string{"a", "b"}, look(at, map[string]int{"a": exitHeld, "b": exitHeld}), "a clock that was set back says nothing")
	require.Empty(t, look(at, nil))
	require.NoFileExists(t, filepath.Join(folder, inboxTold))
	require.NoError(t, os.WriteFile(filepath.Join(folder, inboxTold), []byte("{"), 0o600))
	require.Equal(t, []string{"b"}, look(at, map[string]int{"b": exitOpen}), "what cannot be read has told nothing")
}

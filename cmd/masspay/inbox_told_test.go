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

// A file that is left alone is told after half an hour, and then as one that stays.
func TestToldLeftAlone(t *testing.T) {
	t.Parallel()
	folder, at := t.TempDir(), time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	look := func(after time.Duration) bool {
		told := readTold(folder)
		news := told.leftAlone("a", at.Add(after))
		require.NoError(t, told.write())
		return news
	}
	for _, after := range []time.Duration{0, 5 * time.Minute, 29 * time.Minute} {
		require.False(t, look(after), after)
	}
	require.True(t, look(30*time.Minute))
	require.False(t, look(35*time.Minute))
	require.False(t, look(12*time.Hour+29*time.Minute))
	require.True(t, look(12*time.Hour+30*time.Minute))
	require.NoError(t, os.Remove(filepath.Join(folder, inboxTold)))
	require.False(t, look(10*time.Minute))
	require.False(t, look(0), "a clock that was set back begins anew")
	require.False(t, look(29*time.Minute))
	require.True(t, look(31*time.Minute))
}

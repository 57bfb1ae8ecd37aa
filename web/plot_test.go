package web

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"masspay/store"
)

var update = flag.Bool("update", false, "write what pages and plots are now as what they are to be")

// golden holds a text against what it is to be.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test ./web -update writes it")
	require.Equal(t, string(want), got, "go test ./web -update writes what is right now")
}

// night is three hours in which a gate was away for a while.
func night() (minutes []store.Minute) {
	begun := time.Date(2026, 11, 27, 1, 59, 0, 0, time.UTC)
	for i := range 180 {
		m := store.Minute{At: begun.Add(time.Duration(i) * time.Minute)}
		wave := int64(800 + 200*math.Sin(float64(i)/9))
		switch {
		case i >= 60 && i < 75:
			m.Flow[store.InDoubt] = 40
		case i < 150:
			m.Flow[store.Accepted], m.Flow[store.Refused] = wave, int64(i%7)
		}
		if i > 2 {
			m.Flow[store.Paid] = wave * 9 / 10
		}
		if i == 100 {
			continue // nothing at all
		}
		counts, _ := m.Histogram(store.AnswerTimes)
		counts[i%4], counts[5] = wave, 20
		counts, _ = m.Histogram(store.OutcomeTimes)
		counts[2], counts[4] = wave, 90
		minutes = append(minutes, m)
	}
	return minutes
}

// What a night looks like, in both languages.
func TestPlots(t *testing.T) {
	t.Parallel()
	for _, lang := range languages {
		v := &view{words: wordsFor(lang, ""), Zone: time.UTC}
		plots := plotsOf(night())
		require.Len(t, plots, 4)
		var b strings.Builder
		for _, p := range plots {
			require.False(t, p.Short())
			b.WriteString(strings.ReplaceAll(string(p.SVG(v)), "><", ">\n<") + "\n")
		}
		b.WriteString(string(spark(v, night())) + "\n")
		golden(t, lang+"-plots.svg.txt", b.String())
	}
	require.Empty(t, plotsOf(nil))
	require.Empty(t, spark(&view{words: wordsFor("en", "")}, nil))
	one := plotsOf(night()[:2])
	require.True(t, one[0].Short())
	require.Len(t, one[0].Rows(), 2)
}

// Minutes are grouped until they are no more than there is room for, and none is lost.
func TestSteps(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 27, 1, 59, 0, 0, time.UTC)
	for _, tt := range []struct {
		span time.Duration
		n    int
		each time.Duration
	}{
		{0, 1, time.Minute}, {time.Minute, 2, time.Minute}, {4 * time.Hour, 121, 2 * time.Minute}, {24 * time.Hour, 97, 15 * time.Minute}, {7 * 24 * time.Hour, 169, time.Hour}, {60 * 24 * time.Hour, 61, 24 * time.Hour},
		{400 * 24 * time.Hour, mostBars, 24 * time.Hour},
	} {
		first, last := store.Minute{At: at}, store.Minute{At: at.Add(tt.span)}
		first.Flow[store.Accepted], last.Flow[store.Accepted] = 1, 2
		minutes := []store.Minute{first}
		if tt.span > 0 {
			minutes = append(minutes, last)
		}
		all, each := stepsOf(minutes, mostBars)
		require.Equal(t, []any{tt.n, tt.each}, []any{len(all), each}, tt.span)
		if tt.span > 0 {
			require.Equal(t, int64(2), all[len(all)-1].Answers(), tt.span)
		}
		for i := range all[1:] {
			require.Equal(t, each, all[i+1].At.Sub(all[i].At))
		}
	}
}

var momentPattern = regexp.MustCompile(`20\d\d-\d\d-\d\d(T[\d:]+Z)?|\d{1,2} [A-Z][a-z]{2} 20\d\d|\d\d\.\d\d\.20\d\d|\d\d:\d\d(:\d\d)?`)

// What pages say, in both languages: whoever changes a word sees all that it changes.
func TestGoldenPages(t *testing.T) {
	t.Parallel()
	w := show(t, nil)
	for _, lang := range languages {
		var b strings.Builder
		for _, path := range []string{
			"/", "/batches/" + w.mixed.Short(), "/batches/" + w.held.Short(), "/batches/" + w.mixed.Short() + "/rows", "/payout?project=1234&id=mixed-000007", "/exceptions", "/exceptions?closed=1",
			"/runs", "/gate", "/callbacks", "/compare?a=" + w.mixed.Short() + "&b=" + w.held.Short(), "/find?id=x", "/settings", "/nowhere",
		} {
			_, body := w.get(t, path, lang)
			b.WriteString("== " + path + "\n" + momentPattern.ReplaceAllString(lines(body), "@") + "\n\n")
		}
		golden(t, lang+"-pages.txt", b.String())
	}
}

var blockPattern = regexp.MustCompile(`<(h1|h2|p|tr|li|dt|figcaption|label|summary|footer|title)[ >]`)

// lines are the words of a page, a line for each of its parts.
func lines(body string) string {
	body = blockPattern.ReplaceAllString(body, "\u2028$0")
	var out []string
	for _, l := range strings.Split(body, "\u2028") {
		if l = plain(l); l != "" {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

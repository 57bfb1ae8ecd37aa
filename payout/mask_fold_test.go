package payout

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A text that is left alone at a first look is one in which the cell would not be found.
func TestMayRepeat(t *testing.T) {
	t.Parallel()
	letters := rapid.SampledFrom([]rune("aAbBkK\u212asS\u017fßẞiIıİéÉжЖσΣς1234 .-_&"))
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(letters, 0, 12).Draw(t, "text"))
		cell := string(rapid.SliceOfN(letters, 1, 4).Draw(t, "cell"))
		words := strings.FieldsFunc(cell, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if len(words) == 0 || mayRepeat(text, words) {
			return
		}
		require.Equal(t, text, maskWords(text, cell, words, `[^\p{L}\p{N}]*`))
	})
	require.False(t, mayRepeat("Success", []string{"Aibek"}))
	require.True(t, mayRepeat("refused for AIBEK", []string{"Aibek"}))
	require.True(t, mayRepeat("paid by \u212aARL", []string{"karl"}))
}

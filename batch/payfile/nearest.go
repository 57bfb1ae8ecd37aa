package payfile

// Nearest finds the closest of some words within a distance, "" for none.
func Nearest(word string, words []string, within int) string {
	best := ""
	for _, w := range words {
		if d := distance(word, w, within); d <= within {
			best, within = w, d-1
		}
		if within < 0 {
			break
		}
	}
	return best
}

// distance is how many single-character edits lie between two words; beyond a
// limit it is only known to be more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := last
			if a[i] != b[j] {
				next = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

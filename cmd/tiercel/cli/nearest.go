package cli

import "slices"

// Nearest returns the candidate that name was most likely meant to be, or "" if none is near: within a third of its length by edits
// (Levenshtein). Of several the first in alphabetical order.
func Nearest(name string, candidates []string) string {
	best, dist := "", len(name)/3+2
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := edits(name, c, dist); d < dist {
			best, dist = c, d
		}
	}
	return best
}

// edits returns the edit distance of a and b, or limit if it is not below.
func edits(a, b string, limit int) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		low := row[0]
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diag+cost)
			low = min(low, row[j+1])
		}
		if low >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}

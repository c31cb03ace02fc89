// Package spell finds what a name that nobody knows was meant to be.
package spell

import "strings"

// Nearest returns the word nearest to name, without regard to case, or "" if none is within a third of its length (at least one) by
// insertions, deletions, replacements and swaps of neighbours. Of several the first in alphabetical order.
func Nearest(name string, words []string) string {
	best, bestDist := "", max(1, len(name)/3)+1
	for _, w := range words {
		if d := distance(name, w, bestDist); d < bestDist || d == bestDist && best != "" && w < best {
			best, bestDist = w, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b without regard to case, or limit+1 as soon as it is above limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, cur := rows[(i-1)%3], rows[i%3], rows[(i+1)%3]
		cur[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
			least = min(least, cur[j])
		}
		if least > limit {
			return limit + 1
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}

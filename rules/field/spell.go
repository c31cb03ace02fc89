package field

import "strings"

// Nearest returns the field whose name is nearest to name, or "" if none is near enough to be what was meant.
func Nearest(name string) string { return nearestOf(name, byName) }

// NearestEvent returns the event type whose name is nearest to name, or "".
func NearestEvent(name string) string { return nearestOf(name, eventByName) }

func nearestOf[V any](name string, names map[string]V) string {
	best, bestDist := "", max(1, len(name)/3)+1
	for n := range names {
		if d := distance(name, n, bestDist); d < bestDist || d == bestDist && best != "" && n < best {
			best, bestDist = n, d
		}
	}
	return best
}

// NearestOf returns the word nearest to name, or "" if none is near enough to be what was meant.
func NearestOf(name string, words []string) string {
	m := make(map[string]struct{}, len(words))
	for _, w := range words {
		m[w] = struct{}{}
	}
	return nearestOf(name, m)
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

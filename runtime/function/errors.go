package function

import (
	"fmt"
	"strings"
)

// A PosError is a problem at a known place in a Function document.
type PosError struct {
	File      string
	Line, Col int    // 1-based; Col counts runes; 0 means unknown
	Path      string // YAML path, as spec.triggers[0].rules
	Near      string // the known name nearest to an unknown one; may be empty
	Err       error
}

func (e *PosError) Error() string {
	var b strings.Builder
	if e.File != "" || e.Line != 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Col)
	}
	if e.Path != "" {
		fmt.Fprintf(&b, "%s: ", e.Path)
	}
	b.WriteString(e.Err.Error())
	if e.Near != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Near)
	}
	return b.String()
}

func (e *PosError) Unwrap() error { return e.Err }

// Nearest returns the candidate nearest to name by edit distance, or "" if none is near.
func Nearest(name string, candidates []string) string {
	best, bestDist := "", 1+len(name)/3
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c), bestDist); d <= bestDist && (best == "" || d < bestDist) {
			best, bestDist = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b, or anything above limit if it is above.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, cost)
		}
	}
	return row[len(b)]
}

package actioncmd

// around is how many unchanged lines are shown around a change.
const around = 2

// maxDiff bounds the lines that are compared; beyond it the new object is shown whole.
const maxDiff = 2000

// difference returns the lines of b with those that a does not have marked +, and those of a that b does not have marked -. Long runs
// of unchanged lines are left out.
func difference(a, b []string) []string {
	if len(a)+len(b) > maxDiff {
		a = nil
	}
	all := walk(a, b, common(a, b))
	keep := make([]bool, len(all))
	for i, l := range all {
		if l[0] == ' ' {
			continue
		}
		for k := max(0, i-around); k <= min(len(all)-1, i+around); k++ {
			keep[k] = true
		}
	}
	var out []string
	for i, l := range all {
		switch {
		case keep[i]:
			out = append(out, l)
		case i > 0 && keep[i-1]:
			out = append(out, "  …")
		}
	}
	return out
}

// common is the table of the longest common subsequences of all ends of a and b.
func common(a, b []string) [][]int {
	t := make([][]int, len(a)+1)
	for i := range t {
		t[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for k := len(b) - 1; k >= 0; k-- {
			if a[i] == b[k] {
				t[i][k] = t[i+1][k+1] + 1
			} else {
				t[i][k] = max(t[i+1][k], t[i][k+1])
			}
		}
	}
	return t
}

func walk(a, b []string, t [][]int) []string {
	var out []string
	i, k := 0, 0
	for i < len(a) || k < len(b) {
		switch {
		case i < len(a) && k < len(b) && a[i] == b[k]:
			out = append(out, "  "+a[i])
			i++
			k++
		case i < len(a) && (k == len(b) || t[i+1][k] >= t[i][k+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[k])
			k++
		}
	}
	return out
}

package match

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestAutomaton looks for random strings in random texts, with a dense table and without.
func TestAutomaton(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, 1+r.IntN(n))
		for i := range b {
			b[i] = "ab/."[r.IntN(4)]
		}
		return string(b)
	}
	for round := range 300 {
		var builder acBuilder
		words := make([]string, 1+r.IntN(70))
		for i := range words {
			words[i] = word(6)
			builder.add(words[i], 2).set(i)
		}
		a := builder.build(2)
		if a.table == nil {
			t.Fatal("no dense table for few short strings")
		}
		sparse := *a
		sparse.table = nil
		for range 20 {
			text := word(30)
			want := make(bitset, 2)
			for i, w := range words {
				if strings.Contains(text, w) {
					want.set(i)
				}
			}
			for _, auto := range []*automaton{a, &sparse} {
				got := make(bitset, 2)
				auto.lookup(text, got)
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("round %d: %q in %q: got %x, want %x", round, words, text, got, want)
				}
			}
		}
	}
}

func TestFnmatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "a/b", true},
		{"a*b*c", "a/x/b//c", true},
		{"a*b*c", "acb", false},
		{"?", "", false},
		{"?", "/", true},
		{"[a-c]x", "bx", true},
		{"[!a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{"[]]", "]", true},
		{"[a-]", "-", true},
		{"[a", "[a", true},
		{"[[:digit:]]", "7", true},
		{"[[:digit:]]", "x", false},
		{`\*`, "*", true},
		{`\*`, "x", false},
		{`a\`, `a\`, true},
		{"**a", "bba", true},
		{"*.log", "x.log", true},
		{"*.log", "x.logs", false},
		{"A", "a", false},
		{`[\]]`, "]", true},
	} {
		if got := fnmatch(tt.pattern, tt.s, false); got != tt.want {
			t.Errorf("%q, %q: got %v", tt.pattern, tt.s, got)
		}
	}
	if !fnmatch("A[b-c]*", "aCx", true) || fnmatch("A[b-c]*", "aDx", true) {
		t.Error("case is not folded as it should")
	}
}

func TestRequiredLiteral(t *testing.T) {
	for pattern, want := range map[string]string{
		"abc": "abc", ".*": "", "a+bcd?": "bc", "(abc)+x": "abc", "a|b": "", "/etc/.*[.]conf": "/etc/", "x{0,3}yz": "yz", "(a)(b)": "a", "": "",
	} {
		r, err := newRegex(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if r.literal != want {
			t.Errorf("%s: got %q, want %q", pattern, r.literal, want)
		}
	}
}

package filter

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// patternTest turns t, whose only string is a pattern of glob or iglob, into a test of what the pattern begins with, which is the cheapest; or
// else of what it ends with, or has in it. It returns nil if it has nothing that can be compared.
func patternTest(t *Test, op filter.Op) *Test {
	p := t.Strings[0]
	if strings.ContainsAny(p, `[\`) {
		return nil
	}
	i, j := strings.IndexAny(p, "*?"), strings.LastIndexAny(p, "*?")
	switch {
	case op == filter.IGlob:
		t.Op, t.Strings[0] = filter.IContains, longestRun(p)
	case i < 0 && t.Kind == Path:
		t.Op, t.Exact = filter.In, true
	case i < 0, t.Subject == Raw || i <= 1 && len(p)-j-1 < 2:
		t.Op, t.Strings[0] = filter.Contains, longestRun(p)
	case i > 1:
		t.Op, t.Strings[0] = filter.StartsWith, p[:i]
	default:
		t.Op, t.Strings[0] = filter.EndsWith, p[j+1:]
	}
	return t
}

// longestRun is the longest part of a pattern without wildcards.
func longestRun(p string) string {
	best := ""
	for _, run := range strings.FieldsFunc(p, func(r rune) bool { return r == '*' || r == '?' }) {
		if len(run) > len(best) {
			best = run
		}
	}
	return best
}

// regexTest turns t, whose only string is a regular expression, into a test of what all strings that match it begin with, or else have in
// them; nil if there is nothing like that.
func regexTest(t *Test) *Test {
	re, err := syntax.Parse(t.Strings[0], syntax.POSIX)
	if err != nil {
		return nil
	}
	prefix, best := literals(re)
	switch {
	case len(prefix) > 1 && len(prefix) <= maxName && t.Subject != Raw, len(prefix) > 1 && t.Kind == Path && t.Subject != Raw:
		t.Op, t.Strings[0] = filter.StartsWith, prefix
	case len(best) > 1:
		t.Op, t.Strings[0] = filter.Contains, best
	default:
		return nil
	}
	return t
}

// literals returns what every string that matches re whole begins with, and the longest text found that each has in it.
func literals(re *syntax.Regexp) (prefix, best string) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 && !slices.Contains(re.Rune, utf8.RuneError) { // that one also stands for bytes that are no UTF-8
			return string(re.Rune), string(re.Rune)
		}
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpConcat:
		first := true
		for _, sub := range re.Sub {
			if sub.Op == syntax.OpBeginLine || sub.Op == syntax.OpBeginText || sub.Op == syntax.OpEmptyMatch {
				continue
			}
			p, b := literals(sub)
			if first {
				prefix = p
			}
			if len(b) > len(best) {
				best = b
			}
			first = false
		}
	}
	return prefix, best
}

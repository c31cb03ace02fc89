package match

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// A regex is a regular expression in POSIX syntax that must match a whole string. A literal that every match contains is looked for first.
type regex struct {
	re      *regexp.Regexp
	literal string
}

func newRegex(pattern string) (*regex, error) {
	parsed, err := syntax.Parse(pattern, syntax.POSIX)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`\A(?:` + parsed.String() + `)\z`)
	if err != nil {
		return nil, err
	}
	return &regex{re: re, literal: requiredLiteral(parsed)}, nil
}

func (r *regex) match(s string) bool {
	return strings.Contains(s, r.literal) && r.re.MatchString(s)
}

// requiredLiteral returns the longest string found that every match of re contains.
func requiredLiteral(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 && !slices.Contains(re.Rune, utf8.RuneError) { // that rune also matches bytes that are no UTF-8
			return string(re.Rune)
		}
	case syntax.OpCapture, syntax.OpPlus:
		return requiredLiteral(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return requiredLiteral(re.Sub[0])
		}
	case syntax.OpConcat:
		best, run := "", ""
		for _, sub := range re.Sub {
			lit := requiredLiteral(sub)
			if sub.Op == syntax.OpLiteral && lit != "" {
				run += lit
				lit = run
			} else {
				run = ""
			}
			if len(lit) > len(best) {
				best = lit
			}
		}
		return best
	}
	return ""
}

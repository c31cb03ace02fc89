package match

import "strings"

// A glob is a pattern of fnmatch(3) without flags: a star matches any bytes, slashes included.
type glob struct {
	pattern string
	fold    bool
	literal string // the pattern has this prefix before its first special character
}

func newGlob(pattern string, fold bool) *glob {
	g := &glob{pattern: pattern, fold: fold}
	if n := strings.IndexAny(pattern, `*?[\`); n >= 0 && !fold {
		g.literal = pattern[:n]
	}
	return g
}

func (g *glob) match(s string) bool {
	return strings.HasPrefix(s, g.literal) && fnmatch(g.pattern, s, g.fold)
}

// fnmatch goes back to the last star only: what an earlier star matched need never be longer.
func fnmatch(pattern, s string, fold bool) bool {
	p, i := 0, 0
	starP, starI := -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			starP, starI = p, i
			p++
			continue
		}
		if n := matchOne(pattern[p:], s[i], fold); n > 0 {
			p += n
			i++
			continue
		}
		if starP < 0 {
			return false
		}
		starI++
		p, i = starP+1, starI
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches c with the front of pattern, which is no star. It returns the length of what matched, or 0.
func matchOne(pattern string, c byte, fold bool) int {
	if pattern == "" {
		return 0
	}
	switch pattern[0] {
	case '?':
		return 1
	case '[':
		if n, ok := matchBracket(pattern, c, fold); n > 0 {
			if ok {
				return n
			}
			return 0
		}
	case '\\':
		if len(pattern) > 1 {
			if sameByte(pattern[1], c, fold) {
				return 2
			}
			return 0
		}
	}
	if sameByte(pattern[0], c, fold) {
		return 1
	}
	return 0
}

func sameByte(a, b byte, fold bool) bool {
	return a == b || fold && lowerByte(a) == lowerByte(b)
}

// matchBracket matches c with the bracket expression at the front of pattern. Its length is 0 if it does not end: the bracket is a character then.
func matchBracket(pattern string, c byte, fold bool) (n int, ok bool) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := true; i < len(pattern) && (first || pattern[i] != ']'); first = false {
		if name, rest, isClass := bracketClass(pattern[i:]); isClass {
			ok = ok || inClass(name, c) || fold && (inClass(name, lowerByte(c)) || inClass(name, upperByte(c)))
			i = len(pattern) - len(rest)
			continue
		}
		lo, size := bracketByte(pattern[i:])
		i += size
		hi := lo
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi, size = bracketByte(pattern[i+1:])
			i += 1 + size
		}
		ok = ok || lo <= c && c <= hi || fold && (lo <= lowerByte(c) && lowerByte(c) <= hi || lo <= upperByte(c) && upperByte(c) <= hi)
	}
	if i >= len(pattern) {
		return 0, false
	}
	return i + 1, ok != negated
}

// bracketByte reads one byte of a bracket expression, which may be escaped.
func bracketByte(s string) (c byte, size int) {
	if s[0] == '\\' && len(s) > 1 {
		return s[1], 2
	}
	return s[0], 1
}

// bracketClass reads a class such as [:alpha:].
func bracketClass(s string) (name, rest string, ok bool) {
	after, ok := strings.CutPrefix(s, "[:")
	if !ok {
		return "", s, false
	}
	name, rest, ok = strings.Cut(after, ":]")
	return name, rest, ok
}

func inClass(name string, c byte) bool {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	switch name {
	case "alpha":
		return lower || upper
	case "digit":
		return digit
	case "alnum":
		return lower || upper || digit
	case "lower":
		return lower
	case "upper":
		return upper
	case "space":
		return c == ' ' || '\t' <= c && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "punct":
		return '!' <= c && c <= '~' && !lower && !upper && !digit
	case "print":
		return ' ' <= c && c <= '~'
	case "graph":
		return '!' <= c && c <= '~'
	case "cntrl":
		return c < ' ' || c == 0x7f
	case "xdigit":
		return digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	}
	return false
}

func upperByte(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

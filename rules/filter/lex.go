package filter

import (
	"strings"
	"unicode/utf8"
)

// A lexer cuts tokens off the front of text. Each lex method either consumes a token, keeps it in last and returns true, or leaves
// everything as it was.
type lexer struct {
	text string
	off  int
	last string // the token lexed last, as messages name it
	at   Pos    // the last place counted
}

func (l *lexer) rest() string { return l.text[l.off:] }

// pos is the place of offset off. Only errors and nodes ask for it, so it is counted when asked.
func (l *lexer) pos(off int) Pos {
	if off < l.at.Offset {
		l.at = Pos{Line: 1, Col: 1}
	}
	p := l.at
	for p.Offset < off {
		c := l.text[p.Offset]
		switch {
		case c == '\n', c == '\r' && !strings.HasPrefix(l.text[p.Offset+1:], "\n"):
			p.Line, p.Col = p.Line+1, 1
			p.Offset++
		case c < utf8.RuneSelf:
			p.Col++
			p.Offset++
		default:
			_, n := utf8.DecodeRuneInString(l.text[p.Offset:])
			p.Col++
			p.Offset += n
		}
	}
	l.at = p
	return p
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\b' || c == '\r' || c == '\n' }

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func isWord(c byte) bool { return isAlpha(c) || isDigit(c) || c == '_' }

// isSpace reports whether c ends a bare string: blanks, and what else POSIX calls space. NUL ends everything.
func isSpace(c byte) bool { return isBlank(c) || c == '\v' || c == '\f' || c == 0 }

func isBare(c byte) bool { return !isSpace(c) && strings.IndexByte(`()"'=,`, c) < 0 }

func isBareArg(c byte) bool { return !isSpace(c) && strings.IndexByte(`[]"'`, c) < 0 }

// prefixLen is the number of bytes at the front of s for which is holds.
func prefixLen(s string, is func(byte) bool) int {
	for i := 0; i < len(s); i++ {
		if !is(s[i]) {
			return i
		}
	}
	return len(s)
}

// take consumes n bytes as a token, if there are any.
func (l *lexer) take(n int) bool {
	if n == 0 {
		return false
	}
	l.last = l.text[l.off : l.off+n]
	l.off += n
	return true
}

func (l *lexer) blank() bool {
	n := prefixLen(l.rest(), isBlank)
	l.off += n
	return n > 0
}

func (l *lexer) str(s string) bool {
	return strings.HasPrefix(l.rest(), s) && l.take(len(s))
}

// not takes "not" with the blanks behind it.
func (l *lexer) not() bool {
	rest, ok := strings.CutPrefix(l.rest(), "not")
	if !ok {
		return false
	}
	n := prefixLen(rest, isBlank)
	return n > 0 && l.take(len("not")+n)
}

func wordLen(s string) int {
	if s == "" || !isAlpha(s[0]) {
		return 0
	}
	return prefixLen(s, isWord)
}

func (l *lexer) identifier() bool { return l.take(wordLen(l.rest())) }

// fieldName takes two or more words joined by dots.
func (l *lexer) fieldName() bool {
	rest := l.rest()
	first := wordLen(rest)
	n := first
	for n > 0 && n < len(rest) && rest[n] == '.' {
		w := wordLen(rest[n+1:])
		if w == 0 {
			break
		}
		n += 1 + w
	}
	return n > first && l.take(n)
}

func (l *lexer) number() bool { return l.take(numberLen(l.rest())) }

// numberLen is the length of the hexadecimal or decimal number at the front of s.
func numberLen(s string) int {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && isHex(s[2]) {
		return 2 + prefixLen(s[2:], isHex)
	}
	n := 0
	if s != "" && (s[0] == '+' || s[0] == '-') {
		n = 1
	}
	digits := prefixLen(s[n:], isDigit)
	if digits == 0 {
		return 0
	}
	n += digits
	if n < len(s) && s[n] == '.' {
		n++
		n += prefixLen(s[n:], isDigit)
	}
	if len(s) > n+2 && s[n]|0x20 == 'e' && (s[n+1] == '+' || s[n+1] == '-') && isDigit(s[n+2]) {
		n += 2 + prefixLen(s[n+2:], isDigit)
	}
	return n
}

func (l *lexer) bare() bool { return l.take(prefixLen(l.rest(), isBare)) }

func (l *lexer) bareArg() bool { return l.take(prefixLen(l.rest(), isBareArg)) }

// quoted takes a quoted string; last is then its content without quotes and escapes. A quote behind a backslash does not end the string,
// even if the backslash is itself escaped: so it is in Falco. The error is about an escape; the string is consumed then, too.
func (l *lexer) quoted() (bool, error) {
	rest := l.rest()
	if rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return false, nil
	}
	for i := 1; i < len(rest) && rest[i] != 0; i++ {
		if rest[i] != rest[0] || i > 1 && rest[i-1] == '\\' {
			continue
		}
		l.take(i + 1)
		text, msg := unescape(l.last[1:i], rest[0])
		if msg != "" {
			return false, l.errorAt(l.off, msg)
		}
		l.last = text
		return true, nil
	}
	return false, nil
}

// op takes one of ops. Operators that are words want a blank behind them, except for list operators and exists.
func (l *lexer) op(ops []Op, wordsWantBlank bool) (Op, bool) {
	for _, op := range ops {
		name := op.String()
		rest, ok := strings.CutPrefix(l.rest(), name)
		if !ok || wordsWantBlank && isAlpha(name[0]) && (rest == "" || !isBlank(rest[0])) {
			continue
		}
		l.take(len(name))
		return op, true
	}
	return 0, false
}

// transformer takes the name of a transformer and the parenthesis behind it; last is the name.
func (l *lexer) transformer() bool {
	for _, name := range transformers {
		if l.call(name) {
			return true
		}
	}
	return false
}

// call takes name and the parenthesis behind it; last is name.
func (l *lexer) call(name string) bool {
	if !l.str(name + "(") {
		return false
	}
	l.last = name
	return true
}

func (l *lexer) errorAt(off int, msg string) *Error {
	p := l.pos(off)
	return &Error{Offset: p.Offset, Line: p.Line, Col: p.Col, Msg: msg}
}

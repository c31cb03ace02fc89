package tiercel

import (
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// A turn of a loop is dear in Go's WebAssembly (each goes through the function's jump table), so text is looked at eight bytes a turn.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainRun returns the first index from i on whose byte has a meaning in a JSON string: a quote, a backslash, a control character, or
// one that is not ASCII. It is len(s) if there is none.
func plainRun(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		x := *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))
		quote, backslash := x^(ones*'"'), x^(ones*'\\')
		// Each term has the high bit of every byte that it looks for, and perhaps of some behind the first.
		found := ((x - ones*' ') &^ x) | ((quote - ones) &^ quote) | ((backslash - ones) &^ backslash) | (x + ones) | x
		if found &= highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			break
		}
	}
	return i
}

// unquote returns the content of a checked string with its quotes.
func unquote(q string) string {
	s := q[1 : len(q)-1]
	i := 0
	for i < len(s) && s[i] != '\\' {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(alloc(len(s))[:0], s[:i]...) // an escape is longer than what it stands for
	for i < len(s) {
		if s[i] != '\\' {
			b = append(b, s[i])
			i++
			continue
		}
		switch c := s[i+1]; c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r := hex4(s[i+2:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if i+8 <= len(s) && s[i+2] == '\\' && s[i+3] == 'u' {
					pair = utf16.DecodeRune(r, hex4(s[i+4:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
		i += 2
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// hex4 reads the four hexadecimal digits that a checked escape has.
func hex4(s string) rune {
	var r rune
	for i := range 4 {
		c := s[i] | 0x20
		if c >= 'a' {
			c -= 'a' - '9' - 1
		}
		r = r<<4 | rune(c-'0')
	}
	return r
}

package filter

import (
	"fmt"
	"strconv"
	"strings"
)

// unescape resolves the escapes in the content of a string quoted with quote. msg says what is wrong, if something is.
func unescape(s string, quote byte) (text, msg string) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, ""
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '/':
			b.WriteByte('/')
		case '\\', ' ': // a backslash before a blank stands for itself, and swallows the blank: old rules rely on it
			b.WriteByte('\\')
		case '"', '\'':
			if c != quote {
				return "", fmt.Sprintf(`invalid \%c escape in %c-quoted string`, c, quote)
			}
			b.WriteByte(c)
		case 'x':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", `unsupported string escape sequence: \x`
			}
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b.WriteByte(byte(n))
			i += 2
		default:
			return "", `unsupported string escape sequence: \` + s[i:i+1]
		}
	}
	return b.String(), ""
}

// escape quotes s so that it is read back as it is.
func escape(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 == len(s):
			b.WriteString(`\x5c`) // a quote behind a backslash would not end the string
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\b':
			b.WriteString(`\b`)
		case c == '\f':
			b.WriteString(`\f`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

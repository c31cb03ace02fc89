package load

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar returns the value of the scalar node n as a text. The YAML library gives only where a scalar begins, for a block scalar even
// only where its > or | stands; so the source is read again beside the value.
func (s *source) scalar(n *yaml.Node) text {
	off := s.skipProperties(s.place(n).off)
	if strings.HasPrefix(s.text[off:], n.Value) && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		return text{s: n.Value, spans: []span{{src: s, off: int32(off)}}}
	}
	a := aligner{src: s, value: n.Value, off: off}
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if i := strings.IndexByte(s.text[off:], '\n'); i >= 0 { // past the header, which may carry indicators and a comment
			a.off = off + i + 1
		}
	case n.Style&yaml.DoubleQuotedStyle != 0:
		a.off++
		a.escapes = true
	case n.Style&yaml.SingleQuotedStyle != 0:
		a.off++
		a.doubled = true
	}
	return a.align()
}

// skipProperties returns where the content of a node begins whose tag or anchor may begin at off.
func (s *source) skipProperties(off int) int {
	for off < len(s.text) {
		switch s.text[off] {
		case '&', '!':
			for off < len(s.text) && !isBlank(s.text[off]) {
				off++
			}
		case ' ', '\t', '\n', '\r':
			off++
		default:
			return off
		}
	}
	return min(off, len(s.text))
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// An aligner finds each byte of a scalar's value in the source. Blanks may differ: folding, indentation and trimming change them.
type aligner struct {
	src     *source
	value   string
	off     int
	escapes bool // double-quoted
	doubled bool // single-quoted
	spans   []span
	next    int // source offset that would go on the last span
}

func (a *aligner) align() text {
	src := a.src.text
	for i := 0; i < len(a.value); {
		c := a.value[i]
		if !isBlank(c) {
			for a.off < len(src) && isBlank(src[a.off]) && a.off < len(src) {
				a.off++
			}
		}
		switch {
		case a.off >= len(src):
			a.mark(i, len(src), true)
			i = len(a.value)
		case a.escapes && src[a.off] == '\\':
			n, out := unescape(src[a.off:])
			if out != "" {
				a.mark(i, a.off, true)
				i += len(out)
			}
			a.off += n
		case a.doubled && c == '\'' && strings.HasPrefix(src[a.off:], "''"):
			a.mark(i, a.off, true)
			a.off += 2
			i++
		case src[a.off] == c:
			a.mark(i, a.off, false)
			a.off++
			i++
		case isBlank(c): // a fold: one blank stands for a line's end and indentation
			a.mark(i, a.off, true)
			if isBlank(src[a.off]) {
				a.off++
			}
			i++
		default: // never in what the YAML library accepted; keep the place known so far
			a.mark(i, a.off, true)
			i++
		}
	}
	return text{s: a.value, spans: a.spans}
}

// mark notes that value byte i was written at off.
func (a *aligner) mark(i, off int, fixed bool) {
	if !fixed && len(a.spans) > 0 && !a.spans[len(a.spans)-1].fixed && a.next == off {
		a.next++
		return
	}
	a.spans = append(a.spans, span{at: int32(i), src: a.src, off: int32(off), fixed: fixed})
	a.next = off + 1
}

// simpleEscapes are the escapes of a double-quoted scalar that stand for one rune.
var simpleEscapes = map[byte]string{
	'0': "\x00", 'a': "\a", 'b': "\b", 't': "\t", '\t': "\t", 'n': "\n", 'v': "\v", 'f': "\f", 'r': "\r", 'e': "\x1b",
	' ': " ", '"': "\"", '/': "/", '\\': "\\", 'N': "\u0085", '_': "\u00a0", 'L': "\u2028", 'P': "\u2029",
}

// unescape returns the length of the escape that s begins with and what it stands for; nothing for an escaped end of line.
func unescape(s string) (n int, out string) {
	if len(s) < 2 {
		return len(s), ""
	}
	if out, ok := simpleEscapes[s[1]]; ok {
		return 2, out
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits == 0 || len(s) < 2+digits {
		return 2, ""
	}
	r, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil {
		return 2, ""
	}
	return 2 + digits, string(rune(r))
}

package load

import (
	"bytes"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A source is a rules file with its line index.
type source struct {
	name  string
	text  string
	lines []int // offset of each line
	file  int   // position among the files

	entries int // of exceptions, read so far
}

func newSource(f File, index int) *source {
	s := &source{name: f.Name, text: string(f.Data), lines: make([]int, 1, bytes.Count(f.Data, []byte("\n"))+1), file: index}
	for i := 0; i < len(s.text); i++ {
		if s.text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// A place is an offset in a source.
type place struct {
	src *source
	off int
}

// lineCol returns the 1-based line and column, in runes, of p.
func (p place) lineCol() (line, col int) {
	if p.src == nil {
		return 0, 0
	}
	line = sort.SearchInts(p.src.lines, p.off+1)
	start := p.src.lines[line-1]
	return line, utf8.RuneCountInString(p.src.text[start:min(p.off, len(p.src.text))]) + 1
}

// offset returns the byte offset of a 1-based line and column as YAML nodes have it.
func (s *source) offset(line, col int) int {
	if line < 1 || line > len(s.lines) {
		return len(s.text)
	}
	off := s.lines[line-1]
	for ; col > 1 && off < len(s.text); col-- {
		_, n := utf8.DecodeRuneInString(s.text[off:])
		off += n
	}
	return off
}

// line returns the text of the 1-based line, without its end.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	text := s.text[s.lines[n-1]:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return strings.TrimSuffix(text, "\r")
}

// place returns where node n begins.
func (s *source) place(n *yaml.Node) place { return place{s, s.offset(n.Line, n.Column)} }

// A text is a string each byte of which knows the place it was written at, so that an error in what was pieced together from several
// files is reported where its author can mend it.
type text struct {
	s     string
	spans []span
}

// A span says where the bytes of a text from at on come from.
type span struct {
	src     *source
	via     *place // where the list is named that they come from; nil: not from a list
	at, off int32  // in the text and in src
	fixed   bool   // all bytes come from the one place: they were not written there as they stand
}

// find returns the index of the span that byte i of t is in; -1 if there is none.
func (t *text) find(i int) int {
	return sort.Search(len(t.spans), func(k int) bool { return int(t.spans[k].at) > i }) - 1
}

// span returns the span that byte i of t is in.
func (t *text) span(i int) (sp span, ok bool) {
	k := t.find(i)
	if k < 0 {
		return span{}, false
	}
	return t.spans[k], true
}

// place returns where byte i of t was written.
func (t *text) place(i int) place {
	sp, ok := t.span(i)
	if !ok {
		return place{}
	}
	p := place{sp.src, int(sp.off)}
	if !sp.fixed {
		p.off += i - int(sp.at)
	}
	return p
}

// A textBuilder pieces a text together.
type textBuilder struct {
	b     []byte
	spans []span
}

// add appends bytes i to j of t.
func (b *textBuilder) add(t *text, i, j int) {
	if i >= j {
		return
	}
	at := len(b.b)
	for k := max(t.find(i), 0); k < len(t.spans) && int(t.spans[k].at) < j; k++ {
		sp := t.spans[k]
		if skip := i - int(sp.at); skip > 0 && !sp.fixed {
			sp.off += int32(skip)
		}
		sp.at = int32(at + max(int(sp.at)-i, 0))
		b.spans = append(b.spans, sp)
	}
	b.b = append(b.b, t.s[i:j]...)
}

// addAll appends t.
func (b *textBuilder) addAll(t *text) { b.add(t, 0, len(t.s)) }

// addVia appends t, which stands for the name of a list at via.
func (b *textBuilder) addVia(t *text, via place) {
	n := len(b.spans)
	b.spans = slices.Grow(b.spans, len(t.spans)+2)
	b.addAll(t)
	for i := n; i < len(b.spans); i++ {
		b.spans[i].via = &via
	}
}

// insert appends s, which is not in the source but stands for what is at p.
func (b *textBuilder) insert(s string, p place) {
	if s == "" {
		return
	}
	b.spans = append(b.spans, span{at: int32(len(b.b)), src: p.src, off: int32(p.off), fixed: true})
	b.b = append(b.b, s...)
}

func (b *textBuilder) text() text { return text{s: string(b.b), spans: b.spans} }

// joinTexts returns a, a blank, and c.
func joinTexts(a, c text) text {
	var b textBuilder
	b.addAll(&a)
	b.insert(" ", c.place(0))
	b.addAll(&c)
	return b.text()
}

package load

import (
	"errors"

	"go.yaml.in/yaml/v3"
)

// A scope is an item of a rules file or a part of one, inside others: what a problem's Context lists.
type scope struct {
	parent   *scope
	itemType string
	itemName string
	at       place
	whole    bool // the file as a whole: no line
}

// in returns the scope of node n in s.
func (s *scope) in(src *source, n *yaml.Node, itemType, itemName string) *scope {
	return &scope{parent: s, itemType: itemType, itemName: itemName, at: src.place(n)}
}

// contexts lists s and what is around it, outermost first.
func (s *scope) contexts() []Context {
	if s == nil {
		return nil
	}
	c := Context{ItemType: s.itemType, ItemName: s.itemName}
	if s.at.src != nil {
		c.File, c.Offset = s.at.src.name, s.at.off
		if !s.whole {
			c.Line, c.Col = s.at.lineCol()
		}
	}
	return append(s.parent.contexts(), c)
}

// problem returns a problem at p, width bytes long, that belongs to s.
func (s *scope) problem(code Code, p place, width int, msg, hint string) *Problem {
	line, col := p.lineCol()
	e := &Problem{
		PosError: PosError{Line: line, Col: col, Err: errors.New(msg)},
		Code:     code,
		Hint:     hint,
		Context:  s.contexts(),
	}
	if p.src != nil {
		e.File, e.src = p.src.name, p.src
		e.line = p.src.line(line)
		e.Width = runeWidth(p.src.text, p.off, width)
	}
	return e
}

// runeWidth returns how many runes of the line at off the next n bytes are, at least 1.
func runeWidth(text string, off, n int) int {
	w := 0
	for i, r := range text[min(off, len(text)):] {
		if i >= n || r == '\n' || r == '\r' {
			break
		}
		w++
	}
	return max(w, 1)
}

// here returns a problem at the place of s itself.
func (s *scope) here(code Code, msg, hint string) *Problem {
	return s.problem(code, s.at, s.width(), msg, hint)
}

// width returns how far the token at s.at reaches.
func (s *scope) width() int {
	if s.at.src == nil || s.whole {
		return 1
	}
	return tokenLen(s.at.src.text[min(s.at.off, len(s.at.src.text)):])
}

// tokenLen returns the length of what stands at the front of s up to the next blank, comma or colon with a blank behind it.
func tokenLen(s string) int {
	for i := 0; i < len(s); i++ {
		if isBlank(s[i]) || i > 0 && (s[i] == ',' || s[i] == ']' || s[i] == '}') {
			return i
		}
		if s[i] == ':' && (i+1 == len(s) || isBlank(s[i+1])) {
			return i
		}
	}
	return len(s)
}

package load

import (
	"fmt"
	"strings"
)

// delimiters are the characters that end a list's name in a condition.
const delimiters = " \t\n\r(),="

// An expansion is what a list stands for in a condition: its items with those of the lists among them, separated by commas.
type expansion struct {
	text  text
	items []string
	busy  bool
}

// maxExpansion is how many bytes a list of lists may stand for: lists of lists of lists would grow without bound.
const maxExpansion = 4 << 20

// expand returns what l stands for. Lists among its items are replaced by theirs, at any depth. A list that grows beyond maxExpansion that
// way is an error, and stands for nothing.
func (c *Collection) expand(l *List) *expansion {
	if l.resolved != nil {
		return l.resolved
	}
	x := &expansion{busy: true}
	l.resolved = x
	var b textBuilder
	for i := range l.items {
		item := &l.items[i]
		if ref := c.lists[item.s]; ref != nil && ref != l {
			if sub := c.expand(ref); !sub.busy {
				ref.Used = true
				if len(b.b)+len(sub.text.s) > maxExpansion {
					c.fail(l.sc.here(ErrValidate, fmt.Sprintf("List stands for more than %d bytes", maxExpansion), ""))
					x.items, b = nil, textBuilder{}
					break
				}
				x.items = append(x.items, sub.items...)
				if sub.text.s != "" {
					b.comma(item.place(0))
					b.addAll(&sub.text)
				}
				continue
			}
		}
		x.items = append(x.items, item.s)
		b.comma(item.place(0))
		addQuoted(&b, item)
	}
	x.text, x.busy = b.text(), false
	return x
}

// comma appends a comma unless nothing is there yet.
func (b *textBuilder) comma(p place) {
	if len(b.b) > 0 {
		b.insert(", ", p)
	}
}

// expandLists returns t with the names of lists replaced by their items. Names in quoted strings stay.
func (c *Collection) expandLists(t text) text {
	for _, l := range c.oddLists {
		t = c.expandOdd(t, l)
	}
	var b textBuilder
	done := 0 // t is copied up to here
	for i := 0; i < len(t.s); {
		if strings.IndexByte(delimiters, t.s[i]) >= 0 {
			i++
			continue
		}
		end := wordEnd(t.s, i)
		if l := c.lists[t.s[i:end]]; l != nil {
			l.Used = true
			b.add(&t, done, i)
			done = b.replace(&t, i, end, c.expand(l))
		}
		i = max(end, done)
	}
	if done == 0 {
		return t
	}
	b.add(&t, done, len(t.s))
	return b.text()
}

// replace appends what a list stands for whose name is t[at:end]. An empty list takes one of the commas beside it away. It returns how
// far t is consumed.
func (b *textBuilder) replace(t *text, at, end int, x *expansion) int {
	if x.text.s != "" {
		b.addVia(&x.text, t.place(at))
		return end
	}
	if n := len(strings.TrimRight(string(b.b), " \t\n\r")); n > 0 && b.b[n-1] == ',' {
		b.truncate(n - 1)
		return end
	}
	rest := strings.TrimLeft(t.s[end:], " \t\n\r")
	if strings.HasPrefix(rest, ",") {
		return len(t.s) - len(rest) + 1
	}
	return end
}

// truncate cuts b to n bytes.
func (b *textBuilder) truncate(n int) {
	b.b = b.b[:n]
	for len(b.spans) > 0 && int(b.spans[len(b.spans)-1].at) >= n {
		b.spans = b.spans[:len(b.spans)-1]
	}
}

// wordEnd returns where the word ends that begins at i. Quoted strings are part of it.
func wordEnd(s string, i int) int {
	for i < len(s) && strings.IndexByte(delimiters, s[i]) < 0 {
		if s[i] == '"' || s[i] == '\'' {
			i = quoteEnd(s, i)
			continue
		}
		i++
	}
	return i
}

// quoteEnd returns where the quoted string ends that begins at i; without a closing quote it is only a character.
func quoteEnd(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case s[i]:
			return j + 1
		}
	}
	return i + 1
}

// expandOdd replaces the name of l, which is no word, wherever delimiters stand around it.
func (c *Collection) expandOdd(t text, l *List) text {
	var b textBuilder
	done := 0
	for i := 0; ; {
		k := strings.Index(t.s[i:], l.Name)
		if k < 0 {
			break
		}
		at, end := i+k, i+k+len(l.Name)
		i = at + 1
		if at > 0 && strings.IndexByte(delimiters, t.s[at-1]) < 0 || end < len(t.s) && strings.IndexByte(delimiters, t.s[end]) < 0 {
			continue
		}
		l.Used = true
		b.add(&t, done, at)
		done = b.replace(&t, at, end, c.expand(l))
		i = max(end, done)
	}
	if done == 0 {
		return t
	}
	b.add(&t, done, len(t.s))
	return b.text()
}

package match

import (
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A pathTrie holds paths by their components, to tell whether one of them is a prefix of another path, component by component. Components
// with special characters of glob match as glob does, within a component.
type pathTrie struct {
	end   bool // a path ends here: whatever follows, it matches
	names map[string]*pathTrie
	globs []pathGlob
}

type pathGlob struct {
	pattern string
	next    *pathTrie
}

// newPathTest makes the test of pmatch.
func newPathTest(values []Literal) testFunc {
	absolute, relative := &pathTrie{}, &pathTrie{}
	for _, v := range values {
		if path, ok := strings.CutPrefix(v.Bytes, "/"); ok {
			absolute.add(path)
		} else {
			relative.add(path)
		}
	}
	return func(v *field.Value) bool {
		if !isStr(v) {
			return false
		}
		if path, ok := strings.CutPrefix(v.Str, "/"); ok {
			return absolute.match(path)
		}
		return relative.match(v.Str)
	}
}

// component cuts the first component off path. Empty components do not count.
func component(path string) (name, rest string) {
	path = strings.TrimLeft(path, "/")
	name, rest, _ = strings.Cut(path, "/")
	return name, rest
}

func (t *pathTrie) add(path string) {
	for name, rest := component(path); name != ""; name, rest = component(rest) {
		t = t.child(name)
	}
	t.end = true
}

// child returns the node for a component, a new one if need be.
func (t *pathTrie) child(name string) *pathTrie {
	if strings.ContainsAny(name, `*?[\`) {
		for _, g := range t.globs {
			if g.pattern == name {
				return g.next
			}
		}
		next := &pathTrie{}
		t.globs = append(t.globs, pathGlob{name, next})
		return next
	}
	next, ok := t.names[name]
	if !ok {
		if t.names == nil {
			t.names = make(map[string]*pathTrie)
		}
		next = &pathTrie{}
		t.names[name] = next
	}
	return next
}

func (t *pathTrie) match(path string) bool {
	if t.end {
		return true
	}
	name, rest := component(path)
	if name == "" {
		return false
	}
	if next := t.names[name]; next != nil && next.match(rest) {
		return true
	}
	for _, g := range t.globs {
		if fnmatch(g.pattern, name, false) && g.next.match(rest) {
			return true
		}
	}
	return false
}

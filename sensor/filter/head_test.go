package filter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// holdsOf reports whether e, all of whose tests are about a path, is true of one.
func holdsOf(e *Expr, path string) bool {
	switch e.Op {
	case True:
		return true
	case And:
		return !slices.ContainsFunc(e.Kids, func(k *Expr) bool { return !holdsOf(k, path) })
	case Or:
		return slices.ContainsFunc(e.Kids, func(k *Expr) bool { return holdsOf(k, path) })
	case Literal:
		text := path
		if e.Test.Subject == Directory {
			text = path[:max(strings.LastIndexByte(path, '/'), 1)]
		}
		is := slices.ContainsFunc(e.Test.Strings, func(s string) bool {
			switch e.Test.Op {
			case filter.StartsWith:
				return strings.HasPrefix(text, s)
			case filter.EndsWith:
				return strings.HasSuffix(text, s)
			case filter.PMatch:
				return text == s || strings.HasPrefix(text, s+"/")
			}
			return text == s
		})
		return is == (e.Test.Op == filter.NotEqual) == e.Not
	}
	return false
}

// What is left of a condition for the head of a path is true of the path if the condition is. What stands behind a path shorter than a head may
// make it any head.
func TestHeads(t *testing.T) {
	texts := []string{
		"/", "/e", "/etc", "/etc/", "/etc/a", "/etc/ab", "/etca", "/usr", "/usr/b", "/us", "/var/a", "/var", "/lib/c", "/opt", "/dev/d", "/tmp", "/run/x",
		"/etc/a/b", "/home/u", "/proc/1", "b", "/srv/e",
	}
	atoms := []string{"fd.name =", "fd.name !=", "fd.name startswith", "fd.name endswith", "fd.directory =", "fd.directory startswith"}
	lists := []string{"fd.name in", "fd.name pmatch", "fd.directory in", "fd.directory pmatch"}
	r := rand.New(rand.NewPCG(1, 2))
	text := func() string { return texts[r.IntN(len(texts))] }
	var condition func(depth int) string
	condition = func(depth int) string {
		switch n := r.IntN(6); {
		case depth == 0 || n == 0:
			if r.IntN(2) == 0 {
				return fmt.Sprintf("%s %s", atoms[r.IntN(len(atoms))], text())
			}
			return fmt.Sprintf("%s (%s, %s, %s)", lists[r.IntN(len(lists))], text(), text(), text())
		case n == 1:
			return "not (" + condition(depth-1) + ")"
		case n < 4:
			return "(" + condition(depth-1) + " or " + condition(depth-1) + ")"
		}
		return "(" + condition(depth-1) + " and " + condition(depth-1) + ")"
	}
	smaller := 0
	for range 300 {
		c := "evt.type = openat and " + condition(4)
		f := plan(t, c).Filters[field.EventOpenat]
		if f == nil {
			continue
		}
		groups := f.Expr.heads(Opened)
		for _, path := range texts {
			if path[0] != '/' {
				continue
			}
			own := slices.IndexFunc(groups, func(g []string) bool {
				return slices.ContainsFunc(g, func(h string) bool { return strings.HasPrefix(path, h) })
			})
			for i, group := range append(groups, nil) {
				if len(path) >= headBytes && i != own && (own >= 0 || group != nil) {
					continue // another part is for it
				}
				left := f.Expr.given(Opened, group)
				if got, want := holdsOf(left, path), holdsOf(f.Expr, path); got != want {
					t.Fatalf("%s: %s with %q: got %v, want %v of %s", c, path, group, got, want, say(left))
				}
				if left.cost < f.Expr.cost {
					smaller++
				}
			}
		}
	}
	if smaller == 0 {
		t.Error("nothing became smaller")
	}
}

package filter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A sketch knows no more than it needs, and there is none where something else may make a rule true.
func TestSketches(t *testing.T) {
	const read, write, makes, failed = 0, 1, shapeMakes, shapeFailed
	for _, tt := range []struct {
		name, condition string
		shape           int
		want            *Sketch
	}{
		{"a path", "fd.name = /etc/shadow", read, &Sketch{Heads: []string{"/etc/sha"}, Where: true}},
		{"short paths", "fd.name in (/etc, /, /root)", read, &Sketch{Heads: []string{"/etc", "/roo"}, Where: true}},
		{"what a path begins with", "fd.name startswith /var/lib/x", read, &Sketch{Heads: []string{"/var/lib"}, Where: true}},
		{"all paths", "fd.name startswith /", read, nil},
		{"what a path does not begin with", "not fd.name startswith /var/lib/x", read, nil},
		{"a directory", "fd.directory in (/, /root)", read, &Sketch{Heads: []string{"/roo"}, Where: true}},
		{"a short directory", "fd.directory = /a", read, nil},
		{"endings", "fd.name endswith .history or fd.filename in (key, id_rsa)", read, &Sketch{Tails: []string{".history", "/key", "_rsa"}, Where: true}},
		{"long endings with a slash", "fd.name endswith ssh/config or fd.filename = history", read, &Sketch{Tails: []string{"nfig", "tory"}, Where: true}},
		{"a short ending", "fd.name endswith .so", read, nil},
		{"a text", "fd.name contains id_rsa", read, &Sketch{Pairs: []string{"d_"}, Where: true, PathPairs: true}},
		{"a text as passed", "fd.nameraw contains ../", read, &Sketch{Pairs: []string{".."}}},
		{"the cheaper of two", "fd.name contains id_rsa and fd.nameraw contains ../", read, &Sketch{Pairs: []string{".."}}},
		{"one is enough", "fd.name = /etc/shadow and proc.name = tar", read, &Sketch{Names: []string{"tar"}}},
		{"both are needed", "fd.name = /etc/shadow or proc.name = tar and fd.name != /x", read, &Sketch{Heads: []string{"/etc/sha"}, Names: []string{"tar"}, Where: true}},
		{"of another shape", "evt.is_open_read = true and fd.name = /etc/shadow or evt.is_open_write = true and fd.name = /bin/sh1", write, &Sketch{Heads: []string{"/bin/sh1"}, Where: true}},
		{"a mode", "evt.is_open_exec = true and fd.name != /x", write | makes, &Sketch{Exec: true}},
		{"what nobody knows before", "proc.pname = x and fd.name != /x or fd.name = /etc/shadow", read, nil},
		{"too many texts", "fd.name in " + texts(101, "/%05dx/y"), read, nil},
		{"too many pairs", "fd.name contains _a_ or fd.name contains ~b or fd.name contains @c or fd.name contains -d or fd.name contains _e", read, nil},
		{"failed", "evt.failed = true and fd.nameraw contains ../", read | failed, &Sketch{Pairs: []string{".."}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, "evt.type = openat and ("+tt.condition+")")
			got := p.Filters[field.EventOpenat].Sketches(p)[tt.shape]
			if got != nil {
				slices.Sort(got.Heads)
				slices.Sort(got.Tails)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// texts is a list of n values.
func texts(n int, format string) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(format, i))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// has reports whether there is something of s in an open of a path, passed as it is: as bpf/c/sketch.h looks for it.
func (s *Sketch) has(path string) bool {
	in := func(all []string, text string) bool { return slices.Contains(all, text) }
	return strings.LastIndexByte(path, '/') == 0 || in(s.Heads, path[:min(len(path), 8)]) || in(s.Heads, path[:4]) || in(s.Tails, path[len(path)-4:]) ||
		in(s.Tails, path[max(0, len(path)-8):]) ||
		slices.ContainsFunc(s.Pairs, func(p string) bool { return strings.Contains(path, p) })
}

// A condition of which the sketch finds nothing is false.
func TestSketchesAreSound(t *testing.T) {
	paths := []string{
		"/e", "/etc", "/etc/a", "/etc/ab", "/etc/abc", "/etc/abcd", "/etc/abcdef", "/etca/x", "/usr/bin/x", "/usr/lib/xy", "/us/abcdef", "/var/.a", "/v/a/b/c", "/opt/a_b", "/opt/ab/a_b",
		"/tmp/tory", "/tmp/story", "/tmp/ory", "/tmp/history", "/tmp/.history", "/tmp/a/xhistory", "/tmp/a.d/his/tory",
	}
	parts := append([]string{"/", "/et", "ory", "tory", "_b", "/.a", "a_b", "abc", "/us", "/u", "x", "/opt/", ".history", "xhistory", "his/tory"}, paths...)
	r := rand.New(rand.NewPCG(3, 4))
	text := func() string { return parts[r.IntN(len(parts))] }
	var condition func(depth int) string
	condition = func(depth int) string {
		switch n := r.IntN(6); {
		case depth == 0 || n == 0:
			f := []string{"fd.name", "fd.directory"}[r.IntN(2)]
			switch r.IntN(5) {
			case 0:
				return fmt.Sprintf("%s in (%s, %s, %s)", f, text(), text(), text())
			case 1:
				return fmt.Sprintf("%s pmatch (%s, %s)", f, text(), text())
			}
			return fmt.Sprintf("%s %s %s", f, []string{"=", "!=", "startswith", "endswith"}[r.IntN(4)], text())
		case n == 1:
			return "not (" + condition(depth-1) + ")"
		case n < 4:
			return "(" + condition(depth-1) + " or " + condition(depth-1) + ")"
		}
		return "(" + condition(depth-1) + " and " + condition(depth-1) + ")"
	}
	made, told := 0, 0
	for range 3000 {
		c := "evt.type = openat and " + condition(2)
		p := plan(t, c)
		f := p.Filters[field.EventOpenat]
		if f == nil {
			continue
		}
		s := f.Sketches(p)[0]
		if s == nil {
			continue
		}
		made++
		for _, path := range paths {
			if len(path) < 4 || s.has(path) {
				continue
			}
			told++
			if holdsOf(f.Expr, path) {
				t.Fatalf("%s: nothing of %+v in %s, of which it is true", c, *s, path)
			}
		}
	}
	if made < 100 || told < 1000 {
		t.Errorf("%d sketches told %d opens: too few to tell anything", made, told)
	}
}

package javascript

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const typed = `// A comment that is not kept.
interface Pod {
  name: string;
}

type Names = Record<string, number>;

export const manifest = { needs: {} };

export default function (event: { id: string }): void {
  const pod: Pod = { name: event.id };
  const seen = {} as Names;
  if (pod.name.length > 3) {
    seen[pod.name] = 1; throw new TypeError("boo");
  }
}
`

// Every word of the source that is in the script comes from its own place.
func TestPositions(t *testing.T) {
	p, err := New("x.ts", []byte(typed))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.Script, "interface") || p.Source != typed || p.Code() != p.Script {
		t.Fatalf("got %+v", p)
	}
	find := func(text, word string) (line, column int) {
		for i, l := range strings.Split(text, "\n") {
			if c := strings.Index(l, word); c >= 0 {
				return i + 1, c + 1
			}
		}
		t.Fatalf("%q is not in %q", word, text)
		return 0, 0
	}
	for _, word := range []string{"manifest =", "pod.name.length", "seen[pod", `new TypeError`} {
		line, column := find(p.Script, word)
		wantLine, wantColumn := find(p.Source, word)
		got := p.Where(position("at f (x.ts", line, column))
		if want := position("at f (x.ts", wantLine, wantColumn); got != want {
			t.Errorf("%s: got %s, want %s", word, got, want)
		}
	}
	for _, text := range []string{"", "nothing", "max.ts:1:1", "x.ts:999:1", "x.ts:a:1"} {
		if got := p.Where(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if n := p.ExportLine("manifest"); n != 8 {
		t.Errorf("manifest is on line %d", n)
	}
}

func position(head string, line, column int) string {
	return head + ":" + itoa(line) + ":" + itoa(column) + ")"
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct{ file, source, want string }{
		{"x.py", "", "x.py: is no source of JavaScript"},
		{"x.js", "\xff", "x.js: is not UTF-8"},
		{"x.js", "a\x00b", "x.js: has a zero byte"},
		{"x.js", strings.Repeat("a", MaxSource+1), "x.js: 1048577 bytes"},
		{"x.ts", "\nconst a: = 3\n", "x.ts:2:10: SyntaxError: Unexpected \"=\""},
	} {
		if p, err := New(c.file, []byte(c.source)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v; want %s", c.file, p, err, c.want)
		}
	}
}

func TestPack(t *testing.T) {
	p := &Program{File: "a.js", Source: "export default () => {}"}
	module, err := p.Pack([]byte(`{"abi":"tiercel_v1","name":"a","version":"1","needs":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(module)
	if err != nil || *got != *p {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range len(module) {
		if got, err := Open(module[:n]); (err == nil) != (got != nil) {
			t.Errorf("cut at %d: %v, %v", n, got, err)
		}
	}
	if _, err := Open([]byte("\x00asm\x01\x00\x00\x00\x00\x05\x04name")); !errors.Is(err, ErrNotProgram) {
		t.Errorf("got %v", err)
	}
	for size := range len(Section) + 1 { // which has no room for the section's name
		text := fmt.Sprintf("%s\x00%c%c%s", header, size, len(Section), Section)
		if _, err := Open([]byte(text)); err == nil || err.Error() != "the section "+Section+" is cut short" {
			t.Errorf("a section of %d bytes: %v", size, err)
		}
	}
}

func FuzzWhere(f *testing.F) {
	f.Add("AAAA;AACA,CAAC", "x.ts:1:1 x.ts:2:2")
	f.Fuzz(func(_ *testing.T, mappings, text string) {
		p := &Program{File: "x.ts", Map: mappings}
		p.Where(text)
	})
}

func FuzzOpen(f *testing.F) {
	p := &Program{File: "a.js", Source: "x"}
	module, err := p.Pack([]byte(`{"abi":"tiercel_v1","name":"a","version":"1","needs":{}}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(module)
	f.Fuzz(func(t *testing.T, module []byte) {
		if p, err := Open(module); (p == nil) == (err == nil) {
			t.Errorf("got %v, %v", p, err)
		}
	})
}

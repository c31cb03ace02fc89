package bus

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// validSeeds are values, near values, and what stands on the borders of words of eight bytes.
func validSeeds() []string {
	seeds := []string{
		``, ` `, `{}`, `[]`, `{"a":1}`, `{"a":1,}`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `[1 2]`, `{"a":1}}`, `[]]`, `[`, `{`, `{"a":`,
		`0`, `-0`, `01`, `-`, `1.`, `.1`, `1.5e`, `1e+`, `1e+09`, `1E-7`, `+1`, `1x`, `--1`, `-01`, `1.2.3`, `0e1`, `0.0`,
		`true`, `tru`, `truex`, `false`, `null`, `nul`, `NaN`, ` true `, "\ttrue\r\n", "\vtrue", `true false`,
		`"`, `"a`, `"a"`, `"a"b`, `"\u12"`, `"\u12G4"`, `"\u12aF"`, `"\x"`, `"\`, `"\"`, `"\\"`, `"\/\b\f\n\r\t"`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\xfe\"", `"ä€😀"`,
		`{"a":{"b":[{},[[]],"c",null,true,-1.5e3]},"a":2}`, "[1\x00]", "{\"a\":1}\x00", `{"a":1,"b":[1,2,{"c":"d\"e"}]}`,
		strings.Repeat("[", 10000) + strings.Repeat("]", 10000), strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
	}
	for n := range 18 {
		pad := strings.Repeat("x", n)
		for _, c := range []string{"", "\x1f", "\x20", "\x21", "\"", "\\", "\\\"", "\\n", "\x80", "\xa0", "\xa2", "\xdc", "\xff"} {
			seeds = append(seeds, `"`+pad+c+`"`, `["`+pad+c+pad+`",1]`)
		}
	}
	return seeds
}

func TestValid(t *testing.T) {
	for _, s := range validSeeds() {
		if got, want := Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("Valid(%.80q) = %v, json.Valid says %v", s, got, want)
		}
	}
}

// FuzzValid compares Valid with encoding/json, for what comes and for it with each byte of a few changed.
func FuzzValid(f *testing.F) {
	for _, s := range validSeeds() {
		f.Add([]byte(s), uint16(0), byte('"'))
	}
	f.Add(Marshal(&Event{ID: "1", Source: "/a", Type: TypeRuleMatched, Data: json.RawMessage(`{"output":"a \"b\" c","tags":["x"],"n":[1,2.5e3]}`)}), uint16(20), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, c byte) {
		if got, want := Valid(b), json.Valid(b); got != want {
			t.Fatalf("Valid(%q) = %v, json.Valid says %v", b, got, want)
		}
		if b = slices.Clone(b); len(b) > 0 {
			b[int(at)%len(b)] = c
			if got, want := Valid(b), json.Valid(b); got != want {
				t.Fatalf("Valid(%q) = %v, json.Valid says %v", b, got, want)
			}
		}
	})
}

func BenchmarkValid(b *testing.B) {
	m := MatchData{Rule: "r", Priority: "Warning", Source: "syscall", Output: strings.Repeat("Something happened in a container. ", 12), Tags: []string{"container", "network"}, OutputFields: json.RawMessage(`{"proc.name":"sh","proc.cmdline":"sh -c id","fd.name":"10.0.0.1:443->10.0.0.2:80","user.name":"root","evt.time":1795215521000000000}`)}
	text := Marshal(&Event{ID: "n1-1", Source: "/c/n1/syscall", Type: TypeRuleMatched, Data: m.AppendJSON(nil)})
	for name, f := range map[string]func([]byte) bool{"own": Valid, "baseline=encoding/json": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if !f(text) {
					b.Fatal("not valid")
				}
			}
		})
	}
}

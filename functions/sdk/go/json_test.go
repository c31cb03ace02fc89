//go:build !wasip1

package tiercel

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseJSON(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `false`, `0`, `-0`, `12`, `-1.5e+10`, `1E3`, `0.1`, `""`, `"a"`, `[]`, `[ ]`, `{}`, `{ }`, ` [1 , 2] `, "\t{\n\"a\" : 1 , \"b\":[{}]}\r\n",
		`"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"`, `"\ud800"`, `"\ud800\u0041"`, `"\ud800x"`, `"\udc00"`, `"é😀"`, `{"a":{"b":"c"}}`, `{"\u0061":1}`,
		``, ` `, `nul`, `truex`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`, `"`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\\u\x101\x101\"", "\"\n\"", "\"\xff\"", `[`, `[1`, `[1,`, `[1,]`, `[,1]`, `{`, `{"a"`, `{"a":`,
		`{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `[1]]`, `{}{}`, `"a" "b"`, `NaN`,
	} {
		v, err := ParseJSON([]byte(text))
		var want any
		wantErr := json.Unmarshal([]byte(text), &want)
		if !utf8.ValidString(text) {
			want, wantErr = nil, ErrJSON // encoding/json takes it
		}
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%q: got %v, want %v", text, err, wantErr)
			continue
		}
		if diff := cmp.Diff(want, plain(v)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	if _, err := ParseJSON([]byte(strings.Repeat("[", 200) + strings.Repeat("]", 200))); err == nil {
		t.Error("a document 200 levels deep is accepted")
	}
}

// TestParseJSONAnywhere has what is not plain at every place in texts of many lengths, and more values than there is room for at first.
func TestParseJSONAnywhere(t *testing.T) {
	check := func(text string) {
		t.Helper()
		v, err := ParseJSON([]byte(text))
		var want any
		wantErr := json.Unmarshal([]byte(text), &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: got %v, want %v", text, err, wantErr)
		}
		if diff := cmp.Diff(want, plain(v)); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", text, diff)
		}
	}
	for _, odd := range []string{"", `\"`, `\u00e9`, "é", "\x1f", `"`, "\x7f", "\x00"} {
		for before := range 35 {
			for _, after := range []int{0, 1, 7, 8, 9} {
				s := strings.Repeat("x", before) + odd + strings.Repeat("y", after)
				check(`"` + s + `"`)
				check(`{"` + s + `":"` + s + `"}`)
				check(`["` + s)
			}
		}
	}
	check("[" + strings.Repeat("1,", 1000) + "1]")
	check("[" + strings.Repeat(`{"a":1},[],`, 1000) + "{}]")
	var members strings.Builder
	for i := range 1000 {
		members.WriteString(`,"` + strings.Repeat("k", i%20) + string(rune('a'+i%26)) + `": [ ] `)
	}
	check("{" + members.String()[1:] + "}")
	for n := range 40 {
		check(strings.Repeat(" ", n) + "[ 12 , -3 ]"[:min(n, 11)])
	}
}

// plain makes what encoding/json makes of a value.
func plain(v Value) any {
	switch v.Kind() {
	case Boolean:
		return v.Bool()
	case Number:
		return v.Float()
	case Text:
		return v.String()
	case Array:
		out := []any{}
		for item := range v.Items() {
			out = append(out, plain(item))
		}
		return out
	case Map:
		out := map[string]any{}
		for key, value := range v.Fields() {
			out[key] = plain(value)
		}
		return out
	}
	return nil
}

func TestValue(t *testing.T) {
	v, err := ParseJSON([]byte(`{"a":{"b.c":[1,"two",null,{"d":true}]},"n":-7,"f":1.5,"big":18446744073709551615,"s":"18446744073709551615","nul":null,"\u0061\"":"esc","a":"second"}`))
	if err != nil {
		t.Fatal(err)
	}
	var items []string
	for item := range v.Get("a", "b.c").Items() {
		items = append(items, item.Raw())
	}
	if diff := cmp.Diff([]string{"1", `"two"`, "null", `{"d":true}`}, items); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"strings leave others out", cmp.Diff(v.Get("a", "b.c").Strings(), []string{"two"}), ""},
		{"int", v.Get("n").Int(), int64(-7)},
		{"int of a fraction", v.Get("f").Int(), int64(0)},
		{"float", v.Get("f").Float(), 1.5},
		{"uint", v.Get("big").Uint(), uint64(math.MaxUint64)},
		{"uint in a text", v.Get("s").Uint(), uint64(math.MaxUint64)},
		{"an escaped key", v.Get(`a"`).String(), "esc"},
		{"null does not exist", v.Get("nul").Exists(), false},
		{"null is there", v.Get("nul").Kind(), Null},
		{"missing", v.Get("x", "y", "z").Kind(), Missing},
		{"into a text", v.Get("s", "y").Exists(), false},
		{"a map has no text", v.Get("a").String(), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	got, err := AppendJSON(nil, Object{
		"z": nil, "a": List{1, int32(2), int64(-3), uint32(4), uint64(5), 1.5, true, "x"},
		"text": "a\"\\\n\t\x00\x7f<é\xff", "map": map[string]string{"k": "v"}, "strings": []string{}, "objects": []Object{{}}, "value": parsed(`{"raw":1}`),
		"missing": Value{}, "values": []Value{parsed("1")}, "any": map[string]any{"b": []any{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":[1,2,-3,4,5,1.5,true,"x"],"any":{"b":[]},"map":{"k":"v"},"missing":null,"objects":[{}],"strings":[],` +
		`"text":"a\"\\\n\t\u0000\u007f<é` + "\uFFFD" + `","value":{"raw":1},"values":[1],"z":null}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, v := range []any{struct{}{}, List{struct{}{}}, Object{"a": make(chan int)}, math.NaN(), math.Inf(1)} {
		if _, err := AppendJSON(nil, v); !errors.Is(err, ErrValue) {
			t.Errorf("%v: got %v, want ErrValue", v, err)
		}
	}
}

// parsed is the value of a text that is JSON.
func parsed(text string) Value {
	v, err := ParseJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	return v
}

func FuzzParseJSON(f *testing.F) {
	f.Add(`{"a":[1,"two\u00e9",{"b":null}],"c":-1.5e3}`)
	f.Add("\"\\ud83d\\ude00\"")
	f.Add("2" + strings.Repeat("0", 400))
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseJSON([]byte(text))
		var want any
		dec := json.NewDecoder(strings.NewReader(text))
		wantErr := dec.Decode(&want)
		var beyond *json.UnmarshalTypeError // a number that no float64 holds
		if err == nil && wantErr != nil && !errors.As(wantErr, &beyond) {
			t.Fatalf("accepted, but encoding/json says %v", wantErr)
		}
		if err != nil {
			if json.Valid([]byte(text)) && utf8.ValidString(text) && strings.Count(text, "[")+strings.Count(text, "{") < maxDepth {
				t.Fatal("refused, but encoding/json accepts it")
			}
			return
		}
		again, err := ParseJSON([]byte(v.Raw()))
		if err != nil || again.Raw() != v.Raw() {
			t.Fatalf("%q does not parse to itself: %v", v.Raw(), err)
		}
		if wantErr == nil && !duplicate(v) {
			if diff := cmp.Diff(want, plain(v)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
	})
}

// duplicate reports whether a map in v has a key twice.
func duplicate(v Value) bool {
	seen := map[string]bool{}
	for key, value := range v.Fields() {
		if seen[key] || duplicate(value) {
			return true
		}
		seen[key] = true
	}
	for item := range v.Items() {
		if duplicate(item) {
			return true
		}
	}
	return false
}

func FuzzAppendText(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7f\xff\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		text := appendText(nil, s)
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := strings.ToValidUTF8(s, "")
		if strings.ReplaceAll(got, "\uFFFD", "") != strings.ReplaceAll(want, "\uFFFD", "") {
			t.Fatalf("%q became %q", s, got)
		}
		v, err := ParseJSON(text)
		if err != nil || v.String() != got {
			t.Fatalf("%s read as %q, %v", text, v.String(), err)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	text, err := AppendJSON(nil, Object{"id": "x", "data": Object{
		"rule": "r", "output": strings.Repeat("o", 300), "tags": []string{"a", "b"},
		"output_fields": Object{"proc.cmdline": "curl", "fd.sip": "203.0.113.10"}, "target": Object{"namespace": "n", "pod": "p", "podUID": "u"},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var ev Event
		if err := ev.parse(padded(text)); err != nil || ev.Target.PodName != "p" {
			b.Fatal(err)
		}
	}
}

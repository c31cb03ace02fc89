//go:build sdk

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// document is a host that answers every operation with a document.
type document []byte

func (d document) Call(context.Context, string, []byte) ([]byte, error) { return d, nil }

// The readers of the SDKs accept what encoding/json accepts, if it is UTF-8, and read the same from it: guests in each language go through
// a document (testdata/reader) and write what they read, within the sandbox.
func FuzzReaderC(f *testing.F)              { fuzzReader(f, "c") }
func FuzzReaderRust(f *testing.F)           { fuzzReader(f, "rust") }
func FuzzReaderAssemblyScript(f *testing.F) { fuzzReader(f, "assemblyscript") }
func FuzzReaderGo(f *testing.F)             { fuzzReader(f, "go") }

func fuzzReader(f *testing.F, language string) {
	for _, s := range []string{
		``, ` `, `0`, `-0`, `01`, `-`, `1.`, `1.5e+3`, `1E-2`, `.5`, `1e`, `123456789012345678901234567890`, `true`, `fals`, `nullx`, `null`, `""`, `"`,
		`"\u00e9\ud83d\ude00\ud83d x\udc00 \"\\\/\b\f\n\r\t"`, `"\u12"`, `"\x"`, `"a` + "\n" + `"`, `"a` + "\x00" + `"`, `"é😀"`, "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"",
		`"0123456789abcdef\"0123456789abcdef0123456"`, `"\u0000\u001f\u007f"`, `[]`, `[ ]`, `[1,"a",null,{"b":[]}]`, `[1,]`, `[,]`, `[1 2]`, `{}`, `{ }`,
		`{"a":1,"a":2,"\u0061":3}`, `{"a" : {"b":{"c":"}"}} , "d":[[],[{}]]}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1,}`, `{"a":1}}`, `[`, `{`, `{"a":[}`,
		strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 300), `["` + strings.Repeat("long ", 2000) + `"]`, "\ufeff1", "\t{\r\n}",
	} {
		f.Add([]byte(s))
	}
	useASC(f)
	bin, err := functions.Build(f.Context(), filepath.Join("testdata", "reader", language))
	if err != nil {
		f.Fatal(err)
	}
	m := compile(f, newEngine(f, 1), bin)
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) > 100_000 || depth(doc) > 100 {
			t.Skip("larger or deeper than any SDK has to read")
		}
		res, _, err := m.Handle(t.Context(), sandbox.Invocation{Event: []byte(`{}`), Time: time.Unix(1, 0)}, document(doc))
		if err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		want := json.Valid(doc) && utf8.Valid(doc)
		if got := res.Outcome == abi.OutcomeSucceeded; got != want {
			t.Fatalf("%q: read: %t, encoding/json reads it: %t (%+v)", doc, got, want, res)
		}
		if !want {
			return
		}
		if diff := cmp.Diff(tokens(t, append(append([]byte(`{"read":`), doc...), '}')), tokens(t, res.Data)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", doc, diff)
		}
	})
}

// depth is at least that of doc.
func depth(doc []byte) int {
	return bytes.Count(doc, []byte("[")) + bytes.Count(doc, []byte("{"))
}

// tokens are what encoding/json finds in a document, in their order: keys that are there twice too.
func tokens(t *testing.T, doc []byte) (all []json.Token) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		all = append(all, token)
	}
}

package sandbox

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions/abi"
)

var plainResults = []string{
	`{"outcome":"succeeded"}`,
	`{"outcome":"failed","code":"denied","text":"not granted","retry":true}`,
	`{"data":{"label":"a b","n":[1,{"x":"}\\\""}]},"outcome":"succeeded"}`,
}

// FuzzResult holds the hand-written reader against encoding/json: what it accepts, that accepts too, and reads the same.
func FuzzResult(f *testing.F) {
	for _, s := range append(plainResults,
		`{"outcome":"failed","outcome":"skipped"}`, `{"Outcome":"failed"}`, `{"outcome":"é"}`, `{"outcome":"skipped","data":null}`, `{}`, `{`,
		`{"outcome":"skipped","data":{]}}`, `{"outcome":"skipped","data":{"a":"\`, `{"outcome":"skipped","text":"\u0041"}`, `{"outcome":"skipped",}`,
		`{"outcome":"skipped","data":}}`, `{"outcome":"skipped"}}`, `{"outcome":"skipped","retry":true1}`, ` {"outcome":"skipped"}`,
	) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		got, ok := decodePlainResult(data)
		if !ok {
			return
		}
		var want abi.Result
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil || dec.InputOffset() != int64(len(data)) || !want.Outcome.Valid() {
			t.Fatalf("%q is accepted; encoding/json: %v", data, err)
		}
		want.Text = cut(clean(want.Text), abi.MaxText)
		clear(data)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", before, diff)
		}
	})
}

// What the SDKs write is read by hand.
func TestPlainResults(t *testing.T) {
	for _, s := range plainResults {
		if _, ok := decodePlainResult([]byte(s)); !ok {
			t.Errorf("%s is left to encoding/json", s)
		}
	}
}

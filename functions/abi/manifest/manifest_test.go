package manifest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

const empty = "\x00asm\x01\x00\x00\x00"

const small = `{"abi":"tiercel_v1","name":"f","version":"1","needs":{"kv":true}}`

func TestAppendAndRead(t *testing.T) {
	other := empty + "\x00\x03\x01xy" // a custom section of another name
	wasm, err := manifest.Append([]byte(other), []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(wasm), other) {
		t.Error("what was there has changed")
	}
	m, err := manifest.Read(wasm)
	if want := (abi.Manifest{ABI: "tiercel_v1", Name: "f", Version: "1", Needs: abi.Needs{KV: true}}); err != nil || !cmp.Equal(want, m) {
		t.Errorf("got %+v, %v; want %+v", m, err, want)
	}
	again, err := manifest.Append(wasm, []byte(strings.Replace(small, `"f"`, `"g"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := manifest.Read(again); err != nil || m.Name != "g" || len(again) != len(wasm) {
		t.Errorf("replaced: %+v, %v, %d bytes, want %d", m, err, len(again), len(wasm))
	}
}

func TestReadErrors(t *testing.T) {
	good, err := manifest.Append([]byte(empty), []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, wasm string
		want       error
		text       string
	}{
		{"nothing", "", manifest.ErrNotWasm, ""},
		{"text", "#!/bin/sh", manifest.ErrNotWasm, ""},
		{"no section", empty, manifest.ErrNoManifest, ""},
		{"cut short", string(good[:len(good)-1]), manifest.ErrNotWasm, "section at byte 8 is cut short"},
		{"huge length", empty + "\x00\xff\xff\xff\xff\x0f", manifest.ErrNotWasm, "cut short"},
		{"no length", empty + "\x00\xff", manifest.ErrNotWasm, "cut short"},
		{"no name", empty + "\x00\x02\x10x", manifest.ErrNotWasm, "has no name"},
		{"two", string(good) + string(good[8:]), nil, "two manifest sections"},
		{"not JSON", empty + "\x00\x12\x10tiercel.manifest{", nil, "unexpected EOF"},
	} {
		_, err := manifest.Read([]byte(tt.wasm))
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v; want %v %s", tt.name, err, tt.want, tt.text)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ json, want string }{
		{`{`, "unexpected EOF"},
		{"{\n  \"abi\": 7}", "line 2, column 10"},
		{"{\n  \"abi\": \"x\",,}", "line 2, column 14"},
		{`{"abi":"tiercel_v1","name":"f","version":"1","needs":{},"x":1}`, `unknown key "x": a manifest has abi, name`},
		{`{"abi":"tiercel_v1","name":"f","version":"1","needs":{"kubernets":[]}}`, `its needs have kubernetes, exec, http`},
		{small + small, "something follows"},
		{`{"abi":"tiercel_v2","name":"F","version":"","needs":{}}`, `abi: "tiercel_v2"; this runtime knows "tiercel_v1"`},
		{`{"abi":"tiercel_v1","name":"F","version":"1","needs":{}}`, `name: "F" is not a DNS label`},
		{`{"abi":"tiercel_v1","name":"f","version":"1 2","needs":{}}`, `version: "1 2"`},
		{needs(`{"resources":["pods"],"verbs":["get"]}`), "needs.kubernetes[0]: apiGroups, resources and verbs each need an entry"},
		{needs(`{"apiGroups":["Apps"],"resources":["pods"],"verbs":["get"]}`), `needs.kubernetes[0].apiGroups: "Apps"`},
		{needs(`{"apiGroups":["*"],"resources":["pods"],"verbs":["get"]}`), `"*" is not the name of a group`},
		{needs(`{"apiGroups":[""],"resources":["Pod"],"verbs":["get"]}`), `needs.kubernetes[0].resources: "Pod"`},
		{needs(`{"apiGroups":[""],"resources":["pods"],"verbs":["watch"]}`), `needs.kubernetes[0].verbs: "watch" is none of get, list, create, patch, delete`},
		{config(`{"type":"string"}`), `config.type: "string"; want "object"`},
		{config(`{"type":"object","properties":{"a":{"type":"text"}}}`), `config.properties.a.type: "text" is no type`},
		{config(`{"type":"object","properties":{"a":null}}`), "config.properties.a: null is no schema"},
		{config(`{"type":"object","required":["b"]}`), `config.required: "b" is none of the properties`},
		{config(`{"type":"object","properties":{"a":{"type":"string","pattern":"("}}}`), "config.properties.a.pattern: error parsing regexp"},
		{config(`{"type":"object","properties":{"a":{"type":"integer","default":1.5}}}`), "config.properties.a.default: 1.5 is not an integer"},
		{config(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"x"}}}}`), `config.properties.a.items.type: "x" is no type`},
		{config(`{"type":"object","oneOf":[{"required":["b"]}]}`), `config.oneOf[0].required: "b" is none of the properties`},
		{config(`{"type":"object","oneOf":[{"required":[]}]}`), `config.oneOf[0].required: is empty`},
		{config(`{"type":"object","properties":{"a":{"type":"string","grant":"exec"}}}`), "config.properties.a.grant: exec is for an array of strings"},
		{config(`{"type":"object","properties":{"a":{"type":"array","grant":"http"}}}`), "config.properties.a.grant: http is for a string"},
		{config(`{"type":"object","properties":{"a":{"type":"string","grant":"url"}}}`), `config.properties.a.grant: "url" is none of exec, exec.container, http, secrets`},
		{`"` + strings.Repeat("x", abi.MaxManifest) + `"`, "more than 65536"},
	} {
		if _, err := manifest.Parse([]byte(tt.json)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: got %v; want %q", tt.json, err, tt.want)
		}
	}
}

func needs(k string) string {
	return `{"abi":"tiercel_v1","name":"f","version":"1","needs":{"kubernetes":[` + k + `]}}`
}

func config(c string) string {
	return `{"abi":"tiercel_v1","name":"f","version":"1","needs":{},"config":` + c + `}`
}

// The manifests of the bundled responders that have a file of it are good. Those in JavaScript say theirs in their source.
func TestBundled(t *testing.T) {
	files, _ := filepath.Glob("../../*/manifest.json")
	if len(files) == 0 {
		t.Errorf("found %q", files)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := manifest.Parse(data); err != nil || m.Name != filepath.Base(filepath.Dir(file)) {
			t.Errorf("%s: %q, %v", file, m.Name, err)
		}
	}
}

func TestApplyConfig(t *testing.T) {
	m, err := manifest.Parse([]byte(config(`{"type":"object","required":["url"],"properties":{
		"url":{"type":"string","maxLength":20,"pattern":"^https://"},
		"mode":{"type":"string","enum":["a","b"],"default":"a"},
		"n":{"type":"integer","minimum":0,"maximum":10},
		"f":{"type":"number"},
		"on":{"type":"boolean","default":true},
		"list":{"type":"array","maxItems":2,"items":{"type":"string"},"default":["x"]},
		"map":{"type":"object","additionalProperties":{"type":"integer"}}}}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ config, want string }{
		{`{"url":"https://x"}`, `{"list":["x"],"mode":"a","on":true,"url":"https://x"}`},
		{` {"url":"https://<&>", "mode":"b", "n":9007199254740993e0, "f":1.5, "on":false, "list":[], "map":{"k":2}} `, "config.n: 9007199254740993e0 is above 10"},
		{`{"url":"https://<&>","mode":"b","n":10,"f":1.50,"on":false,"list":[],"map":{"k":2}}`, `{"f":1.50,"list":[],"map":{"k":2},"mode":"b","n":10,"on":false,"url":"https://<&>"}`},
		{``, "config.url: is required"},
		{`{"url":7}`, "config.url: want string, got 7"},
		{`{"url":null}`, "config.url: want string, got null"},
		{`{"url":"http://x"}`, `config.url: "http://x" does not match ^https://`},
		{`{"url":"https://x/123456789012"}`, "config.url: 22 bytes, more than 20"},
		{`{"url":"https://x","mode":"c"}`, `config.mode: "c" is none of a, b`},
		{`{"url":"https://x","n":1.5}`, "config.n: 1.5 is not an integer"},
		{`{"url":"https://x","n":-1}`, "config.n: -1 is below 0"},
		{`{"url":"https://x","f":1e999}`, "config.f: 1e999 is out of range"},
		{`{"url":"https://x","list":["a","b","c"]}`, "config.list: 3 items, more than 2"},
		{`{"url":"https://x","list":["a",true]}`, "config.list[1]: want string, got true"},
		{`{"url":"https://x","map":{"k":"v"}}`, `config.map.k: want integer, got "v"`},
		{`{"url":"https://x","extra":1}`, "config.extra: unknown key; known are f, list, map, mode, n, on, url"},
		{`[]`, "config: want object, got an array"},
		{`{"url":"https://x"} {}`, "config: something follows the value"},
		{`{`, "config: unexpected EOF"},
		{`"` + strings.Repeat("x", abi.MaxConfig) + `"`, "more than 65536"},
	} {
		got, err := manifest.ApplyConfig(m.Config, []byte(tt.config))
		if strings.HasPrefix(tt.want, "{") {
			if err != nil || string(got) != tt.want {
				t.Errorf("%s: got %s, %v; want %s", tt.config, got, err, tt.want)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: got %s, %v; want %q", tt.config, got, err, tt.want)
		}
	}
	if got, err := manifest.ApplyConfig(nil, nil); err != nil || string(got) != "{}" {
		t.Errorf("no schema: %s, %v", got, err)
	}
	if _, err := manifest.ApplyConfig(nil, []byte(`{"a":1}`)); err == nil || !strings.Contains(err.Error(), "config.a: unknown key; known are none") {
		t.Errorf("no schema, but a key: %v", err)
	}
}

func TestOneOf(t *testing.T) {
	m, err := manifest.Parse([]byte(config(`{"type":"object","oneOf":[{"required":["a"]},{"required":["b","c"]}],
		"properties":{"a":{"type":"string"},"b":{"type":"string"},"c":{"type":"string"}}}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ config, want string }{
		{`{"a":""}`, ""},
		{`{"b":"","c":""}`, ""},
		{`{"a":"","b":""}`, ""},
		{`{"b":""}`, "config: set exactly one of a, b and c; 0 are set"},
		{`{"a":"","b":"","c":""}`, "config: set exactly one of a, b and c; 2 are set"},
	} {
		_, err := manifest.ApplyConfig(m.Config, []byte(tt.config))
		if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
			t.Errorf("%s: got %v; want %q", tt.config, err, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	good, err := manifest.Append([]byte(empty), []byte(small))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if _, err := manifest.Read(wasm); err != nil {
			return
		}
		again, err := manifest.Append(wasm, []byte(small))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := manifest.Read(again); err != nil || m.Name != "f" {
			t.Fatalf("%+v, %v", m, err)
		}
	})
}

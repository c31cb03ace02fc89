package fncmd

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

// tiny is a module that handles every event by doing nothing:
//
//	(module (memory (export "memory") 1) (func (export "tiercel_handle") (param i32) (result i32) i32.const 0))
var tiny = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x06\x01\x60\x01\x7f\x01\x7f" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x1b\x02\x06memory\x02\x00\x0etiercel_handle\x00\x00" + "\x0a\x06\x01\x04\x00\x41\x00\x0b")

const tinyManifest = `{"abi": "tiercel_v1", "name": "tiny", "version": "1.2.3", "needs": {"kv": true}}`

const tinyDoc = `apiVersion: tiercel.dev/v1alpha1
kind: Function
metadata: {name: tiny}
spec:
  module: file:tiny.wasm
  triggers: [{rules: [Some rule]}]
  grants: {kv: true}
`

// data starts a server as tiercel run does, and returns its data directory.
func data(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cfg := bus.DefaultServerConfig()
	cfg.DataDir = t.TempDir()
	bustest.Start(t, cfg)
	return cfg.DataDir
}

// run runs tiercel fn with the arguments.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := New(cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	code = cli.Report(&errs, cmd.ExecuteContext(context.Background()))
	return code, out.String(), errs.String()
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLifeOfAFunction(t *testing.T) {
	d, dir := data(t), t.TempDir()
	module, err := manifest.Append(tiny, []byte(tinyManifest))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "tiny.wasm", module)
	doc := write(t, dir, "tiny.yaml", []byte(tinyDoc))
	for _, step := range []struct {
		args []string
		code int
		want string // in stdout, or in stderr if the code is not 0
	}{
		{[]string{"list"}, 0, "NAME"},
		{[]string{"deploy", "-f", doc, "--dry-run"}, 0, "tiny is in order (mode dryRun)"},
		{[]string{"get", "tiny"}, 1, `error: there is no function "tiny"`},
		{[]string{"deploy", "-f", doc}, 0, "tiny created, revision 1, mode dryRun"},
		{[]string{"deploy", "-f", dir}, 0, "tiny unchanged, revision 1, mode dryRun"},
		{[]string{"get", "tiny"}, 0, "module:      file:tiny.wasm 1.2.3"},
		{[]string{"get", "tinny"}, 1, `error: there is no function "tinny" (did you mean "tiny"?)`},
		{[]string{"get", "default/tinny"}, 1, `error: there is no function "default/tinny" (did you mean "default/tiny"?)`},
		{[]string{"suspend", "tiny"}, 0, "tiny suspended"},
		{[]string{"list"}, 0, "suspended"},
		{[]string{"resume", "tiny"}, 0, "tiny resumed"},
		{[]string{"delete", "tiny"}, 0, "tiny deleted"},
		{[]string{"delete", "tiny"}, 1, "there is no function"},
		{[]string{"suspend"}, 1, "requires at least 1 arg"},
	} {
		code, stdout, stderr := run(t, append(step.args, "--data", d)...)
		got := stdout
		if code != 0 {
			got = stderr
		}
		if code != step.code || !strings.Contains(got, step.want) {
			t.Errorf("tiercel fn %v: exit %d, stdout %q, stderr %q, want %q", step.args, code, stdout, stderr, step.want)
		}
	}
	if err := os.WriteFile(doc, []byte(strings.Replace(tinyDoc, "triggers", "mode: enforce\n  triggers", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t, "deploy", "-f", doc, "-o", "json", "--data", d)
	var got []deployed
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got[0].Revision != 1 || got[0].Mode != "enforce" {
		t.Errorf("deployed again after deletion: %d %s %s", code, stdout, stderr)
	}
}

// What cannot work is refused before anything is stored, with the place and what to do.
func TestDeployRefuses(t *testing.T) {
	d, dir := data(t), t.TempDir()
	good, err := manifest.Append(tiny, []byte(tinyManifest))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		module []byte
		doc    string
		want   []string
	}{
		{"no module", nil, tinyDoc, []string{"x.yaml:5:11: spec.module: there is no", "tiercel fn build"}},
		{"no wasm", []byte("#!/bin/sh\n"), tinyDoc, []string{"x.yaml:5:11: spec.module: file:tiny.wasm is no module of a function", "hint: "}},
		{"no manifest", tiny, tinyDoc, []string{"spec.module", "manifest"}},
		{"spins when it starts", spinning(t), tinyDoc, []string{"x.yaml:5:11: spec.module: file:tiny.wasm does not compile"}},
		{"not granted", good, strings.Replace(tinyDoc, "  grants: {kv: true}\n", "", 1), []string{`module "tiny" needs kv, which is not granted`}},
		{"not needed", good, strings.Replace(tinyDoc, "kv: true", `kv: true, http: ["https://example.com/"]`, 1), []string{"x.yaml:7:", `grants http, which module "tiny" does not need`}},
		{"no configuration", good, tinyDoc + "  config: {a: 1}\n", []string{"x.yaml:8:", "spec.config"}},
		{"misspelled", good, strings.Replace(tinyDoc, "grants:", "grant:", 1), []string{`x.yaml:7:3: spec.grant: unknown key "grant" (did you mean "grants"?)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(filepath.Join(dir, "tiny.wasm"))
			if c.module != nil {
				write(t, dir, "tiny.wasm", c.module)
			}
			doc := write(t, dir, "x.yaml", []byte(c.doc))
			code, stdout, stderr := run(t, "deploy", "-f", doc, "--data", d)
			if code != cli.ExitError || stdout != "" {
				t.Errorf("exit %d, stdout %q", code, stdout)
			}
			for _, w := range c.want {
				if !strings.Contains(stderr, w) {
					t.Errorf("stderr %q lacks %q", stderr, w)
				}
			}
		})
	}
	if _, stdout, _ := run(t, "list", "-o", "json", "--data", d); strings.TrimSpace(stdout) != "[]" {
		t.Errorf("something was stored: %s", stdout)
	}
}

// spinning is tiny with an _initialize that loops for ever.
func spinning(t *testing.T) []byte {
	t.Helper()
	m := []byte("\x00asm\x01\x00\x00\x00" + "\x01\x09\x02\x60\x01\x7f\x01\x7f\x60\x00\x00" + "\x03\x03\x02\x00\x01" + "\x05\x03\x01\x00\x01" +
		"\x07\x29\x03\x06memory\x02\x00\x0etiercel_handle\x00\x00\x0b_initialize\x00\x01" +
		"\x0a\x0e\x02\x04\x00\x41\x00\x0b\x07\x00\x03\x40\x0c\x00\x0b\x0b")
	m, err := manifest.Append(m, []byte(tinyManifest))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my-responder")
	code, stdout, stderr := run(t, "init", dir, "--lang", "go")
	if code != 0 || !strings.Contains(stdout, "tiercel fn deploy "+dir) {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	docs, err := readDocs(dir)
	if err != nil || len(docs) != 1 || docs[0].Metadata.Name != "my-responder" || !isSource(dir) {
		t.Errorf("got %v, %v", docs, err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{{[]string{"init", dir}, cli.ExitError}, {[]string{"init", "Not_A_Name"}, cli.ExitUsage}, {[]string{"init", "x", "--lang", "cobol"}, cli.ExitUsage}} {
		if code, _, stderr := run(t, c.args...); code != c.code || !strings.HasPrefix(stderr, "error: ") {
			t.Errorf("%v: exit %d, %q", c.args, code, stderr)
		}
	}
}

package fncmd

import (
	"strings"
	"testing"
)

const tenLines = `export const manifest = {
  needs: { kubernetes: [{ apiGroups: [""], resources: ["pods"], verbs: ["patch"] }] },
};
export const spec = { triggers: [{ rules: ["Terminal shell in container"] }] };

export default function (event, tiercel) {
  event.pod.label("example.com/seen", tiercel.labelValue(event.rule));
}
`

// A source is deployed by one command, without a toolchain, a document or a manifest file.
func TestDeploySource(t *testing.T) {
	d, dir := data(t), t.TempDir()
	js := write(t, dir, "label.js", []byte(tenLines))
	ts := write(t, dir, "typed.ts", []byte(strings.Replace(tenLines, "(event, tiercel)", "(event: any, tiercel: any): void", 1)))
	beside := write(t, dir, "beside.js", []byte(strings.Replace(tenLines, "export const spec", "const spec", 1)))
	write(t, dir, "beside.yaml", []byte("apiVersion: tiercel.dev/v1alpha1\nkind: Function\nmetadata: {name: other-name}\nspec:\n  module: file:beside.js\n"+
		"  triggers: [{rules: [Some rule]}]\n  mode: enforce\n  grants: {kubernetes: [{apiGroups: [\"\"], resources: [pods], verbs: [patch]}]}\n"))
	write(t, dir, "label.test.js", []byte("not a function"))
	write(t, dir, "tiercel.d.ts", []byte("declare const tiercel: any;"))
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"deploy", js, "--dry-run"}, "label is in order (mode dryRun)"},
		{[]string{"deploy", js}, "label created, revision 1, mode dryRun"},
		{[]string{"deploy", js}, "label unchanged, revision 1, mode dryRun"},
		{[]string{"deploy", "-f", ts}, "typed created, revision 1, mode dryRun"},
		{[]string{"deploy", beside}, "other-name created, revision 1, mode enforce"},
		{[]string{"deploy", dir}, "other-name unchanged, revision 1, mode enforce\nlabel unchanged, revision 1, mode dryRun\ntyped unchanged, revision 1, mode dryRun\n"},
		{[]string{"get", "label"}, "- apiGroups:"},
	} {
		if code, stdout, stderr := run(t, append(step.args, "--data", d)...); code != 0 || !strings.Contains(stdout, step.want) {
			t.Errorf("tiercel fn %v: exit %d, stdout %q, stderr %q, want %q", step.args, code, stdout, stderr, step.want)
		}
	}
	write(t, dir, "label.js", []byte(tenLines+"// changed\n"))
	if _, stdout, stderr := run(t, "deploy", js, "--data", d); !strings.Contains(stdout, "label updated, revision 2") {
		t.Errorf("got %q, %q", stdout, stderr)
	}
}

func TestDeploySourceRefuses(t *testing.T) {
	d, dir := data(t), t.TempDir()
	for _, c := range []struct{ name, old, new, want string }{
		{"syntax", "event.pod.label(", "event.pod.label((", "x.js:7:71: SyntaxError"},
		{"no spec", "export const spec", "const spec", "x.js: says neither when it runs nor what it may do: add `export const spec"},
		{"unknown key", "rules: [", "rule: [", `x.js:4:36: spec.triggers[0].rule: unknown key "rule" (did you mean "rules"?)`},
		{"no triggers", `[{ rules: ["Terminal shell in container"] }]`, "[]", "x.js:4:23: spec.triggers: is empty"},
		{"mode", "export const spec = {", `export const spec = { mode: "dry",`, `x.js:4:23: spec.mode: "dry" is none of dryRun, enforce`},
		{"module", "export const spec = {", `export const spec = { module: "file:x.wasm",`, "x.js:4:23: spec.module: the module is this file"},
		{"grants too much", "export const spec = {", `export const spec = { grants: { kv: true },`, `grants kv, which module "x" does not need`},
		{"no URL is granted", "needs: {", "needs: { http: true,", `x.js:4:1: spec.grants.http: module "x" needs http, which is not granted`},
		{"need", `verbs: ["patch"]`, `verbs: ["steal"]`, `x.js:1: manifest: needs.kubernetes[0].verbs: "steal" is none of`},
		{"import", "export const spec", "import 'fs';\nexport const spec", "hint: a function is one file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			js := write(t, dir, "x.js", []byte(strings.Replace(tenLines, c.old, c.new, 1)))
			code, stdout, stderr := run(t, "deploy", js, "--data", d)
			if code == 0 || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, stdout %q, stderr %q, want %q", code, stdout, stderr, c.want)
			}
		})
	}
	if _, stdout, _ := run(t, "list", "-o", "json", "--data", d); strings.TrimSpace(stdout) != "[]" {
		t.Errorf("something was stored: %s", stdout)
	}
}

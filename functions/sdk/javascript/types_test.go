//go:build sdk

package javascript_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
)

// check runs the compiler of npm ci in this folder over the folder of a new function, to which file has been added.
func check(t *testing.T, file, source string) (string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my-responder")
	if _, err := functions.WriteTemplate(dir, "my-responder", "javascript"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	tsc, err := filepath.Abs("node_modules/typescript/bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", tsc, "-p", "jsconfig.json")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The template and everything that the SDK offers have types.
func TestTypes(t *testing.T) {
	out, err := check(t, "all.ts", `/// <reference path="./tiercel.d.ts" />
export const manifest: tiercel.Manifest = {
  needs: { kubernetes: [{ apiGroups: [""], resources: ["pods/log"], verbs: ["get"], optional: true }], http: true, kv: true, secrets: true },
  config: { type: "object", properties: { n: { type: "integer", minimum: 1, default: 2 } } },
};
export const spec: tiercel.Spec = {
  triggers: [{ rules: ["*"], namespaces: { exclude: ["kube-system"] }, condition: "fd.sport = 443" }],
  mode: "enforce", grants: { http: ["https://example.com/"], reach: "namespace" }, limits: { timeout: "1s" },
};
const handler: Handler = async (event, tiercel) => {
  if (!event.pod.exists || event.field("fd.sport") === 443) return tiercel.skip("not mine");
  const uid: string = event.pod.get().metadata.uid;
  const { length, more } = event.pod.namespace.networkPolicies().list({ labelSelector: "a=b" });
  try {
    tiercel.kubernetes("apps/v1", "deployments").in("shop").patch("web", { spec: { replicas: 0 } }, { type: "merge", uid });
    event.pod.evict({ graceSeconds: 0 });
    event.pod.delete();
  } catch (error) {
    if (error instanceof tiercel.Error && error.code === "not_found") throw event.pod.skipIfGone(error);
    throw tiercel.retry(error);
  }
  const last = Number(tiercel.kv.get("last").value ?? 0);
  tiercel.kv.put("last", String(last + 1), { ttlSeconds: 60 });
  const response = tiercel.postJSON(tiercel.secret("hook"), { length, more, tags: event.tags });
  tiercel.report("status", response.ok ? response.json() : response.status);
  console.warn(tiercel.labelValue(event.rule), tiercel.config.n, tiercel.invocation.id, event.text.length);
  if (event.target.pid! > 1) return tiercel.ineffective("still there");
};
export default handler;
`)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is misspelled or misused is found in the editor.
func TestTypesRefuse(t *testing.T) {
	out, err := check(t, "wrong.ts", `/// <reference path="./tiercel.d.ts" />
export const spec: tiercel.Spec = { triggers: [{ rule: ["*"] }] };
export const manifest: tiercel.Manifest = { needs: { kubernetes: [{ apiGroups: [""], resources: ["pods"], verbs: ["steal"] }] } };
const handler: Handler = (event, tiercel) => {
  event.pod.lable("a", "b");
  event.rule = "mine";
  tiercel.kubernetes("v1", "pods").delete("web-1", {});
  fetch("https://example.com/");
};
export default handler;
`)
	for _, want := range []string{
		"wrong.ts(2,50): error TS2561", "wrong.ts(3,115)", `wrong.ts(5,13): error TS2551: Property 'lable' does not exist on type 'Pod'. Did you mean 'label'?`,
		"wrong.ts(6,9)", "wrong.ts(7,", "wrong.ts(8,3): error TS2304: Cannot find name 'fetch'",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if err == nil || t.Failed() {
		t.Logf("it said %v\n%s", err, out)
	}
}

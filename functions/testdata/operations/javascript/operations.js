// The function operations performs, step by step, every operation that the SDK has a function for. What it asks of the host is the same in each
// language: the cases are those of the folder beside it.

export const manifest = {
  version: "1.0.0",
  description: "Performs every operation, for tests",
  needs: {
    kubernetes: [
      { apiGroups: [""], resources: ["pods", "pods/log", "pods/eviction"], verbs: ["get", "create", "patch", "delete"] },
      { apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "list", "create", "patch", "delete"] },
    ],
    exec: true,
    http: true,
    kv: true,
    secrets: true,
    artifacts: true,
  },
};

const steps = {
  kubernetes(tiercel, text) {
    const r = tiercel.kubernetes("apps/v1", "deployments").in("shop");
    tiercel.report("name", r.get("web").metadata.name);
    tiercel.report("items", r.list({ labelSelector: "app=web", max: 2 }).length);
    const made = r.create({ apiVersion: "apps/v1", kind: "Deployment", metadata: { generateName: "web-", annotations: { note: text } } });
    tiercel.report("made", made.metadata.name);
    r.patch("web", [{ op: "replace", path: "/spec/replicas", value: 0 }], { type: "json", uid: "u-1" });
    r.delete("web", { uid: "u-1", graceSeconds: 30 });
  },
  pod(tiercel, text, { pod }) {
    tiercel.report("phase", pod.get().status.phase);
    pod.label("example.com/l", tiercel.labelValue(text));
    pod.annotate("example.com/a", text);
    tiercel.report("log", pod.logs({ container: "web", tailLines: 20 }));
    pod.evict();
    pod.delete({ graceSeconds: 0 });
  },
  command(tiercel, text, { pod }) {
    const { exitCode, stdout, stderr, truncated } = pod.exec(["cat", "/proc/net/tcp", text], { container: "web" });
    tiercel.report("exitCode", exitCode);
    tiercel.report("stdout", stdout);
    tiercel.report("stderr", stderr);
    tiercel.report("truncated", truncated);
  },
  http(tiercel, text) {
    const got = tiercel.http({ method: "PUT", url: tiercel.secret("hook", "url"), headers: { "x-note": "n" }, body: text });
    tiercel.report("status", got.status);
    tiercel.report("body", got.body);
    tiercel.report("type", got.headers["content-type"]);
    tiercel.report("posted", tiercel.postJSON("https://example.com/hook", { text }).status);
  },
  kv({ kv, report }, text) {
    const { value, revision } = kv.get("seen/a");
    report("value", value ?? "");
    report("revision", kv.put("seen/a", text, { revision, ttlSeconds: 60 }));
    kv.put("seen/b", text);
    kv.delete("seen/a");
  },
  artifact(tiercel, text) {
    tiercel.report("digest", tiercel.artifact("a.log", text));
  },
  error(tiercel) {
    try {
      tiercel.kv.get("k");
    } catch (error) {
      tiercel.report("code", error.code);
      tiercel.report("text", error.message);
      tiercel.report("retry", error.retry);
    }
  },
  log(tiercel, text) {
    tiercel.progress(text);
    console.log(text);
    console.warn(text);
  },
  // Time and random numbers are the event's: a second draw differs, and the clock begins at the event's time.
  clock(tiercel) {
    tiercel.report("differs", Math.random() !== Math.random());
    tiercel.report("seconds", Math.floor(Date.now() / 1000));
  },
};

export default function (event, tiercel) {
  steps[event.field("step")](tiercel, event.field("text"), event);
}

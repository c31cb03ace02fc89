// The function operations performs, step by step, every operation that the SDK has a function for. What it asks of the host is the same in each
// language: the cases are those of the folder beside it.
import {
  Answer, Event, List, ListOptions, Obj, Outcome, Pod, artifact, handle, http, kubernetes, kvDelete, kvGet, kvPut, kvUpdate, labelValue, log, postJSON, progress,
  report, secret, warn,
} from "tiercel";
export { tiercel_handle, tiercel_warm } from "tiercel";

handle((ev: Event): Outcome => {
  const step = ev.field("step").text;
  const text = ev.field("text").text;
  const pod = ev.target.pod();
  if (step == "kubernetes") return onKubernetes(text);
  if (step == "pod" && pod != null) return onPod(pod, text);
  if (step == "command" && pod != null) return onCommand(pod, text);
  if (step == "http") return onHTTP(text);
  if (step == "kv") return onKV(text);
  if (step == "artifact") {
    const kept = artifact("a.log", text);
    report().value("digest", kept.value);
    return end(kept);
  }
  if (step == "error") {
    const a = kvGet("k");
    report().text("code", a.code).text("text", a.text).bool("retry", a.retry);
    return Outcome.done();
  }
  if (step == "log") {
    progress(text);
    log(text);
    warn(text);
    return Outcome.done();
  }
  return Outcome.fail("there is no such step");
});

function end(a: Answer): Outcome {
  return a.ok ? Outcome.done() : Outcome.failed(a);
}

function onKubernetes(text: string): Outcome {
  const r = kubernetes("apps/v1", "deployments").within("shop");
  const got = r.get("web");
  if (!got.ok) return Outcome.failed(got);
  report().value("name", got.value.get("metadata").get("name"));
  const o = new ListOptions();
  o.labelSelector = "app=web";
  o.limit = 2;
  const list = r.list(o);
  if (!list.ok) return Outcome.failed(list);
  report().int("items", list.value.get("items").items.length);
  const metadata = new Obj().text("generateName", "web-").obj("annotations", new Obj().text("note", text));
  const made = r.create(new Obj().text("apiVersion", "apps/v1").text("kind", "Deployment").obj("metadata", metadata));
  if (!made.ok) return Outcome.failed(made);
  report().value("made", made.value.get("metadata").get("name"));
  const patch = new List().obj(new Obj().text("op", "replace").text("path", "/spec/replicas").int("value", 0));
  const patched = r.patch("web", "u-1", patch.end(), "json");
  if (!patched.ok) return Outcome.failed(patched);
  return end(r.delete("web", "u-1", 30));
}

function onPod(pod: Pod, text: string): Outcome {
  const got = pod.get();
  if (!got.ok) return Outcome.failed(got);
  report().value("phase", got.value.get("status").get("phase"));
  const labelled = pod.label("example.com/l", labelValue(text));
  if (!labelled.ok) return Outcome.failed(labelled);
  const annotated = pod.annotate("example.com/a", text);
  if (!annotated.ok) return Outcome.failed(annotated);
  const lines = pod.log("web", 20);
  if (!lines.ok) return Outcome.failed(lines);
  report().value("log", lines.value);
  const evicted = pod.evict();
  if (!evicted.ok) return Outcome.failed(evicted);
  return end(pod.delete(0));
}

function onCommand(pod: Pod, text: string): Outcome {
  const ran = pod.exec("web", ["cat", "/proc/net/tcp", text]);
  if (!ran.ok) return Outcome.failed(ran);
  report().int("exitCode", ran.value.get("exitCode").int).text("stdout", ran.value.get("stdout").text);
  report().text("stderr", ran.value.get("stderr").text).bool("truncated", ran.value.get("truncated").bool);
  return Outcome.done();
}

function onHTTP(text: string): Outcome {
  const url = secret("hook", "url");
  if (!url.ok) return Outcome.failed(url);
  const got = http("PUT", url.value.text, new Obj().text("x-note", "n"), text);
  if (!got.ok) return Outcome.failed(got);
  report().value("status", got.value.get("status")).value("body", got.value.get("body")).value("type", got.value.get("headers").get("content-type"));
  const posted = postJSON("https://example.com/hook", new Obj().text("text", text));
  if (!posted.ok) return Outcome.failed(posted);
  report().value("posted", posted.value.get("status"));
  return Outcome.done();
}

function onKV(text: string): Outcome {
  const entry = kvGet("seen/a");
  if (!entry.ok) return Outcome.failed(entry);
  report().text("value", entry.value.get("value").text);
  const put = kvUpdate("seen/a", text, entry.value.get("revision").uint, 60);
  if (!put.ok) return Outcome.failed(put);
  report().value("revision", put.value);
  const other = kvPut("seen/b", text);
  if (!other.ok) return Outcome.failed(other);
  return end(kvDelete("seen/a"));
}

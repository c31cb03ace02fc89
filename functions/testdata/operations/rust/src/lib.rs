//! The function operations performs, step by step, every operation that the SDK has a function for. What it asks of the host is the same in
//! each language: the cases are those of the folder beside it.

use tiercel::{json, report, Event, List, Pod, Request};

tiercel::handle!(handle);

fn handle(ev: &Event) -> tiercel::Result {
    let text = ev.field("text").str();
    match ev.field("step").str() {
        "kubernetes" => kubernetes(text),
        "pod" => pod(ev.target.pod()?, text),
        "command" => command(ev.target.pod()?, text),
        "http" => http(text),
        "kv" => kv(text),
        "artifact" => {
            report("digest", tiercel::artifact("a.log", text)?);
            Ok(())
        }
        "error" => {
            if let Err(e) = tiercel::kv_get("k") {
                report("code", e.code.as_str());
                report("text", e.text);
                report("retry", e.retry);
            }
            Ok(())
        }
        "log" => {
            tiercel::progress(text);
            tiercel::log(text);
            tiercel::warn(text);
            Ok(())
        }
        _ => tiercel::fail("there is no such step"),
    }
}

fn kubernetes(text: &str) -> tiercel::Result {
    let r = tiercel::kubernetes("apps/v1", "deployments").within("shop");
    report("name", r.get("web")?.path(&["metadata", "name"]));
    let (items, _) = r.list(List { label_selector: "app=web", limit: 2, ..List::default() })?;
    report("items", items.len());
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generateName": "web-", "annotations": {"note": text}}});
    report("made", r.create(&object)?.path(&["metadata", "name"]));
    r.patch_as("json", "web", "u-1", &json!([{"op": "replace", "path": "/spec/replicas", "value": 0}]))?;
    r.delete("web", "u-1", Some(30))?;
    Ok(())
}

fn pod(pod: Pod, text: &str) -> tiercel::Result {
    report("phase", pod.get()?.path(&["status", "phase"]));
    pod.label("example.com/l", &tiercel::label_value(text))?;
    pod.annotate("example.com/a", text)?;
    report("log", pod.log("web", 20)?);
    pod.evict()?;
    pod.delete(Some(0))?;
    Ok(())
}

fn command(pod: Pod, text: &str) -> tiercel::Result {
    let ran = pod.exec("web", &["cat", "/proc/net/tcp", text])?;
    report("exitCode", ran.exit_code);
    report("stdout", ran.stdout);
    report("stderr", ran.stderr);
    report("truncated", ran.truncated);
    Ok(())
}

fn http(text: &str) -> tiercel::Result {
    let url = tiercel::secret("hook", "url")?;
    let got = tiercel::http(&Request { method: "PUT", url, headers: &[("x-note", "n")], body: text })?;
    report("status", got.status);
    report("body", got.body);
    report("type", got.headers.get("content-type"));
    report("posted", tiercel::post_json("https://example.com/hook", &json!({"text": text}))?.status);
    Ok(())
}

fn kv(text: &str) -> tiercel::Result {
    let (value, revision) = tiercel::kv_get("seen/a")?;
    report("value", value);
    report("revision", tiercel::kv_put("seen/a", text, Some(revision), 60)?);
    tiercel::kv_put("seen/b", text, None, 0)?;
    tiercel::kv_delete("seen/a")?;
    Ok(())
}

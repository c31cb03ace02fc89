//! The function mark-pod labels the event's pod with the rule, and skips the pods of namespaces that its configuration spares.

use tiercel::{Code, Event};

tiercel::handle!(mark);

fn mark(ev: &Event) -> tiercel::Result {
    let pod = ev.target.pod()?;
    let config = tiercel::config();
    if config.get("spare").items().any(|namespace| namespace.is(pod.namespace)) {
        return tiercel::skip(format!("namespace {} is spared", pod.namespace));
    }
    tiercel::log(format!("{} by {}", ev.rule, ev.field("proc.cmdline").text()));
    let value = tiercel::label_value(ev.rule);
    match pod.label(config.get("label").str(), &value) {
        Err(e) if e.code == Code::NotFound => return tiercel::skip("the pod is gone"),
        other => other?,
    };
    tiercel::report("pod", format!("{}/{}", pod.namespace, pod.name));
    tiercel::report("label", value);
    Ok(())
}

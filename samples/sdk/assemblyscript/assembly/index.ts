// The function mark-pod labels the event's pod with the rule, and skips the pods of namespaces that its configuration spares.
import { Event, Outcome, config, handle, labelValue, log, report } from "tiercel";
export { tiercel_handle, tiercel_warm } from "tiercel";

handle((ev: Event): Outcome => {
  const pod = ev.target.pod();
  if (pod == null) return Outcome.noPod();
  const settings = config();
  const spare = settings.get("spare").items;
  for (let i = 0; i < spare.length; i++) {
    if (spare[i].is(pod.namespace)) return Outcome.skip("namespace " + pod.namespace + " is spared");
  }
  log(ev.rule + " by " + ev.field("proc.cmdline").text);
  const value = labelValue(ev.rule);
  const labelled = pod.label(settings.get("label").text, value);
  if (labelled.code == "not_found") return Outcome.skip("the pod is gone");
  if (!labelled.ok) return Outcome.failed(labelled);
  report().text("pod", pod.namespace + "/" + pod.name).text("label", value);
  return Outcome.done();
});

// The function mark-pod labels the event's pod with the rule, and skips the pods of namespaces that its configuration spares.
#include "tiercel.h"

TIERCEL_HANDLE(ev) {
	tiercel_pod pod = tiercel_event_pod(ev);
	if (!*pod.uid) return tiercel_no_pod();
	tiercel_value config = tiercel_config();
	for (tiercel_iterator it = tiercel_iterate(tiercel_get(config, "spare")); tiercel_next(&it);)
		if (tiercel_equals(it.value, pod.namespace_)) return tiercel_skip(tiercel_join("namespace ", pod.namespace_, " is spared", NULL));
	tiercel_log(tiercel_join(ev->rule, " by ", tiercel_text(tiercel_field(ev, "proc.cmdline")), NULL));
	const char *value = tiercel_label_value(ev->rule);
	tiercel_answer labelled = tiercel_pod_label(pod, tiercel_text(tiercel_get(config, "label")), value);
	if (tiercel_code_is(labelled.error, "not_found")) return tiercel_skip("the pod is gone");
	if (labelled.error) return tiercel_fail_with(labelled.error);
	tiercel_report_text("pod", tiercel_join(pod.namespace_, "/", pod.name, NULL));
	tiercel_report_text("label", value);
	return tiercel_done();
}

// The function operations performs, step by step, every operation that the SDK has a function for. What it asks of the host is the same in each
// language: the cases are those of the folder beside it.
#include "tiercel.h"

#include <time.h>
#include <unistd.h>

// Returns from a step that an operation's error ends.
#define MUST(answer)                                                                                                                       \
	do {                                                                                                                               \
		if ((answer).error) return tiercel_fail_with((answer).error);                                                              \
	} while (0)

static tiercel_outcome kubernetes(const char *text) {
	tiercel_resource r = {"apps/v1", "deployments", "shop"};
	tiercel_answer a = tiercel_kubernetes_get(r, "web");
	MUST(a);
	tiercel_report("name", tiercel_path(a.value, "metadata", "name", NULL));
	a = tiercel_kubernetes_list(r, "app=web", 2, NULL);
	MUST(a);
	int n = 0;
	for (tiercel_iterator it = tiercel_iterate(tiercel_get(a.value, "items")); tiercel_next(&it);) n++;
	tiercel_report("items", tiercel_json("%d", n));
	a = tiercel_kubernetes_create(r,
		tiercel_json("{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'generateName':'web-','annotations':{'note':%s}}}", text));
	MUST(a);
	tiercel_report("made", tiercel_path(a.value, "metadata", "name", NULL));
	a = tiercel_kubernetes_patch(r, "web", "u-1", "json", tiercel_json("[{'op':'replace','path':'/spec/replicas','value':%d}]", 0));
	MUST(a);
	a = tiercel_kubernetes_delete(r, "web", "u-1", 30);
	MUST(a);
	return tiercel_done();
}

static tiercel_outcome pod(tiercel_pod p, const char *text) {
	tiercel_answer a = tiercel_kubernetes_get(tiercel_pods(p.namespace_), p.name);
	MUST(a);
	tiercel_report("phase", tiercel_path(a.value, "status", "phase", NULL));
	a = tiercel_pod_label(p, "example.com/l", tiercel_label_value(text));
	MUST(a);
	a = tiercel_pod_annotate(p, "example.com/a", text);
	MUST(a);
	a = tiercel_pod_log(p, "web", 20);
	MUST(a);
	tiercel_report("log", a.value);
	a = tiercel_pod_evict(p);
	MUST(a);
	a = tiercel_pod_delete(p, 0);
	MUST(a);
	return tiercel_done();
}

static tiercel_outcome command(tiercel_pod p, const char *text) {
	const char *words[] = {"cat", "/proc/net/tcp", text, NULL};
	tiercel_answer a = tiercel_pod_exec(p, "web", words);
	MUST(a);
	tiercel_report("exitCode", tiercel_get(a.value, "exitCode"));
	tiercel_report_text("stdout", tiercel_text(tiercel_get(a.value, "stdout")));
	tiercel_report_text("stderr", tiercel_text(tiercel_get(a.value, "stderr")));
	tiercel_report("truncated", tiercel_json("%b", tiercel_bool(tiercel_get(a.value, "truncated"))));
	return tiercel_done();
}

static tiercel_outcome web(const char *text) {
	tiercel_answer a = tiercel_secret("hook", "url");
	MUST(a);
	a = tiercel_http("PUT", tiercel_text(a.value), tiercel_json("{'x-note':'n'}"), text);
	MUST(a);
	tiercel_report("status", tiercel_get(a.value, "status"));
	tiercel_report("body", tiercel_get(a.value, "body"));
	tiercel_report("type", tiercel_path(a.value, "headers", "content-type", NULL));
	a = tiercel_post_json("https://example.com/hook", tiercel_json("{'text':%s}", text));
	MUST(a);
	tiercel_report("posted", tiercel_get(a.value, "status"));
	return tiercel_done();
}

static tiercel_outcome kv(const char *text) {
	tiercel_answer a = tiercel_kv_get("seen/a");
	MUST(a);
	tiercel_report_text("value", tiercel_text(tiercel_get(a.value, "value")));
	a = tiercel_kv_update("seen/a", text, tiercel_uint(tiercel_get(a.value, "revision")), 60);
	MUST(a);
	tiercel_report("revision", a.value);
	a = tiercel_kv_put("seen/b", text, 0);
	MUST(a);
	a = tiercel_kv_delete("seen/a");
	MUST(a);
	return tiercel_done();
}

static tiercel_outcome artifact(const char *text) {
	tiercel_answer a = tiercel_artifact("a.log", text);
	MUST(a);
	tiercel_report("digest", a.value);
	return tiercel_done();
}

static tiercel_outcome error(void) {
	tiercel_answer a = tiercel_kv_get("k");
	if (a.error) {
		tiercel_report_text("code", a.error->code);
		tiercel_report_text("text", a.error->text);
		tiercel_report("retry", tiercel_json("%b", a.error->retry));
	}
	return tiercel_done();
}

// Time and random numbers are the event's: a second draw differs, and the clock begins at the event's time.
static tiercel_outcome clock_(void) {
	uint64_t first = 0, second = 0;
	if (getentropy(&first, sizeof first) || getentropy(&second, sizeof second)) return tiercel_fail("no random numbers");
	tiercel_report("differs", tiercel_json("%b", first != second));
	tiercel_report("seconds", tiercel_json("%l", (int64_t)time(NULL)));
	return tiercel_done();
}

TIERCEL_HANDLE(ev) {
	const char *step = tiercel_text(tiercel_field(ev, "step")), *text = tiercel_text(tiercel_field(ev, "text"));
	if (!strcmp(step, "kubernetes")) return kubernetes(text);
	if (!strcmp(step, "pod")) return pod(tiercel_event_pod(ev), text);
	if (!strcmp(step, "command")) return command(tiercel_event_pod(ev), text);
	if (!strcmp(step, "http")) return web(text);
	if (!strcmp(step, "kv")) return kv(text);
	if (!strcmp(step, "artifact")) return artifact(text);
	if (!strcmp(step, "error")) return error();
	if (!strcmp(step, "clock")) return clock_();
	if (strcmp(step, "log")) return tiercel_fail("there is no such step");
	tiercel_progress(text);
	tiercel_log(text);
	tiercel_warn(text);
	return tiercel_done();
}

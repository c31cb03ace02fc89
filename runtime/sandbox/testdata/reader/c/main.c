// A guest that reads a document, which the operation "read" answers with, by the SDK's functions and writes it again.
#include "tiercel.h"

static void copy(struct tiercel_json_ *w, tiercel_value v) {
	size_t n;
	if (tiercel_is_map(v) || tiercel_is_array(v)) {
		bool map = tiercel_is_map(v), first = true;
		tiercel_put_(w, map ? "{" : "[", 1);
		for (tiercel_iterator it = tiercel_iterate(v); tiercel_next(&it); first = false) {
			if (!first) tiercel_put_(w, ",", 1);
			if (map) {
				const char *key = tiercel_text_n(it.key, &n);
				tiercel_put_text_(w, key, n);
				tiercel_put_(w, ":", 1);
			}
			copy(w, it.value);
		}
		tiercel_put_(w, map ? "}" : "]", 1);
	} else if (tiercel_is_text(v)) {
		const char *text = tiercel_text_n(v, &n);
		tiercel_put_text_(w, text, n);
	} else if (tiercel_exists(v)) {
		const char *text = tiercel_text_n(v, &n);
		tiercel_put_(w, text, n);
	} else {
		tiercel_put_(w, "null", 4);
	}
}

TIERCEL_HANDLE(ev) {
	(void)ev;
	tiercel_answer a = tiercel_call("read", tiercel_json("{}"));
	if (a.error) return tiercel_skip(a.error->text);
	struct tiercel_json_ w = {0};
	copy(&w, a.value);
	tiercel_report("read", (tiercel_value){w.at, w.len});
	return tiercel_done();
}

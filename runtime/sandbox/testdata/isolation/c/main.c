// A guest that leaves behind what it can, and reports what it finds: in its globals, on its heap, and in memory it grew.
#include "tiercel.h"

static unsigned calls;
static char last[64];
static char *kept;

TIERCEL_HANDLE(ev) {
	tiercel_report("calls", tiercel_json("%u", ++calls));
	tiercel_report_text("last", last);
	tiercel_report_text("kept", kept ? kept : "");
	strncpy(last, ev->id, sizeof last - 1);
	size_t n = strcmp(ev->subject, "grow") ? 4096 : 12 << 20;
	kept = malloc(n);
	if (!kept) return tiercel_fail("no memory");
	memset(kept, 'k', n - 1);
	kept[n - 1] = 0;
	memcpy(kept, last, strlen(last) + 1);
	return tiercel_done();
}

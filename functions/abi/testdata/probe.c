// probe does what its event says, an import at a time, and logs what came of it: so each case of host/ says in a line what is asked of
// a host. It uses no library. The event's data has "steps", an array of texts without escapes, in which ' stands for ":
//
//	input CAP                 log "input LEN" and what was copied
//	output TEXT               append TEXT to the result
//	call OP CAP REQUEST       log "call STATUS LEN" and what was copied
//	code OP REQUEST           log "code STATUS CODE" of a call that fails
//	calls N OP                call it N times and log nothing
//	response CAP              log "response LEN" and what was copied
//	log LEVEL TEXT
//	fill N BYTE               make a text of N bytes, for the steps whose TEXT or REQUEST is "$"
//	raw-input PTR CAP, raw-output PTR LEN, raw-log LEVEL PTR LEN, raw-call PTR LEN PTR LEN PTR CAP, raw-response PTR CAP
//	                          the import with these very arguments; log what it returned
//	begun                     log how often it was initialised and warmed, and the status of a call made then
//	count                     log a number that is 1 in a fresh instance, and count it up
//	grow PAGES                log what memory.grow returned
//	touch PTR                 write a byte there and log what was there before
//	clock, random, sleep NS   what WASI says
//	stdout TEXT, stderr TEXT  write to the file descriptor; stdout-line and stderr-line, with a line feed
//	exit STATUS, trap, spin, recurse
//	return STATUS             end; without it the status is 0
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define TIERCEL(name) __attribute__((import_module("tiercel_v1"), import_name(name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

TIERCEL("input") u32 host_input(u32, u32);
TIERCEL("output") void host_output(u32, u32);
TIERCEL("call") u64 host_call(u32, u32, u32, u32, u32, u32);
TIERCEL("response") u32 host_response(u32, u32);
TIERCEL("log") void host_log(u32, u32, u32);
WASI("fd_write") u32 wasi_fd_write(u32, u32, u32, u32);
WASI("clock_time_get") u32 wasi_clock(u32, u64, u32);
WASI("random_get") u32 wasi_random(u32, u32);
WASI("poll_oneoff") u32 wasi_poll(u32, u32, u32, u32);
WASI("proc_exit") void wasi_exit(u32);

static u8 event[1 << 18], room[1 << 16], line[1 << 16], filled[2 << 20];
static u32 n_line, n_filled, counted, initialised, warmed;
static u64 init_call = 9;

static void put(u8 c) {
	if (n_line < sizeof line) line[n_line++] = c;
}

static void puts_(const char *s) {
	while (*s) put(*s++);
}

static void number(u64 n) {
	u8 digits[20];
	int i = 0;
	do digits[i++] = '0' + n % 10;
	while (n /= 10);
	while (i) put(digits[--i]);
}

static void bytes(const u8 *p, u32 n) {
	while (n--) put(*p++);
}

static void say(void) {
	host_log(1, (u32)line, n_line);
	n_line = 0;
}

static void note(const char *what, u64 n) {
	puts_(what);
	put(' ');
	number(n);
}

// word takes the next word of [*p, end).
static u8 *word(u8 **p, u8 *end, u32 *n) {
	while (*p < end && **p == ' ') (*p)++;
	u8 *start = *p;
	while (*p < end && **p != ' ') (*p)++;
	*n = *p - start;
	return start;
}

static u64 integer(u8 **p, u8 *end) {
	u32 n;
	u8 *s = word(p, end, &n);
	u64 v = 0;
	for (u32 i = 0; i < n; i++) v = v * 10 + (s[i] - '0');
	return v;
}

static int is(const u8 *s, u32 n, const char *name) {
	u32 i = 0;
	while (i < n && name[i] && s[i] == (u8)name[i]) i++;
	return i == n && !name[i];
}

// rest is what is left of a step behind a space; "$" is what fill has made.
static u8 *rest(u8 *p, u8 *end, u32 *n) {
	if (p < end) p++;
	if (end - p == 1 && *p == '$') {
		*n = n_filled;
		return filled;
	}
	*n = end - p;
	return p;
}

static u32 least(u32 a, u32 b) { return a < b ? a : b; }

static void print(u32 fd, u8 *p, u8 *end, int whole) {
	u32 n, written = 0;
	p = rest(p, end, &n);
	u32 vectors[4] = {(u32)p, n, (u32) "\n", 1};
	wasi_fd_write(fd, (u32)vectors, 1 + whole, (u32)&written);
	note("written", written);
	say();
}

__attribute__((noinline)) static u32 recurse(u32 n) {
	volatile u8 pad[64];
	pad[n & 63] = n;
	return n == 0xffffffff ? 0 : recurse(n + 1) + pad[n & 63];
}

// step does one; it returns whether the handler ends, with *status.
static int step(u8 *p, u8 *end, u32 *status) {
	u32 n, m;
	u8 *name = word(&p, end, &n);
#define ARG integer(&p, end)
	if (is(name, n, "input")) {
		u32 cap = ARG;
		u32 len = host_input((u32)room, cap);
		note("input", len);
		put(' ');
		bytes(room, least(len, cap));
		say();
	} else if (is(name, n, "output")) {
		u8 *text = rest(p, end, &m);
		host_output((u32)text, m);
	} else if (is(name, n, "call")) {
		u8 *op = word(&p, end, &n);
		u32 cap = ARG;
		u8 *request = rest(p, end, &m);
		u64 answer = host_call((u32)op, n, (u32)request, m, (u32)room, cap);
		note("call", answer >> 32);
		note("", (u32)answer);
		put(' ');
		bytes(room, least((u32)answer, cap));
		say();
	} else if (is(name, n, "code")) {
		u8 *op = word(&p, end, &n);
		u8 *request = rest(p, end, &m);
		u64 answer = host_call((u32)op, n, (u32)request, m, (u32)room, sizeof room);
		note("code", answer >> 32);
		put(' ');
		u8 *q = room, *stop = room + least((u32)answer, sizeof room);
		const char *key = "\"code\":\"";
		for (u32 i = 0; q < stop && key[i]; q++) i = *q == (u8)key[i] ? i + 1 : *q == (u8)key[0];
		while (q < stop && *q != '"') put(*q++);
		say();
	} else if (is(name, n, "calls")) {
		u32 times = ARG;
		u8 *op = word(&p, end, &n);
		while (times--) host_call((u32)op, n, (u32) "{}", 2, 0, 0);
	} else if (is(name, n, "response")) {
		u32 cap = ARG;
		u32 len = host_response((u32)room, cap);
		note("response", len);
		put(' ');
		bytes(room, least(len, cap));
		say();
	} else if (is(name, n, "log")) {
		u32 level = ARG;
		u8 *text = rest(p, end, &m);
		host_log(level, (u32)text, m);
	} else if (is(name, n, "fill")) {
		n_filled = ARG;
		u8 c = ARG;
		for (u32 i = 0; i < n_filled; i++) filled[i] = c;
	} else if (is(name, n, "raw-input")) {
		u32 at = ARG;
		note("input", host_input(at, ARG));
		say();
	} else if (is(name, n, "raw-output")) {
		u32 at = ARG;
		host_output(at, ARG);
	} else if (is(name, n, "raw-log")) {
		u32 level = ARG, at = ARG;
		host_log(level, at, ARG);
	} else if (is(name, n, "raw-call")) {
		u32 a = ARG, b = ARG, c = ARG, d = ARG, e = ARG;
		u64 answer = host_call(a, b, c, d, e, ARG);
		note("call", answer >> 32);
		note("", (u32)answer);
		say();
	} else if (is(name, n, "raw-response")) {
		u32 at = ARG;
		note("response", host_response(at, ARG));
		say();
	} else if (is(name, n, "count")) {
		note("count", ++counted);
		say();
	} else if (is(name, n, "begun")) {
		note("initialised", initialised);
		note(" warmed", warmed);
		note(" call", init_call >> 32);
		say();
	} else if (is(name, n, "grow")) {
		u32 before = __builtin_wasm_memory_grow(0, ARG);
		note(before == 0xffffffff ? "refused" : "grown", 0);
		say();
	} else if (is(name, n, "touch")) {
		volatile u8 *at = (volatile u8 *)(u32)ARG;
		note("touched", *at);
		*at = 0xff;
		say();
	} else if (is(name, n, "clock")) {
		u64 now = 0;
		wasi_clock(0, 1, (u32)&now);
		note("clock", now);
		say();
	} else if (is(name, n, "random")) {
		wasi_random((u32)room, 8);
		note("random", *(u64 *)room);
		say();
	} else if (is(name, n, "sleep")) {
		u64 subscription[6] = {7, 0, 1, ARG, 0, 0}, out[4];
		u32 events = 0;
		wasi_poll((u32)subscription, (u32)out, 1, (u32)&events);
		note("slept", events);
		say();
	} else if (is(name, n, "stdout")) {
		print(1, p, end, 0);
	} else if (is(name, n, "stdout-line")) {
		print(1, p, end, 1);
	} else if (is(name, n, "stderr")) {
		print(2, p, end, 0);
	} else if (is(name, n, "stderr-line")) {
		print(2, p, end, 1);
	} else if (is(name, n, "exit")) {
		wasi_exit(ARG);
	} else if (is(name, n, "trap")) {
		__builtin_trap();
	} else if (is(name, n, "spin")) {
		for (volatile u32 i = 0;; i++) {}
	} else if (is(name, n, "recurse")) {
		*status = recurse(0);
	} else if (is(name, n, "return")) {
		*status = ARG;
		return 1;
	} else {
		puts_("no such step: ");
		bytes(name, n);
		say();
	}
	return 0;
}

EXPORT("_initialize") void initialize(void) {
	initialised++;
	init_call = host_call((u32) "config", 6, (u32) "{}", 2, (u32)room, sizeof room);
}

EXPORT("tiercel_warm") void warm(void) { warmed += 10 * initialised; }

EXPORT("tiercel_handle") u32 handle(u32 len) {
	if (len > sizeof event) __builtin_trap();
	host_input((u32)event, len);
	u8 *p = event, *end = event + len;
	const char *key = "\"steps\":[";
	for (u32 i = 0; p < end && key[i]; p++) i = *p == (u8)key[i] ? i + 1 : *p == (u8)key[0];
	u32 status = 0;
	while (p < end && *p != ']') {
		if (*p++ != '"') continue;
		u8 *start = p;
		while (p < end && *p != '"') p++;
		for (u8 *q = start; q < p; q++)
			if (*q == '\'') *q = '"';
		if (step(start, p++, &status)) break;
	}
	return status;
}

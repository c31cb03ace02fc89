// The SDK for functions in C: all of it is this file.
//
// A function is one or more C files, of which one has a TIERCEL_HANDLE. tiercel fn build compiles it; by hand, with Debian's clang-14,
// lld-14, wasi-libc and libclang-rt-14-dev-wasm32, it is
//
//	clang-14 --target=wasm32-wasi --sysroot=/usr -mexec-model=reactor -O2 -msimd128 -Wl,--strip-all -o function.wasm main.c
//	llvm-objcopy-14 --add-section=tiercel.manifest=manifest.json function.wasm
//
// For each event that its triggers select, the runtime starts it afresh and calls the handler once; nothing in memory lasts from one
// event to the next. So nothing here is freed: what a function returns lives until the handler ends. What the operations do, which
// errors they have and which limits hold is said in functions/abi.
//
// Texts are UTF-8, end with a NUL, and are never NULL unless it is said. All text of an event may be an attacker's: it belongs into
// data (tiercel_json, %s), never into commands, URLs or selectors.
#ifndef TIERCEL_H
#define TIERCEL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

// ---- What is in the event ----

// A value is JSON within a document that is known to be well-formed. One of length 0 does not exist: everything asked of it is empty
// too, so a path may be followed without a check at each step.
typedef struct {
	const char *raw; // not ended by a NUL
	size_t len;
} tiercel_value;

// A target says exactly what an event is about. What is not known is "" or 0.
typedef struct {
	const char *cluster, *node, *namespace_, *pod, *pod_uid, *container, *container_id, *image, *image_digest;
	uint64_t cgroup_id, pid_start_time;
	int64_t pid;
} tiercel_target;

typedef struct {
	const char *id, *source, *type, *subject, *time, *traceparent;
	const char *rule, *priority, *event_source, *hostname, *output;
	tiercel_value tags; // an array of texts
	tiercel_target target;
	tiercel_value json; // all of the event
	tiercel_value fields, output_fields;
} tiercel_event;

// ---- How an invocation ends ----

typedef struct {
	const char *code; // "denied", "not_found", …: functions/abi lists them
	const char *text;
	bool retry; // whether trying again can help
} tiercel_error;

// What an operation answered with: a value, or an error, which is NULL if there is none.
typedef struct {
	tiercel_value value;
	const tiercel_error *error;
} tiercel_answer;

typedef struct {
	const char *outcome, *code, *text; // code and text may be NULL
	bool retry;
} tiercel_outcome;

// TIERCEL_HANDLE begins the handler, in one file of the function. ev is the name it gives the event, a const tiercel_event *.
#define TIERCEL_HANDLE(ev)                                                                                                                 \
	static tiercel_outcome tiercel_handler_(const tiercel_event *ev);                                                                      \
	__attribute__((export_name("tiercel_handle"))) int32_t tiercel_handle(uint32_t len) { return tiercel_run_(len, tiercel_handler_); }    \
	__attribute__((export_name("tiercel_warm"))) void tiercel_warm(void) { tiercel_warm_(); }                                              \
	static tiercel_outcome tiercel_handler_(const tiercel_event *ev)

static inline tiercel_outcome tiercel_done(void) { return (tiercel_outcome){.outcome = "succeeded"}; }

// There is nothing to do for this event; why says the reason.
static inline tiercel_outcome tiercel_skip(const char *why) { return (tiercel_outcome){.outcome = "skipped", .text = why}; }

// It was done, but does not have the effect it is for.
static inline tiercel_outcome tiercel_ineffective(const char *why) { return (tiercel_outcome){.outcome = "ineffective", .text = why}; }

static inline tiercel_outcome tiercel_fail(const char *text) { return (tiercel_outcome){.outcome = "failed", .text = text}; }

// Fails with an operation's error.
static inline tiercel_outcome tiercel_fail_with(const tiercel_error *e) {
	return (tiercel_outcome){.outcome = "failed", .code = e->code, .text = e->text, .retry = e->retry};
}

static inline tiercel_outcome tiercel_no_pod(void) { return tiercel_skip("the event is not about a pod, or its pod was not known"); }

// ---- The runtime's functions ----

#define TIERCEL_IMPORT_(name) __attribute__((import_module("tiercel_v1"), import_name(name)))

TIERCEL_IMPORT_("input") uint32_t tiercel_input_(void *to, uint32_t room);
TIERCEL_IMPORT_("output") void tiercel_output_(const void *from, uint32_t len);
TIERCEL_IMPORT_("call") uint64_t tiercel_call_(const void *op, uint32_t op_len, const void *request, uint32_t request_len, void *response, uint32_t room);
TIERCEL_IMPORT_("response") uint32_t tiercel_response_(void *to, uint32_t room);
TIERCEL_IMPORT_("log") void tiercel_log_(int32_t level, const void *text, uint32_t len);

// ---- Memory ----

#define TIERCEL_CHUNK_ (64u << 10)
#define TIERCEL_ROOM_ (4u << 10) // for a response at first: most fit, and one call does it all

struct tiercel_state_ {
	char *at, *end;             // of the chunk that memory is taken from
	char *first;                // the chunk that warming made
	tiercel_value config, self; // once they have been asked for
	struct tiercel_json_ *data; // what was reported
};

// One for all files of a function.
__attribute__((weak)) struct tiercel_state_ tiercel_state_;

// tiercel_alloc returns memory that lasts until the handler ends, aligned to 8 bytes. It is not zeroed.
static inline void *tiercel_alloc(size_t n) {
	struct tiercel_state_ *s = &tiercel_state_;
	n = (n + 7) & ~(size_t)7;
	if (n > (size_t)(s->end - s->at)) {
		size_t chunk = n > TIERCEL_CHUNK_ ? n : TIERCEL_CHUNK_;
		char *more = malloc(chunk);
		if (!more) __builtin_trap();
		if (n > TIERCEL_CHUNK_ / 2) return more;
		s->at = more, s->end = more + chunk;
	}
	void *p = s->at;
	s->at += n;
	return p;
}

// ---- Reading JSON ----

// tiercel_plain_ returns the first byte from p on that has a meaning in a JSON text: a quote, a backslash, a control character, or one
// that is not ASCII. Where there is room it looks at 16 at a time, or 8.
static inline const char *tiercel_plain_(const char *p, const char *end) {
#ifdef __wasm_simd128__
	for (; end - p >= 16; p += 16) {
		v128_t x = wasm_v128_load(p), special = wasm_i8x16_lt(x, wasm_i8x16_splat(' ')); // as signed bytes: not ASCII is negative
		special = wasm_v128_or(special, wasm_v128_or(wasm_i8x16_eq(x, wasm_i8x16_splat('"')), wasm_i8x16_eq(x, wasm_i8x16_splat('\\'))));
		uint32_t mask = wasm_i8x16_bitmask(special);
		if (mask) return p + __builtin_ctz(mask);
	}
#else
	const uint64_t ones = 0x0101010101010101, highs = 0x8080808080808080;
	for (; end - p >= 8; p += 8) {
		uint64_t x;
		memcpy(&x, p, 8);
		uint64_t quote = x ^ (ones * '"'), backslash = x ^ (ones * '\\');
		uint64_t special = (((x - ones * ' ') & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | x) & highs;
		if (special) return p + __builtin_ctzll(special) / 8;
	}
#endif
	while (p < end && *p >= ' ' && *p != '"' && *p != '\\') p++; // char is signed
	return p;
}

static inline const char *tiercel_space_(const char *p, const char *end) {
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
	return p;
}

// tiercel_utf8_ returns the byte after the character that begins at p and is not ASCII, or NULL.
static inline const char *tiercel_utf8_(const char *p, const char *end) {
	unsigned char c = (unsigned char)*p, low = 0x80, high = 0xbf;
	int more = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
	if (c == 0xe0) low = 0xa0;
	if (c == 0xed) high = 0x9f;
	if (c == 0xf0) low = 0x90;
	if (c == 0xf4) high = 0x8f;
	if (!more || end - p <= more) return NULL;
	for (p++; more > 0; more--, p++) {
		unsigned char next = (unsigned char)*p;
		if (next < low || next > high) return NULL;
		low = 0x80, high = 0xbf;
	}
	return p;
}

// The functions tiercel_check_… return the byte after the well-formed value at p, or NULL.
static inline const char *tiercel_check_string_(const char *p, const char *end) {
	for (p++;;) {
		p = tiercel_plain_(p, end);
		if (p >= end) return NULL;
		unsigned char c = (unsigned char)*p;
		if (c == '"') return p + 1;
		if (c < ' ') return NULL;
		if (c >= 0x80) {
			if (!(p = tiercel_utf8_(p, end))) return NULL;
			continue;
		}
		p++;
		if (c != '\\') continue;
		if (p >= end) return NULL;
		if (*p == 'u') {
			if (end - p < 5) return NULL;
			for (int i = 1; i <= 4; i++) {
				char h = p[i], l = (char)(h | 0x20);
				if ((h < '0' || h > '9') && (l < 'a' || l > 'f')) return NULL;
			}
			p += 5;
			continue;
		}
		if (!*p || !strchr("\"\\/bfnrt", *p)) return NULL;
		p++;
	}
	return NULL;
}

static inline const char *tiercel_check_number_(const char *p, const char *end) {
#define TIERCEL_DIGITS_                                                                                                                    \
	do {                                                                                                                                   \
		if (p >= end || *p < '0' || *p > '9') return NULL;                                                                                 \
		while (p < end && *p >= '0' && *p <= '9') p++;                                                                                     \
	} while (0)
	if (p < end && *p == '-') p++;
	if (p < end && *p == '0') p++;
	else TIERCEL_DIGITS_;
	if (p < end && *p == '.') {
		p++;
		TIERCEL_DIGITS_;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-')) p++;
		TIERCEL_DIGITS_;
	}
	return p;
#undef TIERCEL_DIGITS_
}

static inline const char *tiercel_check_word_(const char *p, const char *end, const char *word) {
	size_t n = strlen(word);
	return (size_t)(end - p) >= n && !memcmp(p, word, n) ? p + n : NULL;
}

static inline const char *tiercel_check_(const char *p, const char *end, int depth) {
	if (p >= end || depth > 128) return NULL;
	switch (*p) {
	case '"': return tiercel_check_string_(p, end);
	case 't': return tiercel_check_word_(p, end, "true");
	case 'f': return tiercel_check_word_(p, end, "false");
	case 'n': return tiercel_check_word_(p, end, "null");
	case '{':
	case '[': break;
	default: return tiercel_check_number_(p, end);
	}
	bool map = *p == '{';
	char close = map ? '}' : ']';
	p = tiercel_space_(p + 1, end);
	if (p < end && *p == close) return p + 1;
	for (;;) {
		if (map) {
			if (p >= end || *p != '"' || !(p = tiercel_check_string_(p, end))) return NULL;
			p = tiercel_space_(p, end);
			if (p >= end || *p != ':') return NULL;
			p = tiercel_space_(p + 1, end);
		}
		if (!(p = tiercel_check_(p, end, depth + 1))) return NULL;
		p = tiercel_space_(p, end);
		if (p < end && *p == close) return p + 1;
		if (p >= end || *p != ',') return NULL;
		p = tiercel_space_(p + 1, end);
	}
}

// tiercel_parse checks a document and returns its value, which uses the memory of text. It does not exist if text is not JSON.
static inline tiercel_value tiercel_parse(const char *text, size_t len) {
	const char *end = text + len, *start = tiercel_space_(text, end);
	const char *p = tiercel_check_(start, end, 0);
	if (!p || tiercel_space_(p, end) != end) return (tiercel_value){0};
	return (tiercel_value){start, (size_t)(p - start)};
}

// tiercel_skip_string_ and tiercel_skip_value_ return the byte after what begins at p of a checked document.
static inline const char *tiercel_skip_string_(const char *p, const char *end) {
	for (p++;; p++) {
		p = tiercel_plain_(p, end);
		if (*p == '"') return p + 1;
		if (*p == '\\') p++;
	}
}

static inline const char *tiercel_skip_value_(const char *p, const char *end) {
	if (*p == '"') return tiercel_skip_string_(p, end);
	if (*p != '{' && *p != '[') {
		while (p < end && *p > ' ' && *p != ',' && *p != '}' && *p != ']') p++;
		return p;
	}
	for (int depth = 0;;) {
		switch (*p) {
		case '"': p = tiercel_skip_string_(p, end); continue;
		case '{':
		case '[': depth++; break;
		case '}':
		case ']':
			if (--depth == 0) return p + 1;
		}
		p++;
	}
}

static inline char tiercel_kind_(tiercel_value v) { return v.len ? *v.raw : 0; }

// Whether there is such a value, other than null.
static inline bool tiercel_exists(tiercel_value v) { return v.len && *v.raw != 'n'; }
static inline bool tiercel_is_text(tiercel_value v) { return tiercel_kind_(v) == '"'; }
static inline bool tiercel_is_map(tiercel_value v) { return tiercel_kind_(v) == '{'; }
static inline bool tiercel_is_array(tiercel_value v) { return tiercel_kind_(v) == '['; }

// An iterator goes through a map or an array:
//
//	for (tiercel_iterator it = tiercel_iterate(v); tiercel_next(&it);) … it.value …
typedef struct {
	tiercel_value key; // a text; of a map only
	tiercel_value value;
	const char *at_, *end_;
	bool map_, escape_;
} tiercel_iterator;

static inline tiercel_iterator tiercel_iterate(tiercel_value v) {
	tiercel_iterator it = {0};
	if (!tiercel_is_map(v) && !tiercel_is_array(v)) return it;
	it.map_ = *v.raw == '{';
	it.end_ = v.raw + v.len;
	it.at_ = tiercel_space_(v.raw + 1, it.end_);
	return it;
}

// tiercel_key_ goes to the next key, or array element, and leaves at_ at its value, whose end is not looked for yet.
static inline bool tiercel_key_(tiercel_iterator *it) {
	const char *p = it->at_, *end = it->end_;
	if (!p) return false;
	if (*p == ',') p = tiercel_space_(p + 1, end);
	if (*p == '}' || *p == ']') return false;
	if (it->map_) {
		const char *key = p++;
		for (it->escape_ = false; *(p = tiercel_plain_(p, end)) != '"'; p++)
			if (*p == '\\') p++, it->escape_ = true;
		it->key = (tiercel_value){key, (size_t)(++p - key)};
		p = tiercel_space_(tiercel_space_(p, end) + 1, end);
	}
	it->at_ = p;
	return true;
}

// tiercel_past_ goes behind the value, which ends at p.
static inline void tiercel_past_(tiercel_iterator *it, const char *p) { it->at_ = tiercel_space_(p, it->end_); }

static inline bool tiercel_next(tiercel_iterator *it) {
	if (!tiercel_key_(it)) return false;
	const char *after = tiercel_skip_value_(it->at_, it->end_);
	it->value = (tiercel_value){it->at_, (size_t)(after - it->at_)};
	tiercel_past_(it, after);
	return true;
}

static inline unsigned tiercel_hex4_(const char *p) {
	unsigned c = 0;
	for (int i = 0; i < 4; i++) {
		char h = p[i];
		c = c << 4 | (unsigned)(h <= '9' ? h - '0' : (h | 0x20) - 'a' + 10);
	}
	return c;
}

static inline char *tiercel_put_rune_(char *w, unsigned c) {
	if (c < 0x80) {
		*w++ = (char)c;
	} else if (c < 0x800) {
		*w++ = (char)(0xc0 | c >> 6);
		*w++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*w++ = (char)(0xe0 | c >> 12);
		*w++ = (char)(0x80 | (c >> 6 & 63));
		*w++ = (char)(0x80 | (c & 63));
	} else {
		*w++ = (char)(0xf0 | c >> 18);
		*w++ = (char)(0x80 | (c >> 12 & 63));
		*w++ = (char)(0x80 | (c >> 6 & 63));
		*w++ = (char)(0x80 | (c & 63));
	}
	return w;
}

// tiercel_unescape_ writes the character of the escape at p, after its backslash, and moves *p behind it. Half of a pair becomes U+FFFD.
static inline char *tiercel_unescape_(char *w, const char **p, const char *end) {
	char c = *(*p)++;
	switch (c) {
	case 'b': *w++ = '\b'; return w;
	case 'f': *w++ = '\f'; return w;
	case 'n': *w++ = '\n'; return w;
	case 'r': *w++ = '\r'; return w;
	case 't': *w++ = '\t'; return w;
	case 'u': break;
	default: *w++ = c; return w;
	}
	unsigned r = tiercel_hex4_(*p);
	*p += 4;
	if (r >= 0xd800 && r < 0xe000) {
		unsigned low = r < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? tiercel_hex4_(*p + 2) : 0;
		if (low >= 0xdc00 && low < 0xe000) {
			r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
			*p += 6;
		} else {
			r = 0xfffd;
		}
	}
	return tiercel_put_rune_(w, r);
}

// tiercel_copy_ copies up to n bytes, to the first backslash, and returns how many. It may write up to 15 bytes more.
static inline size_t tiercel_copy_(char *w, const char *p, size_t n) {
	size_t i = 0;
#ifdef __wasm_simd128__
	for (; n - i >= 16; i += 16) {
		v128_t x = wasm_v128_load(p + i);
		wasm_v128_store(w + i, x);
		uint32_t mask = wasm_i8x16_bitmask(wasm_i8x16_eq(x, wasm_i8x16_splat('\\')));
		if (mask) return i + (size_t)__builtin_ctz(mask);
	}
#endif
	for (; i < n && p[i] != '\\'; i++) w[i] = p[i];
	return i;
}

// tiercel_text_n returns a text's content and its length, for texts that may contain NUL; a number's or boolean's JSON; and "" for all else.
static inline const char *tiercel_text_n(tiercel_value v, size_t *len) {
	*len = 0;
	char kind = tiercel_kind_(v);
	if (!kind || kind == 'n' || kind == '{' || kind == '[') return "";
	char *out = tiercel_alloc(v.len + 16), *w = out;
	const char *p = v.raw, *end = v.raw + v.len;
	if (kind == '"') p++, end--;
	for (;;) {
		size_t n = tiercel_copy_(w, p, (size_t)(end - p));
		w += n, p += n;
		if (p == end) break;
		p++;
		w = tiercel_unescape_(w, &p, end);
	}
	*w = 0;
	*len = (size_t)(w - out);
	return out;
}

// tiercel_text is tiercel_text_n without the length.
static inline const char *tiercel_text(tiercel_value v) {
	size_t n;
	return tiercel_text_n(v, &n);
}

static inline bool tiercel_equals_n_(tiercel_value v, bool escape, const char *s, size_t n) {
	if (v.len == n + 2 && !escape) {
		const char *p = v.raw + 1;
		while (n > 0 && p[n - 1] == s[n - 1]) n--; // most differ in their last byte already
		return n == 0;
	}
	if (v.len <= n + 2 || !escape) return false;
	size_t m;
	const char *text = tiercel_text_n(v, &m);
	return m == n && !memcmp(text, s, n);
}

// Whether v is the text s.
static inline bool tiercel_equals(tiercel_value v, const char *s) {
	return tiercel_is_text(v) && tiercel_equals_n_(v, memchr(v.raw, '\\', v.len), s, strlen(s));
}

// tiercel_get returns the value of a map's key. If a map has a key twice, the first counts.
static inline tiercel_value tiercel_get(tiercel_value v, const char *key) {
	if (!tiercel_is_map(v)) return (tiercel_value){0};
	size_t n = strlen(key);
	for (tiercel_iterator it = tiercel_iterate(v); tiercel_key_(&it);) {
		const char *after = tiercel_skip_value_(it.at_, it.end_);
		if (tiercel_equals_n_(it.key, it.escape_, key, n)) return (tiercel_value){it.at_, (size_t)(after - it.at_)};
		tiercel_past_(&it, after);
	}
	return (tiercel_value){0};
}

// tiercel_path follows keys, of which NULL is the last: tiercel_path(v, "metadata", "labels", NULL).
__attribute__((sentinel)) static inline tiercel_value tiercel_path(tiercel_value v, ...) {
	va_list keys;
	va_start(keys, v);
	for (const char *key; (key = va_arg(keys, const char *));) v = tiercel_get(v, key);
	va_end(keys);
	return v;
}

// tiercel_uint returns a whole number of up to 64 bits, written as a number or as a text of digits, and 0 for all else.
static inline uint64_t tiercel_uint(tiercel_value v) {
	const char *p = v.raw, *end = v.raw + v.len;
	if (tiercel_is_text(v)) p++, end--;
	uint64_t n = 0;
	if (p == end) return 0;
	for (; p < end; p++) {
		unsigned digit = (unsigned)(*p - '0');
		if (digit > 9 || n > (UINT64_MAX - digit) / 10) return 0;
		n = n * 10 + digit;
	}
	return n;
}

// tiercel_int returns a whole number within 64 bits, and 0 for all else.
static inline int64_t tiercel_int(tiercel_value v) {
	if (!v.len || tiercel_is_text(v)) return 0;
	bool negative = *v.raw == '-';
	uint64_t n = tiercel_uint((tiercel_value){v.raw + negative, v.len - negative});
	if (n > (uint64_t)INT64_MAX + negative) return 0;
	return negative ? (int64_t)(0 - n) : (int64_t)n;
}

// tiercel_double returns a number, and 0 for all else.
static inline double tiercel_double(tiercel_value v) {
	char kind = tiercel_kind_(v);
	return kind == '-' || (kind >= '0' && kind <= '9') ? strtod(tiercel_text(v), NULL) : 0;
}

static inline bool tiercel_bool(tiercel_value v) { return tiercel_kind_(v) == 't'; }

// ---- Writing JSON ----

struct tiercel_json_ {
	char *at;
	size_t len, cap;
};

static inline char *tiercel_room_(struct tiercel_json_ *w, size_t n) {
	if (w->cap - w->len < n) {
		size_t cap = w->cap * 2 + n + 64;
		char *more = tiercel_alloc(cap);
		if (w->len) memcpy(more, w->at, w->len);
		w->at = more, w->cap = cap;
	}
	return w->at + w->len;
}

static inline void tiercel_put_(struct tiercel_json_ *w, const char *p, size_t n) {
	memcpy(tiercel_room_(w, n), p, n);
	w->len += n;
}

// tiercel_put_text_ writes a JSON text. What is not valid UTF-8 is replaced.
static inline void tiercel_put_text_(struct tiercel_json_ *w, const char *s, size_t n) {
	static const char hex[] = "0123456789abcdef";
	const char *end = s + n;
	char *o = tiercel_room_(w, 6 * n + 2), *start = o;
	*o++ = '"';
	for (;;) {
		const char *plain = tiercel_plain_(s, end);
		memcpy(o, s, (size_t)(plain - s));
		o += plain - s, s = plain;
		if (s == end) break;
		unsigned char c = (unsigned char)*s;
		if (c >= 0x80) {
			const char *after = tiercel_utf8_(s, end);
			if (!after) {
				o = tiercel_put_rune_(o, 0xfffd);
				s++;
			} else {
				while (s < after) *o++ = *s++;
			}
			continue;
		}
		s++;
		if (c == '"' || c == '\\') {
			*o++ = '\\', *o++ = (char)c;
		} else if (c == '\n') {
			*o++ = '\\', *o++ = 'n';
		} else if (c == '\t') {
			*o++ = '\\', *o++ = 't';
		} else {
			*o++ = '\\', *o++ = 'u', *o++ = '0', *o++ = '0', *o++ = hex[c >> 4], *o++ = hex[c & 15];
		}
	}
	*o++ = '"';
	w->len += (size_t)(o - start);
}

static inline void tiercel_put_uint_(struct tiercel_json_ *w, uint64_t n, bool negative) {
	char digits[21], *p = digits + sizeof digits;
	do *--p = (char)('0' + n % 10);
	while (n /= 10);
	if (negative) *--p = '-';
	tiercel_put_(w, p, (size_t)(digits + sizeof digits - p));
}

static inline void tiercel_put_int_(struct tiercel_json_ *w, int64_t n) {
	tiercel_put_uint_(w, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, n < 0);
}

static inline void tiercel_put_value_(struct tiercel_json_ *w, tiercel_value v) {
	if (v.len) tiercel_put_(w, v.raw, v.len);
	else tiercel_put_(w, "null", 4);
}

static inline void tiercel_vjson_(struct tiercel_json_ *w, const char *format, va_list args) {
	for (const char *p = format; *p; p++) {
		if (*p != '%') {
			size_t n = 0;
			while (p[n] && p[n] != '\'' && p[n] != '%') n++;
			if (n) {
				tiercel_put_(w, p, n);
				p += n - 1;
			} else {
				tiercel_put_(w, "\"", 1);
			}
			continue;
		}
		const char *s;
		switch (*++p) {
		case 's':
			s = va_arg(args, const char *);
			if (s) tiercel_put_text_(w, s, strlen(s));
			else tiercel_put_(w, "null", 4);
			break;
		case 'd': tiercel_put_int_(w, va_arg(args, int)); break;
		case 'l': tiercel_put_int_(w, va_arg(args, int64_t)); break;
		case 'u': tiercel_put_uint_(w, va_arg(args, uint64_t), false); break;
		case 'b': va_arg(args, int) ? tiercel_put_(w, "true", 4) : tiercel_put_(w, "false", 5); break;
		case 'v': tiercel_put_value_(w, va_arg(args, tiercel_value)); break;
		default: __builtin_trap(); // a format that is not one
		}
	}
}

// tiercel_json makes JSON. In format, ' stands for ", and a place holder takes the next argument: %s a text with its quotes (NULL: null),
// %d an int, %l an int64_t, %u a uint64_t, %b a bool, %v a tiercel_value.
//
//	tiercel_json("{'metadata': {'labels': {%s: %s}}}", key, value)
static inline tiercel_value tiercel_json(const char *format, ...) {
	struct tiercel_json_ w = {0};
	va_list args;
	va_start(args, format);
	tiercel_vjson_(&w, format, args);
	va_end(args);
	return (tiercel_value){w.at, w.len};
}

// ---- Operations ----

// tiercel_call performs an operation by its name, as functions/abi lists them.
static inline tiercel_answer tiercel_call(const char *op, tiercel_value request) {
	char *response = tiercel_alloc(TIERCEL_ROOM_);
	uint64_t status = tiercel_call_(op, strlen(op), request.raw, request.len, response, TIERCEL_ROOM_);
	uint32_t n = (uint32_t)status;
	if (n > TIERCEL_ROOM_) {
		response = tiercel_alloc(n);
		tiercel_response_(response, n);
	} else {
		tiercel_state_.at = response + ((n + 7) & ~7u); // what is left of the room is used for what comes next
	}
	tiercel_value v = tiercel_parse(response, n);
	if (status >> 32 == 0 && v.len) return (tiercel_answer){.value = v};
	tiercel_error *e = tiercel_alloc(sizeof *e);
	*e = v.len ? (tiercel_error){tiercel_text(tiercel_get(v, "code")), tiercel_text(tiercel_get(v, "text")), tiercel_bool(tiercel_get(v, "retry"))}
	           : (tiercel_error){"internal", "the response is not JSON", false};
	return (tiercel_answer){.error = e};
}

static inline bool tiercel_code_is(const tiercel_error *e, const char *code) { return e && !strcmp(e->code, code); }

// tiercel_config returns the function's configuration, with the defaults of the manifest's schema.
static inline tiercel_value tiercel_config(void) {
	if (!tiercel_state_.config.len) tiercel_state_.config = tiercel_call("config", tiercel_json("{}")).value;
	return tiercel_state_.config;
}

static inline tiercel_value tiercel_invocation_(void) {
	if (!tiercel_state_.self.len) tiercel_state_.self = tiercel_call("invocation", tiercel_json("{}")).value;
	return tiercel_state_.self;
}

// The id of this invocation, which is the same for every attempt at the same event.
static inline const char *tiercel_invocation_id(void) { return tiercel_text(tiercel_get(tiercel_invocation_(), "id")); }

// The name the function is deployed under.
static inline const char *tiercel_function_name(void) { return tiercel_text(tiercel_get(tiercel_invocation_(), "function")); }

// tiercel_progress says how far the handler has come. It is reported if the function is stopped before it returns.
static inline void tiercel_progress(const char *text) { tiercel_call("outcome", tiercel_json("{'outcome': 'succeeded', 'text': %s}", text)); }

// tiercel_report adds a value to the data that is shown with the invocation, under a key of the function's own.
static inline void tiercel_report(const char *key, tiercel_value v) {
	struct tiercel_json_ *w = tiercel_state_.data;
	if (!w) {
		w = tiercel_state_.data = tiercel_alloc(sizeof *w);
		*w = (struct tiercel_json_){0};
	}
	tiercel_put_(w, w->len ? "," : "{", 1);
	tiercel_put_text_(w, key, strlen(key));
	tiercel_put_(w, ":", 1);
	tiercel_put_value_(w, v);
}

static inline void tiercel_report_text(const char *key, const char *text) { tiercel_report(key, tiercel_json("%s", text)); }

enum { TIERCEL_DEBUG, TIERCEL_INFO, TIERCEL_WARN, TIERCEL_ERROR };

static inline void tiercel_log_at(int level, const char *text) { tiercel_log_(level, text, strlen(text)); }

// Writes a line to the invocation's log. What is printed to stdout and stderr goes there too.
static inline void tiercel_log(const char *text) { tiercel_log_at(TIERCEL_INFO, text); }
static inline void tiercel_warn(const char *text) { tiercel_log_at(TIERCEL_WARN, text); }

// tiercel_join puts texts together, of which NULL is the last.
__attribute__((sentinel)) static inline const char *tiercel_join(const char *first, ...) {
	struct tiercel_json_ w = {0};
	va_list texts;
	va_start(texts, first);
	for (const char *s = first; s; s = va_arg(texts, const char *)) tiercel_put_(&w, s, strlen(s));
	va_end(texts);
	tiercel_put_(&w, "", 1);
	return w.at;
}

// ---- Kubernetes ----

// A resource names a kind of Kubernetes resource; namespace_ is NULL for what has none.
typedef struct {
	const char *api_version, *plural, *namespace_;
} tiercel_resource;

// tiercel_request_ begins a request about an object, or about the kind; more is added, then "}".
static inline struct tiercel_json_ tiercel_request_(tiercel_resource r, const char *name, const char *subresource) {
	struct tiercel_json_ w = {.at = tiercel_alloc(512), .cap = 512};
	const char *keys[] = {"'apiVersion':", ",'resource':", ",'namespace':", ",'name':", ",'subresource':"};
	const char *values[] = {r.api_version, r.plural, r.namespace_, name, subresource};
	tiercel_put_(&w, "{", 1);
	for (int i = 0; i < 5; i++) {
		if (!values[i] || !*values[i]) continue;
		va_list none = {0};
		tiercel_vjson_(&w, keys[i], none);
		tiercel_put_text_(&w, values[i], strlen(values[i]));
	}
	return w;
}

static inline void tiercel_add_(struct tiercel_json_ *w, const char *format, ...) {
	va_list args;
	va_start(args, format);
	tiercel_vjson_(w, format, args);
	va_end(args);
}

static inline tiercel_answer tiercel_send_(const char *op, struct tiercel_json_ *w, const char *part) {
	tiercel_put_(w, "}", 1);
	tiercel_answer a = tiercel_call(op, (tiercel_value){w->at, w->len});
	if (part) a.value = tiercel_get(a.value, part);
	return a;
}

// tiercel_kubernetes_get returns an object.
static inline tiercel_answer tiercel_kubernetes_get(tiercel_resource r, const char *name) {
	struct tiercel_json_ w = tiercel_request_(r, name, NULL);
	return tiercel_send_("kubernetes.get", &w, "object");
}

// tiercel_kubernetes_list returns one response of kubernetes.list: "items", and "continue" if there are more. The last three arguments
// may be NULL, 0 and NULL.
static inline tiercel_answer tiercel_kubernetes_list(tiercel_resource r, const char *label_selector, int limit, const char *from) {
	struct tiercel_json_ w = tiercel_request_(r, NULL, NULL);
	if (label_selector) tiercel_add_(&w, ",'labelSelector':%s", label_selector);
	if (limit) tiercel_add_(&w, ",'limit':%d", limit);
	if (from && *from) tiercel_add_(&w, ",'continue':%s", from);
	return tiercel_send_("kubernetes.list", &w, NULL);
}

// tiercel_kubernetes_create creates an object and returns it. Without metadata.name the runtime gives it one (metadata.generateName is
// that name's prefix).
static inline tiercel_answer tiercel_kubernetes_create(tiercel_resource r, tiercel_value object) {
	struct tiercel_json_ w = tiercel_request_(r, NULL, NULL);
	tiercel_add_(&w, ",'object':%v", object);
	return tiercel_send_("kubernetes.create", &w, "object");
}

// tiercel_kubernetes_patch changes the object of that name and returns it. type is "merge", "json" (add, remove and
// replace alone), "strategic" or "apply". uid, unless empty, must be the object's.
static inline tiercel_answer tiercel_kubernetes_patch(tiercel_resource r, const char *name, const char *uid, const char *type, tiercel_value patch) {
	struct tiercel_json_ w = tiercel_request_(r, name, NULL);
	if (strcmp(type, "merge")) tiercel_add_(&w, ",'type':%s", type);
	tiercel_add_(&w, ",'patch':%v", patch);
	if (uid && *uid) tiercel_add_(&w, ",'uid':%s", uid);
	return tiercel_send_("kubernetes.patch", &w, "object");
}

// tiercel_kubernetes_delete deletes the object of that name and UID. grace_seconds below 0: the object's own.
static inline tiercel_answer tiercel_kubernetes_delete(tiercel_resource r, const char *name, const char *uid, int grace_seconds) {
	struct tiercel_json_ w = tiercel_request_(r, name, NULL);
	tiercel_add_(&w, ",'uid':%s", uid);
	if (grace_seconds >= 0) tiercel_add_(&w, ",'gracePeriodSeconds':%d", grace_seconds);
	return tiercel_send_("kubernetes.delete", &w, NULL);
}

// A pod is the one pod with a name and a UID: writes to it are refused if the name has come to belong to another. uid is "" if there
// is none; ask before anything else.
typedef struct {
	const char *namespace_, *name, *uid;
} tiercel_pod;

static inline tiercel_pod tiercel_event_pod(const tiercel_event *ev) {
	const tiercel_target *t = &ev->target;
	if (!*t->namespace_ || !*t->pod || !*t->pod_uid) return (tiercel_pod){"", "", ""};
	return (tiercel_pod){t->namespace_, t->pod, t->pod_uid};
}

static inline tiercel_resource tiercel_pods(const char *namespace_) { return (tiercel_resource){"v1", "pods", namespace_}; }

static inline tiercel_answer tiercel_pod_patch(tiercel_pod p, tiercel_value patch) {
	return tiercel_kubernetes_patch(tiercel_pods(p.namespace_), p.name, p.uid, "merge", patch);
}

// tiercel_pod_label sets a label. value must be a label's: see tiercel_label_value.
static inline tiercel_answer tiercel_pod_label(tiercel_pod p, const char *key, const char *value) {
	return tiercel_pod_patch(p, tiercel_json("{'metadata':{'labels':{%s:%s}}}", key, value));
}

static inline tiercel_answer tiercel_pod_annotate(tiercel_pod p, const char *key, const char *value) {
	return tiercel_pod_patch(p, tiercel_json("{'metadata':{'annotations':{%s:%s}}}", key, value));
}

static inline tiercel_answer tiercel_pod_delete(tiercel_pod p, int grace_seconds) {
	return tiercel_kubernetes_delete(tiercel_pods(p.namespace_), p.name, p.uid, grace_seconds);
}

// tiercel_pod_evict asks for the pod's eviction, which disruption budgets may refuse.
static inline tiercel_answer tiercel_pod_evict(tiercel_pod p) {
	struct tiercel_json_ w = tiercel_request_(tiercel_pods(p.namespace_), p.name, "eviction");
	tiercel_add_(&w, ",'object':{'apiVersion':'policy/v1','kind':'Eviction','deleteOptions':{'preconditions':{'uid':%s}}}", p.uid);
	return tiercel_send_("kubernetes.create", &w, NULL);
}

// tiercel_pod_log returns the last lines of a container's log as a text. container may be NULL if there is only one.
static inline tiercel_answer tiercel_pod_log(tiercel_pod p, const char *container, int lines) {
	struct tiercel_json_ w = tiercel_request_(tiercel_pods(p.namespace_), p.name, "log");
	tiercel_add_(&w, ",'log':{'tailLines':%d", lines);
	if (container) tiercel_add_(&w, ",'container':%s", container);
	tiercel_put_(&w, "}", 1);
	return tiercel_send_("kubernetes.get", &w, "text");
}

// tiercel_pod_exec runs a command, words of which NULL is the last, in a container, without a shell and without input, and returns "exitCode",
// "stdout" and "stderr". It must be, word for word, one that the grant lists. container may be NULL if there is only one.
static inline tiercel_answer tiercel_pod_exec(tiercel_pod p, const char *container, const char *const *command) {
	struct tiercel_json_ w = {0};
	tiercel_add_(&w, "{'namespace':%s,'pod':%s,'uid':%s", p.namespace_, p.name, p.uid);
	if (container) tiercel_add_(&w, ",'container':%s", container);
	tiercel_add_(&w, ",'command':[");
	for (int i = 0; command[i]; i++) tiercel_add_(&w, i ? ",%s" : "%s", command[i]);
	tiercel_put_(&w, "]", 1);
	return tiercel_send_("exec", &w, NULL);
}

// tiercel_label_value makes a label's value of any text: what may not be in one becomes "_", it is cut to 63 characters, and begins and
// ends with a letter or digit.
static inline const char *tiercel_label_value(const char *text) {
	size_t n = strnlen(text, 63), from = 0;
	char *out = tiercel_alloc(n + 1);
#define TIERCEL_ALNUM_(c) (((c) >= '0' && (c) <= '9') || (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z'))
	for (size_t i = 0; i < n; i++) out[i] = TIERCEL_ALNUM_(text[i]) || text[i] == '-' || text[i] == '.' ? text[i] : '_';
	while (n > 0 && !TIERCEL_ALNUM_(out[n - 1])) n--;
	while (from < n && !TIERCEL_ALNUM_(out[from])) from++;
#undef TIERCEL_ALNUM_
	out[n] = 0;
	return out + from;
}

// ---- HTTP, secrets, what lasts ----

// tiercel_http sends a request and returns "status", "headers", "body". headers is a map of texts and may not exist; body may be NULL.
static inline tiercel_answer tiercel_http(const char *method, const char *url, tiercel_value headers, const char *body) {
	struct tiercel_json_ w = {0};
	tiercel_add_(&w, "{'method':%s,'url':%s", method, url);
	if (tiercel_exists(headers)) tiercel_add_(&w, ",'headers':%v", headers);
	if (body) tiercel_add_(&w, ",'body':%s", body);
	return tiercel_send_("http", &w, NULL);
}

// tiercel_post_json sends JSON by POST.
static inline tiercel_answer tiercel_post_json(const char *url, tiercel_value body) {
	char *text = tiercel_alloc(body.len + 1);
	memcpy(text, body.raw, body.len);
	text[body.len] = 0;
	return tiercel_http("POST", url, tiercel_json("{'content-type':'application/json'}"), text);
}

// tiercel_secret returns a text, the handle of a secret, to be used in the URL or a header of an HTTP request, where the runtime fills
// in the value; the function never sees it. key names one of a Secret's several and may be NULL.
static inline tiercel_answer tiercel_secret(const char *name, const char *key) {
	struct tiercel_json_ w = {0};
	tiercel_add_(&w, "{'name':%s", name);
	if (key) tiercel_add_(&w, ",'key':%s", key);
	return tiercel_send_("secret", &w, "handle");
}

// tiercel_kv_get returns "value" and "revision" of a key; the revision is 0 if there is none.
static inline tiercel_answer tiercel_kv_get(const char *key) { return tiercel_call("kv.get", tiercel_json("{'key':%s}", key)); }

// tiercel_kv_put sets a key, whatever it was, for ttl_seconds or, if that is 0, for ever. It returns the new revision.
static inline tiercel_answer tiercel_kv_put(const char *key, const char *value, int64_t ttl_seconds) {
	struct tiercel_json_ w = {0};
	tiercel_add_(&w, "{'key':%s,'value':%s", key, value);
	if (ttl_seconds > 0) tiercel_add_(&w, ",'ttlSeconds':%l", ttl_seconds);
	return tiercel_send_("kv.put", &w, "revision");
}

// tiercel_kv_update is tiercel_kv_put if the key's revision is still the one given (0: there is no such key); otherwise its error has the
// code conflict.
static inline tiercel_answer tiercel_kv_update(const char *key, const char *value, uint64_t revision, int64_t ttl_seconds) {
	struct tiercel_json_ w = {0};
	tiercel_add_(&w, "{'key':%s,'value':%s,'revision':%u", key, value, revision);
	if (ttl_seconds > 0) tiercel_add_(&w, ",'ttlSeconds':%l", ttl_seconds);
	return tiercel_send_("kv.put", &w, "revision");
}

// tiercel_kv_delete removes a key; one that does not exist is no error.
static inline tiercel_answer tiercel_kv_delete(const char *key) { return tiercel_call("kv.delete", tiercel_json("{'key':%s}", key)); }

// tiercel_artifact keeps a text as evidence: it is listed with the action under its name. It returns the text's digest.
static inline tiercel_answer tiercel_artifact(const char *name, const char *text) {
	struct tiercel_json_ w = {0};
	tiercel_add_(&w, "{'name':%s,'text':%s", name, text);
	return tiercel_send_("artifact.put", &w, "digest");
}

// ---- The event ----

// tiercel_field returns a field of the event by its name in rules ("fd.sip"): one of the standard fields of its type, or one that the
// rule's output names.
static inline tiercel_value tiercel_field(const tiercel_event *ev, const char *name) {
	tiercel_value v = tiercel_get(ev->fields, name);
	return tiercel_exists(v) ? v : tiercel_get(ev->output_fields, name);
}

// A tiercel_member_ is a text of a struct, by its key.
struct tiercel_member_ {
	const char *key, **to;
	size_t len;
};
#define TIERCEL_MEMBER_(key, to) {key, to, sizeof key - 1}

// tiercel_member_of_ returns the member that it is at, or NULL.
static inline const struct tiercel_member_ *tiercel_member_of_(const tiercel_iterator *it, const struct tiercel_member_ *members, size_t n) {
	for (size_t i = 0; i < n; i++)
		if (tiercel_equals_n_(it->key, it->escape_, members[i].key, members[i].len)) return &members[i];
	return NULL;
}

static inline bool tiercel_key_is_(const tiercel_iterator *it, const char *key) { return tiercel_equals_n_(it->key, it->escape_, key, strlen(key)); }

// tiercel_value_ returns the value that it is at, and goes behind it.
static inline tiercel_value tiercel_value_(tiercel_iterator *it) {
	const char *from = it->at_, *after = tiercel_skip_value_(from, it->end_);
	tiercel_past_(it, after);
	return (tiercel_value){from, (size_t)(after - from)};
}

// tiercel_inside_ goes through the map that it is at, before its end is known; false: it is at something else. When there is nothing more in
// inner, tiercel_past_(it, inner.at_ + 1) goes on behind it.
static inline bool tiercel_inside_(const tiercel_iterator *it, tiercel_iterator *inner) {
	if (*it->at_ != '{') return false;
	*inner = (tiercel_iterator){.at_ = tiercel_space_(it->at_ + 1, it->end_), .end_ = it->end_, .map_ = true};
	return true;
}

// Of a key that is there twice, the last counts.
static inline void tiercel_parse_target_(tiercel_target *t, tiercel_iterator *at) {
	*t = (tiercel_target){.cluster = "", .node = "", .namespace_ = "", .pod = "", .pod_uid = "", .container = "", .container_id = "", .image = "", .image_digest = ""};
	const struct tiercel_member_ texts[] = {TIERCEL_MEMBER_("cluster", &t->cluster), TIERCEL_MEMBER_("node", &t->node),
		TIERCEL_MEMBER_("namespace", &t->namespace_), TIERCEL_MEMBER_("pod", &t->pod), TIERCEL_MEMBER_("podUID", &t->pod_uid),
		TIERCEL_MEMBER_("container", &t->container), TIERCEL_MEMBER_("containerID", &t->container_id), TIERCEL_MEMBER_("image", &t->image),
		TIERCEL_MEMBER_("imageDigest", &t->image_digest)};
	tiercel_iterator it;
	if (!tiercel_inside_(at, &it)) {
		tiercel_value_(at);
		return;
	}
	while (tiercel_key_(&it)) {
		tiercel_value v = tiercel_value_(&it);
		const struct tiercel_member_ *m = tiercel_member_of_(&it, texts, sizeof texts / sizeof *texts);
		if (m) *m->to = tiercel_text(v);
		else if (tiercel_key_is_(&it, "cgroupID")) t->cgroup_id = tiercel_uint(v);
		else if (tiercel_key_is_(&it, "pid")) t->pid = tiercel_int(v);
		else if (tiercel_key_is_(&it, "pidStartTime")) t->pid_start_time = tiercel_uint(v);
	}
	tiercel_past_(at, it.at_ + 1);
}

static inline void tiercel_parse_data_(tiercel_event *ev, tiercel_iterator *at) {
	const tiercel_value none = {0};
	ev->output = "", ev->priority = NULL, ev->tags = ev->fields = ev->output_fields = none;
	tiercel_iterator it;
	if (!tiercel_inside_(at, &it)) {
		tiercel_value_(at);
		return;
	}
	while (tiercel_key_(&it)) {
		if (tiercel_key_is_(&it, "target")) {
			tiercel_parse_target_(&ev->target, &it);
			continue;
		}
		tiercel_value v = tiercel_value_(&it);
		if (tiercel_key_is_(&it, "output")) ev->output = tiercel_text(v);
		else if (tiercel_key_is_(&it, "priority")) ev->priority = tiercel_text(v); // as Falco writes it
		else if (tiercel_key_is_(&it, "tags")) ev->tags = v;
		else if (tiercel_key_is_(&it, "fields")) ev->fields = v;
		else if (tiercel_key_is_(&it, "output_fields")) ev->output_fields = v;
	}
	tiercel_past_(at, it.at_ + 1);
}

// tiercel_parse_event_ goes through a checked event once.
static inline tiercel_event tiercel_parse_event_(tiercel_value v) {
	tiercel_event ev = {.id = "", .source = "", .type = "", .subject = "", .time = "", .traceparent = "", .rule = "", .event_source = "",
		.hostname = "", .output = "", .json = v,
		.target = {.cluster = "", .node = "", .namespace_ = "", .pod = "", .pod_uid = "", .container = "", .container_id = "", .image = "", .image_digest = ""}};
	const char *priority = "";
	const struct tiercel_member_ texts[] = {TIERCEL_MEMBER_("id", &ev.id), TIERCEL_MEMBER_("source", &ev.source), TIERCEL_MEMBER_("type", &ev.type),
		TIERCEL_MEMBER_("subject", &ev.subject), TIERCEL_MEMBER_("time", &ev.time), TIERCEL_MEMBER_("traceparent", &ev.traceparent),
		TIERCEL_MEMBER_("rule", &ev.rule), TIERCEL_MEMBER_("priority", &priority), TIERCEL_MEMBER_("eventsource", &ev.event_source),
		TIERCEL_MEMBER_("hostname", &ev.hostname)};
	for (tiercel_iterator it = tiercel_iterate(v); tiercel_key_(&it);) {
		if (tiercel_key_is_(&it, "data")) {
			tiercel_parse_data_(&ev, &it);
			continue;
		}
		tiercel_value text = tiercel_value_(&it);
		const struct tiercel_member_ *m = tiercel_member_of_(&it, texts, sizeof texts / sizeof *texts);
		if (m) *m->to = tiercel_text(text);
	}
	if (!ev.priority) ev.priority = priority; // data's, if it has one
	return ev;
}

// ---- What the runtime calls ----

// tiercel_warm_ does what every event would otherwise be the first to do: the runtime keeps the memory that is had already.
static inline void tiercel_warm_(void) {
	tiercel_alloc(8);
	tiercel_state_.first = tiercel_state_.end - TIERCEL_CHUNK_;
}

// tiercel_begin_ forgets the event before, for a host that keeps an instance.
static inline void tiercel_begin_(void) {
	if (!tiercel_state_.first) tiercel_warm_();
	tiercel_state_ = (struct tiercel_state_){.first = tiercel_state_.first, .at = tiercel_state_.first, .end = tiercel_state_.first + TIERCEL_CHUNK_};
}

static inline int32_t tiercel_run_(uint32_t len, tiercel_outcome (*handler)(const tiercel_event *)) {
	tiercel_begin_();
	char *event = tiercel_alloc(len + 1);
	tiercel_input_(event, len);
	tiercel_value v = tiercel_parse(event, len);
	tiercel_outcome o = tiercel_fail("the event is not JSON");
	if (v.len) {
		tiercel_event ev = tiercel_parse_event_(v);
		o = handler(&ev);
	}
	struct tiercel_json_ w = {.at = tiercel_alloc(512), .cap = 512};
	tiercel_add_(&w, "{'outcome':%s", o.outcome);
	if (o.code) tiercel_add_(&w, ",'code':%s", o.code);
	if (o.text) tiercel_add_(&w, ",'text':%s", o.text);
	if (o.retry) tiercel_add_(&w, ",'retry':true");
	if (tiercel_state_.data) {
		tiercel_put_(tiercel_state_.data, "}", 1);
		tiercel_add_(&w, ",'data':%v", (tiercel_value){tiercel_state_.data->at, tiercel_state_.data->len});
	}
	tiercel_put_(&w, "}", 1);
	tiercel_output_(w.at, w.len);
	return strcmp(o.outcome, "failed") ? 0 : 1;
}

#endif

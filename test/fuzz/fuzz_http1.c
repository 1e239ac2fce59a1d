// SPDX-License-Identifier: Apache-2.0

/*
 * Request heads. The first byte chooses settings. Held to: spans lie in the head; a prefix says MORE or what the whole
 * says; the fast parser, where it says OK, says what the full one says (its hash and every span of value).
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/engine/engine.h"

#define CAP 8192u
#define STATE (1u << 16)

static struct weft_req req, whole;
static __u8 buf[CAP + 512], first[CAP + 512];

static void need(int ok)
{
	if (!ok)
		abort();
}

static int parse(struct weft_req *q, __u8 *bytes, const uint8_t *data, size_t n, uint8_t setting)
{
	memcpy(bytes, data, n);
	q->head = bytes;
	q->len = (__u32)n;
	q->max_head = setting & 1 ? 256 : CAP - 1024;
	q->max_headers = setting & 2 ? 5 : 100;
	q->hcm_flags = (setting & 4 ? WEFT_HCM_NORMALIZE_PATH : 0) |
		       (setting & 8 ? WEFT_HCM_CUSTOM_METHODS : 0) |
		       (setting & 16 ? WEFT_HCM_ACCEPT_HTTP10 : 0) |
		       (setting & 32 ? WEFT_HCM_ALLOW_CHUNKED_LENGTH : 0);
	q->underscores = setting >> 6 & 3;
	return weft_http1_parse(q);
}

static void check_span(const struct weft_req *q, struct weft_span s)
{
	need(s.off <= q->head_len && s.len <= q->head_len - s.off);
}

static void check_spans(const struct weft_req *q)
{
	need(q->head_len <= q->len);
	for (__u32 i = 0; i < q->n_field; i++) {
		check_span(q, q->field[i].name);
		check_span(q, q->field[i].value);
		need(q->field[i].name.len > 0);
	}
	for (__u32 i = WEFT_VALUE_METHOD; i <= WEFT_VALUE_SCHEME; i++)
		if (q->present >> i & 1)
			check_span(q, q->value[i]);
	need(q->present >> WEFT_VALUE_HOST & 1);
	need(!(q->flags & WEFT_REQ_CHUNKED) || !(q->flags & WEFT_REQ_HAS_LENGTH));
}

/* The same bytes; where there are none, the place does not matter. */
static int same_span(struct weft_span a, struct weft_span b)
{
	return a.len == b.len && (!a.len || a.off == b.off);
}

/* Dropping names with '_' needs the full parser; without such a name it must say what the fast one says. */
static void check_full(const uint8_t *data, size_t n, uint8_t setting)
{
	for (__u32 i = 0; i < whole.n_field; i++)
		if (memchr(first + whole.field[i].name.off, '_', whole.field[i].name.len))
			return;
	need(!parse(&req, buf, data, n, (uint8_t)((setting & 63) | 2 << 6)));
	need(req.flags == whole.flags && req.n_field == whole.n_field && req.hash == whole.hash &&
	     req.present == whole.present && req.content_length == whole.content_length &&
	     req.head_len == whole.head_len && !memcmp(&req.path, &whole.path, sizeof(req.path)));
	for (__u32 i = WEFT_VALUE_METHOD; i <= WEFT_VALUE_SCHEME; i++)
		if (req.present >> i & 1)
			need(same_span(req.value[i], whole.value[i]));
	for (__u32 i = 0; i < req.n_field; i++)
		need(same_span(req.field[i].name, whole.field[i].name) &&
		     same_span(req.field[i].value, whole.field[i].value));
	need(!memcmp(buf, first, whole.head_len));
}

/* The parser asks the state for the key of the hash, the image for nothing. */
static void bind_once(void)
{
	static __u8 *state;

	if (state)
		return;
	state = calloc(1, STATE + WEFT_STATE_SLACK);
	need(state && !weft_state_layout(state, STATE, 2, 2, 2));
	weft_engine_bind(NULL, 0, state, STATE - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t setting;
	int verdict;

	if (size < 2 || size > 2048)
		return 0;
	bind_once();
	setting = *data++;
	size--;
	verdict = parse(&whole, first, data, size, setting);
	if (!verdict) {
		check_spans(&whole);
		need(whole.hash == weft_hash_head(data, whole.head_len));
		if (!(setting >> 6))
			check_full(data, size, setting);
		/* bytes behind the head stay, and do not matter */
		need(!memcmp(first + whole.head_len, data + whole.head_len, size - whole.head_len));
		need(!parse(&req, buf, data, whole.head_len, setting) && req.flags == whole.flags &&
		     req.n_field == whole.n_field && req.hash == whole.hash);
	}
	for (size_t n = 0; n < size; n += size > 300 ? 7 : 1) {
		int v = parse(&req, buf, data, n, setting);

		if (v == WEFT_PARSE_MORE)
			need(!memcmp(buf, data, n));
		else
			need(v == verdict);
	}
	return 0;
}

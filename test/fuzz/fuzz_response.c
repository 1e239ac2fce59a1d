// SPDX-License-Identifier: Apache-2.0
/*
 * Upstream responses: the first byte says where the head is cut. A prefix is incomplete or as malformed as the whole; what
 * is taken lies inside; and the body is the same however it is cut.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct response whole, part;

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void fields_check(const uint8_t *in, const struct response *r)
{
	need(r->n <= PROXY_RESPONSE_FIELDS_MAX && r->status >= 100 && r->status <= 999);
	need(!(r->chunked && r->has_length));
	for (uint32_t i = 0; i < r->n; i++) {
		const struct head_field *f = &r->field[i];

		need(f->name_len && f->name + f->name_len < f->value + 1);
		need(f->value + f->value_len <= r->len);
		need(!memchr(in + f->value, '\r', f->value_len) && !memchr(in + f->value, '\n', f->value_len) &&
		     !memchr(in + f->value, 0, f->value_len));
	}
}

/* Decodes pieces of at most `step` bytes. Bytes of the body, or -EBADMSG. */
static long body_decode(const uint8_t *in, size_t n, size_t step, const struct response *r, uint8_t *out)
{
	struct body b;
	size_t at = 0, got = 0;

	body_init(&b,
		  r->chunked	  ? BODY_CHUNKED
		  : r->has_length ? BODY_LENGTH
				  : BODY_CLOSE,
		  r->chunked ? PROXY_RESPONSE_HEAD_MAX : r->length);
	while (at < n && !b.done) {
		size_t k = n - at < step ? n - at : step, used, len;
		const uint8_t *piece;

		if (body_step(&b, in + at, k, &used, &piece, &len))
			return -EBADMSG;
		need(used <= k && len <= used);
		memcpy(out + got, piece, len);
		got += len;
		at += used;
		need(used || b.done);
	}
	return (long)got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = size ? size - 1 : 0, cut = size ? (size_t)data[0] * n / 255 : 0;
	uint8_t *a = malloc(n + 1), *b = malloc(n + 1), *one = malloc(n + 1), *many = malloc(n + 1);
	int r, p;

	need(a && b && one && many);
	if (n) {
		memcpy(a, data + 1, n);
		memcpy(b, data + 1, n);
	}
	r = response_parse(a, n, &whole);
	p = response_parse(b, cut, &part);
	/* a cut head is incomplete and not touched; one that is whole in the cut is the same */
	if (p == -EAGAIN)
		need(!cut || !memcmp(b, data + 1, cut));
	else
		need(p == r);
	if (!r) {
		size_t rest = n - whole.len;
		long x, y;

		need(whole.len <= n);
		fields_check(a, &whole);
		x = body_decode(a + whole.len, rest, rest ? rest : 1, &whole, one);
		y = body_decode(a + whole.len, rest, 1, &whole, many);
		need(x == y && (x <= 0 || !memcmp(one, many, (size_t)x)));
	}
	free(a);
	free(b);
	free(one);
	free(many);
	return 0;
}

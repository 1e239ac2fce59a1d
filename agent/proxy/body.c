// SPDX-License-Identifier: Apache-2.0
/* Message framing (RFC 9112 section 6 and 7), decoded piece by piece; trailers are read and dropped. */
#include <errno.h>
#include <string.h>

#include "agent/proxy/internal.h"
#include "bpf/engine/hex.h"

enum { SIZE_FIRST, SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER_FIRST, TRAILER_NEXT, TRAILER_NAME, TRAILER_VALUE, LAST_LF };

void body_init(struct body *b, enum body_kind kind, uint64_t length)
{
	*b = (struct body){.kind = kind, .state = SIZE_FIRST};
	*(kind == BODY_CHUNKED ? &b->trailers_max : &b->left) = length;
	b->done = kind == BODY_NONE || (kind == BODY_LENGTH && !length);
}

static int size_end(struct body *b)
{
	b->state = b->left ? DATA : TRAILER_FIRST;
	return 0;
}

static int size_byte(struct body *b, uint8_t c)
{
	int digit = weft_hex_digit(c);

	if (digit >= 0) {
		if (b->left >> 60)
			return -EBADMSG; /* beyond 64 bits */
		b->left = b->state == SIZE_FIRST ? (uint64_t)digit : b->left << 4 | (uint64_t)digit;
		b->state = SIZE;
		return 0;
	}
	if (b->state == SIZE_FIRST)
		return -EBADMSG;
	if (c == '\r')
		b->state = SIZE_LF;
	else if (c == ';' || c == ' ' || c == '\t')
		b->state = EXTENSION;
	else
		return -EBADMSG;
	return 0;
}

/* Trailers have the form of header lines (Envoy's codec judges them, and drops them unless enable_trailers). */
static int trailer_byte(struct body *b, uint8_t c)
{
	bool begins = b->state == TRAILER_FIRST || b->state == TRAILER_NEXT;

	if (++b->trailers > b->trailers_max)
		return -E2BIG;
	if (begins && c == '\r') {
		b->state = LAST_LF;
		return 0;
	}
	if (begins && c == '\n') {
		b->done = true;
		return 0;
	}
	if (b->state == TRAILER_VALUE || (b->state == TRAILER_NEXT && (c == ' ' || c == '\t'))) {
		b->state = c == '\n' ? TRAILER_NEXT : TRAILER_VALUE;
		return (c < ' ' && !strchr("\t\r\n", c)) || !c || c == 0x7f ? -EILSEQ : 0;
	}
	if (c == ':' && b->state == TRAILER_NAME)
		b->state = TRAILER_VALUE;
	else if (http_is_token(c))
		b->state = TRAILER_NAME;
	else
		return -EBADMSG;
	return 0;
}

/* One byte of chunk framing. Bare LF ends chunk data, but no chunk line (Envoy 1.40). */
static int chunk_byte(struct body *b, uint8_t c)
{
	switch (b->state) {
	case SIZE_FIRST:
	case SIZE:
		return size_byte(b, c);
	case EXTENSION:
		if (c == '\n')
			return -EBADMSG;
		if (c == '\r')
			b->state = SIZE_LF;
		return 0;
	case SIZE_LF:
		return c == '\n' ? size_end(b) : -EBADMSG;
	case DATA_CR:
		if (c == '\r') {
			b->state = DATA_LF;
			return 0;
		}
		/* fall through */
	case DATA_LF:
		b->state = SIZE_FIRST;
		b->left = 0;
		return c == '\n' ? 0 : -EBADMSG;
	case LAST_LF:
		if (++b->trailers > b->trailers_max)
			return -E2BIG;
		b->done = c == '\n';
		return c == '\n' ? 0 : -EBADMSG;
	default:
		return trailer_byte(b, c);
	}
}

static void take(struct body *b, const uint8_t *in, size_t n, size_t *ret_used, const uint8_t **ret_data,
		 size_t *ret_len)
{
	size_t k = b->kind == BODY_CLOSE || n < b->left ? n : (size_t)b->left;

	*ret_data = in + *ret_used;
	*ret_len = k;
	*ret_used += k;
	if (b->kind != BODY_CLOSE)
		b->left -= k;
}

int body_step(struct body *b, const uint8_t *in, size_t n, size_t *ret_used, const uint8_t **ret_data,
	      size_t *ret_len)
{
	*ret_used = 0;
	*ret_len = 0;
	*ret_data = in;
	if (b->done || !n)
		return 0;
	if (b->kind != BODY_CHUNKED) {
		take(b, in, n, ret_used, ret_data, ret_len);
		b->done = b->kind == BODY_LENGTH && !b->left;
		return 0;
	}
	while (*ret_used < n && !b->done && b->state != DATA) {
		int r = chunk_byte(b, in[(*ret_used)++]);

		if (r)
			return r;
	}
	if (b->state == DATA && *ret_used < n) {
		take(b, in, n - *ret_used, ret_used, ret_data, ret_len);
		if (!b->left)
			b->state = DATA_CR;
	}
	return 0;
}

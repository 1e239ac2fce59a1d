// SPDX-License-Identifier: Apache-2.0
/* RateLimitRequest and RateLimitResponse on the wire (protocol buffers, in gRPC's frames). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"
#include "envoy/type/v3/ratelimit_unit.pb-c.h"
#include "xds/wire.h"

#define FRAME_HEAD 5u
#define VARINT_MAX 10u

enum { LENGTH = 2, NUMBER = 0 };

static size_t varint(uint8_t *out, uint64_t v)
{
	size_t n = 0;

	for (; v > 127; v >>= 7)
		out[n++] = (uint8_t)(v | 128);
	out[n++] = (uint8_t)v;
	return n;
}

static size_t varint_len(uint64_t v)
{
	uint8_t scratch[VARINT_MAX];

	return varint(scratch, v);
}

static int number_put(struct worker *w, struct buf *b, uint32_t field, uint64_t v)
{
	uint8_t bytes[2 * VARINT_MAX];
	size_t n = varint(bytes, (uint64_t)field << 3 | NUMBER);

	if (!v)
		return 0; /* proto3: as good as not there */
	n += varint(bytes + n, v);
	return buf_add(w, b, bytes, n);
}

static int length_put(struct worker *w, struct buf *b, uint32_t field, size_t len)
{
	uint8_t bytes[2 * VARINT_MAX];
	size_t n = varint(bytes, (uint64_t)field << 3 | LENGTH);

	n += varint(bytes + n, len);
	return buf_add(w, b, bytes, n);
}

static int text_put(struct worker *w, struct buf *b, uint32_t field, struct weft_rate_text t)
{
	int r = t.len ? length_put(w, b, field, t.len) : 0;

	return r || !t.len ? r : buf_add(w, b, t.p, t.len);
}

/* With its tag and length, all field numbers being below 16. */
static size_t field_len(size_t len)
{
	return len ? 1 + varint_len(len) + len : 0;
}

static size_t number_len(uint64_t v)
{
	return v ? 1 + varint_len(v) : 0;
}

int wire_begin(struct worker *w, struct buf *b, struct weft_img_str domain)
{
	static const uint8_t head[FRAME_HEAD];
	int r = buf_add(w, b, head, sizeof(head));

	return r ? r
		 : text_put(w, b, 1, (struct weft_rate_text){weft_img_at(domain.off), domain.len});
}

static size_t entry_len(const struct weft_rate_found *e)
{
	return field_len(e->key.len) + field_len(e->value.len);
}

int wire_descriptor(struct worker *w, struct buf *b, const struct weft_rate_found *e, uint32_t n,
		    const struct wire_limit *limit, const uint64_t *hits)
{
	size_t limit_len = number_len(limit->requests) + number_len(limit->unit);
	size_t hits_len = hits ? number_len(*hits) : 0, len = 0;
	int r;

	for (uint32_t i = 0; i < n; i++)
		len += 1 + varint_len(entry_len(&e[i])) + entry_len(&e[i]);
	len += limit->set ? 1 + varint_len(limit_len) + limit_len : 0;
	len += hits ? 1 + varint_len(hits_len) + hits_len : 0;
	r = length_put(w, b, 2, len);
	for (uint32_t i = 0; !r && i < n; i++) {
		r = length_put(w, b, 1, entry_len(&e[i]));
		if (!r)
			r = text_put(w, b, 1, e[i].key);
		if (!r)
			r = text_put(w, b, 2, e[i].value);
	}
	if (!r && limit->set) {
		r = length_put(w, b, 2, limit_len);
		if (!r)
			r = number_put(w, b, 1, limit->requests);
		if (!r)
			r = number_put(w, b, 2, limit->unit);
	}
	if (!r && hits) {
		r = length_put(w, b, 3, hits_len);
		if (!r)
			r = number_put(w, b, 1, *hits);
	}
	return r;
}

void wire_end(struct buf *b)
{
	size_t n = buf_len(b) - FRAME_HEAD;
	uint8_t *p = buf_at(b);

	p[1] = (uint8_t)(n >> 24);
	p[2] = (uint8_t)(n >> 16);
	p[3] = (uint8_t)(n >> 8);
	p[4] = (uint8_t)n;
}

/* The last complete frame wins, as with Envoy; one that is compressed, or has another flag, spoils
 * all. */
rate_response *wire_response(const uint8_t *p, size_t n)
{
	const uint8_t *last = NULL;
	ProtobufCMessage *msg = NULL;
	size_t last_len = 0;

	while (n >= FRAME_HEAD) {
		size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];

		if (p[0])
			return NULL;
		if (len > n - FRAME_HEAD)
			break;
		last = p + FRAME_HEAD;
		last_len = len;
		p += FRAME_HEAD + len;
		n -= FRAME_HEAD + len;
	}
	if (n && *p)
		return NULL;
	if (last &&
	    weft_wire_unpack(&envoy__service__ratelimit__v3__rate_limit_response__descriptor, last,
			     last_len, NULL, NULL, NULL, &msg))
		msg = NULL;
	return (rate_response *)msg;
}

int wire_unit(const char *name)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(
		&envoy__type__v3__rate_limit_unit__descriptor, name);

	return v ? v->value : -1;
}

uint32_t wire_seconds(int unit)
{
	static const uint32_t seconds[] = {0, 1, 60, 3600, 86400, 2592000, 31536000, 604800};

	return unit >= 0 && (size_t)unit < sizeof(seconds) / sizeof(*seconds) ? seconds[unit] : 0;
}

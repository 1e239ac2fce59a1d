// SPDX-License-Identifier: Apache-2.0
/*
 * When a response is applied. The first one at once; those that come while its publish and a pause
 * behind it last wait, and are published together. So however fast a server talks, there are only
 * so many publishes, and each of them has all that came until then.
 */

#include <errno.h>
#include <stdlib.h>

#include "xds/delta_state.h"

static void list_free(struct delta_response *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		protobuf_c_message_free_unpacked(v[i].msg, NULL);
	free(v);
}

void delta_pace_clear(struct weft_delta *d)
{
	list_free(d->pending.v, d->pending.n);
	d->pending = (struct delta_pending){0};
}

void delta_pace_begin(struct weft_delta *d, int64_t now_ms)
{
	if (!d->pause_due)
		return;
	d->pause_due = false;
	d->pause_until = d->ops.pause && d->complete ? now_ms + d->ops.pause(d->ctx) : 0;
}

static int apply_one(struct weft_delta *d, const struct delta_response *r, int64_t now_ms)
{
	if (d->sotw)
		return delta_sotw_apply(d, r->type, (const void *)r->msg, now_ms);
	return delta_apply(d, r->type, (const void *)r->msg, now_ms);
}

/*
 * One publish for all; when something is refused, each half by itself, so that a refusal is that of
 * its own response and costs few publishes more. In state of the world a server waits for its
 * answer, so that there is little to join.
 */
static int apply_list(struct weft_delta *d, const struct delta_response *v, size_t n,
		      int64_t now_ms)
{
	int err = -EINVAL;

	if (n == 1)
		return apply_one(d, v, now_ms);
	if (!d->sotw)
		err = delta_apply_all(d, v, n, now_ms);
	if (!err)
		d->stats.joined += n - 1;
	if (err != -EINVAL)
		return err;
	err = apply_list(d, v, n / 2, now_ms);
	return err ? err : apply_list(d, v + n / 2, n - n / 2, now_ms);
}

int delta_pace_end(struct weft_delta *d, int64_t now_ms)
{
	struct delta_pending p = d->pending;
	int err;

	if (!p.n)
		return 0;
	d->pending = (struct delta_pending){0};
	err = apply_list(d, p.v, p.n, now_ms);
	list_free(p.v, p.n);
	delta_pace_begin(d, now_ms);
	return err;
}

int64_t delta_pace_deadline(const struct weft_delta *d)
{
	return d->pending.n ? d->pause_until : DELTA_NEVER;
}

static int pending_add(struct delta_pending *p, enum weft_xds_type type, ProtobufCMessage *msg,
		       size_t len)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 8;
		struct delta_response *v = reallocarray(p->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		p->v = v;
		p->cap = cap;
	}
	p->v[p->n++] = (struct delta_response){.type = type, .msg = msg};
	p->bytes += len;
	return 0;
}

int delta_pace(struct weft_delta *d, enum weft_xds_type type, ProtobufCMessage *msg, size_t len,
	       int64_t now_ms)
{
	int err = pending_add(&d->pending, type, msg, len);

	if (err) {
		protobuf_c_message_free_unpacked(msg, NULL);
		return err;
	}
	if (now_ms < d->pause_until && d->pending.n < WEFT_DELTA_WAIT_RESPONSES &&
	    d->pending.bytes < WEFT_DELTA_WAIT_BYTES)
		return 0;
	return delta_pace_end(d, now_ms);
}

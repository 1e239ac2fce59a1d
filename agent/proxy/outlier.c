// SPDX-License-Identifier: Apache-2.0
/* What outlier detection is told of: answers, failures, connections (Envoy's router and tcp_proxy).
 */
#include "agent/proxy/internal.h"
#include "bpf/engine/outlier.h"

static void tell(struct worker *w, uint32_t pod, const struct weft_cell_endpoint *e)
{
	const struct weft_proxy_ops *ops = &w->proxy->ops;

	if (ops->outlier)
		ops->outlier(ops->outlier_ctx, pod, e->owner, e->self);
}

void outlier_begin(struct exchange *x, const struct weft_img_endpoint *e)
{
	struct weft_cell_endpoint *c =
		x->cell_endpoint ? weft_cell_endpoint(x->cell_endpoint) : NULL;

	x->cell_outlier = 0;
	if (!c || !x->cluster->outlier)
		return;
	x->cell_outlier = x->cell_endpoint;
	if (weft_outlier_begin(c, weft_img_at(x->cluster->outlier), x->cluster->cell, e->cell))
		tell(x->down->worker, x->ctx.pod, c);
}

/* The cell to count in. NULL: nothing is detected, or by now for another cluster of its name. */
static struct weft_cell_endpoint *cell_of(const struct exchange *x)
{
	struct weft_cell_endpoint *c = x->cell_outlier ? weft_cell_endpoint(x->cell_outlier) : NULL;

	return c && c->owner == x->cluster->cell ? c : NULL;
}

/* What a gRPC status is in HTTP, as Envoy maps it. */
static uint32_t grpc_as_http(uint32_t status)
{
	static const uint16_t http[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
					400, 409, 400, 501, 500, 503, 500, 401};

	return status < sizeof(http) / sizeof(*http) ? http[status] : 500;
}

void outlier_status(struct exchange *x, const struct response *r)
{
	struct weft_cell_endpoint *c = cell_of(x);
	const struct weft_proxy_ops *ops = &x->down->worker->proxy->ops;
	bool grpc = x->req_flags & WEFT_REQ_GRPC && r->has_grpc_status;

	if (r->health_fail && ops->health_fail && x->endpoint_id)
		ops->health_fail(ops->health_ctx, x->ctx.pod, x->cluster->cell, x->endpoint_id);
	if (c && weft_outlier_status(c, grpc ? grpc_as_http(r->grpc_status) : r->status))
		tell(x->down->worker, x->ctx.pod, c);
}

void outlier_reached(struct exchange *x, bool reached, bool late)
{
	struct weft_cell_endpoint *c = cell_of(x);
	enum weft_reached how = reached ? WEFT_REACHED
				: late	? WEFT_UNREACHED_TIME
					: WEFT_UNREACHED;

	uint32_t news;

	if (!c)
		return;
	/* late, it counts as the status that the client gets */
	if (late && x->alt_timeout && !c->split)
		news = weft_outlier_status(c, 204);
	else
		news = weft_outlier_reached(c, how);
	if (news)
		tell(x->down->worker, x->ctx.pod, c);
}

void outlier_relay_begin(struct worker *w, uint32_t pod, const struct weft_tcp *tcp)
{
	if (tcp->outlier_new)
		tell(w, pod, weft_cell_endpoint(tcp->cell_endpoint));
}

void outlier_relay(struct worker *w, uint32_t pod, uint32_t cell, bool reached, bool late)
{
	struct weft_cell_endpoint *c = cell ? weft_cell_endpoint(cell) : NULL;
	enum weft_reached how = reached ? WEFT_REACHED_ALL
				: late	? WEFT_UNREACHED_TIME
					: WEFT_UNREACHED;

	if (c && c->owner && weft_outlier_reached(c, how))
		tell(w, pod, c);
}

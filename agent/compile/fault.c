// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/fault.h"

#include <string.h>

#include "agent/compile/parts.h"
#include "agent/compile/reply.h"

typedef Envoy__Extensions__Filters__Http__Fault__V3__HTTPFault fault;
typedef Envoy__Extensions__Filters__Http__Fault__V3__FaultAbort fault_abort;
typedef Envoy__Extensions__Filters__Common__Fault__V3__FaultDelay fault_delay;
typedef Envoy__Extensions__Filters__Common__Fault__V3__FaultRateLimit fault_rate;

#define ABORT(x) ENVOY__EXTENSIONS__FILTERS__HTTP__FAULT__V3__FAULT_ABORT__ERROR_TYPE_##x
#define RATE(x) ENVOY__EXTENSIONS__FILTERS__COMMON__FAULT__V3__FAULT_RATE_LIMIT__LIMIT_TYPE_##x
#define DELAY(x)                                                                                   \
	ENVOY__EXTENSIONS__FILTERS__COMMON__FAULT__V3__FAULT_DELAY__FAULT_DELAY_SECIFIER_##x

/* Without a percentage no request is meant (Envoy: FractionalPercent's default of 0). */
static void share_fill(const Envoy__Type__V3__FractionalPercent *p, struct weft_img_share *ret)
{
	static const uint32_t per[] = {100, 10000, 1000000};

	ret->denominator = per[p ? p->denominator : 0];
	ret->numerator = p ? p->numerator : 0;
	if (ret->numerator > ret->denominator)
		ret->numerator = ret->denominator;
}

static uint32_t reply_build(struct weft_build *b, uint32_t status)
{
	static const char body[] = "fault filter abort";

	return weft_build_reply(b, &(struct weft_reply_text){.status = status,
							     .body = body,
							     .body_len = sizeof(body) - 1,
							     .details = "fault_filter_abort"});
}

static void abort_fill(struct weft_build *b, const fault_abort *a, const char *field,
		       struct weft_img_fault *ret)
{
	share_fill(a->percentage, &ret->abort);
	switch (a->error_type_case) {
	case ABORT(HTTP_STATUS):
		ret->abort_kind = WEFT_FAULT_FIXED;
		ret->abort_status = a->http_status;
		ret->reply = reply_build(b, a->http_status);
		break;
	case ABORT(GRPC_STATUS):
		ret->abort_kind = WEFT_FAULT_GRPC;
		ret->abort_status = a->grpc_status;
		ret->reply = reply_build(b, 200);
		break;
	default:
		ret->abort_kind = WEFT_FAULT_HEADER;
		ret->abort_slot =
			weft_build_slot(b, "x-envoy-fault-abort-request", b->names, field);
		ret->grpc_slot =
			weft_build_slot(b, "x-envoy-fault-abort-grpc-request", b->names, field);
		ret->abort.slot = weft_build_slot(b, "x-envoy-fault-abort-request-percentage",
						  b->names, field);
	}
}

static void delay_fill(struct weft_build *b, const fault_delay *d, const char *field,
		       struct weft_img_fault *ret)
{
	char at[WEFT_FIELD_MAX];

	share_fill(d->percentage, &ret->delay);
	if (d->fault_delay_secifier_case == DELAY(FIXED_DELAY)) {
		/* refuses what is too long; Envoy cuts the rest below a millisecond off */
		weft_build_ms(b, d->fixed_delay, 0, weft_field(at, field, "fixed_delay"));
		ret->delay_kind = WEFT_FAULT_FIXED;
		ret->delay_ms = (uint32_t)(d->fixed_delay->seconds * 1000 +
					   d->fixed_delay->nanos / 1000000);
		return;
	}
	ret->delay_kind = WEFT_FAULT_HEADER;
	ret->delay_slot = weft_build_slot(b, "x-envoy-fault-delay-request", b->names, field);
	ret->delay.slot =
		weft_build_slot(b, "x-envoy-fault-delay-request-percentage", b->names, field);
}

static void rate_fill(struct weft_build *b, const fault_rate *r, const char *field,
		      struct weft_img_fault *ret)
{
	share_fill(r->percentage, &ret->rate);
	if (r->limit_type_case == RATE(FIXED_LIMIT)) {
		ret->rate_kind = WEFT_FAULT_FIXED;
		/* 4 TiB a second and more are the same */
		ret->rate_kbps = r->fixed_limit->limit_kbps < UINT32_MAX
					 ? (uint32_t)r->fixed_limit->limit_kbps
					 : UINT32_MAX;
		return;
	}
	ret->rate_kind = WEFT_FAULT_HEADER;
	ret->rate_slot = weft_build_slot(b, "x-envoy-fault-throughput-response", b->names, field);
	ret->rate.slot =
		weft_build_slot(b, "x-envoy-fault-throughput-response-percentage", b->names, field);
}

static void nodes_fill(struct weft_build *b, const fault *f, const char *field,
		       struct weft_img_fault *ret)
{
	char at[WEFT_FIELD_MAX];

	ret->n_node = (uint32_t)f->n_downstream_nodes;
	ret->node = weft_build_strs(b, f->downstream_nodes, f->n_downstream_nodes);
	if (ret->n_node)
		ret->node_slot = weft_build_slot(b, "x-envoy-downstream-service-node", b->names,
						 weft_field(at, field, "downstream_nodes"));
}

static void conds_fill(struct weft_build *b, const fault *f, const char *field,
		       struct weft_img_fault *ret)
{
	struct weft_img_cond list[WEFT_CONDS_MAX] = {0};
	char at[WEFT_FIELD_MAX];

	if (f->n_headers > WEFT_CONDS_MAX) {
		weft_build_fail(b, weft_field(at, field, "headers"), "more than %u",
				WEFT_CONDS_MAX);
		return;
	}
	for (size_t i = 0; i < f->n_headers; i++)
		weft_build_header_cond(b, f->headers[i], b->names,
				       weft_field(at, field, "headers[%zu]", i), &list[i]);
	ret->n_cond = (uint32_t)f->n_headers;
	if (ret->n_cond)
		ret->cond = weft_build_put(b, list, ret->n_cond * sizeof(*list));
}

uint32_t weft_build_fault(struct weft_build *b, const fault *f, const char *field)
{
	/* a runtime that has such a key is refused (xds/runtime.h): without it the values stay */
	struct weft_img_fault out = {.max_active = WEFT_FAULT_NO_MAX};
	bool validate = b->validate_clusters;
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &f->base, field);
	if (f->abort)
		abort_fill(b, f->abort, weft_field(at, field, "abort"), &out);
	if (f->delay)
		delay_fill(b, f->delay, weft_field(at, field, "delay"), &out);
	if (f->response_rate_limit)
		rate_fill(b, f->response_rate_limit, weft_field(at, field, "response_rate_limit"),
			  &out);
	nodes_fill(b, f, field, &out);
	conds_fill(b, f, field, &out);
	if (!f->abort && !f->delay && !f->response_rate_limit)
		return 0;
	out.agent = out.delay_kind || out.abort_kind == WEFT_FAULT_HEADER || out.rate_kind ||
		    out.n_node;
	b->validate_clusters = false; /* a name to compare with, no use of the cluster */
	if (*f->upstream_cluster)
		out.cluster = weft_build_cluster_id(b, f->upstream_cluster);
	b->validate_clusters = validate;
	if (f->max_active_faults)
		out.max_active = f->max_active_faults->value;
	out.cell =
		weft_build_state(b, WEFT_CELL_FILTER, b->hash, "fault %s %s", b->resource, field);
	return weft_build_put(b, &out, sizeof(out));
}

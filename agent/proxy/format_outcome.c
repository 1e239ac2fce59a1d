// SPDX-License-Identifier: Apache-2.0
/* Values of what has become of a request, so far or in the end (outcome.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/format.h"
#include "agent/proxy/grpc.h"

#define RUN(text) ((struct run){(const uint8_t *)(text), sizeof(text) - 1})

static struct run text_run(const char *s)
{
	return s ? (struct run){(const uint8_t *)s, strlen(s)} : (struct run){0};
}

static const struct outcome *outcome(const struct format *f)
{
	return f->o ? f->o : f->x ? &f->x->outcome : f->d->early;
}

struct run format_number(uint64_t n, char out[24])
{
	return (struct run){(const uint8_t *)out,
			    (size_t)snprintf(out, 24, "%llu", (unsigned long long)n)};
}

/* ---- times ---- */

static uint64_t start_ms(const struct format *f)
{
	return f->x ? f->x->start_ms : f->d->head_ms ? f->d->head_ms : f->d->worker->now_ms;
}

uint64_t format_duration(const struct format *f)
{
	return f->d->worker->now_ms - start_ms(f);
}

static struct run duration(const struct format *f, uint32_t kind, union scratch *s)
{
	const struct outcome *o = outcome(f);
	uint64_t from = start_ms(f), to = 0;

	if (kind == WEFT_PIECE_DURATION)
		to = f->d->worker->now_ms;
	else if (kind == WEFT_PIECE_REQUEST_DURATION)
		to = o ? o->request_end_ms : 0;
	else if (kind == WEFT_PIECE_REQUEST_TX_DURATION)
		to = o ? o->sent_ms : 0;
	else if (kind == WEFT_PIECE_RESPONSE_DURATION)
		to = o ? o->answer_ms : 0;
	else if (o && o->answer_ms && o->ended) {
		from = o->answer_ms;
		to = f->d->worker->now_ms;
	}
	return to ? format_number(to - from, s->number) : (struct run){0};
}

/* ---- flags ---- */

static const struct {
	const char *name, *full;
} flag_names[] = {
	{"LH", "FailedLocalHealthCheck"},
	{"UH", "NoHealthyUpstream"},
	{"UT", "UpstreamRequestTimeout"},
	{"LR", "LocalReset"},
	{"UR", "UpstreamRemoteReset"},
	{"UF", "UpstreamConnectionFailure"},
	{"UC", "UpstreamConnectionTermination"},
	{"UO", "UpstreamOverflow"},
	{"NR", "NoRouteFound"},
	{"DI", "DelayInjected"},
	{"FI", "FaultInjected"},
	{"RL", "RateLimited"},
	{"UAEX", "UnauthorizedExternalService"},
	{"RLSE", "RateLimitServiceError"},
	{"DC", "DownstreamConnectionTermination"},
	{"URX", "UpstreamRetryLimitExceeded"},
	{"SI", "StreamIdleTimeout"},
	{"IH", "InvalidEnvoyRequestHeaders"},
	{"DPE", "DownstreamProtocolError"},
	{"UMSDR", "UpstreamMaxStreamDurationReached"},
	{"RFCF", "ResponseFromCacheFilter"},
	{"NFCF", "NoFilterConfigFound"},
	{"DT", "DurationTimeout"},
	{"UPE", "UpstreamProtocolError"},
	{"NC", "NoClusterFound"},
	{"OM", "OverloadManagerTerminated"},
	{"DF", "DnsResolutionFailed"},
	{"DO", "DropOverload"},
	{"DR", "DownstreamRemoteReset"},
	{"UDO", "UnconditionalDropOverload"},
};
static_assert(sizeof(flag_names) / sizeof(*flag_names) == WEFT_FLAG__MAX, "a name for each flag");

uint32_t format_flags(const struct format *f)
{
	return f->o ? f->flags : flags_now(f->d);
}

static size_t names_add(uint32_t flags, bool full, size_t n, char out[FLAGS_TEXT])
{
	for (int i = 0; i < WEFT_FLAG__MAX; i++)
		if (flags >> i & 1)
			n += (size_t)snprintf(out + n, FLAGS_TEXT - n, "%s%s", n ? "," : "",
					      full ? flag_names[i].full : flag_names[i].name);
	return n;
}

/*
 * By commas, in the order they are set (Envoy 1.40): a delay comes before all else, and that no
 * retry is left, or may be made, before why the last attempt failed. "-" for none.
 */
static struct run flags_text(uint32_t flags, bool full, char out[FLAGS_TEXT])
{
	static const uint32_t first[] = {WEFT_FLAG_BIT(DI), WEFT_FLAG_BIT(URX), WEFT_FLAG_BIT(UO)};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++)
		n = names_add(flags & first[i], full, n, out);
	n = names_add(flags & ~(first[0] | first[1] | first[2]), full, n, out);
	if (!n)
		return RUN("-");
	return (struct run){(const uint8_t *)out, n};
}

/* ---- texts ---- */

/* Blanks become underscores, so that a line has as many words as its format. */
static struct run one_word(struct run r, bool blanks, char out[OUTCOME_TEXT])
{
	if (blanks || !r.n || !memchr(r.p, ' ', r.n))
		return r;
	if (r.n > OUTCOME_TEXT)
		r.n = OUTCOME_TEXT;
	for (size_t i = 0; i < r.n; i++)
		out[i] = (char)(r.p[i] == ' ' ? '_' : r.p[i]);
	return (struct run){(const uint8_t *)out, r.n};
}

static struct run trailer(const struct format *f, const struct weft_img_piece *p)
{
	const struct outcome *o = outcome(f);
	struct run got = {0};

	for (int i = 0; o && i < 2 && !got.p; i++) {
		struct weft_img_str s = i ? p->b : p->a;

		if (s.len)
			got = format_line(buf_at(&o->trailers), buf_len(&o->trailers),
					  (struct run){weft_img_at(s.off), s.len});
	}
	return got;
}

/* ---- gRPC ---- */

static int status_parse(struct run r)
{
	char text[12] = "", *end = text;
	unsigned long n;

	if (r.n && r.n < sizeof(text))
		memcpy(text, r.p, r.n);
	n = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
	return end == text || *end || n > 16 ? 32 : (int)n;
}

static struct run status_line(const struct format *f)
{
	const struct outcome *o = outcome(f);
	struct run got = {0};

	if (o)
		got = format_line(buf_at(&o->trailers), buf_len(&o->trailers), RUN("grpc-status"));
	if (!got.p && f->resp)
		got = format_line(buf_at(f->resp->b) + f->resp->from,
				  buf_len(f->resp->b) - f->resp->from, RUN("grpc-status"));
	return got;
}

int format_grpc(const struct format *f)
{
	struct run line = status_line(f);

	if (line.p)
		return status_parse(line);
	if (f->o && !f->status)
		return 2; /* Unknown: there is no response */
	return weft_grpc_status(f->status);
}

static struct run grpc_text(const struct format *f, const struct weft_img_piece *p,
			    union scratch *s)
{
	static const char *const names[][2] = {{"OK", "OK"},
					       {"Canceled", "CANCELLED"},
					       {"Unknown", "UNKNOWN"},
					       {"InvalidArgument", "INVALID_ARGUMENT"},
					       {"DeadlineExceeded", "DEADLINE_EXCEEDED"},
					       {"NotFound", "NOT_FOUND"},
					       {"AlreadyExists", "ALREADY_EXISTS"},
					       {"PermissionDenied", "PERMISSION_DENIED"},
					       {"ResourceExhausted", "RESOURCE_EXHAUSTED"},
					       {"FailedPrecondition", "FAILED_PRECONDITION"},
					       {"Aborted", "ABORTED"},
					       {"OutOfRange", "OUT_OF_RANGE"},
					       {"Unimplemented", "UNIMPLEMENTED"},
					       {"Internal", "INTERNAL"},
					       {"Unavailable", "UNAVAILABLE"},
					       {"DataLoss", "DATA_LOSS"},
					       {"Unauthenticated", "UNAUTHENTICATED"}};
	bool grpc = f->x && f->x->req_flags & WEFT_REQ_GRPC;
	struct run line = status_line(f);
	int status;

	/* a reply that is made here has none before it has a code */
	if (!grpc || (!line.p && !f->code))
		return (struct run){0};
	status = format_grpc(f);
	if (p->flags & WEFT_PIECE_NUMBER)
		return line.p ? line : format_number((uint64_t)status, s->number);
	if (status >= (int)(sizeof(names) / sizeof(*names)))
		return line;
	return text_run(names[status][p->flags & WEFT_PIECE_SNAKE ? 1 : 0]);
}

/* ---- names ---- */

static struct run log_type(uint32_t type)
{
	static const char *const names[] = {
		[WEFT_LOG_NOT_SET] = "NotSet",
		[WEFT_LOG_TCP_UPSTREAM_CONNECTED] = "TcpUpstreamConnected",
		[WEFT_LOG_TCP_PERIODIC] = "TcpPeriodic",
		[WEFT_LOG_TCP_END] = "TcpConnectionEnd",
		[WEFT_LOG_DOWNSTREAM_START] = "DownstreamStart",
		[WEFT_LOG_DOWNSTREAM_PERIODIC] = "DownstreamPeriodic",
		[WEFT_LOG_DOWNSTREAM_END] = "DownstreamEnd",
		[WEFT_LOG_TUNNEL_ESTABLISHED] = "DownstreamTunnelSuccessfullyEstablished",
		[WEFT_LOG_TCP_START] = "TcpConnectionStart",
	};

	return text_run(type < sizeof(names) / sizeof(*names) ? names[type] : NULL);
}

static struct run img_run(struct weft_img_str s)
{
	return (struct run){s.len ? weft_img_at(s.off) : NULL, s.len};
}

static struct run place_name(const struct format *f, bool listener)
{
	struct down *d = (struct down *)(uintptr_t)f->d; /* only looks */
	struct weft_ctx ctx = {.pod = d->pod->id, .view = d->pod->view, .dst = d->dst};
	const struct weft_img_chain *c;

	if (!listener) {
		c = down_chain(d);
		return c ? img_run(c->name) : (struct run){0};
	}
	if (weft_ctx_begin(&ctx) || weft_listener_find(&ctx))
		return (struct run){0};
	return img_run(((const struct weft_img_listener *)weft_img_at(ctx.listener))->name);
}

static struct run host_name(const struct format *f, union scratch *s)
{
	const struct outcome *o = outcome(f);

	if (!f->resp || !f->x || !f->x->endpoint.family)
		return (struct run){0};
	if (f->x->hostname.len && (f->x->pinned || f->x->keeps))
		return img_run(f->x->hostname);
	return format_address(o && o->remote.family ? &o->remote : &f->x->endpoint, 0, s->address);
}

/* Names and values of a head's lines; the request's first line counts as its pseudo headers. */
static uint64_t head_bytes(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	uint64_t bytes = 0;

	while (p && p < end) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));

		if (!lf)
			break;
		bytes += lf - p > 3 ? (uint64_t)(lf - p) - 3 : 0;
		p = lf + 1;
	}
	return bytes;
}

/* ---- all ---- */

static struct run texts(const struct format *f, const struct weft_img_piece *p, union scratch *s)
{
	const struct outcome *o = outcome(f);
	size_t n = 0;

	switch (p->kind) {
	case WEFT_PIECE_DETAILS:
		return one_word(o && o->details
					? (struct run){(const uint8_t *)o->details, o->n_details}
					: (struct run){0},
				p->flags & WEFT_PIECE_BLANKS, s->details);
	case WEFT_PIECE_FAILURE:
		return o && o->failure ? (struct run){(const uint8_t *)o->failure, o->n_failure}
				       : (struct run){0};
	case WEFT_PIECE_TERMINATION:
		return one_word(text_run(f->d->why_ended), false, s->details);
	case WEFT_PIECE_TRAILER:
		return trailer(f, p);
	case WEFT_PIECE_GRPC_STATUS:
		return grpc_text(f, p, s);
	case WEFT_PIECE_STREAM_ID: {
		const uint8_t *id = format_request_line(f, "x-request-id", &n);

		return (struct run){id, n};
	}
	case WEFT_PIECE_UNIQUE_ID:
		request_uuid(f->d->worker, s->uuid);
		return (struct run){(const uint8_t *)s->uuid, 36};
	case WEFT_PIECE_LOG_TYPE:
		return log_type(f->log_type);
	case WEFT_PIECE_UPSTREAM_NAME:
		return host_name(f, s);
	case WEFT_PIECE_CHAIN_NAME:
	case WEFT_PIECE_LISTENER_NAME:
		return place_name(f, p->kind == WEFT_PIECE_LISTENER_NAME);
	default:
		return (struct run){0};
	}
}

struct run format_outcome(const struct format *f, const struct weft_img_piece *p, union scratch *s)
{
	const struct outcome *o = outcome(f);

	switch (p->kind) {
	case WEFT_PIECE_FLAGS:
		return flags_text(format_flags(f), p->flags & WEFT_PIECE_LONG, s->flags);
	case WEFT_PIECE_BYTES_RECEIVED:
		return format_number(o ? o->received : 0, s->number);
	case WEFT_PIECE_BYTES_SENT:
		return format_number(o ? o->sent : 0, s->number);
	case WEFT_PIECE_DURATION:
	case WEFT_PIECE_REQUEST_DURATION:
	case WEFT_PIECE_REQUEST_TX_DURATION:
	case WEFT_PIECE_RESPONSE_DURATION:
	case WEFT_PIECE_RESPONSE_TX_DURATION:
		return duration(f, p->kind, s);
	case WEFT_PIECE_CONNECTION_ID:
		return format_number(f->d->session ? f->d->session->id : f->d->id, s->number);
	case WEFT_PIECE_REQUEST_HEAD:
		return format_number(head_bytes(f->req, f->req_len), s->number);
	case WEFT_PIECE_RESPONSE_HEAD:
		return format_number(o ? head_bytes(buf_at(&o->head), buf_len(&o->head)) : 0,
				     s->number);
	case WEFT_PIECE_RESPONSE_TRAILERS:
		return format_number(
			o ? head_bytes(buf_at(&o->trailers), buf_len(&o->trailers)) : 0, s->number);
	case WEFT_PIECE_ZERO:
		return RUN("0");
	default:
		return texts(f, p, s);
	}
}

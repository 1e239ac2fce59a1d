// SPDX-License-Identifier: Apache-2.0
/* Values of headers that are put together for each message (agent/compile/format.c says of what). */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/compile/reply_body.h"
#include "agent/proxy/format.h"

static bool is(struct run r, const char *text)
{
	return r.n == strlen(text) && !memcmp(r.p, text, r.n);
}

/* ---- headers ---- */

/* The first line of that name in [p, p + n). */
struct run format_line(const uint8_t *p, size_t n, struct run name)
{
	const uint8_t *end = p + n;

	while (p < end) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *next = lf ? lf + 1 : end;
		size_t len = (size_t)(next - p);

		if (len >= name.n + 4 && p[name.n] == ':' && !memcmp(p, name.p, name.n))
			return (struct run){p + name.n + 2, len - name.n - 4};
		p = next;
	}
	return (struct run){0};
}

/* Of the request line: the method, or (1) the path, between the first blank and the last. */
static struct run request_word(const struct format *f, int i)
{
	const uint8_t *p = f->req, *end = f->req ? memchr(p, '\r', f->req_len) : NULL;
	const uint8_t *first = end ? memchr(p, ' ', (size_t)(end - p)) : NULL;
	const uint8_t *last = first ? memrchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;

	if (!last)
		return (struct run){0};
	return i ? (struct run){first + 1, (size_t)(last - first - 1)} : (struct run){p, (size_t)(first - p)};
}

static struct run request_line(const struct format *f, struct run name)
{
	const uint8_t *lf = f->req ? memchr(f->req, '\n', f->req_len) : NULL;

	return lf ? format_line(lf + 1, f->req_len - (size_t)(lf + 1 - f->req), name)
		  : (struct run){0};
}

const uint8_t *format_request_line(const struct format *f, const char *name, size_t *ret_n)
{
	struct run r = request_line(f, (struct run){(const uint8_t *)name, strlen(name)});

	*ret_n = r.n;
	return r.p;
}

static struct run request_header(const struct format *f, struct run name)
{
	static const struct run host = {(const uint8_t *)"host", 4};
	static const struct run proto = {(const uint8_t *)"x-forwarded-proto", 17};
	struct run scheme;

	if (is(name, ":method"))
		return request_word(f, 0);
	if (is(name, ":path"))
		return request_word(f, 1);
	if (is(name, ":authority"))
		return request_line(f, host);
	if (!is(name, ":scheme"))
		return request_line(f, name);
	scheme = request_line(f, proto);
	return is(scheme, "https") ? scheme : (struct run){(const uint8_t *)"http", 4};
}

static struct run img_run(struct weft_img_str s)
{
	return (struct run){s.len ? weft_img_at(s.off) : NULL, s.len};
}

static struct run header(const struct format *f, const struct weft_img_piece *p, char status[8])
{
	for (int i = 0; i < 2; i++) {
		struct run name = img_run(i ? p->b : p->a), got = {0};

		if (!name.n)
			continue;
		if (p->kind == WEFT_PIECE_REQ) {
			got = request_header(f, name);
		} else if (f->resp && is(name, ":status")) {
			int n = snprintf(status, 8, "%u", f->status);

			return (struct run){(const uint8_t *)status, (size_t)n};
		} else if (f->resp) {
			got = format_line(buf_at(f->resp->b) + f->resp->from,
					  buf_len(f->resp->b) - f->resp->from, name);
		}
		if (got.p)
			return got;
	}
	return (struct run){0};
}

/* ---- path and query ---- */

static struct run path(const struct format *f, uint32_t flags)
{
	static const struct run original = {(const uint8_t *)"x-envoy-original-path", 21};
	struct run r = {0};
	const uint8_t *q;

	if (!(flags & WEFT_PIECE_CURRENT))
		r = request_line(f, original);
	if (!r.p && !(flags & WEFT_PIECE_ORIGINAL))
		r = request_word(f, 1);
	q = r.p && flags & WEFT_PIECE_NO_QUERY ? memchr(r.p, '?', r.n) : NULL;
	if (q)
		r.n = (size_t)(q - r.p);
	return r;
}

/* The first of that name, as it stands. */
static struct run query_param(const struct format *f, struct run name)
{
	struct run target = request_word(f, 1);
	const uint8_t *p = target.p ? memchr(target.p, '?', target.n) : NULL, *end = target.p + target.n;

	while (p && p < end) {
		const uint8_t *amp, *stop;

		p++;
		amp = memchr(p, '&', (size_t)(end - p));
		stop = amp ? amp : end;
		if ((size_t)(stop - p) > name.n && p[name.n] == '=' && !memcmp(p, name.p, name.n))
			return (struct run){p + name.n + 1, (size_t)(stop - p) - name.n - 1};
		p = amp;
	}
	return (struct run){0};
}

/* ---- addresses ---- */

struct run format_address(const struct weft_sockaddr *a, uint32_t flags, char out[ADDRESS_TEXT])
{
	/* one that x-forwarded-for writes as IPv6 stays so */
	bool v4 = !a->addr.w[0] && !a->addr.w[1] && a->addr.w[2] == htonl(0xffff) &&
		  a->family != AF_INET6;
	char ip[INET6_ADDRSTRLEN];
	int n;

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->addr.w[3] : (const void *)a->addr.w, ip,
		       sizeof(ip)))
		return (struct run){0};
	if (flags & WEFT_PIECE_ONLY_PORT)
		n = snprintf(out, ADDRESS_TEXT, "%u", a->port);
	else if (flags & WEFT_PIECE_NO_PORT)
		n = snprintf(out, ADDRESS_TEXT, "%s", ip);
	else
		n = snprintf(out, ADDRESS_TEXT, v4 ? "%s:%u" : "[%s]:%u", ip, a->port);
	return (struct run){(const uint8_t *)out, (size_t)n};
}

static struct run address(const struct format *f, const struct weft_img_piece *p, char out[ADDRESS_TEXT])
{
	struct weft_sockaddr a;

	switch (p->kind) {
	case WEFT_PIECE_UPSTREAM_REMOTE:
		/* chosen after the request was changed */
		if (!f->resp || !f->x || !f->x->endpoint.family)
			return (struct run){0};
		a = f->x->up			  ? f->x->up->addr
		    : f->o && f->o->remote.family ? f->o->remote
						  : f->x->endpoint;
		break;
	case WEFT_PIECE_UPSTREAM_LOCAL:
		if (f->o && f->o->local.family)
			a = f->o->local;
		else if (!f->resp || !f->x || !f->x->up || !upstream_local(f->x->up, &a))
			return (struct run){0};
		break;
	case WEFT_PIECE_REMOTE:
		a = f->x && f->x->remote.family ? f->x->remote : f->d->client;
		break;
	case WEFT_PIECE_DIRECT_REMOTE:
		a = f->d->client;
		if (f->x)
			weft_ctx_source(&f->x->ctx, &a);
		break;
	default:
		a = f->d->dst;
	}
	return format_address(&a, p->flags, out);
}

/* ---- time ---- */

/* strftime() with %f: the fraction of the second in nanoseconds, %1f to %9f: its first digits. */
static size_t time_write(const struct tm *tm, long ns, struct run fmt, char out[TIME_TEXT])
{
	size_t n = 0;

	for (size_t i = 0; i < fmt.n && n < TIME_TEXT - 1; i++) {
		char one[3] = {'%', 0, 0};
		int digits = 9;

		if (fmt.p[i] != '%' || i + 1 == fmt.n) {
			out[n++] = (char)fmt.p[i];
			continue;
		}
		i++;
		if (fmt.p[i] >= '1' && fmt.p[i] <= '9' && i + 1 < fmt.n)
			digits = fmt.p[i++] - '0';
		one[1] = (char)fmt.p[i];
		if (one[1] == 's') { /* strftime() would take it for local time */
			struct tm copy = *tm;

			n += (size_t)snprintf(out + n, TIME_TEXT - n, "%lld", (long long)timegm(&copy));
			n = n < TIME_TEXT ? n : TIME_TEXT - 1;
		} else if (one[1] == 'f') {
			char text[16];

			snprintf(text, sizeof(text), "%09ld", ns);
			for (int k = 0; k < digits && n < TIME_TEXT - 1; k++)
				out[n++] = text[k];
		} else {
			n += strftime(out + n, TIME_TEXT - n, one, tm);
		}
	}
	return n;
}

static struct run time_of(uint64_t ago, struct run fmt, char out[TIME_TEXT])
{
	static const struct run usual = {(const uint8_t *)"%Y-%m-%dT%H:%M:%S.%3fZ", 22};
	struct timespec t;
	int64_t ns;
	time_t s;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &t);
	ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - (int64_t)ago * 1000000;
	s = (time_t)(ns / 1000000000);
	if (!gmtime_r(&s, &tm))
		return (struct run){0};
	return (struct run){(const uint8_t *)out,
			    time_write(&tm, (long)(ns % 1000000000), fmt.n ? fmt : usual, out)};
}

/* ---- the rest ---- */

static struct run route_name(const struct format *f)
{
	const struct outcome *o = f->o ? f->o : f->x ? &f->x->outcome : NULL;
	const struct weft_img_route *r =
		f->x && f->x->dec.route ? weft_img_at(f->x->dec.route) : NULL;

	if (o && o->route)
		return (struct run){(const uint8_t *)o->route, o->n_route};
	return r ? img_run(r->name) : (struct run){0};
}

/* As it is called in the configuration; none of a reply without one. */
static struct run cluster_name(const struct format *f)
{
	const struct weft_decision *dec = f->x ? &f->x->dec : NULL;
	uint32_t off = dec ? dec->cluster : 0;
	const struct weft_img_cluster *c;

	/* refused before the router looked for it */
	if (dec && !off && dec->target) {
		const struct weft_img_view *view = weft_img_at(f->x->ctx.view_off);
		const struct weft_img_target *t = weft_img_at(dec->target);
		const struct weft_img_cluster_ref *ref = weft_img_at(view->cluster);

		if (view->n_cluster > t->cluster)
			off = ref[t->cluster].cluster;
	}
	c = off ? weft_img_at(off) : NULL;
	return c ? img_run(c->name) : (struct run){0};
}

static struct run piece(const struct format *f, const struct weft_img_piece *p, union scratch *s)
{
	static const struct run version = {(const uint8_t *)"HTTP/1.1", 8},
				h2 = {(const uint8_t *)"HTTP/2", 6},
				old = {(const uint8_t *)"HTTP/1.0", 8};

	switch (p->kind) {
	case WEFT_PIECE_TEXT:
		return img_run(p->a);
	case WEFT_PIECE_REQ:
	case WEFT_PIECE_RESP:
		return f->conn ? (struct run){0} : header(f, p, s->status);
	case WEFT_PIECE_PROTOCOL:
		return f->conn ? (struct run){0} : f->d->session ? h2 : f->d->old ? old : version;
	case WEFT_PIECE_START_TIME:
		return time_of(format_duration(f), img_run(p->a), s->time);
	case WEFT_PIECE_EMIT_TIME:
		return time_of(0, img_run(p->a), s->time);
	case WEFT_PIECE_RESPONSE_CODE:
		return format_number(f->code, s->number);
	case WEFT_PIECE_UPSTREAM_CLUSTER:
		return cluster_name(f);
	case WEFT_PIECE_UPSTREAM_PROTOCOL:
		if (f->o && f->o->remote.family)
			return f->o->http2 ? h2 : version;
		return !f->resp || !f->x || !f->x->up ? (struct run){0}
		       : f->x->up->stream	      ? h2
						      : version;
	case WEFT_PIECE_ATTEMPT_COUNT:
		/* the first is under way when a request is changed */
		return format_number(f->x ? (f->resp || f->local ? f->x->attempts : 1) : 0,
				     s->number);
	case WEFT_PIECE_ROUTE_NAME:
		return route_name(f);
	case WEFT_PIECE_PATH:
		return path(f, p->flags);
	case WEFT_PIECE_BODY:
		return (struct run){(const uint8_t *)f->body, f->body_len};
	case WEFT_PIECE_QUERY_PARAM:
		return query_param(f, img_run(p->a));
	case WEFT_PIECE_UPSTREAM_REMOTE:
	case WEFT_PIECE_UPSTREAM_LOCAL:
	case WEFT_PIECE_REMOTE:
	case WEFT_PIECE_DIRECT_REMOTE:
	case WEFT_PIECE_LOCAL:
		return address(f, p, s->address);
	default:
		return format_outcome(f, p, s);
	}
}

int format_value(struct worker *w, const struct format *f, const struct weft_img_header *h, struct buf *out)
{
	const struct weft_img_piece *p = h->n_piece ? weft_img_at(h->piece) : NULL;
	int r = 0;

	if (!h->n_piece)
		return buf_add(w, out, weft_img_at(h->value.off), h->value.len);
	for (uint32_t i = 0; !r && i < h->n_piece; i++) {
		union scratch s;
		struct run got = piece(f, &p[i], &s);

		if (!got.p && h->flags & WEFT_HEADER_DASH)
			got = (struct run){(const uint8_t *)"-", 1};

		r = buf_add(w, out, got.p, got.n < p[i].max ? got.n : p[i].max);
	}
	return r;
}

/* ---- JSON ---- */

static bool is_number(const struct weft_img_piece *p)
{
	switch (p->kind) {
	case WEFT_PIECE_RESPONSE_CODE:
	case WEFT_PIECE_ATTEMPT_COUNT:
	case WEFT_PIECE_BYTES_RECEIVED:
	case WEFT_PIECE_BYTES_SENT:
	case WEFT_PIECE_DURATION:
	case WEFT_PIECE_REQUEST_DURATION:
	case WEFT_PIECE_REQUEST_TX_DURATION:
	case WEFT_PIECE_RESPONSE_DURATION:
	case WEFT_PIECE_RESPONSE_TX_DURATION:
	case WEFT_PIECE_CONNECTION_ID:
	case WEFT_PIECE_REQUEST_HEAD:
	case WEFT_PIECE_RESPONSE_HEAD:
	case WEFT_PIECE_RESPONSE_TRAILERS:
	case WEFT_PIECE_ZERO:
		return true;
	case WEFT_PIECE_GRPC_STATUS:
		return p->flags & WEFT_PIECE_NUMBER;
	default:
		return p->kind >= WEFT_PIECE_UPSTREAM_REMOTE && p->kind <= WEFT_PIECE_LOCAL &&
		       p->flags & WEFT_PIECE_ONLY_PORT;
	}
}

static int escaped_add(struct worker *w, struct buf *out, struct run r, size_t max)
{
	size_t n;
	char *text = weft_json_escape(r.p ? r.p : (const uint8_t *)"", r.n < max ? r.n : max, &n);
	int e = text ? buf_add(w, out, text, n) : -ENOMEM;

	free(text);
	return e;
}

int format_json(struct worker *w, const struct format *f, const struct weft_img_header *h,
		bool string, struct buf *out, bool *ret_null)
{
	const struct weft_img_piece *p = weft_img_at(h->piece);
	union scratch s;
	struct run got;
	int r;

	got = piece(f, p, &s);
	*ret_null = !string && !got.p;
	if (*ret_null)
		return 0;
	if (!string && is_number(p))
		return buf_add(w, out, got.p, got.n);
	r = buf_add(w, out, "\"", 1);
	for (uint32_t i = 0; !r && i < h->n_piece; i++) {
		got = piece(f, &p[i], &s);
		if (!got.p && h->flags & WEFT_HEADER_DASH)
			got = (struct run){(const uint8_t *)"-", 1};
		r = escaped_add(w, out, got, p[i].max);
	}
	return r ? r : buf_add(w, out, "\"", 1);
}

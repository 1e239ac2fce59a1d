// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/reply.h"
#include "agent/compile/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9110 section 15 and the registered ones around it, as Envoy words them. */
static const struct {
	uint32_t status;
	const char *phrase;
} phrases[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{203, "Non-Authoritative Information"},
	{204, "No Content"},
	{205, "Reset Content"},
	{206, "Partial Content"},
	{207, "Multi-Status"},
	{208, "Already Reported"},
	{226, "IM Used"},
	{300, "Multiple Choices"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{305, "Use Proxy"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{402, "Payment Required"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{407, "Proxy Authentication Required"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Payload Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{421, "Misdirected Request"},
	{422, "Unprocessable Entity"},
	{423, "Locked"},
	{424, "Failed Dependency"},
	{425, "Too Early"},
	{426, "Upgrade Required"},
	{428, "Precondition Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{506, "Variant Also Negotiates"},
	{507, "Insufficient Storage"},
	{508, "Loop Detected"},
	{510, "Not Extended"},
	{511, "Network Authentication Required"},
	{599, "Last Unassigned Server Error Code"},
};

const char *weft_status_phrase(uint32_t status)
{
	for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "Unknown";
}

/* The literal value: %% is a percent sign, other commands of the substitution formatter are
 * refused. */
static char *value_literal(struct weft_build *b, const char *value, const char *field)
{
	char *out = malloc(strlen(value) + 1), *p = out;

	if (!out) {
		b->err = b->err ? b->err : -ENOMEM;
		return NULL;
	}
	for (; *value; value++) {
		if (*value == '%' && *++value != '%') {
			weft_build_fail(b, field, "unsupported: substitution commands (%%...%%)");
			break;
		}
		*p++ = *value;
	}
	*p = '\0';
	return out;
}

/* ADD_IF_ABSENT adds as well: see lines_write(). */
#define ACTION_ADD WEFT_APPEND
#define ACTION_OVERWRITE WEFT_OVERWRITE
#define ACTION_OVERWRITE_IF_EXISTS WEFT_OVERWRITE_IF_EXISTS

/* HeaderValueOption with the deprecated `append`: false overwrites. */
static uint32_t append_action(const Envoy__Config__Core__V3__HeaderValueOption *o)
{
	if (o->append)
		return o->append->value ? ACTION_ADD : ACTION_OVERWRITE;
	return (uint32_t)o->append_action;
}

static void name_lower(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

/* ---- headers that rules add to a local reply ---- */

/* The parts of an option that count; a value as bytes (raw_value) does not. */
static void option_check(struct weft_build *b, const Envoy__Config__Core__V3__HeaderValueOption *o,
			 const char *field)
{
	char at[WEFT_FIELD_MAX];

	weft_build_fields(b, &o->base, field);
	if (o->header)
		weft_build_fields(b, &o->header->base, weft_field(at, field, "header"));
}

struct line {
	char *name, *value;
	uint32_t action;
};

/* Those that the codec and the connection manager set themselves. */
static bool of_reply(const char *name)
{
	static const char *const names[] = {"content-length", "content-type",	   "date", "server",
					    "connection",     "transfer-encoding", NULL};

	for (int i = 0; names[i]; i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return false;
}

static void line_read(struct weft_build *b, const Envoy__Config__Core__V3__HeaderValueOption *o,
		      const char *field, struct line *ret)
{
	option_check(b, o, field);
	ret->action = append_action(o);
	ret->name = o->header ? strdup(o->header->key) : NULL;
	ret->value = value_literal(b, o->header && o->header->value ? o->header->value : "", field);
	if (!ret->name || !ret->value) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	name_lower(ret->name);
	if (of_reply(ret->name))
		weft_build_fail(b, field, "unsupported: changes %s of a local reply", ret->name);
	/* nothing of a rule's name is there before: OVERWRITE_IF_EXISTS never adds */
	if (ret->action == ACTION_OVERWRITE_IF_EXISTS || (!*ret->value && !o->keep_empty_value)) {
		free(ret->name);
		ret->name = NULL;
	}
}

/* True when a later line overwrites this one. */
static bool overwritten(const struct line *l, size_t n, size_t i)
{
	for (size_t j = i + 1; j < n; j++) {
		if (l[j].name && l[j].action == ACTION_OVERWRITE && !strcmp(l[j].name, l[i].name))
			return true;
	}
	return false;
}

/* As Envoy: what overwrites is put first, then what is added, each in configured order (seen
 * in 1.40). */
static void lines_write(struct weft_build *b, FILE *f, const struct weft_reply_text *t)
{
	struct line *l = calloc(t->n_add + 1, sizeof(*l));
	char field[WEFT_FIELD_MAX];

	if (!l) {
		b->err = b->err ? b->err : -ENOMEM;
		return;
	}
	for (size_t i = 0; i < t->n_add; i++)
		line_read(b, t->add[i], weft_field(field, "", "%s[%zu]", t->add_field, i), &l[i]);
	for (int adds = 0; adds < 2 && !b->err; adds++) {
		for (size_t i = 0; i < t->n_add; i++) {
			if (!l[i].name || (l[i].action == ACTION_OVERWRITE) == adds)
				continue;
			if (adds || !overwritten(l, t->n_add, i))
				fprintf(f, "%s: %s\r\n", l[i].name, l[i].value);
		}
	}
	for (size_t i = 0; i < t->n_add; i++) {
		free(l[i].name);
		free(l[i].value);
	}
	free(l);
}

struct parts {
	char *data;
	size_t len, date_off, insert_off, head_off, head_len, end;
};

/* Lines in Envoy's order: the reply's own, then date and server, and last the length of an empty
 * body. */
static void head_write(struct weft_build *b, FILE *f, const struct weft_reply_text *t,
		       struct parts *p)
{
	/* RFC 9110 8.6, 15.4.5: no length where none is sent */
	bool no_length = t->status == 204 || (t->status == 304 && !t->body_len);

	fprintf(f, "HTTP/1.1 %u %s\r\n%s", t->status, weft_status_phrase(t->status),
		t->extra ? t->extra : "");
	lines_write(b, f, t);
	if (!no_length && t->body_len)
		fprintf(f, "content-length: %zu\r\n", t->body_len);
	if (t->body_len)
		fprintf(f, "content-type: %.*s\r\n",
			t->content_type.len ? (int)t->content_type.len : 10,
			t->content_type.len
				? (const char *)weft_store_at(b->store, t->content_type.off)
				: "text/plain");
	fflush(f);
	p->date_off = p->len + strlen("date: ");
	fprintf(f, "date: %*s\r\n", (int)WEFT_DATE_LEN, "");
	fputs(b->own_lines, f);
	fflush(f);
	p->insert_off = p->len;
	if (!no_length && !t->body_len)
		fprintf(f, "content-length: 0\r\n");
	fprintf(f, "\r\n");
	fflush(f);
	p->head_off = p->insert_off;
	p->head_len = p->end = p->len;
}

/* Envoy 1.40 does not know the length of what a HEAD request would get when it made no body. */
static void head_request_write(FILE *f, const struct weft_reply_text *t, struct parts *p)
{
	if (t->body_len || t->status == 204 || t->status == 304)
		return;
	p->head_off = p->end;
	fprintf(f, "transfer-encoding: chunked\r\n\r\n");
	fflush(f);
	p->head_len = p->len;
}

uint32_t weft_build_reply(struct weft_build *b, const struct weft_reply_text *t)
{
	/* RFC 9110 6.4.1: a client reads none; Envoy sends it all the same and breaks the
	 * connection's framing */
	bool no_body = t->status == 204 || t->status == 304;
	struct weft_img_reply r = {.status = (uint16_t)t->status};
	struct parts p = {0};
	FILE *f = open_memstream(&p.data, &p.len);
	uint32_t off = 0;

	if (!f) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	head_write(b, f, t, &p);
	fwrite(t->body_len ? t->body : "", 1, t->body_len, f);
	if (!no_body)
		p.end += t->body_len;
	head_request_write(f, t, &p);
	if (!weft_text_end(f, &p.data))
		b->err = b->err ? b->err : -ENOMEM;
	if (!b->err) {
		/* whoever makes a reply of 400: Envoy takes it for a message that cannot be trusted */
		r.flags = t->status == 400 ? WEFT_REPLY_CLOSES : 0;
		r.date_off = (uint32_t)p.date_off;
		r.insert_off = (uint32_t)p.insert_off;
		r.head_off = (uint32_t)p.head_off;
		r.head_len = (uint32_t)p.head_len;
		r.len = (uint32_t)p.end;
		r.data = weft_build_put(b, p.data, p.len);
		r.details = weft_build_str(b, t->details);
		r.body = t->format;
		r.body_len = (uint32_t)t->body_len;
		r.content_type = t->content_type;
		for (size_t i = 0; i < t->n_add && !r.add; i++) {
			if (append_action(t->add[i]) != ACTION_ADD)
				r.add = weft_build_headers(b, t->n_add, t->add, t->add_field);
		}
		off = weft_build_put(b, &r, sizeof(r));
	}
	free(p.data);
	return off;
}

void weft_build_std_replies(struct weft_build *b, bool suppress_envoy_headers,
			    uint32_t ret[WEFT_REPLY__MAX])
{
	static const char unhealthy[] = "no healthy upstream";
	static const char overflow[] =
		"upstream connect error or disconnect/reset before headers. reset reason: overflow";
	static const char dropped[] = "unconditional drop overload";
	const struct weft_reply_text text[WEFT_REPLY__MAX] = {
		[WEFT_REPLY_NOT_FOUND] = {.status = 404, .details = "route_not_found"},
		[WEFT_REPLY_NO_CLUSTER_503] = {.status = 503, .details = "cluster_not_found"},
		[WEFT_REPLY_NO_CLUSTER_404] = {.status = 404, .details = "cluster_not_found"},
		[WEFT_REPLY_NO_CLUSTER_500] = {.status = 500, .details = "cluster_not_found"},
		[WEFT_REPLY_NO_UPSTREAM] = {.status = 503,
					    .body = unhealthy,
					    .body_len = sizeof(unhealthy) - 1,
					    .details = "no_healthy_upstream"},
		[WEFT_REPLY_OVERFLOW] =
			{.status = 503,
			 .body = overflow,
			 .body_len = sizeof(overflow) - 1,
			 .extra = suppress_envoy_headers ? NULL : "x-envoy-overloaded: true\r\n",
			 .details = "upstream_reset_before_response_started{overflow}"},
		[WEFT_REPLY_DROPPED] =
			{.status = 503,
			 .body = dropped + 14,
			 .body_len = sizeof(dropped) - 15,
			 .extra = suppress_envoy_headers ? NULL : "x-envoy-drop-overload: true\r\n",
			 .details = "drop_overload"},
		[WEFT_REPLY_DROPPED_ALL] =
			{.status = 503,
			 .body = dropped,
			 .body_len = sizeof(dropped) - 1,
			 .extra = suppress_envoy_headers ? NULL
							 : "x-envoy-unconditional-drop-overload: true\r\n",
			 .details = "unconditional_drop_overload"},
	};

	for (int i = 0; i < WEFT_REPLY__MAX; i++)
		ret[i] = weft_build_reply(b, &text[i]);
}

uint32_t weft_build_headers(struct weft_build *b, size_t n,
			    Envoy__Config__Core__V3__HeaderValueOption **add, const char *field)
{
	struct {
		struct weft_img_headers list;
		struct weft_img_header header[];
	} *h;
	uint32_t off;

	if (!n)
		return 0;
	h = calloc(1, sizeof(*h) + n * sizeof(*h->header));
	if (!h) {
		b->err = b->err ? b->err : -ENOMEM;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct weft_img_header *out = &h->header[h->list.n];
		char at[WEFT_FIELD_MAX];
		char *name = strdup(add[i]->header ? add[i]->header->key : ""), *value;

		weft_field(at, "", "%s[%zu]", field, i);
		option_check(b, add[i], at);
		value = value_literal(
			b, add[i]->header && add[i]->header->value ? add[i]->header->value : "",
			at);
		if (name && value && (*value || add[i]->keep_empty_value)) {
			name_lower(name);
			out->name = weft_build_str(b, name);
			out->value = weft_build_str(b, value);
			out->action = append_action(add[i]);
			h->list.n++;
		}
		free(name);
		free(value);
	}
	off = weft_build_put(b, h, sizeof(*h) + h->list.n * sizeof(*h->header));
	free(h);
	return off;
}

// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/build.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/compile/fields.h"
#include "xds/descriptor.h"

/* Envoy's timers are milliseconds in 32 bits and more; 49 days is for ever for a request. */
#define MS_MAX 4233600000ll

int weft_words_add(struct weft_words *w, uint32_t word)
{
	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 16;
		uint32_t *v = reallocarray(w->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->v = v;
		w->cap = cap;
	}
	w->v[w->n++] = word;
	return 0;
}

static void fail_memory(struct weft_build *b)
{
	if (!b->err)
		b->err = -ENOMEM;
}

static void words_put(struct weft_build *b, struct weft_words *w, uint32_t word)
{
	if (weft_words_add(w, word))
		fail_memory(b);
}

void weft_build_fail(struct weft_build *b, const char *field, const char *fmt, ...)
{
	char reason[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	weft_diag_add(b->diag, -EINVAL, b->resource, field, "%s", reason);
	if (!b->err)
		b->err = -EINVAL;
}

void weft_build_note(struct weft_build *b, const char *field, const char *reason)
{
	weft_diag_add(b->notes, 0, b->resource, field, "%s", reason);
}

const char *weft_field(char *buf, const char *parent, const char *fmt, ...)
{
	va_list args;
	int n = *parent ? snprintf(buf, WEFT_FIELD_MAX, "%s.", parent) : 0;

	if (n < 0 || n >= WEFT_FIELD_MAX)
		return buf;
	va_start(args, fmt);
	vsnprintf(buf + n, WEFT_FIELD_MAX - (size_t)n, fmt, args);
	va_end(args);
	return buf;
}

uint32_t weft_build_put(struct weft_build *b, const void *bytes, size_t len)
{
	uint32_t off = 0;
	int r;

	if (b->err == -ENOSPC || b->err == -ENOMEM)
		return 0; /* said already, and looking for room costs */
	r = weft_store_put(b->store, bytes, len, &off);
	if (r == -ENOSPC)
		weft_diag_add(b->diag, r, b->resource, "", "the image is full");
	if (r) {
		b->err = b->err ? b->err : r;
		return 0;
	}
	words_put(b, &b->objects, off);
	return off;
}

struct weft_img_str weft_build_bytes(struct weft_build *b, const void *bytes, size_t len)
{
	struct weft_img_str s = {0, 0};

	if (!len)
		return s;
	s.off = weft_build_put(b, bytes, len);
	s.len = (uint32_t)len;
	return s;
}

struct weft_img_str weft_build_str(struct weft_build *b, const char *s)
{
	return weft_build_bytes(b, s ? s : "", s ? strlen(s) : 0);
}

uint32_t weft_build_strs(struct weft_build *b, char *const *s, size_t n)
{
	struct weft_img_str *list = calloc(n + 1, sizeof(*list));
	uint32_t off = 0;

	if (!list)
		b->err = b->err ? b->err : -ENOMEM;
	for (size_t i = 0; list && i < n; i++)
		list[i] = weft_build_str(b, s[i]);
	if (list && n)
		off = weft_build_put(b, list, n * sizeof(*list));
	free(list);
	return off;
}

uint32_t weft_build_state(struct weft_build *b, enum weft_cell_kind kind, uint64_t content,
			  const char *fmt, ...)
{
	char *name = NULL, *key = NULL;
	uint32_t id = 0;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&name, fmt, args);
	va_end(args);
	if (n < 0)
		name = NULL;
	if (!name || asprintf(&key, "%016llx %s", (unsigned long long)content, name) < 0 ||
	    weft_names_get(b->states, key, (uint32_t)kind << WEFT_ID_KIND_SHIFT, &id))
		fail_memory(b);
	free(key);
	free(name);
	words_put(b, &b->live, id);
	return id;
}

uint32_t weft_build_cluster_id(struct weft_build *b, const char *name)
{
	uint32_t id = 0;

	if (weft_names_get(b->clusters, name, 0, &id))
		fail_memory(b);
	words_put(b, &b->named, id);
	if (b->validate_clusters)
		words_put(b, &b->cluster_refs, id);
	return id;
}

void weft_build_fields(struct weft_build *b, const ProtobufCMessage *msg, const char *field)
{
	const ProtobufCMessageDescriptor *d = msg->descriptor;
	char buf[WEFT_FIELD_MAX];

	for (unsigned int i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		enum weft_field_class c;
		const char *why;

		if (!weft_field_is_set(msg, f))
			continue;
		c = weft_field_class(d, b->upstream, f, &why);
		weft_field(buf, field, "%s", f->name);
		if (c == WEFT_FIELD_QUIET)
			weft_build_note(b, buf, why);
		else if (c == WEFT_FIELD_REFUSED)
			weft_build_fail(b, buf, "unsupported");
	}
}

uint32_t weft_build_ms(struct weft_build *b, const Google__Protobuf__Duration *d, uint32_t unset,
		       const char *field)
{
	int64_t ms;

	if (!d)
		return unset;
	if (d->seconds < 0 || d->nanos < 0 || d->seconds > MS_MAX / 1000) {
		weft_build_fail(b, field, "must be between 0s and 4233600s");
		return unset;
	}
	ms = d->seconds * 1000 + (d->nanos + 999999) / 1000000;
	return (uint32_t)ms;
}

bool weft_build_socket(struct weft_build *b, const Envoy__Config__Core__V3__SocketAddress *s,
		       const char *field)
{
	int before = b->err, now;
	char at[WEFT_FIELD_MAX];

	b->err = 0;
	weft_build_fields(b, &s->base, field);
	/* UDP is for resolvers */
	if (s->protocol != ENVOY__CONFIG__CORE__V3__SOCKET_ADDRESS__PROTOCOL__TCP)
		weft_build_fail(b, weft_field(at, field, "protocol"), "unsupported");
	now = b->err;
	b->err = before ? before : now;
	return !now;
}

bool weft_ip_parse(const char *text, uint32_t port, struct weft_sockaddr *ret)
{
	struct in_addr v4;
	struct in6_addr v6;

	*ret = (struct weft_sockaddr){.port = (uint16_t)port};
	if (inet_pton(AF_INET, text, &v4) == 1) {
		ret->family = AF_INET;
		ret->addr.w[2] = htonl(0xffff);
		ret->addr.w[3] = v4.s_addr;
		return true;
	}
	if (inet_pton(AF_INET6, text, &v6) != 1)
		return false;
	memcpy(ret->addr.w, &v6, sizeof(v6));
	ret->family = IN6_IS_ADDR_V4MAPPED(&v6) ? AF_INET : AF_INET6;
	return true;
}

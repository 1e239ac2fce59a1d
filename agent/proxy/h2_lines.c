// SPDX-License-Identifier: Apache-2.0
#include "agent/proxy/h2_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cleanup.h"

static bool is(const uint8_t *p, size_t n, const char *text)
{
	return n == strlen(text) && !memcmp(p, text, n);
}

static bool passes(const nghttp2_nv *f, bool zero)
{
	static const char *const gone[] = {"connection", "keep-alive", "proxy-connection",
					   "transfer-encoding", "upgrade"};

	for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++) {
		if (is(f->name, f->namelen, gone[i]))
			return false;
	}
	return zero || !is(f->name, f->namelen, "content-length") ||
	       !is(f->value, f->valuelen, "0");
}

static void lower(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] |= 0x20;
	}
}

/* The line at p, which ends before end: 1, and 0 for one that does not go on. */
static size_t line_take(uint8_t *p, const uint8_t *end, bool zero, nghttp2_nv *ret)
{
	uint8_t *colon = memchr(p, ':', (size_t)(end - p)), *value;
	size_t n;

	if (!colon || colon + 2 > end)
		return 0;
	n = (size_t)(colon - p);
	value = colon + 2;
	lower(p, n);
	*ret = (nghttp2_nv){
		.name = p, .value = value, .namelen = n, .valuelen = (size_t)(end - value)};
	return passes(ret, zero);
}

static size_t lines_count(const uint8_t *p, const uint8_t *end)
{
	size_t n = 0;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		n++;
		p++;
	}
	return n;
}

ssize_t h2_lines_fields(uint8_t *p, size_t n, size_t room, bool zero, nghttp2_nv **ret)
{
	const uint8_t *end = p + n;
	nghttp2_nv *nv = calloc(lines_count(p, end) + room + 1, sizeof(*nv));
	size_t k = room;

	*ret = nv;
	if (!nv)
		return -ENOMEM;
	while (p < end) {
		uint8_t *lf = memchr(p, '\n', (size_t)(end - p));

		if (!lf)
			break;
		if (lf > p)
			k += line_take(p, lf - 1, zero, &nv[k]);
		p = lf + 1;
	}
	return (ssize_t)k;
}

int h2_lines_trailers(nghttp2_session *session, int32_t id, uint8_t *p, size_t n)
{
	_auto_free_ nghttp2_nv *nv = NULL;
	ssize_t k = h2_lines_fields(p, n, 0, true, &nv);

	return k < 0 || nghttp2_submit_trailer(session, id, nv, (size_t)k) ? -ENOMEM : 0;
}

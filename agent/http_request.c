// SPDX-License-Identifier: Apache-2.0
#include "agent/http_request.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9110 5.6.2: what methods and field names are made of. */
static bool is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!s[i] || !strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
				     s[i]))
			return false;
	}
	return len > 0;
}

/* A header field, or a line of one; what it says is of no interest here. */
static bool is_field(const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);

	if (!colon || !is_token(line, (size_t)(colon - line)))
		return false;
	for (const char *p = colon + 1; p < line + len; p++) {
		if ((unsigned char)*p < ' ' && *p != '\t')
			return false;
	}
	return true;
}

/* Behind the line's end, NULL: there is none. Its length without the end in *ret_len. */
static const char *line_end(const char *line, const char *end, size_t *ret_len)
{
	const char *feed = memchr(line, '\n', (size_t)(end - line));

	if (!feed)
		return NULL;
	*ret_len = (size_t)(feed - line);
	if (*ret_len && feed[-1] == '\r')
		--*ret_len;
	return feed + 1;
}

static int target_take(const char *target, size_t len, struct weft_http_request *ret)
{
	const char *query = memchr(target, '?', len);
	size_t path = query ? (size_t)(query - target) : len;

	if (!len || *target != '/')
		return -EBADMSG;
	if (len >= WEFT_HTTP_TARGET_MAX)
		return -EMSGSIZE;
	for (size_t i = 0; i < len; i++) {
		if (target[i] <= ' ' || target[i] > '~')
			return -EBADMSG;
	}
	memcpy(ret->path, target, path);
	ret->path[path] = '\0';
	if (query)
		memcpy(ret->query, query + 1, len - path - 1);
	ret->query[query ? len - path - 1 : 0] = '\0';
	return 0;
}

/* "GET /path HTTP/1.1" */
static int first_line(const char *line, size_t len, struct weft_http_request *ret)
{
	const char *space = memchr(line, ' ', len);
	size_t method = space ? (size_t)(space - line) : 0;
	const char *target = line + method + 1, *last;

	if (!is_token(line, method))
		return -EBADMSG;
	last = memchr(target, ' ', len - method - 1);
	if (!last || (size_t)(line + len - last) != 9 || memcmp(last, " HTTP/1.", 8) ||
	    (last[8] != '0' && last[8] != '1'))
		return -EBADMSG;
	ret->old = last[8] == '0';
	ret->head = method == 4 && !memcmp(line, "HEAD", 4);
	if (!ret->head && (method != 3 || memcmp(line, "GET", 3)))
		return -EOPNOTSUPP;
	return target_take(target, (size_t)(last - target), ret);
}

int weft_http_request_parse(const char *data, size_t len, struct weft_http_request *ret)
{
	const char *end = data + len, *line = data, *next;
	struct weft_http_request out = {0};
	size_t n;
	int r = 0;

	for (bool first = true; (next = line_end(line, end, &n)); line = next, first = false) {
		if (next - data > WEFT_HTTP_REQUEST_MAX)
			return -EMSGSIZE;
		if (first)
			r = first_line(line, n, &out);
		else if (n && !is_field(line, n))
			r = -EBADMSG;
		if (r)
			return r;
		if (!first && !n) {
			*ret = out;
			return 0;
		}
	}
	return len >= WEFT_HTTP_REQUEST_MAX ? -EMSGSIZE : -EAGAIN;
}

bool weft_http_query_get(const char *query, const char *key, char *buf, size_t size)
{
	size_t n = strlen(key);

	while (*query) {
		size_t len = strcspn(query, "&");

		if (len > n && !strncmp(query, key, n) && query[n] == '=') {
			if (len - n - 1 >= size)
				return false;
			memcpy(buf, query + n + 1, len - n - 1);
			buf[len - n - 1] = '\0';
			return true;
		}
		query += len + (query[len] == '&');
	}
	return false;
}

static unsigned int hex(char c)
{
	return c <= '9' ? (unsigned int)(c - '0') : ((unsigned int)c | 0x20) - 'a' + 10;
}

static void percent_decode(char *text)
{
	char *to = text;

	for (const char *c = text; *c; c++) {
		/* Not to a zero byte: it would end the text. */
		if (*c == '%' && isxdigit((unsigned char)c[1]) && isxdigit((unsigned char)c[2]) &&
		    (c[1] != '0' || c[2] != '0')) {
			*to++ = (char)(hex(c[1]) << 4 | hex(c[2]));
			c += 2;
		} else {
			*to++ = *c;
		}
	}
	*to = '\0';
}

char *weft_http_query_value(const char *query, const char *key)
{
	size_t n = strlen(key);

	while (*query) {
		size_t len = strcspn(query, "&"), name = strcspn(query, "=&");

		if (name == n && !strncmp(query, key, n)) {
			char *value = strndup(query + n + (len > n), len > n ? len - n - 1 : 0);

			if (value)
				percent_decode(value);
			return value;
		}
		query += len + (query[len] == '&');
	}
	return NULL;
}

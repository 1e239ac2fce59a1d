// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What clients may ask of the router by header, as Envoy 1.40 reads it (router, retry state). */
#include <string.h>

#include "bpf/engine/engine.h"

struct word {
	const char *text;
	__u32 bit;
};

static const struct word plain[] = {
	{"5xx", WEFT_RETRY_5XX},
	{"gateway-error", WEFT_RETRY_GATEWAY_ERROR},
	{"reset", WEFT_RETRY_RESET},
	{"reset-before-request", WEFT_RETRY_RESET_BEFORE_REQUEST},
	{"connect-failure", WEFT_RETRY_CONNECT_FAILURE},
	{"refused-stream", WEFT_RETRY_REFUSED_STREAM},
	{"retriable-4xx", WEFT_RETRY_RETRIABLE_4XX},
	{"retriable-status-codes", WEFT_RETRY_STATUS_CODES},
	{"retriable-headers", WEFT_RETRY_HEADERS},
	{"envoy-ratelimited", WEFT_RETRY_ENVOY_RATELIMITED},
	/* of HTTP/3's early data, which there is none of */
	{"http3-post-connect-failure", 0},
};

static const struct word grpc_words[] = {
	{"cancelled", WEFT_RETRY_CANCELLED},
	{"deadline-exceeded", WEFT_RETRY_DEADLINE_EXCEEDED},
	{"internal", WEFT_RETRY_INTERNAL},
	{"resource-exhausted", WEFT_RETRY_RESOURCE_EXHAUSTED},
	{"unavailable", WEFT_RETRY_UNAVAILABLE},
};

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool weft_list_word(const char **at, const char *end, const char **ret, __u32 *ret_len)
{
	const char *p = *at, *e;

	do {
		if (p >= end)
			return false;
		e = memchr(p, ',', (size_t)(end - p));
		e = e ? e : end;
		*at = e + 1;
		*ret = p;
		p = e + 1;
	} while (e == *ret); /* an empty piece is no word; one of blanks is */
	while (*ret < e && blank(**ret))
		++*ret;
	while (e > *ret && blank(e[-1]))
		e--;
	*ret_len = (__u32)(e - *ret);
	return true;
}

__u32 weft_retry_on(const void *text, __u32 len, bool grpc, bool *ret_known)
{
	const struct word *list = grpc ? grpc_words : plain;
	size_t n = grpc ? sizeof(grpc_words) / sizeof(*grpc_words) : sizeof(plain) / sizeof(*plain);
	const char *at = text, *end = at + len, *word;
	bool all = true;
	__u32 bits = 0, l;

	while (weft_list_word(&at, end, &word, &l)) {
		bool known = false;

		for (size_t i = 0; i < n; i++) {
			if (strlen(list[i].text) != l || memcmp(list[i].text, word, l))
				continue;
			bits |= list[i].bit;
			known = true;
		}
		all = all && known;
	}
	if (ret_known)
		*ret_known = all;
	return bits;
}

bool weft_header_number(const void *text, __u32 len, __u64 max, __u64 *ret)
{
	const char *p = text;
	__u64 n = 0;
	__u32 i = 0;

	while (i < len && blank(p[i]))
		i++;
	while (len > i && blank(p[len - 1]))
		len--;
	if (i < len && p[i] == '+')
		i++;
	if (i == len)
		return false;
	for (; i < len; i++) {
		__u64 digit = (__u64)(p[i] - '0');

		if (p[i] < '0' || p[i] > '9' || digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*ret = n;
	return true;
}

static bool valid(enum weft_strict_header kind, const void *value, __u32 len)
{
	bool known;
	__u64 n;

	if (kind == WEFT_STRICT_TIMEOUT || kind == WEFT_STRICT_PER_TRY)
		return weft_header_number(value, len, WEFT_ASKED_MS_MAX, &n);
	if (kind == WEFT_STRICT_MAX_RETRIES)
		return weft_header_number(value, len, WEFT_ASKED_RETRIES_MAX, &n);
	weft_retry_on(value, len, kind == WEFT_STRICT_RETRY_GRPC_ON, &known);
	return known;
}

const struct weft_field *weft_req_strict(const struct weft_req *req)
{
#define ROW(n, name) name,
	static const char *const names[] = {WEFT_STRICT_HEADERS(ROW)};
#undef ROW
	const struct weft_img_hcm *h = weft_img_at(req->dec.hcm);

	for (__u32 k = 0; h->strict >> k; k++) {
		for (__u32 i = 0; h->strict >> k & 1 && i < req->n_field; i++) {
			const struct weft_field *f = &req->field[i];

			if (f->name.len != strlen(names[k]) ||
			    memcmp(req->head + f->name.off, names[k], f->name.len))
				continue;
			if (!valid((enum weft_strict_header)k, req->head + f->value.off,
				   f->value.len))
				return f;
		}
	}
	return NULL;
}

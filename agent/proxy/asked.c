// SPDX-License-Identifier: Apache-2.0
/*
 * What a request may ask of the router by its x-envoy-* headers (Envoy 1.40: router, retry state).
 * The connection manager has taken them from every request that is not internal; filters and rules
 * may have set them since. Those that are understood here do not go upstream.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/mutate.h"

#define NAME(s) (s), sizeof(s) - 1

static struct lines all_lines(struct worker *w, struct exchange *x)
{
	return (struct lines){w, &x->head, 0}; /* no request line begins as a header line does */
}

/* ---- times ---- */

/* true: there is one that can be read. */
static bool time_read(const struct lines *l, const char *name, size_t n, uint64_t *ret)
{
	struct line line;
	__u64 ms;

	if (!lines_find(l, name, n, 0, &line) ||
	    !weft_header_number(buf_at(l->b) + line.value, (__u32)line.value_len, WEFT_ASKED_MS_MAX,
				&ms))
		return false;
	*ret = ms;
	return true;
}

static void hedge_read(struct lines *l, struct exchange *x)
{
	struct line line;

	if (lines_find(l, NAME("x-envoy-hedge-on-per-try-timeout"), 0, &line))
		x->hedged = line.value_len == 4 && !memcmp(buf_at(l->b) + line.value, "true", 4);
}

void asked_times(struct worker *w, struct exchange *x)
{
	struct lines l = all_lines(w, x);
	struct line line;

	hedge_read(&l, x);
	/* what another proxy has promised its own client comes first, and then the request's word
	 * stands for the next */
	if (!(x->hcm->flags & WEFT_HCM_EXPECTED_TIMEOUT) ||
	    !lines_find(&l, NAME("x-envoy-expected-rq-timeout-ms"), 0, &line)) {
		time_read(&l, NAME("x-envoy-upstream-rq-timeout-ms"), &x->timeout_ms);
		lines_remove(&l, NAME("x-envoy-upstream-rq-timeout-ms"));
	} else {
		time_read(&l, NAME("x-envoy-expected-rq-timeout-ms"), &x->timeout_ms);
	}
	time_read(&l, NAME("x-envoy-upstream-rq-per-try-timeout-ms"), &x->per_try_ms);
	time_read(&l, NAME("x-envoy-upstream-stream-duration-ms"), &x->duration_ms);
	x->alt_timeout = lines_find(&l, NAME("x-envoy-upstream-rq-timeout-alt-response"), 0, &line);
	lines_remove(&l, NAME("x-envoy-upstream-rq-per-try-timeout-ms"));
	lines_remove(&l, NAME("x-envoy-upstream-stream-duration-ms"));
	lines_remove(&l, NAME("x-envoy-upstream-rq-timeout-alt-response"));
	lines_remove(&l, NAME("x-envoy-upstream-alt-stat-name"));
	lines_remove(&l, NAME("x-envoy-hedge-on-per-try-timeout"));
	/* one that is not below the whole request's is none (Envoy 1.40) */
	if (x->timeout_ms && x->per_try_ms >= x->timeout_ms)
		x->per_try_ms = 0;
}

uint64_t asked_expected(const struct exchange *x)
{
	return x->per_try_ms && !x->hedged ? x->per_try_ms : x->timeout_ms;
}

/* ---- retries ---- */

static int statuses_read(const char *text, size_t len, struct asked *a)
{
	const char *at = text, *word;
	__u32 n;

	a->status = calloc(len / 2 + 1, sizeof(*a->status)); /* a digit and a comma each */
	if (!a->status)
		return -ENOMEM;
	while (weft_list_word(&at, text + len, &word, &n)) {
		__u64 status;

		if (weft_header_number(word, n, UINT32_MAX, &status))
			a->status[a->n_status++] = (uint32_t)status;
	}
	return 0;
}

static int names_read(const char *text, size_t len, struct asked *a)
{
	const char *at = text, *word;
	size_t end = 0;
	__u32 n;

	a->names = malloc(len + 2);
	if (!a->names)
		return -ENOMEM;
	while (weft_list_word(&at, text + len, &word, &n)) {
		for (__u32 i = 0; i < n; i++)
			a->names[end++] = (char)tolower((unsigned char)word[i]);
		a->names[end++] = ',';
	}
	a->names[end] = '\0';
	return 0;
}

/* Statuses and names. */
static int more_read(struct lines *l, struct exchange *x)
{
	struct line status, names;
	bool has_status = lines_find(l, NAME("x-envoy-retriable-status-codes"), 0, &status);
	bool has_names = lines_find(l, NAME("x-envoy-retriable-header-names"), 0, &names);
	const char *text = (const char *)buf_at(l->b);
	int r = 0;

	if (!has_status && !has_names)
		return 0;
	x->asked = calloc(1, sizeof(*x->asked));
	if (!x->asked)
		return -ENOMEM;
	if (has_status)
		r = statuses_read(text + status.value, status.value_len, x->asked);
	if (!r && has_names)
		r = names_read(text + names.value, names.value_len, x->asked);
	return r;
}

/* true: there is such a line. */
static bool on_read(const struct lines *l, const char *name, size_t n, bool grpc, uint32_t *on)
{
	struct line line;

	if (!lines_find(l, name, n, 0, &line))
		return false;
	*on |= weft_retry_on(buf_at(l->b) + line.value, (__u32)line.value_len, grpc, NULL);
	return true;
}

int asked_retries(struct worker *w, struct exchange *x)
{
	bool policy = x->forward->flags & WEFT_FORWARD_HAS_RETRY;
	struct lines l = all_lines(w, x);
	struct line line;
	__u64 n = policy ? x->forward->num_retries : 1;
	int r = 0;

	on_read(&l, NAME("x-envoy-retry-on"), false, &x->retry_on);
	on_read(&l, NAME("x-envoy-retry-grpc-on"), true, &x->retry_on);
	if (x->forward->retry_requests && !request_matches(x, x->forward->retry_requests))
		x->retry_on = 0;
	if (x->retry_on) {
		if (lines_find(&l, NAME("x-envoy-max-retries"), 0, &line))
			weft_header_number(buf_at(l.b) + line.value, (__u32)line.value_len,
					   WEFT_ASKED_RETRIES_MAX, &n);
		x->retries_left = (uint32_t)n;
		r = more_read(&l, x);
	}
	x->keep_body = x->retries_left || x->forward->follow;
	lines_remove(&l, NAME("x-envoy-retry-on"));
	lines_remove(&l, NAME("x-envoy-retry-grpc-on"));
	lines_remove(&l, NAME("x-envoy-max-retries"));
	lines_remove(&l, NAME("x-envoy-retriable-status-codes"));
	lines_remove(&l, NAME("x-envoy-retriable-header-names"));
	lines_remove(&l, NAME("x-envoy-hedge-on-per-try-timeout"));
	lines_remove(&l, NAME("x-envoy-upstream-rq-per-try-timeout-ms"));
	return r;
}

static bool names_have(const char *names, const uint8_t *name, size_t n)
{
	for (size_t len; *names; names += len + 1) {
		len = strcspn(names, ",");
		if (len == n && !memcmp(names, name, n))
			return true;
	}
	return false;
}

bool asked_again(const struct exchange *x, const uint8_t *head, const struct response *r)
{
	const struct asked *a = x->asked;

	for (size_t i = 0; a && x->retry_on & WEFT_RETRY_STATUS_CODES && i < a->n_status; i++) {
		if (a->status[i] == r->status)
			return true;
	}
	for (uint32_t i = 0; a && a->names && x->retry_on & WEFT_RETRY_HEADERS && i < r->n; i++) {
		if (names_have(a->names, head + r->field[i].name, r->field[i].name_len))
			return true;
	}
	return x->retry_on & WEFT_RETRY_HEADERS && x->forward->retry_headers &&
	       response_matches(x->forward->retry_headers, head, r);
}

void asked_free(struct asked *a)
{
	if (!a)
		return;
	free(a->status);
	free(a->names);
	free(a);
}

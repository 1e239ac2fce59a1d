// SPDX-License-Identifier: Apache-2.0
/*
 * Answers of rate limit services: any bytes as the body of a response. What is taken for an answer
 * may stand in heads, and what it adds to a request and tells in a response is made of whole lines.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/proxy/limiter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

/* Lines "+name: value" CRLF, with no other break in them. */
static void lines_check(const uint8_t *p, size_t n)
{
	while (n) {
		const uint8_t *lf = memchr(p, '\n', n), *colon;

		need(lf && lf > p && lf[-1] == '\r' && *p == '+');
		colon = memchr(p, ':', (size_t)(lf - p));
		need(colon && colon > p + 1 && colon[1] == ' ');
		need(!memchr(p, '\r', (size_t)(lf - 1 - p)) && !memchr(p, 0, (size_t)(lf - p)));
		n -= (size_t)(lf + 1 - p);
		p = lf + 1;
	}
}

static void answer_check(rate_response *msg)
{
	static const struct weft_img_global_limit config = {.flags = WEFT_GLOBAL_HEADERS};
	struct worker *w = calloc(1, sizeof(*w));
	struct limiter l = {.n = 1};
	struct buf out = {0};

	need(w != NULL);
	l.answer[0] = (struct answer){
		.verdict = WEFT_VERDICT_OVER, .msg = msg, .config = &config, .told = true};
	memcpy(w->head, "GET / HTTP/1.1\r\n", 16);
	w->req.head = w->head;
	w->req.value[WEFT_VALUE_PATH] = (struct weft_span){4, 1};
	need(!answers_told(w, &l, WEFT_FILTERS_MAX, &out));
	lines_check(buf_at(&out), buf_len(&out));
	answer_request(w, &w->req, &l.answer[0]);
	need(w->added <= LIMITER_ROOM && w->req.n_field <= WEFT_REQ_FIELDS);
	for (uint32_t i = 0; i < w->req.n_field; i++) {
		const struct weft_field *f = &w->req.field[i];

		need(f->name.len && f->name.off + f->name.len <= sizeof(w->head));
		need(f->value.off + f->value.len <= sizeof(w->head));
		need(!memchr(w->head + f->value.off, '\n', f->value.len));
	}
	buf_free(w, &out);
	while (w->n_spare)
		free(w->buf_spare[--w->n_spare]);
	free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rate_response *msg = wire_response(data, size);

	if (!msg)
		return 0;
	if (answer_is_good(msg))
		answer_check(msg);
	protobuf_c_message_free_unpacked(&msg->base, NULL);
	return 0;
}

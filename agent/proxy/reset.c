// SPDX-License-Identifier: Apache-2.0
/* When an endpoint that limits a rate says that it may be tried again
 * (rate_limited_retry_back_off). */
#include <string.h>
#include <time.h>

#include "agent/proxy/internal.h"

/* A whole number in decimal digits, blanks around it and a plus sign left out. false: it is none.
 */
static bool number_parse(const uint8_t *p, size_t n, uint64_t *ret)
{
	const uint8_t *end = p + n;
	uint64_t value = 0;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (p < end && *p == '+')
		p++;
	if (p == end)
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9' || value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*p - '0');
	}
	*ret = value;
	return true;
}

/* The wait that one header says. false: it is not there, or says none. */
static bool wait_parse(const struct weft_img_reset *want, const uint8_t *head,
		       const struct response *r, uint64_t *ret)
{
	const char *name = weft_img_at(want->name.off);
	struct timespec now;
	uint64_t n;
	uint32_t i = 0;

	while (i < r->n && (r->field[i].name_len != want->name.len ||
			    memcmp(head + r->field[i].name, name, want->name.len)))
		i++;
	if (i == r->n || !number_parse(head + r->field[i].value, r->field[i].value_len, &n) ||
	    n > UINT64_MAX / 1000)
		return false;
	*ret = n * 1000;
	if (!want->unix_time)
		return true;
	clock_gettime(CLOCK_REALTIME, &now);
	n = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	if (*ret < n)
		return false;
	*ret -= n;
	return true;
}

uint64_t reset_ms(const struct exchange *x, const uint8_t *head, const struct response *r)
{
	const struct weft_img_forward *f = x->forward;
	const struct weft_img_reset *list = f->n_reset ? weft_img_at(f->reset) : NULL;

	for (uint32_t i = 0; i < f->n_reset; i++) {
		uint64_t ms;

		if (!wait_parse(&list[i], head, r, &ms) || ms > f->reset_max_ms)
			continue;
		/* half as much at most on top: not all come at once */
		return ms > 1 ? ms + worker_random(x->down->worker) % (ms / 2) : 0;
	}
	return 0;
}

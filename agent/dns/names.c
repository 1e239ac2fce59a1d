// SPDX-License-Identifier: Apache-2.0
/* One cluster's names: when they are asked for, and what becomes of the answers. */
#include "agent/dns/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int64_t names_clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t random_below(uint64_t n)
{
	uint64_t x = 0;

	return getrandom(&x, sizeof(x), GRND_NONBLOCK) == sizeof(x) && n ? x % n : 0;
}

static void timer_set(struct weft_dns *d, int64_t due_ms)
{
	int64_t left = due_ms - names_clock_ms(CLOCK_MONOTONIC);

	if (due_ms >= d->due_ms)
		return;
	d->due_ms = due_ms;
	weft_timer_set(d->due_fd, left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : (uint32_t)left, 0);
}

/* Config::Utility::prepareDnsRefreshStrategy: a random time below a bound that doubles. */
static uint64_t failure_wait(struct names *c)
{
	uint64_t bound = c->backoff_ms ? c->backoff_ms : c->conf.failure_base_ms, wait;

	if (!c->conf.failure_base_ms)
		return c->conf.refresh_ms;
	wait = random_below(bound);
	c->backoff_ms = bound * 2 < c->conf.failure_max_ms ? bound * 2 : c->conf.failure_max_ms;
	return wait;
}

static uint64_t success_wait(struct names *c, const struct weft_answer *a)
{
	uint64_t wait = c->conf.refresh_ms;

	c->backoff_ms = 0;
	if (c->conf.respect_ttl && a->n && a->ttl) {
		wait = (uint64_t)a->ttl * 1000;
		if (wait < c->conf.min_refresh_ms)
			wait = c->conf.min_refresh_ms;
	}
	return wait + random_below(c->conf.jitter_ms);
}

/* ---- answers ---- */

bool names_warm(const struct names *c)
{
	size_t answered = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (c->name[i].n)
			return true;
		answered += c->name[i].answered;
	}
	return !c->conf.wait_for_warm || answered == c->n;
}

static void gather(struct weft_dns *d)
{
	if (d->gathering)
		return;
	d->gathering = weft_timer_set(d->gather_fd, WEFT_DNS_GATHER_MS, 0) == 0;
}

static bool has_addr(const struct name *m, const struct weft_addr *addr)
{
	for (size_t i = 0; i < m->n; i++) {
		if (!memcmp(&m->addr[i], addr, sizeof(*addr)))
			return true;
	}
	return false;
}

/* Another order of the same addresses is no change; a logical host's are tried in their order. */
static bool same(const struct name *m, const struct weft_addr *addr, size_t n)
{
	if (m->n != n)
		return false;
	if (m->of->conf.logical)
		return !n || !memcmp(m->addr, addr, n * sizeof(*addr));
	for (size_t i = 0; i < n; i++) {
		if (!has_addr(m, &addr[i]))
			return false;
	}
	return true;
}

static size_t hosts_of(const struct names *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->name[i].n;
	return n;
}

/* NULL: the addresses are in force, *ret_changed when they are others. */
static const char *addresses_take(struct name *m, const struct weft_answer *a, bool *ret_changed)
{
	struct weft_addr *addr;
	size_t n = a->n;

	if (same(m, a->addr, n))
		return NULL;
	if (hosts_of(m->of) - m->n + n > WEFT_DNS_HOSTS_MAX)
		return "too many addresses in one cluster";
	addr = calloc(n + 1, sizeof(*addr));
	if (!addr)
		return "out of memory";
	if (n)
		memcpy(addr, a->addr, n * sizeof(*addr));
	free(m->addr);
	m->addr = addr;
	m->n = n;
	*ret_changed = true;
	return NULL;
}

/*
 * An answer without addresses ends the hosts of a STRICT_DNS name; for LOGICAL_DNS it is a failure, and a failure leaves
 * what is there.
 */
static void on_answer(void *ctx, const struct weft_answer *a)
{
	struct name *m = ctx;
	struct names *c = m->of;
	bool was_warm = names_warm(c), changed = !m->answered;
	const char *error = a->error;
	uint64_t wait;

	m->lookup = NULL;
	m->answered = true;
	if (!error && c->conf.logical && !a->n)
		error = "no address";
	if (!error)
		error = addresses_take(m, a, &changed);
	free(m->error);
	m->error = error ? strdup(error) : NULL;
	if (error) {
		c->failures++;
		wait = failure_wait(c);
	} else {
		c->successes++;
		c->no_rebuilds += !changed;
		m->ttl = a->ttl;
		m->updated_ms = names_clock_ms(CLOCK_REALTIME);
		wait = success_wait(c, a);
	}
	m->due_ms = names_clock_ms(CLOCK_MONOTONIC) + (int64_t)wait;
	if (changed || names_warm(c) != was_warm) {
		c->changed = true;
		if (!c->dns->wanting)
			gather(c->dns);
	}
	timer_set(c->dns, m->due_ms);
}

void names_start(struct name *m)
{
	struct names *c = m->of;

	c->attempts++;
	if (weft_lookup_start(c->channel->c, m->text, c->conf.family, on_answer, m, &m->lookup) < 0)
		on_answer(m, &(struct weft_answer){.error = "out of memory"});
}

void names_start_due(struct weft_dns *d)
{
	int64_t now = names_clock_ms(CLOCK_MONOTONIC);

	d->due_ms = INT64_MAX;
	for (size_t i = 0; i < d->n; i++) {
		for (size_t j = 0; j < d->v[i]->n; j++) {
			struct name *m = &d->v[i]->name[j];

			if (m->lookup)
				continue;
			if (m->due_ms <= now)
				names_start(m);
			else
				timer_set(d, m->due_ms);
		}
	}
}

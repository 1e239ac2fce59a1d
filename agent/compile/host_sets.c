// SPDX-License-Identifier: Apache-2.0
/*
 * Sets of hosts. Health comes from EDS alone here, so that priorities, overprovisioning, panic and
 * localities can be worked out once, as Envoy does: the image holds, per priority with load, the
 * hosts that may be chosen.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "agent/compile/hosts.h"
#include "agent/compile/schedule.h"

#define PRIORITY_LIMIT 129 /* 0..128 */

struct share {
	uint32_t hosts;					  /* all of them */
	uint32_t total, healthy, degraded;		  /* without those that drain */
	uint64_t weight, healthy_weight, degraded_weight; /* what availability goes by */
	uint32_t h, d;		      /* availability in percent */
	uint32_t load, degraded_load; /* of 100 */
	bool panic;
};

/* Those of all hosts that are divided up here. */
struct choice {
	const struct weft_hosts *h;
	const uint32_t *host;
	size_t n;
	uint32_t *grouped; /* the same by locality; those of locality l from start[l] to start[l + 1] */
	uint32_t *start;
	uint32_t *weight; /* of each locality */
	bool localities; /* they have weights */
};

/* What one set is made of. */
struct want {
	uint32_t priority;
	bool panic;
	enum weft_health health;
};

/* ---- priorities ---- */

static uint32_t available(uint64_t part, uint64_t total, uint32_t factor)
{
	unsigned __int128 x = total ? (unsigned __int128)factor * part / total : 0;

	return x > 100 ? 100 : (uint32_t)x;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* All in panic: shared by plain host counts, the rounding rest to the first. */
static void share_by_hosts(struct share *s, size_t n)
{
	uint32_t hosts = 0, left = 100, first = UINT32_MAX;

	for (size_t i = 0; i < n; i++)
		hosts += s[i].hosts;
	for (size_t i = 0; i < n; i++) {
		s[i].load = hosts ? 100 * s[i].hosts / hosts : 0;
		s[i].degraded_load = 0;
		left -= s[i].load;
		if (s[i].hosts && first == UINT32_MAX)
			first = (uint32_t)i;
	}
	if (first != UINT32_MAX)
		s[first].load += left;
}

/* What rounding left over goes to the first priority with healthy load, without any to the first
 * with degraded load. */
static void rest_give(struct share *s, size_t n, uint32_t rest)
{
	uint32_t *degraded = NULL;

	for (size_t i = 0; i < n; i++) {
		if (s[i].load) {
			s[i].load += rest;
			return;
		}
		if (s[i].degraded_load && !degraded)
			degraded = &s[i].degraded_load;
	}
	if (degraded)
		*degraded += rest;
}

static void loads_fill(struct share *s, size_t n, uint32_t factor, uint32_t threshold)
{
	uint32_t sum = 0, total, left = 100, panics = 0, with_hosts = 0;

	for (size_t i = 0; i < n; i++) {
		s[i].h = available(s[i].healthy_weight, s[i].weight, factor);
		s[i].d = available(s[i].degraded_weight, s[i].weight, factor);
		sum += s[i].h + s[i].d;
	}
	total = min_u32(100, sum);
	for (size_t i = 0; i < n; i++) {
		uint32_t usable =
			s[i].total ? 100 * (s[i].healthy + s[i].degraded) / s[i].total : 0;

		s[i].panic = total < 100 && s[i].hosts && usable < threshold;
		panics += s[i].panic;
		with_hosts += s[i].hosts != 0;
	}
	if (with_hosts && panics == with_hosts && threshold) {
		share_by_hosts(s, n);
		return;
	}
	if (!total) {
		s[0].load = 100; /* nothing is selectable there: 503 */
		return;
	}
	for (size_t i = 0; i < n; i++) {
		s[i].load = min_u32(left, s[i].h * 100 / total);
		left -= s[i].load;
	}
	for (size_t i = 0; i < n; i++) {
		s[i].degraded_load = min_u32(left, s[i].d * 100 / total);
		left -= s[i].degraded_load;
	}
	if (left)
		rest_give(s, n, left);
}

/* ---- one set ---- */

struct members {
	uint32_t *host; /* by locality, then in configured order; with localities ignored in configured order */
	uint32_t *weight;
	double *share;
	uint32_t n;
};

/* Those of n hosts that belong into this set. */
static uint32_t members_add(const struct choice *c, const struct want *w, const uint32_t *host,
			    size_t n, struct members *m)
{
	uint32_t before = m->n;

	for (size_t i = 0; i < n; i++) {
		uint32_t k = host[i];

		if (c->h->priority[k] != w->priority || (!w->panic && c->h->health[k] != w->health))
			continue;
		m->host[m->n] = k;
		m->weight[m->n++] = c->h->v[k].weight;
	}
	return m->n - before;
}

static uint32_t locality_add(const struct choice *c, const struct want *w, uint32_t l,
			     struct members *m)
{
	return members_add(c, w, c->grouped + c->start[l], c->start[l + 1] - c->start[l], m);
}

/* Shares of the last n members, of what their locality has of all. */
static void shares_fill(struct members *m, uint32_t n, double part)
{
	uint64_t sum = 0;

	for (uint32_t i = m->n - n; i < m->n; i++)
		sum += m->weight[i];
	for (uint32_t i = m->n - n; i < m->n; i++)
		m->share[i] = (double)m->weight[i] * part / (double)sum;
}

/* The localities of one priority are neighbours. */
static void localities_of(const struct choice *c, uint32_t priority, uint32_t *ret_first,
			  uint32_t *ret_end)
{
	*ret_first = UINT32_MAX;
	*ret_end = 0;
	for (size_t i = 0; i < c->n; i++) {
		uint32_t l = c->h->locality[c->host[i]];

		if (c->h->priority[c->host[i]] != priority)
			continue;
		*ret_first = l < *ret_first ? l : *ret_first;
		*ret_end = l >= *ret_end ? l + 1 : *ret_end;
	}
}

/*
 * Members of a table: locality weights as they are configured, whatever of a locality is healthy; without any weight
 * there are no members.
 */
static void table_members(const struct choice *c, const struct want *w, struct members *m)
{
	uint32_t first, end;
	uint64_t sum = 0;

	if (!c->localities) {
		shares_fill(m, members_add(c, w, c->host, c->n, m), 1);
		return;
	}
	localities_of(c, w->priority, &first, &end);
	for (uint32_t l = first; l < end; l++)
		sum += c->weight[l];
	for (uint32_t l = first; l < end; l++) {
		if (c->weight[l])
			shares_fill(m, locality_add(c, w, l, m), (double)c->weight[l] / (double)sum);
	}
}

static void table_fill(struct weft_build *b, const struct weft_hosts *h, const struct members *m,
		       struct weft_img_host_set *ret)
{
	char **key = calloc(m->n + 1, sizeof(*key));
	struct weft_hashing_table t = {0};
	int r = -ENOMEM;

	for (uint32_t i = 0; key && i < m->n; i++)
		key[i] = h->key[m->host[i]];
	if (key && !b->err)
		r = weft_hashing_make(&h->balancing->hashing, key, m->share, m->n, &t);
	if (r == -E2BIG) {
		weft_build_fail(b, "endpoints", "a ring of more than %u entries: unequal weights, or "
				"minimum_ring_size", WEFT_RING_MAX);
	} else if (r < 0) {
		b->err = b->err ? b->err : r;
	} else if (t.n) {
		ret->n_table = t.n;
		ret->table = weft_build_put(b, t.host, t.n * sizeof(*t.host));
		if (t.ring)
			ret->ring = weft_build_put(b, t.ring, t.n * sizeof(*t.ring));
	}
	free(t.host);
	free(t.ring);
	free(key);
}

static void schedule_put(struct weft_build *b, struct weft_schedule *s, bool ranked,
			 struct weft_img_host_set *ret)
{
	ret->n_schedule = s->period;
	if (s->order)
		ret->schedule = weft_build_put(b, s->order,
					       (ranked ? 2 : 1) * s->period * sizeof(*s->order));
	else if (s->split)
		ret->schedule = weft_build_put(b, s->split, s->n_split * sizeof(*s->split));
	weft_schedule_free(s);
}

/* The order in which members [at, at + n) take turns; they stand in the list of hosts at that place. */
static void turns_fill(struct weft_build *b, const struct members *m, uint32_t at, uint32_t n,
		       uint32_t hosts, struct weft_img_host_set *ret)
{
	struct weft_schedule s = {0};
	int r = weft_schedule_make(m->weight + at, n, &s);

	if (r)
		b->err = b->err ? b->err : r;
	ret->n_host = n;
	ret->host = hosts + at * (uint32_t)sizeof(*m->host);
	schedule_put(b, &s, false, ret);
}

/* ---- localities by weight ---- */

struct part {
	uint32_t n;	  /* eligible hosts */
	uint64_t num, den; /* effective weight */
	uint32_t weight;  /* of these proportions */
};

/* Proportions that 32 bits do not hold exactly: the largest weight becomes 2^31. */
static void weights_round(struct part *p, uint32_t n)
{
	double most = 0;

	for (uint32_t i = 0; i < n; i++)
		most = fmax(most, (double)p[i].num / (double)p[i].den);
	for (uint32_t i = 0; i < n; i++) {
		double w = (double)p[i].num / (double)p[i].den / most * 2147483648.0;

		p[i].weight = w < 1 ? 1 : (uint32_t)w;
	}
}

/* Weights as whole numbers of the same proportions. */
static void weights_whole(struct part *p, uint32_t n)
{
	uint64_t common = 1, all = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t g = weft_gcd(p[i].num, p[i].den);

		p[i].num /= g;
		p[i].den /= g;
		common = common > UINT32_MAX ? common
					     : common / weft_gcd(common, p[i].den) * p[i].den;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (common > UINT32_MAX || p[i].num > UINT64_MAX / (common / p[i].den)) {
			weights_round(p, n);
			return;
		}
		all = weft_gcd(all, p[i].num * (common / p[i].den));
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t w = p[i].num * (common / p[i].den) / all;

		if (w > UINT32_MAX) {
			weights_round(p, n);
			return;
		}
		p[i].weight = (uint32_t)w;
	}
}

/* The order of localities, and behind a stored one how often each had its turn before. */
static void ranks_add(struct weft_build *b, struct weft_schedule *s, uint32_t n)
{
	uint32_t *turns = calloc(n, sizeof(*turns));
	uint16_t *order = s->order ? calloc(2 * s->period, sizeof(*order)) : NULL;

	if (!turns || (s->order && !order)) {
		b->err = b->err ? b->err : -ENOMEM;
	} else if (order) {
		for (uint32_t i = 0; i < s->period; i++) {
			order[i] = s->order[i];
			order[s->period + i] = (uint16_t)turns[order[i]]++;
		}
		free(s->order);
		s->order = order;
		order = NULL;
	}
	free(order);
	free(turns);
}

/* Parts and their schedule; members are in the parts' order. */
static void parts_fill(struct weft_build *b, const struct members *m, struct part *p, uint32_t n,
		       struct weft_img_host_set *ret)
{
	struct weft_img_host_set *part = calloc(n, sizeof(*part));
	uint32_t *weight = calloc(n, sizeof(*weight)), at = 0;
	struct weft_schedule s = {0};
	int r = -ENOMEM;

	weights_whole(p, n);
	for (uint32_t i = 0; part && weight && i < n; i++) {
		turns_fill(b, m, at, p[i].n, ret->host, &part[i]);
		at += p[i].n;
		weight[i] = p[i].weight;
	}
	if (part && weight)
		r = weft_schedule_make(weight, n, &s);
	if (!r && !b->err) {
		for (uint32_t i = 0; i < n; i++)
			part[i].turns = s.turns ? s.turns[i] : 1;
		ranks_add(b, &s, n);
		ret->n_part = n;
		ret->part = weft_build_put(b, part, n * sizeof(*part));
		schedule_put(b, &s, true, ret);
	} else {
		b->err = b->err ? b->err : r;
		weft_schedule_free(&s);
	}
	free(part);
	free(weight);
}

/* Hosts of a locality that do not drain. */
static uint32_t countable(const struct choice *c, uint32_t l)
{
	uint32_t n = 0;

	for (uint32_t i = c->start[l]; i < c->start[l + 1]; i++)
		n += c->h->health[c->grouped[i]] != WEFT_HOST_DRAINING;
	return n;
}

/*
 * Localities that have weight: weight * min(1, factor * available part). Members are added. Without any, localities
 * play no role.
 */
static uint32_t parts_make(const struct choice *c, const struct want *w, struct members *m,
			   struct part *p)
{
	uint32_t first, end, n = 0;

	localities_of(c, w->priority, &first, &end);
	for (uint32_t l = first; l < end; l++) {
		uint64_t den = (uint64_t)countable(c, l) * 100, num;

		if (!c->weight[l] || !c->h->factor)
			continue;
		p[n].n = locality_add(c, w, l, m);
		if (!p[n].n)
			continue;
		num = (uint64_t)c->h->factor * p[n].n;
		p[n].den = den;
		p[n].num = (num < den ? num : den) * c->weight[l];
		n++;
	}
	return n;
}

static void set_fill(struct weft_build *b, const struct choice *c, const struct want *w,
		     struct weft_img_host_set *ret)
{
	struct members m = {.host = calloc(c->n + 1, sizeof(*m.host)),
			    .weight = calloc(c->n + 1, sizeof(*m.weight)),
			    .share = calloc(c->n + 1, sizeof(*m.share))};
	struct part *p = calloc(c->h->n_locality + 1, sizeof(*p));
	const struct weft_balancing *how = c->h->balancing;
	uint32_t parts = 0;

	if (!m.host || !m.weight || !m.share || !p) {
		b->err = b->err ? b->err : -ENOMEM;
	} else if (c->h->key) {
		table_members(c, w, &m);
	} else if (!w->panic || !how->fail_on_panic) {
		if (c->localities && !w->panic)
			parts = parts_make(c, w, &m, p);
		if (!parts)
			members_add(c, w, c->host, c->n, &m);
	}
	if (m.n && !b->err) {
		ret->n_host = m.n;
		ret->host = weft_build_put(b, m.host, m.n * sizeof(*m.host));
		if (how->balance_factor)
			ret->share = weft_build_put(b, m.share, m.n * sizeof(*m.share));
		if (c->h->key)
			table_fill(b, c->h, &m, ret);
		else if (parts)
			parts_fill(b, &m, p, parts, ret);
		else
			turns_fill(b, &m, 0, m.n, ret->host, ret);
	}
	free(m.host);
	free(m.weight);
	free(m.share);
	free(p);
}

/* ---- all sets ---- */

struct set_list {
	struct weft_img_host_set v[WEFT_PRIORITIES_MAX];
	uint32_t n, end;
};

static void set_add(struct weft_build *b, const struct choice *c, const struct want *w,
		    uint32_t load, struct set_list *l)
{
	if (!load)
		return;
	if (l->n == WEFT_PRIORITIES_MAX) {
		weft_build_fail(b, "endpoints", "more than %u priorities with load",
				WEFT_PRIORITIES_MAX);
		return;
	}
	l->end += load;
	l->v[l->n].load_end = l->end;
	set_fill(b, c, w, &l->v[l->n]);
	l->n++;
}

static void sets_fill(struct weft_build *b, const struct choice *c, struct weft_img_endpoints *ret)
{
	const struct weft_hosts *h = c->h;
	struct share s[PRIORITY_LIMIT] = {0};
	struct set_list list = {0};
	uint32_t n = 1;

	for (size_t i = 0; i < c->n; i++) {
		uint32_t k = c->host[i];
		struct share *p = &s[h->priority[k]];
		uint32_t w = h->weighted ? h->v[k].weight : 1;

		if (h->priority[k] >= n)
			n = h->priority[k] + 1;
		p->hosts++;
		if (h->health[k] == WEFT_HOST_DRAINING)
			continue;
		p->total++;
		p->weight += w;
		p->healthy += h->health[k] == WEFT_HOST_HEALTHY;
		p->healthy_weight += h->health[k] == WEFT_HOST_HEALTHY ? w : 0;
		p->degraded += h->health[k] == WEFT_HOST_DEGRADED;
		p->degraded_weight += h->health[k] == WEFT_HOST_DEGRADED ? w : 0;
	}
	loads_fill(s, n, h->factor, h->balancing->panic_threshold);
	for (uint32_t i = 0; i < n; i++)
		set_add(b, c, &(struct want){i, s[i].panic, WEFT_HOST_HEALTHY}, s[i].load, &list);
	/* a consistent hash's tables are of healthy hosts whatever the load is for */
	for (uint32_t i = 0; i < n; i++)
		set_add(b, c,
			&(struct want){i, s[i].panic, h->key ? WEFT_HOST_HEALTHY : WEFT_HOST_DEGRADED},
			s[i].degraded_load, &list);
	ret->n_set = list.n;
	if (list.n)
		ret->set = weft_build_put(b, list.v, list.n * sizeof(*list.v));
}

/* Hosts by locality, in their order; weights of the localities. */
static void localities_fill(struct choice *c, enum weft_locality_use use)
{
	const struct weft_hosts *h = c->h;
	uint32_t *at = c->start + 1;

	for (size_t i = 0; i < c->n; i++)
		c->start[h->locality[c->host[i]] + 2]++;
	for (size_t l = 2; l <= h->n_locality + 1; l++)
		c->start[l] += c->start[l - 1];
	for (size_t i = 0; i < c->n; i++)
		c->grouped[at[h->locality[c->host[i]]]++] = c->host[i];
	for (size_t l = 0; l < h->n_locality; l++) {
		uint32_t n = c->start[l + 1] - c->start[l];

		c->weight[l] = h->localities[l].weight;
		if (use == WEFT_LOCALITIES_SCALED && h->localities[l].n_host)
			c->weight[l] = (uint32_t)roundf((float)((uint64_t)c->weight[l] * n) /
							(float)h->localities[l].n_host);
	}
}

void weft_build_host_sets(struct weft_build *b, const struct weft_hosts *h, const uint32_t *host,
			  size_t n, enum weft_locality_use use, struct weft_img_endpoints *ret)
{
	struct choice c = {.h = h,
			   .host = host,
			   .n = n,
			   .localities = h->balancing->localities && use != WEFT_LOCALITIES_IGNORED,
			   .grouped = calloc(n + 1, sizeof(*c.grouped)),
			   .start = calloc(h->n_locality + 2, sizeof(*c.start)),
			   .weight = calloc(h->n_locality + 1, sizeof(*c.weight))};

	if (c.grouped && c.start && c.weight) {
		localities_fill(&c, use);
		sets_fill(b, &c, ret);
	} else {
		b->err = b->err ? b->err : -ENOMEM;
	}
	free(c.grouped);
	free(c.start);
	free(c.weight);
}

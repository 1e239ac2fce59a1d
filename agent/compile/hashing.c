// SPDX-License-Identifier: Apache-2.0
#include "agent/compile/hashing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/engine/engine.h"

/* ---- keys ---- */

static const char *hash_key(const Envoy__Config__Endpoint__V3__LbEndpoint *e)
{
	for (size_t i = 0; e->metadata && i < e->metadata->n_filter_metadata; i++) {
		const Google__Protobuf__Struct *s = e->metadata->filter_metadata[i]->value;

		if (strcmp(e->metadata->filter_metadata[i]->key, "envoy.lb"))
			continue;
		for (size_t j = 0; s && j < s->n_fields; j++) {
			const Google__Protobuf__Value *v = s->fields[j]->value;

			if (!strcmp(s->fields[j]->key, "hash_key") && v &&
			    v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
				return v->string_value;
		}
	}
	return "";
}

char *weft_hashing_key(const struct weft_hashing *h,
		       const Envoy__Config__Endpoint__V3__LbEndpoint *e,
		       const struct weft_sockaddr *addr)
{
	const uint32_t *w = addr->addr.w;
	bool v4 = !w[0] && !w[1] && w[2] == htonl(0xffff);
	char ip[INET6_ADDRSTRLEN], *out = NULL;

	if (*hash_key(e))
		return strdup(hash_key(e));
	if (h->hostname)
		return strdup(e->endpoint->hostname);
	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &w[3] : w, ip, sizeof(ip)) ||
	    asprintf(&out, v4 ? "%s:%u" : "[%s]:%u", ip, (unsigned)addr->port) < 0)
		return NULL;
	return out;
}

/* ---- ring ---- */

static uint64_t murmur_mix(uint64_t v)
{
	return v ^ v >> 47;
}

uint64_t weft_hashing_murmur(const void *bytes, size_t len)
{
	const uint64_t mul = 0xc6a4a7935bd1e995u;
	const uint8_t *p = bytes;
	uint64_t h = 0xc70f6907u ^ (len * mul), w;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&w, p, 8);
		h = (h ^ murmur_mix(w * mul) * mul) * mul;
	}
	if (len) {
		w = 0;
		memcpy(&w, p, len);
		h = (h ^ w) * mul;
	}
	return murmur_mix(murmur_mix(h) * mul);
}

struct place {
	uint64_t hash;
	uint16_t host;
};

/* Equal hashes, of equal keys: the earlier host first. */
static int place_order(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->host > y->host) - (x->host < y->host);
}

static int host_places(const struct weft_hashing *h, const char *key, uint16_t host, double target,
		       struct place *v, size_t room, size_t *n)
{
	size_t size = strlen(key) + 24;
	char *text = malloc(size);

	if (!text)
		return -ENOMEM;
	for (uint64_t i = 0; (double)*n < target && *n < room; i++) {
		size_t len = (size_t)snprintf(text, size, "%s_%llu", key, (unsigned long long)i);

		v[(*n)++] = (struct place){h->murmur ? weft_hashing_murmur(text, len)
						     : weft_hash_xx64(text, len, 0),
					   host};
	}
	free(text);
	return 0;
}

static int ring_make(const struct weft_hashing *h, char *const *key, const double *share,
		     size_t n_host, struct weft_hashing_table *ret)
{
	double least = 1, scale, target = 0;
	struct place *v;
	size_t n = 0, room;
	int r = 0;

	for (size_t i = 0; i < n_host; i++)
		least = share[i] < least ? share[i] : least;
	scale = fmin(ceil(least * (double)h->min) / least, (double)h->max);
	if (scale > WEFT_RING_MAX)
		return -E2BIG;
	/* sums of shares may round to a little above 1 */
	room = (size_t)ceil(scale) + 1;
	v = calloc(room, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; !r && i < n_host; i++) {
		target += scale * share[i];
		r = host_places(h, key[i], (uint16_t)i, target, v, room, &n);
	}
	ret->host = calloc(n + 1, sizeof(*ret->host));
	ret->ring = calloc(n + 1, sizeof(*ret->ring));
	if (!ret->host || !ret->ring)
		r = -ENOMEM;
	qsort(v, n, sizeof(*v), place_order);
	for (size_t i = 0; !r && i < n; i++) {
		ret->host[i] = v[i].host;
		ret->ring[i] = v[i].hash;
	}
	ret->n = (uint32_t)n;
	free(v);
	return r;
}

/* ---- Maglev ---- */

struct maglev_host {
	const char *key;
	double share, target;
	uint64_t at, skip; /* next slot of its permutation */
	uint16_t host;
};

static int maglev_order(const void *a, const void *b)
{
	const struct maglev_host *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	return c ? c : (x->host > y->host) - (x->host < y->host);
}

#define FREE_SLOT UINT16_MAX
static void maglev_fill(struct maglev_host *v, size_t n, double most, uint64_t size,
			uint16_t *table)
{
	uint64_t left = size;

	for (uint32_t round = 1; left; round++) {
		for (size_t i = 0; i < n && left; i++) {
			if (round * v[i].share < v[i].target)
				continue;
			v[i].target += most;
			while (table[v[i].at] != FREE_SLOT)
				v[i].at = (v[i].at + v[i].skip) % size;
			table[v[i].at] = v[i].host;
			v[i].at = (v[i].at + v[i].skip) % size;
			left--;
		}
	}
}

static int maglev_make(const struct weft_hashing *h, char *const *key, const double *share,
		       size_t n, struct weft_hashing_table *ret)
{
	struct maglev_host *v = calloc(n, sizeof(*v));
	double most = 0;

	ret->host = malloc(h->table_size * sizeof(*ret->host));
	if (!v || !ret->host) {
		free(v);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(key[i]);

		v[i] = (struct maglev_host){
			.key = key[i],
			.share = share[i],
			.at = weft_hash_xx64(key[i], len, 0) % h->table_size,
			.skip = weft_hash_xx64(key[i], len, 1) % (h->table_size - 1) + 1,
			.host = (uint16_t)i};
		most = share[i] > most ? share[i] : most;
	}
	qsort(v, n, sizeof(*v), maglev_order);
	memset(ret->host, 0xff, h->table_size * sizeof(*ret->host));
	maglev_fill(v, n, most, h->table_size, ret->host);
	ret->n = (uint32_t)h->table_size;
	free(v);
	return 0;
}

int weft_hashing_make(const struct weft_hashing *h, char *const *key, const double *share, size_t n,
		      struct weft_hashing_table *ret)
{
	*ret = (struct weft_hashing_table){0};
	if (!n)
		return 0;
	if (h->lb == WEFT_LB_RING_HASH)
		return ring_make(h, key, share, n, ret);
	return maglev_make(h, key, share, n, ret);
}
